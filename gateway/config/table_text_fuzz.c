/*
 * table_text_fuzz - any source text of texthash: (as postmap reads it too) and cidr:, any inside of inline:
 * and static:. The first byte chooses the type, the rest of the first line is the key, then comes the text.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "config/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 8192 };

static const struct {
    const char *type;
    bool is_file;
} FORMS[] = {{"texthash", true}, {"inline", false}, {"cidr", true}, {"static", false}, {"cidr", false}};
enum { FORM_COUNT = sizeof(FORMS) / sizeof(FORMS[0]) };

static void
look_up(struct bytes spec, struct bytes key)
{
    struct table_hit hit = {0};
    struct table *table = NULL;
    struct buf why;

    buf_init(&why, 1 << 20);
    buf_init(&hit.value, TABLE_VALUE_MAX);
    if (table_open(NULL, spec, TABLE_FOLD, &table, &why) == 0) {
        int r = table_find(table, key, &hit);

        if (r != 0 && r != GW_ERR_NOTFOUND && r != GW_ERR_TEMP) {
            abort();
        }
    }
    table_free(&table);
    buf_free(&hit.value);
    buf_free(&why);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = bytes_of(data, size), key;
    struct buf spec;

    if (size < 2 || size > INPUT_MAX) {
        return 0;
    }
    (void)bytes_next_line(&rest, &key);
    size_t form = data[0] % FORM_COUNT;
    int fd = memfd_create("text", MFD_CLOEXEC);
    buf_init(&spec, INPUT_MAX + 64);
    bool ready = fd != -1 && write(fd, rest.p, rest.n) == (ssize_t)rest.n;
    if (FORMS[form].is_file) {
        ready = ready && buf_printf(&spec, "%s:/proc/self/fd/%d", FORMS[form].type, fd) == 0;
    } else {
        ready = buf_printf(&spec, "%s:", FORMS[form].type) == 0 && buf_append_bytes(&spec, rest) == 0;
    }
    if (ready) {
        look_up(bytes_buf(&spec), bytes_sub(key, 1, key.n));
    }
    buf_free(&spec);
    (void)close(fd);
    return 0;
}

/*
 * table_pattern_fuzz - any rules and any key for pcre: and cidr: tables. The first line is the key, the rest
 * the rules; the first byte chooses the type. (regexp: is glibc's regcomp(3), whose patterns are the
 * operator's.)
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "config/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 8192 };

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = bytes_of(data, size), key;
    struct table_hit hit = {0};
    struct table *table = NULL;
    struct buf why;
    char spec[64];
    int fd;

    if (size < 2 || size > INPUT_MAX) {
        return 0;
    }
    (void)bytes_next_line(&rest, &key);
    fd = memfd_create("rules", MFD_CLOEXEC);
    if (fd == -1 || write(fd, rest.p, rest.n) != (ssize_t)rest.n) {
        (void)close(fd);
        return 0;
    }
    buf_init(&why, 1 << 20);
    buf_init(&hit.value, TABLE_VALUE_MAX);
    (void)snprintf(spec, sizeof(spec), "%s:/proc/self/fd/%d", data[0] % 2 == 0 ? "pcre" : "cidr", fd);
    if (table_open(NULL, bytes_str(spec), TABLE_FOLD, &table, &why) == 0) {
        int r = table_find(table, bytes_sub(key, 1, key.n), &hit);

        if (r != 0 && r != GW_ERR_NOTFOUND && r != GW_ERR_TEMP) {
            abort();
        }
    }
    table_free(&table);
    buf_free(&hit.value);
    buf_free(&why);
    (void)close(fd);
    return 0;
}

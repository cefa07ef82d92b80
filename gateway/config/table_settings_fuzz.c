/*
 * table_settings_fuzz - any configuration file of a database table, and a key: the file is read, its formats
 * are noted, question and result are made. The first line is the key. Quoting must leave nothing of a key
 * unquoted.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <stdio.h>
#include <unistd.h>

#include "base/error.h"
#include "config/table_format.h"
#include "config/table_ldap.h"
#include "config/table_settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 8192, OUT_MAX = 1 << 20 };

static void
check_filter(struct bytes key)
{
    struct buf out;

    buf_init(&out, OUT_MAX);
    if (table_ldap_quote_filter(NULL, key, &out) == 0 &&
        (bytes_index(bytes_buf(&out), '*') >= 0 || bytes_index(bytes_buf(&out), '(') >= 0 ||
         bytes_index(bytes_buf(&out), ')') >= 0 || bytes_index(bytes_buf(&out), '\0') >= 0)) {
        abort();
    }
    buf_clear(&out);
    if (table_ldap_quote_dn(NULL, key, &out) == 0 &&
        (bytes_index(bytes_buf(&out), ',') >= 0 || bytes_index(bytes_buf(&out), '=') >= 0)) {
        abort();
    }
    buf_free(&out);
}

static void
use_formats(struct table_settings *settings, struct bytes key)
{
    struct table_formats *formats = table_formats_new();
    const char *query = table_settings_str(settings, "query");
    const char *format = table_settings_str(settings, "result_format");
    const char *value = table_settings_str(settings, "value");
    struct buf out, why;
    int number;
    bool yes;

    buf_init(&out, OUT_MAX);
    buf_init(&why, OUT_MAX);
    (void)table_settings_int(settings, "expansion_limit", 0, 0, &number, &why);
    (void)table_settings_bool(settings, "require_result_set", true, &yes, &why);
    if (formats != NULL && query != NULL && format != NULL && value != NULL &&
        table_formats_add(formats, query, true, &why) == 0 &&
        table_formats_add(formats, format, false, &why) == 0) {
        int allowed = table_formats_allow(formats, key);
        int asked = table_formats_query(formats, query, key, table_ldap_quote_filter, NULL, &out);

        if (asked == 1 && allowed != 1) {
            abort();
        }
        buf_clear(&out);
        (void)table_formats_result(formats, format, key, bytes_str(value), &out);
    }
    table_formats_free(&formats);
    buf_free(&out);
    buf_free(&why);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = bytes_of(data, size), key;
    struct table_settings *settings = NULL;
    struct buf why;
    char path[64];
    int fd;

    if (size < 2 || size > INPUT_MAX || !bytes_next_line(&rest, &key)) {
        return 0;
    }
    check_filter(key);
    fd = memfd_create("settings", MFD_CLOEXEC);
    if (fd == -1 || write(fd, rest.p, rest.n) != (ssize_t)rest.n) {
        (void)close(fd);
        return 0;
    }
    buf_init(&why, OUT_MAX);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (table_settings_open(NULL, path, &settings, &why) == 0) {
        use_formats(settings, key);
    } else if (why.n == 0) {
        abort(); /* refused without a reason */
    }
    table_settings_free(&settings);
    buf_free(&why);
    (void)close(fd);
    return 0;
}

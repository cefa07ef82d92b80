/*
 * table_spec_fuzz - any composition of tables, and a key: unionmap, pipemap, randmap, inline, static, fail,
 * environ in each other's braces. The first line is the key. Types that open files or sockets are left out.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "config/table.h"
#include "config/table_type.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 4096 };

/* Each word before a colon is one of ours, or no type at all. */
static bool
is_harmless(struct bytes spec)
{
    static const char *const REACHING[] = {"hash",      "btree",  "dbm",  "sdbm",  "cdb",  "lmdb",
                                           "texthash",  "regexp", "pcre", "cidr",  "tcp",  "unix",
                                           "socketmap", "sqlite", "ldap", "mysql", "pgsql"};

    for (size_t i = 0; i < sizeof(REACHING) / sizeof(REACHING[0]); i++) {
        if (bytes_find(spec, bytes_str(REACHING[i])) >= 0) {
            return false;
        }
    }
    return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = bytes_of(data, size), key;
    struct table_list *list = NULL;
    struct table_hit hit = {0};
    struct log_target nowhere = {.file = "/dev/null", .fd = -1};
    struct buf why;

    if (size < 2 || size > INPUT_MAX || !bytes_next_line(&rest, &key) || !is_harmless(rest)) {
        return 0;
    }
    char *specs = bytes_dup_str(rest);
    if (specs == NULL) {
        return 0;
    }
    if (log_fd() == -1) {
        (void)log_open(&nowhere);
    }
    buf_init(&why, 1 << 20);
    buf_init(&hit.value, TABLE_VALUE_MAX);
    if (table_list_open(NULL, specs, TABLE_FOLD, &list, &why) == 0) {
        int r = table_list_find(list, key, &hit);

        if (r != 0 && r != GW_ERR_NOTFOUND && r != GW_ERR_TEMP) {
            abort();
        }
    }
    table_list_free(&list);
    buf_free(&hit.value);
    buf_free(&why);
    free(specs);
    return 0;
}

/*
 * table_lmdb_fuzz - any LMDB file. The first line is the key, the rest the file.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "config/table_lmdb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 17, VALUE_MAX = 65536 };

static int
touch_entry(void *context, struct bytes key, struct bytes value)
{
    size_t *sum = context;

    *sum += key.n > 0 ? key.p[key.n - 1] : 0;
    *sum += value.n > 0 ? value.p[value.n - 1] : 0;
    return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = bytes_of(data, size), key;
    struct table_lmdb *map = NULL;
    struct buf value, why;
    size_t sum = 0;
    int fd;

    if (size < 2 || size > INPUT_MAX) {
        return 0;
    }
    (void)bytes_next_line(&rest, &key);
    fd = memfd_create("db", MFD_CLOEXEC);
    if (fd == -1 || write(fd, rest.p, rest.n) != (ssize_t)rest.n || table_lmdb_new(fd, &map) != 0) {
        (void)close(fd);
        return 0;
    }
    buf_init(&value, VALUE_MAX);
    buf_init(&why, VALUE_MAX);
    int r = table_lmdb_find(map, rest.n, key, &value);
    if (r != 0 && r != GW_ERR_NOTFOUND && r != GW_ERR_TEMP && r != GW_ERR_LIMIT) {
        abort();
    }
    if ((table_lmdb_check(map, rest.n, &why) != 0) != (why.n > 0)) {
        abort();
    }
    (void)table_lmdb_each(map, rest.n, touch_entry, &sum);
    table_lmdb_free(&map);
    buf_free(&value);
    buf_free(&why);
    (void)close(fd);
    return 0;
}

/*
 * table_bdb_fuzz - any Berkeley DB file. The first line is the key, the rest the file. A lookup ends within
 * the pages it may read, a listing within twice the pages there are.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "config/table_bdb.h"

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
    struct buf value, why;
    size_t sum = 0;
    int fd;

    if (size < 2 || size > INPUT_MAX) {
        return 0;
    }
    (void)bytes_next_line(&rest, &key);
    fd = memfd_create("db", MFD_CLOEXEC);
    if (fd == -1 || write(fd, rest.p, rest.n) != (ssize_t)rest.n) {
        (void)close(fd);
        return 0;
    }
    buf_init(&value, VALUE_MAX);
    buf_init(&why, VALUE_MAX);
    int sound = table_bdb_check(fd, &why);
    int found = table_bdb_find(fd, key, &value);
    (void)table_bdb_each(fd, touch_entry, &sum);
    if (found != 0 && found != GW_ERR_NOTFOUND && found != GW_ERR_TEMP && found != GW_ERR_LIMIT) {
        abort();
    }
    if ((sound != 0) != (why.n > 0)) {
        abort();
    }
    buf_free(&value);
    buf_free(&why);
    (void)close(fd);
    return 0;
}

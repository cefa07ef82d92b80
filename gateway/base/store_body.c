/*
 * store_body - message bodies in a store: 64 KiB chunks under key + be32 number, from and into descriptors.
 *
 * Before: the queue and the quarantine. After: store.c, by its public calls only. Chunks of at most 16 pages
 * need 16 pages in a row, which freed bodies leave behind; a whole message under one key would need thousands
 * in a row and the file would grow for ever (libraries.md, LMDB). A body that cannot be read to its announced
 * end spoils the transaction: it can never be committed half.
 */
#include "base/store.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"

enum { CHUNK_NUMBER_SIZE = 4 };

static bool
is_body_key(struct bytes key)
{
    return key.n > 0 && key.n <= STORE_KEY_MAX;
}

static struct bytes
chunk_key(uint8_t room[STORE_KEY_MAX + CHUNK_NUMBER_SIZE], struct bytes key, uint32_t number)
{
    memcpy(room, key.p, key.n);
    for (size_t i = 0; i < CHUNK_NUMBER_SIZE; i++) {
        room[key.n + i] = (uint8_t)(number >> (8 * (CHUNK_NUMBER_SIZE - 1 - i)));
    }
    return bytes_of(room, key.n + CHUNK_NUMBER_SIZE);
}

static int
read_exactly(int fd, uint8_t *room, size_t n, uint64_t offset)
{
    size_t done = 0;

    while (done < n) {
        ssize_t got = pread(fd, room + done, n - done, (off_t)(offset + done));

        if (got == -1 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            errno = got == 0 ? EIO : errno; /* shorter than announced */
            return GW_ERR_SYS;
        }
        done += (size_t)got;
    }
    return 0;
}

static int
write_exactly(int fd, struct bytes v)
{
    size_t done = 0;

    while (done < v.n) {
        ssize_t put_now = write(fd, v.p + done, v.n - done);

        if (put_now == -1 && errno != EINTR) {
            return GW_ERR_SYS;
        }
        done += put_now > 0 ? (size_t)put_now : 0;
    }
    return 0;
}

int
store_put_body(struct store_txn *txn, int table, struct bytes key, int fd, uint64_t size)
{
    uint8_t room[STORE_KEY_MAX + CHUNK_NUMBER_SIZE];
    uint64_t offset = 0;

    if (!is_body_key(key) || size / STORE_CHUNK >= UINT32_MAX) {
        return GW_ERR_LIMIT;
    }
    for (uint32_t number = 0; offset < size; number++) {
        size_t n = size - offset < STORE_CHUNK ? (size_t)(size - offset) : STORE_CHUNK;
        uint8_t *chunk;
        int r = store_put_reserve(txn, table, chunk_key(room, key, number), n, &chunk);

        if (r == 0 && (r = read_exactly(fd, chunk, n, offset)) != 0) {
            store_spoil(txn); /* the chunk holds rubbish: this transaction must not be committed */
        }
        if (r != 0) {
            return r;
        }
        offset += n;
    }
    return 0;
}

int
store_get_body(struct store_txn *txn, int table, struct bytes key, uint64_t size, int *fd_r)
{
    uint8_t room[STORE_KEY_MAX + CHUNK_NUMBER_SIZE];
    uint64_t offset = 0;
    int r = 0;

    *fd_r = -1;
    if (!is_body_key(key)) {
        return GW_ERR_NOTFOUND;
    }
    int fd = memfd_create("body", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd == -1) {
        return GW_ERR_SYS;
    }
    for (uint32_t number = 0; r == 0 && offset < size; number++) {
        struct bytes v;

        r = store_get(txn, table, chunk_key(room, key, number), &v);
        if (r == 0 && (v.n == 0 || v.n > size - offset)) {
            errno = EIO; /* the chunks are not those of a body of this size */
            r = GW_ERR_SYS;
        }
        if (r == 0) {
            r = write_exactly(fd, v);
            offset += v.n;
        }
    }
    if (r == 0 && lseek(fd, 0, SEEK_SET) == -1) {
        r = GW_ERR_SYS;
    }
    if (r != 0) {
        (void)close(fd);
        return r;
    }
    *fd_r = fd;
    return 0;
}

int
store_delete_body(struct store_txn *txn, int table, struct bytes key)
{
    uint8_t room[STORE_KEY_MAX + CHUNK_NUMBER_SIZE];
    int r = 0;

    if (!is_body_key(key)) {
        return GW_ERR_NOTFOUND;
    }
    for (uint32_t number = 0; r == 0; number++) {
        r = store_delete(txn, table, chunk_key(room, key, number));
    }
    return r == GW_ERR_NOTFOUND ? 0 : r;
}

/*
 * store - LMDB environments: one per concern, owned by one process, opened after fork.
 *
 * Wraps the rules of lmdb.h (one open per process, no transaction across waits) and its recoverable errors: a
 * full map is grown and the transaction run again; dead readers are cleared. Bodies are stored as 64 KiB
 * chunks under key + chunk number, so freed space is reused (no contiguous overflow pages).
 */
#ifndef BASE_STORE_H
#define BASE_STORE_H

#include <stdbool.h>

#include "base/bytes.h"

enum { STORE_CHUNK = 65536 - 64, STORE_KEY_MAX = 500, STORE_TABLES_MAX = 16 };

struct store;
struct store_txn;

struct store_options {
    const char *path; /* the file, e.g. ".../queue.lmdb"; "-lock" is added for the lock */
    size_t map_size;  /* address space reserved, bytes */
    size_t map_limit; /* live data ends here: GW_ERR_FULL. Deletes and small writes have a reserve beyond */
    bool no_sync;     /* commits are durable only after store_sync(); drop and recreate after a crash */
    bool read_only;
    const char *const *tables; /* NULL-terminated names; index = table number below */
};

/* 0, GW_ERR_SYS (errno is LMDB's or the system's; *why_r a fixed text), GW_ERR_FULL. */
int store_open(const struct store_options *options, struct store **store_r, const char **why_r);
/* Whether errno of a failed store_open() says that the file is damaged or not a store, so that trying again
 * is vain. */
bool store_is_damage(int error_number);
void store_close(struct store **store);
int store_sync(struct store *store);

int store_begin(struct store *store, bool write, struct store_txn **txn_r);
int store_commit(struct store_txn **txn); /* 0: durable (unless no_sync). GW_ERR_FULL: nothing was written */
void store_abort(struct store_txn **txn);
void store_spoil(struct store_txn *txn); /* what was written is not whole: store_commit() will refuse */

/* Views are valid until the transaction ends or writes. GW_ERR_NOTFOUND, GW_ERR_FULL, GW_ERR_EXISTS,
 * GW_ERR_SYS. */
int store_get(struct store_txn *txn, int table, struct bytes key, struct bytes *value_r);
int store_put(struct store_txn *txn, int table, struct bytes key, struct bytes value);
int store_put_new(struct store_txn *txn, int table, struct bytes key, struct bytes value); /* GW_ERR_EXISTS */
/* Room of n bytes under key, to be filled before the next call on the transaction. */
int store_put_reserve(struct store_txn *txn, int table, struct bytes key, size_t n, uint8_t **room_r);
int store_delete(struct store_txn *txn, int table, struct bytes key);

/* First entry with key >= from; then use store_next with the last key. Order is memcmp of keys. */
int store_seek(struct store_txn *txn, int table, struct bytes from, struct bytes *key_r,
               struct bytes *value_r);
int store_next(struct store_txn *txn, int table, struct bytes after, struct bytes *key_r,
               struct bytes *value_r);
/* Last entry with key < before; empty `before`: the very last. */
int store_prev(struct store_txn *txn, int table, struct bytes before, struct bytes *key_r,
               struct bytes *value_r);
size_t store_count(struct store_txn *txn, int table);

/* A body from a descriptor into chunks (key, be32 number), and back into an unsealed memfd at offset 0. */
int store_put_body(struct store_txn *txn, int table, struct bytes key, int fd, uint64_t size);
int store_get_body(struct store_txn *txn, int table, struct bytes key, uint64_t size, int *fd_r);
int store_delete_body(struct store_txn *txn, int table, struct bytes key);
/* Bytes in use (an upper estimate, exact within a second once it is near the limit) and map_limit: for alarms
 * and for refusing mail in time. Cheap. */
void store_usage(struct store *store, uint64_t *used_r, uint64_t *limit_r);

#endif

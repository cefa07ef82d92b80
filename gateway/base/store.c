/*
 * store - see the header. Before: the roles that own a store (queue, policy). After: liblmdb 0.9.
 *
 * One store is used by one thread of one process. The map is address space, not memory: it is doubled before
 * a write transaction begins once three quarters are taken, and after a transaction that did not fit, so a
 * caller that runs a batch again after GW_ERR_FULL finds room as long as map_limit allows (libraries.md: LMDB
 * cannot grow under an open transaction, and only one process may grow it). ENOSPC of the disk is GW_ERR_FULL
 * as well: nothing was written and the store goes on working. Never MDB_WRITEMAP: there a full disk is a
 * SIGBUS and a stray write is durable. Everything else that fails is GW_ERR_SYS with LMDB's code in errno.
 */
#include "base/store.h"

#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

enum {
    READERS_MAX = 16, /* slots in the lock file; one process with few transactions needs no more */
    FILE_MODE = 0600,
    KEY_LIMIT =
        STORE_KEY_MAX + 4, /* a body's key with its chunk number (store_body.c); LMDB's own limit is 511 */
    MAP_UNIT = 1 << 20,    /* map sizes are whole megabytes: LMDB wants a multiple of the page size */
    FREE_TABLE = 0,        /* LMDB's own table of free pages */
    LARGE_VALUE = 2000,    /* bytes; about from here on a value takes pages of its own */
    RECOUNT_MS = 1000,     /* counting the free pages reads the whole free list */
};

struct store_txn {
    struct store *store;
    MDB_txn *txn;
    MDB_cursor *cursors[STORE_TABLES_MAX];
    bool write;
    bool failed; /* a write failed: only abort is possible */
    bool full;   /* and the reason was room */
};

struct store {
    MDB_env *env;
    MDB_dbi tables[STORE_TABLES_MAX];
    size_t table_count;
    size_t map_size;
    size_t map_limit; /* of live data; the map itself may grow to map_limit and map_reserve */
    size_t map_reserve;
    size_t page_size;
    int64_t room;       /* bytes of live data that may still be added, at least; see count_room() */
    int64_t counted_ms; /* when */
    int64_t added;      /* bytes written since then */
    size_t open_txns;
    MDB_txn *spare_reader; /* reset, to be renewed: no allocation per read */
    bool read_only;
    bool wants_growth;
};

/* LMDB's return value in our grammar; errno keeps the original. */
static int
translate(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return 0;
    case MDB_NOTFOUND:
        return GW_ERR_NOTFOUND;
    case MDB_KEYEXIST:
        return GW_ERR_EXISTS;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case ENOSPC:
    case EDQUOT:
        errno = rc;
        return GW_ERR_FULL;
    case ENOMEM:
        errno = rc;
        return GW_ERR_NOMEM;
    default:
        errno = rc;
        return GW_ERR_SYS;
    }
}

/* A failed write spoils its transaction. */
static int
note_failure(struct store_txn *txn, int rc)
{
    int r = translate(rc);

    if (r != 0 && r != GW_ERR_NOTFOUND && r != GW_ERR_EXISTS) {
        txn->failed = true;
        txn->full = r == GW_ERR_FULL;
        if (rc == MDB_MAP_FULL) {
            txn->store->wants_growth = true;
        }
    }
    return r;
}

static bool
is_key(struct bytes key)
{
    return key.n > 0 && key.n <= KEY_LIMIT;
}

static MDB_val
to_val(struct bytes v)
{
    return (MDB_val){.mv_size = v.n, .mv_data = (void *)v.p};
}

static struct bytes
from_val(MDB_val v)
{
    return bytes_of(v.mv_data, v.mv_size);
}

static size_t
round_map(size_t size)
{
    return (size + MAP_UNIT - 1) / MAP_UNIT * MAP_UNIT;
}

static size_t
file_bytes(struct store *store)
{
    MDB_envinfo info;

    (void)mdb_env_info(store->env, &info);
    return (info.me_last_pgno + 1) * store->page_size;
}

static int
begin_read(struct store *store, MDB_txn **txn_r)
{
    if (store->spare_reader != NULL) {
        MDB_txn *txn = store->spare_reader;

        store->spare_reader = NULL;
        int rc = mdb_txn_renew(txn);
        if (rc == MDB_SUCCESS) {
            *txn_r = txn;
            return rc;
        }
        mdb_txn_abort(txn);
    }
    return mdb_txn_begin(store->env, NULL, MDB_RDONLY, txn_r);
}

/* Pages that wait for reuse: LMDB keeps them per transaction as a count followed by the page numbers. */
static uint64_t
free_bytes(struct store *store)
{
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_val k, v;
    uint64_t pages = 0;

    if (begin_read(store, &txn) != MDB_SUCCESS) {
        return 0;
    }
    if (mdb_cursor_open(txn, FREE_TABLE, &cursor) == MDB_SUCCESS) {
        while (mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == MDB_SUCCESS) {
            size_t count;

            memcpy(&count, v.mv_data, sizeof(count));
            pages += count;
        }
        mdb_cursor_close(cursor);
    }
    mdb_txn_reset(txn);
    if (store->spare_reader == NULL) {
        store->spare_reader = txn;
    } else {
        mdb_txn_abort(txn);
    }
    return pages * store->page_size;
}

/* Room is counted down by every write and counted anew only when it gets short: deletes give it back then. */
static void
count_room(struct store *store)
{
    int64_t used = (int64_t)file_bytes(store);

    if (used > (int64_t)store->map_limit / 2) {
        used -=
            (int64_t)free_bytes(store); /* the file never shrinks: what counts is what is in use inside it */
    }
    store->room = (int64_t)store->map_limit - used;
    store->counted_ms = clock_monotonic_ms();
    store->added = 0;
}

static void
count_room_if_short(struct store *store)
{
    int64_t limit = (int64_t)store->map_limit;

    if (store->room < limit / 8 &&
        (store->added > limit / 16 || clock_monotonic_ms() - store->counted_ms >= RECOUNT_MS)) {
        count_room(store);
    }
}

/* Only without any open transaction: the map moves. */
static void
grow_if_needed(struct store *store)
{
    if (store->open_txns > 0 || store->map_size >= store->map_limit + store->map_reserve) {
        return;
    }
    if (!store->wants_growth && file_bytes(store) < store->map_size / 4 * 3) {
        return;
    }
    size_t most = store->map_limit + store->map_reserve;
    size_t size = store->map_size > most / 2 ? most : store->map_size * 2;
    if (store->spare_reader != NULL) {
        mdb_txn_abort(store->spare_reader);
        store->spare_reader = NULL;
    }
    if (mdb_env_set_mapsize(store->env, size) == MDB_SUCCESS) {
        store->map_size = size;
        store->wants_growth = false;
    }
}

static int
open_tables(struct store *store, const char *const *names)
{
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(store->env, NULL, store->read_only ? MDB_RDONLY : 0, &txn);

    for (size_t i = 0; rc == MDB_SUCCESS && names[i] != NULL; i++) {
        if (i == STORE_TABLES_MAX) {
            rc = MDB_DBS_FULL;
            break;
        }
        rc = mdb_dbi_open(txn, names[i], store->read_only ? 0 : MDB_CREATE, &store->tables[i]);
        store->table_count = i + 1;
    }
    if (rc == MDB_SUCCESS) {
        rc = mdb_txn_commit(txn); /* for readers too: it keeps the handles */
    } else if (txn != NULL) {
        mdb_txn_abort(txn);
    }
    return rc;
}

int
store_open(const struct store_options *options, struct store **store_r, const char **why_r)
{
    unsigned flags = MDB_NOSUBDIR | MDB_NOTLS;
    MDB_stat status;
    int rc, dead;

    *store_r = NULL;
    struct store *store = calloc(1, sizeof(*store));
    if (store == NULL) {
        *why_r = "out of memory";
        return GW_ERR_NOMEM;
    }
    store->read_only = options->read_only;
    store->map_size = round_map(options->map_size);
    store->map_limit =
        round_map(options->map_limit > options->map_size ? options->map_limit : options->map_size);
    store->map_reserve = round_map(store->map_limit / 16 + MAP_UNIT);
    flags |= options->no_sync ? MDB_NOSYNC : 0;
    flags |= options->read_only ? MDB_RDONLY : 0;
    if ((rc = mdb_env_create(&store->env)) != MDB_SUCCESS ||
        (rc = mdb_env_set_maxdbs(store->env, STORE_TABLES_MAX)) != MDB_SUCCESS ||
        (rc = mdb_env_set_maxreaders(store->env, READERS_MAX)) != MDB_SUCCESS ||
        (rc = mdb_env_set_mapsize(store->env, store->map_size)) != MDB_SUCCESS ||
        (rc = mdb_env_open(store->env, options->path, flags, FILE_MODE)) != MDB_SUCCESS ||
        (rc = mdb_reader_check(store->env, &dead)) != MDB_SUCCESS ||
        (rc = mdb_env_stat(store->env, &status)) != MDB_SUCCESS) {
        goto out;
    }
    store->page_size = status.ms_psize;
    MDB_envinfo info;
    if ((rc = mdb_env_info(store->env, &info)) != MDB_SUCCESS) {
        goto out;
    }
    if (info.me_mapsize > store->map_size) {
        store->map_size = info.me_mapsize; /* the file is larger than was asked for */
    }
    rc = open_tables(store, options->tables);
    if (rc == MDB_MAP_FULL && store->map_size < store->map_limit + store->map_reserve) {
        store->wants_growth = true;
        grow_if_needed(store);
        rc = open_tables(store, options->tables);
    }
out:
    if (rc != MDB_SUCCESS) {
        *why_r = mdb_strerror(rc);
        int r = translate(rc);
        if (r == GW_ERR_NOTFOUND || r == GW_ERR_EXISTS) {
            r = GW_ERR_SYS;
        }
        store_close(&store);
        errno = rc;
        return r;
    }
    count_room(store);
    *store_r = store;
    return 0;
}

bool
store_is_damage(int error_number)
{
    return error_number == MDB_CORRUPTED || error_number == MDB_INVALID ||
           error_number == MDB_VERSION_MISMATCH || error_number == MDB_PAGE_NOTFOUND ||
           error_number == MDB_PANIC;
}

void
store_close(struct store **store)
{
    if (*store == NULL) {
        return;
    }
    if ((*store)->spare_reader != NULL) {
        mdb_txn_abort((*store)->spare_reader);
    }
    if ((*store)->env != NULL) {
        mdb_env_close((*store)->env);
    }
    free(*store);
    *store = NULL;
}

int
store_sync(struct store *store)
{
    return translate(mdb_env_sync(store->env, 1));
}

int
store_begin(struct store *store, bool write, struct store_txn **txn_r)
{
    *txn_r = NULL;
    if (write && store->read_only) {
        return GW_ERR_DENIED;
    }
    if (write) {
        grow_if_needed(store);
        count_room_if_short(store);
    }
    struct store_txn *txn = calloc(1, sizeof(*txn));
    if (txn == NULL) {
        return GW_ERR_NOMEM;
    }
    txn->store = store;
    txn->write = write;
    int rc = write ? mdb_txn_begin(store->env, NULL, 0, &txn->txn) : begin_read(store, &txn->txn);
    if (rc != MDB_SUCCESS) {
        free(txn);
        return translate(rc);
    }
    store->open_txns++;
    *txn_r = txn;
    return 0;
}

static void
close_cursors(struct store_txn *txn)
{
    for (size_t i = 0; i < txn->store->table_count; i++) {
        if (txn->cursors[i] != NULL) {
            mdb_cursor_close(txn->cursors[i]);
            txn->cursors[i] = NULL;
        }
    }
}

void
store_abort(struct store_txn **txn_p)
{
    struct store_txn *txn = *txn_p;

    if (txn == NULL) {
        return;
    }
    close_cursors(txn);
    if (!txn->write && txn->store->spare_reader == NULL) {
        mdb_txn_reset(txn->txn);
        txn->store->spare_reader = txn->txn;
    } else {
        mdb_txn_abort(txn->txn);
    }
    txn->store->open_txns--;
    free(txn);
    *txn_p = NULL;
}

int
store_commit(struct store_txn **txn_p)
{
    struct store_txn *txn = *txn_p;
    int r;

    if (!txn->write || txn->failed) {
        r = !txn->failed ? 0 : txn->full ? GW_ERR_FULL : GW_ERR_SYS;
        store_abort(txn_p);
        return r;
    }
    close_cursors(txn);
    r = note_failure(txn, mdb_txn_commit(txn->txn)); /* frees the transaction either way */
    txn->store->open_txns--;
    free(txn);
    *txn_p = NULL;
    return r;
}

int
store_get(struct store_txn *txn, int table, struct bytes key, struct bytes *value_r)
{
    MDB_val k = to_val(key), v;

    *value_r = (struct bytes){0};
    if (!is_key(key)) {
        return GW_ERR_NOTFOUND;
    }
    int r = translate(mdb_get(txn->txn, txn->store->tables[table], &k, &v));
    if (r == 0) {
        *value_r = from_val(v);
    }
    return r;
}

static int
put(struct store_txn *txn, int table, struct bytes key, MDB_val *value, unsigned flags)
{
    MDB_val k = to_val(key);

    if (!is_key(key)) {
        return GW_ERR_LIMIT;
    }
    if (txn->failed) {
        return txn->full ? GW_ERR_FULL : GW_ERR_SYS;
    }
    /* Small values may use the reserve: they are the status of what is there already. */
    int64_t cost = (int64_t)(key.n + value->mv_size);
    cost += value->mv_size > LARGE_VALUE ? (int64_t)txn->store->page_size : 0;
    txn->store->room -= cost;
    txn->store->added += cost;
    if (value->mv_size > LARGE_VALUE && txn->store->room < 0) {
        return note_failure(txn, MDB_TXN_FULL);
    }
    return note_failure(txn, mdb_put(txn->txn, txn->store->tables[table], &k, value, flags));
}

int
store_put(struct store_txn *txn, int table, struct bytes key, struct bytes value)
{
    MDB_val v = to_val(value);

    return put(txn, table, key, &v, 0);
}

int
store_put_new(struct store_txn *txn, int table, struct bytes key, struct bytes value)
{
    MDB_val v = to_val(value);

    return put(txn, table, key, &v, MDB_NOOVERWRITE);
}

int
store_put_reserve(struct store_txn *txn, int table, struct bytes key, size_t n, uint8_t **room_r)
{
    MDB_val v = {.mv_size = n};
    int r = put(txn, table, key, &v, MDB_RESERVE);

    *room_r = r == 0 ? v.mv_data : NULL;
    return r;
}

int
store_delete(struct store_txn *txn, int table, struct bytes key)
{
    MDB_val k = to_val(key);

    if (!is_key(key)) {
        return GW_ERR_NOTFOUND;
    }
    if (txn->failed) {
        return txn->full ? GW_ERR_FULL : GW_ERR_SYS;
    }
    return note_failure(txn, mdb_del(txn->txn, txn->store->tables[table], &k, NULL));
}

void
store_spoil(struct store_txn *txn)
{
    txn->failed = true;
}

static int
get_cursor(struct store_txn *txn, int table, MDB_cursor **cursor_r)
{
    int rc = MDB_SUCCESS;

    if (txn->cursors[table] == NULL) {
        rc = mdb_cursor_open(txn->txn, txn->store->tables[table], &txn->cursors[table]);
    }
    *cursor_r = txn->cursors[table];
    return rc;
}

int
store_seek(struct store_txn *txn, int table, struct bytes from, struct bytes *key_r, struct bytes *value_r)
{
    MDB_val k = to_val(from), v;
    MDB_cursor *cursor;
    int rc = get_cursor(txn, table, &cursor);

    *key_r = *value_r = (struct bytes){0};
    if (rc == MDB_SUCCESS) {
        rc = mdb_cursor_get(cursor, &k, &v, from.n == 0 ? MDB_FIRST : MDB_SET_RANGE);
    }
    if (rc == MDB_SUCCESS) {
        *key_r = from_val(k);
        *value_r = from_val(v);
    }
    return translate(rc);
}

int
store_next(struct store_txn *txn, int table, struct bytes after, struct bytes *key_r, struct bytes *value_r)
{
    uint8_t last[KEY_LIMIT];
    MDB_val k, v;
    MDB_cursor *cursor;

    *key_r = *value_r = (struct bytes){0};
    if (after.n == 0 || after.n > sizeof(last)) {
        return GW_ERR_LIMIT;
    }
    int rc = get_cursor(txn, table, &cursor);
    if (rc != MDB_SUCCESS) {
        return translate(rc);
    }
    /* In a write transaction the entry may have been deleted meanwhile: search again rather than trust the
     * cursor. */
    if (!txn->write && mdb_cursor_get(cursor, &k, &v, MDB_GET_CURRENT) == MDB_SUCCESS &&
        bytes_equal(from_val(k), after)) {
        rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    } else {
        memcpy(last, after.p, after.n); /* `after` may be a view that the search moves away from */
        k = to_val(bytes_of(last, after.n));
        rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
        if (rc == MDB_SUCCESS && bytes_equal(from_val(k), bytes_of(last, after.n))) {
            rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
        }
    }
    if (rc == MDB_SUCCESS) {
        *key_r = from_val(k);
        *value_r = from_val(v);
    }
    return translate(rc);
}

int
store_prev(struct store_txn *txn, int table, struct bytes before, struct bytes *key_r, struct bytes *value_r)
{
    MDB_val k = to_val(before), v;
    MDB_cursor *cursor;
    int rc = get_cursor(txn, table, &cursor);

    *key_r = *value_r = (struct bytes){0};
    if (rc == MDB_SUCCESS) {
        rc = before.n == 0 ? MDB_NOTFOUND : mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
        rc = rc == MDB_NOTFOUND  ? mdb_cursor_get(cursor, &k, &v, MDB_LAST) /* all keys are smaller */
             : rc == MDB_SUCCESS ? mdb_cursor_get(cursor, &k, &v, MDB_PREV)
                                 : rc;
    }
    if (rc == MDB_SUCCESS) {
        *key_r = from_val(k);
        *value_r = from_val(v);
    }
    return translate(rc);
}

size_t
store_count(struct store_txn *txn, int table)
{
    MDB_stat status;

    return mdb_stat(txn->txn, txn->store->tables[table], &status) == MDB_SUCCESS ? status.ms_entries : 0;
}

void
store_usage(struct store *store, uint64_t *used_r, uint64_t *limit_r)
{
    count_room_if_short(store);
    *limit_r = store->map_limit;
    *used_r = store->room > 0 ? store->map_limit - (uint64_t)store->room : store->map_limit;
}

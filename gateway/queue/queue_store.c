/*
 * queue_store - see the header. Before: queue_commit.c (writes), queue_recover.c, queue_active.c, queue_ctl.c
 * (read).
 *
 * Owns the environment queue.lmdb. Keys that belong to one message and have a number behind the id are
 * separated by a NUL, which no id can hold: so the rows of "3abc" are never taken for rows of "3abcd". A row
 * that cannot be read gives GW_ERR_SYNTAX and the caller keeps the message: what we do not understand is
 * never deleted.
 */
#include "queue/queue_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/pack.h"

enum { TABLE_ENVELOPE, TABLE_BODY, TABLE_STATUS, TABLE_OUTCOME };
enum {
    STATUS_VERSION = 1,
    OUTCOME_VERSION = 1,
    KEY_MAX = QUEUE_ID_MAX + 8,
    ROW_MAX = 2 * QUEUE_REPLY_MAX + 128,
    /* Address space costs nothing: growing a map in small steps would only abort transactions. */
    MAP_INITIAL = 1024 * 1024 * 1024,
};

static const char *const TABLE_NAMES[] = {"envelope", "body", "status", "outcome", NULL};

struct queue_store {
    struct store *store;
};

int
queue_store_open(const char *directory, uint64_t size_limit, struct queue_store **store_r, const char **why_r)
{
    char path[4096];
    struct queue_store *store = NULL;
    int r = GW_ERR_INTERNAL;

    *store_r = NULL;
    *why_r = "";
    int n = snprintf(path, sizeof(path), "%s/queue.lmdb", directory);
    if (n < 0 || (size_t)n >= sizeof(path)) {
        *why_r = "queue_directory is too long";
        return GW_ERR_LIMIT;
    }
    store = calloc(1, sizeof(*store));
    if (store == NULL) {
        *why_r = "out of memory";
        return GW_ERR_NOMEM;
    }
    struct store_options options = {
        .path = path,
        .map_size = size_limit < MAP_INITIAL ? (size_t)size_limit : (size_t)MAP_INITIAL,
        .map_limit = (size_t)size_limit,
        .tables = TABLE_NAMES,
    };
    if ((r = store_open(&options, &store->store, why_r)) != 0) {
        free(store);
        return r;
    }
    *store_r = store;
    return 0;
}

void
queue_store_close(struct queue_store **store)
{
    if (*store != NULL) {
        store_close(&(*store)->store);
        free(*store);
        *store = NULL;
    }
}

void
queue_store_usage(struct queue_store *store, uint64_t *used_r, uint64_t *limit_r)
{
    store_usage(store->store, used_r, limit_r);
}

int
queue_store_begin(struct queue_store *store, bool write, struct store_txn **txn_r)
{
    return store_begin(store->store, write, txn_r);
}

bool
queue_store_is_id(const char *id)
{
    size_t n = strnlen(id, QUEUE_ID_MAX);

    if (n == 0 || n >= QUEUE_ID_MAX) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char c = id[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))) {
            return false;
        }
    }
    return true;
}

/* "id NUL", the prefix of a message's numbered rows. */
static struct bytes
prefix_key(const char *id, uint8_t key[KEY_MAX])
{
    size_t n = strnlen(id, QUEUE_ID_MAX - 1);

    memcpy(key, id, n);
    key[n] = 0;
    return bytes_of(key, n + 1);
}

static struct bytes
number_key(const char *id, uint32_t number, uint8_t key[KEY_MAX])
{
    size_t n = prefix_key(id, key).n;

    for (int i = 0; i < 4; i++) {
        key[n++] = (uint8_t)(number >> (24 - 8 * i));
    }
    return bytes_of(key, n);
}

/* True when key is prefix + 4 bytes; *number_r is then their value. */
static bool
has_prefix(struct bytes key, struct bytes prefix, uint32_t *number_r)
{
    if (key.n != prefix.n + 4 || memcmp(key.p, prefix.p, prefix.n) != 0) {
        return false;
    }
    const uint8_t *p = key.p + prefix.n;
    *number_r = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    return true;
}

int
queue_store_add(struct store_txn *txn, const char *id, struct bytes packed_envelope, int body_fd,
                uint64_t size, const struct queue_status *status)
{
    uint8_t key[KEY_MAX];
    int r = GW_ERR_INTERNAL;

    if (!queue_store_is_id(id)) {
        return GW_ERR_SYNTAX;
    }
    if ((r = store_put_new(txn, TABLE_ENVELOPE, bytes_str(id), packed_envelope)) != 0 ||
        (r = store_put_body(txn, TABLE_BODY, prefix_key(id, key), body_fd, size)) != 0) {
        return r;
    }
    return status != NULL ? queue_store_set_status(txn, id, status) : 0;
}

int
queue_store_set_envelope(struct store_txn *txn, const char *id, struct bytes packed_envelope)
{
    return store_put(txn, TABLE_ENVELOPE, bytes_str(id), packed_envelope);
}

int
queue_store_set_status(struct store_txn *txn, const char *id, const struct queue_status *status)
{
    struct buf row;
    int r = GW_ERR_INTERNAL;

    buf_init(&row, ROW_MAX);
    if ((r = pack_u8(&row, STATUS_VERSION)) == 0 && (r = pack_i64(&row, status->next_us)) == 0 &&
        (r = pack_u32(&row, status->attempts)) == 0 && (r = pack_u8(&row, status->flags)) == 0) {
        r = store_put(txn, TABLE_STATUS, bytes_str(id), bytes_buf(&row));
    }
    buf_free(&row);
    return r;
}

int
queue_store_set_outcome(struct store_txn *txn, const char *id, uint16_t number,
                        const struct queue_outcome *outcome)
{
    uint8_t key[KEY_MAX];
    struct buf row;
    int r = GW_ERR_INTERNAL;

    buf_init(&row, ROW_MAX);
    if ((r = pack_u8(&row, OUTCOME_VERSION)) == 0 && (r = pack_u8(&row, outcome->status)) == 0 &&
        (r = pack_u16(&row, outcome->parent)) == 0 && (r = pack_str(&row, outcome->dsn)) == 0 &&
        (r = pack_bytes(&row, bytes_sub(outcome->reply, 0, QUEUE_REPLY_MAX))) == 0 &&
        (r = pack_bytes(&row, bytes_sub(outcome->remote_mta, 0, QUEUE_REPLY_MAX))) == 0) {
        r = store_put(txn, TABLE_OUTCOME, number_key(id, number, key), bytes_buf(&row));
    }
    buf_free(&row);
    return r;
}

/* The rows "id NUL number" of the table. */
static int
delete_numbered(struct store_txn *txn, int table, const char *id)
{
    uint8_t prefix_bytes[KEY_MAX], from_bytes[KEY_MAX], found_bytes[KEY_MAX];
    struct bytes prefix = prefix_key(id, prefix_bytes), key, value;
    uint32_t number;
    int r;

    while ((r = store_seek(txn, table, number_key(id, 0, from_bytes), &key, &value)) == 0 &&
           has_prefix(key, prefix, &number)) {
        memcpy(found_bytes, key.p, key.n); /* the view ends with the deletion */
        if ((r = store_delete(txn, table, bytes_of(found_bytes, key.n))) != 0) {
            return r;
        }
    }
    return r == GW_ERR_NOTFOUND ? 0 : r;
}

static int
ignore_notfound(int r)
{
    return r == GW_ERR_NOTFOUND ? 0 : r;
}

int
queue_store_remove(struct store_txn *txn, const char *id)
{
    uint8_t key[KEY_MAX];
    int r = GW_ERR_INTERNAL;

    if ((r = ignore_notfound(store_delete(txn, TABLE_ENVELOPE, bytes_str(id)))) != 0 ||
        (r = ignore_notfound(store_delete_body(txn, TABLE_BODY, prefix_key(id, key)))) != 0 ||
        (r = ignore_notfound(store_delete(txn, TABLE_STATUS, bytes_str(id)))) != 0) {
        return r;
    }
    return delete_numbered(txn, TABLE_OUTCOME, id);
}

int
queue_store_get_envelope(struct store_txn *txn, const char *id, struct bytes *packed_r)
{
    return store_get(txn, TABLE_ENVELOPE, bytes_str(id), packed_r);
}

int
queue_store_get_status(struct store_txn *txn, const char *id, struct queue_status *status_r)
{
    struct unpack u;
    struct bytes row;

    *status_r = (struct queue_status){0};
    int r = store_get(txn, TABLE_STATUS, bytes_str(id), &row);
    if (r != 0) {
        return ignore_notfound(r);
    }
    unpack_begin(&u, row);
    uint8_t version = unpack_u8(&u);
    struct queue_status status = {.next_us = unpack_i64(&u)};
    status.attempts = unpack_u32(&u);
    status.flags = unpack_u8(&u);
    if (unpack_end(&u) != 0 || version != STATUS_VERSION) {
        return GW_ERR_SYNTAX;
    }
    *status_r = status;
    return 0;
}

static int
read_outcome(struct bytes row, struct queue_outcome *outcome_r)
{
    struct unpack u;

    *outcome_r = (struct queue_outcome){.parent = QUEUE_NO_PARENT};
    unpack_begin(&u, row);
    uint8_t version = unpack_u8(&u);
    struct queue_outcome outcome = {.status = unpack_u8(&u)};
    outcome.parent = unpack_u16(&u);
    unpack_str(&u, outcome.dsn, sizeof(outcome.dsn));
    outcome.reply = unpack_bytes(&u, QUEUE_REPLY_MAX);
    outcome.remote_mta = unpack_bytes(&u, QUEUE_REPLY_MAX);
    if (unpack_end(&u) != 0 || version != OUTCOME_VERSION || outcome.status >= QUEUE_RECIPIENT_STATES) {
        return GW_ERR_SYNTAX;
    }
    *outcome_r = outcome;
    return 0;
}

int
queue_store_each_outcome(struct store_txn *txn, const char *id, queue_store_outcome *each, void *context)
{
    uint8_t prefix_bytes[KEY_MAX], from[KEY_MAX];
    struct bytes prefix = prefix_key(id, prefix_bytes), key, value;
    uint32_t number;
    int r = store_seek(txn, TABLE_OUTCOME, number_key(id, 0, from), &key, &value);

    while (r == 0 && has_prefix(key, prefix, &number)) {
        struct queue_outcome outcome;

        if (number >= ENVELOPE_RECIPIENTS_MAX) {
            return GW_ERR_SYNTAX;
        }
        if ((r = read_outcome(value, &outcome)) != 0 || (r = each(context, (uint16_t)number, &outcome)) < 0) {
            return r;
        }
        r = store_next(txn, TABLE_OUTCOME, key, &key, &value);
    }
    return ignore_notfound(r);
}

int
queue_store_get_body(struct store_txn *txn, const char *id, uint64_t size, int *fd_r)
{
    uint8_t key[KEY_MAX];

    return store_get_body(txn, TABLE_BODY, prefix_key(id, key), size, fd_r);
}

int
queue_store_next(struct store_txn *txn, const char *after, char id_r[QUEUE_ID_MAX], struct bytes *packed_r)
{
    struct bytes key, value;
    int r;

    *packed_r = (struct bytes){0};
    if (after[0] == '\0') {
        r = store_seek(txn, TABLE_ENVELOPE, BYTES_LIT("0"), &key, &value);
    } else {
        r = store_next(txn, TABLE_ENVELOPE, bytes_str(after), &key, &value);
    }
    id_r[0] = '\0'; /* only now: it may be `after` */
    if (r != 0) {
        return r;
    }
    if (key.n >= QUEUE_ID_MAX) {
        return GW_ERR_SYNTAX;
    }
    memcpy(id_r, key.p, key.n);
    id_r[key.n] = '\0';
    *packed_r = value;
    return 0;
}

size_t
queue_store_count(struct store_txn *txn)
{
    return store_count(txn, TABLE_ENVELOPE);
}

/* The id a row of any table belongs to: what stands before the NUL. False for a key that cannot be one of
 * ours. */
static bool
owner_of(struct bytes key, char id_r[QUEUE_ID_MAX])
{
    ptrdiff_t end = bytes_index(key, 0);
    size_t n = end >= 0 ? (size_t)end : key.n;

    if (n == 0 || n >= QUEUE_ID_MAX) {
        return false;
    }
    memcpy(id_r, key.p, n);
    id_r[n] = '\0';
    return queue_store_is_id(id_r);
}

/* The next owner in the table behind every row of `id`. */
static int
next_owner(struct store_txn *txn, int table, const char *id, char id_r[QUEUE_ID_MAX])
{
    uint8_t from[KEY_MAX];
    struct bytes key, value;
    size_t n = strnlen(id, QUEUE_ID_MAX - 1);

    memcpy(from, id, n);
    from[n] = 1; /* behind "id NUL ...", before any longer id */
    int r = store_seek(txn, table, bytes_of(from, n + 1), &key, &value);
    while (r == 0 && !owner_of(key, id_r)) {
        r = store_next(txn, table, key, &key, &value);
    }
    return r;
}

int
queue_store_remove_orphans(struct store_txn *txn, size_t *removed_r)
{
    static const int OWNED[] = {TABLE_BODY, TABLE_STATUS, TABLE_OUTCOME};
    struct bytes value;
    int r = 0;

    *removed_r = 0;
    for (size_t i = 0; i < sizeof(OWNED) / sizeof(OWNED[0]); i++) {
        char id[QUEUE_ID_MAX] = "", found[QUEUE_ID_MAX];

        while ((r = next_owner(txn, OWNED[i], id, found)) == 0) {
            (void)snprintf(id, sizeof(id), "%s", found);
            r = store_get(txn, TABLE_ENVELOPE, bytes_str(id), &value);
            if (r == GW_ERR_NOTFOUND) {
                r = queue_store_remove(txn, id);
                (*removed_r)++;
            }
            if (r != 0) {
                return r;
            }
        }
        if (r != GW_ERR_NOTFOUND) {
            return r;
        }
    }
    return 0;
}

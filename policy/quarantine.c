/*
 * quarantine - see the header: entries and bodies in quarantine.lmdb.
 *
 * Before: service.c with WIRE_QUARANTINE and service_ctl.c with the operator's commands. After: base/store.h.
 * Entry and body are one transaction, commits are durable; a failure anywhere aborts the whole batch, and
 * everybody in it is told to try again later, so the message stays with the client. When the store is full
 * nothing is dropped to make room: what was promised to be kept is kept until its time.
 */
#include "policy/quarantine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/ipc.h"
#include "base/pack.h"
#include "base/store.h"

enum {
    ENTRIES = 0,
    BODIES = 1,
    ENTRY_VERSION = 1,
    FIRST_MAP = 64 * 1024 * 1024,
    EXPIRE_AT_ONCE = 16,
    ATTEMPTS = 2, /* the map grows between them */
};

struct quarantine {
    struct store *store;
    struct store_txn *txn; /* the batch; NULL when empty */
    int64_t retention_us;
    int64_t last_us; /* of the last id */
};

static const char *const TABLES[] = {[ENTRIES] = "entry", [BODIES] = "body", NULL};

int
quarantine_entry_pack(struct buf *buf, const struct quarantine_entry *entry)
{
    int r = pack_u8(buf, ENTRY_VERSION);

    r = r == 0 ? pack_str(buf, entry->id) : r;
    r = r == 0 ? pack_u8(buf, entry->state) : r;
    r = r == 0 ? pack_i64(buf, entry->wall_us) : r;
    r = r == 0 ? pack_i64(buf, entry->changed_us) : r;
    r = r == 0 ? pack_u64(buf, entry->size) : r;
    r = r == 0 ? pack_bytes(buf, bytes_sub(entry->reason, 0, QUARANTINE_REASON_MAX)) : r;
    r = r == 0 ? pack_bytes(buf, entry->envelope) : r;
    return r == 0 ? pack_bytes(buf, entry->report) : r;
}

int
quarantine_entry_unpack(struct bytes payload, struct quarantine_entry *entry_r)
{
    struct unpack u;
    uint8_t version;

    *entry_r = (struct quarantine_entry){0};
    unpack_begin(&u, payload);
    version = unpack_u8(&u);
    unpack_str(&u, entry_r->id, sizeof(entry_r->id));
    entry_r->state = unpack_u8(&u);
    entry_r->wall_us = unpack_i64(&u);
    entry_r->changed_us = unpack_i64(&u);
    entry_r->size = unpack_u64(&u);
    entry_r->reason = unpack_bytes(&u, QUARANTINE_REASON_MAX);
    entry_r->envelope = unpack_bytes(&u, QUARANTINE_ENVELOPE_MAX);
    entry_r->report = unpack_bytes(&u, QUARANTINE_ENVELOPE_MAX);
    return version != ENTRY_VERSION ? GW_ERR_SYNTAX : unpack_end(&u);
}

int
quarantine_open(const char *path, uint64_t size_limit, int64_t retention_s, struct quarantine **quarantine_r,
                const char **why_r)
{
    struct quarantine *quarantine = calloc(1, sizeof(*quarantine));
    struct store_options options = {.path = path,
                                    .map_size = size_limit < FIRST_MAP ? (size_t)size_limit : FIRST_MAP,
                                    .map_limit = (size_t)size_limit,
                                    .tables = TABLES};
    int r;

    *quarantine_r = NULL;
    if (quarantine == NULL) {
        *why_r = "out of memory";
        return GW_ERR_NOMEM;
    }
    quarantine->retention_us = retention_s * 1000000;
    if ((r = store_open(&options, &quarantine->store, why_r)) != 0) {
        quarantine_free(&quarantine);
        return r;
    }
    *quarantine_r = quarantine;
    return 0;
}

void
quarantine_free(struct quarantine **quarantine)
{
    if (*quarantine == NULL) {
        return;
    }
    store_abort(&(*quarantine)->txn);
    store_close(&(*quarantine)->store);
    free(*quarantine);
    *quarantine = NULL;
}

static int
add_once(struct quarantine *quarantine, const struct quarantine_entry *entry, struct bytes packed,
         int content_fd)
{
    int r = 0;

    if (quarantine->txn == NULL && (r = store_begin(quarantine->store, true, &quarantine->txn)) != 0) {
        return r;
    }
    r = store_put_new(quarantine->txn, ENTRIES, bytes_str(entry->id), packed);
    if (r == 0) {
        r = store_put_body(quarantine->txn, BODIES, bytes_str(entry->id), content_fd, entry->size);
    }
    if (r != 0) {
        store_abort(&quarantine->txn);
    }
    return r;
}

/* Q and the time in microseconds as hexadecimal digits: unique, sorted by time, nothing a shell minds. */
static void
make_id(struct quarantine *quarantine, int64_t now_us, char id_r[QUARANTINE_ID_MAX])
{
    quarantine->last_us = now_us > quarantine->last_us ? now_us : quarantine->last_us + 1;
    (void)snprintf(id_r, QUARANTINE_ID_MAX, "Q%014llx", (unsigned long long)quarantine->last_us);
}

int
quarantine_add(struct quarantine *quarantine, const struct quarantine_entry *entry, int content_fd,
               int64_t now_us, char id_r[QUARANTINE_ID_MAX])
{
    struct quarantine_entry full = *entry;
    bool was_empty = quarantine->txn == NULL;
    struct stat status;
    struct buf packed;
    int r;

    id_r[0] = '\0';
    if (!ipc_is_sealed(content_fd) || fstat(content_fd, &status) == -1 || status.st_size < 0) {
        return GW_ERR_PEER;
    }
    full.wall_us = now_us;
    full.size = (uint64_t)status.st_size;
    buf_init(&packed, 2 * (size_t)QUARANTINE_ENVELOPE_MAX);
    for (int attempt = 0;; attempt++) {
        make_id(quarantine, now_us, full.id);
        buf_clear(&packed);
        if ((r = quarantine_entry_pack(&packed, &full)) != 0) {
            store_abort(&quarantine->txn);
            break;
        }
        r = add_once(quarantine, &full, bytes_buf(&packed), content_fd);
        /* Others in the batch are lost with it and must hear so: only a batch of one may be tried again here.
         */
        if (attempt + 1 >= ATTEMPTS || !was_empty || (r != GW_ERR_FULL && r != GW_ERR_EXISTS)) {
            break;
        }
    }
    buf_free(&packed);
    if (r == 0) {
        memcpy(id_r, full.id, sizeof(full.id));
    }
    return r;
}

bool
quarantine_is_dirty(const struct quarantine *quarantine)
{
    return quarantine->txn != NULL;
}

int
quarantine_commit(struct quarantine *quarantine)
{
    return quarantine->txn == NULL ? 0 : store_commit(&quarantine->txn);
}

void
quarantine_drop(struct quarantine *quarantine)
{
    store_abort(&quarantine->txn);
}

/* Copies a value out of the store, so that no transaction outlives the call. */
static int
copy_entry(struct bytes value, struct buf *storage, struct quarantine_entry *entry_r)
{
    int r;

    buf_clear(storage);
    if ((r = buf_append_bytes(storage, value)) == 0) {
        r = quarantine_entry_unpack(bytes_buf(storage), entry_r);
    }
    return r == GW_ERR_SYNTAX ? GW_ERR_SYS : r;
}

int
quarantine_get(struct quarantine *quarantine, struct bytes id, struct buf *storage,
               struct quarantine_entry *entry_r)
{
    struct store_txn *txn = NULL;
    struct bytes value;
    int r = store_begin(quarantine->store, false, &txn);

    *entry_r = (struct quarantine_entry){0};
    if (r == 0 && (r = store_get(txn, ENTRIES, id, &value)) == 0) {
        r = copy_entry(value, storage, entry_r);
    }
    store_abort(&txn);
    return r;
}

int
quarantine_previous(struct quarantine *quarantine, struct bytes before, struct buf *storage,
                    struct quarantine_entry *entry_r)
{
    struct store_txn *txn = NULL;
    struct bytes key, value;
    int r = store_begin(quarantine->store, false, &txn);

    *entry_r = (struct quarantine_entry){0};
    if (r == 0 && (r = store_prev(txn, ENTRIES, before, &key, &value)) == 0) {
        r = copy_entry(value, storage, entry_r);
    }
    store_abort(&txn);
    return r;
}

int
quarantine_content(struct quarantine *quarantine, struct bytes id, int *fd_r)
{
    struct store_txn *txn = NULL;
    struct quarantine_entry entry;
    struct bytes value;
    int r = store_begin(quarantine->store, false, &txn);

    *fd_r = -1;
    if (r == 0 && (r = store_get(txn, ENTRIES, id, &value)) == 0) {
        r = quarantine_entry_unpack(value, &entry);
        r = r != 0 ? GW_ERR_SYS : store_get_body(txn, BODIES, id, entry.size, fd_r);
    }
    store_abort(&txn);
    return r;
}

int
quarantine_mark_released(struct quarantine *quarantine, struct bytes id, int64_t now_us)
{
    struct quarantine_entry entry;
    struct buf storage, packed;
    struct store_txn *txn = NULL;
    int r;

    buf_init(&storage, 2 * (size_t)QUARANTINE_ENVELOPE_MAX);
    buf_init(&packed, 2 * (size_t)QUARANTINE_ENVELOPE_MAX);
    if (quarantine->txn != NULL) {
        r = GW_ERR_AGAIN; /* a batch is under way; the service commits it first */
    } else if ((r = quarantine_get(quarantine, id, &storage, &entry)) == 0) {
        entry.state = QUARANTINE_RELEASED;
        entry.changed_us = now_us;
        r = quarantine_entry_pack(&packed, &entry);
        r = r == 0 ? store_begin(quarantine->store, true, &txn) : r;
        r = r == 0 ? store_put(txn, ENTRIES, id, bytes_buf(&packed)) : r;
        r = r == 0 ? store_commit(&txn) : r;
        store_abort(&txn);
    }
    buf_free(&storage);
    buf_free(&packed);
    return r;
}

static int
delete_in(struct store_txn *txn, struct bytes id)
{
    int r = store_delete(txn, ENTRIES, id);

    return r == 0 ? store_delete_body(txn, BODIES, id) : r;
}

int
quarantine_delete(struct quarantine *quarantine, struct bytes id)
{
    struct store_txn *txn = NULL;
    int r;

    if (quarantine->txn != NULL) {
        return GW_ERR_AGAIN;
    }
    if ((r = store_begin(quarantine->store, true, &txn)) == 0 && (r = delete_in(txn, id)) == 0) {
        r = store_commit(&txn);
    }
    store_abort(&txn);
    return r;
}

/* The id of the oldest entry when its time is over. */
static bool
find_oldest(struct store_txn *txn, int64_t before_us, uint8_t id[QUARANTINE_ID_MAX], size_t *n_r)
{
    struct quarantine_entry entry;
    struct bytes key, value;

    if (store_seek(txn, ENTRIES, (struct bytes){0}, &key, &value) != 0 || key.n > QUARANTINE_ID_MAX) {
        return false;
    }
    memcpy(id, key.p, key.n);
    *n_r = key.n;
    return quarantine_entry_unpack(value, &entry) != 0 || entry.wall_us < before_us;
}

size_t
quarantine_expire(struct quarantine *quarantine, int64_t now_us)
{
    int64_t before_us = now_us - quarantine->retention_us;
    struct store_txn *txn = NULL;
    uint8_t id[QUARANTINE_ID_MAX];
    size_t n, deleted = 0;

    if (quarantine->txn != NULL || store_begin(quarantine->store, false, &txn) != 0) {
        return 0;
    }
    bool any = find_oldest(txn, before_us, id, &n);
    store_abort(&txn);
    if (!any || store_begin(quarantine->store, true, &txn) != 0) {
        return 0;
    }
    while (deleted < EXPIRE_AT_ONCE && find_oldest(txn, before_us, id, &n)) {
        if (delete_in(txn, bytes_of(id, n)) != 0) {
            store_abort(&txn);
            return 0;
        }
        deleted++;
    }
    return store_commit(&txn) == 0 ? deleted : 0;
}

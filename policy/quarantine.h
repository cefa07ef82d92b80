/*
 * quarantine - messages that were accepted but not passed on, byte for byte, with what was known about them.
 *
 * An entry is durable before receive may say 250 (WIRE_QUARANTINED). Requests that come in one turn of the
 * loop are one commit. Ids sort by time. Owned by the policy role; one thread.
 */
#ifndef POLICY_QUARANTINE_H
#define POLICY_QUARANTINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum { QUARANTINE_ID_MAX = 24, QUARANTINE_REASON_MAX = 512, QUARANTINE_ENVELOPE_MAX = 64 * 1024 * 1024 };

enum quarantine_state { QUARANTINE_STORED = 0, QUARANTINE_RELEASED = 1 };

/* One entry; views belong to whoever filled it in. */
struct quarantine_entry {
    char id[QUARANTINE_ID_MAX];
    uint8_t state;      /* enum quarantine_state */
    int64_t wall_us;    /* when it was stored */
    int64_t changed_us; /* when it was released; 0 */
    uint64_t size;      /* bytes of content */
    struct bytes reason;
    struct bytes envelope; /* packed */
    struct bytes report;   /* packed scan report */
};
int quarantine_entry_pack(struct buf *buf, const struct quarantine_entry *entry);
int quarantine_entry_unpack(struct bytes payload, struct quarantine_entry *entry_r); /* views into payload */

struct quarantine;

int quarantine_open(const char *path, uint64_t size_limit, int64_t retention_s,
                    struct quarantine **quarantine_r, const char **why_r);
void quarantine_free(struct quarantine **quarantine); /* drops what is not committed */
/* Adds entry (all but id, wall_us, size) with the content of the sealed memfd to the batch; id_r is its id
 * once quarantine_commit() gave 0. GW_ERR_FULL and GW_ERR_SYS drop the whole batch: ask nobody to rely on it.
 * GW_ERR_PEER: content_fd is not a sealed memfd. */
int quarantine_add(struct quarantine *quarantine, const struct quarantine_entry *entry, int content_fd,
                   int64_t now_us, char id_r[QUARANTINE_ID_MAX]);
bool quarantine_is_dirty(const struct quarantine *quarantine);
/* 0: all that was added since the last commit is on disk. Otherwise none of it is. */
int quarantine_commit(struct quarantine *quarantine);
void quarantine_drop(struct quarantine *quarantine); /* forgets the batch */

/* The following work on what is committed. The entry's views point into *storage, which the caller frees. */
int quarantine_get(struct quarantine *quarantine, struct bytes id, struct buf *storage,
                   struct quarantine_entry *entry_r);
int quarantine_content(struct quarantine *quarantine, struct bytes id, int *fd_r); /* memfd at offset 0 */
/* The newest entry older than `before` (empty: the newest). GW_ERR_NOTFOUND at the end. */
int quarantine_previous(struct quarantine *quarantine, struct bytes before, struct buf *storage,
                        struct quarantine_entry *entry_r);
int quarantine_mark_released(struct quarantine *quarantine, struct bytes id, int64_t now_us);
int quarantine_delete(struct quarantine *quarantine, struct bytes id);
/* Deletes entries over the retention, a few per call. Returns how many. */
size_t quarantine_expire(struct quarantine *quarantine, int64_t now_us);

#endif

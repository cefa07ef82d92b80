/*
 * queue_recover - what is on disk at start: everything not finished is scheduled again.
 *
 * Before: queue_service.c opens the store. After: queue_active.c brings the messages in as their time comes.
 * LMDB needs no repair: what was committed is there, what was not is not. Jobs that were under way have no
 * mark in the store, so they are simply due. Times lie in the status rows; a message without one was never
 * tried and is due at once.
 */
#include "queue/queue_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

enum { SEEN_MS = 60000, SEEN_MAX = 100000 };

int
queue_recover_schedule(struct queue *queue, bool flush)
{
    struct store_txn *txn = NULL;
    char id[QUEUE_ID_MAX] = "";
    struct bytes packed;
    int r = queue_store_begin(queue->store, false, &txn);

    if (r != 0) {
        return r;
    }
    queue->waiting.count = 0;
    while ((r = queue_store_next(txn, id, id, &packed)) == 0) {
        struct queue_status status;

        if (queue_store_get_status(txn, id, &status) != 0) {
            log_error("qmgr", "%s: the status of the message cannot be read; it is kept and not delivered",
                      id);
            continue;
        }
        if ((status.flags & QUEUE_HELD) != 0 || queue_message_find(queue, id) != NULL) {
            continue;
        }
        (void)queue_active_wait(queue, id, flush ? 0 : status.next_us);
    }
    store_abort(&txn);
    return r == GW_ERR_NOTFOUND ? 0 : r;
}

int
queue_recover(struct queue *queue)
{
    struct store_txn *txn = NULL;
    size_t removed = 0;
    int r = queue_store_begin(queue->store, true, &txn);

    if (r == 0 && (r = queue_store_remove_orphans(txn, &removed)) == 0 && removed > 0) {
        log_warning("qmgr", "removed the remains of %zu messages without an envelope", removed);
        r = store_commit(&txn);
    }
    store_abort(&txn);
    if (r == 0) {
        r = queue_recover_schedule(queue, false);
    }
    if (r == 0 && queue->waiting.count > 0) {
        log_info("qmgr", "%zu messages found in the queue", queue->waiting.count);
    }
    queue->seen.until_ms = clock_monotonic_ms() + SEEN_MS;
    return r;
}

static bool
is_older_than_us(const struct queue *queue, const struct envelope *envelope)
{
    return envelope->arrival_us < queue->started_us;
}

/* A submitter whose answer was lost with our predecessor asks again with the same id, for a while. The
 * message may have been found, delivered and removed before: then it must not come in a second time. */
void
queue_recover_note_removed(struct queue *queue, const struct envelope *envelope)
{
    struct queue_seen *seen = &queue->seen;

    if (clock_monotonic_ms() >= seen->until_ms) {
        free(seen->ids);
        seen->ids = NULL;
        seen->count = seen->size = 0;
        return;
    }
    if (seen->count >= SEEN_MAX || !is_older_than_us(queue, envelope)) {
        return;
    }
    if (seen->count == seen->size) {
        size_t size = seen->size == 0 ? 1024 : seen->size * 2;
        char(*ids)[QUEUE_ID_MAX] = realloc(seen->ids, size * sizeof(*ids));

        if (ids == NULL) {
            return;
        }
        seen->ids = ids;
        seen->size = size;
    }
    (void)snprintf(seen->ids[seen->count++], QUEUE_ID_MAX, "%s", envelope->queue_id);
}

bool
queue_recover_was_removed(const struct queue *queue, const struct envelope *envelope)
{
    size_t count = is_older_than_us(queue, envelope) ? queue->seen.count : 0;

    for (size_t i = 0; i < count; i++) {
        if (strcmp(queue->seen.ids[i], envelope->queue_id) == 0) {
            return true;
        }
    }
    return false;
}

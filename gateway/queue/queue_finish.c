/*
 * queue_finish - the end of an attempt: done, again later, or returned to the sender.
 *
 * Before: queue_active.c when every recipient was tried. After: queue_commit.c writes the disposal and the
 * notifications in one transaction, then calls queue_finish_committed(). States: gateway/doc/queue-states.md.
 */
#include "queue/queue_private.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

static void
set_all(struct queue_message *message, uint8_t from, uint8_t to)
{
    for (size_t i = 0; i < message->envelope->recipient_count; i++) {
        if (message->recipients[i].status == from) {
            message->recipients[i].status = to;
            message->recipients[i].is_dirty = true;
        }
    }
}

static bool
asks_success(const struct queue_message *message)
{
    for (size_t i = 0; i < message->envelope->recipient_count; i++) {
        if (message->recipients[i].status == QUEUE_SENT &&
            (message->envelope->recipients[i].notify & NOTIFY_SUCCESS) != 0) {
            return true;
        }
    }
    return false;
}

/* What is too old fails for good. */
static void
expire(struct queue *queue, struct queue_message *message, int64_t now_s)
{
    const struct envelope *envelope = message->envelope;

    if (queue_message_count(message, QUEUE_DEFERRED) == 0 ||
        ((message->status.flags & QUEUE_FORCE_EXPIRE) == 0 &&
         !queue_retry_is_expired(&queue->settings.retry, envelope->sender.n == 0,
                                 envelope->arrival_us / 1000000, now_s))) {
        return;
    }
    log_info("qmgr", "%s: from=<%.*s>, status=%s, returned to sender", envelope->queue_id,
             BYTES_FMT(envelope->sender),
             (message->status.flags & QUEUE_FORCE_EXPIRE) != 0 ? "force-expired" : "expired");
    set_all(message, QUEUE_DEFERRED, QUEUE_BOUNCED);
}

/* A notification that cannot be written now leaves the recipients as they are: the next attempt tries again.
 */
static void
notify(struct queue *queue, struct queue_message *message, int64_t now_s)
{
    const struct envelope *envelope = message->envelope;

    if (queue_message_count(message, QUEUE_BOUNCED) > 0 &&
        queue_bounce_notify(queue, message, QUEUE_NOTICE_BOUNCE) == 0) {
        set_all(message, QUEUE_BOUNCED, QUEUE_RETURNED);
    }
    if (asks_success(message) && queue_bounce_notify(queue, message, QUEUE_NOTICE_SUCCESS) == 0) {
        for (size_t i = 0; i < envelope->recipient_count; i++) {
            if (message->recipients[i].status == QUEUE_SENT &&
                (envelope->recipients[i].notify & NOTIFY_SUCCESS) != 0) {
                message->recipients[i].status = QUEUE_RETURNED; /* told */
                message->recipients[i].is_dirty = true;
            }
        }
    }
    if (queue_message_count(message, QUEUE_DEFERRED) > 0 &&
        (message->status.flags & QUEUE_DELAY_WARNED) == 0 &&
        queue_retry_is_delayed(&queue->settings.retry, envelope->arrival_us / 1000000, now_s) &&
        queue_bounce_notify(queue, message, QUEUE_NOTICE_DELAY) == 0) {
        message->status.flags |= QUEUE_DELAY_WARNED;
    }
}

static bool
is_done(const struct queue_message *message)
{
    for (size_t i = 0; i < message->envelope->recipient_count; i++) {
        uint8_t status = message->recipients[i].status;

        if (status == QUEUE_PENDING || status == QUEUE_DEFERRED || status == QUEUE_BOUNCED) {
            return false;
        }
    }
    return true;
}

void
queue_finish_attempt(struct queue *queue, struct queue_message *message)
{
    int64_t now_s = clock_wall_s();

    if (message->is_deleted) {
        message->disposal = QUEUE_REMOVE;
    } else {
        if (!message->hold_asked) {
            expire(queue, message, now_s);
        }
        notify(queue, message, now_s);
        message->disposal = is_done(message) ? QUEUE_REMOVE : QUEUE_DEFER;
    }
    if (message->disposal == QUEUE_DEFER) {
        message->status.attempts++;
        message->status.next_us =
            queue_retry_next(&queue->settings.retry, message->envelope->arrival_us / 1000000, now_s) *
            1000000;
        if (message->hold_asked) {
            message->status.flags |= QUEUE_HELD;
        }
    }
    queue_message_close_body(queue, message);
    queue_log_send_evidence(queue, message);
    queue_commit_dirty(queue, message);
}

void
queue_finish_committed(struct queue *queue, struct queue_message *message)
{
    const char *id = message->envelope->queue_id;

    if (message->disposal == QUEUE_REMOVE) {
        log_info("qmgr", "%s: removed", id);
        queue->finished++;
        queue_recover_note_removed(queue, message->envelope);
    } else if ((message->status.flags & QUEUE_HELD) == 0) {
        (void)queue_active_wait(queue, id, message->status.next_us);
    }
    queue_message_free(queue, &message);
}

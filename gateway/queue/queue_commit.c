/*
 * queue_commit - the batch: what came in during one turn of the loop becomes durable in one transaction.
 *
 * Before: queue_peer.c (submissions), queue_worker.c and queue_finish.c (results). After: queue_store.c; then
 * the answers, then queue_active.c.
 *
 * The argument about durability, once. A submission is answered with 0 only after store_commit() returned 0
 * for the transaction that holds its envelope and its whole content; LMDB's commit returns after fdatasync(2)
 * of the pages and of the meta page that makes them visible, so at that moment the message survives kill -9
 * and power loss. A message leaves the store only in a transaction that holds either the final outcome of
 * every recipient or, in the same transaction, the notification about it: there is no moment at which neither
 * is there. What a worker reported and was not yet committed is lost with the process: those recipients are
 * delivered once more, which is the duplicate that a reply in flight always risks; QUEUE_RESULT_DELAY_MS
 * bounds it. A batch that does not fit (disk or map full) is aborted as a whole: its submissions are answered
 * GW_ERR_FULL, which is true, and its results are tried again.
 */
#include "queue/queue_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

enum {
    DISK_CHECK_MS = 1000,
    RETRY_MS = 1000, /* results that could not be written */
    FULL_NOTICE_MS = 60000,
    ID_ATTEMPTS = 3, /* for a notification whose id is taken */
};
/* LMDB copies the pages on the way to a changed row, and deletions need room too. */
#define DISK_RESERVE ((uint64_t)16 * 1024 * 1024)

void
queue_submission_free(struct queue_submission **submission)
{
    if (*submission == NULL) {
        return;
    }
    ipc_message_free(&(*submission)->message);
    buf_free(&(*submission)->packed);
    envelope_free(&(*submission)->envelope);
    if ((*submission)->fd != -1) {
        (void)close((*submission)->fd);
    }
    free(*submission);
    *submission = NULL;
}

/* Free space is asked for once a second; what is accepted meanwhile is subtracted. */
static bool
has_disk_room(struct queue *queue, uint64_t size)
{
    int64_t now_ms = clock_monotonic_ms();

    if (now_ms >= queue->disk_free_until_ms) {
        struct statvfs disk;

        if (fstatvfs(queue->directory_fd, &disk) == -1) {
            return true; /* cannot tell; the commit will */
        }
        queue->disk_free = (uint64_t)disk.f_bavail * disk.f_frsize;
        queue->disk_free_until_ms = now_ms + DISK_CHECK_MS;
    }
    if (queue->disk_free < queue->settings.min_free + DISK_RESERVE + size) {
        return false;
    }
    queue->disk_free -= size;
    return true;
}

static void
tell_full(struct queue *queue, const char *what)
{
    int64_t now_ms = clock_monotonic_ms();

    if (queue->full_told_ms != 0 && now_ms - queue->full_told_ms < FULL_NOTICE_MS) {
        return;
    }
    queue->full_told_ms = now_ms;
    log_warning("qmgr", "not enough free space in mail queue: %s; new mail is refused with 452", what);
    queue_log_notice(queue, NOTICE_RESOURCE, "queue full", what);
}

/* Whether the content is what the envelope says and can be trusted not to change. */
static bool
is_content_good(const struct envelope *envelope, int fd)
{
    struct stat status;

    return ipc_is_sealed(fd) && fstat(fd, &status) == 0 && status.st_size >= 0 &&
           (uint64_t)status.st_size == envelope->size;
}

/* The answer that can be given without the store; 0: it is for the batch. */
static int
check_submission(struct queue *queue, const struct queue_submission *submission)
{
    const struct envelope *envelope = submission->envelope;

    if (!queue_store_is_id(envelope->queue_id) || envelope->recipient_count == 0 ||
        envelope->recipient_count > ENVELOPE_RECIPIENTS_MAX || !is_content_good(envelope, submission->fd)) {
        return GW_ERR_SYNTAX;
    }
    if (queue_recover_was_removed(queue, envelope)) {
        return GW_ERR_EXISTS; /* delivered before the submitter could ask again */
    }
    if (!has_disk_room(queue, envelope->size)) {
        tell_full(queue, "queue_minfree or the disk's end is reached");
        return GW_ERR_FULL;
    }
    return 0;
}

/* Mail of a user of this machine: what it says beside addresses, content and DSN wishes is ours to say. */
static int
adopt_local(struct queue *queue, const struct queue_peer *peer, struct envelope *envelope)
{
    if (queue->settings.size_limit > 0 && envelope->size > (uint64_t)queue->settings.size_limit) {
        return GW_ERR_LIMIT;
    }
    envelope->session = (struct session_facts){0};
    (void)snprintf(envelope->session.name, sizeof(envelope->session.name), "localhost");
    (void)snprintf(envelope->session.service, sizeof(envelope->session.service), "pickup");
    (void)snprintf(envelope->session.ident, sizeof(envelope->session.ident), "%s", envelope->queue_id);
    envelope->arrival_us = clock_wall_us();
    envelope->local_origin = true;
    envelope->hold = false;
    envelope->redirect = (struct bytes){0};
    envelope->content_filter = bytes_str(queue->settings.pickup_filter);
    log_info("pickup", "%s: uid=%u from=<%.*s>", envelope->queue_id, (unsigned)peer->uid,
             BYTES_FMT(envelope->sender));
    return 0;
}

/* How many peers are submitting at present: those that did in this tenth of a second or the one before. */
static void
count_submitter(struct queue *queue, struct queue_peer *peer)
{
    uint32_t epoch = (uint32_t)(clock_monotonic_ms() / QUEUE_EPOCH_MS) + 1;

    if (epoch != queue->epoch) {
        queue->submitters_before = epoch == queue->epoch + 1 ? queue->submitters : 0;
        queue->submitters = 0;
        queue->epoch = epoch;
    }
    queue->submitters += peer->submit_epoch != epoch;
    peer->submit_epoch = epoch;
}

int
queue_commit_submit(struct queue_peer *peer, struct ipc_message *message)
{
    struct queue *queue = peer->queue;
    struct queue_submission *submission = calloc(1, sizeof(*submission));
    int r = GW_ERR_INTERNAL;

    if (queue->is_draining) {
        free(submission);
        return GW_ERR_EOF; /* the submitter connects again and finds our successor */
    }
    if (submission == NULL) {
        return queue_peer_status(peer, WIRE_SUBMITTED, message->id, GW_ERR_NOMEM, "");
    }
    submission->peer = peer;
    submission->ask_id = message->id;
    submission->fd = message->fds[0];
    message->fds[0] = -1; /* transferred */
    submission->message = *message;
    *message = (struct ipc_message){.fds = {-1, -1, -1, -1}}; /* transferred */
    r = envelope_unpack(submission->message.payload, &submission->envelope);
    if (r != 0) {
        queue_submission_free(&submission);
        return r == GW_ERR_NOMEM ? r : GW_ERR_PEER;
    }
    r = check_submission(queue, submission);
    if (r == 0 && peer->role == ROLE_SUBMIT) {
        r = adopt_local(queue, peer, submission->envelope);
    }
    if (r != 0) {
        uint64_t ask_id = submission->ask_id;

        queue_submission_free(&submission);
        return queue_peer_status(peer, WIRE_SUBMITTED, ask_id, r, gw_strerror(r));
    }
    *queue->submissions_tail = submission;
    queue->submissions_tail = &submission->next;
    queue->submission_count++;
    count_submitter(queue, peer);
    return 0;
}

void
queue_commit_forget_peer(struct queue *queue, const struct queue_peer *peer)
{
    for (struct queue_submission *submission = queue->submissions; submission != NULL;
         submission = submission->next) {
        if (submission->peer == peer) {
            submission->peer = NULL;
        }
    }
}

static void
results_have_waited(void *context)
{
    struct queue *queue = context;

    queue->result_timer = NULL;
    queue->commit_due = true;
}

void
queue_commit_dirty(struct queue *queue, struct queue_message *message)
{
    if (message->dirty_link == NULL) {
        message->dirty_next = queue->dirty;
        message->dirty_link = &queue->dirty;
        if (message->dirty_next != NULL) {
            message->dirty_next->dirty_link = &message->dirty_next;
        }
        queue->dirty = message;
    }
    if (queue->result_timer == NULL && !queue->commit_due) {
        queue->result_timer = loop_timer_add(queue->loop, clock_monotonic_ms() + QUEUE_RESULT_DELAY_MS,
                                             results_have_waited, queue);
        queue->commit_due = queue->result_timer == NULL;
    }
}

void
queue_commit_clean(struct queue_message *message)
{
    if (message->dirty_link != NULL) {
        *message->dirty_link = message->dirty_next;
        if (message->dirty_next != NULL) {
            message->dirty_next->dirty_link = message->dirty_link;
        }
        message->dirty_link = NULL;
        message->dirty_next = NULL;
    }
}

static struct bytes
packed_of(const struct queue_submission *submission)
{
    return submission->packed.n > 0 ? bytes_buf(&submission->packed) : submission->message.payload;
}

/* A notification of our own takes another id when its own is in use: nobody has seen it yet. */
static int
write_notice(struct queue *queue, struct store_txn *txn, struct queue_submission *notice)
{
    struct envelope *envelope = notice->envelope;
    int r = GW_ERR_EXISTS;

    for (int i = 0; i < ID_ATTEMPTS && r == GW_ERR_EXISTS; i++) {
        if (i > 0) {
            queue_id_make(envelope->queue_id, clock_wall_us(), queue->unique++);
            buf_clear(&notice->packed);
            if ((r = envelope_pack(&notice->packed, envelope)) != 0) {
                return r;
            }
        }
        r = queue_store_add(txn, envelope->queue_id, bytes_buf(&notice->packed), notice->fd, envelope->size,
                            NULL);
    }
    return r;
}

static int
write_outcomes(struct store_txn *txn, const struct queue_message *message)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < message->envelope->recipient_count; i++) {
        const struct queue_recipient *recipient = &message->recipients[i];

        if (recipient->is_dirty) {
            struct queue_outcome outcome = {
                .status = recipient->status,
                .parent = recipient->parent,
                .reply = recipient->reply,
                .remote_mta = recipient->remote_mta,
            };
            memcpy(outcome.dsn, recipient->dsn, sizeof(outcome.dsn));
            r = queue_store_set_outcome(txn, message->envelope->queue_id, (uint16_t)i, &outcome);
        }
    }
    return r;
}

static int
write_message(struct queue *queue, struct store_txn *txn, struct queue_message *message)
{
    const char *id = message->envelope->queue_id;
    int r = 0;

    for (struct queue_submission *notice = message->notices; r == 0 && notice != NULL;
         notice = notice->next) {
        r = write_notice(queue, txn, notice);
    }
    if (r != 0) {
        return r;
    }
    if (message->disposal == QUEUE_REMOVE) {
        return queue_store_remove(txn, id);
    }
    if (message->envelope_changed) {
        struct buf *packed = &queue->out;

        buf_clear(packed);
        if ((r = envelope_pack(packed, message->envelope)) != 0 ||
            (r = queue_store_set_envelope(txn, id, bytes_buf(packed))) != 0) {
            return r;
        }
    }
    if ((r = write_outcomes(txn, message)) == 0 && message->disposal == QUEUE_DEFER) {
        r = queue_store_set_status(txn, id, &message->status);
    }
    return r;
}

static int
write_submission(struct store_txn *txn, struct queue_submission *submission)
{
    static const struct queue_status HELD = {.flags = QUEUE_HELD};
    const struct envelope *envelope = submission->envelope;
    int r = queue_store_add(txn, envelope->queue_id, packed_of(submission), submission->fd, envelope->size,
                            envelope->hold ? &HELD : NULL);

    submission->result = r;
    return r == GW_ERR_EXISTS || r == GW_ERR_SYNTAX ? 0 : r; /* these leave the transaction as it was */
}

/* One transaction. 0: durable; anything else: nothing was written. */
static int
write_batch(struct queue *queue, bool with_submissions)
{
    struct store_txn *txn = NULL;
    int r = queue_store_begin(queue->store, true, &txn);

    for (struct queue_message *message = queue->dirty; r == 0 && message != NULL;
         message = message->dirty_next) {
        r = write_message(queue, txn, message);
    }
    struct queue_submission *submission = with_submissions ? queue->submissions : NULL;
    for (; r == 0 && submission != NULL; submission = submission->next) {
        r = write_submission(txn, submission);
    }
    if (r == 0) {
        r = store_commit(&txn);
    }
    store_abort(&txn);
    return r;
}

/* The notifications that went in with a message are messages of their own now. */
static void
start_notices(struct queue *queue, struct queue_message *message)
{
    while (message->notices != NULL) {
        struct queue_submission *notice = message->notices;
        struct queue_message *made = NULL;

        message->notices = notice->next;
        if (queue->active_count < queue->settings.active_limit) {
            made = queue_message_new(queue, &notice->envelope, &notice->fd);
        }
        if (made != NULL) {
            queue_active_start(queue, made);
        } else {
            (void)queue_active_wait(queue, notice->envelope->queue_id, 0);
        }
        queue_submission_free(&notice);
    }
}

static void
finish_results(struct queue *queue)
{
    struct queue_message *message = queue->dirty;

    queue->dirty = NULL;
    while (message != NULL) {
        struct queue_message *next = message->dirty_next;

        message->dirty_next = NULL;
        message->dirty_link = NULL;
        message->envelope_changed = false;
        for (size_t i = 0; i < message->envelope->recipient_count; i++) {
            message->recipients[i].is_dirty = false;
        }
        start_notices(queue, message);
        if (message->disposal != QUEUE_KEEP) {
            queue_finish_committed(queue, message);
        }
        message = next;
    }
}

static void
start_submission(struct queue *queue, struct queue_submission *submission)
{
    struct queue_message *message = NULL;

    if (submission->result != 0 || submission->envelope->hold) {
        return;
    }
    if (queue->active_count < queue->settings.active_limit) {
        message = queue_message_new(queue, &submission->envelope, &submission->fd);
    }
    if (message != NULL) {
        queue_active_start(queue, message);
    } else {
        (void)queue_active_wait(queue, submission->envelope->queue_id, 0);
    }
}

/* Answers first: a client waits for each of them. result 0: as the store said of each. */
static void
finish_submissions(struct queue *queue, int result)
{
    struct queue_submission *submission;

    for (submission = queue->submissions; submission != NULL; submission = submission->next) {
        struct queue_peer *peer = submission->peer;

        if (result != 0) {
            submission->result = result;
        }
        if (peer != NULL &&
            queue_peer_status(peer, WIRE_SUBMITTED, submission->ask_id, submission->result,
                              submission->result != 0 ? gw_strerror(submission->result) : "") != 0) {
            queue_peer_close(&peer);
        }
        queue->accepted += submission->result == 0;
    }
    while ((submission = queue->submissions) != NULL) {
        queue->submissions = submission->next;
        start_submission(queue, submission);
        queue_submission_free(&submission);
    }
    queue->submissions_tail = &queue->submissions;
    queue->submission_count = 0;
    queue->company_until_ms = 0;
    loop_timer_cancel(queue->loop, &queue->company_timer);
}

static void
commit_batch(struct queue *queue)
{
    bool has_submissions = queue->submissions != NULL;
    int r = write_batch(queue, true);

    if (r == GW_ERR_FULL) {
        r = write_batch(queue, true); /* the map has grown meanwhile, if it may */
    }
    if (r == GW_ERR_FULL) {
        tell_full(queue, "the message store cannot grow");
    } else if (r != 0) {
        log_error("qmgr", "cannot write the message store: %s", gw_strerror(r));
    }
    int submissions_r = r;
    if (r != 0 && has_submissions && queue->dirty != NULL) {
        r = write_batch(queue, false); /* removals make room */
    }
    loop_timer_cancel(queue->loop, &queue->result_timer);
    queue->commit_due = false;
    if (r == 0) {
        queue->batches++;
        finish_results(queue);
    } else if (queue->dirty != NULL) {
        queue->result_timer =
            loop_timer_add(queue->loop, clock_monotonic_ms() + RETRY_MS, results_have_waited, queue);
    }
    finish_submissions(queue, submissions_r);
}

static void
company_has_waited(void *context)
{
    ((struct queue *)context)->company_timer = NULL; /* the turn's end commits */
}

/* A sync costs the same for one message as for fifty. With many submitters at work a batch waits a moment
 * until most of them are in it; a single client never waits. */
static bool
is_batch_complete(struct queue *queue)
{
    size_t expected =
        queue->submitters > queue->submitters_before ? queue->submitters : queue->submitters_before;
    int64_t now_ms;

    if (queue->submission_count * 4 >= expected * 3) {
        return true;
    }
    now_ms = clock_monotonic_ms();
    if (queue->company_until_ms == 0) {
        queue->company_until_ms = now_ms + QUEUE_COMPANY_MS;
        queue->company_timer =
            loop_timer_add(queue->loop, queue->company_until_ms, company_has_waited, queue);
        return queue->company_timer == NULL;
    }
    return now_ms >= queue->company_until_ms;
}

void
queue_commit_turn(void *context)
{
    struct queue *queue = context;

    if ((queue->submissions != NULL && is_batch_complete(queue)) ||
        (queue->dirty != NULL && queue->commit_due)) {
        commit_batch(queue);
    }
    queue_active_wake(queue);
    queue_worker_dispatch(queue);
    queue_worker_take_dead(queue);
}

void
queue_commit_all(struct queue *queue)
{
    if (queue->submissions != NULL || queue->dirty != NULL) {
        commit_batch(queue);
    }
}

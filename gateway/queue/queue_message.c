/*
 * queue_message - a message in memory: envelope, the state of each recipient, its content's descriptor.
 *
 * Made from a submission that was just committed (queue_commit.c) or from the store (queue_active.c); freed
 * when the end of its attempt is committed. The content of a new message stays open for the first attempt, so
 * the common message is never read back; how many and how much is limited, beyond that the store is read.
 */
#include "queue/queue_private.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

/* header_checks and access(5) leave REDIRECT (an address) and FILTER (transport:nexthop) in one field. */
static void
apply_target(struct envelope *envelope)
{
    if (envelope->redirect.n == 0) {
        return;
    }
    if (bytes_index(envelope->redirect, '@') >= 0 && envelope->recipient_count > 0) {
        envelope->recipients[0].address = envelope->redirect;
        envelope->recipient_count = 1;
    } else if (bytes_index(envelope->redirect, ':') >= 0) {
        envelope->content_filter = envelope->redirect;
    }
}

struct queue_message *
queue_message_new(struct queue *queue, struct envelope **envelope, int *fd)
{
    struct queue_message *message = calloc(1, sizeof(*message));

    if (message == NULL) {
        return NULL;
    }
    apply_target(*envelope);
    message->recipient_room = (*envelope)->recipient_count > 0 ? (*envelope)->recipient_count : 1;
    message->recipients = calloc(message->recipient_room, sizeof(message->recipients[0]));
    if (message->recipients == NULL) {
        free(message);
        return NULL;
    }
    for (size_t i = 0; i < message->recipient_room; i++) {
        message->recipients[i].parent = QUEUE_NO_PARENT;
    }
    message->envelope = *envelope;
    *envelope = NULL; /* transferred */
    message->body_fd = -1;
    message->active_us = clock_wall_us();
    if (*fd != -1 && queue->kept_fds < QUEUE_KEPT_FDS_MAX &&
        queue->kept_bytes + message->envelope->size <= QUEUE_KEPT_BYTES_MAX) {
        message->body_fd = *fd;
        *fd = -1; /* transferred */
        queue->kept_fds++;
        queue->kept_bytes += message->envelope->size;
    }
    if (*fd != -1) {
        (void)close(*fd);
        *fd = -1;
    }
    return message;
}

void
queue_message_close_body(struct queue *queue, struct queue_message *message)
{
    if (message->body_fd != -1) {
        (void)close(message->body_fd);
        message->body_fd = -1;
        queue->kept_fds--;
        queue->kept_bytes -= message->envelope->size;
    }
}

static struct queue_message **
find_slot(struct queue *queue, const char *id)
{
    uint64_t hash = 14695981039346656037ULL; /* FNV-1a */

    for (const char *p = id; *p != '\0'; p++) {
        hash = (hash ^ (uint8_t)*p) * 1099511628211ULL;
    }
    struct queue_message **slot = &queue->hash[hash % QUEUE_HASH_SIZE];
    while (*slot != NULL && strcmp((*slot)->envelope->queue_id, id) != 0) {
        slot = &(*slot)->chain;
    }
    return slot;
}

struct queue_message *
queue_message_find(struct queue *queue, const char *id)
{
    return *find_slot(queue, id);
}

void
queue_message_enter(struct queue *queue, struct queue_message *message)
{
    *find_slot(queue, message->envelope->queue_id) = message;
    queue->active_count++;
}

void
queue_message_free(struct queue *queue, struct queue_message **message)
{
    if (*message == NULL) {
        return;
    }
    struct queue_message **slot = find_slot(queue, (*message)->envelope->queue_id);
    if (*slot == *message) {
        *slot = (*message)->chain;
        queue->active_count--;
    }
    queue_commit_clean(*message);
    while ((*message)->entries != NULL) {
        struct queue_entry *entry = (*message)->entries;

        queue_message_unlink(entry);
        queue_schedule_drop(queue->schedule, &entry);
    }
    while ((*message)->notices != NULL) {
        struct queue_submission *notice = (*message)->notices;

        (*message)->notices = notice->next;
        queue_submission_free(&notice);
    }
    queue_message_close_body(queue, *message);
    if ((*message)->has_evidence) {
        evidence_free(&(*message)->evidence);
    }
    envelope_free(&(*message)->envelope);
    free((*message)->recipients);
    free(*message);
    *message = NULL;
}

static int
grow_recipients(struct queue_message *message)
{
    if (message->envelope->recipient_count < message->recipient_room) {
        return 0;
    }
    size_t room = message->recipient_room * 2;
    struct queue_recipient *recipients = realloc(message->recipients, room * sizeof(*recipients));
    if (recipients == NULL) {
        return GW_ERR_NOMEM;
    }
    memset(recipients + message->recipient_room, 0, (room - message->recipient_room) * sizeof(*recipients));
    for (size_t i = message->recipient_room; i < room; i++) {
        recipients[i].parent = QUEUE_NO_PARENT;
    }
    message->recipients = recipients;
    message->recipient_room = room;
    return 0;
}

int
queue_message_add_recipient(struct queue_message *message, struct bytes address, uint16_t parent)
{
    struct envelope *envelope = message->envelope;
    const struct recipient *from = &envelope->recipients[parent];
    struct bytes original = from->original, orcpt = from->dsn_orcpt; /* the array may move */
    int r = grow_recipients(message);

    if (r == 0 && (r = envelope_add_recipient(envelope, address, original, from->notify, orcpt)) == 0) {
        struct queue_recipient *added = &message->recipients[envelope->recipient_count - 1];

        *added = (struct queue_recipient){.parent = parent, .is_dirty = true};
        message->envelope_changed = true;
    }
    return r;
}

void
queue_message_outcome(struct queue_message *message, uint16_t number, uint8_t status, const char *dsn,
                      struct bytes reply, struct bytes remote_mta)
{
    struct queue_recipient *recipient = &message->recipients[number];
    bool keeps_words = status == QUEUE_DEFERRED || status == QUEUE_BOUNCED ||
                       (message->envelope->recipients[number].notify & NOTIFY_SUCCESS) != 0;

    recipient->status = status;
    recipient->is_dirty = true;
    size_t n = strnlen(dsn, sizeof(recipient->dsn) - 1);
    memcpy(recipient->dsn, dsn, n);
    recipient->dsn[n] = '\0';
    recipient->reply = recipient->remote_mta = (struct bytes){0};
    if (keeps_words) {
        /* Out of memory: an empty text is no reason to lose the outcome. */
        recipient->reply = arena_dup(message->envelope->arena, bytes_sub(reply, 0, QUEUE_REPLY_MAX));
        recipient->remote_mta =
            arena_dup(message->envelope->arena, bytes_sub(remote_mta, 0, QUEUE_REPLY_MAX));
        recipient->reply.n = recipient->reply.p != NULL ? recipient->reply.n : 0;
        recipient->remote_mta.n = recipient->remote_mta.p != NULL ? recipient->remote_mta.n : 0;
    }
}

static int
take_outcome(void *context, uint16_t number, const struct queue_outcome *outcome)
{
    struct queue_message *message = context;

    if (number >= message->envelope->recipient_count) {
        return 0; /* a row beyond the list: nothing to remember */
    }
    queue_message_outcome(message, number, outcome->status, outcome->dsn, outcome->reply,
                          outcome->remote_mta);
    if (outcome->reply.n > 0 && message->recipients[number].reply.n == 0) {
        message->recipients[number].reply = arena_dup(message->envelope->arena, outcome->reply);
    }
    message->recipients[number].parent = outcome->parent;
    message->recipients[number].is_dirty = false;
    return 0;
}

int
queue_message_load(struct queue *queue, const char *id, struct queue_message **message_r)
{
    struct store_txn *txn = NULL;
    struct envelope *envelope = NULL;
    struct queue_message *message = NULL;
    struct bytes packed;
    int r = GW_ERR_INTERNAL, fd = -1;

    *message_r = NULL;
    if ((r = queue_store_begin(queue->store, false, &txn)) != 0 ||
        (r = queue_store_get_envelope(txn, id, &packed)) != 0 ||
        (r = envelope_unpack(packed, &envelope)) != 0) {
        goto out;
    }
    if (strcmp(envelope->queue_id, id) != 0) {
        r = GW_ERR_SYNTAX;
        goto out;
    }
    if ((message = queue_message_new(queue, &envelope, &fd)) == NULL) {
        r = GW_ERR_NOMEM;
        goto out;
    }
    if ((r = queue_store_get_status(txn, id, &message->status)) != 0 ||
        (r = queue_store_each_outcome(txn, id, take_outcome, message)) != 0) {
        goto out;
    }
    message->is_stored_status = message->status.next_us != 0 || message->status.attempts != 0;
    *message_r = message;
    message = NULL; /* transferred */
out:
    store_abort(&txn);
    envelope_free(&envelope);
    queue_message_free(queue, &message);
    return r;
}

int
queue_message_body(struct queue *queue, struct queue_message *message, bool *is_kept_r)
{
    struct store_txn *txn = NULL;
    int fd = -1;

    *is_kept_r = true;
    if (message->body_fd != -1) {
        return message->body_fd;
    }
    int r = queue_store_begin(queue->store, false, &txn);
    if (r == 0) {
        r = queue_store_get_body(txn, message->envelope->queue_id, message->envelope->size, &fd);
        store_abort(&txn);
    }
    if (r != 0) {
        log_warning("qmgr", "%s: cannot read the content: %s", message->envelope->queue_id, gw_strerror(r));
        return -1;
    }
    if (queue->kept_fds >= QUEUE_KEPT_FDS_MAX ||
        queue->kept_bytes + message->envelope->size > QUEUE_KEPT_BYTES_MAX) {
        *is_kept_r = false;
        return fd;
    }
    message->body_fd = fd;
    queue->kept_fds++;
    queue->kept_bytes += message->envelope->size;
    return fd;
}

size_t
queue_message_count(const struct queue_message *message, uint8_t status)
{
    size_t count = 0;

    for (size_t i = 0; i < message->envelope->recipient_count; i++) {
        count += message->recipients[i].status == status;
    }
    return count;
}

void
queue_message_link(struct queue_message *message, struct queue_entry *entry)
{
    entry->sibling = message->entries;
    entry->sibling_link = &message->entries;
    if (entry->sibling != NULL) {
        entry->sibling->sibling_link = &entry->sibling;
    }
    message->entries = entry;
}

void
queue_message_unlink(struct queue_entry *entry)
{
    *entry->sibling_link = entry->sibling;
    if (entry->sibling != NULL) {
        entry->sibling->sibling_link = entry->sibling_link;
    }
    entry->sibling = NULL;
    entry->sibling_link = NULL;
}

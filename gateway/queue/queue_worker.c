/*
 * queue_worker - jobs to the threads of relay and deliver, and what they report.
 *
 * Before: queue_schedule.c says what is next. After: the recipients' outcomes go to queue_commit.c, the end
 * of the attempt to queue_active.c. A worker that holds a connection is asked first for the same next hop. A
 * worker that dies leaves its job's state unknown: the job is done again, which is the one place where a
 * duplicate is possible.
 */
#include "queue/queue_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/pack.h"

static void
push_idle(struct queue_peer *peer)
{
    struct queue_peer **head = &peer->queue->idle[peer->role];

    peer->worker.idle_next = *head;
    peer->worker.idle_link = head;
    if (*head != NULL) {
        (*head)->worker.idle_link = &peer->worker.idle_next;
    }
    *head = peer;
    peer->worker.is_idle = true;
}

static void
leave_idle(struct queue_peer *peer)
{
    if (peer->worker.is_idle) {
        *peer->worker.idle_link = peer->worker.idle_next;
        if (peer->worker.idle_next != NULL) {
            peer->worker.idle_next->worker.idle_link = peer->worker.idle_link;
        }
        peer->worker.is_idle = false;
    }
}

int
queue_worker_register(struct queue_peer *peer, struct ipc_message *message)
{
    struct wire_worker worker;

    if ((peer->role != ROLE_RELAY && peer->role != ROLE_DELIVER) || peer->worker.is_registered ||
        wire_worker_unpack(message->payload, &worker) != 0) {
        return GW_ERR_PEER;
    }
    peer->worker.is_registered = true;
    push_idle(peer);
    return 0;
}

/* ------------------------------------------------------------------ giving */

static int
pack_job(struct queue *queue, const struct queue_entry *entry)
{
    const struct queue_message *message = entry->message;
    struct envelope part = *message->envelope; /* shares everything but the recipients */
    struct recipient few[8];
    struct wire_job job = {.nexthop = bytes_str(queue_destination_nexthop(entry->destination)),
                           .envelope = &part,
                           .recipient_numbers = (uint16_t *)entry->numbers};

    struct recipient *recipients = few;
    if (entry->count > sizeof(few) / sizeof(few[0])) {
        recipients = malloc(entry->count * sizeof(*recipients));
        if (recipients == NULL) {
            return GW_ERR_NOMEM;
        }
    }
    for (size_t i = 0; i < entry->count; i++) {
        recipients[i] = message->envelope->recipients[entry->numbers[i]];
    }
    part.recipients = recipients;
    part.recipient_count = entry->count;
    (void)snprintf(job.transport, sizeof(job.transport), "%s",
                   queue_transport_name(queue_destination_transport(entry->destination)));
    buf_clear(&queue->out);
    int r = wire_job_pack(&queue->out, &job);
    if (recipients != few) {
        free(recipients);
    }
    return r;
}

/* Nothing was delivered and it is not the destination's fault. */
static void
defer_job(struct queue *queue, struct queue_entry *entry, const char *text)
{
    struct queue_message *message = entry->message;
    struct queue_transport *transport = queue_destination_transport(entry->destination);
    struct queue_delivery delivery = {.program = queue_transport_program(transport), .relay = "none"};

    for (size_t i = 0; i < entry->count; i++) {
        queue_message_outcome(message, entry->numbers[i], QUEUE_DEFERRED, "4.3.0", bytes_str(text),
                              (struct bytes){0});
        queue_log_delivery(queue, message, entry->numbers[i], "4.3.0", "deferred", bytes_str(text),
                           &delivery);
        queue_log_evidence(queue, message, entry->numbers[i], "none", "deferred", bytes_str(text));
    }
    queue_message_unlink(entry);
    (void)queue_schedule_done(queue->schedule, &entry, QUEUE_RESULT_UNKNOWN, "", clock_monotonic_ms());
    queue_commit_dirty(queue, message);
    if (message->entries == NULL) {
        queue_active_continue(queue, message);
    }
}

static void
give_job(struct queue_peer *peer, struct queue_entry *entry)
{
    struct queue *queue = peer->queue;
    struct queue_message *message = entry->message;
    bool is_kept = true;
    int fd = queue_message_body(queue, message, &is_kept);
    int r = fd != -1 ? pack_job(queue, entry) : GW_ERR_SYS;

    if (r != 0) {
        if (!is_kept && fd != -1) {
            (void)close(fd);
        }
        defer_job(queue, entry, fd == -1 ? "queue file read error" : "out of memory");
        return;
    }
    leave_idle(peer);
    peer->worker.entry = entry;
    peer->worker.job_id = ++queue->next_job;
    peer->worker.sent_us = clock_wall_us();
    const char *transport = queue_transport_name(queue_destination_transport(entry->destination));
    bool is_same = strcmp(peer->worker.connected_to, queue_destination_nexthop(entry->destination)) == 0 &&
                   strcmp(peer->worker.transport, transport) == 0;
    peer->worker.streak = is_same ? peer->worker.streak + 1 : 0;
    (void)snprintf(peer->worker.transport, sizeof(peer->worker.transport), "%s", transport);
    queue->busy_workers++;
    r = queue_peer_send(peer, WIRE_JOB, peer->worker.job_id, bytes_buf(&queue->out), &fd, 1);
    if (!is_kept) {
        (void)close(fd);
    }
    if (r == GW_ERR_EOF) {
        /* It was leaving (a reload, its end): the job was never received, so this is no loss and no try. */
        peer->worker.entry = NULL;
        queue->busy_workers--;
        queue_schedule_return(queue->schedule, entry);
    }
    if (r != 0) {
        queue_peer_close(&peer); /* else its job goes back through queue_worker_lost() */
    }
}

/* The idle worker for a destination: connected to it, connected to nothing, or the longest unused. */
static struct queue_peer *
choose_worker(struct queue *queue, const struct queue_entry *entry, enum role role)
{
    const char *nexthop = queue_destination_nexthop(entry->destination);
    struct queue_peer *last = NULL, *empty = NULL;

    for (struct queue_peer *peer = queue->idle[role]; peer != NULL; peer = peer->worker.idle_next) {
        if (strcmp(peer->worker.connected_to, nexthop) == 0 && nexthop[0] != '\0') {
            return peer;
        }
        if (empty == NULL && peer->worker.connected_to[0] == '\0') {
            empty = peer;
        }
        last = peer;
    }
    return empty != NULL ? empty : last;
}

/* Connections that are open are used first, but not for ever while others wait. */
static void
dispatch_connected(struct queue *queue, enum role role)
{
    struct queue_peer *peer = queue->idle[role];

    while (peer != NULL && queue_schedule_is_ready(queue->schedule, role)) {
        struct queue_peer *next = peer->worker.idle_next;
        struct queue_entry *entry = NULL;

        if (peer->worker.connected_to[0] != '\0' && peer->worker.streak < QUEUE_STREAK_MAX) {
            entry =
                queue_schedule_take_for(queue->schedule, peer->worker.transport, peer->worker.connected_to);
        }
        if (entry != NULL) {
            give_job(peer, entry);
        }
        peer = next;
    }
}

static void
dispatch_role(struct queue *queue, enum role role)
{
    struct queue_entry *entry;

    if (queue->idle[role] == NULL) {
        return;
    }
    dispatch_connected(queue, role);
    while (queue->idle[role] != NULL && (entry = queue_schedule_take(queue->schedule, role)) != NULL) {
        give_job(choose_worker(queue, entry, role), entry);
    }
}

void
queue_worker_dispatch(struct queue *queue)
{
    if (!queue->is_draining) {
        dispatch_role(queue, ROLE_RELAY);
        dispatch_role(queue, ROLE_DELIVER);
    }
}

void
queue_worker_lost(struct queue_peer *peer)
{
    struct queue *queue = peer->queue;
    struct queue_entry *entry = peer->worker.entry;

    leave_idle(peer);
    if (entry == NULL) {
        return;
    }
    struct queue_message *message = entry->message;
    peer->worker.entry = NULL;
    queue->busy_workers--;
    log_warning("qmgr", "%s: lost the connection with %s while sending message; will try again",
                message->envelope->queue_id, role_name(peer->role));
    if (++entry->losses < QUEUE_LOSSES_MAX && !message->is_deleted && !message->hold_asked) {
        queue_schedule_return(queue->schedule, entry);
    } else {
        defer_job(queue, entry, "lost connection with the delivery process");
    }
}

void
queue_worker_take_dead(struct queue *queue)
{
    static const struct queue_delivery SUSPENDED = {.program = "error", .relay = "none"};
    struct queue_entry *entry;
    const char *reason;

    while ((entry = queue_schedule_take_dead(queue->schedule, &reason)) != NULL) {
        struct queue_message *message = entry->message;
        char text[QUEUE_REASON_MAX + 64];

        (void)snprintf(text, sizeof(text), "delivery temporarily suspended: %s", reason);
        for (size_t i = 0; i < entry->count; i++) {
            queue_message_outcome(message, entry->numbers[i], QUEUE_DEFERRED, "4.4.1", bytes_str(text),
                                  (struct bytes){0});
            queue_log_delivery(queue, message, entry->numbers[i], "4.4.1", "deferred", bytes_str(text),
                               &SUSPENDED);
            queue_log_evidence(queue, message, entry->numbers[i], "none", "deferred", bytes_str(text));
        }
        queue_message_unlink(entry);
        queue_schedule_drop(queue->schedule, &entry);
        queue_commit_dirty(queue, message);
        if (message->entries == NULL) {
            queue_active_continue(queue, message);
        }
    }
}

/* ------------------------------------------------------------------ taking */

static const struct {
    uint8_t state;
    const char *word; /* of the log line */
    const char *dsn;  /* when the worker gave none */
} OUTCOMES[] = {
    [DELIVERY_DEFERRED] = {QUEUE_DEFERRED, "deferred", "4.0.0"},
    [DELIVERY_SENT] = {QUEUE_SENT, "sent", "2.0.0"},
    [DELIVERY_BOUNCED] = {QUEUE_BOUNCED, "bounced", "5.0.0"},
    [DELIVERY_RELAYED] = {QUEUE_SENT, "sent", "2.0.0"},
    [DELIVERY_EXPANDED] = {QUEUE_EXPANDED, "sent", "2.0.0"},
};

/* True when `number` is in the chain of recipients whose expansion led to `from`, itself included. */
static bool
is_ancestor(const struct queue_message *message, size_t number, uint16_t from)
{
    size_t steps = message->envelope->recipient_count;

    for (uint16_t at = from; at != QUEUE_NO_PARENT && at < message->envelope->recipient_count && steps-- > 0;
         at = message->recipients[at].parent) {
        if (at == number) {
            return true;
        }
    }
    return false;
}

/* Adds what an alias stands for. An address that is there already gets one copy; one that leads back to
 * itself is a loop, and so that mail is not lost in it the recipient bounces. */
static uint8_t
expand(struct queue_message *message, uint16_t number, struct bytes expanded)
{
    struct unpack u;
    size_t added = 0, known = 0, looping = 0;

    unpack_begin(&u, expanded);
    uint16_t count = unpack_u16(&u);
    for (uint16_t i = 0; i < count && u.error == 0; i++) {
        struct bytes address = unpack_bytes(&u, ENVELOPE_ADDRESS_MAX);
        size_t at = 0;

        while (at < message->envelope->recipient_count &&
               !bytes_equal_nocase(message->envelope->recipients[at].address, address)) {
            at++;
        }
        if (address.n == 0) {
            continue;
        }
        if (at == message->envelope->recipient_count) {
            if (queue_message_add_recipient(message, address, number) != 0) {
                return QUEUE_DEFERRED;
            }
            added++;
        } else if (is_ancestor(message, at, number)) {
            looping++;
        } else {
            known++;
        }
    }
    if (unpack_end(&u) != 0) {
        return QUEUE_DEFERRED;
    }
    return added + known == 0 && looping > 0 ? QUEUE_BOUNCED : QUEUE_EXPANDED;
}

static void
take_recipient(struct queue_peer *peer, const struct wire_result *result,
               const struct wire_recipient_result *given, const struct queue_delivery *delivery)
{
    struct queue *queue = peer->queue;
    struct queue_message *message = peer->worker.entry->message;
    uint8_t state = OUTCOMES[given->status].state;
    const char *word = OUTCOMES[given->status].word;
    const char *dsn = given->dsn[0] != '\0' ? given->dsn : OUTCOMES[given->status].dsn;
    struct bytes reply = given->reply;

    if (given->status == DELIVERY_EXPANDED) {
        state = expand(message, given->number, result->expanded);
        if (state == QUEUE_BOUNCED) {
            word = "bounced";
            dsn = "5.4.6";
            reply = BYTES_LIT("mail forwarding loop: the alias leads back to itself");
        } else if (state == QUEUE_DEFERRED) {
            word = "deferred";
            dsn = "4.3.0";
            reply = BYTES_LIT("alias expansion failed");
        }
    }
    queue_message_outcome(message, given->number, state, dsn, reply, given->remote_mta);
    message->recipients[given->number].is_delivered =
        given->status == DELIVERY_SENT && peer->role == ROLE_DELIVER;
    queue_log_delivery(queue, message, given->number, dsn, word, reply, delivery);
    queue_log_evidence(queue, message, given->number, result->relay, word, reply);
}

static ptrdiff_t
index_in(const struct queue_entry *entry, uint16_t number)
{
    for (size_t i = 0; i < entry->count; i++) {
        if (entry->numbers[i] == number) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

/* Each recipient of the job once; those without a word are deferred. GW_ERR_PEER: a number that was not in
 * the job. */
static int
take_result(struct queue_peer *peer, const struct wire_result *result)
{
    struct queue_entry *entry = peer->worker.entry;
    bool *told = arena_alloc(peer->queue->scratch, entry->count * sizeof(bool));
    struct queue_delivery delivery = {
        .program = queue_transport_program(queue_destination_transport(entry->destination)),
        .relay = result->relay,
        .sent_us = peer->worker.sent_us,
        .connect_us = result->connect_us,
        .transfer_us = result->transfer_us,
    };

    if (told == NULL) {
        return GW_ERR_NOMEM;
    }
    for (size_t i = 0; i < result->count; i++) {
        ptrdiff_t at = index_in(entry, result->recipients[i].number);

        if (at < 0 || told[at]) {
            return GW_ERR_PEER;
        }
        told[at] = true;
    }
    for (size_t i = 0; i < result->count; i++) {
        take_recipient(peer, result, &result->recipients[i], &delivery);
    }
    for (size_t i = 0; i < entry->count; i++) {
        if (!told[i]) {
            struct wire_recipient_result silent = {.number = entry->numbers[i],
                                                   .reply = BYTES_LIT("the delivery process gave no result")};
            take_recipient(peer, result, &silent, &delivery);
        }
    }
    return 0;
}

static void
reason_of(const struct wire_result *result, char *out, size_t size)
{
    struct bytes reply = result->count > 0 ? result->recipients[0].reply : (struct bytes){0};

    (void)snprintf(out, size, "%.*s", BYTES_FMT(bytes_sub(reply, 0, size - 1)));
}

int
queue_worker_result(struct queue_peer *peer, struct ipc_message *ipc)
{
    struct queue *queue = peer->queue;
    struct queue_entry *entry = peer->worker.entry;
    struct wire_result result;
    char reason[QUEUE_REASON_MAX];
    int r = GW_ERR_INTERNAL;

    if (entry == NULL) {
        return GW_ERR_PEER;
    }
    arena_reset(queue->scratch);
    if ((r = wire_result_unpack(queue->scratch, ipc->payload, &result)) != 0 ||
        (r = take_result(peer, &result)) != 0) {
        return r == GW_ERR_NOMEM ? r : GW_ERR_PEER; /* closing gives the job back */
    }
    struct queue_message *message = entry->message;
    reason_of(&result, reason, sizeof(reason));
    queue_message_unlink(entry);
    peer->worker.entry = NULL;
    queue->busy_workers--;
    (void)queue_schedule_done(queue->schedule, &entry,
                              result.site_down != 0 ? QUEUE_RESULT_SITE_DOWN : QUEUE_RESULT_REACHED, reason,
                              clock_monotonic_ms());
    memcpy(peer->worker.connected_to, result.connected_to, sizeof(peer->worker.connected_to));
    push_idle(peer);
    queue_commit_dirty(queue, message);
    if (message->entries == NULL) {
        queue_active_continue(queue, message);
    }
    return 0;
}

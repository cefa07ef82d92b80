/*
 * queue_ctl - the operator's commands: flush, delete, hold, release, requeue, expire, cat, status.
 *
 * Before: queue_peer.c (role ctl); gateway/ctl/ctl_queue.c is the other end. A command is a list of words;
 * the answer ends with WIRE_CTL_END, whose code is 0 or an error and whose detail is the count of messages or
 * a text. Changes are committed before the answer. A message that is being delivered is changed when its
 * delivery has ended.
 */
#include "queue/queue_private.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/pack.h"

enum { WORDS_MAX = 1001, WORD_MAX = 1024, BATCH = 1000 };

struct ask {
    struct queue_peer *peer;
    uint64_t id;
    struct bytes words[WORDS_MAX];
    size_t count;
};

enum verb { DELETE, HOLD, RELEASE, REQUEUE, EXPIRE, FLUSH };

/* Jobs that wait are taken back; those under way end by themselves. */
static void
stop_waiting_jobs(struct queue *queue, struct queue_message *message)
{
    struct queue_entry *entry = message->entries;

    while (entry != NULL) {
        struct queue_entry *next = entry->sibling;

        if (!entry->is_taken) {
            queue_message_unlink(entry);
            queue_schedule_drop(queue->schedule, &entry);
        }
        entry = next;
    }
    if (message->entries == NULL) {
        queue_finish_attempt(queue, message);
    }
}

static void
change_active(struct queue *queue, struct queue_message *message, enum verb verb)
{
    switch (verb) {
    case DELETE:
        message->is_deleted = true;
        stop_waiting_jobs(queue, message);
        break;
    case HOLD:
        message->hold_asked = true;
        stop_waiting_jobs(queue, message);
        break;
    case RELEASE:
        message->hold_asked = false;
        break;
    case EXPIRE:
        message->status.flags |= QUEUE_FORCE_EXPIRE;
        break;
    case REQUEUE:
    case FLUSH:
        break; /* it is being tried */
    }
}

static int
change_stored(struct queue *queue, struct store_txn *txn, const char *id, enum verb verb)
{
    struct queue_status status;
    struct bytes packed;
    int r = queue_store_get_envelope(txn, id, &packed);

    if (r != 0 || (r = queue_store_get_status(txn, id, &status)) != 0) {
        return r;
    }
    switch (verb) {
    case DELETE:
        log_info("postsuper", "%s: removed", id);
        return queue_store_remove(txn, id);
    case HOLD:
        log_info("postsuper", "%s: placed on hold", id);
        status.flags |= QUEUE_HELD;
        break;
    case RELEASE:
        log_info("postsuper", "%s: released from hold", id);
        status.flags &= (uint8_t)~QUEUE_HELD;
        break;
    case EXPIRE:
        log_info("postsuper", "%s: expired", id);
        status.flags |= QUEUE_FORCE_EXPIRE;
        break;
    case REQUEUE:
        log_info("postsuper", "%s: requeued", id);
        status.flags &= (uint8_t)~QUEUE_HELD;
        status.next_us = 0;
        break;
    case FLUSH:
        break;
    }
    if ((status.flags & QUEUE_HELD) == 0) {
        (void)queue_active_wait(queue, id, 0);
    }
    return verb == FLUSH ? 0 : queue_store_set_status(txn, id, &status);
}

/* 0: changed. A message that does not exist is not counted and not an error. */
static int
change_one(struct queue *queue, struct store_txn *txn, const char *id, enum verb verb, size_t *changed)
{
    struct queue_message *message = queue_message_find(queue, id);
    int r = 0;

    if (message != NULL) {
        change_active(queue, message, verb);
    } else {
        r = change_stored(queue, txn, id, verb);
    }
    *changed += r == 0;
    return r == GW_ERR_NOTFOUND ? 0 : r;
}

static const char SITE_PREFIX[] = "site="; /* no letter of a queue name, and no domain has it */

/* A recipient of the message is in this domain. */
static bool
has_site(struct store_txn *txn, const char *id, struct bytes site)
{
    struct envelope *envelope = NULL;
    struct bytes packed;
    bool has = false;

    if (queue_store_get_envelope(txn, id, &packed) == 0 && envelope_unpack(packed, &envelope) == 0) {
        for (size_t i = 0; i < envelope->recipient_count && !has; i++) {
            struct bytes address = envelope->recipients[i].address;
            ptrdiff_t at = bytes_rindex(address, '@');

            has = at >= 0 && bytes_equal_nocase(bytes_sub(address, (size_t)at + 1, address.n), site);
        }
    }
    envelope_free(&envelope);
    return has;
}

/* postsuper's queue names; an empty filter is every message. */
static bool
is_in_queue(struct queue *queue, struct store_txn *txn, const char *id, struct bytes filter)
{
    struct queue_status status;
    bool active = queue_message_find(queue, id) != NULL;

    if (filter.n == 0) {
        return true;
    }
    if (bytes_has_prefix_nocase(filter, bytes_str(SITE_PREFIX))) {
        return has_site(txn, id, bytes_sub(filter, strlen(SITE_PREFIX), filter.n));
    }
    if (queue_store_get_status(txn, id, &status) != 0) {
        return false;
    }
    bool held = (status.flags & QUEUE_HELD) != 0;
    if (bytes_equal(filter, BYTES_LIT("hold"))) {
        return held;
    }
    if (bytes_equal(filter, BYTES_LIT("active"))) {
        return active;
    }
    if (bytes_equal(filter, BYTES_LIT("deferred"))) {
        return !held && !active && status.attempts > 0;
    }
    return bytes_equal(filter, BYTES_LIT("incoming")) && !held && !active && status.attempts == 0;
}

/* Up to BATCH messages behind *after in one transaction. GW_ERR_NOTFOUND: there are no more. */
static int
change_portion(struct queue *queue, enum verb verb, struct bytes filter, char after[QUEUE_ID_MAX],
               size_t *changed)
{
    struct store_txn *txn = NULL;
    struct bytes packed;
    int r = queue_store_begin(queue->store, true, &txn), end = 0;

    for (int i = 0; r == 0 && i < BATCH && end == 0; i++) {
        end = queue_store_next(txn, after, after, &packed);
        if (end == 0 && is_in_queue(queue, txn, after, filter)) {
            r = change_one(queue, txn, after, verb, changed);
        }
    }
    if (r == 0) {
        r = store_commit(&txn);
    }
    store_abort(&txn);
    return r != 0 ? r : end;
}

static int
change_named(struct queue *queue, enum verb verb, const struct ask *ask, size_t *changed)
{
    struct store_txn *txn = NULL;
    int r = queue_store_begin(queue->store, true, &txn);

    for (size_t i = 1; r == 0 && i < ask->count; i++) {
        char id[QUEUE_ID_MAX];

        (void)snprintf(id, sizeof(id), "%.*s", BYTES_FMT(bytes_sub(ask->words[i], 0, sizeof(id) - 1)));
        if (queue_store_is_id(id)) {
            r = change_one(queue, txn, id, verb, changed);
        }
    }
    if (r == 0) {
        r = store_commit(&txn);
    }
    store_abort(&txn);
    return r;
}

static int
answer_count(const struct ask *ask, int code, size_t count)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "%zu", count);
    return queue_peer_status(ask->peer, WIRE_CTL_END, ask->id, code, code == 0 ? text : gw_strerror(code));
}

static int
change(const struct ask *ask, enum verb verb)
{
    struct queue *queue = ask->peer->queue;
    size_t changed = 0;
    int r = 0;

    queue_commit_all(queue); /* so that what has ended is not taken for active */
    if (ask->count >= 2 && bytes_equal(ask->words[1], BYTES_LIT("ALL"))) {
        struct bytes filter = ask->count > 2 ? ask->words[2] : (struct bytes){0};
        char after[QUEUE_ID_MAX] = "";

        while ((r = change_portion(queue, verb, filter, after, &changed)) == 0) {
        }
        r = r == GW_ERR_NOTFOUND ? 0 : r;
    } else {
        r = change_named(queue, verb, ask, &changed);
    }
    queue_commit_all(queue);
    return answer_count(ask, r, changed);
}

static int
ask_delete(const struct ask *ask)
{
    return change(ask, DELETE);
}

static int
ask_hold(const struct ask *ask)
{
    return change(ask, HOLD);
}

static int
ask_release(const struct ask *ask)
{
    return change(ask, RELEASE);
}

static int
ask_requeue(const struct ask *ask)
{
    return change(ask, REQUEUE);
}

static int
ask_expire(const struct ask *ask)
{
    return change(ask, EXPIRE);
}

/* Without ids: everything, and destinations that were given up for a while count as alive. */
static int
ask_flush(const struct ask *ask)
{
    struct queue *queue = ask->peer->queue;

    queue_schedule_sweep(queue->schedule, clock_monotonic_ms(), 0, true);
    if (ask->count > 1) {
        return change(ask, FLUSH);
    }
    queue_commit_all(queue);
    int r = queue_recover_schedule(queue, true);
    return answer_count(ask, r, queue->waiting.count);
}

static int
ask_flush_site(const struct ask *ask)
{
    char filter[WORD_MAX + sizeof(SITE_PREFIX)];
    struct ask all = *ask;

    if (ask->count != 2) {
        return queue_peer_status(ask->peer, WIRE_CTL_END, ask->id, GW_ERR_SYNTAX, "a site is needed");
    }
    (void)snprintf(filter, sizeof(filter), "%s%.*s", SITE_PREFIX, BYTES_FMT(ask->words[1]));
    all.words[1] = BYTES_LIT("ALL");
    all.words[2] = bytes_str(filter);
    all.count = 3;
    queue_schedule_sweep(ask->peer->queue->schedule, clock_monotonic_ms(), 0, true);
    return change(&all, FLUSH);
}

static int
ask_list(const struct ask *ask)
{
    bool as_json = ask->count > 1 && bytes_equal(ask->words[1], BYTES_LIT("json"));

    queue_commit_all(ask->peer->queue);
    return queue_list_start(ask->peer, ask->id, as_json);
}

static void
print_envelope(struct buf *out, const struct envelope *envelope)
{
    char when[64];

    clock_rfc5322(envelope->arrival_us / 1000000, when, sizeof(when));
    (void)buf_printf(out,
                     "*** ENVELOPE RECORDS %s ***\nmessage_size: %llu\nmessage_arrival_time: %s\nsender: ",
                     envelope->queue_id, (unsigned long long)envelope->size, when);
    (void)buf_append_printable(out, envelope->sender, ENVELOPE_ADDRESS_MAX, true);
    (void)buf_printf(out, "\nlog_client_name: %s\nlog_helo_name: ", envelope->session.name);
    (void)buf_append_printable(out, bytes_str(envelope->session.helo), SESSION_HELO_MAX, true);
    for (size_t i = 0; i < envelope->recipient_count; i++) {
        (void)buf_append_str(out, "\noriginal_recipient: ");
        (void)buf_append_printable(out, envelope->recipients[i].original, ENVELOPE_ADDRESS_MAX, true);
        (void)buf_append_str(out, "\nrecipient: ");
        (void)buf_append_printable(out, envelope->recipients[i].address, ENVELOPE_ADDRESS_MAX, true);
    }
    (void)buf_append_str(out, "\n*** MESSAGE CONTENTS ***\n");
}

/* The envelope as text, then the content as a descriptor. */
static int
send_message(const struct ask *ask, struct store_txn *txn, const char *id)
{
    struct envelope *envelope = NULL;
    struct bytes packed;
    struct buf out;
    int fd = -1, r = queue_store_get_envelope(txn, id, &packed);

    buf_init(&out, IPC_PAYLOAD_MAX);
    if (r == 0 && (r = envelope_unpack(packed, &envelope)) == 0 &&
        (r = queue_store_get_body(txn, id, envelope->size, &fd)) == 0) {
        print_envelope(&out, envelope);
        if ((r = queue_peer_send(ask->peer, WIRE_CTL_LINE, ask->id, bytes_buf(&out), NULL, 0)) == 0) {
            r = queue_peer_send(ask->peer, WIRE_CTL_FILE, ask->id, (struct bytes){0}, &fd, 1);
        }
    }
    if (fd != -1) {
        (void)close(fd);
    }
    buf_free(&out);
    envelope_free(&envelope);
    return r;
}

static int
ask_cat(const struct ask *ask)
{
    struct store_txn *txn = NULL;
    char id[QUEUE_ID_MAX] = "";

    if (ask->count == 2) {
        (void)snprintf(id, sizeof(id), "%.*s", BYTES_FMT(bytes_sub(ask->words[1], 0, sizeof(id) - 1)));
    }
    int r = queue_store_is_id(id) ? queue_store_begin(ask->peer->queue->store, false, &txn) : GW_ERR_SYNTAX;
    if (r == 0) {
        r = send_message(ask, txn, id);
        store_abort(&txn);
    }
    return queue_peer_status(ask->peer, WIRE_CTL_END, ask->id, r, r != 0 ? gw_strerror(r) : "");
}

static int
ask_status(const struct ask *ask)
{
    const struct queue *queue = ask->peer->queue;
    uint64_t used = 0, limit = 0;
    char text[512];

    queue_store_usage(queue->store, &used, &limit);
    (void)snprintf(text, sizeof(text),
                   "active %zu\nwaiting %zu\nbusy_workers %zu\naccepted %llu\nfinished %llu\nbatches %llu\n"
                   "store_bytes %llu\nstore_limit %llu\nkept_contents %zu\ndropped_records %llu\n",
                   queue->active_count, queue->waiting.count, queue->busy_workers,
                   (unsigned long long)queue->accepted, (unsigned long long)queue->finished,
                   (unsigned long long)queue->batches, (unsigned long long)used, (unsigned long long)limit,
                   queue->kept_fds, (unsigned long long)queue->dropped_records);
    int r = queue_peer_send(ask->peer, WIRE_CTL_LINE, ask->id, bytes_str(text), NULL, 0);
    return r == 0 ? queue_peer_status(ask->peer, WIRE_CTL_END, ask->id, 0, "") : r;
}

static const struct {
    const char *word;
    int (*run)(const struct ask *ask);
} COMMANDS[] = {
    {"list", ask_list}, {"flush", ask_flush},     {"flush-site", ask_flush_site}, {"delete", ask_delete},
    {"hold", ask_hold}, {"release", ask_release}, {"requeue", ask_requeue},       {"expire", ask_expire},
    {"cat", ask_cat},   {"status", ask_status},
};

int
queue_ctl_ask(struct queue_peer *peer, struct ipc_message *message)
{
    struct ask ask = {.peer = peer, .id = message->id};
    struct unpack u;

    unpack_begin(&u, message->payload);
    ask.count = unpack_u16(&u);
    if (ask.count == 0 || ask.count > WORDS_MAX) {
        return GW_ERR_PEER;
    }
    for (size_t i = 0; i < ask.count; i++) {
        ask.words[i] = unpack_bytes(&u, WORD_MAX);
    }
    if (unpack_end(&u) != 0) {
        return GW_ERR_PEER;
    }
    for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(COMMANDS[0]); i++) {
        if (bytes_equal(ask.words[0], bytes_str(COMMANDS[i].word))) {
            return COMMANDS[i].run(&ask);
        }
    }
    return queue_peer_status(peer, WIRE_CTL_END, ask.id, GW_ERR_NOTFOUND, "unknown command");
}

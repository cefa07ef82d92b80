/*
 * relay_worker - see the header. Before: policy/delivery_worker.c, which takes the queue's jobs; after:
 * relay_delivery.c, then the queue again through the same.
 *
 * Owns the thread's kept connection and its scratch memory, all reused from job to job. A job without its
 * transport is deferred; an error makes the thread leave the queue, which then defers the job by itself.
 */
#include "relay/relay_worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "message/address.h"
#include "relay/relay_delivery.h"

enum {
    ARENA_MAX = 64 * 1024 * 1024,
    COMMAND_MAX = 64 * 1024,
    ROOM_MAX = 128 * 1024,
};

/* What a thread keeps from job to job. */
struct state {
    const struct relay_shared *shared;
    struct dns_client *dns;
    struct relay_delivery delivery;
    struct arena *arena;
    struct buf command, room;
    struct evidence evidence;
};

static int
query_dns(void *context, const char *name, enum dns_type type, int64_t deadline_ms,
          struct dns_answer **answer_r)
{
    char ascii[ADDRESS_HOSTNAME_MAX + 1];

    return dns_query(context, address_dns_name(name, ascii), type, deadline_ms, answer_r);
}

static void
end(void *context)
{
    struct state *state = context;

    relay_session_free(&state->delivery.session);
    dns_client_free(&state->dns);
    arena_free(&state->arena);
    buf_free(&state->command);
    buf_free(&state->room);
    free(state);
}

static void *
begin(void *context, uint16_t slot)
{
    struct state *state = calloc(1, sizeof(*state));

    if (state == NULL) {
        return NULL;
    }
    state->shared = context;
    relay_session_init(&state->delivery.session);
    state->delivery.session.evidence = &state->evidence;
    buf_init(&state->command, COMMAND_MAX);
    buf_init(&state->room, ROOM_MAX);
    state->arena = arena_new(ARENA_MAX);
    state->dns = dns_client_new(ROLE_RELAY);
    state->delivery.lookup.query = query_dns;
    state->delivery.lookup.context = state->dns;
    state->delivery.lookup.random = (uint64_t)clock_wall_us() * 2654435761u + slot;
    if (state->arena == NULL || state->dns == NULL) {
        end(state);
        return NULL;
    }
    return state;
}

static const struct relay_settings *
find_settings(const struct relay_shared *shared, const char *transport)
{
    for (size_t i = 0; i < shared->settings_count; i++) {
        if (strcmp(shared->settings[i]->transport, transport) == 0) {
            return shared->settings[i];
        }
    }
    return NULL;
}

/* What was tried is in the record already; here is what became of each recipient. A delivery that simply
 * succeeded over a kept connection adds nothing to what the queue records of every message, so it costs no
 * message to policy. */
static void
record_evidence(struct delivery_worker *worker, const struct relay_task *task)
{
    struct state *state = worker->state;
    const struct envelope *envelope = task->job->envelope;
    bool plain = state->delivery.connect_us == 0;

    for (size_t i = 0; i < task->count; i++) {
        plain = plain && task->recipients[i].status == DELIVERY_SENT;
    }
    if (plain) {
        return;
    }

    for (size_t i = 0; i < task->count; i++) {
        const struct relay_recipient *recipient = &task->recipients[i];

        evidence_add(&state->evidence, EV_DELIVERY, envelope->recipients[i].address,
                     bytes_str(state->delivery.relay),
                     bytes_str(delivery_worker_status_name(recipient->status)), recipient->reply,
                     (int64_t)(state->delivery.connect_us + state->delivery.transfer_us));
    }
    delivery_worker_send_evidence(worker, &state->evidence);
}

static int
send_result(struct delivery_worker *worker, uint64_t id, const struct relay_task *task)
{
    struct state *state = worker->state;
    struct wire_result result = {.count = task->count};
    struct relay_session *session = &state->delivery.session;

    result.recipients = arena_alloc(state->arena, (task->count + 1) * sizeof(*result.recipients));
    if (result.recipients == NULL) {
        return GW_ERR_NOMEM;
    }
    for (size_t i = 0; i < task->count; i++) {
        const struct relay_recipient *from = &task->recipients[i];
        struct wire_recipient_result *to = &result.recipients[i];

        to->number = task->job->recipient_numbers[i];
        to->status = (uint8_t)from->status;
        memcpy(to->dsn, from->dsn, sizeof(to->dsn));
        to->reply = from->reply;
        to->remote_mta = from->remote_mta;
    }
    (void)snprintf(result.relay, sizeof(result.relay), "%s", state->delivery.relay);
    if (session->open && session->settings->cache_idle_ms > 0) {
        (void)snprintf(result.connected_to, sizeof(result.connected_to), "%s", session->key);
    }
    result.connect_us = state->delivery.connect_us;
    result.transfer_us = state->delivery.transfer_us;
    result.site_down = relay_task_is_site_down(task);
    return delivery_worker_send_result(worker, id, &result);
}

static int
perform(struct delivery_worker *worker, uint64_t id, const struct wire_job *job, int content_fd)
{
    struct state *state = worker->state;
    struct relay_task task = {.command = &state->command, .room = &state->room};
    struct relay_session *session = &state->delivery.session;
    const struct relay_settings *settings;
    const char *ident = job->envelope->session.ident;
    int r = GW_ERR_INTERNAL;

    arena_reset(state->arena);
    (void)evidence_begin(&state->evidence, ident[0] != '\0' ? ident : job->envelope->queue_id, "relay");
    if ((r = relay_task_begin(&task, job, content_fd, state->arena)) != 0) {
        goto out;
    }
    if ((settings = find_settings(state->shared, job->transport)) != NULL) {
        relay_delivery_run(&state->delivery, settings, &task);
    } else {
        struct relay_failure failure = {DELIVERY_DEFERRED, "4.3.0", "mail transport unavailable"};

        relay_task_settle_all(&task, &failure);
        (void)snprintf(state->delivery.relay, sizeof(state->delivery.relay), "none");
    }
    if (session->open && session->settings->cache_idle_ms == 0) {
        relay_session_close(session, true);
    }
    session->idle_since_ms = clock_monotonic_ms();
    r = send_result(worker, id, &task);
    record_evidence(worker, &task); /* after the result: nobody waits for it */
out:
    evidence_free(&state->evidence);
    return r;
}

/* Until when to wait for a job: while a connection is kept, until it must go. */
static int64_t
wait_until(const void *context)
{
    const struct state *state = context;
    const struct relay_session *session = &state->delivery.session;

    return session->open ? session->idle_since_ms + session->settings->cache_idle_ms : CLOCK_NEVER;
}

static void
close_idle(void *context)
{
    struct state *state = context;

    relay_session_close(&state->delivery.session, true);
}

const struct delivery_role RELAY_WORKER = {
    .role = ROLE_RELAY,
    .program = "smtp",
    .begin = begin,
    .end = end,
    .perform = perform,
    .wait_until = wait_until,
    .wait_over = close_idle,
};

/*
 * deliver_worker - see the header. Before: policy/delivery_worker.c, which takes the queue's jobs; after: the
 * agent of the job's transport, then the queue again through the same.
 *
 * Owns nothing but the buffer of a result's expanded addresses. A job without its transport is deferred; an
 * error makes the thread leave the queue, which then defers the job by itself.
 */
#include "deliver/deliver_worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/pack.h"

/* What a thread keeps from job to job. */
struct state {
    const struct deliver_shared *shared;
    struct buf expanded;
};

static void *
begin(void *context, uint16_t slot)
{
    struct state *state = calloc(1, sizeof(*state));

    (void)slot;
    if (state != NULL) {
        state->shared = context;
        buf_init(&state->expanded, IPC_PAYLOAD_MAX);
    }
    return state;
}

static void
end(void *context)
{
    struct state *state = context;

    buf_free(&state->expanded);
    free(state);
}

static const struct deliver_transport *
find_transport(const struct deliver_shared *shared, const char *name)
{
    for (size_t i = 0; i < shared->transport_count; i++) {
        if (strcmp(shared->transports[i]->name, name) == 0) {
            return shared->transports[i];
        }
    }
    return NULL;
}

static void
record_evidence(struct delivery_worker *worker, const struct deliver_task *task, int64_t took_us)
{
    const struct envelope *envelope = task->job->envelope;
    const char *ident = envelope->session.ident;
    struct evidence evidence;
    bool plain = true;

    for (size_t i = 0; i < task->count; i++) {
        plain = plain && task->outcomes[i].status == DELIVERY_SENT;
    }
    /* The queue records every final status; only what went wrong has more to tell here. */
    if (plain) {
        return;
    }
    if (evidence_begin(&evidence, ident[0] != '\0' ? ident : envelope->queue_id, "deliver") != 0) {
        return;
    }
    for (size_t i = 0; i < task->count; i++) {
        evidence_add(&evidence, EV_DELIVERY, envelope->recipients[i].address, bytes_str(task->relay),
                     bytes_str(delivery_worker_status_name(task->outcomes[i].status)),
                     bytes_str(task->outcomes[i].text), took_us);
    }
    delivery_worker_send_evidence(worker, &evidence);
    evidence_free(&evidence);
}

static int
send_result(struct delivery_worker *worker, uint64_t id, struct deliver_task *task, int64_t took_us)
{
    struct wire_result result = {.count = task->count, .transfer_us = took_us};
    struct state *state = worker->state;
    int r = GW_ERR_NOMEM;

    result.recipients = calloc(task->count + 1, sizeof(*result.recipients));
    if (result.recipients == NULL) {
        return r;
    }
    for (size_t i = 0; i < task->count; i++) {
        struct wire_recipient_result *to = &result.recipients[i];

        to->number = task->job->recipient_numbers[i];
        to->status = (uint8_t)task->outcomes[i].status;
        memcpy(to->dsn, task->outcomes[i].dsn, sizeof(to->dsn));
        to->reply = bytes_str(task->outcomes[i].text);
    }
    (void)snprintf(result.relay, sizeof(result.relay), "%s", task->relay);
    buf_clear(&state->expanded);
    if (task->expanded_count > 0) {
        if ((r = pack_u16(&state->expanded, task->expanded_count)) != 0 ||
            (r = buf_append_bytes(&state->expanded, bytes_buf(&task->expanded))) != 0) {
            goto out;
        }
        result.expanded = bytes_buf(&state->expanded);
    }
    r = delivery_worker_send_result(worker, id, &result);
out:
    free(result.recipients);
    return r;
}

static int
perform(struct delivery_worker *worker, uint64_t id, const struct wire_job *job, int content_fd)
{
    const struct state *state = worker->state;
    const struct deliver_transport *transport = find_transport(state->shared, job->transport);
    struct deliver_task task = {0};
    int64_t start_us = clock_monotonic_us();
    int r = deliver_task_begin(&task, job, content_fd, transport != NULL ? transport->name : "none");

    if (r == 0) {
        if (transport != NULL) {
            transport->agent->run(transport, &task, worker->slot);
        } else {
            struct deliver_outcome outcome;

            deliver_outcome_set(&outcome, DELIVERY_DEFERRED, "4.3.0", "mail transport unavailable");
            deliver_task_set_all(&task, &outcome);
        }
        int64_t took_us = clock_monotonic_us() - start_us;
        r = send_result(worker, id, &task, took_us);
        record_evidence(worker, &task, took_us);
    }
    deliver_task_end(&task);
    return r;
}

const struct delivery_role DELIVER_WORKER = {
    .role = ROLE_DELIVER, .program = "deliver", .begin = begin, .end = end, .perform = perform};

/*
 * deliver_worker - see the header. Before: the queue's jobs (WIRE_JOB); after: the agent of the job's
 * transport, then the queue again (WIRE_RESULT).
 *
 * Owns the thread's channel to the queue. When the queue goes away while a delivery is under way the result
 * is dropped: the queue defers such a job by itself, and only there a duplicate is possible. Evidence goes to
 * policy without waiting; what does not fit is counted.
 */
#include "deliver/deliver_worker.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/pack.h"
#include "policy/evidence.h"

enum { RECONNECT_FIRST_MS = 20, RECONNECT_MAX_MS = 1000, POLICY_RETRY_MS = 1000 };

struct worker {
    struct deliver_thread *thread;
    struct ipc_channel *queue;
    struct buf packed, expanded;
};

static void
publish_queue_fd(struct deliver_thread *thread, int fd)
{
    (void)pthread_mutex_lock(&thread->lock);
    thread->queue_fd = fd;
    (void)pthread_mutex_unlock(&thread->lock);
}

void
deliver_worker_interrupt(struct deliver_thread *thread)
{
    (void)pthread_mutex_lock(&thread->lock);
    if (thread->queue_fd != -1) {
        /* Receiving ends with EOF behind what is already there; a result can still be sent. */
        (void)shutdown(thread->queue_fd, SHUT_RD);
    }
    (void)pthread_mutex_unlock(&thread->lock);
}

static void
disconnect_queue(struct worker *worker)
{
    publish_queue_fd(worker->thread, -1);
    ipc_channel_free(&worker->queue);
}

/* Connects and says who we are; patient, since master may be starting the queue again. */
static int
connect_queue(struct worker *worker)
{
    struct wire_worker hello = {.slot = worker->thread->slot};
    int wait_ms = RECONNECT_FIRST_MS;

    while (!atomic_load(&worker->thread->shared->draining)) {
        if (ipc_connect(ROLE_DELIVER, ROLE_QUEUE, &worker->queue) == 0) {
            publish_queue_fd(worker->thread, ipc_channel_fd(worker->queue));
            buf_clear(&worker->packed);
            if (wire_worker_pack(&worker->packed, &hello) == 0 &&
                ipc_send(worker->queue, WIRE_WORKER, 0, bytes_buf(&worker->packed), NULL, 0) == 0) {
                return 0;
            }
            disconnect_queue(worker);
        }
        (void)poll(NULL, 0, wait_ms);
        wait_ms = wait_ms * 2 < RECONNECT_MAX_MS ? wait_ms * 2 : RECONNECT_MAX_MS;
    }
    return GW_ERR_EOF;
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

static const char *const STATUS_NAMES[] = {
    [DELIVERY_DEFERRED] = "deferred", [DELIVERY_SENT] = "sent",         [DELIVERY_BOUNCED] = "bounced",
    [DELIVERY_RELAYED] = "relayed",   [DELIVERY_EXPANDED] = "expanded",
};

static void
send_evidence(struct deliver_shared *shared, struct evidence *evidence)
{
    int r = GW_ERR_EOF;

    (void)pthread_mutex_lock(&shared->evidence_lock);
    if (shared->policy == NULL && clock_monotonic_ms() >= shared->policy_retry_ms) {
        shared->policy_retry_ms = clock_monotonic_ms() + POLICY_RETRY_MS;
        if (ipc_connect(ROLE_DELIVER, ROLE_POLICY, &shared->policy) == 0) {
            int fd = ipc_channel_fd(shared->policy);

            (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        }
    }
    if (shared->policy != NULL) {
        r = ipc_has_backlog(shared->policy) ? ipc_flush(shared->policy) : 0;
        if (r == 0) {
            r = ipc_send(shared->policy, WIRE_EVIDENCE, 0, bytes_buf(&evidence->record), NULL, 0);
        }
        if (r != 0 && r != GW_ERR_AGAIN && r != GW_ERR_FULL) {
            ipc_channel_free(&shared->policy);
        }
    }
    if (r != 0) {
        shared->evidence_dropped++;
    }
    (void)pthread_mutex_unlock(&shared->evidence_lock);
}

static void
record_evidence(struct worker *worker, const struct deliver_task *task, int64_t took_us)
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
                     bytes_str(STATUS_NAMES[task->outcomes[i].status]), bytes_str(task->outcomes[i].text),
                     took_us);
    }
    send_evidence(worker->thread->shared, &evidence);
    evidence_free(&evidence);
}

static int
send_result(struct worker *worker, uint64_t id, struct deliver_task *task, int64_t took_us)
{
    struct wire_result result = {.count = task->count, .transfer_us = took_us};
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
    buf_clear(&worker->expanded);
    if (task->expanded_count > 0) {
        if ((r = pack_u16(&worker->expanded, task->expanded_count)) != 0 ||
            (r = buf_append_bytes(&worker->expanded, bytes_buf(&task->expanded))) != 0) {
            goto out;
        }
        result.expanded = bytes_buf(&worker->expanded);
    }
    buf_clear(&worker->packed);
    if ((r = wire_result_pack(&worker->packed, &result)) == 0) {
        r = ipc_send(worker->queue, WIRE_RESULT, id, bytes_buf(&worker->packed), NULL, 0);
    }
out:
    free(result.recipients);
    return r;
}

static int
do_job(struct worker *worker, struct ipc_message *message)
{
    struct wire_job job = {0};
    struct deliver_task task = {0};
    const struct deliver_transport *transport;
    int64_t start_us = clock_monotonic_us();
    int r = wire_job_unpack(message->payload, &job);

    if (r != 0) {
        return GW_ERR_PEER;
    }
    transport = find_transport(worker->thread->shared, job.transport);
    if ((r = deliver_task_begin(&task, &job, message->fds[0],
                                transport != NULL ? transport->name : "none")) == 0) {
        if (transport != NULL) {
            transport->agent->run(transport, &task, worker->thread->slot);
        } else {
            struct deliver_outcome outcome;

            deliver_outcome_set(&outcome, DELIVERY_DEFERRED, "4.3.0", "mail transport unavailable");
            deliver_task_set_all(&task, &outcome);
        }
        int64_t took_us = clock_monotonic_us() - start_us;
        r = send_result(worker, message->id, &task, took_us);
        record_evidence(worker, &task, took_us);
    }
    deliver_task_end(&task);
    wire_job_clear(&job);
    return r;
}

static void
serve_queue(struct worker *worker)
{
    for (;;) {
        struct ipc_message message;
        int r = ipc_receive(worker->queue, CLOCK_NEVER, &message);

        if (r == GW_ERR_AGAIN || r == GW_ERR_TIMEOUT) {
            continue;
        }
        if (r != 0) {
            break;
        }
        r = message.type == WIRE_JOB && message.fd_count == 1 ? do_job(worker, &message) : GW_ERR_PEER;
        ipc_message_free(&message);
        if (r != 0) {
            log_warning("deliver", "lost the queue: %s", gw_strerror(r));
            break;
        }
    }
    disconnect_queue(worker);
}

void *
deliver_worker_run(void *context)
{
    struct deliver_thread *thread = context;
    struct worker worker = {.thread = thread};

    buf_init(&worker.packed, IPC_PAYLOAD_MAX);
    buf_init(&worker.expanded, IPC_PAYLOAD_MAX);
    while (!atomic_load(&thread->shared->draining) && connect_queue(&worker) == 0) {
        serve_queue(&worker);
    }
    buf_free(&worker.packed);
    buf_free(&worker.expanded);
    atomic_fetch_sub(&thread->shared->threads, 1);
    return NULL;
}

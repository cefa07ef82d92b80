/*
 * delivery_worker - see the header. Before: delivery_pool.c starts it, the queue sends jobs (WIRE_JOB);
 * after: the role's perform() (relay_worker.c, deliver_worker.c), then the queue again (WIRE_RESULT).
 *
 * Owns the thread's channel to the queue; all threads of the role share one channel to policy. When the queue
 * goes away while a delivery is under way the result is dropped: the queue defers such a job by itself, and
 * only there a duplicate is possible. Evidence goes to policy without waiting; what does not fit is counted.
 */
#include "policy/delivery_worker.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

enum { RECONNECT_FIRST_MS = 20, RECONNECT_MAX_MS = 1000, POLICY_RETRY_MS = 1000 };

static void
publish_queue_fd(struct delivery_worker *worker, int fd)
{
    (void)pthread_mutex_lock(&worker->lock);
    worker->queue_fd = fd;
    (void)pthread_mutex_unlock(&worker->lock);
}

void
delivery_worker_interrupt(struct delivery_worker *worker)
{
    (void)pthread_mutex_lock(&worker->lock);
    if (worker->queue_fd != -1) {
        /* Receiving ends with EOF behind what is already there; a result can still be sent. */
        (void)shutdown(worker->queue_fd, SHUT_RD);
    }
    (void)pthread_mutex_unlock(&worker->lock);
}

static void
disconnect_queue(struct delivery_worker *worker)
{
    publish_queue_fd(worker, -1);
    ipc_channel_free(&worker->queue);
}

/* Connects and says who we are; patient, since master may be starting the queue again. */
static int
connect_queue(struct delivery_worker *worker)
{
    struct wire_worker hello = {.slot = worker->slot};
    int wait_ms = RECONNECT_FIRST_MS;

    while (!atomic_load(&worker->shared->draining)) {
        if (ipc_connect(worker->shared->role->role, ROLE_QUEUE, &worker->queue) == 0) {
            publish_queue_fd(worker, ipc_channel_fd(worker->queue));
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

int
delivery_worker_send_result(struct delivery_worker *worker, uint64_t id, const struct wire_result *result)
{
    buf_clear(&worker->packed);
    int r = wire_result_pack(&worker->packed, result);
    return r != 0 ? r : ipc_send(worker->queue, WIRE_RESULT, id, bytes_buf(&worker->packed), NULL, 0);
}

void
delivery_worker_send_evidence(struct delivery_worker *worker, const struct evidence *evidence)
{
    struct delivery_shared *shared = worker->shared;
    int r = GW_ERR_EOF;

    (void)pthread_mutex_lock(&shared->evidence_lock);
    if (shared->policy == NULL && clock_monotonic_ms() >= shared->policy_retry_ms) {
        shared->policy_retry_ms = clock_monotonic_ms() + POLICY_RETRY_MS;
        if (ipc_connect(shared->role->role, ROLE_POLICY, &shared->policy) == 0) {
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

const char *
delivery_worker_status_name(enum delivery_status status)
{
    static const char *const NAMES[] = {
        [DELIVERY_DEFERRED] = "deferred", [DELIVERY_SENT] = "sent",         [DELIVERY_BOUNCED] = "bounced",
        [DELIVERY_RELAYED] = "relayed",   [DELIVERY_EXPANDED] = "expanded",
    };

    return NAMES[status];
}

static int
do_job(struct delivery_worker *worker, const struct ipc_message *message)
{
    struct wire_job job = {0};

    if (message->type != WIRE_JOB || message->fd_count != 1 || wire_job_unpack(message->payload, &job) != 0) {
        return GW_ERR_PEER;
    }
    int r = worker->shared->role->perform(worker, message->id, &job, message->fds[0]);
    wire_job_clear(&job);
    return r;
}

static void
serve_queue(struct delivery_worker *worker)
{
    const struct delivery_role *role = worker->shared->role;

    for (;;) {
        struct ipc_message message;
        int64_t deadline_ms = role->wait_until != NULL ? role->wait_until(worker->state) : CLOCK_NEVER;
        int r = ipc_receive(worker->queue, deadline_ms, &message);

        if (r == GW_ERR_TIMEOUT && role->wait_over != NULL) {
            role->wait_over(worker->state);
        }
        if (r == GW_ERR_AGAIN || r == GW_ERR_TIMEOUT) {
            continue;
        }
        if (r != 0) {
            break;
        }
        r = do_job(worker, &message);
        ipc_message_free(&message);
        if (r != 0) {
            log_warning(role->program, "lost the queue: %s", gw_strerror(r));
            break;
        }
    }
    disconnect_queue(worker);
}

void *
delivery_worker_run(void *context)
{
    struct delivery_worker *worker = context;
    struct delivery_shared *shared = worker->shared;
    const struct delivery_role *role = shared->role;

    buf_init(&worker->packed, IPC_PAYLOAD_MAX);
    worker->state = role->begin(shared->context, worker->slot);
    if (worker->state != NULL) {
        while (!atomic_load(&shared->draining) && connect_queue(worker) == 0) {
            serve_queue(worker);
        }
        role->end(worker->state);
        worker->state = NULL;
    } else {
        log_error(role->program, "out of memory: a %s thread ends", role_name(role->role));
    }
    buf_free(&worker->packed);
    atomic_fetch_sub(&shared->threads, 1); /* the last act: the owner may free everything now */
    return NULL;
}

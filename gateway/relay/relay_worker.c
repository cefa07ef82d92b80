/*
 * relay_worker - see the header. Before: the queue's jobs (WIRE_JOB); after: relay_delivery.c, then the queue
 * again (WIRE_RESULT).
 *
 * Owns the thread's channel to the queue, its kept connection and its scratch memory, all reused from job to
 * job. When the queue goes away while a delivery is under way the result is dropped: the queue defers such a
 * job by itself, and only there a duplicate is possible. Evidence goes to policy without waiting; what does
 * not fit is counted.
 */
#include "relay/relay_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/pack.h"
#include "policy/evidence.h"
#include "relay/relay_delivery.h"

enum {
    ARENA_MAX = 64 * 1024 * 1024,
    COMMAND_MAX = 64 * 1024,
    ROOM_MAX = 128 * 1024,
    RECONNECT_FIRST_MS = 20,
    RECONNECT_MAX_MS = 1000,
    POLICY_RETRY_MS = 1000,
};

struct worker {
    struct relay_thread *thread;
    struct ipc_channel *queue;
    struct dns_client *dns;
    struct relay_delivery delivery;
    struct arena *arena;
    struct buf command, room, packed;
    struct evidence evidence;
};

static int
query_dns(void *context, const char *name, enum dns_type type, int64_t deadline_ms,
          struct dns_answer **answer_r)
{
    return dns_query(context, name, type, deadline_ms, answer_r);
}

static int
set_up(struct worker *worker, struct relay_thread *thread)
{
    memset(worker, 0, sizeof(*worker));
    worker->thread = thread;
    relay_session_init(&worker->delivery.session);
    worker->delivery.session.evidence = &worker->evidence;
    buf_init(&worker->command, COMMAND_MAX);
    buf_init(&worker->room, ROOM_MAX);
    buf_init(&worker->packed, IPC_PAYLOAD_MAX);
    worker->arena = arena_new(ARENA_MAX);
    worker->dns = dns_client_new(ROLE_RELAY);
    worker->delivery.lookup.query = query_dns;
    worker->delivery.lookup.context = worker->dns;
    worker->delivery.lookup.random = (uint64_t)clock_wall_us() * 2654435761u + thread->slot;
    return worker->arena != NULL && worker->dns != NULL ? 0 : GW_ERR_NOMEM;
}

static void
clean_up(struct worker *worker)
{
    relay_session_free(&worker->delivery.session);
    dns_client_free(&worker->dns);
    arena_free(&worker->arena);
    buf_free(&worker->command);
    buf_free(&worker->room);
    buf_free(&worker->packed);
}

static void
publish_queue_fd(struct relay_thread *thread, int fd)
{
    (void)pthread_mutex_lock(&thread->lock);
    thread->queue_fd = fd;
    (void)pthread_mutex_unlock(&thread->lock);
}

void
relay_worker_interrupt(struct relay_thread *thread)
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
        if (ipc_connect(ROLE_RELAY, ROLE_QUEUE, &worker->queue) == 0) {
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

static const char *const STATUS_NAMES[] = {
    [DELIVERY_DEFERRED] = "deferred", [DELIVERY_SENT] = "sent",         [DELIVERY_BOUNCED] = "bounced",
    [DELIVERY_RELAYED] = "relayed",   [DELIVERY_EXPANDED] = "expanded",
};

static void
send_evidence(struct relay_shared *shared, struct evidence *evidence)
{
    int r = GW_ERR_EOF;

    (void)pthread_mutex_lock(&shared->evidence_lock);
    if (shared->policy == NULL && clock_monotonic_ms() >= shared->policy_retry_ms) {
        shared->policy_retry_ms = clock_monotonic_ms() + POLICY_RETRY_MS;
        if (ipc_connect(ROLE_RELAY, ROLE_POLICY, &shared->policy) == 0) {
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

/* What was tried is in the record already; here is what became of each recipient. A delivery that simply
 * succeeded over a kept connection adds nothing to what the queue records of every message, so it costs no
 * message to policy. */
static void
record_evidence(struct worker *worker, const struct relay_task *task)
{
    const struct envelope *envelope = task->job->envelope;
    bool plain = worker->delivery.connect_us == 0;

    for (size_t i = 0; i < task->count; i++) {
        plain = plain && task->recipients[i].status == DELIVERY_SENT;
    }
    if (plain) {
        return;
    }

    for (size_t i = 0; i < task->count; i++) {
        const struct relay_recipient *recipient = &task->recipients[i];

        evidence_add(&worker->evidence, EV_DELIVERY, envelope->recipients[i].address,
                     bytes_str(worker->delivery.relay), bytes_str(STATUS_NAMES[recipient->status]),
                     recipient->reply, (int64_t)(worker->delivery.connect_us + worker->delivery.transfer_us));
    }
    send_evidence(worker->thread->shared, &worker->evidence);
}

static int
send_result(struct worker *worker, uint64_t id, const struct relay_task *task)
{
    struct wire_result result = {.count = task->count};
    struct relay_session *session = &worker->delivery.session;

    result.recipients = arena_alloc(worker->arena, (task->count + 1) * sizeof(*result.recipients));
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
    (void)snprintf(result.relay, sizeof(result.relay), "%s", worker->delivery.relay);
    if (session->open && session->settings->cache_idle_ms > 0) {
        (void)snprintf(result.connected_to, sizeof(result.connected_to), "%s", session->key);
    }
    result.connect_us = worker->delivery.connect_us;
    result.transfer_us = worker->delivery.transfer_us;
    result.site_down = relay_task_is_site_down(task);
    buf_clear(&worker->packed);
    int r = wire_result_pack(&worker->packed, &result);
    return r != 0 ? r : ipc_send(worker->queue, WIRE_RESULT, id, bytes_buf(&worker->packed), NULL, 0);
}

static int
do_job(struct worker *worker, struct ipc_message *message)
{
    struct wire_job job = {0};
    struct relay_task task = {.command = &worker->command, .room = &worker->room};
    struct relay_session *session = &worker->delivery.session;
    const struct relay_settings *settings;
    int r = wire_job_unpack(message->payload, &job);

    if (r != 0) {
        return GW_ERR_PEER;
    }
    const char *ident = job.envelope->session.ident;

    arena_reset(worker->arena);
    (void)evidence_begin(&worker->evidence, ident[0] != '\0' ? ident : job.envelope->queue_id, "relay");
    if ((r = relay_task_begin(&task, &job, message->fds[0], worker->arena)) != 0) {
        goto out;
    }
    if ((settings = find_settings(worker->thread->shared, job.transport)) != NULL) {
        relay_delivery_run(&worker->delivery, settings, &task);
    } else {
        struct relay_failure failure = {DELIVERY_DEFERRED, "4.3.0", "mail transport unavailable"};

        relay_task_settle_all(&task, &failure);
        (void)snprintf(worker->delivery.relay, sizeof(worker->delivery.relay), "none");
    }
    if (session->open && session->settings->cache_idle_ms == 0) {
        relay_session_close(session, true);
    }
    session->idle_since_ms = clock_monotonic_ms();
    r = send_result(worker, message->id, &task);
    record_evidence(worker, &task); /* after the result: nobody waits for it */
out:
    evidence_free(&worker->evidence);
    wire_job_clear(&job);
    return r;
}

/* Until when to wait for a job: while a connection is kept, until it must go. */
static int64_t
wait_deadline(const struct worker *worker)
{
    const struct relay_session *session = &worker->delivery.session;

    return session->open ? session->idle_since_ms + session->settings->cache_idle_ms : CLOCK_NEVER;
}

static void
serve_queue(struct worker *worker)
{
    for (;;) {
        struct ipc_message message;
        int r = ipc_receive(worker->queue, wait_deadline(worker), &message);

        if (r == GW_ERR_TIMEOUT) {
            relay_session_close(&worker->delivery.session, true);
            continue;
        }
        if (r == GW_ERR_AGAIN) {
            continue;
        }
        if (r != 0) {
            break;
        }
        r = message.type == WIRE_JOB && message.fd_count == 1 ? do_job(worker, &message) : GW_ERR_PEER;
        ipc_message_free(&message);
        if (r != 0) {
            log_warning("smtp", "lost the queue: %s", gw_strerror(r));
            break;
        }
    }
    disconnect_queue(worker);
}

void *
relay_worker_run(void *context)
{
    struct relay_thread *thread = context;
    struct worker worker;

    if (set_up(&worker, thread) == 0) {
        while (!atomic_load(&thread->shared->draining) && connect_queue(&worker) == 0) {
            serve_queue(&worker);
        }
    } else {
        log_error("smtp", "out of memory: a relay thread ends");
    }
    clean_up(&worker);
    atomic_fetch_sub(&thread->shared->threads, 1);
    return NULL;
}

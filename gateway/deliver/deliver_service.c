/*
 * deliver_service - see the header. Before: master starts it; after: deliver_worker.c, one thread per
 * delivery that may run at once.
 *
 * Opens the tables of every row of master.cf it serves, then starts the threads. Started as root it stays
 * root and outside a chroot, because it must become the owner of each mailbox; each delivery then gives that
 * up in a child. When master closes its end of the control socket each thread finishes the job it has and
 * goes.
 */
#include "deliver/deliver_service.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "config/role_start.h"
#include "deliver/deliver_worker.h"

enum {
    DELIVER_THREADS_MAX = 50,
    DELIVER_STACK = 512 * 1024,
    DELIVER_DRAIN_MS = 60000,
    DELIVER_DRAIN_STEP_MS = 20,
    WHY_MAX = 4096,
};

static int
open_transports(const struct config *config, struct deliver_shared *shared)
{
    struct buf why;
    int r = 0;

    buf_init(&why, WHY_MAX);
    for (size_t i = 0; i < config_service_count(config) && r == 0; i++) {
        const struct config_service *row = config_service(config, i);

        if (deliver_transport_agent(row->program) == NULL) {
            continue;
        }
        if (shared->transport_count == DELIVER_TRANSPORTS_MAX) {
            r = GW_ERR_LIMIT;
            break;
        }
        buf_clear(&why);
        r = deliver_transport_new(config, i, &shared->transports[shared->transport_count], &why);
        if (r == 0) {
            shared->transport_count++;
        } else {
            log_error(row->program, "master.cf line %d: service %s: %s", row->line, row->name,
                      why.n > 0 ? buf_str(&why) : gw_strerror(r));
        }
    }
    buf_free(&why);
    return r;
}

/* As many as all rows together may run, within the process's own limits. */
static size_t
count_threads(const struct config *config)
{
    int64_t limit = config_int(config, P_default_process_limit);
    int64_t sum = 0;

    for (size_t i = 0; i < config_service_count(config); i++) {
        const struct config_service *row = config_service(config, i);

        if (deliver_transport_agent(row->program) != NULL) {
            sum += row->max_processes > 0 ? row->max_processes : limit;
        }
    }
    sum = sum < limit ? sum : limit;
    return (size_t)(sum < 1 ? 1 : sum < DELIVER_THREADS_MAX ? sum : DELIVER_THREADS_MAX);
}

static size_t
start_threads(struct deliver_shared *shared, struct deliver_thread *threads, size_t count)
{
    pthread_attr_t attributes;
    size_t started = 0;

    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, DELIVER_STACK);
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (; started < count; started++) {
        struct deliver_thread *thread = &threads[started];
        pthread_t id;

        thread->shared = shared;
        thread->slot = (uint16_t)started;
        thread->queue_fd = -1;
        (void)pthread_mutex_init(&thread->lock, NULL);
        atomic_fetch_add(&shared->threads, 1);
        int error = pthread_create(&id, &attributes, deliver_worker_run, thread);
        if (error != 0) {
            atomic_fetch_sub(&shared->threads, 1);
            log_warning("deliver", "cannot start thread %zu: %s", started, strerror(error));
            break;
        }
    }
    (void)pthread_attr_destroy(&attributes);
    return started;
}

static void
drain_when_told(struct deliver_shared *shared, struct deliver_thread *threads, size_t count)
{
    struct pollfd control = {.fd = ROLE_CONTROL_FD, .events = POLLIN};

    while (poll(&control, 1, -1) == -1 && errno == EINTR) {
    }
    atomic_store(&shared->draining, true);
    int64_t deadline_ms = clock_monotonic_ms() + DELIVER_DRAIN_MS;
    while (atomic_load(&shared->threads) > 0 && clock_monotonic_ms() < deadline_ms) {
        for (size_t i = 0; i < count; i++) {
            deliver_worker_interrupt(&threads[i]); /* again and again: one may have connected just now */
        }
        (void)poll(NULL, 0, DELIVER_DRAIN_STEP_MS);
    }
}

int
deliver_main(int argc, char **argv)
{
    static struct role_start
        *start; /* role mains may keep state of the process: threads may outlive this one */
    static struct deliver_shared *shared;
    static struct deliver_thread *threads;

    start = calloc(1, sizeof(*start));
    shared = calloc(1, sizeof(*shared));
    threads = calloc(DELIVER_THREADS_MAX, sizeof(*threads));
    if (start == NULL || shared == NULL || threads == NULL || role_start_begin(argc, argv, start) != 0) {
        return 1;
    }
    (void)pthread_mutex_init(&shared->evidence_lock, NULL);
    if (open_transports(start->config, shared) != 0 || role_start_ready(start, NULL, NULL) != 0) {
        return 1;
    }
    size_t started = start_threads(shared, threads, count_threads(start->config));
    if (started == 0) {
        log_fatal("deliver", "no thread could be started");
    }
    drain_when_told(shared, threads, started);
    return 0;
}

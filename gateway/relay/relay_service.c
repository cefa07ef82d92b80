/*
 * relay_service - see the header. Before: master starts it; after: relay_worker.c, one thread per delivery
 * that may run at once.
 *
 * Reads the settings of every smtp and lmtp row of master.cf before the jail (certificates are files), then
 * starts as many threads as the rows allow together. When master closes its end of the control socket each
 * thread finishes the job it has and goes.
 */
#include "relay/relay_service.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "config/role_start.h"
#include "relay/relay_worker.h"

enum {
    RELAY_THREADS_MAX = 100,
    RELAY_STACK = 512 * 1024,
    RELAY_DRAIN_MS = 60000,
    RELAY_DRAIN_STEP_MS = 20,
};

static bool
is_relay_row(const struct config_service *row)
{
    return strcmp(row->program, "smtp") == 0 || strcmp(row->program, "lmtp") == 0;
}

static int
read_settings(const struct config *config, struct relay_shared *shared)
{
    for (size_t i = 0; i < config_service_count(config); i++) {
        if (!is_relay_row(config_service(config, i))) {
            continue;
        }
        if (shared->settings_count == RELAY_TRANSPORTS_MAX) {
            log_error("smtp", "more than %d transports with program smtp or lmtp", RELAY_TRANSPORTS_MAX);
            return GW_ERR_LIMIT;
        }
        int r = relay_settings_new(config, i, &shared->settings[shared->settings_count]);
        if (r != 0) {
            return r;
        }
        shared->settings_count++;
    }
    return 0;
}

/* As many as all rows together may run, within the process's own limits. */
static size_t
count_threads(const struct config *config)
{
    int64_t limit = config_int(config, P_default_process_limit);
    int64_t sum = 0;

    for (size_t i = 0; i < config_service_count(config); i++) {
        const struct config_service *row = config_service(config, i);

        if (is_relay_row(row)) {
            sum += row->max_processes > 0 ? row->max_processes : limit;
        }
    }
    sum = sum < limit ? sum : limit;
    return (size_t)(sum < 1 ? 1 : sum < RELAY_THREADS_MAX ? sum : RELAY_THREADS_MAX);
}

static size_t
start_threads(struct relay_shared *shared, struct relay_thread *threads, size_t count)
{
    pthread_attr_t attributes;
    size_t started = 0;

    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, RELAY_STACK);
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (; started < count; started++) {
        struct relay_thread *thread = &threads[started];
        pthread_t id;

        thread->shared = shared;
        thread->slot = (uint16_t)started;
        thread->queue_fd = -1;
        (void)pthread_mutex_init(&thread->lock, NULL);
        atomic_fetch_add(&shared->threads, 1);
        int error = pthread_create(&id, &attributes, relay_worker_run, thread);
        if (error != 0) {
            atomic_fetch_sub(&shared->threads, 1);
            log_warning("smtp", "cannot start thread %zu: %s", started, strerror(error));
            break;
        }
    }
    (void)pthread_attr_destroy(&attributes);
    return started;
}

static void
drain_when_told(struct relay_shared *shared, struct relay_thread *threads, size_t count)
{
    struct pollfd control = {.fd = ROLE_CONTROL_FD, .events = POLLIN};

    while (poll(&control, 1, -1) == -1 && errno == EINTR) {
    }
    atomic_store(&shared->draining, true);
    int64_t deadline_ms = clock_monotonic_ms() + RELAY_DRAIN_MS;
    while (atomic_load(&shared->threads) > 0 && clock_monotonic_ms() < deadline_ms) {
        for (size_t i = 0; i < count; i++) {
            relay_worker_interrupt(&threads[i]); /* again and again: one may have connected just now */
        }
        (void)poll(NULL, 0, RELAY_DRAIN_STEP_MS);
    }
}

int
relay_main(int argc, char **argv)
{
    static struct role_start
        *start; /* role mains may keep state of the process: threads may outlive this one */
    static struct relay_shared *shared;
    static struct relay_thread *threads;

    start = calloc(1, sizeof(*start));
    shared = calloc(1, sizeof(*shared));
    threads = calloc(RELAY_THREADS_MAX, sizeof(*threads));
    if (start == NULL || shared == NULL || threads == NULL || role_start_begin(argc, argv, start) != 0) {
        return 1;
    }
    (void)pthread_mutex_init(&shared->evidence_lock, NULL);
    if (read_settings(start->config, shared) != 0 || role_start_ready(start, NULL, NULL) != 0) {
        return 1;
    }
    size_t started = start_threads(shared, threads, count_threads(start->config));
    if (started == 0) {
        log_fatal("smtp", "no thread could be started");
    }
    drain_when_told(shared, threads, started);
    return 0;
}

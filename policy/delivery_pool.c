/*
 * delivery_pool - see the header. Before: the mains of relay and deliver (relay_service.c,
 * deliver_service.c); after: delivery_worker.c, one thread per delivery that may run at once.
 *
 * Owns the threads and what they share. Threads are detached: a delivery that does not end within the drain's
 * time must not keep the process. When a thread cannot be started the role works with those it has.
 */
#include "policy/delivery_pool.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "config/role_start.h"

enum { THREAD_STACK = 512 * 1024, DRAIN_STEP_MS = 20 };

struct delivery_pool {
    struct delivery_shared shared;
    size_t count;
    struct delivery_worker workers[];
};

size_t
delivery_pool_size(const struct config *config, bool (*serves)(const struct config_service *row), size_t max)
{
    int64_t limit = config_int(config, P_default_process_limit);
    int64_t sum = 0;

    for (size_t i = 0; i < config_service_count(config); i++) {
        const struct config_service *row = config_service(config, i);

        if (serves(row)) {
            sum += row->max_processes > 0 ? row->max_processes : limit;
        }
    }
    sum = sum < limit ? sum : limit;
    return sum < 1 ? 1 : (uint64_t)sum < max ? (size_t)sum : max;
}

static void
start_threads(struct delivery_pool *pool, size_t count)
{
    struct delivery_shared *shared = &pool->shared;
    pthread_attr_t attributes;

    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, THREAD_STACK);
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (; pool->count < count; pool->count++) {
        struct delivery_worker *worker = &pool->workers[pool->count];
        pthread_t id;

        worker->shared = shared;
        worker->slot = (uint16_t)pool->count;
        worker->queue_fd = -1;
        (void)pthread_mutex_init(&worker->lock, NULL);
        atomic_fetch_add(&shared->threads, 1);
        int error = pthread_create(&id, &attributes, delivery_worker_run, worker);
        if (error != 0) {
            atomic_fetch_sub(&shared->threads, 1);
            log_warning(shared->role->program, "cannot start thread %zu: %s", pool->count, strerror(error));
            break;
        }
    }
    (void)pthread_attr_destroy(&attributes);
}

int
delivery_pool_start(const struct delivery_role *role, void *context, size_t count,
                    struct delivery_pool **pool_r)
{
    struct delivery_pool *pool = calloc(1, sizeof(*pool) + count * sizeof(pool->workers[0]));

    *pool_r = NULL;
    if (pool == NULL) {
        return GW_ERR_NOMEM;
    }
    pool->shared.role = role;
    pool->shared.context = context;
    (void)pthread_mutex_init(&pool->shared.evidence_lock, NULL);
    start_threads(pool, count);
    if (pool->count == 0) {
        free(pool);
        return GW_ERR_SYS;
    }
    *pool_r = pool;
    return 0;
}

void
delivery_pool_drain_when_told(struct delivery_pool *pool)
{
    struct pollfd control = {.fd = ROLE_CONTROL_FD, .events = POLLIN};

    while (poll(&control, 1, -1) == -1 && errno == EINTR) {
    }
    atomic_store(&pool->shared.draining, true);
    int64_t deadline_ms = clock_monotonic_ms() + DELIVERY_POOL_DRAIN_MS;
    while (atomic_load(&pool->shared.threads) > 0 && clock_monotonic_ms() < deadline_ms) {
        for (size_t i = 0; i < pool->count; i++) {
            delivery_worker_interrupt(&pool->workers[i]); /* again: one may have connected just now */
        }
        (void)poll(NULL, 0, DRAIN_STEP_MS);
    }
}

/*
 * queue_service - the role: opens what it owns, listens, runs the loop, ends in order.
 *
 * One process, one thread, sole owner of queue.lmdb (an exclusive lock says so; master lets only one
 * generation run). Asked to end, it takes no more submissions and gives out no more jobs, waits a moment for
 * results that are under way, commits them and leaves; whatever is still out is due again at the next start.
 */
#include "queue/queue_service.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "queue/queue_private.h"

enum {
    DRAIN_MS = 3000,
    DRAIN_STEP_MS = 50,
    SWEEP_MS = 5000,
    DESTINATION_IDLE_MS = 30000,
    SCRATCH_MAX = 64 * 1024 * 1024,
    LOCK_WAIT_MS = 10000, /* a predecessor that drains */
    LOCK_STEP_US = 20000,
    KEPT_MEMORY = 64 * 1024 * 1024,
    FDS_NEEDED = QUEUE_KEPT_FDS_MAX + QUEUE_CLIENTS_MAX + 256,
};

static void
sweep(void *context)
{
    struct queue *queue = context;

    queue_schedule_sweep(queue->schedule, clock_monotonic_ms(), DESTINATION_IDLE_MS, false);
    queue->sweep_timer = loop_timer_add(queue->loop, clock_monotonic_ms() + SWEEP_MS, sweep, queue);
}

static void
drain_step(void *context)
{
    struct queue *queue = context;

    if (queue->busy_workers == 0 || clock_monotonic_ms() >= queue->drain_until_ms) {
        loop_stop(queue->loop);
        return;
    }
    if (loop_timer_add(queue->loop, clock_monotonic_ms() + DRAIN_STEP_MS, drain_step, queue) == NULL) {
        loop_stop(queue->loop);
    }
}

static void
drain(void *context)
{
    struct queue *queue = context;

    if (queue->is_draining) {
        return;
    }
    queue->is_draining = true;
    queue->drain_until_ms = clock_monotonic_ms() + DRAIN_MS;
    for (size_t i = 0; i < queue->listener_count; i++) {
        loop_watch_remove(queue->loop, &queue->listeners[i].watch);
    }
    loop_watch_remove(queue->loop, &queue->control_watch);
    drain_step(queue);
}

static void
control_ready(void *context, uint32_t events)
{
    (void)events; /* master never writes here: readable is the end */
    drain(context);
}

/* One process at a time, whatever started it. */
static int
take_lock(struct queue *queue, const char *directory)
{
    int64_t deadline_ms = clock_monotonic_ms() + LOCK_WAIT_MS;

    queue->directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (queue->directory_fd == -1) {
        log_error("qmgr", "cannot open queue_directory %s: %s", directory, strerror(errno));
        return GW_ERR_SYS;
    }
    queue->lock_fd = openat(queue->directory_fd, "queue.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (queue->lock_fd == -1) {
        log_error("qmgr", "cannot create %s/queue.lock: %s", directory, strerror(errno));
        return GW_ERR_SYS;
    }
    while (flock(queue->lock_fd, LOCK_EX | LOCK_NB) == -1) {
        if (clock_monotonic_ms() >= deadline_ms) {
            log_error("qmgr", "%s/queue.lock is held by another process", directory);
            return GW_ERR_EXISTS;
        }
        (void)usleep(LOCK_STEP_US);
    }
    return 0;
}

static void
raise_fd_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FDS_NEEDED) {
        limit.rlim_cur = limit.rlim_max < FDS_NEEDED ? limit.rlim_max : (rlim_t)FDS_NEEDED;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Each batch takes and gives back the store's pages; handing them to the kernel in between costs more than
 * all else that this process computes. */
static void
keep_memory(void)
{
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_MEMORY);
    (void)mallopt(M_MMAP_THRESHOLD, KEPT_MEMORY);
}

static int
open_store(struct queue *queue, const char *directory)
{
    const char *why = "";
    int r = queue_store_open(directory, queue->settings.store_limit, &queue->store, &why);

    if (r != 0) {
        log_error("qmgr", "cannot open %s/queue.lmdb: %s: %s", directory, why, strerror(errno));
    }
    return r;
}

int
queue_service_open(struct queue *queue, const struct config *config)
{
    const char *directory = config_str(config, P_queue_directory);
    struct buf why;
    int r = GW_ERR_INTERNAL;

    *queue = (struct queue){.directory_fd = -1, .lock_fd = -1, .started_us = clock_wall_us()};
    queue->submissions_tail = &queue->submissions;
    queue->unique = (uint64_t)getpid() << 20;
    buf_init(&queue->out, IPC_PAYLOAD_MAX);
    buf_init(&queue->log_text, 8192);
    buf_init(&why, 4096);
    queue->loop = loop_new();
    queue->scratch = arena_new(SCRATCH_MAX);
    queue->schedule = queue_schedule_new();
    if (queue->loop == NULL || queue->scratch == NULL || queue->schedule == NULL) {
        log_error("qmgr", "out of memory");
        r = GW_ERR_NOMEM;
        goto out;
    }
    raise_fd_limit();
    keep_memory();
    if ((r = queue_settings_load(config, &queue->settings)) != 0 ||
        (r = queue_settings_transports(config, queue->schedule)) != 0 ||
        (r = take_lock(queue, directory)) != 0 || (r = open_store(queue, directory)) != 0) {
        goto out;
    }
    if ((r = router_new(config, &queue->router, &why)) != 0) {
        log_error("qmgr", "cannot open the lookup tables: %s", buf_str(&why));
        goto out;
    }
    loop_after_turn(queue->loop, queue_commit_turn, queue);
    if ((r = queue_recover(queue)) != 0) {
        log_error("qmgr", "cannot read the message store: %s", gw_strerror(r));
    }
out:
    buf_free(&why);
    return r;
}

void
queue_service_close(struct queue *queue)
{
    queue_commit_all(queue);
    while (queue->peers != NULL) {
        struct queue_peer *peer = queue->peers;

        peer->worker.entry = NULL; /* under way: due again at the next start */
        queue_peer_close(&peer);
    }
    for (size_t i = 0; i < QUEUE_HASH_SIZE; i++) {
        while (queue->hash[i] != NULL) {
            struct queue_message *message = queue->hash[i];

            queue_message_free(queue, &message);
        }
    }
    if (queue->loop != NULL) {
        queue_log_flush(queue);
    }
    queue_log_policy_close(queue);
    queue_schedule_free(&queue->schedule);
    queue_waiting_free(&queue->waiting);
    free(queue->seen.ids);
    router_free(&queue->router);
    queue_store_close(&queue->store);
    arena_free(&queue->scratch);
    buf_free(&queue->out);
    buf_free(&queue->log_text);
    loop_free(&queue->loop);
    if (queue->lock_fd != -1) {
        (void)close(queue->lock_fd);
    }
    if (queue->directory_fd != -1) {
        (void)close(queue->directory_fd);
    }
}

static int
listen_all(struct queue *queue, const struct role_start *start)
{
    for (size_t i = 0; i < start->listener_count; i++) {
        const struct role_listener *listener = &start->listeners[i];

        int flags = fcntl(listener->fd, F_GETFL);
        if (listener->service != -1) {
            continue; /* not for us */
        }
        if (flags == -1 || fcntl(listener->fd, F_SETFL, flags | O_NONBLOCK) == -1 ||
            queue_peer_listen(queue, listener->fd, listener->peer) != 0) {
            log_error("qmgr", "cannot listen for %s", role_name(listener->peer));
            return GW_ERR_SYS;
        }
    }
    return 0;
}

int
queue_service_run(struct queue *queue)
{
    int r = loop_signal(queue->loop, SIGTERM, drain, queue);

    if (r == 0) {
        r = loop_signal(queue->loop, SIGINT, drain, queue);
    }
    if (r == 0) {
        sweep(queue);
        r = loop_run(queue->loop);
    }
    return r;
}

int
queue_main(int argc, char **argv)
{
    static struct role_start start; /* role mains may keep state of the process */
    static struct queue queue;
    int r = role_start_begin(argc, argv, &start);

    if (r != 0) {
        return EXIT_FAILURE;
    }
    r = queue_service_open(&queue, start.config);
    if (r == 0 && (r = listen_all(&queue, &start)) == 0) {
        queue.control_watch = loop_watch_add(queue.loop, ROLE_CONTROL_FD, EPOLLIN, control_ready, &queue);
        const char *const directories[] = {config_str(start.config, P_queue_directory), NULL};
        r = role_start_ready(&start, NULL, directories);
    }
    if (r == 0) {
        queue_log_policy_connect(&queue);
        r = queue_service_run(&queue);
    }
    queue_service_close(&queue);
    return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

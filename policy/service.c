/*
 * service - the policy role: opens its stores, listens, runs the loop, ends in order.
 *
 * One process, one thread, sole owner of state.lmdb, journal.lmdb and quarantine.lmdb below data_directory (a
 * lock says so). Quarantine requests are committed at the end of the turn in which they came and answered
 * then; the other two stores are committed twice a second when something changed. A store that is damaged is
 * put aside and begun anew, with an alarm: the gateway must not stop for it, and nothing of mail is lost with
 * it but what was quarantined, which stays in the file put aside.
 */
#include "policy/service.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/store.h"
#include "policy/allowlist.h"
#include "policy/service_private.h"

enum {
    COMMIT_MS = 500,
    SWEEP_MS = 5000,
    SWEEP_ENTRIES = 2000,
    SWEEP_BLOCKS_ROUNDS = 4,
    LOCK_WAIT_MS = 10000, /* a predecessor that drains */
    LOCK_STEP_US = 20000,
    WARN_EVERY_S = 60,
    GATHER_US = 2000, /* see gather() */
    PATH_SIZE = 4096,
};
static const uint64_t STATE_SIZE = 1ULL << 30;
static const size_t TRIPLETS_MAX = 2000000, CLIENTS_MAX = 1000000, ALLOWED_MAX = 2000000;

void
service_alarm(struct service *service, const char *key, const char *format, ...)
{
    struct wire_notice notice = {.class = NOTICE_ALARM};
    char text[1024];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    log_warning("policy", "%s", text);
    (void)snprintf(notice.key, sizeof(notice.key), "%s", key);
    notice.text = bytes_str(text);
    if (service->notices != NULL) {
        service_notice_add(service, &notice);
    }
}

/* A store by name: how to open it. */
typedef int open_store(struct service *service, const char *path, const char **why_r);

static int
open_state(struct service *service, const char *path, const char **why_r)
{
    struct state_options options = {
        .path = path,
        .size_limit = STATE_SIZE,
        .entries_max = {
            [STATE_TRIPLETS] = TRIPLETS_MAX, [STATE_CLIENTS] = CLIENTS_MAX, [STATE_ALLOWED] = ALLOWED_MAX}};

    return state_open(&options, &service->state, why_r);
}

static int
open_journal(struct service *service, const char *path, const char **why_r)
{
    struct journal_options options = {.path = path,
                                      .retention_s = config_int(service->config, P_journal_retention),
                                      .size_limit =
                                          (uint64_t)config_int(service->config, P_journal_size_limit)};

    return journal_open(&options, &service->journal, why_r);
}

static int
open_quarantine(struct service *service, const char *path, const char **why_r)
{
    return quarantine_open(path, (uint64_t)config_int(service->config, P_quarantine_size_limit),
                           config_int(service->config, P_quarantine_retention), &service->quarantine, why_r);
}

static const struct {
    const char *name;
    open_store *open;
} STORES[] = {
    {"state.lmdb", open_state}, {"journal.lmdb", open_journal}, {"quarantine.lmdb", open_quarantine}};

/* The file is kept for whoever wants to look into it; the lock file belongs to it and means nothing without.
 */
static int
put_aside(struct service *service, const char *path, const char *why)
{
    char aside[PATH_SIZE + 64], lock[PATH_SIZE + 64];

    (void)snprintf(aside, sizeof(aside), "%s.damaged-%lld", path, (long long)clock_wall_s());
    (void)snprintf(lock, sizeof(lock), "%s-lock", path);
    if (rename(path, aside) == -1) {
        return GW_ERR_SYS;
    }
    (void)unlink(lock);
    service_alarm(service, "store damaged", "%s is damaged (%s): put aside as %s and begun anew", path, why,
                  aside);
    return 0;
}

static int
open_stores(struct service *service, const char *directory)
{
    char path[PATH_SIZE];

    for (size_t i = 0; i < sizeof(STORES) / sizeof(STORES[0]); i++) {
        const char *why = "";

        (void)snprintf(path, sizeof(path), "%s/%s", directory, STORES[i].name);
        int r = STORES[i].open(service, path, &why);
        if (r == GW_ERR_SYS && store_is_damage(errno) && put_aside(service, path, why) == 0) {
            r = STORES[i].open(service, path, &why);
        }
        if (r != 0) {
            log_error("policy", "cannot open %s: %s", path, why);
            return r;
        }
    }
    return 0;
}

/* One process at a time, whatever started it. */
static int
take_lock(struct service *service, const char *directory)
{
    int64_t deadline_ms = clock_monotonic_ms() + LOCK_WAIT_MS;
    char path[PATH_SIZE];

    if (mkdir(directory, 0700) == -1 && errno != EEXIST) {
        log_error("policy", "cannot create data_directory %s: %s", directory, strerror(errno));
        return GW_ERR_SYS;
    }
    (void)snprintf(path, sizeof(path), "%s/policy.lock", directory);
    service->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (service->lock_fd == -1) {
        log_error("policy", "cannot create %s: %s", path, strerror(errno));
        return GW_ERR_SYS;
    }
    while (flock(service->lock_fd, LOCK_EX | LOCK_NB) == -1) {
        if (clock_monotonic_ms() >= deadline_ms) {
            log_error("policy", "%s is held by another process", path);
            return GW_ERR_EXISTS;
        }
        (void)usleep(LOCK_STEP_US);
    }
    return 0;
}

/* At most one line a minute: a full disk must not fill the log too. */
static void
warn_of_loss(struct service *service, const char *store, int r)
{
    int64_t now_s = clock_wall_s();

    if (now_s - service->warned_s >= WARN_EVERY_S) {
        service->warned_s = now_s;
        log_warning("policy", "cannot write %s: %s: %s", store, gw_strerror(r), strerror(errno));
    }
}

static void
commit(struct service *service)
{
    int r = state_commit(service->state);

    if (r != 0) {
        warn_of_loss(service, "state.lmdb", r);
    }
    if ((r = journal_commit(service->journal)) != 0) {
        warn_of_loss(service, "journal.lmdb", r);
    }
    uint64_t lost = journal_lost(service->journal);
    if (lost != service->lost_told) {
        service->lost_told = lost;
        service_alarm(service, "evidence lost", "%llu evidence records could not be kept since the start",
                      (unsigned long long)lost);
    }
}

static void
commit_timer(void *context)
{
    struct service *service = context;

    service->commit_timer = NULL;
    commit(service);
    (void)journal_expire(service->journal, clock_wall_us());
}

/* What is over its time, a little at a time. */
static void
sweep(void *context)
{
    struct service *service = context;
    int64_t now_s = clock_wall_s();

    service->sweep_timer = loop_timer_add(service->loop, clock_monotonic_ms() + SWEEP_MS, sweep, service);
    greylist_sweep(service->state, &service->greylist, SWEEP_ENTRIES, now_s);
    allowlist_sweep(service->state, SWEEP_ENTRIES, now_s);
    for (int i = 0; i < SWEEP_BLOCKS_ROUNDS && journal_expire(service->journal, now_s * 1000000) > 0; i++) {
    }
    (void)quarantine_expire(service->quarantine, now_s * 1000000);
}

/* Evidence comes from a hundred threads, each record a wake-up of this process that nobody waits for. When a
 * turn brought nothing else, the next waits two milliseconds and takes what has come meanwhile in one go:
 * under load that is a few hundred turns a second instead of ten thousand. */
static void
gather(struct service *service)
{
    if (service->heard && !service->asked) {
        const struct timespec pause = {.tv_nsec = GATHER_US * 1000L};

        (void)nanosleep(&pause, NULL);
    }
    service->heard = service->asked = false;
}

static void
end_turn(void *context)
{
    struct service *service = context;

    service_quarantine_commit(service);
    if (service->commit_timer == NULL &&
        (journal_is_dirty(service->journal) || state_is_dirty(service->state))) {
        service->commit_timer =
            loop_timer_add(service->loop, clock_monotonic_ms() + COMMIT_MS, commit_timer, service);
    }
    gather(service);
}

static void
drain(void *context)
{
    service_stop(context);
}

void
service_stop(struct service *service)
{
    loop_stop(service->loop);
}

static void
control_ready(void *context, uint32_t events)
{
    (void)events; /* master never writes here: readable is the end */
    drain(context);
}

int
service_open(struct service *service, const struct config *config)
{
    const char *directory = config_str(config, P_data_directory);
    int r;

    *service = (struct service){.config = config, .lock_fd = -1, .unique = (uint64_t)getpid() << 20};
    buf_init(&service->out, IPC_PAYLOAD_MAX);
    service->greylist =
        (struct greylist_limits){.delay_s = config_int(config, P_greylist_delay),
                                 .retry_window_s = config_int(config, P_greylist_retry_window),
                                 .lifetime_s = config_int(config, P_greylist_lifetime)};
    service->loop = loop_new();
    if (service->loop == NULL) {
        log_error("policy", "out of memory");
        return GW_ERR_NOMEM;
    }
    if ((r = service_notice_open(service)) != 0 || (r = take_lock(service, directory)) != 0 ||
        (r = open_stores(service, directory)) != 0) {
        return r;
    }
    loop_after_turn(service->loop, end_turn, service);
    sweep(service);
    return 0;
}

void
service_close(struct service *service)
{
    if (service->quarantine != NULL) {
        service_quarantine_commit(service);
    }
    while (service->peers != NULL) {
        struct service_peer *peer = service->peers;

        service_peer_close(&peer);
    }
    if (service->state != NULL && service->journal != NULL) {
        commit(service);
    }
    service_notice_close(service);
    state_free(&service->state);
    journal_free(&service->journal);
    quarantine_free(&service->quarantine);
    for (size_t i = 0; i < service->listener_count; i++) {
        loop_watch_remove(service->loop, &service->listeners[i].watch);
    }
    if (service->control_watch != NULL) {
        loop_watch_remove(service->loop, &service->control_watch);
    }
    loop_free(&service->loop);
    buf_free(&service->out);
    if (service->lock_fd != -1) {
        (void)close(service->lock_fd);
        service->lock_fd = -1;
    }
}

int
service_run(struct service *service)
{
    int r = loop_signal(service->loop, SIGTERM, drain, service);

    r = r == 0 ? loop_signal(service->loop, SIGINT, drain, service) : r;
    return r == 0 ? loop_run(service->loop) : r;
}

static int
listen_all(struct service *service, const struct role_start *start)
{
    for (size_t i = 0; i < start->listener_count; i++) {
        const struct role_listener *listener = &start->listeners[i];
        int flags = fcntl(listener->fd, F_GETFL);

        if (listener->service != -1) {
            continue; /* not for us */
        }
        if (flags == -1 || fcntl(listener->fd, F_SETFL, flags | O_NONBLOCK) == -1 ||
            service_peer_listen(service, listener->fd, listener->peer) != 0) {
            log_error("policy", "cannot listen for %s", role_name(listener->peer));
            return GW_ERR_SYS;
        }
    }
    return 0;
}

int
policy_main(int argc, char **argv)
{
    static struct role_start start; /* role mains may keep state of the process */
    static struct service service;
    int r = role_start_begin(argc, argv, &start);

    if (r != 0) {
        return EXIT_FAILURE;
    }
    r = service_open(&service, start.config);
    if (r == 0 && (r = listen_all(&service, &start)) == 0) {
        service.control_watch =
            loop_watch_add(service.loop, ROLE_CONTROL_FD, EPOLLIN, control_ready, &service);
        const char *const directories[] = {config_str(start.config, P_data_directory), NULL};
        r = role_start_ready(&start, NULL, directories);
    }
    if (r == 0) {
        r = service_run(&service);
    }
    service_close(&service);
    return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

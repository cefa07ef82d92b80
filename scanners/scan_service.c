/*
 * scan_service - role entry of scan: the loader, and the workers it forks.
 *
 * Before: master starts it; receive connects once per message, and whichever worker is free accepts. The loader reads
 * rules and signatures once, enters the jail, forks the workers and never looks at mail itself. A worker that dies is
 * replaced by another fork at once, from memory that is already there. A watchdog kills a worker in which a scan is
 * over its time: what hangs in a library cannot be stopped in any other way.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <pwd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "config/role_start.h"
#include "scanners/scan_worker.h"
#include "scanners/scanner.h"

enum {
    WORKERS_MAX = 64,
    WATCH_EVERY_MS = 200,
    OVERTIME_MS = 2000,      /* after a scan's own deadline */
    DRAIN_MS = 4000,
    SIGNATURES_EVERY_MS = 30000,
    QUICK_DEATH_MS = 1000,   /* a worker that lives shorter than this is started again only after a pause */
    PAUSE_MS = 500,
    PATH_BYTES_MAX = 4096,
};

struct loader {
    struct role_start start;
    struct pipeline *pipeline;
    struct scan_slots *slots; /* shared with all workers */
    struct worker {
        pid_t pid;
        int64_t born_ms, start_after_ms;
    } workers[WORKERS_MAX];
    int worker_count, threads;
    int listen_fd;
    char temporary[PATH_BYTES_MAX];
    bool draining;
};

/* A directory of our own on tmpfs; TMPDIR tells the libraries. Left-overs of a loader that was killed are removed by
 * whoever comes next. */
static int
make_temporary(struct loader *loader)
{
    const char *parent = config_str(loader->start.config, P_scan_temporary_directory);
    const char *user = NULL;

    (void)snprintf(loader->temporary, sizeof(loader->temporary), "%s/estafeta-scan-XXXXXX", parent);
    if (mkdtemp(loader->temporary) == NULL) {
        log_error("scan", "scan_temporary_directory = %s: %s; name a writable tmpfs", parent, strerror(errno));
        return GW_ERR_SYS;
    }
    if (geteuid() == 0 && role_start_user(loader->start.config, ROLE_SCAN, &user) == 0 && user != NULL) {
        const struct passwd *entry = getpwnam(user);

        if (entry == NULL || chown(loader->temporary, entry->pw_uid, entry->pw_gid) == -1) {
            log_error("scan", "%s: %s", loader->temporary, strerror(errno));
            return GW_ERR_SYS;
        }
    }
    return setenv("TMPDIR", loader->temporary, 1) == 0 ? 0 : GW_ERR_SYS;
}

/* Whether any SMTP service sends its mail through the built-in pipeline. */
static bool
is_wanted(const struct config *config)
{
    for (size_t i = 0; i < config_service_count(config); i++) {
        if (strcmp(config_service(config, i)->program, "smtpd") == 0 &&
            strcmp(config_str(config_view(config, i), P_content_filter), "scan:") == 0) {
            return true;
        }
    }
    return false;
}

static int
load(struct loader *loader)
{
    struct buf why;
    int r;

    if (!is_wanted(loader->start.config)) {
        loader->worker_count = 0; /* content_filter = scan: stands nowhere: nothing to load, nobody to serve */
        return 0;
    }
    buf_init(&why, 8192);
    r = pipeline_load(loader->start.config, &loader->pipeline, &why);
    if (r != 0) {
        log_error("scan", "%s", buf_str(&why));
    }
    buf_free(&why);
    return r;
}

static int
prepare(struct loader *loader)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t wanted = config_int(loader->start.config, P_scan_workers);

    loader->worker_count = wanted > 0 ? (int)wanted : processors > 0 ? (int)processors : 1;
    if (loader->worker_count > WORKERS_MAX) {
        loader->worker_count = WORKERS_MAX;
    }
    loader->threads = (int)config_int(loader->start.config, P_scan_threads);
    if (loader->threads < 1 || loader->threads > SCAN_THREADS_MAX) {
        loader->threads = SCAN_THREADS_MAX;
    }
    loader->listen_fd = -1;
    for (size_t i = 0; i < loader->start.listener_count; i++) {
        if (loader->start.listeners[i].peer == ROLE_RECEIVE) {
            loader->listen_fd = loader->start.listeners[i].fd;
        }
    }
    loader->slots = mmap(NULL, sizeof(struct scan_slots) * WORKERS_MAX, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return loader->listen_fd != -1 && loader->slots != MAP_FAILED ? 0 : GW_ERR_SYS;
}

static void
fork_worker(struct loader *loader, int index)
{
    struct worker *worker = &loader->workers[index];

    memset(&loader->slots[index], 0, sizeof(loader->slots[index]));
    worker->pid = fork();
    worker->born_ms = clock_monotonic_ms();
    if (worker->pid == 0) {
        _exit(scan_worker_run(loader->pipeline, loader->listen_fd, &loader->slots[index], loader->threads));
    }
    if (worker->pid == -1) {
        log_warning("scan", "cannot fork a worker: %s", strerror(errno));
        worker->pid = 0;
        worker->start_after_ms = worker->born_ms + PAUSE_MS;
    }
}

/* Buries the dead and puts others in their place. */
static void
reap(struct loader *loader)
{
    int64_t now = clock_monotonic_ms();
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (int i = 0; i < loader->worker_count; i++) {
            struct worker *worker = &loader->workers[i];

            if (worker->pid != pid) {
                continue;
            }
            worker->pid = 0;
            worker->start_after_ms = now - worker->born_ms < QUICK_DEATH_MS ? now + PAUSE_MS : now;
            if (!loader->draining && WIFSIGNALED(status)) {
                log_warning("scan", "scan worker %d was ended by signal %d; another takes its place", (int)pid,
                            WTERMSIG(status));
                scan_worker_alarm("scan worker lost", "A scan worker was ended by a signal while it looked at mail. "
                                                      "The message was scanned again by another worker.");
            }
        }
    }
    for (int i = 0; i < loader->worker_count && !loader->draining; i++) {
        if (loader->workers[i].pid == 0 && now >= loader->workers[i].start_after_ms) {
            fork_worker(loader, i);
        }
    }
}

/* A scan far over its time: its worker is beyond help. */
static void
watch(struct loader *loader)
{
    int64_t now = clock_monotonic_ms();

    for (int i = 0; i < loader->worker_count; i++) {
        for (int k = 0; k < loader->threads && loader->workers[i].pid > 0; k++) {
            int64_t deadline_ms = atomic_load(&loader->slots[i].deadline_ms[k]);

            if (deadline_ms != 0 && now > deadline_ms + OVERTIME_MS) {
                log_warning("scan", "scan worker %d hangs in a scan; it is ended", (int)loader->workers[i].pid);
                (void)kill(loader->workers[i].pid, SIGKILL);
                atomic_store(&loader->slots[i].deadline_ms[k], 0);
            }
        }
    }
}

static size_t
count_alive(const struct loader *loader)
{
    size_t alive = 0;

    for (int i = 0; i < loader->worker_count; i++) {
        alive += loader->workers[i].pid > 0;
    }
    return alive;
}

/* Workers finish the scan they are in and go. */
static void
drain(struct loader *loader)
{
    int64_t deadline_ms = clock_monotonic_ms() + DRAIN_MS;

    loader->draining = true;
    for (int i = 0; i < loader->worker_count; i++) {
        if (loader->workers[i].pid > 0) {
            (void)kill(loader->workers[i].pid, SIGTERM);
        }
    }
    while (count_alive(loader) > 0 && clock_monotonic_ms() < deadline_ms) {
        (void)poll(NULL, 0, 10);
        reap(loader);
    }
    for (int i = 0; i < loader->worker_count; i++) {
        if (loader->workers[i].pid > 0) {
            (void)kill(loader->workers[i].pid, SIGKILL);
        }
    }
}

/* Until master says drain. A dead worker interrupts the wait, so its place is filled within milliseconds. */
static void
run(struct loader *loader)
{
    struct pollfd control = {.fd = ROLE_CONTROL_FD, .events = POLLIN};

    for (;;) {
        int n = poll(&control, 1, WATCH_EVERY_MS);

        if (n > 0) {
            return;
        }
        reap(loader);
        watch(loader);
    }
}

static void
on_child(int signal_number)
{
    (void)signal_number; /* poll(2) returns; reap() does the rest */
}

static int
enter_jail(struct loader *loader)
{
    const char *const writes[] = {loader->temporary, NULL};
    const char *const reads[] = {"/", NULL};

    return role_start_jail(&loader->start, reads, writes);
}

int
scan_main(int argc, char **argv)
{
    struct loader *loader = calloc(1, sizeof(*loader));
    struct sigaction child = {.sa_handler = on_child};
    int r = 1;

    if (loader == NULL || role_start_begin(argc, argv, &loader->start) != 0) {
        return 1;
    }
    if (make_temporary(loader) != 0 || prepare(loader) != 0 || load(loader) != 0) {
        goto out;
    }
    if (sigaction(SIGCHLD, &child, NULL) == -1 || enter_jail(loader) != 0) {
        goto out;
    }
    for (int i = 0; i < loader->worker_count; i++) {
        fork_worker(loader, i);
    }
    if (role_start_tell_ready() == 0) {
        run(loader);
        r = 0;
    }
    drain(loader);
out:
    if (loader->temporary[0] != '\0') {
        (void)rmdir(loader->temporary);
    }
    return r;
}

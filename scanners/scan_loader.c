/*
 * scan_loader - see the header. Before: scan_service.c forks it; after: scan_worker.c, which it forks.
 *
 * It never looks at mail. A worker that dies is replaced by another fork at once, from memory that is already
 * there. A watchdog kills a worker in which a scan is over its time: what hangs in a library cannot be
 * stopped in any other way. Workers share the signatures' pages copy-on-write, so nothing here may write to
 * them after the first fork.
 */
#include "scanners/scan_loader.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "scanners/scan_worker.h"
#include "scanners/scan_temporary.h"

enum {
    WATCH_EVERY_MS = 200,
    OVERTIME_MS = 2000,    /* after a scan's own deadline */
    QUICK_DEATH_MS = 1000, /* a worker that lives shorter than this is started again only after a pause */
    PAUSE_MS = 500,
    REASON_MAX = 8192,
};

struct loader {
    const struct scan_loader_options *options;
    struct scan_slots *slots[SCAN_WORKERS_MAX]; /* each shared with one worker */
    struct worker {
        pid_t pid;
        int64_t born_ms, start_after_ms;
    } workers[SCAN_WORKERS_MAX];
    sigset_t awaited, outside; /* outside: the signal mask of the workers */
    bool draining;
};

/* Signals are taken one by one where the loader waits, so that none is missed between a look and a wait. */
static int
take_signals(struct loader *loader)
{
    (void)sigemptyset(&loader->awaited);
    (void)sigaddset(&loader->awaited, SIGTERM);
    (void)sigaddset(&loader->awaited, SIGCHLD);
    return sigprocmask(SIG_BLOCK, &loader->awaited, &loader->outside) == 0 &&
                   signal(SIGCHLD, SIG_DFL) != SIG_ERR && signal(SIGHUP, SIG_IGN) != SIG_ERR
               ? 0
               : GW_ERR_SYS;
}

static int
make_slots(struct loader *loader)
{
    for (int i = 0; i < loader->options->workers; i++) {
        void *page =
            mmap(NULL, sizeof(struct scan_slots), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        if (page == MAP_FAILED) {
            return GW_ERR_SYS;
        }
        loader->slots[i] = page;
    }
    return 0;
}

/* In the child: what belongs to the loader, or to other workers, is out of reach. */
__attribute__((noreturn)) static void
become_worker(struct loader *loader, int index, pid_t parent)
{
    struct scan_worker_options options = {.pipeline = loader->options->pipeline,
                                          .listen_fd = loader->options->listen_fd,
                                          .slots = loader->slots[index],
                                          .threads = loader->options->threads,
                                          .parent = parent};

    for (int i = 0; i < loader->options->workers; i++) {
        if (i != index) {
            (void)munmap(loader->slots[i], sizeof(struct scan_slots));
        }
    }
    (void)close(loader->options->said_fd);
    (void)sigprocmask(SIG_SETMASK, &loader->outside, NULL);
    _exit(scan_worker_run(&options));
}

static void
fork_worker(struct loader *loader, int index)
{
    struct worker *worker = &loader->workers[index];
    pid_t parent = getpid();

    memset(loader->slots[index], 0, sizeof(struct scan_slots));
    worker->born_ms = clock_monotonic_ms();
    worker->pid = fork();
    if (worker->pid == 0) {
        become_worker(loader, index, parent);
    }
    if (worker->pid == -1) {
        log_warning("scan", "cannot fork a worker: %s", strerror(errno));
        worker->pid = 0;
        worker->start_after_ms = worker->born_ms + PAUSE_MS;
    }
}

static void
bury(struct loader *loader, pid_t pid, int status)
{
    int64_t now = clock_monotonic_ms();

    for (int i = 0; i < loader->options->workers; i++) {
        struct worker *worker = &loader->workers[i];

        if (worker->pid != pid) {
            continue;
        }
        worker->pid = 0;
        worker->start_after_ms = now - worker->born_ms < QUICK_DEATH_MS ? now + PAUSE_MS : now;
        if (!loader->draining && (WIFSIGNALED(status) || WEXITSTATUS(status) != 0)) {
            log_warning("scan", "scan worker %d was ended by %s %d; another takes its place", (int)pid,
                        WIFSIGNALED(status) ? "signal" : "exit code",
                        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
            scan_worker_alarm("scan worker lost",
                              "A scan worker ended while it looked at mail. The messages it had "
                              "were given to another worker, once; what is lost twice is answered "
                              "as scan_failure_action says.\n");
        }
    }
}

/* Buries the dead and puts others in their place. */
static void
reap(struct loader *loader)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        bury(loader, pid, status);
        scan_temporary_forget_worker((int)pid);
    }
    for (int i = 0; i < loader->options->workers && !loader->draining; i++) {
        if (loader->workers[i].pid == 0 && clock_monotonic_ms() >= loader->workers[i].start_after_ms) {
            fork_worker(loader, i);
        }
    }
}

/* A scan far over its time: its worker is beyond help. */
static void
watch(struct loader *loader)
{
    int64_t now = clock_monotonic_ms();

    for (int i = 0; i < loader->options->workers; i++) {
        for (int k = 0; k < loader->options->threads && loader->workers[i].pid > 0; k++) {
            int64_t deadline_ms = atomic_load(&loader->slots[i]->deadline_ms[k]);

            if (deadline_ms != 0 && now > deadline_ms + OVERTIME_MS) {
                log_warning("scan", "scan worker %d hangs in a scan; it is ended",
                            (int)loader->workers[i].pid);
                (void)kill(loader->workers[i].pid, SIGKILL);
                atomic_store(&loader->slots[i]->deadline_ms[k], 0);
            }
        }
    }
}

/* True: told to end. */
static bool
wait_for_signal(const struct loader *loader)
{
    static const struct timespec WAIT = {.tv_sec = 0, .tv_nsec = WATCH_EVERY_MS * 1000000L};

    return sigtimedwait(&loader->awaited, NULL, &WAIT) == SIGTERM;
}

static void
signal_workers(const struct loader *loader, int signal_number)
{
    for (int i = 0; i < loader->options->workers; i++) {
        if (loader->workers[i].pid > 0) {
            (void)kill(loader->workers[i].pid, signal_number);
        }
    }
}

static bool
has_workers(const struct loader *loader)
{
    for (int i = 0; i < loader->options->workers; i++) {
        if (loader->workers[i].pid > 0) {
            return true;
        }
    }
    return false;
}

/* Workers finish the scan they are in and go. */
static void
drain(struct loader *loader)
{
    int64_t deadline_ms = clock_monotonic_ms() + loader->options->drain_ms;

    loader->draining = true;
    signal_workers(loader, SIGTERM);
    while (has_workers(loader) && clock_monotonic_ms() < deadline_ms) {
        (void)wait_for_signal(loader);
        reap(loader);
        watch(loader);
    }
    signal_workers(loader, SIGKILL);
}

static int
load_data(const struct scan_loader_options *options)
{
    struct buf why;
    int r;

    if (options->without_data) {
        pipeline_do_without_data(options->pipeline);
        return 0;
    }
    buf_init(&why, REASON_MAX);
    r = pipeline_load_data(options->pipeline, &why);
    if (r != 0) {
        log_error("scan", "%s", why.n > 0 ? buf_str(&why) : gw_strerror(r));
    }
    buf_free(&why);
    (void)malloc_trim(0); /* what loading left free would be copied by every worker that reuses it */
    return r;
}

int
scan_loader_run(const struct scan_loader_options *options)
{
    struct loader loader = {.options = options};
    const char word = SCAN_LOADER_SERVES;

    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (take_signals(&loader) != 0 || make_slots(&loader) != 0 || load_data(options) != 0) {
        return 1;
    }
    for (int i = 0; i < options->workers; i++) {
        fork_worker(&loader, i);
    }
    if (write(options->said_fd, &word, 1) == 1) {
        while (!wait_for_signal(&loader) && getppid() == options->parent) {
            reap(&loader);
            watch(&loader);
        }
    }
    drain(&loader);
    return 0;
}

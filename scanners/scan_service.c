/*
 * scan_service - role entry of scan: keeps one generation of loader and workers serving.
 *
 * Before: master starts it; receive connects once per message, and whichever worker is free accepts. Rule
 * tables are opened here, with the rights of the start; signatures are loaded behind the jail, by a loader
 * process of their own (scan_loader.c). When signatures change, or at SIGHUP, a second loader is started;
 * once it serves, the first one drains: mail never waits, and the memory of the old set goes with its
 * process. A new set that cannot be loaded, or does not find the canary, changes nothing but is an alarm.
 * Nothing here looks at mail.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "config/role_start.h"
#include "scanners/scan_loader.h"
#include "scanners/scan_temporary.h"
#include "scanners/scan_worker.h"
#include "scanners/scanner.h"

enum {
    END_MS = 4000, /* for scans under way when the role ends; then they are lost, and receive answers 451 */
    RETRY_MS = 10 * 60000, /* after signatures that could not be loaded */
    LOOK_AGAIN_MS = 2000, /* signatures are written file by file: loaded when they were still for that long */
    REASON_MAX = 8192,
    OLD_MAX = 4, /* generations that still drain */
};

struct generation {
    pid_t pid;   /* 0: none */
    int said_fd; /* end of file: the process is gone */
};

struct service {
    struct role_start start;
    struct pipeline *pipeline;
    struct scan_temporary temporary;
    struct scan_loader_options options;
    struct generation serving, loading, old[OLD_MAX];
    int64_t look_due_ms, load_due_ms; /* load_due_ms 0: nothing to load */
    int64_t look_every_ms;
    int saved_stderr;
};

static int
load_rules(struct service *service)
{
    struct buf why;
    int r;

    buf_init(&why, REASON_MAX);
    r = pipeline_load(service->start.config, &service->pipeline, &why);
    if (r != 0) {
        log_error("scan", "%s", why.n > 0 ? buf_str(&why) : gw_strerror(r));
    }
    buf_free(&why);
    return r;
}

static int
prepare(struct service *service)
{
    const struct config *config = service->start.config;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t wanted = config_int(config, P_scan_workers), workers = wanted > 0 ? wanted : processors;
    int64_t threads = config_int(config, P_scan_threads);

    service->options = (struct scan_loader_options){
        .pipeline = service->pipeline,
        .listen_fd = -1,
        .workers = workers < 1                  ? 1
                   : workers > SCAN_WORKERS_MAX ? SCAN_WORKERS_MAX
                                                : (int)workers,
        .threads = threads < 1 || threads > SCAN_THREADS_MAX ? SCAN_THREADS_MAX : (int)threads,
        .parent = getpid(),
        .drain_ms = config_int(config, P_scan_time_limit) * 1000 + END_MS,
    };
    service->look_every_ms = config_int(config, P_clamav_check_interval) * 1000;
    service->look_due_ms = clock_monotonic_ms() + service->look_every_ms;
    for (size_t i = 0; i < service->start.listener_count; i++) {
        if (service->start.listeners[i].peer == ROLE_RECEIVE) {
            service->options.listen_fd = service->start.listeners[i].fd;
        }
    }
    if (service->options.listen_fd == -1) {
        log_error("scan", "no socket for receive was handed over");
        return GW_ERR_CONFIG;
    }
    return 0;
}

/* The jail ends the use of standard error; what the first loader says there is still for the one who starts
 * us. */
static int
enter_jail(struct service *service)
{
    const char *const writes[] = {service->temporary.path, NULL};
    const char *const reads[] = {"/", NULL};
    int r;

    service->saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    r = role_start_jail(&service->start, reads, writes);
    if (r == 0 && service->saved_stderr != -1) {
        (void)dup2(service->saved_stderr, STDERR_FILENO);
        log_stderr(true);
    }
    return r;
}

static void
leave_stderr(struct service *service)
{
    log_stderr(false);
    if (service->saved_stderr != -1) {
        if (service->start.detach) {
            (void)dup2(STDIN_FILENO, STDERR_FILENO); /* standard input is /dev/null */
        }
        (void)close(service->saved_stderr);
        service->saved_stderr = -1;
    }
}

static int
fork_loader(struct service *service, struct generation *generation)
{
    int pipe_fds[2];

    if (pipe2(pipe_fds, O_CLOEXEC) == -1) {
        return GW_ERR_SYS;
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(pipe_fds[0]);
        (void)close(ROLE_CONTROL_FD); /* master sees the end of the service by it */
        service->options.said_fd = pipe_fds[1];
        _exit(scan_loader_run(&service->options));
    }
    (void)close(pipe_fds[1]);
    if (pid == -1) {
        (void)close(pipe_fds[0]);
        return GW_ERR_SYS;
    }
    *generation = (struct generation){.pid = pid, .said_fd = pipe_fds[0]};
    return 0;
}

static void
bury(struct generation *generation)
{
    if (generation->pid > 0) {
        (void)close(generation->said_fd);
        while (waitpid(generation->pid, NULL, 0) == -1 && errno == EINTR) {
        }
        *generation = (struct generation){0};
    }
}

/* The one that served finishes what it has. There is always room: a fifth is not waited for. */
static void
retire(struct service *service)
{
    int place = 0;

    (void)kill(service->serving.pid, SIGTERM);
    for (int i = 0; i < OLD_MAX; i++) {
        place = service->old[i].pid == 0 ? i : place;
    }
    if (service->old[place].pid > 0) {
        (void)kill(service->old[place].pid, SIGKILL);
        bury(&service->old[place]);
    }
    service->old[place] = service->serving;
    service->serving = (struct generation){0};
}

static void
note_failed_load(struct service *service)
{
    bury(&service->loading);
    service->load_due_ms = clock_monotonic_ms() + RETRY_MS;
    log_warning("scan", "the new signatures are not used; the former ones serve on");
    scan_worker_alarm("signatures",
                      "New signatures could not be loaded; the former ones serve on. The log of the scan "
                      "role has the reason.\n");
}

/* One byte: the new generation serves. End of file: it failed. */
static void
hear_loading(struct service *service)
{
    char word = 0;

    if (read(service->loading.said_fd, &word, 1) == 1 && word == SCAN_LOADER_SERVES) {
        retire(service);
        service->serving = service->loading;
        service->loading = (struct generation){0};
        log_info("scan", "the new signatures serve");
    } else {
        note_failed_load(service);
    }
}

static void
look_for_changes(struct service *service)
{
    int64_t now = clock_monotonic_ms();

    if (now >= service->look_due_ms) {
        service->look_due_ms = now + service->look_every_ms;
        if (pipeline_has_new_data(service->pipeline)) {
            service->load_due_ms = now + LOOK_AGAIN_MS;
            service->look_due_ms = now + LOOK_AGAIN_MS / 2; /* more of it may follow */
        }
    }
    if (service->load_due_ms != 0 && now >= service->load_due_ms && service->loading.pid == 0) {
        service->load_due_ms = 0;
        (void)pipeline_has_new_data(service->pipeline); /* what is there now is what will be loaded */
        if (fork_loader(service, &service->loading) != 0) {
            service->load_due_ms = now + RETRY_MS;
        }
    }
}

/* How long until something is due. */
static int
wait_ms(const struct service *service)
{
    int64_t now = clock_monotonic_ms(), due = service->look_due_ms;

    if (service->load_due_ms != 0 && service->load_due_ms < due && service->loading.pid == 0) {
        due = service->load_due_ms;
    }
    return due <= now ? 0 : (int)(due - now);
}

/* Until master says drain (0), or the loader that serves is gone (an error: master starts all again). */
static int
run(struct service *service, const sigset_t *outside)
{
    enum { CONTROL, SERVING, LOADING, OLD };

    for (;;) {
        struct pollfd fds[OLD + OLD_MAX] = {
            [CONTROL] = {.fd = ROLE_CONTROL_FD, .events = POLLIN},
            [SERVING] = {.fd = service->serving.said_fd, .events = POLLIN},
            [LOADING] = {.fd = service->loading.pid > 0 ? service->loading.said_fd : -1, .events = POLLIN},
        };
        for (int i = 0; i < OLD_MAX; i++) {
            fds[OLD + i] = (struct pollfd){.fd = service->old[i].pid > 0 ? service->old[i].said_fd : -1};
        }
        int ms = wait_ms(service);
        struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
        if (ppoll(fds, OLD + OLD_MAX, &wait, outside) == -1 && errno == EINTR) {
            service->load_due_ms = clock_monotonic_ms(); /* SIGHUP: nothing else arrives here */
            continue;
        }
        if (fds[CONTROL].revents != 0) {
            return 0;
        }
        if (fds[SERVING].revents != 0) {
            log_error("scan", "the loader ended");
            return GW_ERR_SYS;
        }
        for (int i = 0; i < OLD_MAX; i++) {
            if (fds[OLD + i].revents != 0) {
                bury(&service->old[i]);
            }
        }
        if (fds[LOADING].revents != 0) {
            hear_loading(service);
        }
        look_for_changes(service);
    }
}

/* The first generation. 1: told to go before; GW_ERR_CONFIG: it could not load. */
static int
await_first(struct service *service)
{
    struct pollfd fds[] = {{.fd = ROLE_CONTROL_FD, .events = POLLIN},
                           {.fd = service->serving.said_fd, .events = POLLIN}};
    char word = 0;

    while (poll(fds, 2, -1) == -1 && errno == EINTR) {
    }
    if (fds[0].revents != 0) {
        return 1;
    }
    return read(service->serving.said_fd, &word, 1) == 1 && word == SCAN_LOADER_SERVES ? 0 : GW_ERR_CONFIG;
}

static void
end_all(struct service *service)
{
    struct generation *all[2 + OLD_MAX] = {&service->serving, &service->loading};
    int64_t deadline_ms = clock_monotonic_ms() + END_MS;

    for (int i = 0; i < OLD_MAX; i++) {
        all[2 + i] = &service->old[i];
    }
    for (int i = 0; i < 2 + OLD_MAX; i++) {
        if (all[i]->pid > 0) {
            (void)kill(all[i]->pid, SIGTERM);
        }
    }
    for (int i = 0; i < 2 + OLD_MAX; i++) {
        struct pollfd gone = {.fd = all[i]->said_fd, .events = 0};

        if (all[i]->pid == 0) {
            continue;
        }
        if (poll(&gone, 1, (int)clock_left_ms(deadline_ms)) <= 0) {
            (void)kill(all[i]->pid, SIGKILL);
        }
        bury(all[i]);
    }
}

static void
ask_for_reload(int signal_number)
{
    (void)signal_number; /* ppoll(2) returns */
}

/* SIGHUP arrives only while run() waits. */
static int
take_signals(sigset_t *outside)
{
    struct sigaction reload = {.sa_handler = ask_for_reload};
    sigset_t blocked;

    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGHUP);
    return sigprocmask(SIG_BLOCK, &blocked, outside) == 0 && sigaction(SIGHUP, &reload, NULL) == 0
               ? 0
               : GW_ERR_SYS;
}

/* Neither content_filter = scan: nor a table of rules: nothing to load, nobody to serve. */
static int
idle(void)
{
    struct pollfd control = {.fd = ROLE_CONTROL_FD, .events = POLLIN};

    if (role_start_tell_ready() != 0) {
        return 1;
    }
    while (poll(&control, 1, -1) == -1 && errno == EINTR) {
    }
    return 0;
}

/* Mail must not pass unscanned for want of signatures, and must not be refused for good: it is answered by
 * scan_failure_action until they can be loaded, which is tried again and again. */
static int
serve_without_data(struct service *service)
{
    int r;

    bury(&service->serving);
    log_warning("scan", "nothing could be loaded: mail counts as not scanned until it can");
    scan_worker_alarm("signatures",
                      "The signatures could not be loaded; mail counts as not scanned until they can. "
                      "The log of the scan role has the reason.\n");
    service->options.without_data = true;
    r = fork_loader(service, &service->serving);
    service->options.without_data = false;
    service->load_due_ms = clock_monotonic_ms() + RETRY_MS;
    return r == 0 ? await_first(service) : r;
}

static int
serve(struct service *service)
{
    sigset_t outside;
    int r;

    if (take_signals(&outside) != 0 || fork_loader(service, &service->serving) != 0) {
        log_error("scan", "the loader could not be started: %s", strerror(errno));
        return 1;
    }
    r = await_first(service);
    leave_stderr(service);
    if (r == GW_ERR_CONFIG) {
        r = serve_without_data(service);
    }
    if (r == 0 && (r = role_start_tell_ready()) == 0) {
        r = run(service, &outside);
    }
    end_all(service);
    return r >= 0 ? 0 : 1;
}

int
scan_main(int argc, char **argv)
{
    struct service *service = calloc(1, sizeof(*service));
    int r = 1;

    if (service == NULL) {
        return 1;
    }
    service->saved_stderr = -1;
    if (role_start_begin(argc, argv, &service->start) != 0) {
        goto out;
    }
    if (scan_need(service->start.config) == SCAN_NEED_NONE) {
        r = role_start_jail(&service->start, NULL, NULL) == 0 ? idle() : 1;
    } else if (scan_temporary_make(service->start.config, &service->temporary) == 0 &&
               load_rules(service) == 0 && prepare(service) == 0 && enter_jail(service) == 0) {
        r = serve(service);
    }
    scan_temporary_remove(&service->temporary);
    pipeline_free(&service->pipeline);
    config_free(&service->start.config);
out:
    free(service);
    return r;
}

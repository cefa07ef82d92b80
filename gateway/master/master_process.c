/*
 * master_process - see the header. Before: master_service decides that a role is needed; after: role_start.
 *
 * The child gets descriptors 3, 4, 5 and its listeners in the order that config/role_start.h fixes, an empty
 * signal mask, a process group of its own (Ctrl-C reaches master alone, which then drains in order) and an
 * environment of a few words. Everything else of master is close-on-exec.
 */
#include "master/master_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "config/role_start.h"

enum {
    FDS_MAX = ROLE_FIRST_FD + ROLE_LISTENERS_MAX,
    FD_PARKING = 512, /* above every target, so that no dup2 overwrites what is still needed */
    ARGUMENT_MAX = 32,
    ENVIRONMENT_MAX = 16,
};

struct start_plan {
    int fds[FDS_MAX]; /* by target number */
    size_t fd_count;
    char arguments[ROLE_LISTENERS_MAX + 2][ARGUMENT_MAX];
    char *argv[ROLE_LISTENERS_MAX + 3];
    size_t argument_count;
    char jail[MASTER_PATH_MAX];
    bool detach;
};

/* What a role may inherit; the rest of an administrator's environment is no business of a server. */
static const char *const INHERITED[] = {"TZ",           "ASAN_OPTIONS",     "UBSAN_OPTIONS",
                                        "LSAN_OPTIONS", "MALLOC_ARENA_MAX", "LD_LIBRARY_PATH"};

static int
add_listener(struct start_plan *plan, int fd, const char *kind, const char *value)
{
    if (plan->fd_count >= FDS_MAX) {
        return GW_ERR_LIMIT;
    }
    plan->fds[plan->fd_count++] = fd;
    (void)snprintf(plan->arguments[plan->argument_count++], ARGUMENT_MAX, "%s:%s", kind, value);
    return 0;
}

static int
fill_plan(struct start_plan *plan, const struct master_generation *generation,
          const struct master_edges *edges, enum role role)
{
    char index[ARGUMENT_MAX / 2];
    int r = 0;

    (void)snprintf(plan->arguments[0], ARGUMENT_MAX, "estafeta: %s", role_name(role));
    (void)snprintf(plan->arguments[1], ARGUMENT_MAX, "--role=%s", role_name(role));
    plan->argument_count = 2;
    plan->fd_count = ROLE_FIRST_FD;
    for (size_t i = 0; r == 0 && i < generation->listeners.count; i++) {
        const struct master_listener *listener = &generation->listeners.items[i];

        if (listener->role == role && listener->fd != -1) {
            (void)snprintf(index, sizeof(index), "%d", listener->service);
            r = add_listener(plan, listener->fd, "inet", index);
        }
    }
    for (size_t i = 0; r == 0 && i < edges->count; i++) {
        if (edges->items[i].server == role) {
            r = add_listener(plan, edges->items[i].fd, "ipc", role_name(edges->items[i].client));
        }
    }
    for (size_t i = 0; i < plan->argument_count; i++) {
        plan->argv[i] = plan->arguments[i];
    }
    return r != 0 ? r : master_tree_jail(generation->config, role, plan->jail);
}

/* In the child: descriptors to their places. All are parked high first, as a target may be another's source.
 */
static int
place_fds(struct start_plan *plan)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null_fd == -1) {
        return GW_ERR_SYS;
    }
    plan->fds[STDIN_FILENO] = null_fd;
    plan->fds[STDOUT_FILENO] = STDERR_FILENO; /* master's own output is for people and scripts */
    plan->fds[STDERR_FILENO] = STDERR_FILENO;
    plan->fds[ROLE_LOG_FD] = log_fd() != -1 ? log_fd() : null_fd;
    for (size_t i = 0; i < plan->fd_count; i++) {
        plan->fds[i] = fcntl(plan->fds[i], F_DUPFD_CLOEXEC, FD_PARKING);
        if (plan->fds[i] == -1) {
            return GW_ERR_SYS;
        }
    }
    for (size_t i = 0; i < plan->fd_count; i++) {
        if (dup2(plan->fds[i], (int)i) == -1) {
            return GW_ERR_SYS;
        }
    }
    return 0;
}

static void
fill_environment(char **environment, bool detach)
{
    static char word[] = ROLE_DETACH "=1";
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    size_t count = 0;

    environment[count++] = path;
    if (detach) {
        environment[count++] = word;
    }
    for (size_t i = 0; i < sizeof(INHERITED) / sizeof(INHERITED[0]) && count + 1 < ENVIRONMENT_MAX; i++) {
        const char *value = getenv(INHERITED[i]);

        if (value != NULL && asprintf(&environment[count], "%s=%s", INHERITED[i], value) != -1) {
            count++;
        }
    }
    environment[count] = NULL;
}

static void
become_role(struct start_plan *plan)
{
    char *environment[ENVIRONMENT_MAX];
    sigset_t none;

    (void)setpgid(0, 0);
    (void)sigemptyset(&none);
    (void)signal(SIGPIPE, SIG_DFL);
    fill_environment(environment, plan->detach);
    if (place_fds(plan) != 0) {
        log_error("master", "prepare %s: descriptors: %s", plan->argv[0], strerror(errno));
    } else if (chdir(plan->jail) == -1) {
        log_error("master", "prepare %s: directory %s: %s", plan->argv[0], plan->jail, strerror(errno));
    } else if (sigprocmask(SIG_SETMASK, &none, NULL) == 0) {
        (void)execve("/proc/self/exe", plan->argv, environment);
        log_error("master", "execute /proc/self/exe as %s: %s", plan->argv[0], strerror(errno));
    }
    _exit(127);
}

int
master_process_start(const struct master_generation *generation, const struct master_edges *edges,
                     enum role role, bool detach, struct master_process **process_r)
{
    struct start_plan *plan = calloc(1, sizeof(*plan));
    struct master_process *process = calloc(1, sizeof(*process));
    int control[2] = {-1, -1}, r = GW_ERR_NOMEM;

    *process_r = NULL;
    if (plan == NULL || process == NULL || (r = fill_plan(plan, generation, edges, role)) != 0) {
        goto out;
    }
    r = GW_ERR_SYS;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) == -1) {
        goto out;
    }
    plan->detach = detach;
    plan->fds[ROLE_CONTROL_FD] = control[1];
    plan->fds[ROLE_CONFIG_FD] = generation->config_fd;
    process->pid = fork();
    if (process->pid == 0) {
        become_role(plan);
    }
    if (process->pid == -1) {
        goto out;
    }
    process->role = role;
    process->generation = generation->number;
    process->started_ms = clock_monotonic_ms();
    process->control_fd = control[0];
    control[0] = -1; /* transferred */
    *process_r = process;
    process = NULL; /* transferred */
    r = 0;
out:
    for (int i = 0; i < 2; i++) {
        if (control[i] != -1) {
            (void)close(control[i]);
        }
    }
    free(process);
    free(plan);
    return r;
}

void
master_process_drain(struct loop *loop, struct master_process *process)
{
    process->is_draining = true;
    loop_watch_remove(loop, &process->watch);
    if (process->control_fd != -1) {
        (void)close(process->control_fd);
        process->control_fd = -1;
    }
}

void
master_process_free(struct loop *loop, struct master_process **process)
{
    if (*process == NULL) {
        return;
    }
    master_process_drain(loop, *process);
    loop_timer_cancel(loop, &(*process)->kill_timer);
    free(*process);
    *process = NULL;
}

int
master_process_hear(struct master_process *process)
{
    struct role_word word;
    ssize_t n = recv(process->control_fd, &word, sizeof(word), MSG_DONTWAIT);

    if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR)) {
        return GW_ERR_EOF;
    }
    if (n != (ssize_t)sizeof(word)) {
        return n == -1 ? 0 : 1; /* not a word of ours: nothing follows from it */
    }
    if (word.word == ROLE_SAYS_JAILED) {
        process->missing = word.bits;
    } else if (word.word == ROLE_SAYS_READY) {
        process->is_ready = true;
    }
    return 1;
}

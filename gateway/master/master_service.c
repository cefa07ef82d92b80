/*
 * master_service - start and start-fg: one generation, then the loop of signals until the end.
 *
 * Before: estafeta.c; after: master_generation and master_roles. start leaves a daemon behind and returns
 * when every role is ready or one of them refused; start-fg stays and prints "estafeta: ready". SIGTERM and
 * SIGINT end in order, SIGQUIT at once, SIGHUP brings in a new generation.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/jail.h"
#include "base/log.h"
#include "config/pid_file.h"
#include "master/master.h"
#include "master/master_private.h"

enum { STATUS_USAGE = 64, STATUS_OSERR = 71 };

static const struct {
    unsigned bit;
    const char *words;
} PROTECTIONS[] = {
    {JAIL_NO_USER, "a user per role"},
    {JAIL_NO_CHROOT, "chroot"},
    {JAIL_NO_SECCOMP, "system call filter"},
    {JAIL_NO_LANDLOCK, "Landlock"},
};

/* One line for each reason: to people on standard error (through the log when it says so, too). */
static void
tell_all(struct bytes why, enum log_level level, const char *prefix)
{
    struct bytes line;

    while (bytes_next_line(&why, &line)) {
        log_write(level, "master", "%s%.*s", prefix, BYTES_FMT(line));
    }
}

static void
tell_missing(const struct master *master)
{
    unsigned missing = geteuid() != 0 ? (unsigned)(JAIL_NO_USER | JAIL_NO_CHROOT) : 0U;
    char text[256] = "";
    size_t n = 0;

    for (const struct master_process *process = master->processes; process != NULL; process = process->next) {
        missing |= process->missing;
    }
    for (size_t i = 0; i < sizeof(PROTECTIONS) / sizeof(PROTECTIONS[0]); i++) {
        if ((missing & PROTECTIONS[i].bit) != 0 && n < sizeof(text)) {
            n +=
                (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n > 0 ? ", " : "", PROTECTIONS[i].words);
        }
    }
    if (n > 0) {
        log_warning("master", "these protections are off: %s%s", text,
                    geteuid() != 0 ? " (started by an ordinary user)" : " (this kernel lacks them)");
    }
}

/* The daemon lets go of the terminal of whom started it. */
static void
close_stdio(void)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (int fd = STDIN_FILENO; null_fd != -1 && fd <= STDERR_FILENO; fd++) {
        (void)dup2(null_fd, fd);
    }
    if (null_fd > STDERR_FILENO) {
        (void)close(null_fd);
    }
}

void
master_service_ready(struct master *master)
{
    if (master->is_starting) {
        master->is_starting = false;
        tell_missing(master);
        log_info("master", "daemon started -- version %s, configuration %s", ESTAFETA_VERSION,
                 master->directory);
        if (master->in_foreground) {
            (void)puts("estafeta: ready");
            (void)fflush(stdout);
        }
        if (master->notify_fd != -1) {
            log_stderr(false);
            (void)!write(master->notify_fd, "", 1);
            (void)close(master->notify_fd);
            master->notify_fd = -1;
            close_stdio();
        }
    } else if (master->is_reloading) {
        master->is_reloading = false;
        log_info("master", "reload finished: generation %u serves", master->generation.number);
    }
}

static void
stop_in_order(void *context)
{
    struct master *master = context;

    if (!master->is_stopping) {
        log_info("master", "terminating");
    }
    master_roles_stop(master, 0);
}

static void
stop_at_once(void *context)
{
    log_warning("master", "aborting");
    master_roles_kill(context);
}

static void
watch_tables(struct master *master)
{
    int r = master_watch_begin(master);

    if (r != 0) {
        log_warning("master", "tables are not watched for replacement: %s: reload after a change",
                    gw_strerror(r));
    }
}

static void
reload(void *context)
{
    struct master *master = context;
    struct buf why;

    if (master->is_stopping) {
        return;
    }
    buf_init(&why, MASTER_WHY_MAX);
    if (master_generation_load(master, false, &why) != 0) {
        tell_all(bytes_buf(&why), LOG_LEVEL_ERROR, "reload refused, the old configuration stays: ");
    } else {
        tell_all(bytes_buf(&why), LOG_LEVEL_WARNING, "");
        log_info("master", "reload -- version %s, configuration %s", ESTAFETA_VERSION, master->directory);
        master->is_reloading = !master->is_starting;
        master_roles_want(master);
        master_roles_replace(master, ~0U);
        watch_tables(master);
    }
    buf_free(&why);
}

static int
watch_signals(struct master *master)
{
    static const struct {
        int number;
        loop_fire *fire;
    } SIGNALS[] = {
        {SIGTERM, stop_in_order}, {SIGINT, stop_in_order},      {SIGQUIT, stop_at_once},
        {SIGHUP, reload},         {SIGCHLD, master_roles_reap},
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < sizeof(SIGNALS) / sizeof(SIGNALS[0]); i++) {
        r = loop_signal(master->loop, SIGNALS[i].number, SIGNALS[i].fire, master);
    }
    return r;
}

/* Children inherit it and lower it again in their jails. */
static void
raise_fd_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void
end(struct master *master)
{
    int status;

    while (master->processes != NULL) {
        struct master_process *process = master->processes;

        master->processes = process->next;
        (void)kill(process->pid, SIGKILL);
        (void)waitpid(process->pid, &status, 0);
        master_process_free(master->loop, &process);
    }
    master_tree_close(&master->edges);
    master_watch_end(master);
    master_generation_free(&master->generation);
    loop_free(&master->loop);
    if (master->pid_fd != -1) {
        (void)!ftruncate(master->pid_fd, 0);
        (void)close(master->pid_fd);
    }
}

static int
run(struct master *master)
{
    struct buf why;

    buf_init(&why, MASTER_WHY_MAX);
    (void)close_range((unsigned)(master->notify_fd != -1 ? master->notify_fd : STDERR_FILENO) + 1, ~0U,
                      0); /* no business of ours, or of a role */
    raise_fd_limit();
    (void)signal(SIGPIPE, SIG_IGN);
    master->loop = loop_new();
    if (master->loop == NULL || watch_signals(master) != 0) {
        log_error("master", "cannot make the event loop: %s", strerror(errno));
        master->exit_status = STATUS_OSERR;
        goto out;
    }
    master->exit_status = master_generation_load(master, true, &why);
    if (master->exit_status != 0) {
        tell_all(bytes_buf(&why), LOG_LEVEL_FATAL, "");
        goto out;
    }
    tell_all(bytes_buf(&why), LOG_LEVEL_WARNING, "");
    master_roles_init(master);
    master_roles_want(master);
    master_roles_start(master);
    watch_tables(master);
    if (loop_run(master->loop) != 0) {
        log_error("master", "event loop: %s", strerror(errno));
        master->exit_status = STATUS_OSERR;
    }
out:
    buf_free(&why);
    end(master);
    return master->exit_status;
}

/* The parent of `start`: waits for the daemon's word, or for its end. */
static int
wait_for_daemon(pid_t pid, int fd)
{
    char byte;
    ssize_t n;
    int status;

    do {
        n = read(fd, &byte, 1);
    } while (n == -1 && errno == EINTR);
    if (n == 1) {
        return 0;
    }
    if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) != 0) {
        return WEXITSTATUS(status);
    }
    return STATUS_OSERR;
}

static int
run_as_daemon(struct master *master)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) == -1) {
        log_error("master", "pipe: %s", strerror(errno));
        return STATUS_OSERR;
    }
    pid_t pid = fork();
    if (pid == -1) {
        log_error("master", "fork: %s", strerror(errno));
        return STATUS_OSERR;
    }
    if (pid > 0) {
        (void)close(fds[1]);
        return wait_for_daemon(pid, fds[0]);
    }
    (void)setsid();
    master->notify_fd = STDERR_FILENO + 1;
    if (fds[1] != master->notify_fd && dup3(fds[1], master->notify_fd, O_CLOEXEC) == -1) {
        return STATUS_OSERR;
    }
    return run(master);
}

int
master_start(int argc, char **argv, unsigned roles_built)
{
    struct master *master = calloc(1, sizeof(*master));
    int status = STATUS_USAGE;

    if (master == NULL) {
        return STATUS_OSERR;
    }
    *master = (struct master){.roles_built = roles_built, .pid_fd = -1, .notify_fd = -1, .is_starting = true};
    master->generation.config_fd = -1;
    master->in_foreground = strcmp(argv[0], "start-fg") == 0;
    if (pid_file_directory(&argc, argv, &master->directory) != 0 || argc > 1) {
        (void)fprintf(stderr, "estafeta: fatal: usage: estafeta %s [-c DIR]\n", argv[0]);
    } else {
        char *absolute = realpath(master->directory, NULL); /* roles run elsewhere */

        if (absolute != NULL) {
            master->directory = absolute;
            (void)!chdir("/");
        }
        status = master->in_foreground ? run(master) : run_as_daemon(master);
        free(absolute);
    }
    free(master);
    return status;
}

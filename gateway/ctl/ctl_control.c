/*
 * ctl_control - see the header. Before: estafeta.c; after: signals to the master that holds the pid file's
 * lock.
 *
 * stop waits until the master is gone, abort kills what is left. reload and check read the configuration
 * first, so that the person who changed it sees the mistake; master checks again and keeps the old one when
 * it is wrong.
 */
#include "ctl/ctl_control.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "config/pid_file.h"
#include "ctl/ctl_logrotate.h"

enum {
    STATUS_USAGE = 64,
    STATUS_UNAVAILABLE = 69,
    STATUS_OSERR = 71,
    STATUS_CONFIG = 78,
    STOP_WAIT_MS = 20000, /* three stages of at most 5 s, and some air */
    ABORT_WAIT_MS = 5000,
    STEP_US = 10000,
    WHY_MAX = 65536,
};

struct control {
    const char *word;
    const struct config *config;
    pid_t pid; /* 0: not running */
};

static void
print_lines(const struct buf *why, const char *kind)
{
    struct bytes rest = bytes_buf(why), line;

    while (bytes_next_line(&rest, &line)) {
        (void)fprintf(stderr, "estafeta: %s: %.*s\n", kind, BYTES_FMT(line));
    }
}

static int
need_running(const struct control *control)
{
    if (control->pid == 0) {
        (void)fprintf(stderr, "estafeta: fatal: the mail system is not running\n");
        return STATUS_UNAVAILABLE;
    }
    return 0;
}

static int
send_signal(const struct control *control, int number)
{
    if (kill(control->pid, number) == -1) {
        (void)fprintf(stderr, "estafeta: fatal: signal the master process %d: %s\n", (int)control->pid,
                      strerror(errno));
        return STATUS_OSERR;
    }
    return 0;
}

static int
wait_until_gone(const struct control *control, int limit_ms)
{
    int64_t deadline_ms = clock_monotonic_ms() + limit_ms;
    pid_t pid;

    while (pid_file_holder(control->config, &pid) == 0 && pid == control->pid) {
        if (clock_monotonic_ms() >= deadline_ms) {
            (void)fprintf(stderr,
                          "estafeta: fatal: the master process %d does not end; try: estafeta abort\n",
                          (int)pid);
            return STATUS_UNAVAILABLE;
        }
        (void)usleep(STEP_US);
    }
    return 0;
}

static int
stop(const struct control *control)
{
    int status = need_running(control);

    if (status == 0 && (status = send_signal(control, SIGTERM)) == 0) {
        status = wait_until_gone(control, STOP_WAIT_MS);
    }
    return status;
}

static int
abort_now(const struct control *control)
{
    int status = need_running(control);

    if (status == 0 && (status = send_signal(control, SIGQUIT)) == 0) {
        status = wait_until_gone(control, ABORT_WAIT_MS);
    }
    return status;
}

static int
reload(const struct control *control)
{
    int status = need_running(control);

    return status == 0 ? send_signal(control, SIGHUP) : status;
}

static int
check(const struct control *control)
{
    (void)control; /* main() has loaded it: what is wrong was said */
    return 0;
}

static int
print_status(const struct control *control)
{
    if (control->pid == 0) {
        (void)fprintf(stderr, "estafeta: the mail system is not running\n");
        return 1;
    }
    (void)fprintf(stderr, "estafeta: the mail system is running: PID: %d\n", (int)control->pid);
    return 0;
}

static int
rotate_log(const struct control *control)
{
    return ctl_logrotate_run(control->config, (int)control->pid);
}

static const struct {
    const char *word;
    int (*run)(const struct control *control);
} COMMANDS[] = {
    {"stop", stop},   {"abort", abort_now},     {"reload", reload},
    {"check", check}, {"status", print_status}, {"logrotate", rotate_log},
};

int
ctl_control(int argc, char **argv)
{
    struct control control = {.word = argv[0]};
    struct config *config = NULL;
    const char *directory;
    int status = STATUS_USAGE;
    struct buf why;

    buf_init(&why, WHY_MAX);
    if (pid_file_directory(&argc, argv, &directory) != 0 || argc > 1) {
        (void)fprintf(stderr, "estafeta: fatal: usage: estafeta %s [-c DIR]\n", control.word);
        goto out;
    }
    if (config_load(directory, &config, &why) != 0) {
        print_lines(&why, "fatal");
        status = STATUS_CONFIG;
        goto out;
    }
    print_lines(&why, "warning");
    control.config = config;
    if (pid_file_holder(config, &control.pid) != 0) {
        control.pid = 0;
    }
    for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(COMMANDS[0]); i++) {
        if (strcmp(control.word, COMMANDS[i].word) == 0) {
            status = COMMANDS[i].run(&control);
        }
    }
out:
    config_free(&config);
    buf_free(&why);
    return status;
}

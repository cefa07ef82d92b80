/*
 * master_check - see the header. Before: master_generation.c at a reload; after: ctl_check.c in a process of
 * its own.
 *
 * Master includes no role's code, and what a table, a library or a pattern does while it is opened must not
 * happen in the one process that may not die. If the check cannot be run at all, the roles still refuse what
 * does not open.
 */
#include "master/master_check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

enum { MASTER_CHECK_MS = 30000, SAID_MAX = 65536, PIECE = 4096, STATUS_EXEC = 127 };

static void
run_child(const char *directory, int fd)
{
    char *argv[] = {(char[]){"estafeta"}, (char[]){"check"}, (char[]){"-c"}, (char *)(uintptr_t)directory,
                    NULL};
    char *environment[] = {(char[]){"PATH=/usr/bin:/bin:/usr/sbin:/sbin"}, NULL};
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    sigset_t none;

    (void)sigemptyset(&none);
    (void)signal(SIGPIPE, SIG_DFL);
    if (null_fd != -1 && dup2(null_fd, STDIN_FILENO) != -1 && dup2(null_fd, STDOUT_FILENO) != -1 &&
        dup2(fd, STDERR_FILENO) != -1 && sigprocmask(SIG_SETMASK, &none, NULL) == 0) {
        (void)execve("/proc/self/exe", argv, environment);
    }
    _exit(STATUS_EXEC);
}

/* Everything it says, until it closes the pipe. GW_ERR_TIMEOUT. */
static int
listen_to(int fd, struct buf *said)
{
    int64_t deadline_ms = clock_monotonic_ms() + MASTER_CHECK_MS;
    char piece[PIECE];

    for (;;) {
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        int64_t left_ms = deadline_ms - clock_monotonic_ms();

        if (left_ms <= 0) {
            return GW_ERR_TIMEOUT;
        }
        if (poll(&waiting, 1, (int)left_ms) <= 0) {
            continue;
        }
        ssize_t n = read(fd, piece, sizeof(piece));
        if (n == 0 || (n == -1 && errno != EINTR)) {
            return 0;
        }
        (void)buf_append(said, piece, n > 0 ? (size_t)n : 0); /* more than fits is not needed */
    }
}

/* Only what refuses: warnings come with the generation itself. */
static void
take_reasons(struct bytes said, struct buf *why)
{
    static const char MARK[] = "estafeta: fatal: ";
    struct bytes line;

    while (bytes_next_line(&said, &line)) {
        if (bytes_has_prefix_nocase(line, bytes_str(MARK))) {
            (void)buf_append_bytes(why, bytes_sub(line, sizeof(MARK) - 1, line.n));
            (void)buf_append_byte(why, '\n');
        }
    }
}

static int
judge(pid_t pid, int r, const struct buf *said, struct buf *why)
{
    size_t before = why->n;
    int status = 0;

    if (r != 0) {
        (void)kill(pid, SIGKILL);
    }
    while (waitpid(pid, &status, 0) == -1 && errno == EINTR) {
    }
    if (r != 0) {
        (void)buf_printf(why, "the check of the configuration did not end within %d s\n",
                         MASTER_CHECK_MS / 1000);
        return GW_ERR_CONFIG;
    }
    if (WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == STATUS_EXEC)) {
        return 0;
    }
    take_reasons(bytes_buf(said), why);
    if (why->n == before) {
        (void)buf_append_str(why, "the check of the configuration failed without a word\n");
    }
    return GW_ERR_CONFIG;
}

int
master_check(const char *directory, struct buf *why)
{
    struct buf said;
    int fds[2], r;

    if (pipe2(fds, O_CLOEXEC) == -1) {
        log_warning("master", "the configuration is not checked beforehand: pipe: %s", strerror(errno));
        return 0;
    }
    pid_t pid = fork();
    if (pid == 0) {
        run_child(directory, fds[1]);
    }
    (void)close(fds[1]);
    if (pid == -1) {
        log_warning("master", "the configuration is not checked beforehand: fork: %s", strerror(errno));
        (void)close(fds[0]);
        return 0;
    }
    buf_init(&said, SAID_MAX);
    r = listen_to(fds[0], &said);
    (void)close(fds[0]);
    r = judge(pid, r, &said, why);
    buf_free(&said);
    return r;
}

/*
 * deliver_command - see the header. Before: deliver_pipe.c, deliver_local.c (mailbox_command); after: the
 * program.
 *
 * The message is written to a memfd that becomes the standard input, so a program that does not read cannot
 * block us. The program runs in a session of its own, as its owner, with a clean environment, and is killed
 * with its children at the time limit. A program that dies of a signal defers the mail: it did not decide
 * anything.
 */
#include "deliver/deliver_command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

enum { WORDS_MAX = 256, LINE_MAX_BYTES = 16384 };

static const struct {
    int code;
    const char *dsn;
    const char *text;
} EXITS[] = {
    {EX_USAGE, "5.3.0", "wrong command line"},
    {EX_DATAERR, "5.6.0", "wrong data format"},
    {EX_NOINPUT, "5.3.0", "input cannot be opened"},
    {EX_NOUSER, "5.1.1", "user unknown"},
    {EX_NOHOST, "5.1.2", "host name unknown"},
    {EX_UNAVAILABLE, "5.3.0", "service unavailable"},
    {EX_SOFTWARE, "5.3.0", "internal software error"},
    {EX_OSERR, "4.3.0", "system resource problem"},
    {EX_OSFILE, "5.3.0", "a system file is missing"},
    {EX_CANTCREAT, "5.2.0", "output file cannot be created"},
    {EX_IOERR, "5.3.0", "input or output error"},
    {EX_TEMPFAIL, "4.3.0", "temporary failure"},
    {EX_PROTOCOL, "5.5.0", "remote protocol error"},
    {EX_NOPERM, "5.7.0", "permission denied"},
    {EX_CONFIG, "5.3.5", "local configuration error"},
};

/* "4.2.2 mailbox full" at the start of the output. */
static bool
has_dsn(struct bytes output, char dsn[12])
{
    size_t n = 0;

    while (n < output.n && n < 11 && ((output.p[n] >= '0' && output.p[n] <= '9') || output.p[n] == '.')) {
        n++;
    }
    if (n < 5 || (output.p[0] != '4' && output.p[0] != '5') || output.p[1] != '.' ||
        (n < output.n && output.p[n] != ' ')) {
        return false;
    }
    memcpy(dsn, output.p, n);
    dsn[n] = '\0';
    return true;
}

void
deliver_command_judge(int wait_status, const char *name, struct bytes output, const char *sent_text,
                      struct deliver_outcome *outcome)
{
    char dsn[12];
    const char *between = output.n > 0 ? ". Command output: " : "";

    output = bytes_trim(output);
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) {
        deliver_outcome_set(outcome, DELIVERY_SENT, "2.0.0", output.n > 0 ? "%s (%.*s)" : "%s%.*s", sent_text,
                            BYTES_FMT(output));
        return;
    }
    if (!WIFEXITED(wait_status)) {
        deliver_outcome_set(outcome, DELIVERY_DEFERRED, "4.3.0", "Command died with signal %d: \"%s\"%s%.*s",
                            WTERMSIG(wait_status), name, between, BYTES_FMT(output));
        return;
    }
    int code = WEXITSTATUS(wait_status);
    if (has_dsn(output, dsn)) {
        deliver_outcome_set(outcome, dsn[0] == '4' ? DELIVERY_DEFERRED : DELIVERY_BOUNCED, dsn, "%.*s",
                            BYTES_FMT(bytes_trim(bytes_sub(output, strlen(dsn), output.n))));
        return;
    }
    for (size_t i = 0; i < sizeof(EXITS) / sizeof(EXITS[0]); i++) {
        if (EXITS[i].code == code) {
            deliver_outcome_set(outcome, EXITS[i].dsn[0] == '4' ? DELIVERY_DEFERRED : DELIVERY_BOUNCED,
                                EXITS[i].dsn, "%s%s%.*s", EXITS[i].text, between, BYTES_FMT(output));
            return;
        }
    }
    deliver_outcome_set(outcome, DELIVERY_BOUNCED, "5.3.0", "Command died with status %d: \"%s\"%s%.*s", code,
                        name, between, BYTES_FMT(output));
}

/* The message in a file of its own at offset 0. */
static int
make_input(const struct deliver_command *command, int *fd_r)
{
    int fd = memfd_create("message", MFD_CLOEXEC);

    *fd_r = -1;
    if (fd == -1) {
        return GW_ERR_SYS;
    }
    if (deliver_writer_copy(command->message, fd) != 0 || lseek(fd, 0, SEEK_SET) == -1) {
        (void)close(fd);
        return GW_ERR_SYS;
    }
    *fd_r = fd;
    return 0;
}

static void
reset_signals(void)
{
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)signal(SIGCHLD, SIG_DFL);
}

/* A command line of plain words is its own list of arguments; room holds them. False: a shell must read it.
 */
static bool
split_words(const char *text, char *room, size_t size, char **argv)
{
    static const char PLAIN[] =
        "1234567890!@%-_=+:,./ \tabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t n = strlen(text), count = 0;
    char *p = room;

    if (n >= size || strspn(text, PLAIN) != n) {
        return false;
    }
    memcpy(room, text, n + 1);
    while (count < WORDS_MAX) {
        p += strspn(p, " \t");
        if (*p == '\0') {
            break;
        }
        argv[count++] = p;
        p += strcspn(p, " \t");
        if (*p != '\0') {
            *p++ = '\0';
        }
    }
    argv[count] = NULL;
    return count > 0 && count < WORDS_MAX && strchr(argv[0], '=') == NULL;
}

/* A word that is no program may be one of the shell's own. */
static void
execute(const struct deliver_command *command)
{
    char room[LINE_MAX_BYTES];
    char *words[WORDS_MAX + 1];
    char *shell[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
                     (char *)(uintptr_t)command->shell_text, NULL};

    if (command->argv != NULL) {
        (void)execvpe(command->argv[0], command->argv, command->environment);
        return;
    }
    if (split_words(command->shell_text, room, sizeof(room), words)) {
        (void)execvpe(words[0], words, command->environment);
    }
    (void)execve("/bin/sh", shell, command->environment);
}

/* Only async-signal-safe calls: other threads of the parent may hold any lock. */
static _Noreturn void
run_program(const struct deliver_command *command, int input, int output)
{
    static const char CANNOT[] = "4.3.5 the program cannot be started\n";

    reset_signals();
    (void)setsid();
    if (dup2(input, STDIN_FILENO) != -1 && dup2(output, STDOUT_FILENO) != -1 &&
        dup2(output, STDERR_FILENO) != -1 && close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) == 0 &&
        (command->root == NULL || (chdir(command->root) == 0 && chroot(".") == 0)) &&
        deliver_owner_become(command->owner) &&
        chdir(command->directory != NULL ? command->directory : "/") == 0) {
        (void)umask(077);
        execute(command);
    }
    ssize_t n = write(STDOUT_FILENO, CANNOT, sizeof(CANNOT) - 1);
    _exit(n > 0 ? EX_TEMPFAIL : EX_OSERR);
}

/* What the program prints, until it closes its end. False: time is up. */
static bool
read_output(int fd, int64_t deadline_ms, char *out, size_t size, size_t *n_r)
{
    char rest[256];

    *n_r = 0;
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int p = poll(&ready, 1, clock_left_ms(deadline_ms));

        if (p == -1 && errno == EINTR) {
            continue;
        }
        if (p <= 0) {
            return false;
        }
        bool full = *n_r == size;
        ssize_t n = full ? read(fd, rest, sizeof(rest)) : read(fd, out + *n_r, size - *n_r);
        if (n == -1 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return true;
        }
        *n_r += full ? 0 : (size_t)n;
    }
}

static void
make_printable(char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)text[i] < 32 || text[i] == 127) {
            text[i] = ' ';
        }
    }
}

static const char *
name_of(const struct deliver_command *command)
{
    return command->argv != NULL ? command->argv[0] : command->shell_text;
}

static void
watch_program(const struct deliver_command *command, pid_t pid, int output, struct deliver_outcome *outcome)
{
    char text[DELIVER_OUTPUT_MAX];
    size_t n = 0;
    int status = 0;
    bool in_time = read_output(output, clock_monotonic_ms() + command->limit_ms, text, sizeof(text), &n);

    if (!in_time) {
        (void)kill(-pid, SIGKILL);
        (void)kill(pid, SIGKILL);
    }
    while (waitpid(pid, &status, 0) == -1 && errno == EINTR) {
    }
    make_printable(text, n);
    if (in_time) {
        deliver_command_judge(status, name_of(command), bytes_of(text, n), command->sent_text, outcome);
    } else {
        deliver_outcome_set(outcome, DELIVERY_BOUNCED, "5.3.0", "Command time limit exceeded: \"%s\"",
                            name_of(command));
    }
}

void
deliver_command_run(const struct deliver_command *command, struct deliver_outcome *outcome)
{
    int ends[2] = {-1, -1};
    int input = -1;

    if (geteuid() != 0 && command->owner->uid != geteuid()) {
        deliver_outcome_set(outcome, DELIVERY_DEFERRED, "4.3.5",
                            "cannot run a program as user %ld: the gateway was started as user %ld",
                            (long)command->owner->uid, (long)geteuid());
        return;
    }
    if (make_input(command, &input) != 0 || pipe2(ends, O_CLOEXEC) == -1) {
        (void)deliver_outcome_errno(outcome, "prepare input for", name_of(command));
        goto out;
    }
    pid_t pid = deliver_owner_fork(command->owner);
    if (pid == 0) {
        run_program(command, input, ends[1]);
    }
    (void)close(ends[1]);
    ends[1] = -1;
    if (pid == -1) {
        (void)deliver_outcome_errno(outcome, "start", name_of(command));
        goto out;
    }
    watch_program(command, pid, ends[0], outcome);
out:
    if (input != -1) {
        (void)close(input);
    }
    if (ends[0] != -1) {
        (void)close(ends[0]);
    }
    if (ends[1] != -1) {
        (void)close(ends[1]);
    }
}

/*
 * log - see the header. The one place of base with process-wide state: where lines go.
 *
 * A line to syslog is one datagram to /dev/log, in the old BSD form that every syslogd reads.
 * A line to a file is one write(2) to a descriptor opened for appending, so that lines of many processes do
 * not mix. What cannot be logged is lost; mail never fails for a log.
 */
#include "base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

enum { LINE_MAX_BYTES = 4096, HELD_BYTES = 32768, HOST_MAX = 64, NAME_MAX_BYTES = 64, PATH_MAX_BYTES = 1024 };
enum { ONCE_MAX = 256 }; /* further warnings are written each time */

static struct {
    bool opened;
    int fd;
    int pid; /* getpid(2) is a system call */
    int facility;
    bool to_syslog, also_stderr;
    char name[NAME_MAX_BYTES];
    char command[NAME_MAX_BYTES];
    char host[HOST_MAX];
    char file[PATH_MAX_BYTES];
} target = {.fd = -1, .command = "estafeta"};

/* What log_warning_once() has written: hashes of the texts. */
static struct {
    size_t count;
    uint64_t seen[ONCE_MAX];
} once;

static const struct {
    const char *word;
    int priority;
} LEVELS[] = {
    [LOG_LEVEL_INFO] = {"", LOG_INFO},         [LOG_LEVEL_WARNING] = {"warning: ", LOG_WARNING},
    [LOG_LEVEL_ERROR] = {"error: ", LOG_ERR},  [LOG_LEVEL_FATAL] = {"fatal: ", LOG_CRIT},
    [LOG_LEVEL_PANIC] = {"panic: ", LOG_CRIT},
};

static int
facility_number(const char *word)
{
    static const struct {
        const char *word;
        int number;
    } FACILITIES[] = {
        {"mail", LOG_MAIL},     {"daemon", LOG_DAEMON}, {"user", LOG_USER},     {"local0", LOG_LOCAL0},
        {"local1", LOG_LOCAL1}, {"local2", LOG_LOCAL2}, {"local3", LOG_LOCAL3}, {"local4", LOG_LOCAL4},
        {"local5", LOG_LOCAL5}, {"local6", LOG_LOCAL6}, {"local7", LOG_LOCAL7},
    };

    for (size_t i = 0; word != NULL && i < sizeof(FACILITIES) / sizeof(FACILITIES[0]); i++) {
        if (strcmp(word, FACILITIES[i].word) == 0) {
            return FACILITIES[i].number;
        }
    }
    return LOG_MAIL;
}

static void
note_pid(void)
{
    target.pid = (int)getpid();
}

/* Not syslog(3): a process has one name there, but a line here is its service's (postfix/smtpd,
 * postfix/smtp), with the process id. Connected before the jail, which hides the path. */
static int
connect_syslog(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd != -1 && connect(fd, (const struct sockaddr *)&at, sizeof(at)) == -1) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

void
log_leave_syslog(void)
{
    if (target.to_syslog && target.fd != -1) {
        (void)close(target.fd);
        target.fd = -1;
        target.opened = false;
    }
}

int
log_open(const struct log_target *to)
{
    if (target.pid == 0) {
        (void)pthread_atfork(NULL, NULL, note_pid);
    }
    note_pid();
    (void)snprintf(target.name, sizeof(target.name), "%s",
                   to->syslog_name != NULL ? to->syslog_name : "postfix");
    target.also_stderr = to->also_stderr;
    if (gethostname(target.host, sizeof(target.host) - 1) != 0) {
        (void)snprintf(target.host, sizeof(target.host), "localhost");
    }
    target.host[strcspn(target.host, ".")] = '\0';
    tzset();
    if (to->file == NULL || to->file[0] == '\0') {
        log_leave_syslog();
        target.to_syslog = true;
        target.facility = facility_number(to->facility);
        target.fd = connect_syslog();
        target.opened = target.fd != -1; /* without: standard error */
        return 0;
    }
    target.to_syslog = false;
    (void)snprintf(target.file, sizeof(target.file), "%s", to->file);
    target.fd = to->fd;
    if (target.fd == -1) {
        target.fd = open(target.file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    }
    target.opened = target.fd != -1;
    return target.opened ? 0 : GW_ERR_SYS;
}

int
log_reopen(void)
{
    if (target.to_syslog || target.file[0] == '\0') {
        return 0;
    }
    int fd = open(target.file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd == -1) {
        return GW_ERR_SYS;
    }
    /* dup2 keeps the number: other threads may be writing to it. */
    int r = dup2(fd, target.fd) == -1 ? GW_ERR_SYS : 0;
    (void)close(fd);
    return r;
}

void
log_stderr(bool on)
{
    target.also_stderr = on;
}

void
log_command(const char *name)
{
    (void)snprintf(target.command, sizeof(target.command), "%s", name);
}

int
log_fd(void)
{
    return target.to_syslog ? -1 : target.fd;
}

/* Nothing of a peer may end the line or move a terminal's cursor. */
static void
make_printable(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p != '\0'; p++) {
        if (*p < 0x20 || *p == 0x7f) {
            *p = '?';
        }
    }
}

/* The second's text is the same for thousands of lines: each thread keeps its own. */
static const char *
time_text(void)
{
    static _Thread_local time_t last;
    static _Thread_local char text[32];
    time_t now = time(NULL);

    if (now != last) {
        struct tm tm;

        if (localtime_r(&now, &tm) == NULL || strftime(text, sizeof(text), "%b %e %H:%M:%S", &tm) == 0) {
            (void)snprintf(text, sizeof(text), "Jan  1 00:00:00");
        }
        last = now;
    }
    return text;
}

/* What log_hold() collects for this thread. */
static _Thread_local struct {
    bool on;
    size_t n;
    char text[HELD_BYTES];
} held;

static void
write_all(int fd, const char *p, size_t n)
{
    /* One write; a short one (disk full) is lost rather than torn over two lines. */
    if (write(fd, p, n) == -1) {
        return;
    }
}

static void
write_held(void)
{
    if (held.n > 0) {
        write_all(target.fd, held.text, held.n);
        held.n = 0;
    }
}

void
log_hold(void)
{
    held.on = true;
}

void
log_release(void)
{
    write_held();
    held.on = false;
}

static void
put_line(const char *line, size_t n, bool now)
{
    if (held.n + n > sizeof(held.text) || (now && held.n > 0)) {
        write_held();
    }
    if (!held.on || now) {
        write_all(target.fd, line, n);
        return;
    }
    memcpy(held.text + held.n, line, n);
    held.n += n;
}

static void
write_line(enum log_level level, const char *program, const char *text)
{
    char line[LINE_MAX_BYTES + 256];
    int n;

    if (target.to_syslog && target.opened) {
        n = snprintf(line, sizeof(line), "<%d>%s %s/%s[%d]: %s%s", target.facility | LEVELS[level].priority,
                     time_text(), target.name, program, target.pid, LEVELS[level].word, text);
        write_all(target.fd, line, n < (int)sizeof(line) ? (size_t)n : sizeof(line) - 1);
    } else if (target.opened) {
        n = snprintf(line, sizeof(line), "%s %s %s/%s[%d]: %s%s\n", time_text(), target.host, target.name,
                     program, target.pid, LEVELS[level].word, text);
        put_line(line, n < (int)sizeof(line) ? (size_t)n : sizeof(line) - 1, level >= LOG_LEVEL_WARNING);
    }
    if (!target.opened || (target.also_stderr && level >= LOG_LEVEL_WARNING)) {
        n = snprintf(line, sizeof(line), "%s: %s%s\n", target.command, LEVELS[level].word, text);
        write_all(STDERR_FILENO, line, n < (int)sizeof(line) ? (size_t)n : sizeof(line) - 1);
    }
}

static void
write_args(enum log_level level, const char *program, const char *format, va_list args)
{
    char text[LINE_MAX_BYTES];

    (void)vsnprintf(text, sizeof(text), format, args);
    make_printable(text);
    write_line(level, program, text);
}

void
log_write(enum log_level level, const char *program, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_args(level, program, format, args);
    va_end(args);
}

static bool
is_new(const char *text)
{
    uint64_t hash = 14695981039346656037U; /* FNV-1a */

    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * 1099511628211U;
    }
    for (size_t i = 0; i < once.count; i++) {
        if (once.seen[i] == hash) {
            return false;
        }
    }
    if (once.count < ONCE_MAX) {
        once.seen[once.count++] = hash;
    }
    return true;
}

void
log_warning_once(const char *program, const char *format, ...)
{
    char text[LINE_MAX_BYTES];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (is_new(text)) {
        log_warning(program, "%s", text);
    }
}

void
log_fatal(const char *program, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_args(LOG_LEVEL_FATAL, program, format, args);
    va_end(args);
    exit(1);
}

void
log_panic(const char *program, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_args(LOG_LEVEL_PANIC, program, format, args);
    va_end(args);
    abort();
}

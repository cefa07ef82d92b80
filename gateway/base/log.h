/*
 * log - log lines in Postfix's form, to the syslog socket or to maillog_file.
 *
 * "Nov 21 06:01:48 host postfix/smtpd[123]: text": program is the name after the slash (smtpd, cleanup, qmgr,
 * smtp, local, postscreen ...), so that pflogsumm and fail2ban read them. One line is one write(2) on an
 * O_APPEND descriptor that was opened before the jail. Line breaks and control bytes in the text are
 * replaced, so a peer cannot forge a line. This file is the one place besides role mains with process-wide
 * state: the log descriptor.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR, LOG_LEVEL_FATAL, LOG_LEVEL_PANIC };

struct log_target {
    const char *syslog_name; /* "postfix"; copied */
    const char *facility;    /* "mail" */
    const char *file;        /* maillog_file, or NULL or "" for syslog */
    int fd;                  /* an already open descriptor for the file, or -1 to open it here */
    bool also_stderr;        /* start-fg and commands: warnings and worse also go to standard error */
};

/* Opens the target; before it, lines go to standard error. Returns 0 or GW_ERR_SYS. */
int log_open(const struct log_target *target);
/* Before a process lays out its descriptors anew: gives up the one to syslog, which log_open() makes again.
 */
void log_leave_syslog(void);
int log_reopen(void);     /* after logrotate; only for targets opened by name */
void log_stderr(bool on); /* switches also_stderr; before threads are started */
/* What stands before a line on standard error: "postmap: warning: ...". Copied; "estafeta" without this. */
void log_command(const char *name);
int log_fd(void); /* the file's descriptor, for a child role to inherit; -1 for syslog */

void log_write(enum log_level level, const char *program, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A warning about the configuration, which several ports of a role would give: the same words are written
 * once in the life of the process. Before threads are started. */
void log_warning_once(const char *program, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Between these two, this thread's lines are collected and written with one write(2): for the turns of event
 * loops. Warnings and worse are written at once, with what was collected before them. */
void log_hold(void);
void log_release(void);

#define log_info(program, ...) log_write(LOG_LEVEL_INFO, (program), __VA_ARGS__)
#define log_warning(program, ...) log_write(LOG_LEVEL_WARNING, (program), __VA_ARGS__)
#define log_error(program, ...) log_write(LOG_LEVEL_ERROR, (program), __VA_ARGS__)
/* Our environment is broken (not a peer's doing): logs and exits; master starts the role again with back-off.
 */
void log_fatal(const char *program, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
/* Our own invariant is broken: logs and aborts. */
void log_panic(const char *program, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));

#endif

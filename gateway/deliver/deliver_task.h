/*
 * deliver_task - one delivery job under way and what became of each of its recipients.
 */
#ifndef DELIVER_DELIVER_TASK_H
#define DELIVER_DELIVER_TASK_H

#include "message/wire.h"

enum { DELIVER_TEXT_MAX = 1024 };

/* Plain data: a child process reports it through a pipe. */
struct deliver_outcome {
    enum delivery_status status;
    char dsn[12];
    char text[DELIVER_TEXT_MAX];
};

struct deliver_task {
    const struct wire_job *job;
    int content_fd;                   /* job->envelope->size bytes with CRLF line ends */
    struct deliver_outcome *outcomes; /* one per recipient; start as deferred */
    size_t count;
    struct buf expanded; /* addresses to add: packed strings, count below */
    uint16_t expanded_count;
    char relay[320]; /* for the log line: "virtual", "local", "none" ... */
};

/* dsn "2.0.0", "4.2.0" ...: its first digit agrees with the status. */
void deliver_outcome_set(struct deliver_outcome *outcome, enum delivery_status status, const char *dsn,
                         const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Deferred with the reason of errno: "cannot <what> <name>: No space left on device". ENOSPC and EDQUOT
 * are 4.3.1 and 4.2.2. Returns GW_ERR_SYS. */
int deliver_outcome_errno(struct deliver_outcome *outcome, const char *what, const char *name);
/* GW_ERR_NOMEM. */
int deliver_task_begin(struct deliver_task *task, const struct wire_job *job, int content_fd,
                       const char *relay);
void deliver_task_end(struct deliver_task *task);
void deliver_task_set_all(struct deliver_task *task, const struct deliver_outcome *outcome);
int deliver_task_expand(struct deliver_task *task, struct bytes address);

#endif

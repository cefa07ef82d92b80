/*
 * deliver_task - see the header. Before: deliver_worker.c, which got the job; after: the agents
 * (deliver_virtual.c, deliver_local.c, deliver_pipe.c, deliver_simple.c) fill it, deliver_worker.c tells the
 * queue.
 *
 * Fails closed: a recipient nobody spoke about is deferred.
 */
#include "deliver/deliver_task.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/pack.h"

enum { EXPANDED_BYTES_MAX = 4 * 1024 * 1024 };

void
deliver_outcome_set(struct deliver_outcome *outcome, enum delivery_status status, const char *dsn,
                    const char *format, ...)
{
    va_list args;

    outcome->status = status;
    (void)snprintf(outcome->dsn, sizeof(outcome->dsn), "%s", dsn);
    va_start(args, format);
    (void)vsnprintf(outcome->text, sizeof(outcome->text), format, args);
    va_end(args);
}

int
deliver_outcome_errno(struct deliver_outcome *outcome, const char *what, const char *name)
{
    const char *dsn = errno == ENOSPC ? "4.3.1" : errno == EDQUOT ? "4.2.2" : "4.2.0";

    deliver_outcome_set(outcome, DELIVERY_DEFERRED, dsn, "cannot %s %s: %s", what, name,
                        strerrordesc_np(errno)); /* no locks: also used in forked children */
    return GW_ERR_SYS;
}

int
deliver_task_begin(struct deliver_task *task, const struct wire_job *job, int content_fd, const char *relay)
{
    memset(task, 0, sizeof(*task));
    task->job = job;
    task->content_fd = content_fd;
    task->count = job->envelope->recipient_count;
    (void)snprintf(task->relay, sizeof(task->relay), "%s", relay);
    buf_init(&task->expanded, EXPANDED_BYTES_MAX);
    task->outcomes = calloc(task->count + 1, sizeof(*task->outcomes));
    if (task->outcomes == NULL) {
        task->count = 0;
        return GW_ERR_NOMEM;
    }
    for (size_t i = 0; i < task->count; i++) {
        deliver_outcome_set(&task->outcomes[i], DELIVERY_DEFERRED, "4.3.0", "delivery was not attempted");
    }
    return 0;
}

void
deliver_task_end(struct deliver_task *task)
{
    free(task->outcomes);
    task->outcomes = NULL;
    task->count = 0;
    buf_free(&task->expanded);
}

void
deliver_task_set_all(struct deliver_task *task, const struct deliver_outcome *outcome)
{
    for (size_t i = 0; i < task->count; i++) {
        task->outcomes[i] = *outcome;
    }
}

int
deliver_task_expand(struct deliver_task *task, struct bytes address)
{
    if (task->expanded_count == UINT16_MAX) {
        return GW_ERR_LIMIT;
    }
    int r = pack_bytes(&task->expanded, address);
    if (r == 0) {
        task->expanded_count++;
    }
    return r;
}

/*
 * relay_task - one delivery job under way: what is known so far about each of its recipients.
 *
 * A recipient is pending until a host took it or refused it for good. Each failure that leaves it pending is
 * remembered, so that the last one decides when there is no other host.
 */
#ifndef RELAY_RELAY_TASK_H
#define RELAY_RELAY_TASK_H

#include "message/wire.h"
#include "relay/relay_outcome.h"

struct relay_recipient {
    bool pending;
    bool offered;  /* in the transaction under way */
    bool accepted; /* by RCPT TO, in the transaction under way */
    bool site;     /* the last failure was the destination's as a whole */
    enum delivery_status status;
    char dsn[12];
    struct bytes reply;      /* in the task's arena */
    struct bytes remote_mta; /* in the task's arena */
};

struct relay_task {
    const struct wire_job *job;
    int content_fd;
    struct arena *arena;
    struct relay_recipient *recipients; /* one per job->envelope->recipients */
    size_t count, pending;
    struct buf *command; /* scratch: one command line */
    struct buf *room;    /* scratch: a piece of content */
};

/* Recipients start pending and deferred. GW_ERR_NOMEM. */
int relay_task_begin(struct relay_task *task, const struct wire_job *job, int content_fd,
                     struct arena *arena);
/* The host took it. */
void relay_task_deliver(struct relay_task *task, size_t index, enum delivery_status status, const char *dsn,
                        struct bytes reply, const char *host);
/* A failure of this recipient; it stays pending when another host may be asked. */
void relay_task_fail(struct relay_task *task, size_t index, const struct relay_trouble *trouble,
                     const char *host);
/* The same for all that the host had accepted. */
void relay_task_fail_accepted(struct relay_task *task, const struct relay_trouble *trouble, const char *host);
/* The same for all that are pending. */
void relay_task_fail_all(struct relay_task *task, const struct relay_trouble *trouble, const char *host);
/* No host can be asked at all. */
void relay_task_settle_all(struct relay_task *task, const struct relay_failure *failure);
/* True when nothing was delivered or refused for good and the last failure of each was the destination's. */
bool relay_task_is_site_down(const struct relay_task *task);

#endif

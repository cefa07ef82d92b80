/*
 * queue_retry - when a deferred message is tried again, when it is given up, when its sender is told of the
 * delay.
 *
 * Pure: times come in as wall clock seconds. The rules are Postfix's (qmgr(8)): the pause grows with the time
 * in the queue, between minimal_backoff_time and maximal_backoff_time.
 */
#ifndef QUEUE_QUEUE_RETRY_H
#define QUEUE_QUEUE_RETRY_H

#include <stdbool.h>
#include <stdint.h>

struct queue_retry {
    int64_t minimal_backoff_s;
    int64_t maximal_backoff_s;
    int64_t maximal_lifetime_s; /* maximal_queue_lifetime; 0: one attempt only */
    int64_t bounce_lifetime_s;  /* bounce_queue_lifetime: for mail with a null sender */
    int64_t delay_warning_s;    /* delay_warning_time; 0: never */
};

/* The time of the next attempt after one that ended at now_s. A clock that jumped (arrival in the future)
 * gives the minimal pause. */
int64_t queue_retry_next(const struct queue_retry *retry, int64_t arrival_s, int64_t now_s);
bool queue_retry_is_expired(const struct queue_retry *retry, bool null_sender, int64_t arrival_s,
                            int64_t now_s);
bool queue_retry_is_delayed(const struct queue_retry *retry, int64_t arrival_s, int64_t now_s);

#endif

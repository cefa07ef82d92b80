/*
 * queue_retry - see the header. Before: queue_finish.c, after each activation of a message.
 */
#include "queue/queue_retry.h"

int64_t
queue_retry_next(const struct queue_retry *retry, int64_t arrival_s, int64_t now_s)
{
    int64_t pause_s = now_s - arrival_s;

    /* The maximum is looked at first: with a minimum above it (a slip in main.cf) the longer pause is the
     * safe one. */
    if (pause_s > retry->maximal_backoff_s) {
        pause_s = retry->maximal_backoff_s;
    }
    if (pause_s < retry->minimal_backoff_s) {
        pause_s = retry->minimal_backoff_s;
    }
    return now_s + pause_s;
}

bool
queue_retry_is_expired(const struct queue_retry *retry, bool null_sender, int64_t arrival_s, int64_t now_s)
{
    int64_t lifetime_s = retry->maximal_lifetime_s;

    if (null_sender && retry->bounce_lifetime_s < lifetime_s) {
        lifetime_s = retry->bounce_lifetime_s;
    }
    return now_s >= arrival_s + lifetime_s;
}

bool
queue_retry_is_delayed(const struct queue_retry *retry, int64_t arrival_s, int64_t now_s)
{
    return retry->delay_warning_s > 0 && now_s >= arrival_s + retry->delay_warning_s;
}

/*
 * deliver_simple - the agents that keep nothing: discard, error and retry. Before: deliver_worker.c; after:
 * nobody.
 *
 * discard throws mail away and says so in the log. error returns it with the text that stands where others
 * have a next hop ("5.1.1 no such domain here"); the same program under the name retry, or with a text that
 * begins with 4, defers.
 */
#include <string.h>

#include "deliver/deliver_transport.h"

enum { DSN_MAX = 12 };

/* "5.1.1 text" -> dsn and text; without a code the given one. */
static struct bytes
split_dsn(struct bytes text, char dsn[DSN_MAX])
{
    size_t n = 0;

    while (n < text.n && n < DSN_MAX - 1 && ((text.p[n] >= '0' && text.p[n] <= '9') || text.p[n] == '.')) {
        n++;
    }
    if (n >= 5 && text.p[1] == '.' && (text.p[0] == '2' || text.p[0] == '4' || text.p[0] == '5') &&
        (n == text.n || text.p[n] == ' ')) {
        memcpy(dsn, text.p, n);
        dsn[n] = '\0';
        return bytes_trim(bytes_sub(text, n, text.n));
    }
    return text;
}

void
deliver_discard_run(const struct deliver_transport *transport, struct deliver_task *task, unsigned slot)
{
    struct deliver_outcome outcome;
    char dsn[DSN_MAX] = "2.0.0";
    struct bytes text = split_dsn(task->job->nexthop, dsn);

    (void)transport;
    (void)slot;
    dsn[0] = '2';
    deliver_outcome_set(&outcome, DELIVERY_SENT, dsn, "%.*s",
                        BYTES_FMT(text.n > 0 ? text : BYTES_LIT("discarded")));
    deliver_task_set_all(task, &outcome);
    memcpy(task->relay, "none", 5);
}

void
deliver_error_run(const struct deliver_transport *transport, struct deliver_task *task, unsigned slot)
{
    struct deliver_outcome outcome;
    bool retry = strcmp(transport->name, "retry") == 0;
    char dsn[DSN_MAX] = "5.0.0";
    struct bytes text = split_dsn(task->job->nexthop, dsn);

    (void)slot;
    if (retry) {
        dsn[0] = '4';
    } else if (dsn[0] == '2') {
        dsn[0] = '5';
    }
    if (text.n == 0) {
        text = retry ? BYTES_LIT("delivery temporarily suspended") : BYTES_LIT("undeliverable");
    }
    deliver_outcome_set(&outcome, dsn[0] == '4' ? DELIVERY_DEFERRED : DELIVERY_BOUNCED, dsn, "%.*s",
                        BYTES_FMT(text));
    deliver_task_set_all(task, &outcome);
    memcpy(task->relay, "none", 5);
}

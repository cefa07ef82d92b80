/*
 * relay_task - see the header. Before: relay_worker.c, which got the job; after: relay_delivery.c and
 * relay_transaction.c fill it, relay_worker.c tells the queue.
 *
 * Fails closed: a recipient nobody spoke about is deferred.
 */
#include "relay/relay_task.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

int
relay_task_begin(struct relay_task *task, const struct wire_job *job, int content_fd, struct arena *arena)
{
    size_t count = job->envelope->recipient_count;

    task->job = job;
    task->content_fd = content_fd;
    task->arena = arena;
    task->count = task->pending = count;
    task->recipients = arena_alloc(arena, (count + 1) * sizeof(*task->recipients));
    if (task->recipients == NULL) {
        task->count = task->pending = 0;
        return GW_ERR_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        struct relay_recipient *recipient = &task->recipients[i];

        recipient->pending = true;
        recipient->status = DELIVERY_DEFERRED;
        (void)snprintf(recipient->dsn, sizeof(recipient->dsn), "4.3.0");
        recipient->reply = BYTES_LIT("delivery was not attempted");
    }
    return 0;
}

static void
settle(struct relay_task *task, struct relay_recipient *recipient)
{
    if (recipient->pending) {
        recipient->pending = false;
        task->pending--;
    }
}

/* The task's own copy; a missing text is better than a missing result. */
static struct bytes
keep(struct relay_task *task, struct bytes text)
{
    struct bytes copy = arena_dup(task->arena, text);

    return copy.p != NULL ? copy : bytes_of(NULL, 0);
}

static void
record(struct relay_recipient *recipient, const struct relay_rule *rule, const struct relay_failure *failure,
       struct bytes text, struct bytes host)
{
    recipient->status = rule->status;
    recipient->site = rule->site;
    recipient->accepted = false;
    memcpy(recipient->dsn, failure->dsn, sizeof(recipient->dsn));
    recipient->reply = text;
    recipient->remote_mta = host;
    /* A status and its code must tell the same story to the sender. */
    recipient->dsn[0] = rule->status == DELIVERY_BOUNCED ? '5' : '4';
}

void
relay_task_deliver(struct relay_task *task, size_t index, enum delivery_status status, const char *dsn,
                   struct bytes reply, const char *host)
{
    struct relay_recipient *recipient = &task->recipients[index];

    recipient->status = status;
    recipient->site = false;
    (void)snprintf(recipient->dsn, sizeof(recipient->dsn), "%s", dsn[0] == '2' ? dsn : "2.0.0");
    recipient->reply = keep(task, reply);
    recipient->remote_mta = keep(task, bytes_str(host));
    settle(task, recipient);
}

void
relay_task_fail(struct relay_task *task, size_t index, const struct relay_trouble *trouble, const char *host)
{
    const struct relay_rule *rule = relay_outcome_rule(trouble->scope, trouble->kind);
    struct relay_recipient *recipient = &task->recipients[index];

    record(recipient, rule, &trouble->failure, keep(task, bytes_str(trouble->failure.text)),
           keep(task, bytes_str(host)));
    if (!rule->next_host) {
        settle(task, recipient);
    }
}

static void
fail_several(struct relay_task *task, const struct relay_trouble *trouble, const char *host,
             bool only_accepted)
{
    const struct relay_rule *rule = relay_outcome_rule(trouble->scope, trouble->kind);
    struct bytes text = keep(task, bytes_str(trouble->failure.text));
    struct bytes name = keep(task, bytes_str(host));

    for (size_t i = 0; i < task->count; i++) {
        if (!task->recipients[i].pending || (only_accepted && !task->recipients[i].accepted)) {
            continue;
        }
        record(&task->recipients[i], rule, &trouble->failure, text, name);
        if (!rule->next_host) {
            settle(task, &task->recipients[i]);
        }
    }
}

void
relay_task_fail_accepted(struct relay_task *task, const struct relay_trouble *trouble, const char *host)
{
    fail_several(task, trouble, host, true);
}

void
relay_task_fail_all(struct relay_task *task, const struct relay_trouble *trouble, const char *host)
{
    fail_several(task, trouble, host, false);
}

void
relay_task_settle_all(struct relay_task *task, const struct relay_failure *failure)
{
    struct relay_rule rule = {.status = failure->status, .site = failure->status == DELIVERY_DEFERRED};
    struct bytes text = keep(task, bytes_str(failure->text));

    for (size_t i = 0; i < task->count; i++) {
        if (task->recipients[i].pending) {
            record(&task->recipients[i], &rule, failure, text, bytes_of(NULL, 0));
            settle(task, &task->recipients[i]);
        }
    }
}

bool
relay_task_is_site_down(const struct relay_task *task)
{
    for (size_t i = 0; i < task->count; i++) {
        if (task->recipients[i].status != DELIVERY_DEFERRED || !task->recipients[i].site) {
            return false;
        }
    }
    return task->count > 0;
}

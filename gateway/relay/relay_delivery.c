/*
 * relay_delivery - see the header. Before: relay_worker.c; after: relay_address.c, relay_session.c,
 * relay_transaction.c in this order for each host.
 *
 * A kept connection that turns out dead before it answered costs one new connection and nothing else. Each
 * host of the list is asked for what is still pending; the last failure of a recipient is its result.
 */
#include "relay/relay_delivery.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "relay/relay_transaction.h"

enum { LOOKUP_MS = 60000 };

static void
set_relay(struct relay_delivery *delivery, const char *name)
{
    (void)snprintf(delivery->relay, sizeof(delivery->relay), "%s", name);
}

/* What a person who reads the log wants to know when a host was given up for another. */
static void
log_next_host(const struct relay_settings *settings, const struct relay_task *task,
              const struct relay_trouble *trouble)
{
    if (trouble->scope != RELAY_SCOPE_CONNECT) { /* those have their own line */
        log_info(settings->program, "%s: %s", task->job->envelope->queue_id, trouble->failure.text);
    }
}

/* Over the connection kept from the last job. True: the server answered, so this host had its turn. */
static bool
use_kept(struct relay_delivery *delivery, struct relay_task *task)
{
    struct relay_session *session = &delivery->session;
    int64_t start_us = clock_monotonic_us();

    set_relay(delivery, session->name_port);
    int r = relay_transaction_run(session, task);
    delivery->transfer_us += clock_monotonic_us() - start_us;
    if (r != 0 || session->closing) {
        relay_session_close(session, false);
    }
    return session->answered;
}

/* One host. True when it was reached, which counts against smtp_mx_session_limit. */
static bool
try_host(struct relay_delivery *delivery, const struct relay_settings *settings,
         const struct relay_host *host, struct relay_task *task, bool is_last)
{
    struct relay_session *session = &delivery->session;
    struct relay_trouble trouble;
    int64_t start_us = clock_monotonic_us();

    int r = relay_session_open(session, settings, host, &trouble);
    set_relay(delivery, session->name_port);
    int64_t connected_us = clock_monotonic_us();
    delivery->connect_us += connected_us - start_us;
    if (r != 0) {
        if (trouble.scope == RELAY_SCOPE_CONNECT && is_last && task->count > 0 &&
            delivery->transfer_us == 0) {
            set_relay(delivery, "none"); /* as Postfix logs when no host could be reached */
        }
        if (!is_last) {
            log_next_host(settings, task, &trouble);
        }
        relay_task_fail_all(task, &trouble, host->name);
        return trouble.scope != RELAY_SCOPE_CONNECT;
    }
    r = relay_transaction_run(session, task);
    delivery->transfer_us += clock_monotonic_us() - connected_us;
    if (r != 0 || session->closing) {
        relay_session_close(session, false);
    }
    return true;
}

static void
try_hosts(struct relay_delivery *delivery, const struct relay_settings *settings, struct relay_task *task,
          const struct net_addr *skip)
{
    int64_t sessions = skip != NULL ? 1 : 0;

    for (size_t i = 0; i < delivery->hosts.count && task->pending > 0; i++) {
        const struct relay_host *host = &delivery->hosts.list[i];

        if (i > 0 && host->destination != delivery->hosts.list[i - 1].destination) {
            sessions = 0;
        }
        if (settings->session_limit > 0 && sessions >= settings->session_limit) {
            continue;
        }
        if (skip != NULL && net_addr_equal(&host->addr, skip) && host->addr.port == skip->port) {
            continue; /* the kept connection went there */
        }
        relay_session_close(&delivery->session, true);
        if (try_host(delivery, settings, host, task, i + 1 == delivery->hosts.count)) {
            sessions++;
        }
    }
}

/* Those nobody took keep the last failure they met. */
static void
settle_rest(struct relay_task *task)
{
    for (size_t i = 0; i < task->count; i++) {
        task->recipients[i].pending = false;
    }
    task->pending = 0;
}

void
relay_delivery_run(struct relay_delivery *delivery, const struct relay_settings *settings,
                   struct relay_task *task)
{
    struct relay_session *session = &delivery->session;
    struct bytes nexthop = task->job->nexthop;
    struct relay_failure failure;
    struct net_addr tried = {0};
    bool has_tried = false;

    delivery->connect_us = delivery->transfer_us = 0;
    set_relay(delivery, "none");
    session->queue_id = task->job->envelope->queue_id;
    if (nexthop.n >= sizeof(session->key)) {
        failure = (struct relay_failure){DELIVERY_BOUNCED, "5.4.4", "next hop is too long"};
        relay_task_settle_all(task, &failure);
        return;
    }
    if (relay_session_serves(session, settings, nexthop, clock_monotonic_ms())) {
        tried = session->host.addr;
        has_tried = use_kept(delivery, task);
        if (!has_tried) { /* it was dead: nothing was transferred, and nobody reached yet */
            delivery->connect_us = delivery->transfer_us;
            delivery->transfer_us = 0;
        }
    }
    if (task->pending == 0) {
        return;
    }
    relay_session_close(session, true);
    memcpy(session->key, nexthop.p, nexthop.n);
    session->key[nexthop.n] = '\0';
    delivery->lookup.rules = &settings->address;
    delivery->lookup.deadline_ms = clock_monotonic_ms() + LOOKUP_MS;
    int64_t start_us = clock_monotonic_us();
    int r = relay_address_find(&delivery->lookup, nexthop, &delivery->hosts, &failure);
    delivery->connect_us += clock_monotonic_us() - start_us;
    if (r == 0) {
        try_hosts(delivery, settings, task, has_tried ? &tried : NULL);
    } else if (!has_tried) {
        relay_task_settle_all(task, &failure);
    }
    settle_rest(task);
}

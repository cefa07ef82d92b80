/*
 * queue_active - what comes into memory, and how its recipients become jobs.
 *
 * Before: queue_commit.c (new mail), the waiting list (mail whose time has come). After: queue_schedule.c
 * holds the jobs, queue_worker.c gives them out; queue_finish.c when nothing is left to try. Recipients are
 * routed in portions, so a message with 50,000 of them does not stop the loop. What cannot be routed now is
 * deferred, never lost.
 */
#include "queue/queue_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

enum {
    LOADS_PER_TURN = 64,
    WAKE_MAX_MS = 60000, /* the wall clock may be set: look again at least this often */
    LOAD_RETRY_S = 60,
};

/* A recipient with its way, before equal ways are put together. */
struct way {
    struct queue_transport *transport;
    const char *nexthop, *key;
    uint16_t number;
};

static void
defer_recipient(struct queue *queue, struct queue_message *message, uint16_t number, const char *dsn,
                const char *text)
{
    static const struct queue_delivery NO_WORKER = {.program = "error", .relay = "none"};

    queue_message_outcome(message, number, QUEUE_DEFERRED, dsn, bytes_str(text), (struct bytes){0});
    queue_log_delivery(queue, message, number, dsn, "deferred", bytes_str(text), &NO_WORKER);
    queue_log_evidence(queue, message, number, "none", "deferred", bytes_str(text));
    queue_commit_dirty(queue, message);
}

static const char *
domain_of(struct arena *arena, struct bytes address)
{
    ptrdiff_t at = bytes_rindex(address, '@');

    return arena_strdup(arena, at >= 0 ? bytes_sub(address, (size_t)at + 1, address.n) : (struct bytes){0});
}

/* content_filter, FILTER: "transport:nexthop"; without a next hop it is the recipient's domain. */
static int
split_filter(struct arena *arena, struct bytes filter, struct bytes recipient, const char **transport_r,
             const char **nexthop_r)
{
    ptrdiff_t colon = bytes_index(filter, ':');
    struct bytes name = colon >= 0 ? bytes_sub(filter, 0, (size_t)colon) : filter;
    struct bytes nexthop = colon >= 0 ? bytes_sub(filter, (size_t)colon + 1, filter.n) : (struct bytes){0};

    *transport_r = arena_strdup(arena, name);
    *nexthop_r = nexthop.n > 0 ? arena_strdup(arena, nexthop) : domain_of(arena, recipient);
    return *transport_r != NULL && *nexthop_r != NULL ? 0 : GW_ERR_NOMEM;
}

/* Transport and next hop of one recipient. GW_ERR_TEMP: a table cannot be read. */
static int
find_names(struct queue *queue, const struct envelope *envelope, struct bytes recipient,
           const char **transport_r, const char **nexthop_r)
{
    struct route route = {0};

    if (envelope->content_filter.n > 0) {
        return split_filter(queue->scratch, envelope->content_filter, recipient, transport_r, nexthop_r);
    }
    int r = router_route(queue->router, envelope->sender, recipient, &route);
    if (r != 0) {
        return r;
    }
    *transport_r = arena_strdup(queue->scratch, bytes_str(route.transport));
    *nexthop_r = arena_strdup(queue->scratch, bytes_str(route.nexthop));
    return *transport_r != NULL && *nexthop_r != NULL ? 0 : GW_ERR_NOMEM;
}

/* A master.cf from before Postfix 2.0 has no row "relay", which relay_transport names when nobody sets it:
 * such mail went by smtp then. */
static struct queue_transport *
find_transport(struct queue *queue, const char *name)
{
    struct queue_transport *transport = queue_schedule_transport(queue->schedule, name);

    return transport == NULL && strcmp(name, "relay") == 0 ? queue_schedule_transport(queue->schedule, "smtp")
                                                           : transport;
}

/* False: the recipient was deferred. */
static bool
find_way(struct queue *queue, struct queue_message *message, uint16_t number, struct way *way_r)
{
    struct bytes recipient = message->envelope->recipients[number].address;
    const char *transport = "", *nexthop = "";
    int r = find_names(queue, message->envelope, recipient, &transport, &nexthop);

    if (r != 0) {
        defer_recipient(queue, message, number, "4.3.0",
                        "address resolver problem: a lookup table is unavailable");
        return false;
    }
    *way_r = (struct way){.nexthop = nexthop, .key = nexthop, .number = number};
    way_r->transport = find_transport(queue, transport);
    if (way_r->transport == NULL) {
        log_warning("qmgr", "%s: transport %s is not in master.cf", message->envelope->queue_id, transport);
        defer_recipient(queue, message, number, "4.3.0", "mail transport unavailable");
        return false;
    }
    if (queue_transport_limits(way_r->transport)->recipients == 1) {
        way_r->key = arena_strdup(queue->scratch, bytes_sub(recipient, 0, QUEUE_NEXTHOP_MAX - 1));
        if (way_r->key == NULL) {
            defer_recipient(queue, message, number, "4.3.0", "out of memory");
            return false;
        }
    }
    return true;
}

static int
compare_ways(const void *left, const void *right)
{
    const struct way *a = left, *b = right;

    if (a->transport != b->transport) {
        return strcmp(queue_transport_name(a->transport), queue_transport_name(b->transport));
    }
    int order = strcmp(a->key, b->key);
    return order != 0 ? order : (int)a->number - (int)b->number;
}

static bool
is_same_way(const struct way *a, const struct way *b)
{
    return a->transport == b->transport && strcmp(a->key, b->key) == 0;
}

/* One job of `count` recipients with the same way. */
static void
add_job(struct queue *queue, struct queue_message *message, const struct way *ways, size_t count)
{
    uint16_t numbers[QUEUE_ACTIVATE_RECIPIENTS];
    char text[QUEUE_REASON_MAX + 64];
    struct queue_entry *entry;
    const char *reason;

    for (size_t i = 0; i < count; i++) {
        numbers[i] = ways[i].number;
    }
    int r = queue_schedule_add(queue->schedule, ways[0].transport, ways[0].nexthop, ways[0].key, message,
                               numbers, count, clock_monotonic_ms(), &entry, &reason);
    if (r == 0) {
        queue_message_link(message, entry);
        return;
    }
    (void)snprintf(text, sizeof(text), "%s%s",
                   r == GW_ERR_TEMP ? "delivery temporarily suspended: " : "out of memory", reason);
    for (size_t i = 0; i < count; i++) {
        defer_recipient(queue, message, numbers[i], r == GW_ERR_TEMP ? "4.4.1" : "4.3.0", text);
    }
}

static void
add_jobs(struct queue *queue, struct queue_message *message, struct way *ways, size_t count)
{
    if (count > 1) {
        qsort(ways, count, sizeof(ways[0]), compare_ways);
    }
    for (size_t i = 0; i < count;) {
        int limit = queue_transport_limits(ways[i].transport)->recipients;
        size_t n = 1;

        while (i + n < count && (limit == 0 || n < (size_t)limit) && is_same_way(&ways[i], &ways[i + n])) {
            n++;
        }
        add_job(queue, message, &ways[i], n);
        i += n;
    }
}

static void
route_portion(struct queue *queue, struct queue_message *message)
{
    struct way ways[QUEUE_ACTIVATE_RECIPIENTS];
    size_t count = 0;

    arena_reset(queue->scratch);
    while (message->unrouted < message->envelope->recipient_count && count < QUEUE_ACTIVATE_RECIPIENTS) {
        uint16_t number = (uint16_t)message->unrouted++;
        uint8_t status = message->recipients[number].status;

        if ((status == QUEUE_PENDING || status == QUEUE_DEFERRED) &&
            find_way(queue, message, number, &ways[count])) {
            count++;
        }
    }
    add_jobs(queue, message, ways, count);
}

void
queue_active_continue(struct queue *queue, struct queue_message *message)
{
    while (message->entries == NULL && !message->is_deleted && !message->hold_asked &&
           message->unrouted < message->envelope->recipient_count) {
        route_portion(queue, message);
    }
    if (message->entries == NULL) {
        queue_finish_attempt(queue, message);
    }
}

void
queue_active_start(struct queue *queue, struct queue_message *message)
{
    queue_message_enter(queue, message);
    queue_log_active(queue, message);
    queue_active_continue(queue, message);
}

int
queue_active_wait(struct queue *queue, const char *id, int64_t next_us)
{
    int r = queue_waiting_add(&queue->waiting, id, next_us);

    if (r != 0) {
        /* On disk but in no list: a restart finds it again. */
        log_fatal("qmgr", "%s: out of memory for the list of waiting messages", id);
    }
    return r;
}

/* The entry is a hint: only what the store says counts. */
static void
load_due(struct queue *queue, const struct queue_waiting_entry *entry)
{
    struct queue_message *message;

    if (queue_message_find(queue, entry->id) != NULL) {
        return;
    }
    int r = queue_message_load(queue, entry->id, &message);
    if (r == GW_ERR_NOTFOUND) {
        return; /* deleted meanwhile */
    }
    if (r == GW_ERR_SYNTAX) {
        log_error("qmgr", "%s: the stored message cannot be read; it is kept and not delivered", entry->id);
        return;
    }
    if (r != 0) {
        log_warning("qmgr", "%s: cannot load the message: %s", entry->id, gw_strerror(r));
        (void)queue_active_wait(queue, entry->id, clock_wall_us() + (int64_t)LOAD_RETRY_S * 1000000);
        return;
    }
    /* 0 is an order to try now; another time is only worth what the status row says by now. */
    bool is_stale = entry->next_us != 0 && message->status.next_us > clock_wall_us();
    if (is_stale || (message->status.flags & QUEUE_HELD) != 0) {
        queue_message_free(queue, &message);
        return;
    }
    queue_active_start(queue, message);
}

static void
wake_up(void *context)
{
    ((struct queue *)context)->wake = NULL; /* the turn's end does the work */
}

void
queue_active_wake(struct queue *queue)
{
    const struct queue_waiting_entry *first;
    int64_t now_us = 0;
    int loads = 0;

    if (queue->waiting.count == 0 || queue->is_draining ||
        queue->active_count >= queue->settings.active_limit) {
        return;
    }
    now_us = clock_wall_us();
    while ((first = queue_waiting_first(&queue->waiting)) != NULL && first->next_us <= now_us &&
           queue->active_count < queue->settings.active_limit && loads++ < LOADS_PER_TURN) {
        struct queue_waiting_entry entry;

        queue_waiting_take(&queue->waiting, &entry);
        load_due(queue, &entry);
    }
    if (first == NULL) {
        return;
    }
    int64_t pause_ms = first->next_us <= now_us ? 0 : (first->next_us - now_us) / 1000 + 1;
    int64_t at_ms = clock_monotonic_ms() + (pause_ms < WAKE_MAX_MS ? pause_ms : WAKE_MAX_MS);
    if (queue->wake == NULL) {
        queue->wake = loop_timer_add(queue->loop, at_ms, wake_up, queue);
    } else {
        loop_timer_move(queue->loop, queue->wake, at_ms);
    }
}

/*
 * queue_schedule - see the header. Before: queue_active.c adds jobs; after: queue_worker.c takes them.
 *
 * Each transport keeps a ring of the destinations that may start a delivery now (they have something waiting,
 * room in their window, and are not dead). Taking a job moves its destination to the tail: round robin. Every
 * change that may put a destination in or out of the ring ends in settle(), the one place that decides it, so
 * taking is O(transports) however many destinations are blocked.
 */
#include "queue/queue_schedule.h"

#include <stdlib.h>
#include <string.h>
#include <stdio.h>

#include "base/error.h"

enum { BUCKETS = 4096, TRANSPORTS_MAX = 512 };

struct queue_destination {
    struct queue_destination *ring_next, *ring_previous;
    struct queue_destination *chain;     /* hash */
    struct queue_destination *dead_next; /* just declared dead, still with entries */
    struct queue_transport *transport;
    struct queue_entry *first, *last;
    size_t waiting;
    int window, busy;
    double success, failure, cohorts;
    bool in_ring, is_dead, in_dead_list;
    int64_t dead_until_ms, idle_since_ms;
    char *reason; /* of being dead */
    char *nexthop;
    char *key;
};

struct queue_transport {
    char name[QUEUE_TRANSPORT_MAX];
    char program[QUEUE_TRANSPORT_MAX];
    enum role role;
    struct queue_limits limits;
    int busy;
    struct queue_destination *ring; /* the head is next; NULL when nothing may start */
};

struct queue_schedule {
    struct queue_transport *transports[TRANSPORTS_MAX];
    size_t transport_count;
    size_t turn; /* transports take turns too */
    struct queue_destination *buckets[BUCKETS];
    struct queue_destination *dead; /* with entries the caller must take */
    size_t waiting;
};

struct queue_schedule *
queue_schedule_new(void)
{
    return calloc(1, sizeof(struct queue_schedule));
}

static void
free_destination(struct queue_destination *destination)
{
    while (destination->first != NULL) {
        struct queue_entry *next = destination->first->next;

        free(destination->first);
        destination->first = next;
    }
    free(destination->reason);
    free(destination->nexthop);
    free(destination->key);
    free(destination);
}

void
queue_schedule_free(struct queue_schedule **schedule)
{
    if (*schedule == NULL) {
        return;
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        while ((*schedule)->buckets[i] != NULL) {
            struct queue_destination *next = (*schedule)->buckets[i]->chain;

            free_destination((*schedule)->buckets[i]);
            (*schedule)->buckets[i] = next;
        }
    }
    for (size_t i = 0; i < (*schedule)->transport_count; i++) {
        free((*schedule)->transports[i]);
    }
    free(*schedule);
    *schedule = NULL;
}

int
queue_schedule_add_transport(struct queue_schedule *schedule, const char *name, enum role role,
                             const char *program, const struct queue_limits *limits)
{
    if (schedule->transport_count >= TRANSPORTS_MAX || strlen(name) >= QUEUE_TRANSPORT_MAX ||
        strlen(program) >= QUEUE_TRANSPORT_MAX) {
        return GW_ERR_LIMIT;
    }
    struct queue_transport *transport = calloc(1, sizeof(*transport));
    if (transport == NULL) {
        return GW_ERR_NOMEM;
    }
    (void)snprintf(transport->name, sizeof(transport->name), "%s", name);
    (void)snprintf(transport->program, sizeof(transport->program), "%s", program);
    transport->role = role;
    transport->limits = *limits;
    schedule->transports[schedule->transport_count++] = transport;
    return 0;
}

struct queue_transport *
queue_schedule_transport(struct queue_schedule *schedule, const char *name)
{
    for (size_t i = 0; i < schedule->transport_count; i++) {
        if (strcmp(schedule->transports[i]->name, name) == 0) {
            return schedule->transports[i];
        }
    }
    return NULL;
}

const struct queue_limits *
queue_transport_limits(const struct queue_transport *transport)
{
    return &transport->limits;
}

const char *
queue_transport_name(const struct queue_transport *transport)
{
    return transport->name;
}

const char *
queue_transport_program(const struct queue_transport *transport)
{
    return transport->program;
}

enum role
queue_transport_role(const struct queue_transport *transport)
{
    return transport->role;
}

const char *
queue_destination_nexthop(const struct queue_destination *destination)
{
    return destination->nexthop;
}

struct queue_transport *
queue_destination_transport(const struct queue_destination *destination)
{
    return destination->transport;
}

static size_t
bucket_of(const struct queue_transport *transport, const char *key)
{
    uint64_t hash = 14695981039346656037ULL ^ (uint64_t)(uintptr_t)transport; /* FNV-1a */

    for (; *key != '\0'; key++) {
        hash = (hash ^ (uint8_t)*key) * 1099511628211ULL;
    }
    return (size_t)(hash % BUCKETS);
}

static struct queue_destination *
find_destination(struct queue_schedule *schedule, const struct queue_transport *transport, const char *key)
{
    struct queue_destination *destination = schedule->buckets[bucket_of(transport, key)];

    while (destination != NULL &&
           (destination->transport != transport || strcmp(destination->key, key) != 0)) {
        destination = destination->chain;
    }
    return destination;
}

static int
first_window(const struct queue_limits *limits)
{
    int window = limits->initial_concurrency > 0 ? limits->initial_concurrency : 1;

    return limits->concurrency > 0 && window > limits->concurrency ? limits->concurrency : window;
}

static struct queue_destination *
add_destination(struct queue_schedule *schedule, struct queue_transport *transport, const char *nexthop,
                const char *key)
{
    struct queue_destination *destination = calloc(1, sizeof(*destination));

    if (destination == NULL) {
        return NULL;
    }
    destination->nexthop = strdup(nexthop);
    destination->key = strdup(key);
    if (destination->nexthop == NULL || destination->key == NULL) {
        free_destination(destination);
        return NULL;
    }
    destination->transport = transport;
    destination->window =
        transport->limits.initial_concurrency > 0 ? transport->limits.initial_concurrency : 1;
    if (transport->limits.concurrency > 0 && destination->window > transport->limits.concurrency) {
        destination->window = transport->limits.concurrency;
    }
    struct queue_destination **bucket = &schedule->buckets[bucket_of(transport, key)];
    destination->chain = *bucket;
    *bucket = destination;
    return destination;
}

static void
leave_ring(struct queue_destination *destination)
{
    struct queue_transport *transport = destination->transport;

    if (destination->ring_next == destination) {
        transport->ring = NULL;
    } else {
        destination->ring_next->ring_previous = destination->ring_previous;
        destination->ring_previous->ring_next = destination->ring_next;
        if (transport->ring == destination) {
            transport->ring = destination->ring_next;
        }
    }
    destination->in_ring = false;
}

/* At the tail, which is just before the head. */
static void
enter_ring(struct queue_destination *destination)
{
    struct queue_destination *head = destination->transport->ring;

    if (head == NULL) {
        destination->ring_next = destination->ring_previous = destination;
        destination->transport->ring = destination;
    } else {
        destination->ring_next = head;
        destination->ring_previous = head->ring_previous;
        head->ring_previous->ring_next = destination;
        head->ring_previous = destination;
    }
    destination->in_ring = true;
}

/* The one place that decides whether a destination may start something. */
static void
settle(struct queue_destination *destination)
{
    bool wants =
        destination->first != NULL && destination->busy < destination->window && !destination->is_dead;

    if (wants && !destination->in_ring) {
        enter_ring(destination);
    } else if (!wants && destination->in_ring) {
        leave_ring(destination);
    }
}

static void
link_entry(struct queue_schedule *schedule, struct queue_entry *entry, bool at_head)
{
    struct queue_destination *destination = entry->destination;

    entry->is_taken = false;
    entry->next = at_head ? destination->first : NULL;
    entry->previous = at_head ? NULL : destination->last;
    *(entry->previous != NULL ? &entry->previous->next : &destination->first) = entry;
    *(entry->next != NULL ? &entry->next->previous : &destination->last) = entry;
    destination->waiting++;
    schedule->waiting++;
}

static void
unlink_entry(struct queue_schedule *schedule, struct queue_entry *entry)
{
    struct queue_destination *destination = entry->destination;

    *(entry->previous != NULL ? &entry->previous->next : &destination->first) = entry->next;
    *(entry->next != NULL ? &entry->next->previous : &destination->last) = entry->previous;
    entry->next = entry->previous = NULL;
    destination->waiting--;
    schedule->waiting--;
}

/* Its waiting entries are for the caller to take: queue_schedule_take_dead(). */
static void
list_dead(struct queue_schedule *schedule, struct queue_destination *destination)
{
    if (!destination->in_dead_list && destination->first != NULL) {
        destination->dead_next = schedule->dead;
        schedule->dead = destination;
        destination->in_dead_list = true;
    }
}

static void
revive(struct queue_destination *destination)
{
    destination->is_dead = false;
    destination->window = first_window(&destination->transport->limits);
    destination->success = destination->failure = destination->cohorts = 0;
    settle(destination);
}

int
queue_schedule_add(struct queue_schedule *schedule, struct queue_transport *transport, const char *nexthop,
                   const char *key, void *message, const uint16_t *numbers, size_t count, int64_t now_ms,
                   struct queue_entry **entry_r, const char **reason_r)
{
    struct queue_destination *destination = find_destination(schedule, transport, key);

    *entry_r = NULL;
    *reason_r = "";
    if (destination == NULL && (destination = add_destination(schedule, transport, nexthop, key)) == NULL) {
        return GW_ERR_NOMEM;
    }
    if (destination->is_dead && now_ms >= destination->dead_until_ms) {
        revive(destination);
    }
    if (destination->is_dead) {
        *reason_r = destination->reason != NULL ? destination->reason : "";
        return GW_ERR_TEMP;
    }
    struct queue_entry *entry = malloc(sizeof(*entry) + count * sizeof(entry->numbers[0]));
    if (entry == NULL) {
        return GW_ERR_NOMEM;
    }
    *entry = (struct queue_entry){.destination = destination, .message = message, .count = count};
    memcpy(entry->numbers, numbers, count * sizeof(entry->numbers[0]));
    link_entry(schedule, entry, false);
    settle(destination);
    *entry_r = entry;
    return 0;
}

static bool
has_process(const struct queue_transport *transport)
{
    return transport->limits.processes == 0 || transport->busy < transport->limits.processes;
}

static struct queue_entry *
take_from(struct queue_schedule *schedule, struct queue_destination *destination)
{
    struct queue_entry *entry = destination->first;

    unlink_entry(schedule, entry);
    entry->is_taken = true;
    destination->busy++;
    destination->transport->busy++;
    /* To the tail, if it may start more. */
    leave_ring(destination);
    settle(destination);
    return entry;
}

struct queue_entry *
queue_schedule_take(struct queue_schedule *schedule, enum role role)
{
    for (size_t i = 0; i < schedule->transport_count; i++) {
        struct queue_transport *transport =
            schedule->transports[(schedule->turn + i) % schedule->transport_count];

        if (transport->role == role && transport->ring != NULL && has_process(transport)) {
            schedule->turn = (schedule->turn + i + 1) % schedule->transport_count;
            return take_from(schedule, transport->ring);
        }
    }
    return NULL;
}

struct queue_entry *
queue_schedule_take_for(struct queue_schedule *schedule, const char *transport_name, const char *nexthop)
{
    struct queue_transport *transport = queue_schedule_transport(schedule, transport_name);

    if (transport == NULL || !has_process(transport)) {
        return NULL;
    }
    struct queue_destination *destination = find_destination(schedule, transport, nexthop);
    return destination != NULL && destination->in_ring ? take_from(schedule, destination) : NULL;
}

bool
queue_schedule_is_ready(const struct queue_schedule *schedule, enum role role)
{
    for (size_t i = 0; i < schedule->transport_count; i++) {
        const struct queue_transport *transport = schedule->transports[i];

        if (transport->role == role && transport->ring != NULL && has_process(transport)) {
            return true;
        }
    }
    return false;
}

/* Whole steps of the sum move the window; the rest is kept for the next time (hysteresis of 1, as Postfix).
 */
static void
learn_success(struct queue_destination *destination)
{
    const struct queue_limits *limits = &destination->transport->limits;
    int initial = limits->initial_concurrency > 0 ? limits->initial_concurrency : 1;

    destination->failure = destination->cohorts = 0;
    if ((limits->concurrency > 0 && destination->window >= limits->concurrency) ||
        destination->window >= destination->busy + initial) {
        return; /* full, or not even used: an idle destination's window must not grow */
    }
    destination->success += queue_feedback_of(&limits->positive, destination->window);
    while (destination->success >= 1.0 - 1e-9) {
        destination->window++;
        destination->success -= 1.0;
    }
    if (limits->concurrency > 0 && destination->window > limits->concurrency) {
        destination->window = limits->concurrency;
    }
}

/* True when the destination is dead now. */
static bool
learn_failure(struct queue_schedule *schedule, struct queue_destination *destination, const char *reason,
              int64_t now_ms)
{
    const struct queue_limits *limits = &destination->transport->limits;

    destination->success = 0;
    destination->cohorts += 1.0 / (destination->window > 0 ? destination->window : 1);
    destination->failure -= queue_feedback_of(&limits->negative, destination->window);
    while (destination->failure <= -1.0 + 1e-9 && destination->window > 0) {
        destination->window--;
        destination->failure += 1.0;
    }
    if (destination->window < 1) {
        destination->window = 1;
    }
    if (limits->failed_cohorts <= 0 || destination->cohorts < limits->failed_cohorts - 1e-9) {
        return false;
    }
    destination->is_dead = true;
    destination->dead_until_ms = now_ms + limits->dead_ms;
    free(destination->reason);
    destination->reason = strndup(reason, QUEUE_REASON_MAX);
    list_dead(schedule, destination);
    return true;
}

static void
release(struct queue_destination *destination, int64_t now_ms)
{
    destination->busy--;
    destination->transport->busy--;
    destination->idle_since_ms = now_ms;
}

bool
queue_schedule_done(struct queue_schedule *schedule, struct queue_entry **entry, enum queue_result result,
                    const char *reason, int64_t now_ms)
{
    struct queue_destination *destination = (*entry)->destination;
    bool died = false;

    /* The window is compared with what was busy including this one, so learn before the release. */
    if (result == QUEUE_RESULT_REACHED) {
        if (destination->is_dead) {
            revive(destination); /* a straggler got through */
        }
        learn_success(destination);
    } else if (result == QUEUE_RESULT_SITE_DOWN && !destination->is_dead) {
        died = learn_failure(schedule, destination, reason, now_ms);
    }
    release(destination, now_ms);
    free(*entry);
    *entry = NULL;
    settle(destination);
    return died;
}

struct queue_entry *
queue_schedule_take_dead(struct queue_schedule *schedule, const char **reason_r)
{
    *reason_r = "";
    while (schedule->dead != NULL) {
        struct queue_destination *destination = schedule->dead;

        if (destination->is_dead && destination->first != NULL) {
            struct queue_entry *entry = destination->first;

            unlink_entry(schedule, entry);
            entry->is_taken = true;
            destination->busy++; /* until queue_schedule_drop() */
            destination->transport->busy++;
            *reason_r = destination->reason != NULL ? destination->reason : "";
            return entry;
        }
        schedule->dead = destination->dead_next;
        destination->in_dead_list = false;
        destination->dead_next = NULL;
    }
    return NULL;
}

void
queue_schedule_return(struct queue_schedule *schedule, struct queue_entry *entry)
{
    entry->destination->busy--;
    entry->destination->transport->busy--;
    link_entry(schedule, entry, true);
    if (entry->destination->is_dead) {
        list_dead(schedule, entry->destination);
    }
    settle(entry->destination);
}

void
queue_schedule_drop(struct queue_schedule *schedule, struct queue_entry **entry)
{
    struct queue_destination *destination = (*entry)->destination;

    if ((*entry)->is_taken) {
        destination->busy--;
        destination->transport->busy--;
    } else {
        unlink_entry(schedule, *entry);
    }
    free(*entry);
    *entry = NULL;
    settle(destination);
}

void
queue_schedule_sweep(struct queue_schedule *schedule, int64_t now_ms, int64_t idle_ms, bool flush)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        struct queue_destination **link = &schedule->buckets[i];

        while (*link != NULL) {
            struct queue_destination *destination = *link;

            if (destination->is_dead && (flush || now_ms >= destination->dead_until_ms)) {
                revive(destination);
            }
            bool idle = destination->busy == 0 && destination->first == NULL && !destination->is_dead &&
                        !destination->in_dead_list && now_ms - destination->idle_since_ms >= idle_ms;
            if (idle) {
                *link = destination->chain;
                free_destination(destination);
            } else {
                link = &destination->chain;
            }
        }
    }
}

size_t
queue_schedule_waiting(const struct queue_schedule *schedule)
{
    return schedule->waiting;
}

int
queue_schedule_window(const struct queue_destination *destination)
{
    return destination->window;
}

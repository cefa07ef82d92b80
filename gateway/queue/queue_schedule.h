/*
 * queue_schedule - which job is next: transports, destinations, concurrency, feedback.
 *
 * Pure: no descriptors, no store, time comes in as monotonic milliseconds. A job is some recipients of one
 * message that go to one destination (transport and next hop). Destinations of a transport take turns; each
 * has a window of deliveries at a time that opens with success and closes with failure, as Postfix's
 * SCHEDULER_README describes; a destination that could not be reached at all for a whole window's worth of
 * attempts is dead for a while.
 */
#ifndef QUEUE_QUEUE_SCHEDULE_H
#define QUEUE_QUEUE_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/role.h"
#include "queue/queue_feedback.h"

enum {
    QUEUE_TRANSPORT_MAX = 64,
    QUEUE_NEXTHOP_MAX = 1100, /* a next hop, or an address where each recipient is a destination */
    QUEUE_REASON_MAX = 512,
};

struct queue_limits {
    int initial_concurrency; /* initial_destination_concurrency */
    int concurrency;         /* destination_concurrency_limit; 0: none */
    int recipients; /* destination_recipient_limit per job; 0: none; 1: each recipient is a destination */
    int processes;  /* maxproc of master.cf; 0: none */
    double failed_cohorts; /* destination_concurrency_failed_cohort_limit; 0: never dead */
    struct queue_feedback positive, negative;
    int64_t dead_ms; /* minimal_backoff_time */
};

struct queue_transport;
struct queue_destination;

/* Owned by the schedule while it waits, by the caller between queue_schedule_take() and _done(). */
struct queue_entry {
    struct queue_entry *next, *previous; /* of its destination; private while it waits */
    struct queue_destination *destination;
    void *message;
    struct queue_entry *sibling, **sibling_link; /* the caller's list of a message's entries */
    unsigned losses;                             /* workers that died with it */
    bool is_taken;
    size_t count;
    uint16_t numbers[]; /* recipients */
};

struct queue_schedule;

struct queue_schedule *queue_schedule_new(void);            /* NULL: out of memory */
void queue_schedule_free(struct queue_schedule **schedule); /* with all that waits */

/* `role` is who serves the transport, `program` the name its log lines carry. GW_ERR_NOMEM, GW_ERR_LIMIT
 * (name). */
int queue_schedule_add_transport(struct queue_schedule *schedule, const char *name, enum role role,
                                 const char *program, const struct queue_limits *limits);
struct queue_transport *queue_schedule_transport(struct queue_schedule *schedule,
                                                 const char *name); /* or NULL */
const struct queue_limits *queue_transport_limits(const struct queue_transport *transport);
const char *queue_transport_name(const struct queue_transport *transport);
const char *queue_transport_program(const struct queue_transport *transport);
enum role queue_transport_role(const struct queue_transport *transport);
const char *queue_destination_nexthop(const struct queue_destination *destination);
struct queue_transport *queue_destination_transport(const struct queue_destination *destination);

/* `key` tells destinations apart: the next hop, or the recipient where limits->recipients is 1.
 * GW_ERR_TEMP: the destination is dead; *reason_r says why (valid until the next call). GW_ERR_NOMEM. */
int queue_schedule_add(struct queue_schedule *schedule, struct queue_transport *transport,
                       const char *nexthop, const char *key, void *message, const uint16_t *numbers,
                       size_t count, int64_t now_ms, struct queue_entry **entry_r, const char **reason_r);
/* The next job for a worker of that role; NULL when none may start now. */
struct queue_entry *queue_schedule_take(struct queue_schedule *schedule, enum role role);
/* The next job for exactly this destination, for a worker that holds a connection to it; NULL likewise. */
struct queue_entry *queue_schedule_take_for(struct queue_schedule *schedule, const char *transport,
                                            const char *nexthop);
/* Something may start for this role. */
bool queue_schedule_is_ready(const struct queue_schedule *schedule, enum role role);

enum queue_result {
    QUEUE_RESULT_REACHED,   /* whatever the answer was: the destination is alive */
    QUEUE_RESULT_SITE_DOWN, /* it could not be reached, or refused the whole session */
    QUEUE_RESULT_UNKNOWN,   /* the worker died: says nothing about the destination */
};
/* A taken job ended; frees it. True: the destination has just been declared dead, and the caller defers what
 * waits for it: entries from queue_schedule_take_dead() until NULL. */
bool queue_schedule_done(struct queue_schedule *schedule, struct queue_entry **entry,
                         enum queue_result result, const char *reason, int64_t now_ms);
/* A waiting entry of a dead destination, unlinked, to be given to queue_schedule_drop(). */
struct queue_entry *queue_schedule_take_dead(struct queue_schedule *schedule, const char **reason_r);
/* A taken job goes back to the head of its destination (its worker died). */
void queue_schedule_return(struct queue_schedule *schedule, struct queue_entry *entry);
/* Takes a waiting entry out and frees it (the operator deleted the message); also for entries of
 * _take_dead(). */
void queue_schedule_drop(struct queue_schedule *schedule, struct queue_entry **entry);
/* Forgets what was learned of destinations that have had nothing to do for idle_ms. Dead ones whose time is
 * over are tried again. `flush`: dead ones live at once. Call every few seconds. */
void queue_schedule_sweep(struct queue_schedule *schedule, int64_t now_ms, int64_t idle_ms, bool flush);

size_t queue_schedule_waiting(const struct queue_schedule *schedule);
int queue_schedule_window(const struct queue_destination *destination); /* for tests and the status command */

#endif

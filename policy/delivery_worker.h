/*
 * delivery_worker - one thread of a role that delivers (relay, deliver): its channel to the queue and its
 * evidence to policy. What a delivery is, the role says in a struct delivery_role.
 */
#ifndef POLICY_DELIVERY_WORKER_H
#define POLICY_DELIVERY_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/ipc.h"
#include "message/wire.h"
#include "policy/evidence.h"

struct delivery_worker;

/* What a role does with a job; one constant row per role. */
struct delivery_role {
    enum role role;
    const char *program; /* in log lines: "smtp", "deliver" */
    /* What one thread keeps from job to job (worker->state). NULL: out of memory. */
    void *(*begin)(void *context, uint16_t slot);
    void (*end)(void *state);
    /* Performs one job and tells the queue with delivery_worker_send_result() under the same id; the job and
     * content_fd stay the caller's. Not 0: the channel to the queue is given up. */
    int (*perform)(struct delivery_worker *worker, uint64_t id, const struct wire_job *job, int content_fd);
    /* Until when to wait for a job (absolute, base/clock.h), and what to do when none came. Both NULL: for
     * ever. */
    int64_t (*wait_until)(const void *state);
    void (*wait_over)(void *state);
};

/* What all threads share. Zeros, role, context and an initialised evidence_lock start it. */
struct delivery_shared {
    const struct delivery_role *role;
    void *context; /* the role's own, immutable while threads run */
    atomic_bool draining;
    atomic_int threads; /* alive: counted up before a thread starts, down as its last act */
    pthread_mutex_t evidence_lock;
    struct ipc_channel *policy; /* guarded by evidence_lock; NULL while policy is away */
    int64_t policy_retry_ms;
    uint64_t evidence_dropped;
};

/* A thread. The owner sets shared, slot, lock and queue_fd -1, zeros elsewhere. */
struct delivery_worker {
    struct delivery_shared *shared;
    uint16_t slot;
    pthread_mutex_t lock;
    int queue_fd; /* ends the wait when the role drains; -1: not connected; guarded by lock */
    /* The thread's alone: */
    struct ipc_channel *queue;
    struct buf packed;
    void *state; /* of role->begin */
};

/* The thread's function; context is a struct delivery_worker. Returns when the role drains. */
void *delivery_worker_run(void *context);
/* From another thread: wakes the worker from its wait for the queue; a delivery under way is not disturbed.
 */
void delivery_worker_interrupt(struct delivery_worker *worker);

/* For perform(): WIRE_RESULT. Errors of wire_result_pack() and ipc_send(). */
int delivery_worker_send_result(struct delivery_worker *worker, uint64_t id,
                                const struct wire_result *result);
/* Gives the record to policy without ever waiting; one that does not fit is counted. The record stays the
 * caller's. */
void delivery_worker_send_evidence(struct delivery_worker *worker, const struct evidence *evidence);
/* The word for EV_DELIVERY: "deferred", "sent" ... */
const char *delivery_worker_status_name(enum delivery_status status);

#endif

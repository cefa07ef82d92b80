/*
 * deliver_worker - one thread of the deliver role: takes jobs from the queue, delivers, tells the results.
 */
#ifndef DELIVER_DELIVER_WORKER_H
#define DELIVER_DELIVER_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "deliver/deliver_transport.h"

enum { DELIVER_TRANSPORTS_MAX = 256 };

struct ipc_channel;

/* What all threads share. */
struct deliver_shared {
    struct deliver_transport *transports[DELIVER_TRANSPORTS_MAX]; /* immutable */
    size_t transport_count;
    atomic_bool draining;
    atomic_int threads; /* alive */
    pthread_mutex_t evidence_lock;
    struct ipc_channel *policy; /* guarded by evidence_lock; NULL while policy is away */
    int64_t policy_retry_ms;
    uint64_t evidence_dropped;
};

/* A thread and the descriptor that ends its wait when the role drains. */
struct deliver_thread {
    struct deliver_shared *shared;
    uint16_t slot;
    pthread_mutex_t lock;
    int queue_fd; /* -1: not connected; guarded by lock */
};

/* The thread's function; context is a struct deliver_thread. Returns when the role drains. */
void *deliver_worker_run(void *context);
/* Wakes the thread from its wait for the queue. */
void deliver_worker_interrupt(struct deliver_thread *thread);

#endif

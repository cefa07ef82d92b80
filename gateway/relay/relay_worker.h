/*
 * relay_worker - one thread of the relay role: takes jobs from the queue, delivers, tells the results.
 */
#ifndef RELAY_RELAY_WORKER_H
#define RELAY_RELAY_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "relay/relay_settings.h"

enum { RELAY_TRANSPORTS_MAX = 256 };

/* What all threads share. */
struct relay_shared {
    struct relay_settings *settings[RELAY_TRANSPORTS_MAX]; /* immutable */
    size_t settings_count;
    atomic_bool draining;
    atomic_int threads; /* alive */
    pthread_mutex_t evidence_lock;
    struct ipc_channel *policy; /* guarded by evidence_lock; NULL while policy is away */
    int64_t policy_retry_ms;
    uint64_t evidence_dropped;
};

/* A thread and the descriptor that ends its wait when the role drains. */
struct relay_thread {
    struct relay_shared *shared;
    uint16_t slot;
    pthread_mutex_t lock;
    int queue_fd; /* -1: not connected; guarded by lock */
};

/* The thread's function; context is a struct relay_thread. Returns when the role drains. */
void *relay_worker_run(void *context);
/* Wakes the thread from its wait for the queue. */
void relay_worker_interrupt(struct relay_thread *thread);

#endif

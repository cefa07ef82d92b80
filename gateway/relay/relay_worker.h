/*
 * relay_worker - what a thread of the relay role does with one job: delivers it over a connection that it may
 * keep, tells the results.
 */
#ifndef RELAY_RELAY_WORKER_H
#define RELAY_RELAY_WORKER_H

#include "policy/delivery_worker.h"
#include "relay/relay_settings.h"

enum { RELAY_TRANSPORTS_MAX = 256 };

/* The context of the role's threads; immutable while they run. */
struct relay_shared {
    struct relay_settings *settings[RELAY_TRANSPORTS_MAX];
    size_t settings_count;
};

extern const struct delivery_role RELAY_WORKER;

#endif

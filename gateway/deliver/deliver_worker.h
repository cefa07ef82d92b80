/*
 * deliver_worker - what a thread of the deliver role does with one job: runs the transport's agent, tells the
 * results.
 */
#ifndef DELIVER_DELIVER_WORKER_H
#define DELIVER_DELIVER_WORKER_H

#include "deliver/deliver_transport.h"
#include "policy/delivery_worker.h"

enum { DELIVER_TRANSPORTS_MAX = 256 };

/* The context of the role's threads; immutable while they run. */
struct deliver_shared {
    struct deliver_transport *transports[DELIVER_TRANSPORTS_MAX];
    size_t transport_count;
};

extern const struct delivery_role DELIVER_WORKER;

#endif

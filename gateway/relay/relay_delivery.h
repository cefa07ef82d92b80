/*
 * relay_delivery - one job from its next hop to its results: the kept connection, or the hosts one after the
 * other.
 */
#ifndef RELAY_RELAY_DELIVERY_H
#define RELAY_RELAY_DELIVERY_H

#include "relay/relay_session.h"
#include "relay/relay_task.h"

/* What a thread needs for deliveries; it lives as long as the thread. */
struct relay_delivery {
    struct relay_session session;
    struct relay_lookup lookup;
    struct relay_hosts hosts;
    /* of the last delivery */
    char relay[320]; /* "mx.example[192.0.2.1]:25" of the last host that was tried, or "none" */
    int64_t connect_us, transfer_us;
};

/* Settles every recipient of the task: none is pending afterwards. */
void relay_delivery_run(struct relay_delivery *delivery, const struct relay_settings *settings,
                        struct relay_task *task);

#endif

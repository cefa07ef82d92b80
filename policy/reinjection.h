/*
 * reinjection - the only door to the queue: mail that passed the scan, mail that comes back on 10026,
 * notices.
 *
 * Gives the envelope to the queue with the sealed content and returns when the queue has committed it. Only a
 * 0 from here may become a 250. Before: receive/ (or the policy role for notices); after: queue/.
 */
#ifndef POLICY_REINJECTION_H
#define POLICY_REINJECTION_H

#include "message/wire.h"

struct reinjection; /* one connection to the queue, for one thread */

struct reinjection *reinjection_new(enum role self);
void reinjection_free(struct reinjection **door);
/* content_fd: sealed memfd with envelope->size bytes. 0: durable in the queue under envelope->queue_id.
 * GW_ERR_FULL (disk or map full: 452), GW_ERR_TIMEOUT and GW_ERR_TEMP (451), GW_ERR_LIMIT. A lost connection
 * before the answer is tried once more with the same queue id; the queue answers GW_ERR_EXISTS -> 0 when it
 * already has it. */
int reinjection_submit(struct reinjection *door, const struct envelope *envelope, int content_fd,
                       int64_t deadline_ms);

#endif

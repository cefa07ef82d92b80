/*
 * deliver_forward - mail of local recipients that goes on to other addresses, as new messages (local(8), MAIL
 * FORWARDING).
 */
#ifndef DELIVER_DELIVER_FORWARD_H
#define DELIVER_DELIVER_FORWARD_H

#include "deliver/deliver_local.h"

/* In the arena of the run. NULL: out of memory. */
struct deliver_forwards *deliver_forward_new(struct arena *arena);
/* via: "transport:nexthop" to hand the unchanged message to (mailbox_transport); empty: where the address
 * leads. */
int deliver_forward_add(struct deliver_run *run, struct bytes sender, struct bytes address, struct bytes via);
/* Submits one message for each sender; settles the run as "forwarded as ID", or deferred. Nothing was added:
 * does nothing. */
void deliver_forward_finish(struct deliver_run *run);

#endif

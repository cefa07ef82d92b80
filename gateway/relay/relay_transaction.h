/*
 * relay_transaction - one message over an open session: MAIL, RCPT, DATA, the content, the replies.
 */
#ifndef RELAY_RELAY_TRANSACTION_H
#define RELAY_RELAY_TRANSACTION_H

#include "relay/relay_session.h"
#include "relay/relay_task.h"

/* Delivers to the pending recipients and records what became of each. 0: the session can be used again
 * (unless session->closing). An error: the session is dead. When also session->answered is false and it had
 * been used before, the kept connection had gone stale: nothing was recorded, the caller connects anew. */
int relay_transaction_run(struct relay_session *session, struct relay_task *task);

#endif

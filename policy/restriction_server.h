/*
 * restriction_server - connections to policy servers, kept from one question to the next.
 *
 * Private to policy/restriction*.c. One struct restriction_servers belongs to one thread of the receive role
 * (policy/restriction.h); without one each question is a connection of its own.
 */
#ifndef POLICY_RESTRICTION_SERVER_H
#define POLICY_RESTRICTION_SERVER_H

#include "base/stream.h"
#include "policy/restriction.h"

/* Sends a question and reads its answer on a connected stream; called again on a new one after a failure. */
typedef int restriction_dialogue(void *context, struct stream *stream);

/* server: "inet:host:port" or "unix:path". Tries smtpd_policy_service_try_limit times with
 * smtpd_policy_service_retry_delay between, each smtpd_policy_service_timeout long; a kept connection that
 * its server has closed is no try. 0, or the last error. */
int restriction_server_ask(struct restriction_servers *servers, const struct config *view, const char *server,
                           restriction_dialogue *dialogue, void *context);

#endif

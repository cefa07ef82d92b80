/*
 * receive_greylist - the row "127.0.0.1:60000 inet n - n - - greylist" of master.cf: our greylist as a policy
 * server, so that a configuration with check_policy_service inet:127.0.0.1:60000 needs no postgrey.
 *
 * The protocol is Postfix's policy delegation (SMTPD_POLICY_README); a connection carries any number of
 * requests. Only clients in mynetworks are served.
 */
#ifndef RECEIVE_RECEIVE_GREYLIST_H
#define RECEIVE_RECEIVE_GREYLIST_H

#include "receive/receive_session.h"

/* Serves one connection until it ends, falls silent for smtpd_timeout or this process drains. Takes fd over.
 */
void receive_greylist_run(struct receive_tools *tools, const struct receive_port *port, int fd,
                          const struct net_addr *client);

#endif

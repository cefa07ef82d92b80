/*
 * route_internal - the opened tables of a router; private to policy/route*.c.
 */
#ifndef POLICY_ROUTE_INTERNAL_H
#define POLICY_ROUTE_INTERNAL_H

#include <stddef.h>

#include "policy/route.h"

enum { ROUTER_OWN_MAX = 256 };

struct router {
    const struct config *view;
    struct match_list *mydestination, *virtual_alias_domains, *virtual_mailbox_domains, *relay_domains;
    struct table_list *canonical, *sender_canonical, *recipient_canonical;
    struct table_list *virtual_alias, *virtual_mailbox, *relay_recipients, *local_recipients;
    struct net_addr own[ROUTER_OWN_MAX]; /* addresses that [literals] of ours may name */
    size_t own_count;
    struct table_list *transport, *sender_relayhost, *sender_transport;
};

#endif

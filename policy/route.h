/*
 * route - which class an address is in, how it is rewritten, and which transport and next hop it takes.
 *
 * Postfix's ADDRESS_CLASS_README and trivial-rewrite: local, virtual alias, virtual mailbox, relay, default.
 * Used by restrictions (is this destination ours, does the user exist), by receive (canonical and virtual
 * alias expansion) and by the queue (transport and next hop). Tables that cannot be read give GW_ERR_TEMP.
 */
#ifndef POLICY_ROUTE_H
#define POLICY_ROUTE_H

#include "config/config.h"
#include "config/table.h"
#include "message/envelope.h"

enum address_class { CLASS_DEFAULT, CLASS_LOCAL, CLASS_VIRTUAL_ALIAS, CLASS_VIRTUAL_MAILBOX, CLASS_RELAY };

struct router; /* the tables of one view, opened before the jail; thread-safe */

int router_new(const struct config *view, struct router **router_r, struct buf *error_r);
void router_free(struct router **router);
/* domain without @; address literals "[192.0.2.1]" are local when they are ours. 0 or GW_ERR_TEMP. */
int router_class(struct router *router, struct bytes domain, enum address_class *class_r);
/* Whether the recipient exists in its class's table. 1 yes (or the class has no table), 0 no, GW_ERR_TEMP. */
int router_recipient_exists(struct router *router, struct bytes address, enum address_class class);
/* Unqualified addresses get @$myorigin; "user@" and source routes are cleaned; the domain is lowered. */
int router_canonical_form(struct router *router, struct bytes address, struct buf *out);
/* canonical_maps, sender_/recipient_canonical_maps; out holds the new address. */
int router_rewrite(struct router *router, struct bytes address, bool is_sender, struct buf *out);
/* virtual_alias_maps, recursive (virtual_alias_recursion_limit, virtual_alias_expansion_limit): calls add for
 * each. */
int router_expand(struct router *router, struct bytes address,
                  int (*add)(void *context, struct bytes address), void *context);

struct route {
    char transport[64]; /* service name: "smtp", "relay", "virtual", "local", "error" ... */
    char nexthop[512];  /* "[mx.example]:25", "example.com"; for error: the text */
    enum address_class class;
};
/* transport_maps, relayhost, sender_dependent_relayhost_maps, mydestination ... for one recipient. */
int router_route(struct router *router, struct bytes sender, struct bytes recipient, struct route *route_r);

#endif

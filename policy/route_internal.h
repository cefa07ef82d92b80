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
    struct table_list *relocated, *sender_bcc, *recipient_bcc;
    struct match_list *masquerade_exceptions;
    unsigned canonical_places, sender_canonical_places, recipient_canonical_places,
        masquerade_places; /* address_place */
    unsigned propagate;    /* bits: enum route_extension */
    unsigned drop;         /* HEADER_FIELD_BIT of message_drop_headers */
    bool drops_others;     /* message_drop_headers has names that are none of HEADER_FIELD */
    bool maps_nothing;     /* receive_override_options = no_address_mappings */
};

/* propagate_unmatched_extensions: which results of tables keep user+ext's extension. */
enum route_extension { EXTENSION_CANONICAL = 1, EXTENSION_VIRTUAL = 2 };

/* route_rewrite.c */
/* One address of a table's right-hand side in canonical form: "@other.example" keeps the local part of
 * original, the extension that was not part of the key (hit->unmatched) is put in when `kind` says so. 0,
 * GW_ERR_SYNTAX. */
int route_complete(struct router *router, struct bytes word, struct bytes original,
                   const struct table_hit *hit, enum route_extension kind, struct buf *out);
/* The next address of a table's right-hand side or a parameter, without its quotes, into word; false at the end.
 * Addresses are separated by commas and blanks. */
bool route_next_address(struct bytes *rest, struct buf *word);
/* Whether keys without a domain are for this address: its domain is $myorigin or local. */
bool route_is_local(struct router *router, struct bytes address);

#endif

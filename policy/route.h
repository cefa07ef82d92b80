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
#include "message/trace.h"

enum address_class { CLASS_DEFAULT, CLASS_LOCAL, CLASS_VIRTUAL_ALIAS, CLASS_VIRTUAL_MAILBOX, CLASS_RELAY };

struct router; /* the tables of one view, opened before the jail; thread-safe */

int router_new(const struct config *view, struct router **router_r, struct buf *error_r);
void router_free(struct router **router);
/* domain without @; address literals "[192.0.2.1]" are local when they are ours. 0 or GW_ERR_TEMP. */
int router_class(struct router *router, struct bytes domain, enum address_class *class_r);
/* Whether the address is one of this host's, or inet_interfaces or proxy_interfaces name it. */
bool router_is_own_address(const struct router *router, const struct net_addr *addr);
/* Whether the recipient exists in its class's table. 1 yes (or the class has no table), 0 no, GW_ERR_TEMP. */
int router_recipient_exists(struct router *router, struct bytes address, enum address_class class);
/* trivial-rewrite(8): "user" gets @$myorigin, "user@host" .$mydomain, "host!user" and "user%host" become
 * user@host (append_at_myorigin, append_dot_mydomain, swap_bangpath, allow_percent_hack), "user@192.0.2.1"
 * and "user@" addresses of hosts (resolve_numeric_domain, resolve_null_domain). Case stays. GW_ERR_SYNTAX. */
int router_canonical_form(struct router *router, struct bytes address, struct buf *out);
/* False: MAIL and RCPT refuse the address for its form alone (501). */
bool router_accepts(const struct router *router, struct bytes address);

/* Whose names the addresses in a message's header are: nobody's that we know, ours, or those of
 * remote_header_rewrite_domain. */
enum header_context { HEADER_UNTOUCHED, HEADER_LOCAL, HEADER_REMOTE };
/* The same for an address of a header field, which may be any text: nothing is refused. is_one_name: it was a
 * quoted name without a host, in which %, ! and @ mean nothing. 0, GW_ERR_LIMIT, GW_ERR_NOMEM. */
int router_header_form(const struct router *router, enum header_context context, struct bytes address,
                       bool is_one_name, struct buf *out);

/* True: the local part asks for a further way (user%other, other!user, user@other) and swap_bangpath or
 * allow_percent_hack or resolve_dequoted_address let it. */
bool router_is_routed(const struct router *router, struct bytes address);
/* Where mail for a canonical address goes in the end: "user%other@ours" is user@other, when ours is local;
 * the same address when it asks for no further way. 0, GW_ERR_TEMP. */
int router_unroute(struct router *router, struct bytes address, struct buf *out);

/* Whose address and where, as canonical_classes and masquerade_classes name it. */
enum address_place {
    ADDRESS_ENVELOPE_SENDER = 1,
    ADDRESS_ENVELOPE_RECIPIENT = 2,
    ADDRESS_HEADER_SENDER = 4,
    ADDRESS_HEADER_RECIPIENT = 8
};
/* cleanup(8) on one canonical address: sender_canonical_maps or recipient_canonical_maps, canonical_maps,
 * then masquerade_domains, each where its classes say so; nothing with receive_override_options =
 * no_address_mappings. out holds the new address. 0, GW_ERR_TEMP. */
int router_rewrite(struct router *router, struct bytes address, enum address_place place, struct buf *out);
/* False: router_rewrite() changes no address of that place, so nobody needs to look at one. */
bool router_rewrites(const struct router *router, enum address_place place);

typedef int router_add(void *context, struct bytes address);
/* virtual_alias_maps, recursive: calls add for each. GW_ERR_EXISTS: an alias leads back to itself;
 * GW_ERR_LIMIT: over virtual_alias_recursion_limit, virtual_alias_expansion_limit or
 * virtual_alias_address_length_limit; GW_ERR_TEMP, or what add returned. */
int router_expand(struct router *router, struct bytes address, router_add *add, void *context);
/* The recipients that a canonical address leads to: router_rewrite(), router_expand(), and the same of what
 * recipient_bcc_maps says of it. */
int router_recipients(struct router *router, struct bytes canonical, router_add *add, void *context);
/* Adds a recipient to an envelope, but once: the same from the same RCPT TO is not repeated, among the first
 * duplicate_filter_limit. GW_ERR_FULL: the envelope is full; GW_ERR_NOMEM. */
int router_add_recipient(const struct router *router, struct envelope *envelope,
                         const struct recipient *recipient);
/* What is done to an envelope once all of it is known: the sender in canonical form and rewritten, and the
 * recipients that always_bcc and sender_bcc_maps add. 0, GW_ERR_TEMP, GW_ERR_LIMIT, GW_ERR_NOMEM. */
int router_finish_envelope(struct router *router, struct envelope *envelope);

/* What cleanup(8) does to a message's header: addresses rewritten as the context says, fields of
 * message_drop_headers left out, missing fields added. */
struct header_edit {
    enum header_context context;
    const struct envelope *envelope; /* sender, queue id, arrival */
    const char *full_name;           /* of a local user, for From; NULL: none */
};
/* content begins with the header; summary is of the same. 1: out holds what takes the place of the content's
 * first summary->fields_end bytes; 0: nothing changes; GW_ERR_TEMP, GW_ERR_LIMIT, GW_ERR_NOMEM. message_id_r:
 * of the Message-Id that was added, a view into out; else empty. */
int router_edit_header(struct router *router, const struct header_edit *edit, struct bytes content,
                       const struct trace_summary *summary, struct buf *out, struct bytes *message_id_r);

struct route {
    char transport[64]; /* service name: "smtp", "relay", "virtual", "local", "error" ... */
    char nexthop[512];  /* "[mx.example]:25", "example.com"; for error: the text */
    enum address_class class;
};
/* transport_maps, relayhost, sender_dependent_relayhost_maps, mydestination ... for one recipient. */
int router_route(struct router *router, struct bytes sender, struct bytes recipient, struct route *route_r);
/* Whether relocated_maps or transport_maps return this sender's mail for the recipient: 1, and text is what
 * the error transport would say ("5.1.6 User has moved to new@example.org"); 0; GW_ERR_TEMP. */
int router_is_returned(struct router *router, struct bytes sender, struct bytes recipient, struct buf *text);

#endif

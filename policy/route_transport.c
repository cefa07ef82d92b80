/*
 * route_transport - which transport and next hop a recipient takes (transport(5), trivial-rewrite(8)).
 *
 * Before: the queue routes each recipient; after: relay and deliver by the transport's row of master.cf. The
 * order is Postfix's: transport_maps, then the class's own transport; off-host mail goes to the sender's or
 * the global relayhost when there is one.
 */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "message/address.h"
#include "policy/route_internal.h"

/* "transport:nexthop"; either side may be empty and then stays what it is. */
static void
apply(struct route *route, struct bytes value)
{
    ptrdiff_t colon = bytes_index(value, ':');
    struct bytes transport = colon < 0 ? value : bytes_sub(value, 0, (size_t)colon);
    struct bytes nexthop = colon < 0 ? (struct bytes){0} : bytes_sub(value, (size_t)colon + 1, value.n);

    if (transport.n > 0) {
        (void)snprintf(route->transport, sizeof(route->transport), "%.*s",
                       (int)sizeof(route->transport) - 1 < (int)transport.n
                           ? (int)sizeof(route->transport) - 1
                           : (int)transport.n,
                       transport.p);
    }
    if (nexthop.n > 0) {
        (void)snprintf(route->nexthop, sizeof(route->nexthop), "%.*s",
                       (int)sizeof(route->nexthop) - 1 < (int)nexthop.n ? (int)sizeof(route->nexthop) - 1
                                                                        : (int)nexthop.n,
                       nexthop.p);
    }
}

static int
find_for_sender(struct router *router, struct table_list *list, struct bytes sender, enum param null_param,
                struct table_hit *hit)
{
    struct bytes null_key = bytes_str(config_str(router->view, null_param));

    return table_list_is_empty(list)
               ? GW_ERR_NOTFOUND
               : table_list_find_address(list, sender.n > 0 ? sender : null_key,
                                         config_str(router->view, P_recipient_delimiter), false, hit);
}

/* Default class: default_transport, or the sender's own. */
static int
default_transport(struct router *router, struct bytes sender, struct route *route, struct table_hit *hit)
{
    int r = find_for_sender(router, router->sender_transport, sender,
                            P_empty_address_default_transport_maps_lookup_key, hit);

    apply(route, bytes_str(config_str(router->view, P_default_transport)));
    if (r == 0 && !bytes_equal_nocase(bytes_buf(&hit->value), BYTES_LIT("DUNNO"))) {
        apply(route, bytes_buf(&hit->value));
    }
    return r == GW_ERR_NOTFOUND ? 0 : r;
}

/* Mail that leaves this host: the relayhost stands in for the domain unless the transport named a next hop.
 */
static int
off_host(struct router *router, struct bytes sender, struct bytes domain, struct route *route,
         struct table_hit *hit)
{
    int r;

    if (route->nexthop[0] != '\0') {
        return 0;
    }
    r = find_for_sender(router, router->sender_relayhost, sender, P_empty_address_relayhost_maps_lookup_key,
                        hit);
    if (r != 0 && r != GW_ERR_NOTFOUND) {
        return r;
    }
    struct bytes relayhost = r == 0 && !bytes_equal_nocase(bytes_buf(&hit->value), BYTES_LIT("DUNNO"))
                                 ? bytes_buf(&hit->value)
                                 : bytes_str(config_str(router->view, P_relayhost));
    struct bytes nexthop = relayhost.n > 0 ? relayhost : domain;
    (void)snprintf(route->nexthop, sizeof(route->nexthop), "%.*s",
                   (int)(nexthop.n < sizeof(route->nexthop) ? nexthop.n : sizeof(route->nexthop) - 1),
                   nexthop.p);
    return 0;
}

static int
class_route(struct router *router, struct bytes sender, struct bytes domain, struct route *route,
            struct table_hit *hit)
{
    const struct config *view = router->view;
    int r = 0;

    switch (route->class) {
    case CLASS_LOCAL:
        apply(route, bytes_str(config_str(view, P_local_transport)));
        break;
    case CLASS_VIRTUAL_ALIAS:
        apply(route, BYTES_LIT("error:5.1.1 User unknown in virtual alias table"));
        break;
    case CLASS_VIRTUAL_MAILBOX:
        apply(route, bytes_str(config_str(view, P_virtual_transport)));
        break;
    case CLASS_RELAY:
        apply(route, bytes_str(config_str(view, P_relay_transport)));
        r = off_host(router, sender, domain, route, hit);
        break;
    case CLASS_DEFAULT:
        r = default_transport(router, sender, route, hit);
        r = r == 0 ? off_host(router, sender, domain, route, hit) : r;
        break;
    }
    return r;
}

/* relocated_maps: returned to the sender with the new address, whatever class the old one is of. */
static int
find_relocated(struct router *router, struct bytes recipient, struct route *route, struct table_hit *hit)
{
    if (table_list_is_empty(router->relocated)) {
        return GW_ERR_NOTFOUND;
    }
    int r =
        table_list_find_address(router->relocated, recipient, config_str(router->view, P_recipient_delimiter),
                                route_is_local(router, recipient), hit);
    if (r == 0) {
        (void)snprintf(route->transport, sizeof(route->transport), "error");
        (void)snprintf(route->nexthop, sizeof(route->nexthop), "5.1.6 User has moved to %.*s",
                       BYTES_FMT(bytes_buf(&hit->value)));
    }
    return r;
}

int
router_route(struct router *router, struct bytes sender, struct bytes recipient, struct route *route_r)
{
    struct bytes local, domain;
    struct table_hit hit = {0};
    struct route mapped;
    int r;

    *route_r = (struct route){.class = CLASS_LOCAL};
    address_split(recipient, &local, &domain);
    if (domain.n > 0 && (r = router_class(router, domain, &route_r->class)) != 0) {
        return r;
    }
    if (route_r->class == CLASS_LOCAL &&
        bytes_equal_nocase(local, bytes_str(config_str(router->view, P_double_bounce_sender)))) {
        /* What cannot be returned ends here, also where local delivery is not set up. */
        apply(route_r, BYTES_LIT("discard:undeliverable postmaster notification discarded"));
        return 0;
    }
    buf_init(&hit.value, TABLE_VALUE_MAX);
    if ((r = find_relocated(router, recipient, route_r, &hit)) != GW_ERR_NOTFOUND) {
        buf_free(&hit.value);
        return r;
    }
    r = class_route(router, sender, domain, route_r, &hit);
    if (r == 0 && route_r->class != CLASS_VIRTUAL_ALIAS) {
        r = table_list_find_transport(router->transport, recipient,
                                      config_str(router->view, P_recipient_delimiter), &hit);
        if (r == 0 && hit.value.n > 0) {
            /* A transport without a next hop delivers to the recipient's domain; ":nexthop" keeps the
             * transport. */
            mapped = *route_r;
            if (hit.value.p[0] != ':') {
                mapped.nexthop[0] = '\0';
            }
            apply(&mapped, bytes_buf(&hit.value));
            if (mapped.nexthop[0] == '\0') {
                (void)snprintf(mapped.nexthop, sizeof(mapped.nexthop), "%.*s", BYTES_FMT(domain));
            }
            *route_r = mapped;
        }
        r = r == GW_ERR_NOTFOUND ? 0 : r;
    }
    buf_free(&hit.value);
    if (r == 0 && route_r->nexthop[0] == '\0') {
        (void)snprintf(route_r->nexthop, sizeof(route_r->nexthop), "%.*s",
                       (int)(domain.n < sizeof(route_r->nexthop) ? domain.n : sizeof(route_r->nexthop) - 1),
                       domain.p);
    }
    if (bytes_equal_nocase(bytes_str(route_r->nexthop), domain)) {
        ascii_lower((uint8_t *)route_r->nexthop, domain.n); /* one destination, however it is written */
    }
    return r;
}

int
router_is_returned(struct router *router, struct bytes sender, struct bytes recipient, struct buf *text)
{
    struct route route;
    int r;

    if (table_list_is_empty(router->relocated) && table_list_is_empty(router->transport) &&
        table_list_is_empty(router->sender_transport)) {
        return 0;
    }
    if ((r = router_route(router, sender, recipient, &route)) != 0) {
        return GW_ERR_TEMP;
    }
    if (strcmp(route.transport, "error") != 0 || route.class == CLASS_VIRTUAL_ALIAS) {
        return 0; /* an alias domain's users are looked up, not routed */
    }
    return buf_append_str(text, route.nexthop) == 0 ? 1 : GW_ERR_TEMP;
}

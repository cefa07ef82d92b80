/*
 * route_rewrite - canonical mapping and masquerading of addresses (canonical(5), ADDRESS_REWRITING_README).
 *
 * Before: receive_rcpt.c, receive_disposition.c and sendmail for the envelope, the header editor for what a
 * message says; after: route_expand.c for recipients. An address that a table maps to something that is none
 * is the table's fault, so the answer is "not now".
 */
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "message/address.h"
#include "policy/route_internal.h"

enum { ADDRESS_BUF = 4096, UNROUTE_MAX = 10, MAP_STEPS_MAX = 10 /* as in cleanup(8) */ };

bool
route_is_local(struct router *router, struct bytes address)
{
    struct bytes local, domain;
    enum address_class class;

    address_split(address, &local, &domain);
    return bytes_equal_nocase(domain, bytes_str(config_str(router->view, P_myorigin))) ||
           (router_class(router, domain, &class) == 0 && class == CLASS_LOCAL);
}

int
route_complete(struct router *router, struct bytes word, struct bytes original, const struct table_hit *hit,
               enum route_extension kind, struct buf *out)
{
    struct bytes local, domain, own_local, own_domain;
    struct buf joined;
    int r;

    buf_init(&joined, ADDRESS_BUF);
    address_split(original, &own_local, &own_domain);
    address_split(word, &local, &domain);
    r = buf_append_bytes(&joined, local.n > 0 ? local : own_local);
    if (r == 0 && local.n > 0 && hit->unmatched > 0 && (router->propagate & kind) != 0) {
        r = buf_append_bytes(&joined, bytes_sub(own_local, own_local.n - hit->unmatched, own_local.n));
    }
    if (r == 0 && domain.n > 0) {
        r = buf_append_byte(&joined, '@');
        r = r == 0 ? buf_append_bytes(&joined, domain) : r;
    }
    r = r == 0 ? router_canonical_form(router, bytes_buf(&joined), out) : r;
    buf_free(&joined);
    return r;
}

bool
route_next_address(struct bytes *rest, struct buf *word)
{
    struct bytes left = *rest;
    bool quoted = false;
    size_t i = 0;

    buf_clear(word);
    while (i < left.n && strchr(", \t\r\n", left.p[i]) != NULL) {
        i++;
    }
    for (; i < left.n && (quoted || strchr(", \t\r\n", left.p[i]) == NULL); i++) {
        if (left.p[i] == '"') {
            quoted = !quoted;
            continue;
        }
        i += left.p[i] == '\\' && i + 1 < left.n;
        if (buf_append_byte(word, left.p[i]) != 0) {
            break; /* too long to be one: what is left of it is no address either */
        }
    }
    *rest = bytes_sub(left, i, left.n);
    return word->n > 0;
}

bool
router_is_routed(const struct router *router, struct bytes address)
{
    const struct {
        uint8_t c;
        enum param param;
    } ways[] = {{'@', P_resolve_dequoted_address}, {'!', P_swap_bangpath}, {'%', P_allow_percent_hack}};
    struct bytes local, domain;
    bool any = false;

    address_split(address, &local, &domain);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        any = any || (bytes_index(local, ways[i].c) >= 0 && config_bool(router->view, ways[i].param));
    }
    return any;
}

int
router_unroute(struct router *router, struct bytes address, struct buf *out)
{
    struct buf next;
    int r = buf_append_bytes(out, address);

    buf_init(&next, ADDRESS_BUF);
    for (int step = 0; r == 0 && step < UNROUTE_MAX && router_is_routed(router, bytes_buf(out)); step++) {
        struct bytes local, domain;
        enum address_class class;

        address_split(bytes_buf(out), &local, &domain);
        if ((r = router_class(router, domain, &class)) != 0 || class != CLASS_LOCAL) {
            break;
        }
        buf_clear(&next);
        if (router_canonical_form(router, local, &next) != 0) {
            break; /* not an address: the user of that odd name, who hardly exists */
        }
        buf_clear(out);
        r = buf_append_bytes(out, bytes_buf(&next));
    }
    buf_free(&next);
    return r;
}

/* One lookup. 1: address is another now; 0: nothing is said, or the same. */
static int
map_once(struct router *router, struct table_list *list, struct buf *address, struct table_hit *hit,
         struct buf *mapped)
{
    int r = table_list_find_address(list, bytes_buf(address), config_str(router->view, P_recipient_delimiter),
                                    route_is_local(router, bytes_buf(address)), hit);

    if (r != 0) {
        return r == GW_ERR_NOTFOUND ? 0 : r;
    }
    struct bytes said = bytes_buf(&hit->value);
    struct buf word;
    buf_init(&word, ADDRESS_BUF);
    buf_clear(mapped);
    bool is_mapped =
        route_next_address(&said, &word) && /* one address takes the place of one */
        route_complete(router, bytes_buf(&word), bytes_buf(address), hit, EXTENSION_CANONICAL, mapped) == 0;
    buf_free(&word);
    if (!is_mapped) {
        return GW_ERR_TEMP;
    }
    bool is_same = bytes_equal_nocase(bytes_buf(mapped), bytes_buf(address));
    buf_clear(address);
    r = buf_append_bytes(address, bytes_buf(mapped));
    return r != 0 ? r : !is_same;
}

/* The address as it is after one table list, which is asked again about its own answers. */
static int
map_through(struct router *router, struct table_list *list, struct buf *address)
{
    struct table_hit hit = {0};
    struct buf mapped;
    int r = 1;

    if (table_list_is_empty(list)) {
        return 0;
    }
    buf_init(&hit.value, TABLE_VALUE_MAX);
    buf_init(&mapped, ADDRESS_BUF);
    for (int step = 0; r == 1 && step < MAP_STEPS_MAX; step++) {
        r = map_once(router, list, address, &hit, &mapped);
    }
    buf_free(&hit.value);
    buf_free(&mapped);
    return r == 1 ? GW_ERR_TEMP : r; /* round and round: the table's fault */
}

/* masquerade_domains: the first word that is the domain or a parent of it decides; "!word" leaves it alone.
 */
static int
masquerade(struct router *router, struct buf *address)
{
    struct bytes rest = bytes_str(config_str(router->view, P_masquerade_domains)), word, local, domain;
    int r;

    address_split(bytes_buf(address), &local, &domain);
    if (domain.n == 0 || rest.n == 0) {
        return 0;
    }
    if ((r = match_list_name(router->masquerade_exceptions, local)) != 0) {
        return r < 0 ? GW_ERR_TEMP : 0;
    }
    while (bytes_next_token(&rest, ", \t\r\n", &word)) {
        bool keeps = word.p[0] == '!';
        struct bytes parent = keeps ? bytes_sub(word, 1, word.n) : word;

        if (parent.n == 0 || domain.n < parent.n) {
            continue;
        }
        size_t excess = domain.n - parent.n;
        if (!bytes_equal_nocase(bytes_sub(domain, excess, domain.n), parent) ||
            (excess > 0 && domain.p[excess - 1] != '.')) {
            continue;
        }
        if (excess > 0 && !keeps) {
            size_t at = address->n - domain.n;

            memmove(address->p + at, address->p + at + excess, parent.n);
            buf_truncate(address, address->n - excess);
        }
        return 0;
    }
    return 0;
}

bool
router_rewrites(const struct router *router, enum address_place place)
{
    const struct {
        unsigned places;
        bool is_there;
    } steps[] = {
        {router->sender_canonical_places, !table_list_is_empty(router->sender_canonical)},
        {router->recipient_canonical_places, !table_list_is_empty(router->recipient_canonical)},
        {router->canonical_places, !table_list_is_empty(router->canonical)},
        {router->masquerade_places, config_str(router->view, P_masquerade_domains)[0] != '\0'},
    };
    bool any = false;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        any = any || (steps[i].is_there && (steps[i].places & (unsigned)place) != 0);
    }
    return any && !router->maps_nothing;
}

int
router_rewrite(struct router *router, struct bytes address, enum address_place place, struct buf *out)
{
    const struct {
        struct table_list *list;
        unsigned places;
    } maps[] = {
        {router->sender_canonical, router->sender_canonical_places},
        {router->recipient_canonical, router->recipient_canonical_places},
        {router->canonical, router->canonical_places},
    };
    int r = buf_append_bytes(out, address);

    if (!router_rewrites(router, place)) {
        return r;
    }
    for (size_t i = 0; r == 0 && i < sizeof(maps) / sizeof(maps[0]); i++) {
        r = (maps[i].places & (unsigned)place) != 0 ? map_through(router, maps[i].list, out) : 0;
    }
    return r == 0 && (router->masquerade_places & (unsigned)place) != 0 ? masquerade(router, out) : r;
}

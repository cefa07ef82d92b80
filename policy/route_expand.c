/*
 * route_expand - from one recipient to those that get the mail: virtual_alias_maps (virtual(5)), and the
 * copies of always_bcc, sender_bcc_maps and recipient_bcc_maps.
 *
 * Before: route_rewrite.c; after: the envelope holds final addresses. Expansion is bounded in depth and
 * number (virtual_alias_recursion_limit, virtual_alias_expansion_limit); an address that maps to itself
 * stands.
 */
#include <string.h>

#include "base/error.h"
#include "message/address.h"
#include "policy/route_internal.h"

enum { ADDRESS_BUF = 4096 };

struct expansion {
    struct router *router;
    router_add *add;
    void *context;
    int64_t left; /* addresses that may still be made */
    int64_t deepest, longest;
};

/* What an address came from, up to the one that the client gave. */
struct ancestor {
    struct bytes address;
    const struct ancestor *of;
    int64_t depth;
};

static bool
is_ancestor(const struct ancestor *from, struct bytes address)
{
    for (; from != NULL; from = from->of) {
        if (bytes_equal_nocase(from->address, address)) {
            return true;
        }
    }
    return false;
}

static int
expand(struct expansion *e, struct bytes address, const struct ancestor *of)
{
    const struct ancestor self = {address, of, of == NULL ? 0 : of->depth + 1};
    struct table_hit hit = {0};
    struct bytes rest;
    struct buf next, word;
    int r;

    if (is_ancestor(of, address)) {
        return GW_ERR_EXISTS;
    }
    if (self.depth > e->deepest || --e->left < 0 || (int64_t)address.n > e->longest) {
        return GW_ERR_LIMIT;
    }
    buf_init(&hit.value, TABLE_VALUE_MAX);
    buf_init(&next, ADDRESS_BUF);
    buf_init(&word, ADDRESS_BUF);
    r = table_list_find_address(e->router->virtual_alias, address,
                                config_str(e->router->view, P_recipient_delimiter),
                                route_is_local(e->router, address), &hit);
    if (r == GW_ERR_NOTFOUND) {
        r = e->add(e->context, address);
        goto out;
    }
    rest = bytes_buf(&hit.value);
    while (r == 0 && route_next_address(&rest, &word)) {
        buf_clear(&next);
        if (route_complete(e->router, bytes_buf(&word), address, &hit, EXTENSION_VIRTUAL, &next) != 0) {
            r = GW_ERR_TEMP;
        } else if (bytes_equal_nocase(bytes_buf(&next), address)) {
            r = e->add(e->context, address);
        } else {
            r = expand(e, bytes_buf(&next), &self);
        }
    }
out:
    buf_free(&hit.value);
    buf_free(&next);
    buf_free(&word);
    return r;
}

int
router_expand(struct router *router, struct bytes address, router_add *add, void *context)
{
    struct expansion e = {.router = router,
                          .add = add,
                          .context = context,
                          .left = config_int(router->view, P_virtual_alias_expansion_limit),
                          .deepest = config_int(router->view, P_virtual_alias_recursion_limit),
                          .longest = config_int(router->view, P_virtual_alias_address_length_limit)};

    return router->maps_nothing || table_list_is_empty(router->virtual_alias) ? add(context, address)
                                                                              : expand(&e, address, NULL);
}

/* Rewrites and expands; *rewritten is the address in between. */
static int
rewrite_and_expand(struct router *router, struct bytes canonical, struct buf *rewritten, router_add *add,
                   void *context)
{
    int r = router_rewrite(router, canonical, ADDRESS_ENVELOPE_RECIPIENT, rewritten);

    return r == 0 ? router_expand(router, bytes_buf(rewritten), add, context) : r;
}

/* One address of a parameter or table, as its author wrote it. */
static int
add_copy(struct router *router, struct bytes address, router_add *add, void *context)
{
    struct buf canonical, rewritten;
    int r;

    buf_init(&canonical, ADDRESS_BUF);
    buf_init(&rewritten, ADDRESS_BUF);
    r = router_canonical_form(router, address, &canonical);
    r = r == 0 ? rewrite_and_expand(router, bytes_buf(&canonical), &rewritten, add, context) : GW_ERR_TEMP;
    buf_free(&canonical);
    buf_free(&rewritten);
    return r;
}

/* The copies that a table gives for an address. Their extension is not propagated: it says where copies go.
 */
static int
add_copies_for(struct router *router, struct table_list *list, struct bytes address, router_add *add,
               void *context)
{
    struct table_hit hit = {0};
    struct bytes rest;
    struct buf word;
    int r;

    if (table_list_is_empty(list) || router->maps_nothing) {
        return 0;
    }
    buf_init(&word, ADDRESS_BUF);
    buf_init(&hit.value, TABLE_VALUE_MAX);
    r = table_list_find_address(list, address, config_str(router->view, P_recipient_delimiter),
                                route_is_local(router, address), &hit);
    rest = r == 0 ? bytes_buf(&hit.value) : bytes_of(NULL, 0);
    r = r == GW_ERR_NOTFOUND ? 0 : r;
    while (r == 0 && route_next_address(&rest, &word)) {
        r = add_copy(router, bytes_buf(&word), add, context);
    }
    buf_free(&word);
    buf_free(&hit.value);
    return r;
}

/* A name without a host is a user of this one; mail for nobody at a domain of ours goes to
 * empty_address_recipient. 1: straight holds the new address. */
static int
name_in_full(struct router *router, struct bytes address, struct buf *straight)
{
    struct bytes local, domain;
    enum address_class class;
    int r;

    address_split(address, &local, &domain);
    if (local.n == address.n) { /* append_at_myorigin = no */
        r = buf_append_bytes(straight, address);
        r = r == 0 ? buf_printf(straight, "@%s", config_str(router->view, P_myhostname)) : r;
        return r == 0 ? 1 : r;
    }
    if (local.n > 0 || (r = router_class(router, domain, &class)) != 0 || class != CLASS_LOCAL) {
        return local.n > 0 || r == 0 ? 0 : r;
    }
    r = buf_printf(straight, "%s", config_str(router->view, P_empty_address_recipient));
    r = r == 0 ? buf_append_bytes(straight, address) : r;
    return r == 0 ? 1 : r;
}

/* What resolving makes of each address at the end, when no table looks at it any more. */
struct finish {
    struct router *router;
    router_add *add;
    void *context;
};

static int
add_finished(void *context, struct bytes address)
{
    const struct finish *finish = context;
    struct buf straight;
    int r;

    buf_init(&straight, ADDRESS_BUF);
    r = router_is_routed(finish->router, address) ? router_unroute(finish->router, address, &straight)
                                                  : name_in_full(finish->router, address, &straight);
    if (r >= 0) {
        r = finish->add(finish->context, straight.n > 0 ? bytes_buf(&straight) : address);
    }
    buf_free(&straight);
    return r;
}

int
router_recipients(struct router *router, struct bytes canonical, router_add *add, void *context)
{
    struct finish finish = {router, add, context};
    struct buf rewritten;
    int r;

    buf_init(&rewritten, ADDRESS_BUF);
    r = rewrite_and_expand(router, canonical, &rewritten, add_finished, &finish);
    r = r == 0 ? add_copies_for(router, router->recipient_bcc, bytes_buf(&rewritten), add_finished, &finish)
               : r;
    buf_free(&rewritten);
    return r;
}

int
router_add_recipient(const struct router *router, struct envelope *envelope,
                     const struct recipient *recipient)
{
    int64_t limit = config_int(router->view, P_duplicate_filter_limit);

    for (size_t i = 0; i < envelope->recipient_count && (limit == 0 || (int64_t)i < limit); i++) {
        const struct recipient *one = &envelope->recipients[i];

        if (bytes_equal_nocase(one->address, recipient->address) &&
            bytes_equal_nocase(one->original, recipient->original) && one->notify == recipient->notify &&
            bytes_equal(one->dsn_orcpt, recipient->dsn_orcpt)) {
            return 0;
        }
    }
    int r = envelope_add_recipient(envelope, recipient->address, recipient->original, recipient->notify,
                                   recipient->dsn_orcpt);
    return r == GW_ERR_LIMIT ? GW_ERR_FULL : r;
}

struct copies {
    const struct router *router;
    struct envelope *envelope;
};

static int
add_copy_to_envelope(void *context, struct bytes address)
{
    const struct copies *copies = context;
    const struct recipient recipient = {.address = address, .original = address};

    return router_add_recipient(copies->router, copies->envelope, &recipient);
}

static int
rewrite_sender(struct router *router, struct envelope *envelope)
{
    struct buf canonical, rewritten;
    int r = 0;

    buf_init(&canonical, ADDRESS_BUF);
    buf_init(&rewritten, ADDRESS_BUF);
    /* A sender that is no address stays as it was given: it was accepted so. */
    if (router_canonical_form(router, envelope->sender, &canonical) == 0 &&
        (r = router_rewrite(router, bytes_buf(&canonical), ADDRESS_ENVELOPE_SENDER, &rewritten)) == 0 &&
        !bytes_equal(bytes_buf(&rewritten), envelope->sender)) {
        r = envelope_set_sender(envelope, bytes_buf(&rewritten));
    }
    buf_free(&canonical);
    buf_free(&rewritten);
    return r;
}

int
router_finish_envelope(struct router *router, struct envelope *envelope)
{
    struct bytes rest = bytes_str(config_str(router->view, P_always_bcc)), word;
    struct copies copies = {router, envelope};
    int r = 0;

    if (envelope->sender.n > 0) {
        r = rewrite_sender(router, envelope);
        r = r == 0
                ? add_copies_for(router, router->sender_bcc, envelope->sender, add_copy_to_envelope, &copies)
                : r;
    }
    while (r == 0 && !router->maps_nothing && bytes_next_token(&rest, ", \t", &word)) {
        r = add_copy(router, word, add_copy_to_envelope, &copies);
    }
    return r;
}

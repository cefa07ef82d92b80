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
#include "policy/route_internal.h"

enum { ADDRESS_BUF = 4096 };

struct expansion {
    struct router *router;
    router_add *add;
    void *context;
    int64_t left; /* addresses that may still be made */
    int64_t deepest;
};

static int
expand(struct expansion *e, struct bytes address, int64_t depth)
{
    struct table_hit hit = {0};
    struct bytes rest, word;
    struct buf next;
    int r;

    if (depth > e->deepest || --e->left < 0) {
        return GW_ERR_LIMIT;
    }
    buf_init(&hit.value, TABLE_VALUE_MAX);
    buf_init(&next, ADDRESS_BUF);
    r = table_list_find_address(e->router->virtual_alias, address,
                                config_str(e->router->view, P_recipient_delimiter),
                                route_is_local(e->router, address), &hit);
    if (r == GW_ERR_NOTFOUND) {
        r = e->add(e->context, address);
        goto out;
    }
    rest = bytes_buf(&hit.value);
    while (r == 0 && bytes_next_token(&rest, ", \t\r\n", &word)) {
        buf_clear(&next);
        if (route_complete(e->router, word, address, &hit, EXTENSION_VIRTUAL, &next) != 0) {
            r = GW_ERR_TEMP;
        } else if (bytes_equal_nocase(bytes_buf(&next), address)) {
            r = e->add(e->context, address);
        } else {
            r = expand(e, bytes_buf(&next), depth + 1);
        }
    }
out:
    buf_free(&hit.value);
    buf_free(&next);
    return r;
}

int
router_expand(struct router *router, struct bytes address, router_add *add, void *context)
{
    struct expansion e = {.router = router,
                          .add = add,
                          .context = context,
                          .left = config_int(router->view, P_virtual_alias_expansion_limit),
                          .deepest = config_int(router->view, P_virtual_alias_recursion_limit)};

    return router->maps_nothing || table_list_is_empty(router->virtual_alias) ? add(context, address)
                                                                              : expand(&e, address, 0);
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
    struct bytes rest, word;
    int r;

    if (table_list_is_empty(list) || router->maps_nothing) {
        return 0;
    }
    buf_init(&hit.value, TABLE_VALUE_MAX);
    r = table_list_find_address(list, address, config_str(router->view, P_recipient_delimiter),
                                route_is_local(router, address), &hit);
    rest = r == 0 ? bytes_buf(&hit.value) : bytes_of(NULL, 0);
    r = r == GW_ERR_NOTFOUND ? 0 : r;
    while (r == 0 && bytes_next_token(&rest, ", \t\r\n", &word)) {
        r = add_copy(router, word, add, context);
    }
    buf_free(&hit.value);
    return r;
}

int
router_recipients(struct router *router, struct bytes canonical, router_add *add, void *context)
{
    struct buf rewritten, straight;
    int r = 0;

    buf_init(&rewritten, ADDRESS_BUF);
    buf_init(&straight, ADDRESS_BUF);
    if (router_is_routed(router, canonical) && (r = router_unroute(router, canonical, &straight)) == 0) {
        canonical = bytes_buf(&straight);
    }
    r = r == 0 ? rewrite_and_expand(router, canonical, &rewritten, add, context) : r;
    r = r == 0 ? add_copies_for(router, router->recipient_bcc, bytes_buf(&rewritten), add, context) : r;
    buf_free(&rewritten);
    buf_free(&straight);
    return r;
}

static int
add_to_envelope(void *context, struct bytes address)
{
    return envelope_add_recipient(context, address, address, NOTIFY_DEFAULT, bytes_of(NULL, 0));
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
    int r = 0;

    if (envelope->sender.n > 0) {
        r = rewrite_sender(router, envelope);
        r = r == 0 ? add_copies_for(router, router->sender_bcc, envelope->sender, add_to_envelope, envelope)
                   : r;
    }
    while (r == 0 && !router->maps_nothing && bytes_next_token(&rest, ", \t", &word)) {
        r = add_copy(router, word, add_to_envelope, envelope);
    }
    return r;
}

/*
 * route_rewrite - canonical mapping and virtual alias expansion (canonical(5), virtual(5)).
 *
 * Before: receive_rcpt.c; after: the envelope holds final addresses. Expansion is bounded in depth and number
 * (virtual_alias_recursion_limit, virtual_alias_expansion_limit); an address that maps to itself stands.
 */
#include <string.h>

#include "base/error.h"
#include "message/address.h"
#include "policy/route_internal.h"

enum { ADDRESS_BUF = 4096 };

static bool
is_local_domain(struct router *router, struct bytes address)
{
    struct bytes local, domain;
    enum address_class class;

    address_split(address, &local, &domain);
    return bytes_equal_nocase(domain, bytes_str(config_str(router->view, P_myorigin))) ||
           (router_class(router, domain, &class) == 0 && class == CLASS_LOCAL);
}

/* One address of a right-hand side: "@other.example" keeps the local part; the rest is made canonical. */
static int
complete(struct router *router, struct bytes word, struct bytes original, struct buf *out)
{
    struct buf joined;
    int r;

    buf_init(&joined, ADDRESS_BUF);
    if (word.n > 1 && word.p[0] == '@') {
        struct bytes local, domain;

        address_split(original, &local, &domain);
        r = buf_append_bytes(&joined, local);
        r = r == 0 ? buf_append_bytes(&joined, word) : r;
    } else {
        r = buf_append_bytes(&joined, word);
    }
    r = r == 0 ? router_canonical_form(router, bytes_buf(&joined), out) : r;
    buf_free(&joined);
    return r;
}

/* The address as it is after one table list; the same when nothing is said. */
static int
map_once(struct router *router, struct table_list *list, struct buf *address)
{
    struct table_hit hit;
    struct buf mapped;
    int r;

    if (table_list_is_empty(list)) {
        return 0;
    }
    buf_init(&hit.value, TABLE_VALUE_MAX);
    buf_init(&mapped, ADDRESS_BUF);
    r = table_list_find_address(list, bytes_buf(address), config_str(router->view, P_recipient_delimiter),
                                is_local_domain(router, bytes_buf(address)), &hit);
    if (r == 0) {
        r = complete(router, bytes_trim(bytes_buf(&hit.value)), bytes_buf(address), &mapped);
        if (r == 0) {
            buf_clear(address);
            r = buf_append_bytes(address, bytes_buf(&mapped));
        } else {
            r = GW_ERR_TEMP; /* a right-hand side that is no address is the table's fault, not the sender's */
        }
    } else if (r == GW_ERR_NOTFOUND) {
        r = 0;
    }
    buf_free(&hit.value);
    buf_free(&mapped);
    return r;
}

int
router_rewrite(struct router *router, struct bytes address, bool is_sender, struct buf *out)
{
    int r = buf_append_bytes(out, address);

    r = r == 0 ? map_once(router, is_sender ? router->sender_canonical : router->recipient_canonical, out)
               : r;
    return r == 0 ? map_once(router, router->canonical, out) : r;
}

struct expansion {
    struct router *router;
    int (*add)(void *context, struct bytes address);
    void *context;
    int64_t left; /* addresses that may still be made */
    int64_t deepest;
};

static int
expand(struct expansion *e, struct bytes address, int64_t depth)
{
    struct table_hit hit;
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
                                is_local_domain(e->router, address), &hit);
    if (r == GW_ERR_NOTFOUND) {
        r = e->add(e->context, address);
        goto out;
    }
    rest = bytes_buf(&hit.value);
    while (r == 0 && bytes_next_token(&rest, ", \t\r\n", &word)) {
        buf_clear(&next);
        if (complete(e->router, word, address, &next) != 0) {
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
router_expand(struct router *router, struct bytes address, int (*add)(void *context, struct bytes address),
              void *context)
{
    struct expansion e = {.router = router,
                          .add = add,
                          .context = context,
                          .left = config_int(router->view, P_virtual_alias_expansion_limit),
                          .deepest = config_int(router->view, P_virtual_alias_recursion_limit)};

    return table_list_is_empty(router->virtual_alias) ? add(context, address) : expand(&e, address, 0);
}

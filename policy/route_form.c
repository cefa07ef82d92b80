/*
 * route_form - addresses made whole, as trivial-rewrite(8) does: bare names, bare hosts, host!user,
 * user%host.
 *
 * Before: an address as a client, a table or a header field gives it; after: route_rewrite.c maps the
 * canonical form. Envelopes always mean names of this site; header fields mean what the context of their
 * message says (local_header_rewrite_clients, remote_header_rewrite_domain). Nothing here looks into a table.
 */
#include <string.h>

#include "base/error.h"
#include "base/net.h"
#include "message/address.h"
#include "policy/route_internal.h"

/* Without a domain, "host!user" means user@host and "user%host" too (rewrite_tree() of trivial-rewrite). */
static void
split_routed(const struct config *view, struct bytes address, struct bytes *local_r, struct bytes *domain_r)
{
    ptrdiff_t bang = bytes_index(address, '!'), percent = bytes_rindex(address, '%');

    if (bang >= 0 && config_bool(view, P_swap_bangpath)) {
        *domain_r = bytes_sub(address, 0, (size_t)bang);
        *local_r = bytes_sub(address, (size_t)bang + 1, address.n);
    } else if (percent >= 0 && config_bool(view, P_allow_percent_hack)) {
        *local_r = bytes_sub(address, 0, (size_t)percent);
        *domain_r = bytes_sub(address, (size_t)percent + 1, address.n);
    }
}

/* origin is for names without a host, suffix for hosts without a dot. */
static int
complete(const struct config *view, const char *origin, const char *suffix, struct bytes address,
         bool is_one_name, struct buf *out)
{
    bool has_at = !is_one_name && bytes_index(address, '@') >= 0;
    struct bytes local = address, domain = {0};
    int r;

    if (has_at) {
        address_split(address, &local, &domain);
    } else if (!is_one_name) {
        split_routed(view, address, &local, &domain);
        has_at = domain.p != NULL;
    }
    if ((r = buf_append_bytes(out, local)) != 0 ||
        (has_at && ((r = buf_append_byte(out, '@')) != 0 || (r = buf_append_bytes(out, domain)) != 0))) {
        return r;
    }
    if (!has_at) {
        return config_bool(view, P_append_at_myorigin) && origin[0] != '\0' ? buf_printf(out, "@%s", origin)
                                                                            : 0;
    }
    if (domain.n > 0 && domain.p[0] != '[' && bytes_index(domain, '.') < 0) {
        return strcmp(config_str(view, P_append_dot_mydomain), "yes") == 0 && suffix[0] != '\0'
                   ? buf_printf(out, ".%s", suffix)
                   : 0;
    }
    if (domain.n > 1 && domain.p[domain.n - 1] == '.' && domain.p[domain.n - 2] != '.') {
        buf_truncate(out, out->n - 1); /* the root, as in DNS */
    }
    return 0;
}

static bool
is_ipv4(struct bytes domain)
{
    struct net_addr addr;

    return domain.n > 0 && bytes_index(domain, ':') < 0 && net_addr_parse(domain, &addr) == 0;
}

/* What resolves as no host name: "user@192.0.2.1" and "user@", where parameters give them a meaning. */
static int
resolve_odd_domain(const struct config *view, struct buf *out, struct bytes domain)
{
    char text[NET_ADDR_TEXT_MAX];

    if (domain.n == 0) {
        return config_bool(view, P_resolve_null_domain) ? buf_append_str(out, config_str(view, P_myhostname))
                                                        : GW_ERR_SYNTAX;
    }
    if (!config_bool(view, P_resolve_numeric_domain) || !is_ipv4(domain) || domain.n >= sizeof(text)) {
        return GW_ERR_SYNTAX;
    }
    memcpy(text, domain.p, domain.n);
    text[domain.n] = '\0';
    buf_truncate(out, out->n - domain.n);
    return buf_printf(out, "[%s]", text);
}

int
router_canonical_form(struct router *router, struct bytes address, struct buf *out)
{
    const struct config *view = router->view;
    struct bytes local, domain;
    size_t before = out->n;
    int r;

    if (address.n == 0) {
        return GW_ERR_SYNTAX;
    }
    r = complete(view, config_str(view, P_myorigin), config_str(view, P_mydomain), address, false, out);
    if (r != 0) {
        return r;
    }
    struct bytes whole = bytes_sub(bytes_buf(out), before, out->n);
    if (bytes_index(whole, '@') < 0) {
        return 0; /* append_at_myorigin = no */
    }
    address_split(whole, &local, &domain);
    return address_is_literal(domain) || (address_is_hostname(domain) && domain.p[domain.n - 1] != '.')
               ? 0
               : resolve_odd_domain(view, out, domain);
}

bool
router_accepts(const struct router *router, struct bytes address)
{
    const struct config *view = router->view;
    struct bytes local, domain;

    address_split(address, &local, &domain);
    if (address.n > 0 && address.p[0] == '-' && !config_bool(view, P_allow_min_user)) {
        return false; /* programs would take it for an option */
    }
    if (local.n == address.n || address_is_literal(domain)) {
        return true;
    }
    if (domain.n == 0) {
        return config_bool(view, P_resolve_null_domain);
    }
    return address_is_hostname(domain) || (is_ipv4(domain) && config_bool(view, P_resolve_numeric_domain));
}

int
router_header_form(const struct router *router, enum header_context context, struct bytes address,
                   bool is_one_name, struct buf *out)
{
    const struct config *view = router->view;
    bool remote = context == HEADER_REMOTE;
    const char *strange = config_str(view, P_remote_header_rewrite_domain);

    return complete(view, remote ? strange : config_str(view, P_myorigin),
                    remote ? strange : config_str(view, P_mydomain), address, is_one_name, out);
}

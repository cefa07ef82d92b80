/*
 * route - see the header: address classes, rewriting, expansion, transport and next hop.
 *
 * Before: restrictions, receive_rcpt.c and the queue; after: tables and lists opened once per view. What a
 * table cannot tell now is GW_ERR_TEMP all the way up.
 */
#include "policy/route.h"

#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "message/address.h"
#include "policy/route_internal.h"

/* "name: " in front of what is said from `from` on. */
static int
name_mistake(enum param param, size_t from, struct buf *error_r, int r)
{
    char *said = r != 0 ? bytes_dup_str(bytes_sub(bytes_buf(error_r), from, error_r->n)) : NULL;

    if (said != NULL) {
        buf_truncate(error_r, from);
        (void)buf_printf(error_r, "%s: %s", PARAMS[param].name, said);
    }
    free(said);
    return r;
}

static int
open_list(const struct config *view, enum param param, unsigned flags, struct match_list **list_r,
          struct buf *error_r)
{
    size_t before = error_r->n;
    int r = match_list_open(view, config_str(view, param), flags, list_r, error_r);

    return name_mistake(param, before, error_r, r);
}

static int
open_tables(const struct config *view, enum param param, struct table_list **list_r, struct buf *error_r)
{
    size_t before = error_r->n;
    int r = table_list_open(view, config_str(view, param), TABLE_FOLD, list_r, error_r);

    return name_mistake(param, before, error_r, r);
}

static const struct {
    enum param param;
    size_t offset;
} TABLES[] = {
    {P_canonical_maps, offsetof(struct router, canonical)},
    {P_sender_canonical_maps, offsetof(struct router, sender_canonical)},
    {P_recipient_canonical_maps, offsetof(struct router, recipient_canonical)},
    {P_virtual_alias_maps, offsetof(struct router, virtual_alias)},
    {P_virtual_mailbox_maps, offsetof(struct router, virtual_mailbox)},
    {P_relay_recipient_maps, offsetof(struct router, relay_recipients)},
    {P_transport_maps, offsetof(struct router, transport)},
    {P_sender_dependent_relayhost_maps, offsetof(struct router, sender_relayhost)},
    {P_sender_dependent_default_transport_maps, offsetof(struct router, sender_transport)},
    {P_relocated_maps, offsetof(struct router, relocated)},
    {P_sender_bcc_maps, offsetof(struct router, sender_bcc)},
    {P_recipient_bcc_maps, offsetof(struct router, recipient_bcc)},
};

struct word_bit {
    const char *word; /* NULL ends the list */
    unsigned bit;     /* 0: known, and read elsewhere */
};

static const struct word_bit PLACES[] = {{"envelope_sender", ADDRESS_ENVELOPE_SENDER},
                                         {"envelope_recipient", ADDRESS_ENVELOPE_RECIPIENT},
                                         {"header_sender", ADDRESS_HEADER_SENDER},
                                         {"header_recipient", ADDRESS_HEADER_RECIPIENT},
                                         {NULL, 0}};
static const struct word_bit EXTENSIONS[] = {{"canonical", EXTENSION_CANONICAL},
                                             {"virtual", EXTENSION_VIRTUAL},
                                             {"alias", 0},
                                             {"forward", 0},
                                             {"include", 0},
                                             {"generic", 0},
                                             {NULL, 0}};

/* Parameters that are lists of words: where an address is rewritten, what keeps its extension. */
static const struct {
    enum param param;
    size_t offset;
    const struct word_bit *words;
} WORDS[] = {
    {P_canonical_classes, offsetof(struct router, canonical_places), PLACES},
    {P_sender_canonical_classes, offsetof(struct router, sender_canonical_places), PLACES},
    {P_recipient_canonical_classes, offsetof(struct router, recipient_canonical_places), PLACES},
    {P_masquerade_classes, offsetof(struct router, masquerade_places), PLACES},
    {P_propagate_unmatched_extensions, offsetof(struct router, propagate), EXTENSIONS},
};

static const struct {
    enum param param;
    bool parents; /* where parent_domain_matches_subdomains says so */
    size_t offset;
} LISTS[] = {
    {P_mydestination, false, offsetof(struct router, mydestination)},
    {P_virtual_alias_domains, false, offsetof(struct router, virtual_alias_domains)},
    {P_virtual_mailbox_domains, false, offsetof(struct router, virtual_mailbox_domains)},
    {P_relay_domains, true, offsetof(struct router, relay_domains)},
    {P_masquerade_exceptions, false, offsetof(struct router, masquerade_exceptions)},
};

static int
read_words(struct router *router, struct buf *error_r)
{
    for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++) {
        struct bytes rest = bytes_str(config_str(router->view, WORDS[i].param)), word;
        unsigned *bits = (unsigned *)(void *)((char *)router + WORDS[i].offset);

        while (bytes_next_token(&rest, ", \t\r\n", &word)) {
            const struct word_bit *known = WORDS[i].words;

            while (known->word != NULL && !bytes_equal_nocase(word, bytes_str(known->word))) {
                known++;
            }
            if (known->word == NULL) {
                (void)buf_printf(error_r, "%s: unknown word \"%.*s\"", PARAMS[WORDS[i].param].name,
                                 BYTES_FMT(word));
                return GW_ERR_CONFIG;
            }
            *bits |= known->bit;
        }
    }
    struct bytes drop = bytes_str(config_str(router->view, P_message_drop_headers)), name;
    while (bytes_next_token(&drop, ", \t\r\n", &name)) {
        enum header_field known = header_field_known(name);

        router->drop |= known != FIELD_OTHER ? HEADER_FIELD_BIT(known) : 0;
        router->drops_others |= known == FIELD_OTHER;
    }
    router->maps_nothing =
        strstr(config_str(router->view, P_receive_override_options), "no_address_mappings") != NULL;
    return 0;
}

/* The users of this host. A table that does not open (no aliases.db yet) must not keep the gateway down:
 * recipients of local domains are answered 451 until it is there, as Postfix does. */
static void
open_local_recipients(struct router *router)
{
    struct buf why;

    buf_init(&why, 1024);
    if (config_str(router->view, P_mydestination)[0] != '\0' &&
        open_tables(router->view, P_local_recipient_maps, &router->local_recipients, &why) != 0) {
        log_warning("trivial-rewrite", "%s", buf_str(&why));
        (void)table_list_open(router->view, "fail:local_recipient_maps", 0, &router->local_recipients, &why);
    }
    buf_free(&why);
}

static void
add_own(struct router *router, const struct net_addr *addr)
{
    if (router->own_count < ROUTER_OWN_MAX) {
        router->own[router->own_count++] = *addr;
    }
}

/* The addresses of this host, and those that inet_interfaces and proxy_interfaces name. */
static void
find_own_addresses(struct router *router)
{
    const enum param params[] = {P_inet_interfaces, P_proxy_interfaces};
    struct ifaddrs *list = NULL;
    struct net_addr addr;
    struct bytes word;

    if (getifaddrs(&list) == 0) {
        for (const struct ifaddrs *at = list; at != NULL; at = at->ifa_next) {
            if (at->ifa_addr != NULL &&
                (at->ifa_addr->sa_family == AF_INET || at->ifa_addr->sa_family == AF_INET6)) {
                net_addr_from_sockaddr(at->ifa_addr, &addr);
                add_own(router, &addr);
            }
        }
        freeifaddrs(list);
    }
    for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++) {
        struct bytes rest = bytes_str(config_str(router->view, params[i]));

        while (bytes_next_token(&rest, ", \t[]", &word)) {
            if (net_addr_parse(word, &addr) == 0) {
                add_own(router, &addr);
            }
        }
    }
}

int
router_new(const struct config *view, struct router **router_r, struct buf *error_r)
{
    struct router *router = calloc(1, sizeof(*router));
    int r = router == NULL ? GW_ERR_NOMEM : 0;

    *router_r = NULL;
    if (router != NULL) {
        router->view = view;
    }
    for (size_t i = 0; r == 0 && i < sizeof(TABLES) / sizeof(TABLES[0]); i++) {
        r = open_tables(view, TABLES[i].param,
                        (struct table_list **)(void *)((char *)router + TABLES[i].offset), error_r);
    }
    bool parents = strstr(config_str(view, P_parent_domain_matches_subdomains), "relay_domains") != NULL;
    for (size_t i = 0; r == 0 && i < sizeof(LISTS) / sizeof(LISTS[0]); i++) {
        r = open_list(view, LISTS[i].param, LISTS[i].parents && parents ? MATCH_PARENT : 0,
                      (struct match_list **)(void *)((char *)router + LISTS[i].offset), error_r);
    }
    r = r == 0 ? read_words(router, error_r) : r;
    if (r == 0) {
        open_local_recipients(router);
        find_own_addresses(router);
        *router_r = router;
        router = NULL; /* transferred */
    }
    router_free(&router);
    return r;
}

void
router_free(struct router **router)
{
    if (*router == NULL) {
        return;
    }
    for (size_t i = 0; i < sizeof(TABLES) / sizeof(TABLES[0]); i++) {
        table_list_free((struct table_list **)(void *)((char *)*router + TABLES[i].offset));
    }
    for (size_t i = 0; i < sizeof(LISTS) / sizeof(LISTS[0]); i++) {
        match_list_free((struct match_list **)(void *)((char *)*router + LISTS[i].offset));
    }
    table_list_free(&(*router)->local_recipients);
    free(*router);
    *router = NULL;
}

bool
router_is_own_address(const struct router *router, const struct net_addr *addr)
{
    for (size_t i = 0; i < router->own_count; i++) {
        if (net_addr_equal(addr, &router->own[i])) {
            return true;
        }
    }
    return false;
}

/* "[192.0.2.1]" and "[IPv6:2001:db8::1]" are local when the address is ours. */
static bool
is_own_literal(const struct router *router, struct bytes domain)
{
    struct net_addr addr;

    if (!address_is_literal(domain)) {
        return false;
    }
    struct bytes inner = bytes_sub(domain, 1, domain.n - 2);
    if (bytes_has_prefix_nocase(inner, BYTES_LIT("IPv6:"))) {
        inner = bytes_sub(inner, 5, inner.n);
    }
    return net_addr_parse(inner, &addr) == 0 && router_is_own_address(router, &addr);
}

int
router_class(struct router *router, struct bytes domain, enum address_class *class_r)
{
    const struct {
        struct match_list *list;
        enum address_class class;
    } classes[] = {
        {router->mydestination, CLASS_LOCAL},
        {router->virtual_alias_domains, CLASS_VIRTUAL_ALIAS},
        {router->virtual_mailbox_domains, CLASS_VIRTUAL_MAILBOX},
        {router->relay_domains, CLASS_RELAY},
    };

    *class_r = CLASS_DEFAULT;
    if (domain.n > 0 && domain.p[domain.n - 1] == '.') {
        domain.n--;
    }
    if (domain.n > 0 && domain.p[0] == '[') {
        *class_r = is_own_literal(router, domain) ? CLASS_LOCAL : CLASS_DEFAULT;
        return 0;
    }
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        int r = match_list_name(classes[i].list, domain);

        if (r < 0) {
            return GW_ERR_TEMP;
        }
        if (r == 1) {
            *class_r = classes[i].class;
            return 0;
        }
    }
    return 0;
}

/* 1, 0, GW_ERR_TEMP */
static int
is_in(struct router *router, struct table_list *list, struct bytes address, bool local)
{
    struct table_hit hit;

    buf_init(&hit.value, TABLE_VALUE_MAX);
    int r =
        table_list_find_address(list, address, config_str(router->view, P_recipient_delimiter), local, &hit);
    buf_free(&hit.value);
    return r == 0 ? 1 : r == GW_ERR_NOTFOUND ? 0 : GW_ERR_TEMP;
}

/* Every host has them (RFC 5321 section 4.5.1; bounces come from the other two, and what has no name at all
 * goes to empty_address_recipient). */
static bool
is_of_the_system(const struct router *router, struct bytes address)
{
    const char *const names[] = {"postmaster", "MAILER-DAEMON",
                                 config_str(router->view, P_double_bounce_sender)};
    struct bytes local, domain;
    bool any;

    address_split(address, &local, &domain);
    any = local.n == 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        any = any || bytes_equal_nocase(local, bytes_str(names[i]));
    }
    return any;
}

int
router_recipient_exists(struct router *router, struct bytes address, enum address_class class)
{
    bool local = class == CLASS_LOCAL;
    struct table_list *const rewriting[] = {router->recipient_canonical, router->canonical,
                                            router->virtual_alias};
    struct table_list *own = class == CLASS_LOCAL             ? router->local_recipients
                             : class == CLASS_VIRTUAL_MAILBOX ? router->virtual_mailbox
                             : class == CLASS_RELAY           ? router->relay_recipients
                                                              : NULL;
    int r = 0;

    if (class == CLASS_DEFAULT || (class != CLASS_VIRTUAL_ALIAS && table_list_is_empty(own)) ||
        (local && is_of_the_system(router, address))) {
        return 1;
    }
    /* An address that is rewritten to another exists, whatever its own table says. */
    for (size_t i = 0; r == 0 && i < sizeof(rewriting) / sizeof(rewriting[0]); i++) {
        r = is_in(router, rewriting[i], address, local);
    }
    return r == 0 && own != NULL ? is_in(router, own, address, local) : r;
}

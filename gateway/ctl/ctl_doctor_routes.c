/*
 * ctl_doctor_routes - domains and where their mail goes: classes that overlap, routes nobody may use, mail
 * that comes back to us.
 *
 * Before: ctl_doctor.c; after: policy/route.c tells what is ours.
 */
#include <ifaddrs.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "ctl/ctl_doctor_private.h"

enum { NAME_ROOM = 512, NEAR_EDITS = 2, NEAR_LENGTH_MIN = 6, MANY = 20 };

static const enum param CLASSES[] = {P_mydestination, P_virtual_alias_domains, P_virtual_mailbox_domains,
                                     P_relay_domains};
enum { CLASS_LISTS = sizeof(CLASSES) / sizeof(CLASSES[0]) };

/* --- unaccepted-route: SCE18 --- */

struct routes {
    struct doctor *doctor;
    const struct doctor_table *table;
    size_t told;
};

/* An accepted domain that this one may be a slip of; false: none. */
static bool
find_near_domain(struct doctor *doctor, const char *domain, char near[NAME_ROOM], enum param *list_r)
{
    char word[NAME_ROOM];

    for (size_t i = 0; i < CLASS_LISTS; i++) {
        for (size_t n = 0; doctor_word(config_str(doctor->config, CLASSES[i]), n, word, sizeof(word)); n++) {
            if (strchr(word, ':') == NULL && strlen(word) >= NEAR_LENGTH_MIN &&
                doctor_distance(domain, word, NEAR_EDITS) <= NEAR_EDITS) {
                (void)snprintf(near, NAME_ROOM, "%s", word);
                *list_r = CLASSES[i];
                return true;
            }
        }
    }
    return false;
}

static bool
look_at_route(void *context, struct bytes key, struct bytes value, int line)
{
    struct routes *routes = context;
    struct doctor *doctor = routes->doctor;
    char domain[NAME_ROOM], near[NAME_ROOM];
    enum param list;
    struct bytes name = key.n > 0 && key.p[0] == '.' ? bytes_sub(key, 1, key.n) : key;

    if (bytes_equal(key, BYTES_LIT("*")) || bytes_index(key, '@') >= 0 || bytes_index(name, '.') < 0 ||
        doctor_is_ours(doctor, name) || bytes_has_prefix_nocase(value, BYTES_LIT("error:")) ||
        bytes_has_prefix_nocase(value, BYTES_LIT("discard:"))) {
        return true;
    }
    (void)snprintf(domain, sizeof(domain), "%.*s", BYTES_FMT(name));
    char *where = doctor_where_line(routes->table->path, line);
    if (find_near_domain(doctor, domain, near, &list)) {
        doctor->severity = DOCTOR_WARNING;
        doctor_tell(
            doctor, where,
            "there is a route for %s, and mail for it from outside is refused: %s has %s; one of the two "
            "names may be a slip",
            domain, PARAMS[list].name, near);
    } else if (routes->told++ < MANY) {
        doctor->severity = DOCTOR_NOTE;
        doctor_tell(doctor, where,
                    "mail for %s from outside is refused: only clients in mynetworks use this route", domain);
    }
    free(where);
    return true;
}

static void
find_unaccepted(struct doctor *doctor)
{
    for (size_t i = 0; doctor->router != NULL && i < doctor->table_count; i++) {
        struct routes routes = {.doctor = doctor, .table = &doctor->tables[i]};

        if (routes.table->param == P_transport_maps && doctor_is_keyed(routes.table)) {
            doctor_entries(routes.table->path, look_at_route, &routes);
        }
    }
}

/* --- two-classes --- */

static void
tell_twice(struct doctor *doctor, const char *domain, enum param first, enum param second)
{
    char *where = doctor_where(doctor->config, second, domain);

    doctor_tell(doctor, where,
                "%s stands in %s and in %s: the first decides, the other is never looked at for it", domain,
                PARAMS[first].name, PARAMS[second].name);
    free(where);
}

/* relay_domains = $mydestination was the default for twenty years and means no harm: local decides. */
static bool
is_harmless(enum param first, enum param second)
{
    return first == P_mydestination && second == P_relay_domains;
}

static bool
is_set(const struct doctor *doctor, enum param list)
{
    return list != P_relay_domains || config_is_set(doctor->config, list);
}

/* Without virtual_alias_domains the domains are those keys of virtual_alias_maps that are domains. */
static void
look_into_aliases(struct doctor *doctor, const char *domain)
{
    for (size_t i = 0; i < doctor->table_count; i++) {
        const struct doctor_table *table = &doctor->tables[i];
        int line;

        if ((table->param != P_virtual_alias_maps && strcmp(table->setting, "virtual_maps") != 0) ||
            !doctor_is_keyed(table) || config_is_set(doctor->config, P_virtual_alias_domains) ||
            (line = doctor_find_key(table->path, bytes_str(domain), NULL)) == 0) {
            continue;
        }
        char *where = doctor_where_line(table->path, line);
        doctor_tell(
            doctor, where,
            "%s is made a virtual alias domain here and stands in mydestination as well: its unlisted users "
            "are local users",
            domain);
        free(where);
    }
}

static void
find_twice(struct doctor *doctor)
{
    char word[NAME_ROOM];

    for (size_t i = 0; i < CLASS_LISTS; i++) {
        for (size_t n = 0; doctor_word(config_str(doctor->config, CLASSES[i]), n, word, sizeof(word)); n++) {
            if (strpbrk(word, ":/!") != NULL) {
                continue;
            }
            for (size_t k = i + 1; k < CLASS_LISTS; k++) {
                if (!is_harmless(CLASSES[i], CLASSES[k]) && is_set(doctor, CLASSES[i]) &&
                    is_set(doctor, CLASSES[k]) &&
                    doctor_has_word(config_str(doctor->config, CLASSES[k]), word)) {
                    tell_twice(doctor, word, CLASSES[i], CLASSES[k]);
                }
            }
            if (CLASSES[i] == P_mydestination) {
                look_into_aliases(doctor, word);
            }
        }
    }
}

/* --- route-to-ourselves --- */

static bool
is_own_address(const struct net_addr *addr)
{
    struct ifaddrs *list = NULL;
    struct net_addr own;
    bool found = false;

    if (getifaddrs(&list) == 0) {
        for (const struct ifaddrs *at = list; at != NULL && !found; at = at->ifa_next) {
            if (at->ifa_addr != NULL &&
                (at->ifa_addr->sa_family == AF_INET || at->ifa_addr->sa_family == AF_INET6)) {
                net_addr_from_sockaddr(at->ifa_addr, &own);
                found = net_addr_equal(&own, addr);
            }
        }
        freeifaddrs(list);
    }
    return found;
}

static bool
listens_on(const struct doctor *doctor, unsigned port)
{
    for (size_t i = 0; i < config_service_count(doctor->config); i++) {
        const struct config_service *service = config_service(doctor->config, i);

        if (strcmp(service->type, "inet") == 0 && doctor_port(service->name) == port &&
            (strcmp(service->program, "smtpd") == 0 || strcmp(service->program, "postscreen") == 0)) {
            return true;
        }
    }
    return false;
}

/* "[host]:port", "host", "[192.0.2.1]": is it this gateway, on a port where it takes mail? */
static bool
is_ourselves(const struct doctor *doctor, struct bytes nexthop)
{
    char host[NAME_ROOM], text[NAME_ROOM];
    struct net_addr addr;
    unsigned port = 25;

    (void)snprintf(text, sizeof(text), "%.*s", BYTES_FMT(nexthop));
    char *bracket = strrchr(text, ']'), *colon = strrchr(bracket != NULL ? bracket : text, ':');
    if (colon != NULL) {
        *colon = '\0';
        port = doctor_port(colon + 1);
    }
    (void)snprintf(host, sizeof(host), "%s", text[0] == '[' ? text + 1 : text);
    host[strcspn(host, "]")] = '\0';
    if (host[0] == '\0' || port == 0 || !listens_on(doctor, port)) {
        return false;
    }
    if (net_addr_parse(bytes_str(host), &addr) == 0) {
        return is_own_address(&addr) || (addr.family == AF_INET && addr.ip[0] == 127);
    }
    return strcasecmp(host, config_str(doctor->config, P_myhostname)) == 0 ||
           strcasecmp(host, "localhost") == 0;
}

static bool
look_for_loop(void *context, struct bytes key, struct bytes value, int line)
{
    struct routes *routes = context;
    ptrdiff_t colon = bytes_index(value, ':');

    if (colon > 0 &&
        (bytes_has_prefix_nocase(value, BYTES_LIT("smtp:")) ||
         bytes_has_prefix_nocase(value, BYTES_LIT("relay:"))) &&
        is_ourselves(routes->doctor, bytes_sub(value, (size_t)colon + 1, value.n))) {
        char *where = doctor_where_line(routes->table->path, line);

        doctor_tell(routes->doctor, where,
                    "mail for %.*s is sent to %.*s, which is this gateway: it goes round", BYTES_FMT(key),
                    BYTES_FMT(value));
        free(where);
    }
    return true;
}

static void
find_loops(struct doctor *doctor)
{
    const char *relayhost = config_str(doctor->config, P_relayhost);

    if (relayhost[0] != '\0' && is_ourselves(doctor, bytes_str(relayhost))) {
        char *where = doctor_where(doctor->config, P_relayhost, NULL);

        doctor_tell(doctor, where, "relayhost %s is this gateway: what it sends out comes back to it",
                    relayhost);
        free(where);
    }
    for (size_t i = 0; i < doctor->table_count; i++) {
        struct routes routes = {.doctor = doctor, .table = &doctor->tables[i]};

        if (routes.table->param == P_transport_maps && doctor_is_keyed(routes.table)) {
            doctor_entries(routes.table->path, look_for_loop, &routes);
        }
    }
}

/* --- unknown-recipients: DOM6 --- */

/* What relay_domains has beside mydestination; "" when nothing. */
static void
collect_relayed(const struct config *config, struct buf *out)
{
    char word[NAME_ROOM];

    for (size_t n = 0; doctor_word(config_str(config, P_relay_domains), n, word, sizeof(word)); n++) {
        if (!doctor_has_word(config_str(config, P_mydestination), word)) {
            (void)buf_printf(out, "%s%s", out->n > 0 ? ", " : "", word);
        }
    }
}

static void
find_unknown_recipients(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    struct buf domains;

    buf_init(&domains, NAME_ROOM);
    collect_relayed(config, &domains);
    if (domains.n > 0 && config_is_set(config, P_relay_domains) &&
        config_str(config, P_relay_recipient_maps)[0] == '\0' &&
        strstr(config_str(config, P_smtpd_recipient_restrictions), "reject_unverified_recipient") == NULL) {
        char *where = doctor_where(config, P_relay_domains, NULL);

        doctor_tell(
            doctor, where,
            "every address of %s is accepted: what the server behind us then refuses is returned to its "
            "sender, who is forged in spam (backscatter)",
            buf_str(&domains));
        free(where);
    }
    buf_free(&domains);
}

/* --- no-postmaster: RTE6, CHR6 --- */

/* What stands for the name; 1 found, 0 not there, -1 cannot be told. */
static int
find_alias(const struct doctor *doctor, const char *name, struct buf *value)
{
    struct table_list *aliases = NULL;
    struct table_hit hit = {0};
    struct buf why;
    int found = -1;

    for (size_t i = 0; i < doctor->table_count; i++) {
        const struct doctor_table *table = &doctor->tables[i];

        if (table->param == P_alias_maps && doctor_is_keyed(table) &&
            doctor_find_key(table->path, bytes_str(name), value) > 0) {
            return 1;
        }
    }
    buf_init(&why, NAME_ROOM);
    buf_init(&hit.value, TABLE_VALUE_MAX);
    if (table_list_open(doctor->config, config_str(doctor->config, P_alias_maps), TABLE_FOLD, &aliases,
                        &why) == 0) {
        int r = table_list_find(aliases, bytes_str(name), &hit);

        found = r == 0 ? 1 : r == GW_ERR_NOTFOUND ? 0 : -1;
        (void)buf_append_bytes(value, bytes_buf(&hit.value));
    }
    table_list_free(&aliases);
    buf_free(&hit.value);
    buf_free(&why);
    return found;
}

static void
find_postmaster(struct doctor *doctor)
{
    static const char *const NAMES[] = {"postmaster", "root", "abuse"};
    const struct config *config = doctor->config;
    struct buf value;

    if (config_str(config, P_mydestination)[0] == '\0') {
        return; /* no local mail */
    }
    char *where = doctor_where(config, P_alias_maps, NULL);
    buf_init(&value, TABLE_VALUE_MAX);
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        buf_clear(&value);
        int found = find_alias(doctor, NAMES[i], &value);

        if (found == 0 && getpwnam(NAMES[i]) == NULL) {
            doctor->severity = i == 0 ? DOCTOR_ERROR : DOCTOR_NOTE;
            doctor_tell(doctor, where, "mail for %s goes nowhere: there is no alias and no user of that name",
                        NAMES[i]);
        } else if (i == 0 && found == 1 && bytes_equal_nocase(bytes_buf(&value), BYTES_LIT("root"))) {
            struct buf root;

            buf_init(&root, TABLE_VALUE_MAX);
            doctor->severity = DOCTOR_NOTE;
            if (find_alias(doctor, "root", &root) != 1) {
                doctor_tell(doctor, where, "mail for postmaster goes to root's mailbox, which nobody reads");
            }
            buf_free(&root);
        }
    }
    buf_free(&value);
    free(where);
}

/* --- unreachable-host, odd-name --- */

static void
find_closed_interfaces(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    bool takes = config_is_set(config, P_relay_domains) && config_str(config, P_relay_domains)[0] != '\0';
    size_t open = 0, ports = 0;

    for (size_t i = 0; i < config_service_count(config); i++) {
        const struct config_service *service = config_service(config, i);

        if (strcmp(service->type, "inet") == 0 && listens_on(doctor, doctor_port(service->name))) {
            ports++;
            open += !doctor_is_loopback(config, service->name);
        }
    }
    if (takes && ports > 0 && open == 0) {
        char *where = doctor_where(config, P_inet_interfaces, NULL);

        doctor_tell(doctor, where,
                    "there are relay_domains, and no port listens to the outside (inet_interfaces = %s)",
                    config_str(config, P_inet_interfaces));
        free(where);
    }
}

static void
look_at_banner(struct doctor *doctor, const struct config *view, const struct config_service *service)
{
    const char *banner = config_str(view, P_smtpd_banner), *name = config_str(view, P_myhostname);
    size_t n = strlen(name);

    if (strncasecmp(banner, name, n) != 0 || (banner[n] != ' ' && banner[n] != '\0')) {
        char *where = doctor_where(view, P_smtpd_banner, NULL);

        doctor_tell(doctor, where,
                    "the greeting of port %s does not begin with $myhostname, as RFC 5321 wants",
                    service->name);
        free(where);
    }
}

static void
find_odd_names(struct doctor *doctor)
{
    const char *name = config_str(doctor->config, P_myhostname);

    doctor_views(doctor, "smtpd", look_at_banner);
    if (strchr(name, '.') == NULL || strstr(name, "localhost") == name) {
        char *where = doctor_where(doctor->config, P_myhostname, NULL);

        doctor->severity = DOCTOR_NOTE;
        doctor_tell(doctor, where, "myhostname is %s: servers that check the HELO name refuse mail from us",
                    name);
        free(where);
    }
}

const struct doctor_rule DOCTOR_ROUTES[] = {
    {"unaccepted-route", DOCTOR_WARNING, "D16 SCE18", "A route for a domain that is never accepted",
     find_unaccepted, "add the domain to relay_domains if its mail shall come in here, or correct the name",
     false},
    {"two-classes", DOCTOR_WARNING, "", "A domain stands in two lists of domains", find_twice,
     "leave it in one of them (postconf(5), ADDRESS_CLASS_README)", false},
    {"route-to-ourselves", DOCTOR_ERROR, "", "Mail is routed to this gateway itself", find_loops,
     "name the server behind the gateway", false},
    {"unknown-recipients", DOCTOR_WARNING, "DOM6", "Unknown users of relayed domains are accepted",
     find_unknown_recipients, "list the users in relay_recipient_maps, or use reject_unverified_recipient",
     false},
    {"no-postmaster", DOCTOR_ERROR, "RTE6 CHR6", "Mail for postmaster or abuse goes nowhere", find_postmaster,
     "add the alias, naming a person, and run newaliases", false},
    {"no-outside-port", DOCTOR_WARNING, "", "Nobody outside can reach the gateway", find_closed_interfaces,
     "set inet_interfaces = all, or name the outside address", false},
    {"odd-name", DOCTOR_WARNING, "PAR37", "A greeting or host name that others object to", find_odd_names,
     "set myhostname to the full name of this machine, and begin smtpd_banner with $myhostname", false},
    {NULL, DOCTOR_NOTE, NULL, NULL, NULL, NULL, false},
};

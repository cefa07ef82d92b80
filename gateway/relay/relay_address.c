/*
 * relay_address - see the header. Before: relay_delivery.c, which has a next hop; after: relay_session.c,
 * which connects to the hosts found here one by one.
 *
 * Owns nothing. A name that cannot be asked now is never a bounce: as long as one of several lookups failed
 * for a passing reason and no host was found, the mail waits.
 */
#include "relay/relay_address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"

enum { PORT_SMTP = 25, PORT_MAX = 65535 };

/* The services a next hop may name; /etc/services is out of reach in the jail. */
static const struct {
    const char *name;
    uint16_t port;
} PORT_NAMES[] = {
    {"smtp", 25}, {"lmtp", 24}, {"submission", 587}, {"submissions", 465}, {"smtps", 465}, {"ssmtp", 465},
};

static int
parse_port(struct bytes text, uint16_t *port_r)
{
    uint64_t value;

    if (bytes_to_u64(text, &value) == 0) {
        if (value == 0 || value > PORT_MAX) {
            return GW_ERR_SYNTAX;
        }
        *port_r = (uint16_t)value;
        return 0;
    }
    for (size_t i = 0; i < sizeof(PORT_NAMES) / sizeof(PORT_NAMES[0]); i++) {
        if (bytes_equal_nocase(text, bytes_str(PORT_NAMES[i].name))) {
            *port_r = PORT_NAMES[i].port;
            return 0;
        }
    }
    return GW_ERR_SYNTAX;
}

static bool
has_prefix(struct bytes v, const char *prefix)
{
    return bytes_has_prefix_nocase(v, bytes_str(prefix));
}

static int
copy_text(struct bytes v, char *out, size_t size)
{
    if (v.n == 0 || v.n >= size || memchr(v.p, '\0', v.n) != NULL) {
        return GW_ERR_SYNTAX;
    }
    memcpy(out, v.p, v.n);
    out[v.n] = '\0';
    return 0;
}

/* Splits "[host]:port", "[host]", "host:port" and "host". *bracketed_r: the brackets were there. */
static int
split_host_port(struct bytes text, struct bytes *host_r, struct bytes *port_r, bool *bracketed_r)
{
    *port_r = bytes_of(NULL, 0);
    *bracketed_r = text.n > 0 && text.p[0] == '[';
    if (*bracketed_r) {
        ptrdiff_t end = bytes_index(text, ']');

        if (end < 0) {
            return GW_ERR_SYNTAX;
        }
        struct bytes tail = bytes_sub(text, (size_t)end + 1, text.n);

        *host_r = bytes_sub(text, 1, (size_t)end - 1);
        if (tail.n == 0) {
            return 0;
        }
        *port_r = bytes_sub(tail, 1, tail.n);
        return tail.p[0] == ':' && port_r->n > 0 ? 0 : GW_ERR_SYNTAX;
    }
    ptrdiff_t colon = bytes_index(text, ':');

    *host_r = colon < 0 ? text : bytes_sub(text, 0, (size_t)colon);
    if (colon >= 0) {
        *port_r = bytes_sub(text, (size_t)colon + 1, text.n);
        return port_r->n > 0 ? 0 : GW_ERR_SYNTAX;
    }
    return 0;
}

int
relay_address_parse(struct bytes nexthop, const struct relay_address_rules *rules,
                    struct relay_target *target_r)
{
    struct relay_target target = {.port = rules->default_port};
    struct bytes text = bytes_trim(nexthop);
    struct bytes host, port;
    bool bracketed;
    bool inet = false;

    memset(target_r, 0, sizeof(*target_r));
    if (rules->lmtp && has_prefix(text, "unix:")) {
        int r = copy_text(bytes_sub(text, 5, text.n), target.path, sizeof(target.path));

        if (r == 0) {
            *target_r = target;
        }
        return r;
    }
    if (has_prefix(text, "inet:")) {
        inet = true;
        text = bytes_sub(text, 5, text.n);
    }
    if (split_host_port(text, &host, &port, &bracketed) != 0 || host.n == 0) {
        return GW_ERR_SYNTAX;
    }
    if (port.n > 0 && parse_port(port, &target.port) != 0) {
        return GW_ERR_SYNTAX;
    }
    struct bytes literal = bracketed && has_prefix(host, "ipv6:") ? bytes_sub(host, 5, host.n) : host;

    if (copy_text(host, target.host, sizeof(target.host)) != 0) {
        return GW_ERR_SYNTAX;
    }
    if (net_addr_parse(literal, &target.literal) != 0) {
        target.literal = (struct net_addr){0};
    }
    target.literal.port = target.port;
    target.use_mx = !bracketed && !inet && !rules->lmtp && !rules->disable_dns &&
                    target.literal.family == 0 && strcasecmp(target.host, "localhost") != 0;
    *target_r = target;
    return 0;
}

/* xorshift64*: good enough to spread load, not a secret. */
static uint64_t
next_random(uint64_t *state)
{
    uint64_t x = *state != 0 ? *state : 0x9e3779b97f4a7c15u;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1du;
}

/* Sort key: preference first, then whether the family is the preferred one. */
static unsigned
rank(const struct relay_host *host, const struct relay_address_rules *rules)
{
    unsigned other_family = rules->prefer_family != 0 && host->addr.family != rules->prefer_family;

    return ((unsigned)host->preference << 1) | other_family;
}

void
relay_address_order(struct relay_hosts *hosts, const struct relay_address_rules *rules, uint64_t *random)
{
    if (rules->randomize) {
        for (size_t i = hosts->count; i > 1; i--) {
            size_t j = (size_t)(next_random(random) % i);
            struct relay_host swap = hosts->list[i - 1];

            hosts->list[i - 1] = hosts->list[j];
            hosts->list[j] = swap;
        }
    }
    /* Insertion keeps the shuffled (or given) order of equals; the list is short. */
    for (size_t i = 1; i < hosts->count; i++) {
        struct relay_host host = hosts->list[i];
        size_t j = i;

        while (j > 0 && rank(&hosts->list[j - 1], rules) > rank(&host, rules)) {
            hosts->list[j] = hosts->list[j - 1];
            j--;
        }
        hosts->list[j] = host;
    }
}

static bool
is_own(const struct relay_host *host, const struct relay_address_rules *rules)
{
    /* On another port a host of ours is another program (a content filter, a second instance): no loop. */
    if (host->addr.family == 0 || host->addr.port != PORT_SMTP) {
        return false;
    }
    if (rules->own_name != NULL && strcasecmp(host->name, rules->own_name) == 0) {
        return true;
    }
    for (size_t i = 0; i < rules->own_count; i++) {
        if (net_addr_equal(&host->addr, &rules->own_addresses[i])) {
            return true;
        }
    }
    return false;
}

bool
relay_address_cut_loop(struct relay_hosts *hosts, const struct relay_address_rules *rules)
{
    unsigned best = UINT16_MAX + 1u;

    for (size_t i = 0; i < hosts->count; i++) {
        if (hosts->list[i].preference < best && is_own(&hosts->list[i], rules)) {
            best = hosts->list[i].preference;
        }
    }
    if (best > UINT16_MAX) {
        return false;
    }
    size_t kept = 0;
    for (size_t i = 0; i < hosts->count; i++) {
        if (hosts->list[i].preference < best) {
            hosts->list[kept++] = hosts->list[i];
        }
    }
    hosts->count = kept;
    return true;
}

__attribute__((format(printf, 4, 5))) static int
fail(struct relay_failure *failure, enum delivery_status status, const char *dsn, const char *format, ...)
{
    va_list args;

    failure->status = status;
    (void)snprintf(failure->dsn, sizeof(failure->dsn), "%s", dsn);
    va_start(args, format);
    (void)vsnprintf(failure->text, sizeof(failure->text), format, args);
    va_end(args);
    return status == DELIVERY_BOUNCED ? GW_ERR_NOTFOUND : GW_ERR_TEMP;
}

static const struct {
    enum delivery_status status;
    const char *dsn;
    const char *reason;
} LOOKUP_FAILURES[] = {
    [DNS_TEMPFAIL] = {DELIVERY_DEFERRED, "4.4.3", "Host not found, try again"},
    [DNS_FOUND] = {DELIVERY_BOUNCED, "5.4.4", "Malformed or unexpected name server reply"},
    [DNS_NODATA] = {DELIVERY_BOUNCED, "5.4.4", "Host found but no data record of requested type"},
    [DNS_NXDOMAIN] = {DELIVERY_BOUNCED, "5.4.4", "Host not found"},
};

static int
fail_lookup(struct relay_failure *failure, enum dns_status status, const char *name, const char *type)
{
    return fail(failure, LOOKUP_FAILURES[status].status, LOOKUP_FAILURES[status].dsn,
                "Host or domain name not found. Name service error for name=%s type=%s: %s", name, type,
                LOOKUP_FAILURES[status].reason);
}

static bool
add_host(struct relay_hosts *hosts, const char *name, const struct net_addr *addr, uint16_t preference)
{
    if (hosts->count == RELAY_HOSTS_MAX) {
        return false;
    }
    struct relay_host *host = &hosts->list[hosts->count++];

    memset(host, 0, sizeof(*host));
    (void)snprintf(host->name, sizeof(host->name), "%s", name);
    host->addr = *addr;
    host->preference = preference;
    return true;
}

static enum dns_status
ask(struct relay_lookup *lookup, const char *name, enum dns_type type, struct dns_answer **answer_r)
{
    int r = lookup->query(lookup->context, name, type, lookup->deadline_ms, answer_r);

    if (r == GW_ERR_SYNTAX) {
        return DNS_NXDOMAIN; /* not a domain name: it will not become one by waiting */
    }
    return r == 0 ? (*answer_r)->status : DNS_TEMPFAIL;
}

/* Adds the addresses of one family. */
static enum dns_status
add_family(struct relay_lookup *lookup, const char *name, enum dns_type type, uint16_t port,
           uint16_t preference, struct relay_hosts *hosts)
{
    struct dns_answer *answer = NULL;
    enum dns_status status = ask(lookup, name, type, &answer);
    size_t length = type == DNS_A ? 4 : 16;

    for (size_t i = 0; status == DNS_FOUND && i < answer->record_count; i++) {
        struct net_addr addr = {.family = type == DNS_A ? AF_INET : AF_INET6, .port = port};

        if (answer->records[i].data.n == length) {
            memcpy(addr.ip, answer->records[i].data.p, length);
            (void)add_host(hosts, name, &addr, preference);
        }
    }
    dns_answer_free(&answer);
    return status;
}

/* localhost is answered here (RFC 6761 section 6.3): a name server must not redirect it. */
static void
add_localhost(struct relay_lookup *lookup, uint16_t port, struct relay_hosts *hosts)
{
    struct net_addr v4 = {.family = AF_INET, .ip = {127, 0, 0, 1}, .port = port};
    struct net_addr v6 = {.family = AF_INET6, .port = port};

    v6.ip[15] = 1;
    if (lookup->rules->use_ipv4) {
        (void)add_host(hosts, "localhost", &v4, 0);
    }
    if (lookup->rules->use_ipv6) {
        (void)add_host(hosts, "localhost", &v6, lookup->rules->use_ipv4 ? 1 : 0);
    }
}

/* Adds all addresses of a host name. 0 when there was at least one. */
static int
add_addresses(struct relay_lookup *lookup, const char *name, uint16_t port, uint16_t preference,
              struct relay_hosts *hosts, struct relay_failure *failure)
{
    const struct relay_address_rules *rules = lookup->rules;
    enum dns_status v4 = DNS_NODATA;
    enum dns_status v6 = DNS_NODATA;
    size_t before = hosts->count;

    if (strcasecmp(name, "localhost") == 0) {
        add_localhost(lookup, port, hosts);
        return 0;
    }
    if (rules->use_ipv4) {
        v4 = add_family(lookup, name, DNS_A, port, preference, hosts);
    }
    if (rules->use_ipv6 && v4 != DNS_NXDOMAIN) {
        v6 = add_family(lookup, name, DNS_AAAA, port, preference, hosts);
    }
    if (hosts->count > before) {
        return 0;
    }
    if (hosts->count == RELAY_HOSTS_MAX) {
        return 0; /* there were enough before */
    }
    if (v4 == DNS_TEMPFAIL || v6 == DNS_TEMPFAIL) {
        return fail_lookup(failure, DNS_TEMPFAIL, name, v4 == DNS_TEMPFAIL ? "A" : "AAAA");
    }
    return fail_lookup(failure, rules->use_ipv4 ? v4 : v6, name, rules->use_ipv4 ? "A" : "AAAA");
}

/* The hosts of an MX answer. A host that cannot be asked now keeps the mail waiting when no other is found.
 */
static int
add_exchangers(struct relay_lookup *lookup, const struct dns_answer *answer,
               const struct relay_target *target, struct relay_hosts *hosts, struct relay_failure *failure)
{
    struct relay_failure temporary = {0};
    size_t before = hosts->count;
    int r = GW_ERR_TEMP;

    for (size_t i = 0; i < answer->record_count; i++) {
        const struct dns_record *record = &answer->records[i];

        /* RFC 7505: a single MX "." says that the domain takes no mail. */
        if (record->name == NULL || record->name[0] == '\0' || strcmp(record->name, ".") == 0) {
            if (answer->record_count == 1) {
                return fail(failure, DELIVERY_BOUNCED, "5.1.10", "Domain %s does not accept mail (nullMX)",
                            target->host);
            }
            continue;
        }
        r = add_addresses(lookup, record->name, target->port, record->preference, hosts, failure);
        if (r == GW_ERR_TEMP) {
            temporary = *failure;
        }
    }
    if (hosts->count > before) {
        return 0;
    }
    if (temporary.text[0] != '\0') {
        *failure = temporary;
        return GW_ERR_TEMP;
    }
    if (r == GW_ERR_TEMP) {
        return fail_lookup(failure, DNS_FOUND, target->host, "MX");
    }
    return r;
}

static int
find_target(struct relay_lookup *lookup, const struct relay_target *target, struct relay_hosts *hosts,
            struct relay_failure *failure)
{
    if (target->path[0] != '\0') {
        struct net_addr none = {0};

        (void)add_host(hosts, target->path, &none, 0);
        (void)snprintf(hosts->list[hosts->count - 1].path, RELAY_PATH_MAX, "%s", target->path);
        return 0;
    }
    if (target->literal.family != 0) {
        char text[NET_ADDR_TEXT_MAX];

        net_addr_format(&target->literal, text);
        (void)add_host(hosts, text, &target->literal, 0);
        return 0;
    }
    if (!target->use_mx) {
        return add_addresses(lookup, target->host, target->port, 0, hosts, failure);
    }
    struct dns_answer *answer = NULL;
    enum dns_status status = ask(lookup, target->host, DNS_MX, &answer);
    int r;

    if (status == DNS_FOUND && answer->record_count > 0) {
        r = add_exchangers(lookup, answer, target, hosts, failure);
    } else if (status == DNS_NODATA || status == DNS_FOUND) {
        /* RFC 5321 section 5.1: no MX, so the domain itself is the host. */
        r = add_addresses(lookup, target->host, target->port, 0, hosts, failure);
    } else {
        r = fail_lookup(failure, status, target->host, "MX");
    }
    dns_answer_free(&answer);
    return r;
}

/* Appends the hosts of one next hop, ordered, limited, without us. */
static int
append_nexthop(struct relay_lookup *lookup, struct bytes nexthop, struct relay_hosts *found,
               struct relay_hosts *hosts, struct relay_failure *failure)
{
    struct relay_target target;
    int r;

    found->count = 0;
    if (relay_address_parse(nexthop, lookup->rules, &target) != 0) {
        return fail(failure, DELIVERY_DEFERRED, "4.3.5", "bad next hop \"%.*s\"",
                    BYTES_FMT(bytes_sub(nexthop, 0, 200)));
    }
    if ((r = find_target(lookup, &target, found, failure)) != 0) {
        return r;
    }
    relay_address_order(found, lookup->rules, &lookup->random);
    if (relay_address_cut_loop(found, lookup->rules) && found->count == 0) {
        return fail(failure, DELIVERY_BOUNCED, "5.4.6", "mail for %s loops back to myself", target.host);
    }
    if (lookup->rules->address_limit > 0 && found->count > lookup->rules->address_limit) {
        found->count = lookup->rules->address_limit;
    }
    for (size_t i = 0; i < found->count && hosts->count < RELAY_HOSTS_MAX; i++) {
        hosts->list[hosts->count++] = found->list[i];
    }
    return 0;
}

int
relay_address_find(struct relay_lookup *lookup, struct bytes nexthop, struct relay_hosts *hosts_r,
                   struct relay_failure *failure_r)
{
    struct relay_hosts *found = malloc(sizeof(*found));
    struct bytes rest = nexthop;
    struct bytes fallback = bytes_str(lookup->rules->fallback);
    struct bytes one;
    int r = GW_ERR_TEMP;

    hosts_r->count = 0;
    memset(failure_r, 0, sizeof(*failure_r));
    if (found == NULL) {
        return fail(failure_r, DELIVERY_DEFERRED, "4.3.0", "out of memory");
    }
    for (int i = 0; i < RELAY_DESTINATIONS_MAX; i++) {
        struct relay_failure failure = {0};

        if (!bytes_next_token(&rest, ", \t", &one) && !bytes_next_token(&fallback, ", \t", &one)) {
            break;
        }
        size_t before = hosts_r->count;
        int one_r = append_nexthop(lookup, one, found, hosts_r, &failure);

        for (; before < hosts_r->count; before++) {
            hosts_r->list[before].destination = (uint8_t)i;
        }
        if (one_r != 0 && (i == 0 || r != GW_ERR_TEMP || one_r == GW_ERR_TEMP)) {
            *failure_r = failure; /* the last decides, but "later" is never overruled by "never" */
            r = one_r;
        }
    }
    free(found);
    if (hosts_r->count > 0) {
        return 0;
    }
    if (failure_r->text[0] == '\0') {
        return fail(failure_r, DELIVERY_DEFERRED, "4.3.5", "no next hop given");
    }
    return r;
}

/*
 * relay_address_test - next hops parsed, MX order, the loop check, and the four outcomes of a lookup, with a
 * fake DNS.
 *
 * Shows of contract.tsv: PAR8 PAR18 RTE2 DMN9 DOM9.
 */
#include "relay/relay_address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static int failures;
#define CHECK(cond)                                                    \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                \
        }                                                              \
    } while (0)

/* The fake zone: several rows of one name and type are one answer. */
static const struct zone_row {
    const char *name;
    enum dns_type type;
    enum dns_status status;
    uint16_t preference;
    const char *value;
} ZONE[] = {
    {"mx.test", DNS_MX, DNS_FOUND, 10, "a.test"},         {"mx.test", DNS_MX, DNS_FOUND, 20, "b.test"},
    {"a.test", DNS_A, DNS_FOUND, 0, "192.0.2.1"},         {"b.test", DNS_A, DNS_FOUND, 0, "192.0.2.2"},
    {"b.test", DNS_AAAA, DNS_FOUND, 0, "2001:db8::2"},    {"host.test", DNS_MX, DNS_NODATA, 0, NULL},
    {"host.test", DNS_A, DNS_FOUND, 0, "192.0.2.3"},      {"null.test", DNS_MX, DNS_FOUND, 0, ""},
    {"slow.test", DNS_MX, DNS_TEMPFAIL, 0, NULL},         {"half.test", DNS_MX, DNS_FOUND, 10, "gone.test"},
    {"half.test", DNS_MX, DNS_FOUND, 20, "wait.test"},    {"wait.test", DNS_A, DNS_TEMPFAIL, 0, NULL},
    {"dead.test", DNS_MX, DNS_FOUND, 10, "gone.test"},    {"me.test", DNS_MX, DNS_FOUND, 10, "a.test"},
    {"me.test", DNS_MX, DNS_FOUND, 20, "gateway.test"},   {"me.test", DNS_MX, DNS_FOUND, 30, "b.test"},
    {"only.test", DNS_MX, DNS_FOUND, 10, "gateway.test"}, {"only.test", DNS_MX, DNS_FOUND, 20, "b.test"},
    {"gateway.test", DNS_A, DNS_FOUND, 0, "192.0.2.99"},  {"alias.test", DNS_MX, DNS_FOUND, 10, "other.test"},
    {"other.test", DNS_A, DNS_FOUND, 0, "192.0.2.98"},    {"empty.test", DNS_MX, DNS_NODATA, 0, NULL},
    {"empty.test", DNS_A, DNS_NODATA, 0, NULL},
};

static int mx_queries;

static int
fake_query(void *context, const char *name, enum dns_type type, int64_t deadline_ms,
           struct dns_answer **answer_r)
{
    struct buf wire;
    struct dns_record records[8];
    struct dns_answer answer = {.status = DNS_NXDOMAIN, .records = records};
    struct net_addr addrs[8];

    (void)context;
    (void)deadline_ms;
    mx_queries += type == DNS_MX;
    memset(records, 0, sizeof(records));
    for (size_t i = 0; i < sizeof(ZONE) / sizeof(ZONE[0]); i++) {
        if (strcmp(ZONE[i].name, name) == 0 && answer.status == DNS_NXDOMAIN) {
            answer.status = DNS_NODATA; /* the name exists */
        }
        if (strcmp(ZONE[i].name, name) != 0 || ZONE[i].type != type) {
            continue;
        }
        answer.status = ZONE[i].status;
        if (ZONE[i].status != DNS_FOUND) {
            continue;
        }
        struct dns_record *record = &records[answer.record_count];

        record->preference = ZONE[i].preference;
        if (type == DNS_MX) {
            record->name = (char *)(uintptr_t)ZONE[i].value;
        } else {
            CHECK(net_addr_parse(bytes_str(ZONE[i].value), &addrs[answer.record_count]) == 0);
            record->data = bytes_of(addrs[answer.record_count].ip, type == DNS_A ? 4 : 16);
        }
        answer.record_count++;
    }
    /* Through the wire form, which makes an answer that dns_answer_free() owns. */
    buf_init(&wire, DNS_ANSWER_BYTES_MAX);
    CHECK(dns_wire_put_answer(&wire, &answer) == 0);
    int r = dns_wire_get_answer(bytes_buf(&wire), answer_r);
    buf_free(&wire);
    return r;
}

static void
set_rules(struct relay_address_rules *rules)
{
    *rules = (struct relay_address_rules){
        .use_ipv4 = true, .use_ipv6 = true, .default_port = 25, .own_name = "gateway.test", .own_count = 1};
    (void)net_addr_parse(BYTES_LIT("192.0.2.98"), &rules->own_addresses[0]);
}

static const struct {
    const char *nexthop;
    bool lmtp;
    int r;
    const char *host;
    const char *path;
    uint16_t port;
    bool use_mx;
    bool literal;
} PARSES[] = {
    {"mx.test", false, 0, "mx.test", "", 25, true, false},
    {"mx.test:2525", false, 0, "mx.test", "", 2525, true, false},
    {"[mx.test]", false, 0, "mx.test", "", 25, false, false},
    {"[mx.test]:submission", false, 0, "mx.test", "", 587, false, false},
    {"[192.0.2.1]:10025", false, 0, "192.0.2.1", "", 10025, false, true},
    {"[2001:db8::1]:25", false, 0, "2001:db8::1", "", 25, false, true},
    {"[IPv6:2001:db8::1]", false, 0, "IPv6:2001:db8::1", "", 25, false, true},
    {"localhost:10025", false, 0, "localhost", "", 10025, false, false},
    {"inet:host.test:24", true, 0, "host.test", "", 24, false, false},
    {"unix:/var/run/lmtp", true, 0, "", "/var/run/lmtp", 25, false, false},
    {"host.test", true, 0, "host.test", "", 25, false, false},
    {"", false, GW_ERR_SYNTAX, "", "", 0, false, false},
    {"[mx.test", false, GW_ERR_SYNTAX, "", "", 0, false, false},
    {"[]:25", false, GW_ERR_SYNTAX, "", "", 0, false, false},
    {"mx.test:", false, GW_ERR_SYNTAX, "", "", 0, false, false},
    {"mx.test:0", false, GW_ERR_SYNTAX, "", "", 0, false, false},
    {"mx.test:65536", false, GW_ERR_SYNTAX, "", "", 0, false, false},
    {"mx.test:nonsense", false, GW_ERR_SYNTAX, "", "", 0, false, false},
    {"[mx.test]x25", false, GW_ERR_SYNTAX, "", "", 0, false, false},
};

static void
test_parse(void)
{
    for (size_t i = 0; i < sizeof(PARSES) / sizeof(PARSES[0]); i++) {
        struct relay_address_rules rules;
        struct relay_target target;

        set_rules(&rules);
        rules.lmtp = PARSES[i].lmtp;
        int r = relay_address_parse(bytes_str(PARSES[i].nexthop), &rules, &target);
        if (r != PARSES[i].r) {
            fprintf(stderr, "next hop \"%s\": %d\n", PARSES[i].nexthop, r);
            failures++;
        }
        if (r == 0) {
            CHECK(strcmp(target.host, PARSES[i].host) == 0);
            CHECK(strcmp(target.path, PARSES[i].path) == 0);
            CHECK(target.port == PARSES[i].port);
            CHECK(target.use_mx == PARSES[i].use_mx);
            CHECK((target.literal.family != 0) == PARSES[i].literal);
        }
    }
}

static const struct {
    const char *nexthop;
    int r;
    const char *hosts; /* in order, "name address;" */
    const char *dsn;
    const char *text; /* part of it */
} FINDS[] = {
    {"mx.test", 0, "a.test 192.0.2.1;b.test 192.0.2.2;b.test 2001:db8::2;", "", ""},
    {"[b.test]", 0, "b.test 192.0.2.2;b.test 2001:db8::2;", "", ""},
    {"host.test", 0, "host.test 192.0.2.3;", "", ""},
    {"[192.0.2.7]:26", 0, "192.0.2.7 192.0.2.7;", "", ""},
    {"nx.test", GW_ERR_NOTFOUND, "", "5.4.4", "name=nx.test type=MX: Host not found"},
    {"[nx.test]", GW_ERR_NOTFOUND, "", "5.4.4", "name=nx.test type=A: Host not found"},
    {"empty.test", GW_ERR_NOTFOUND, "", "5.4.4", "Host found but no data record"},
    {"slow.test", GW_ERR_TEMP, "", "4.4.3", "try again"},
    {"half.test", GW_ERR_TEMP, "", "4.4.3", "name=wait.test type=A"},
    {"dead.test", GW_ERR_NOTFOUND, "", "5.4.4", "name=gone.test"},
    {"null.test", GW_ERR_NOTFOUND, "", "5.1.10", "does not accept mail (nullMX)"},
    {"me.test", 0, "a.test 192.0.2.1;", "", ""},
    {"only.test", GW_ERR_NOTFOUND, "", "5.4.6", "mail for only.test loops back to myself"},
    {"alias.test", GW_ERR_NOTFOUND, "", "5.4.6", "loops back to myself"},
    {"alias.test:26", 0, "other.test 192.0.2.98;", "", ""},
    {"nx.test, host.test", 0, "host.test 192.0.2.3;", "", ""},
    {"slow.test, nx.test", GW_ERR_TEMP, "", "4.4.3", "try again"},
    {"nx.test slow.test", GW_ERR_TEMP, "", "4.4.3", "try again"},
    {"[bad", GW_ERR_TEMP, "", "4.3.5", "bad next hop"},
    {"localhost:10025", 0, "localhost 127.0.0.1;localhost ::1;", "", ""},
};

static void
test_find(void)
{
    static struct relay_hosts hosts;

    for (size_t i = 0; i < sizeof(FINDS) / sizeof(FINDS[0]); i++) {
        struct relay_address_rules rules;
        struct relay_lookup lookup = {.rules = &rules, .query = fake_query};
        struct relay_failure failure;
        char got[1024] = "";

        set_rules(&rules);
        int r = relay_address_find(&lookup, bytes_str(FINDS[i].nexthop), &hosts, &failure);
        for (size_t j = 0; j < hosts.count; j++) {
            char address[NET_ADDR_TEXT_MAX];
            size_t n = strlen(got);

            net_addr_format(&hosts.list[j].addr, address);
            (void)snprintf(got + n, sizeof(got) - n, "%s %s;", hosts.list[j].name, address);
        }
        if (r != FINDS[i].r || (r == 0 && strcmp(got, FINDS[i].hosts) != 0) ||
            (r != 0 &&
             (strcmp(failure.dsn, FINDS[i].dsn) != 0 || strstr(failure.text, FINDS[i].text) == NULL ||
              (failure.status == DELIVERY_BOUNCED) != (r == GW_ERR_NOTFOUND)))) {
            fprintf(stderr, "next hop \"%s\": %d \"%s\" %s %s\n", FINDS[i].nexthop, r, got, failure.dsn,
                    failure.text);
            failures++;
        }
    }
}

static void
test_rules(void)
{
    static struct relay_hosts hosts;
    struct relay_address_rules rules;
    struct relay_lookup lookup = {.rules = &rules, .query = fake_query};
    struct relay_failure failure;

    set_rules(&rules);
    rules.disable_dns = true;
    mx_queries = 0;
    CHECK(relay_address_find(&lookup, BYTES_LIT("host.test"), &hosts, &failure) == 0 && hosts.count == 1);
    CHECK(mx_queries == 0);
    set_rules(&rules);
    rules.use_ipv6 = false;
    CHECK(relay_address_find(&lookup, BYTES_LIT("mx.test"), &hosts, &failure) == 0 && hosts.count == 2);
    rules.address_limit = 1;
    CHECK(relay_address_find(&lookup, BYTES_LIT("mx.test"), &hosts, &failure) == 0 && hosts.count == 1);
    CHECK(strcmp(hosts.list[0].name, "a.test") == 0);
    set_rules(&rules);
    rules.fallback = "[192.0.2.50]";
    CHECK(relay_address_find(&lookup, BYTES_LIT("nx.test"), &hosts, &failure) == 0 && hosts.count == 1);
    CHECK(hosts.list[0].destination == 1);
    CHECK(relay_address_find(&lookup, BYTES_LIT("host.test"), &hosts, &failure) == 0 && hosts.count == 2);
    CHECK(strcmp(hosts.list[0].name, "host.test") == 0 && hosts.list[0].destination == 0);
    set_rules(&rules);
    rules.prefer_family = AF_INET6;
    CHECK(relay_address_find(&lookup, BYTES_LIT("[b.test]"), &hosts, &failure) == 0);
    CHECK(hosts.count == 2 && hosts.list[0].addr.family == AF_INET6);
}

/* Equal preferences come in any order, different ones never. */
static void
test_shuffle(void)
{
    static struct relay_hosts hosts;
    struct relay_address_rules rules;
    uint64_t random = 1;
    unsigned first[2] = {0, 0};

    set_rules(&rules);
    rules.randomize = true;
    for (int i = 0; i < 200; i++) {
        hosts.count = 3;
        memset(&hosts.list, 0, sizeof(hosts.list));
        hosts.list[0].preference = hosts.list[1].preference = 10;
        hosts.list[2].preference = 5;
        hosts.list[0].addr.port = 1;
        relay_address_order(&hosts, &rules, &random);
        CHECK(hosts.list[0].preference == 5 && hosts.list[2].preference == 10);
        first[hosts.list[1].addr.port == 1]++;
    }
    CHECK(first[0] > 50 && first[1] > 50);
}

int
main(void)
{
    test_parse();
    test_find();
    test_rules();
    test_shuffle();
    return failures != 0;
}

/*
 * ctl_doctor_outside - internal mail servers that strangers reach: the guide's picture of two tiers has one
 * door, and port 25 of all other hosts filtered.
 *
 * Before: ctl_doctor.c, with --outside: run on a machine of the outside, on a copy of the gateway's
 * configuration. The servers behind the gateway are the next hops of transport_maps; each is connected to,
 * nothing is said. What cannot be resolved from outside cannot be reached by its name either: no finding.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctl/ctl_doctor_private.h"

enum { HOSTS_MAX = 200, HOST_ROOM = 256, CONNECT_MS = 3000, SMTP_PORT = 25, TYPE_A = 1, TYPE_AAAA = 28 };

struct outside {
    struct doctor *doctor;
    const struct doctor_table *table;
    char seen[HOSTS_MAX][HOST_ROOM + 8]; /* "host:port", each once */
    size_t seen_count;
};

/* "smtp:[host]:port", "relay:host", ":[host]". False: nothing that leaves this host by SMTP. */
static bool
split_next_hop(struct bytes value, char host_r[HOST_ROOM], unsigned *port_r)
{
    static const char *const ELSEWHERE[] = {"local", "virtual", "error", "retry", "discard"};
    ptrdiff_t colon = bytes_index(value, ':');
    struct bytes transport = bytes_sub(value, 0, colon < 0 ? 0 : (size_t)colon);
    struct bytes host = bytes_trim(colon < 0 ? value : bytes_sub(value, (size_t)colon + 1, value.n));
    struct bytes port = {0};
    uint64_t number = SMTP_PORT;

    for (size_t i = 0; i < sizeof(ELSEWHERE) / sizeof(ELSEWHERE[0]); i++) {
        if (bytes_equal_nocase(transport, bytes_str(ELSEWHERE[i]))) {
            return false;
        }
    }
    ptrdiff_t close = host.n > 0 && host.p[0] == '[' ? bytes_index(host, ']') : -1;
    if (close > 0) {
        port = bytes_sub(host, (size_t)close + 1, host.n);
        host = bytes_sub(host, 1, (size_t)close - 1);
    } else if ((colon = bytes_index(host, ':')) >= 0) {
        port = bytes_sub(host, (size_t)colon, host.n);
        host = bytes_sub(host, 0, (size_t)colon);
    }
    if (port.n > 1 && bytes_to_u64(bytes_sub(port, 1, port.n), &number) != 0) {
        number = SMTP_PORT; /* a service name */
    }
    (void)snprintf(host_r, HOST_ROOM, "%.*s", BYTES_FMT(bytes_sub(host, 0, HOST_ROOM - 1)));
    *port_r = (unsigned)number;
    return host.n > 0 && number > 0 && number < 65536;
}

/* False: it was asked before, or there are too many. */
static bool
is_new(struct outside *outside, const char *host, unsigned port)
{
    char text[HOST_ROOM + 8];

    (void)snprintf(text, sizeof(text), "%s:%u", host, port);
    for (size_t i = 0; i < outside->seen_count; i++) {
        if (strcasecmp(outside->seen[i], text) == 0) {
            return false;
        }
    }
    if (outside->seen_count == HOSTS_MAX) {
        return false;
    }
    memcpy(outside->seen[outside->seen_count++], text, sizeof(text));
    return true;
}

static void
try_address(struct outside *outside, const char *host, const char *text, unsigned port, const char *where)
{
    struct net_addr address;
    int fd = -1;

    if (net_addr_parse(bytes_str(text), &address) != 0) {
        return;
    }
    address.port = (uint16_t)port;
    if (net_connect(&address, NULL, clock_monotonic_ms() + CONNECT_MS, &fd) == 0) {
        (void)close(fd);
        doctor_tell(outside->doctor, where,
                    "%s[%s] answers on port %u from here: who stands outside reaches it without passing this "
                    "gateway",
                    host, text, port);
    }
}

static bool
visit_entry(void *context, struct bytes key, struct bytes value, int line)
{
    struct outside *outside = context;
    struct doctor *doctor = outside->doctor;
    static const int TYPES[] = {TYPE_A, TYPE_AAAA};
    struct doctor_dns_answer answer;
    struct net_addr literal;
    char host[HOST_ROOM];
    unsigned port;

    (void)key;
    if (!split_next_hop(value, host, &port) || !is_new(outside, host, port) ||
        strcasecmp(host, config_str(doctor->config, P_myhostname)) == 0) {
        return true;
    }
    char *where = doctor_where_line(outside->table->path, line);
    if (net_addr_parse(bytes_str(host), &literal) == 0) {
        try_address(outside, host, host, port, where);
    }
    for (size_t i = 0; doctor->dns != NULL && i < sizeof(TYPES) / sizeof(TYPES[0]); i++) {
        doctor_dns_ask(doctor->dns, host, TYPES[i], &answer);
        for (size_t k = 0; k < answer.count; k++) {
            try_address(outside, host, answer.text[k], port, where);
        }
    }
    free(where);
    return true;
}

static void
find_open_inside(struct doctor *doctor)
{
    struct outside *outside = doctor->outside ? calloc(1, sizeof(*outside)) : NULL;

    for (size_t i = 0; outside != NULL && i < doctor->table_count; i++) {
        const struct doctor_table *table = &doctor->tables[i];

        outside->doctor = doctor;
        outside->table = table;
        if (strcmp(table->setting, "transport_maps") == 0 && doctor_is_keyed(table) && table->path != NULL) {
            doctor_entries(table->path, visit_entry, outside);
        }
    }
    free(outside);
}

const struct doctor_rule DOCTOR_OUTSIDE[] = {
    {"open-inside", DOCTOR_ERROR, "SCE23 FWL3",
     "A server behind the gateway is reached from outside (--outside)", find_open_inside,
     "filter port 25 of all hosts but the gateway, as in rules/firewall", false},
    {NULL, DOCTOR_NOTE, NULL, NULL, NULL, NULL, false},
};

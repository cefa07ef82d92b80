/*
 * relay_address - from a next hop to the ordered list of hosts to try.
 *
 * "[host]:port" asks for addresses only; "domain" asks for MX hosts in order of preference (RFC 5321
 * section 5.1), hosts of equal preference in random order; "unix:/path" and "inet:host:port" are LMTP's.
 * Several next hops separated by commas or blanks are tried in turn. Mail is never handed to ourselves: of an
 * MX list that names us only the hosts with a better preference stay.
 */
#ifndef RELAY_RELAY_ADDRESS_H
#define RELAY_RELAY_ADDRESS_H

#include "base/dns.h"
#include "message/wire.h"

enum {
    RELAY_HOSTS_MAX = 50,       /* addresses in one list; smtp_mx_address_limit is lower */
    RELAY_DESTINATIONS_MAX = 8, /* next hops in one list "a, b, c" */
    RELAY_PATH_MAX = 108,       /* sun_path */
    RELAY_OWN_ADDRESSES_MAX = 64,
    RELAY_TEXT_MAX = 1024, /* a reason in words */
};

struct relay_host {
    char name[NET_HOST_MAX]; /* as looked up, or the literal */
    struct net_addr addr;    /* with port; family 0 for a Unix socket */
    uint16_t preference;
    uint8_t destination;       /* number of the next hop it came from: limits count anew for each */
    char path[RELAY_PATH_MAX]; /* "" for TCP */
};

struct relay_hosts {
    struct relay_host list[RELAY_HOSTS_MAX];
    size_t count;
};

/* One next hop, parsed. */
struct relay_target {
    char host[NET_HOST_MAX];
    char path[RELAY_PATH_MAX];
    struct net_addr literal; /* family 0: a name */
    uint16_t port;
    bool use_mx;
};

/* Why no host can be tried, or why delivery failed: what the result will say. */
struct relay_failure {
    enum delivery_status status;
    char dsn[12];
    char text[RELAY_TEXT_MAX];
};

struct relay_address_rules {
    bool lmtp;               /* no MX lookups; port 24 */
    bool disable_dns;        /* disable_dns_lookups: addresses only */
    bool use_ipv4, use_ipv6; /* inet_protocols */
    uint8_t prefer_family;   /* smtp_address_preference: AF_INET, AF_INET6 or 0 for any */
    bool randomize;          /* smtp_randomize_addresses */
    uint16_t default_port;   /* smtp_tcp_port */
    size_t address_limit;    /* smtp_mx_address_limit; 0: none */
    const char *fallback;    /* smtp_fallback_relay: next hops behind all others; NULL or "" for none */
    const char *own_name;    /* myhostname, for the loop check */
    struct net_addr own_addresses[RELAY_OWN_ADDRESSES_MAX];
    size_t own_count;
};

typedef int relay_query(void *context, const char *name, enum dns_type type, int64_t deadline_ms,
                        struct dns_answer **answer_r);

struct relay_lookup {
    const struct relay_address_rules *rules;
    relay_query *query; /* dns_query() with its client, or a fake */
    void *context;
    uint64_t random; /* state of the shuffle */
    int64_t deadline_ms;
};

/* GW_ERR_SYNTAX: not a next hop. */
int relay_address_parse(struct bytes nexthop, const struct relay_address_rules *rules,
                        struct relay_target *target_r);
/* Sorts by preference, then by preferred family; equal ones in random order when the rules say so. */
void relay_address_order(struct relay_hosts *hosts, const struct relay_address_rules *rules,
                         uint64_t *random);
/* Drops our own hosts and all that are not better than the best of them. True when we were among them. */
bool relay_address_cut_loop(struct relay_hosts *hosts, const struct relay_address_rules *rules);
/* All hosts of all next hops in the order to try. 0 with count > 0; else GW_ERR_NOTFOUND (definite: bounce)
 * or GW_ERR_TEMP (defer) with *failure_r filled. */
int relay_address_find(struct relay_lookup *lookup, struct bytes nexthop, struct relay_hosts *hosts_r,
                       struct relay_failure *failure_r);

#endif

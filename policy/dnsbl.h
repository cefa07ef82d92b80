/*
 * dnsbl - one DNS block or allow list as the configuration names it: zone, filter on the answer, weight.
 *
 * "zone", "zone=127.0.0.2", "zone=127.0.0.[2..4;9]", "zone=...*-3". Used by restriction words
 * (reject_rbl_client) and by the screen (postscreen_dnsbl_sites). Answers outside 127.0.0.0/8, and
 * 127.255.255.0/24 which lists use to tell of an error, are never a listing (RFC 5782 section 2.1 and the
 * operators' practice).
 *
 * A list that was given up may answer for every name that is asked: relays.ordb.org listed the whole world in
 * March 2008. So a listing is believed only when the list does not have what no list may have: 127.0.0.1, or
 * the name "invalid" (RFC 5782 section 5).
 */
#ifndef POLICY_DNSBL_H
#define POLICY_DNSBL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/dns.h"
#include "base/net.h"

struct dnsbl_site {
    char zone[DNS_NAME_MAX + 1];
    bool has_filter;
    uint8_t allowed[4][32]; /* a bit per value of each octet */
    int weight;             /* 1 unless given */
};

/* GW_ERR_SYNTAX, GW_ERR_LIMIT. */
int dnsbl_site_parse(struct bytes text, struct dnsbl_site *site_r);
/* Whether this A record means "listed". */
bool dnsbl_site_matches(const struct dnsbl_site *site, const uint8_t ip[4]);
/* Whether any address of the answer means "listed". */
bool dnsbl_site_is_listed(const struct dnsbl_site *site, const struct dns_answer *answer);
/* The name of the entry that the zone may not have. like: a client's address, for the same kind of entry;
 * NULL: the zone lists names. GW_ERR_LIMIT. */
int dnsbl_control_name(const char *zone, const struct net_addr *like, char *out, size_t size);

#endif

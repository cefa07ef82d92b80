/*
 * dnsbl - see the header. Before: restriction_words.c and the screen at start; after: their DNS answers.
 */
#include "policy/dnsbl.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"

static void
allow(uint8_t bits[32], unsigned from, unsigned to)
{
    for (unsigned v = from; v <= to && v <= 255; v++) {
        bits[v / 8] |= (uint8_t)(1U << (v % 8));
    }
}

static int
parse_number(struct bytes *rest, unsigned *value_r)
{
    unsigned v = 0;
    size_t n = 0;

    while (n < rest->n && rest->p[n] >= '0' && rest->p[n] <= '9' && n < 3) {
        v = v * 10 + (unsigned)(rest->p[n++] - '0');
    }
    if (n == 0 || v > 255) {
        return GW_ERR_SYNTAX;
    }
    *rest = bytes_sub(*rest, n, rest->n);
    *value_r = v;
    return 0;
}

static bool
take_byte(struct bytes *rest, uint8_t byte)
{
    if (rest->n == 0 || rest->p[0] != byte) {
        return false;
    }
    *rest = bytes_sub(*rest, 1, rest->n);
    return true;
}

/* "[2..4;9]", behind the bracket. */
static int
parse_set(struct bytes *rest, uint8_t bits[32])
{
    unsigned from, to;
    int r;

    do {
        if ((r = parse_number(rest, &from)) != 0) {
            return r;
        }
        to = from;
        if (take_byte(rest, '.')) {
            if (!take_byte(rest, '.') || parse_number(rest, &to) != 0 || to < from) {
                return GW_ERR_SYNTAX;
            }
        }
        allow(bits, from, to);
    } while (take_byte(rest, ';'));
    return take_byte(rest, ']') ? 0 : GW_ERR_SYNTAX;
}

static int
parse_filter(struct bytes rest, struct dnsbl_site *site)
{
    for (size_t octet = 0; octet < 4; octet++) {
        unsigned value;
        int r;

        if (octet > 0 && !take_byte(&rest, '.')) {
            return GW_ERR_SYNTAX;
        }
        if (take_byte(&rest, '[')) {
            if ((r = parse_set(&rest, site->allowed[octet])) != 0) {
                return r;
            }
        } else {
            if ((r = parse_number(&rest, &value)) != 0) {
                return r;
            }
            allow(site->allowed[octet], value, value);
        }
    }
    site->has_filter = true;
    return rest.n == 0 ? 0 : GW_ERR_SYNTAX;
}

static int
parse_weight(struct bytes text, int *weight_r)
{
    bool negative = take_byte(&text, '-');
    uint64_t value;

    if (bytes_to_u64(text, &value) != 0 || value > 100000) {
        return GW_ERR_SYNTAX;
    }
    *weight_r = negative ? -(int)value : (int)value;
    return 0;
}

int
dnsbl_control_name(const char *zone, const struct net_addr *like, char *out, size_t size)
{
    static const uint8_t MAPPED[16] = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1};
    struct net_addr addr;

    if (like == NULL) {
        int n = snprintf(out, size, "invalid.%s", zone);

        return n >= 0 && (size_t)n < size ? 0 : GW_ERR_LIMIT;
    }
    addr = *like;
    memcpy(addr.ip, like->family == AF_INET6 ? MAPPED : MAPPED + 12, like->family == AF_INET6 ? 16 : 4);
    return net_addr_reversed(&addr, zone, out, size);
}

int
dnsbl_site_parse(struct bytes text, struct dnsbl_site *site_r)
{
    struct bytes zone = bytes_trim(text);
    ptrdiff_t at;
    int r;

    *site_r = (struct dnsbl_site){.weight = 1};
    if ((at = bytes_rindex(zone, '*')) >= 0) {
        if ((r = parse_weight(bytes_sub(zone, (size_t)at + 1, zone.n), &site_r->weight)) != 0) {
            return r;
        }
        zone = bytes_sub(zone, 0, (size_t)at);
    }
    if ((at = bytes_index(zone, '=')) >= 0) {
        if ((r = parse_filter(bytes_sub(zone, (size_t)at + 1, zone.n), site_r)) != 0) {
            return r;
        }
        zone = bytes_sub(zone, 0, (size_t)at);
    }
    if (zone.n == 0 || memchr(zone.p, '\0', zone.n) != NULL) {
        return GW_ERR_SYNTAX;
    }
    if (zone.n >= sizeof(site_r->zone)) {
        return GW_ERR_LIMIT;
    }
    memcpy(site_r->zone, zone.p, zone.n);
    return 0;
}

bool
dnsbl_site_matches(const struct dnsbl_site *site, const uint8_t ip[4])
{
    if (ip[0] != 127 || (ip[1] == 255 && ip[2] == 255)) {
        return false;
    }
    for (size_t octet = 0; site->has_filter && octet < 4; octet++) {
        if ((site->allowed[octet][ip[octet] / 8] & (1U << (ip[octet] % 8))) == 0) {
            return false;
        }
    }
    return true;
}

bool
dnsbl_site_is_listed(const struct dnsbl_site *site, const struct dns_answer *answer)
{
    for (size_t i = 0; answer->status == DNS_FOUND && i < answer->record_count; i++) {
        if (answer->records[i].data.n == 4 && dnsbl_site_matches(site, answer->records[i].data.p)) {
            return true;
        }
    }
    return false;
}

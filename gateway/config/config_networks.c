/*
 * config_networks - mynetworks when nobody set it: the addresses of this host (mynetworks_style = host), or
 * the networks they are in (subnet, class), as far as inet_interfaces and inet_protocols go.
 *
 * Before: config_values.c with the three values expanded; after: it is the default of mynetworks. What cannot
 * be found out adds no network: nobody is trusted by mistake.
 */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/net.h"
#include "config/config_internal.h"

enum { IPV4_BITS = 32, IPV6_BITS = 128 };

static bool
has_word(const char *list, const char *wanted)
{
    struct bytes rest = bytes_str(list), word;

    while (bytes_next_token(&rest, ", \t\r\n", &word)) {
        if (bytes_equal(word, bytes_str(wanted)) || bytes_equal(word, BYTES_LIT("all"))) {
            return true;
        }
    }
    return false;
}

static bool
is_loopback(const struct net_addr *addr)
{
    static const uint8_t ONE[16] = {[15] = 1};

    return addr->family == AF_INET ? addr->ip[0] == 127 : memcmp(addr->ip, ONE, sizeof(ONE)) == 0;
}

static bool
is_same(struct bytes text, const struct net_addr *addr)
{
    struct net_addr one;

    return net_addr_parse(text, &one) == 0 && one.family == addr->family &&
           memcmp(one.ip, addr->ip, sizeof(one.ip)) == 0;
}

/* Whether /etc/hosts gives the name this address. Nobody else is asked: every command reads the
 * configuration, and none may wait for a DNS server that is down. */
static bool
has_address(struct bytes name, const struct net_addr *addr)
{
    FILE *file = fopen("/etc/hosts", "re");
    char *line = NULL;
    size_t room = 0;
    bool found = false;

    while (file != NULL && !found && getline(&line, &room, file) > 0) {
        struct bytes rest = bytes_of(line, strcspn(line, "#\r\n")), address, word;

        if (!bytes_next_token(&rest, " \t", &address) || !is_same(address, addr)) {
            continue;
        }
        while (!found && bytes_next_token(&rest, " \t", &word)) {
            found = bytes_equal_nocase(word, name);
        }
    }
    free(line);
    if (file != NULL) {
        (void)fclose(file);
    }
    return found;
}

/* Whether one word of inet_interfaces means this address: an address, or a host name that has it. */
static bool
means(struct bytes word, const struct net_addr *addr)
{
    if (word.n > 2 && word.p[0] == '[' && word.p[word.n - 1] == ']') {
        word = bytes_sub(word, 1, word.n - 2);
    }
    return is_same(word, addr) || has_address(word, addr);
}

static bool
is_ours(const char *interfaces, const struct net_addr *addr)
{
    struct bytes rest = bytes_str(interfaces), word;

    while (bytes_next_token(&rest, ", \t\r\n", &word)) {
        if (bytes_equal(word, BYTES_LIT("all")) ||
            (bytes_equal(word, BYTES_LIT("loopback-only")) ? is_loopback(addr) : means(word, addr))) {
            return true;
        }
    }
    return false;
}

static unsigned
mask_bits(const struct sockaddr *mask, unsigned whole)
{
    struct net_addr addr;
    unsigned bits = 0;

    if (mask == NULL) {
        return whole;
    }
    net_addr_from_sockaddr(mask, &addr);
    for (size_t i = 0; i < sizeof(addr.ip); i++) {
        bits += (unsigned)__builtin_popcount(addr.ip[i]);
    }
    return bits < whole ? bits : whole;
}

/* The length of the network that an address stands for. */
static unsigned
network_bits(const char *style, const struct net_addr *addr, const struct sockaddr *mask)
{
    unsigned whole = addr->family == AF_INET6 ? IPV6_BITS : IPV4_BITS;

    if (strcmp(style, "host") == 0) {
        return whole;
    }
    if (strcmp(style, "class") == 0 && addr->family == AF_INET) {
        return addr->ip[0] < 128 ? 8 : addr->ip[0] < 192 ? 16 : addr->ip[0] < 224 ? 24 : whole;
    }
    return mask_bits(mask, whole);
}

static int
append_network(struct buf *out, const struct net_addr *addr, unsigned bits)
{
    char text[NET_ADDR_TEXT_MAX];

    net_addr_format(addr, text);
    return buf_printf(out, addr->family == AF_INET6 ? "%s[%s]/%u" : "%s%s/%u", out->n > 0 ? " " : "", text,
                      bits);
}

int
config_append_networks(const char *style, const char *interfaces, const char *protocols, struct buf *out)
{
    struct ifaddrs *list = NULL;
    int r = 0;

    if (getifaddrs(&list) == -1) {
        return buf_append_str(out, "127.0.0.0/8 [::1]/128");
    }
    for (const struct ifaddrs *at = list; at != NULL && r == 0; at = at->ifa_next) {
        struct net_addr addr;

        if (at->ifa_addr == NULL ||
            (at->ifa_addr->sa_family != AF_INET && at->ifa_addr->sa_family != AF_INET6)) {
            continue;
        }
        net_addr_from_sockaddr(at->ifa_addr, &addr);
        if (!has_word(protocols, addr.family == AF_INET6 ? "ipv6" : "ipv4") || !is_ours(interfaces, &addr)) {
            continue;
        }
        unsigned bits = network_bits(style, &addr, at->ifa_netmask);
        net_addr_mask(&addr, (uint8_t)bits);
        r = append_network(out, &addr, bits);
    }
    freeifaddrs(list);
    return r;
}

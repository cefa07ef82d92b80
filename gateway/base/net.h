/*
 * net - addresses of the network: parse, format, compare, prefixes; sockets that listen and connect.
 */
#ifndef BASE_NET_H
#define BASE_NET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/bytes.h"

enum { NET_ADDR_TEXT_MAX = 46, NET_HOST_MAX = 256 };

struct net_addr {
    uint8_t family; /* AF_INET, AF_INET6, or 0: unknown */
    uint8_t ip[16]; /* network order; 4 bytes used for AF_INET */
    uint16_t port;  /* host order */
};

struct net_prefix {
    struct net_addr base;
    uint8_t bits;
};

/* "192.0.2.1", "2001:db8::1"; IPv4-mapped IPv6 becomes IPv4. GW_ERR_SYNTAX. */
int net_addr_parse(struct bytes text, struct net_addr *addr_r);
void net_addr_format(const struct net_addr *addr, char out[NET_ADDR_TEXT_MAX]); /* without port, "unknown" */
void net_addr_from_sockaddr(const struct sockaddr *sa, struct net_addr *addr_r);
socklen_t net_addr_to_sockaddr(const struct net_addr *addr, struct sockaddr_storage *sa_r);
bool net_addr_equal(const struct net_addr *a, const struct net_addr *b); /* address only, not the port */
/* "192.0.2.0/24", "[2001:db8::]/32", "192.0.2.1"; host bits that are set are GW_ERR_SYNTAX as in Postfix. */
int net_prefix_parse(struct bytes text, struct net_prefix *prefix_r);
bool net_prefix_has(const struct net_prefix *prefix, const struct net_addr *addr);
void net_addr_mask(struct net_addr *addr,
                   uint8_t bits); /* clears the host bits: greylist's /24 and /64 keys */
/* "4.3.2.1.zone" or the nibble form, as DNSBL and PTR queries want (RFC 5782). suffix e.g. "in-addr.arpa". */
int net_addr_reversed(const struct net_addr *addr, const char *suffix, char *out, size_t size);

/* Listening TCP socket, SO_REUSEADDR, close-on-exec, IPV6_V6ONLY. -1 with errno. */
int net_listen(const struct net_addr *addr, int backlog);
/* TCP connection within the deadline; bound to *source when not NULL. 0, GW_ERR_TIMEOUT, GW_ERR_SYS (errno).
 */
int net_connect(const struct net_addr *addr, const struct net_addr *source, int64_t deadline_ms, int *fd_r);
int net_connect_unix(const char *path, int64_t deadline_ms, int *fd_r);

#endif

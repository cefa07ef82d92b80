/*
 * net - see the header. Addresses are values; sockets are made close-on-exec.
 */
#include "base/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

static const uint8_t MAPPED_PREFIX[12] = {[10] = 0xff, [11] = 0xff};

/* ::ffff:192.0.2.1 is an IPv4 address in disguise; everybody else should see it as one. */
static void
unmap(struct net_addr *addr)
{
    if (addr->family == AF_INET6 && memcmp(addr->ip, MAPPED_PREFIX, sizeof(MAPPED_PREFIX)) == 0) {
        memmove(addr->ip, addr->ip + 12, 4);
        memset(addr->ip + 4, 0, 12);
        addr->family = AF_INET;
    }
}

int
net_addr_parse(struct bytes text, struct net_addr *addr_r)
{
    char copy[NET_ADDR_TEXT_MAX];

    *addr_r = (struct net_addr){0};
    if (text.n == 0 || text.n >= sizeof(copy) || memchr(text.p, '\0', text.n) != NULL) {
        return GW_ERR_SYNTAX;
    }
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    if (inet_pton(AF_INET, copy, addr_r->ip) == 1) {
        addr_r->family = AF_INET;
        return 0;
    }
    if (inet_pton(AF_INET6, copy, addr_r->ip) == 1) {
        addr_r->family = AF_INET6;
        unmap(addr_r);
        return 0;
    }
    return GW_ERR_SYNTAX;
}

void
net_addr_format(const struct net_addr *addr, char out[NET_ADDR_TEXT_MAX])
{
    if (addr->family == 0 || inet_ntop(addr->family, addr->ip, out, NET_ADDR_TEXT_MAX) == NULL) {
        (void)snprintf(out, NET_ADDR_TEXT_MAX, "unknown");
    }
}

void
net_addr_from_sockaddr(const struct sockaddr *sa, struct net_addr *addr_r)
{
    *addr_r = (struct net_addr){0};
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;

        addr_r->family = AF_INET;
        memcpy(addr_r->ip, &in->sin_addr, 4);
        addr_r->port = ntohs(in->sin_port);
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;

        addr_r->family = AF_INET6;
        memcpy(addr_r->ip, &in6->sin6_addr, 16);
        addr_r->port = ntohs(in6->sin6_port);
        unmap(addr_r);
    }
}

socklen_t
net_addr_to_sockaddr(const struct net_addr *addr, struct sockaddr_storage *sa_r)
{
    memset(sa_r, 0, sizeof(*sa_r));
    if (addr->family == AF_INET6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)sa_r;

        in6->sin6_family = AF_INET6;
        memcpy(&in6->sin6_addr, addr->ip, 16);
        in6->sin6_port = htons(addr->port);
        return sizeof(*in6);
    }
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)sa_r;
    in->sin_family = AF_INET;
    memcpy(&in->sin_addr, addr->ip, 4);
    in->sin_port = htons(addr->port);
    return sizeof(*in);
}

bool
net_addr_equal(const struct net_addr *a, const struct net_addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, a->family == AF_INET6 ? 16 : 4) == 0;
}

/* Whether all bits behind the first `bits` are zero; clears them when `clear`. */
static bool
host_bits(struct net_addr *addr, unsigned bits, bool clear)
{
    size_t length = addr->family == AF_INET6 ? 16 : 4;
    bool zero = true;

    for (size_t i = 0; i < length; i++) {
        unsigned kept = bits >= (i + 1) * 8 ? 8 : bits > i * 8 ? bits - (unsigned)i * 8 : 0;
        uint8_t host = (uint8_t)(0xff >> kept);

        zero = zero && (addr->ip[i] & host) == 0;
        if (clear) {
            addr->ip[i] &= (uint8_t)~host;
        }
    }
    return zero;
}

void
net_addr_mask(struct net_addr *addr, uint8_t bits)
{
    (void)host_bits(addr, bits, true);
}

int
net_prefix_parse(struct bytes text, struct net_prefix *prefix_r)
{
    ptrdiff_t slash = bytes_rindex(text, '/');
    struct bytes base = slash < 0 ? text : bytes_sub(text, 0, (size_t)slash);
    uint64_t bits;
    int r;

    if (base.n >= 2 && base.p[0] == '[' && base.p[base.n - 1] == ']') {
        base = bytes_sub(base, 1, base.n - 2);
    }
    if ((r = net_addr_parse(base, &prefix_r->base)) != 0) {
        return r;
    }
    /* "[::ffff:127.0.0.0]/104", as Debian's main.cf has it, is 127.0.0.0/8: its bits are counted as written.
     */
    unsigned max = prefix_r->base.family == AF_INET6 ? 128 : 32;
    unsigned mapped = prefix_r->base.family == AF_INET && bytes_index(base, ':') >= 0 ? 96 : 0;
    bits = max + mapped;
    if (slash >= 0 && (bytes_to_u64(bytes_sub(text, (size_t)slash + 1, text.n), &bits) != 0 ||
                       bits > max + mapped || bits < mapped)) {
        return GW_ERR_SYNTAX;
    }
    bits -= mapped;
    prefix_r->bits = (uint8_t)bits;
    return host_bits(&prefix_r->base, (unsigned)bits, false) ? 0 : GW_ERR_SYNTAX;
}

bool
net_prefix_has(const struct net_prefix *prefix, const struct net_addr *addr)
{
    unsigned whole = prefix->bits / 8, left = prefix->bits % 8;

    if (prefix->base.family != addr->family || memcmp(prefix->base.ip, addr->ip, whole) != 0) {
        return false;
    }
    return left == 0 || ((prefix->base.ip[whole] ^ addr->ip[whole]) >> (8 - left)) == 0;
}

int
net_addr_reversed(const struct net_addr *addr, const char *suffix, char *out, size_t size)
{
    size_t n = 0;

    if (addr->family == AF_INET) {
        int written =
            snprintf(out, size, "%u.%u.%u.%u.%s", addr->ip[3], addr->ip[2], addr->ip[1], addr->ip[0], suffix);
        return written >= 0 && (size_t)written < size ? 0 : GW_ERR_LIMIT;
    }
    if (addr->family != AF_INET6 || size < 64 + strlen(suffix) + 1) {
        return GW_ERR_LIMIT;
    }
    for (size_t i = 16; i-- > 0;) {
        n += (size_t)snprintf(out + n, size - n, "%x.%x.", (unsigned)(addr->ip[i] & 15),
                              (unsigned)(addr->ip[i] >> 4));
    }
    (void)snprintf(out + n, size - n, "%s", suffix);
    return 0;
}

int
net_listen(const struct net_addr *addr, int backlog)
{
    struct sockaddr_storage sa;
    socklen_t length = net_addr_to_sockaddr(addr, &sa);
    int one = 1;
    int fd = socket(addr->family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd == -1) {
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (addr->family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    }
    if (bind(fd, (struct sockaddr *)&sa, length) == -1 || listen(fd, backlog) == -1) {
        int error = errno;

        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* Finishes a connection under way on a non-blocking socket and makes it blocking. */
static int
wait_connected(int fd, int64_t deadline_ms)
{
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    socklen_t length = sizeof(int);
    int error = 0, n;

    do {
        n = poll(&ready, 1, clock_left_ms(deadline_ms));
    } while (n == -1 && errno == EINTR);
    if (n == 0) {
        errno = ETIMEDOUT;
        return GW_ERR_TIMEOUT;
    }
    if (n == -1 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == -1) {
        return GW_ERR_SYS;
    }
    errno = error;
    return error == 0 ? 0 : GW_ERR_SYS;
}

static int
connect_socket(int fd, const struct sockaddr *sa, socklen_t length, int64_t deadline_ms)
{
    int r = connect(fd, sa, length) == 0 ? 0 : GW_ERR_SYS;

    if (r != 0 && (errno == EINPROGRESS || errno == EINTR)) {
        r = wait_connected(fd, deadline_ms);
    }
    if (r == 0) {
        int flags = fcntl(fd, F_GETFL);

        r = flags != -1 && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != -1 ? 0 : GW_ERR_SYS;
    }
    return r;
}

static int
finish_connect(int fd, int r, int *fd_r)
{
    if (r != 0) {
        int error = errno;

        (void)close(fd);
        errno = error;
        return r;
    }
    *fd_r = fd;
    return 0;
}

int
net_connect(const struct net_addr *addr, const struct net_addr *source, int64_t deadline_ms, int *fd_r)
{
    struct sockaddr_storage sa;
    int one = 1;
    int fd = socket(addr->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    *fd_r = -1;
    if (fd == -1) {
        return GW_ERR_SYS;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (source != NULL && source->family == addr->family) {
        socklen_t length = net_addr_to_sockaddr(source, &sa);

        if (bind(fd, (struct sockaddr *)&sa, length) == -1) {
            return finish_connect(fd, GW_ERR_SYS, fd_r);
        }
    }
    socklen_t length = net_addr_to_sockaddr(addr, &sa);
    return finish_connect(fd, connect_socket(fd, (struct sockaddr *)&sa, length, deadline_ms), fd_r);
}

int
net_connect_unix(const char *path, int64_t deadline_ms, int *fd_r)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    *fd_r = -1;
    if (strlen(path) >= sizeof(sa.sun_path)) {
        errno = ENAMETOOLONG;
        return GW_ERR_SYS;
    }
    (void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd == -1) {
        return GW_ERR_SYS;
    }
    return finish_connect(fd, connect_socket(fd, (struct sockaddr *)&sa, sizeof(sa), deadline_ms), fd_r);
}

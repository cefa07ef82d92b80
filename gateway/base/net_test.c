/*
 * net_test - addresses and prefixes as text and back, reversed names, sockets that listen and connect within
 * a deadline.
 */
#include "base/net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

static const struct {
    const char *text, *formatted; /* NULL: not an address */
} ADDRESSES[] = {
    {"192.0.2.1", "192.0.2.1"},
    {"0.0.0.0", "0.0.0.0"},
    {"2001:db8::1", "2001:db8::1"},
    {"2001:0DB8:0:0:0:0:0:1", "2001:db8::1"},
    {"::ffff:192.0.2.7", "192.0.2.7"},
    {"::", "::"},
    {"192.0.2", NULL},
    {"192.0.2.256", NULL},
    {"192.0.2.1 ", NULL},
    {"192.0.2.1/24", NULL},
    {"[2001:db8::1]", NULL},
    {"2001:db8:::1", NULL},
    {"fe80::1%eth0", NULL},
    {"", NULL},
    {"1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20.21.22", NULL},
};

static void
test_addresses(void)
{
    char text[NET_ADDR_TEXT_MAX];
    struct net_addr addr, again;
    struct sockaddr_storage sa;

    for (size_t i = 0; i < sizeof(ADDRESSES) / sizeof(ADDRESSES[0]); i++) {
        int r = net_addr_parse(bytes_str(ADDRESSES[i].text), &addr);

        CHECK(r == (ADDRESSES[i].formatted != NULL ? 0 : GW_ERR_SYNTAX));
        if (r != 0) {
            continue;
        }
        net_addr_format(&addr, text);
        CHECK(strcmp(text, ADDRESSES[i].formatted) == 0);
        addr.port = 2525;
        CHECK(net_addr_to_sockaddr(&addr, &sa) > 0);
        net_addr_from_sockaddr((const struct sockaddr *)&sa, &again);
        CHECK(net_addr_equal(&addr, &again) && again.port == 2525);
    }
    CHECK(net_addr_parse(BYTES_LIT("192.0\0.2.1"), &addr) == GW_ERR_SYNTAX);
    net_addr_format(&(struct net_addr){0}, text);
    CHECK(strcmp(text, "unknown") == 0);
}

static const struct {
    const char *prefix, *inside, *outside; /* inside NULL: not a prefix */
} PREFIXES[] = {
    {"[::ffff:127.0.0.0]/104", "127.9.9.9", "128.0.0.1"}, /* of Debian's main.cf */
    {"::ffff:192.0.2.0/120", "192.0.2.255", "192.0.3.0"},
    {"::ffff:0.0.0.0/95", NULL, NULL},
    {"::ffff:127.0.0.1/104", NULL, NULL},
    {"192.0.2.0/24", "192.0.2.255", "192.0.3.0"},
    {"192.0.2.1", "192.0.2.1", "192.0.2.2"},
    {"192.0.2.128/25", "192.0.2.129", "192.0.2.127"},
    {"10.0.0.0/7", "11.255.0.1", "12.0.0.1"},
    {"0.0.0.0/0", "255.255.255.255", "::1"},
    {"[2001:db8::]/32", "2001:db8:ffff::1", "2001:db9::1"},
    {"2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"},
    {"[::1]", "::1", "::2"},
    {"192.0.2.1/24", NULL, NULL},
    {"192.0.2.0/33", NULL, NULL},
    {"192.0.2.0/", NULL, NULL},
    {"192.0.2.0/-1", NULL, NULL},
    {"192.0.2.0/24x", NULL, NULL},
    {"[2001:db8::/32", NULL, NULL},
    {"/24", NULL, NULL},
};

static void
test_prefixes(void)
{
    struct net_prefix prefix;
    struct net_addr inside, outside;

    for (size_t i = 0; i < sizeof(PREFIXES) / sizeof(PREFIXES[0]); i++) {
        int r = net_prefix_parse(bytes_str(PREFIXES[i].prefix), &prefix);

        CHECK(r == (PREFIXES[i].inside != NULL ? 0 : GW_ERR_SYNTAX));
        if (r == 0) {
            CHECK(net_addr_parse(bytes_str(PREFIXES[i].inside), &inside) == 0);
            CHECK(net_addr_parse(bytes_str(PREFIXES[i].outside), &outside) == 0);
            CHECK(net_prefix_has(&prefix, &inside) && !net_prefix_has(&prefix, &outside));
        }
    }
    CHECK(net_addr_parse(BYTES_LIT("192.0.2.77"), &inside) == 0);
    net_addr_mask(&inside, 25);
    CHECK(net_addr_parse(BYTES_LIT("192.0.2.0"), &outside) == 0 && net_addr_equal(&inside, &outside));
    CHECK(net_addr_parse(BYTES_LIT("2001:db8:1:2:3::4"), &inside) == 0);
    net_addr_mask(&inside, 64);
    CHECK(net_addr_parse(BYTES_LIT("2001:db8:1:2::"), &outside) == 0 && net_addr_equal(&inside, &outside));
}

static void
test_reversed(void)
{
    struct net_addr addr;
    char name[128], small[16];

    CHECK(net_addr_parse(BYTES_LIT("192.0.2.1"), &addr) == 0);
    CHECK(net_addr_reversed(&addr, "bl.test", name, sizeof(name)) == 0 &&
          strcmp(name, "1.2.0.192.bl.test") == 0);
    CHECK(net_addr_reversed(&addr, "bl.test", small, sizeof(small)) == GW_ERR_LIMIT);
    CHECK(net_addr_parse(BYTES_LIT("2001:db8::567:89ab"), &addr) == 0);
    CHECK(net_addr_reversed(&addr, "ip6.arpa", name, sizeof(name)) == 0);
    /* RFC 3596 section 2.5 has the form. */
    CHECK(strcmp(name, "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa") == 0);
    CHECK(net_addr_reversed(&addr, "ip6.arpa", name, 72) == GW_ERR_LIMIT);
    CHECK(net_addr_reversed(&(struct net_addr){0}, "x", name, sizeof(name)) == GW_ERR_LIMIT);
}

static void
test_tcp(const char *host)
{
    struct net_addr addr, source;
    struct sockaddr_storage sa;
    socklen_t length = sizeof(sa);
    int fd, taken;

    CHECK(net_addr_parse(bytes_str(host), &addr) == 0);
    int listener = net_listen(&addr, 1);
    if (listener == -1 && addr.family == AF_INET6) {
        return; /* a machine without IPv6 */
    }
    CHECK(listener != -1 && getsockname(listener, (struct sockaddr *)&sa, &length) == 0);
    net_addr_from_sockaddr((const struct sockaddr *)&sa, &addr);
    source = addr;
    source.port = 0;
    CHECK(net_connect(&addr, &source, clock_monotonic_ms() + 5000, &fd) == 0 && fd != -1);
    taken = accept(listener, NULL, NULL);
    CHECK(taken != -1 && write(fd, "x", 1) == 1);
    (void)close(taken);
    (void)close(fd);
    (void)close(listener);
    CHECK(net_connect(&addr, NULL, clock_monotonic_ms() + 5000, &fd) == GW_ERR_SYS && errno == ECONNREFUSED);
    CHECK(fd == -1);
}

/* A listener whose queue is full does not answer any more: the deadline ends the wait. */
static void
test_deadline(void)
{
    struct net_addr addr;
    struct sockaddr_storage sa;
    socklen_t length = sizeof(sa);
    int fds[8], r = 0;
    size_t n = 0;

    CHECK(net_addr_parse(BYTES_LIT("127.0.0.1"), &addr) == 0);
    int listener = net_listen(&addr, 0);
    CHECK(getsockname(listener, (struct sockaddr *)&sa, &length) == 0);
    net_addr_from_sockaddr((const struct sockaddr *)&sa, &addr);
    int64_t begun = clock_monotonic_ms();
    while (n < sizeof(fds) / sizeof(fds[0]) && r == 0) {
        begun = clock_monotonic_ms();
        r = net_connect(&addr, NULL, begun + 100, &fds[n]);
        n += r == 0;
    }
    CHECK(r == GW_ERR_TIMEOUT && clock_monotonic_ms() - begun >= 95 && clock_monotonic_ms() - begun < 3000);
    while (n > 0) {
        (void)close(fds[--n]);
    }
    (void)close(listener);
}

static void
test_unix(void)
{
    char directory[] = "/tmp/net_test.XXXXXX";
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    char path[200];
    int fd, listener = socket(AF_UNIX, SOCK_STREAM, 0);

    CHECK(mkdtemp(directory) != NULL);
    (void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/s", directory);
    CHECK(net_connect_unix(sa.sun_path, clock_monotonic_ms() + 1000, &fd) == GW_ERR_SYS && errno == ENOENT);
    CHECK(bind(listener, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(listener, 1) == 0);
    CHECK(net_connect_unix(sa.sun_path, clock_monotonic_ms() + 1000, &fd) == 0);
    (void)close(fd);
    (void)close(listener);
    CHECK(unlink(sa.sun_path) == 0 && rmdir(directory) == 0);
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    CHECK(net_connect_unix(path, clock_monotonic_ms() + 1000, &fd) == GW_ERR_SYS && errno == ENAMETOOLONG);
}

int
main(void)
{
    test_addresses();
    test_prefixes();
    test_reversed();
    test_tcp("127.0.0.1");
    test_tcp("::1");
    test_deadline();
    test_unix();
    return failures != 0;
}

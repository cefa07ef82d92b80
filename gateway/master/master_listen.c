/*
 * master_listen - see the header. Before: config_load; after: master_process hands the sockets to screen and
 * receive.
 *
 * Master keeps every listening socket open for its whole life, so that a role that dies or is replaced loses
 * no connection: callers wait in the kernel's queue until the next one accepts. A plan that cannot be bound
 * in full is refused in full.
 */
#include "master/master_listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

enum { HOST_MAX = 256, BIND_STEP_US = 50000 };

static const struct {
    const char *program;
    enum role role;
} PROGRAMS[] = {
    {"smtpd", ROLE_RECEIVE},
    {"greylist", ROLE_RECEIVE},
    {"postscreen", ROLE_SCREEN},
    {"spawn", ROLE_DELIVER},
};

struct plan_row {
    const struct config *config;
    const struct config_service *service;
    int index;
    enum role role;
    uint16_t port;
    struct master_listeners *plan;
    struct buf *why;
};

static void
explain(const struct plan_row *row, const char *what)
{
    (void)buf_printf(row->why, "%s/master.cf:%d: service %s: %s\n", config_directory(row->config),
                     row->service->line, row->service->name, what);
}

static bool
has_family(const struct config *config, int family)
{
    const char *protocols = config_str(config, P_inet_protocols);

    return strstr(protocols, "all") != NULL || strstr(protocols, family == AF_INET ? "ipv4" : "ipv6") != NULL;
}

static int
add_address(const struct plan_row *row, const struct net_addr *addr, bool optional)
{
    struct master_listeners *plan = row->plan;

    if (!has_family(row->config, addr->family)) {
        return 0;
    }
    for (size_t i = 0; i < plan->count; i++) {
        if (net_addr_equal(&plan->items[i].addr, addr) && plan->items[i].addr.port == row->port) {
            if (plan->items[i].service == row->index) {
                return 0; /* one host, two names */
            }
            explain(row, "another row listens on the same address and port; remove one of them");
            return GW_ERR_CONFIG;
        }
    }
    if (plan->count >= MASTER_LISTENERS_MAX) {
        explain(row, "too many listening addresses; name fewer in inet_interfaces");
        return GW_ERR_CONFIG;
    }
    struct master_listener *item = &plan->items[plan->count++];
    *item = (struct master_listener){
        .addr = *addr, .fd = -1, .role = row->role, .service = row->index, .optional = optional};
    item->addr.port = row->port;
    return 0;
}

static int
add_text(const struct plan_row *row, const char *text, bool optional)
{
    struct net_addr addr;

    return net_addr_parse(bytes_str(text), &addr) == 0 ? add_address(row, &addr, optional) : GW_ERR_SYNTAX;
}

/* Where a host's name stands: in the row, or in inet_interfaces. */
static void
explain_host(const struct plan_row *row, const char *host, bool in_row, const char *what)
{
    if (in_row) {
        (void)buf_printf(row->why, "%s/master.cf:%d: service %s", config_directory(row->config),
                         row->service->line, row->service->name);
    } else {
        config_locate(row->config, P_inet_interfaces, row->why);
        (void)buf_append_str(row->why, ": inet_interfaces");
    }
    (void)buf_printf(row->why, ": host %s: %s; write its address instead\n", host, what);
}

static int
add_host(const struct plan_row *row, const char *host, bool in_row)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int r = add_text(row, host, false);

    if (r != GW_ERR_SYNTAX) {
        return r;
    }
    int error = getaddrinfo(host, NULL, &hints, &found);
    if (error != 0) {
        explain_host(row, host, in_row, gai_strerror(error));
        return GW_ERR_CONFIG;
    }
    r = 0;
    for (const struct addrinfo *one = found; r == 0 && one != NULL; one = one->ai_next) {
        struct net_addr addr;

        net_addr_from_sockaddr(one->ai_addr, &addr);
        r = add_address(row, &addr, addr.family == AF_INET6);
    }
    freeaddrinfo(found);
    return r;
}

/* inet_interfaces: all, loopback-only, or a list of addresses and host names. */
static int
add_interfaces(const struct plan_row *row)
{
    struct bytes rest = bytes_str(config_str(row->config, P_inet_interfaces)), token;
    char host[HOST_MAX];
    int r = 0;

    while (r == 0 && bytes_next_token(&rest, ", \t\r\n", &token)) {
        (void)snprintf(host, sizeof(host), "%.*s", BYTES_FMT(token));
        if (strcmp(host, "all") == 0) {
            if ((r = add_text(row, "0.0.0.0", false)) == 0) {
                r = add_text(row, "::", true);
            }
        } else if (strcmp(host, "loopback-only") == 0) {
            if ((r = add_text(row, "127.0.0.1", false)) == 0) {
                r = add_text(row, "::1", true);
            }
        } else {
            r = add_host(row, host, false);
        }
    }
    return r;
}

static int
parse_port(const struct plan_row *row, struct bytes text, uint16_t *port_r)
{
    char name[HOST_MAX];
    uint64_t number;

    *port_r = 0;
    if (bytes_to_u64(text, &number) == 0) {
        if (number == 0 || number > UINT16_MAX) {
            explain(row, "the port must be between 1 and 65535");
            return GW_ERR_CONFIG;
        }
        *port_r = (uint16_t)number;
        return 0;
    }
    (void)snprintf(name, sizeof(name), "%.*s", BYTES_FMT(text));
    const struct servent *entry = getservbyname(name, "tcp");
    if (entry == NULL) {
        explain(row, "the port is neither a number nor a name in /etc/services");
        return GW_ERR_CONFIG;
    }
    *port_r = (uint16_t)((((unsigned)entry->s_port & 0xff) << 8) | (((unsigned)entry->s_port >> 8) & 0xff));
    return 0;
}

static int
plan_row(struct plan_row *row)
{
    struct bytes name = bytes_str(row->service->name);
    ptrdiff_t colon = bytes_rindex(name, ':');
    char host[HOST_MAX] = "";
    int r;

    if (colon >= 0) {
        struct bytes before = bytes_sub(name, 0, (size_t)colon);

        if (before.n >= 2 && before.p[0] == '[' && before.p[before.n - 1] == ']') {
            before = bytes_sub(before, 1, before.n - 2);
        }
        (void)snprintf(host, sizeof(host), "%.*s", BYTES_FMT(before));
    }
    r = parse_port(row, bytes_sub(name, (size_t)(colon + 1), name.n), &row->port);
    if (r != 0) {
        return r;
    }
    size_t before = row->plan->count;
    r = host[0] != '\0' ? add_host(row, host, true) : add_interfaces(row);
    if (r == 0 && row->plan->count == before) {
        explain(row, "no address is left to listen on; check inet_interfaces and inet_protocols");
        r = GW_ERR_CONFIG;
    }
    return r;
}

int
master_listen_plan(const struct config *config, struct master_listeners *plan_r, struct buf *why)
{
    int r = 0;

    *plan_r = (struct master_listeners){.count = 0};
    for (size_t i = 0; r == 0 && i < config_service_count(config); i++) {
        struct plan_row row = {.config = config_view(config, i),
                               .service = config_service(config, i),
                               .index = (int)i,
                               .plan = plan_r,
                               .why = why};

        if (strcmp(row.service->type, "inet") != 0) {
            continue;
        }
        for (size_t k = 0; k < sizeof(PROGRAMS) / sizeof(PROGRAMS[0]); k++) {
            if (strcmp(row.service->program, PROGRAMS[k].program) == 0) {
                row.role = PROGRAMS[k].role;
            }
        }
        if (row.role == ROLE_NONE) {
            log_warning("master",
                        "%s/master.cf:%d: service %s: program %s is not one that listens here: ignored",
                        config_directory(config), row.service->line, row.service->name, row.service->program);
            continue;
        }
        r = plan_row(&row);
    }
    return r;
}

static bool
is_wildcard(const struct net_addr *addr)
{
    struct net_addr any;

    return net_addr_parse(bytes_str(addr->family == AF_INET ? "0.0.0.0" : "::"), &any) == 0 &&
           net_addr_equal(addr, &any);
}

/* A port that moves between one address and all of them (10025 to localhost:10025): the old socket must stop
 * listening before the new one may be bound, although roles of the old generation still hold it. True: one
 * did.
 */
static bool
make_room(struct master_listeners *held, const struct master_listener *item)
{
    bool any = false;

    for (size_t i = 0; i < held->count; i++) {
        struct master_listener *other = &held->items[i];

        if (other->fd != -1 && !other->is_silenced && other->addr.port == item->addr.port &&
            other->addr.family == item->addr.family &&
            (is_wildcard(&other->addr) || is_wildcard(&item->addr))) {
            (void)shutdown(other->fd, SHUT_RDWR);
            other->is_silenced = true;
            any = true;
        }
    }
    return any;
}

/* The plan failed: what was silenced for it listens again. */
static void
listen_again(struct master_listeners *held)
{
    for (size_t i = 0; i < held->count; i++) {
        if (held->items[i].is_silenced) {
            held->items[i].is_silenced = false;
            if (listen(held->items[i].fd, MASTER_BACKLOG) == -1) {
                log_error("master", "cannot listen again after a reload that was refused: %s; stop and start",
                          strerror(errno));
            }
        }
    }
}

static int
bind_one(const struct config *config, struct master_listener *item, struct master_listeners *held,
         int64_t deadline_ms, struct buf *why)
{
    char text[NET_ADDR_TEXT_MAX];
    const struct config_service *service = config_service(config, (size_t)item->service);

    for (;;) {
        item->fd = net_listen(&item->addr, MASTER_BACKLOG);
        if (item->fd == -1 && errno == EADDRINUSE && make_room(held, item)) {
            continue;
        }
        if (item->fd != -1 || errno != EADDRINUSE || clock_monotonic_ms() >= deadline_ms) {
            break;
        }
        (void)usleep(BIND_STEP_US);
    }
    if (item->fd != -1 || (item->optional && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))) {
        return 0;
    }
    int error = errno;
    net_addr_format(&item->addr, text);
    (void)buf_printf(why, "%s/master.cf:%d: service %s: cannot listen on %s port %u: %s; %s\n",
                     config_directory(config), service->line, service->name, text, (unsigned)item->addr.port,
                     strerror(error),
                     error == EACCES       ? "start as root, or use a port above 1023"
                     : error == EADDRINUSE ? "stop the program that listens there, or use another port"
                                           : "check the address");
    return GW_ERR_SYS;
}

static struct master_listener *
find_held(struct master_listeners *held, const struct master_listener *item)
{
    for (size_t i = 0; i < held->count; i++) {
        if (held->items[i].fd != -1 && net_addr_equal(&held->items[i].addr, &item->addr) &&
            held->items[i].addr.port == item->addr.port) {
            return &held->items[i];
        }
    }
    return NULL;
}

int
master_listen_bind(const struct config *config, struct master_listeners *plan, struct master_listeners *held,
                   int wait_ms, struct buf *why)
{
    int64_t deadline_ms = clock_monotonic_ms() + wait_ms;
    int r = 0;

    for (size_t i = 0; r == 0 && i < plan->count; i++) {
        if (find_held(held, &plan->items[i]) == NULL) {
            r = bind_one(config, &plan->items[i], held, deadline_ms, why);
        }
    }
    if (r != 0) {
        master_listen_close(plan);
        listen_again(held);
        return r;
    }
    for (size_t i = 0; i < plan->count; i++) {
        struct master_listener *kept = find_held(held, &plan->items[i]);

        if (plan->items[i].fd == -1 && kept != NULL) {
            plan->items[i].fd = kept->fd;
            kept->fd = -1; /* transferred */
        }
    }
    master_listen_close(held);
    return 0;
}

void
master_listen_close(struct master_listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++) {
        if (listeners->items[i].fd != -1) {
            (void)close(listeners->items[i].fd);
            listeners->items[i].fd = -1;
        }
    }
    listeners->count = 0;
}

/*
 * resolver_service - see the header. Before: every role with an edge to the resolver; after: libunbound.
 *
 * libunbound runs in thread mode and is driven by its descriptor in our loop. Each query has the asker's own
 * budget: when it ends the answer is "cannot tell", whatever libunbound still does. A peer may have
 * QUERIES_MAX queries under way; more are answered "cannot tell" at once.
 */
#include "resolver/resolver_service.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unbound.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/loop.h"
#include "config/role_start.h"
#include "resolver/resolver_records.h"

enum {
    QUERIES_MAX = 2000, /* under way for one peer */
    SERVERS_MAX = 16,
    ANSWER_BYTES_MAX = 256 * 1024,
    CLASS_IN = 1,
};

/* Names under .test and .invalid and the reverse names of private networks are asked for like any others: an
 * operator's lab and internal servers live there. A forwarder that did not answer is tried again at once. */
static const char SETTINGS[] = "server:\n"
                               "  local-zone: \"test.\" nodefault\n"
                               "  local-zone: \"invalid.\" nodefault\n"
                               "  local-zone: \"home.arpa.\" nodefault\n"
                               "  local-zone: \"127.in-addr.arpa.\" nodefault\n"
                               "  local-zone: \"2.0.192.in-addr.arpa.\" nodefault\n"
                               "  local-zone: \"100.51.198.in-addr.arpa.\" nodefault\n"
                               "  local-zone: \"113.0.203.in-addr.arpa.\" nodefault\n"
                               "  local-zone: \"8.b.d.0.1.0.0.2.ip6.arpa.\" nodefault\n"
                               "  unblock-lan-zones: yes\n"
                               "  insecure-lan-zones: yes\n"
                               "  do-not-query-localhost: no\n"
                               "  infra-host-ttl: 2\n"
                               "  infra-keep-probing: yes\n"
                               "  edns-buffer-size: 1232\n"
                               "  msg-cache-size: 16m\n"
                               "  rrset-cache-size: 32m\n";

struct resolver {
    struct role_start start;
    struct loop *loop;
    struct ub_ctx *unbound;
    struct listener {
        struct resolver *resolver;
        int fd;
        enum role peer;
    } listeners[ROLE_LISTENERS_MAX];
};

/* One connection of another role. Lives until it is closed and its last query is done. */
struct peer {
    struct resolver *resolver;
    struct ipc_channel *channel; /* NULL: gone */
    struct loop_watch *watch;
    size_t under_way;
};

struct query {
    struct peer *peer;
    uint64_t id;
    int async_id;
    struct loop_timer *timer;
};

static void
free_peer_when_done(struct peer *peer)
{
    if (peer->channel == NULL && peer->under_way == 0) {
        free(peer);
    }
}

static void
close_peer(struct peer *peer)
{
    loop_watch_remove(peer->resolver->loop, &peer->watch);
    ipc_channel_free(&peer->channel);
}

static void
send_answer(struct peer *peer, uint64_t id, const struct dns_answer *answer)
{
    static const struct dns_answer TEMPFAIL = {.status = DNS_TEMPFAIL, .rcode = 2};
    struct buf payload;

    if (peer->channel == NULL) {
        return;
    }
    buf_init(&payload, ANSWER_BYTES_MAX);
    int r = dns_wire_put_answer(&payload, answer != NULL ? answer : &TEMPFAIL);
    r = r == 0 ? ipc_send(peer->channel, DNS_IPC_ANSWER, id, bytes_buf(&payload), NULL, 0) : r;
    buf_free(&payload);
    if (r != 0) {
        close_peer(peer);
    } else if (ipc_has_backlog(peer->channel)) {
        loop_watch_change(peer->resolver->loop, peer->watch, EPOLLIN | EPOLLOUT);
    }
}

static void
finish_query(struct query *query, const struct dns_answer *answer)
{
    struct peer *peer = query->peer;

    loop_timer_cancel(peer->resolver->loop, &query->timer);
    send_answer(peer, query->id, answer);
    peer->under_way--;
    free(query);
    free_peer_when_done(peer);
}

/* libunbound is done; called from ub_process() in our own thread. */
static void
take_result(void *context, int error, struct ub_result *result)
{
    struct dns_answer *answer = resolver_records_answer(error, result);

    ub_resolve_free(result);
    finish_query(context, answer);
    dns_answer_free(&answer);
}

/* The asker's budget is over. */
static void
expire_query(void *context)
{
    struct query *query = context;

    query->timer = NULL;
    /* After a successful cancel the callback does not come any more. */
    (void)ub_cancel(query->peer->resolver->unbound, query->async_id);
    finish_query(query, NULL);
}

/* The name as libunbound reads it: bytes that mean something in zone files, or nothing in names, as \\DDD.
 * SPF macros make such names of what a sender wrote. */
static bool
escape_name(const char *name, char *out, size_t size)
{
    size_t n = 0;

    for (const char *p = name; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '_' || c == '.';

        if (n + 5 > size) {
            return false;
        }
        n += plain ? 1 : 4;
        (void)snprintf(out + n - (plain ? 1 : 4), 5, plain ? "%c" : "\\%03u", c);
    }
    out[n] = '\0';
    return true;
}

static int
start_query(struct peer *peer, uint64_t id, const char *name, enum dns_type type, uint32_t budget_ms)
{
    char escaped[4 * DNS_NAME_MAX + 8];
    struct query *query = escape_name(name, escaped, sizeof(escaped)) ? calloc(1, sizeof(*query)) : NULL;

    if (query == NULL) {
        return GW_ERR_NOMEM;
    }
    *query = (struct query){.peer = peer, .id = id};
    query->timer =
        loop_timer_add(peer->resolver->loop, clock_monotonic_ms() + budget_ms, expire_query, query);
    if (query->timer == NULL) {
        free(query);
        return GW_ERR_NOMEM;
    }
    int error = ub_resolve_async(peer->resolver->unbound, escaped, (int)type, CLASS_IN, query, take_result,
                                 &query->async_id);
    if (error != 0) {
        log_warning("resolver", "%s: %s", name, ub_strerror(error));
        loop_timer_cancel(peer->resolver->loop, &query->timer);
        free(query);
        return GW_ERR_SYS;
    }
    peer->under_way++;
    return 0;
}

/* "localhost" has its addresses without any server. */
static bool
answer_localhost(struct peer *peer, uint64_t id, const char *name, enum dns_type type)
{
    static const uint8_t V4[4] = {127, 0, 0, 1}, V6[16] = {[15] = 1};
    struct dns_record record = {.data = type == DNS_A ? bytes_of(V4, 4) : bytes_of(V6, 16)};
    struct dns_answer answer = {.status = DNS_FOUND, .ttl = 3600, .records = &record, .record_count = 1};

    if (strcasecmp(name, "localhost") != 0 && strcasecmp(name, "localhost.") != 0) {
        return false;
    }
    (void)snprintf(answer.canonical, sizeof(answer.canonical), "localhost");
    if (type != DNS_A && type != DNS_AAAA) {
        answer.status = DNS_NODATA;
        answer.record_count = 0;
    }
    send_answer(peer, id, &answer);
    return true;
}

static int
take_message(struct peer *peer, const struct ipc_message *message)
{
    char name[DNS_NAME_MAX + 1];
    enum dns_type type;
    uint32_t budget_ms;

    if (dns_wire_get_query(message->payload, name, &type, &budget_ms) != 0) {
        return GW_ERR_PEER;
    }
    if (!answer_localhost(peer, message->id, name, type) &&
        (peer->under_way >= QUERIES_MAX || start_query(peer, message->id, name, type, budget_ms) != 0)) {
        send_answer(peer, message->id, NULL);
    }
    return 0;
}

static void
serve_peer(void *context, uint32_t events)
{
    struct peer *peer = context;
    struct ipc_message message;
    int r = 0;

    if ((events & EPOLLOUT) != 0) {
        r = ipc_flush(peer->channel);
        r = r == GW_ERR_AGAIN ? 0 : r;
        if (r == 0 && !ipc_has_backlog(peer->channel)) {
            loop_watch_change(peer->resolver->loop, peer->watch, EPOLLIN);
        }
    }
    while (r == 0 && peer->channel != NULL && (r = ipc_receive(peer->channel, 0, &message)) == 0) {
        r = take_message(peer, &message);
        ipc_message_free(&message);
    }
    if (r != 0 && r != GW_ERR_AGAIN) {
        close_peer(peer);
    }
    free_peer_when_done(peer);
}

static void
accept_peer(void *context, uint32_t events)
{
    struct listener *listener = context;
    struct ipc_channel *channel;

    (void)events;
    while (ipc_accept(listener->fd, ROLE_RESOLVER, listener->peer, true, &channel) == 0) {
        struct peer *peer = calloc(1, sizeof(*peer));

        if (peer == NULL) {
            ipc_channel_free(&channel);
            return;
        }
        *peer = (struct peer){.resolver = listener->resolver, .channel = channel};
        peer->watch =
            loop_watch_add(listener->resolver->loop, ipc_channel_fd(channel), EPOLLIN, serve_peer, peer);
        if (peer->watch == NULL) {
            ipc_channel_free(&peer->channel);
            free(peer);
        }
    }
}

static void
process_unbound(void *context, uint32_t events)
{
    struct resolver *resolver = context;

    (void)events;
    (void)ub_process(resolver->unbound);
}

/* "127.0.0.1:5353", "9.9.9.9", "[2001:db8::53]:53" to libunbound's "address@port". */
static int
add_server(struct ub_ctx *unbound, struct bytes word)
{
    char text[128], address[NET_ADDR_TEXT_MAX];
    struct net_addr addr;
    uint64_t port = 53;
    ptrdiff_t colon = bytes_rindex(word, ':'), bracket = bytes_index(word, ']');
    struct bytes host = word;

    if (bracket > 0) {
        host = bytes_sub(word, 1, (size_t)bracket - 1);
        colon = (size_t)bracket + 1 < word.n ? bracket + 1 : -1;
    } else if (colon > 0 && bytes_index(word, ':') == colon) {
        host = bytes_sub(word, 0, (size_t)colon);
    } else {
        colon = -1;
    }
    if ((colon > 0 && bytes_to_u64(bytes_sub(word, (size_t)colon + 1, word.n), &port) != 0) || port == 0 ||
        port > UINT16_MAX || net_addr_parse(host, &addr) != 0) {
        log_error("resolver", "dns_servers: \"%.*s\" is not address:port", BYTES_FMT(word));
        return GW_ERR_CONFIG;
    }
    net_addr_format(&addr, address);
    (void)snprintf(text, sizeof(text), "%s@%u", address, (unsigned)port);
    return ub_ctx_set_fwd(unbound, text) == 0 ? 0 : GW_ERR_CONFIG;
}

static int
set_servers(struct resolver *resolver)
{
    struct bytes rest = bytes_str(config_str(resolver->start.config, P_dns_servers)), word;
    size_t count = 0;
    int r = 0;

    while (r == 0 && bytes_next_token(&rest, ", \t", &word) && count++ < SERVERS_MAX) {
        r = add_server(resolver->unbound, word);
    }
    if (count == 0 && ub_ctx_resolvconf(resolver->unbound, NULL) != 0) {
        log_warning("resolver", "/etc/resolv.conf names no server: names are resolved from the root");
    }
    return r;
}

/* libunbound takes these settings only from a file. */
static int
apply_settings(struct ub_ctx *unbound)
{
    struct bytes text = bytes_str(SETTINGS);
    char path[64];
    int fd = ipc_sealed_memfd("unbound", text);

    if (fd == -1) {
        return GW_ERR_SYS;
    }
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int error = ub_ctx_config(unbound, path);
    (void)close(fd);
    if (error != 0) {
        log_error("resolver", "libunbound refused its settings: %s", ub_strerror(error));
    }
    return error == 0 ? 0 : GW_ERR_SYS;
}

static int
open_unbound(struct resolver *resolver)
{
    int r;

    resolver->unbound = ub_ctx_create();
    if (resolver->unbound == NULL) {
        return GW_ERR_NOMEM;
    }
    if (ub_ctx_async(resolver->unbound, 1) != 0 || (r = apply_settings(resolver->unbound)) != 0 ||
        (r = set_servers(resolver)) != 0) {
        return GW_ERR_CONFIG;
    }
    return loop_watch_add(resolver->loop, ub_fd(resolver->unbound), EPOLLIN, process_unbound, resolver) !=
                   NULL
               ? 0
               : GW_ERR_NOMEM;
}

static void
drain(void *context, uint32_t events)
{
    struct resolver *resolver = context;

    (void)events;
    loop_stop(resolver->loop);
}

static int
open_listeners(struct resolver *resolver)
{
    for (size_t i = 0; i < resolver->start.listener_count; i++) {
        struct listener *listener = &resolver->listeners[i];

        *listener = (struct listener){.resolver = resolver,
                                      .fd = resolver->start.listeners[i].fd,
                                      .peer = resolver->start.listeners[i].peer};
        if (fcntl(listener->fd, F_SETFL, O_NONBLOCK) == -1 ||
            loop_watch_add(resolver->loop, listener->fd, EPOLLIN, accept_peer, listener) == NULL) {
            return GW_ERR_SYS;
        }
    }
    return loop_watch_add(resolver->loop, ROLE_CONTROL_FD, EPOLLIN, drain, resolver) != NULL ? 0 : GW_ERR_SYS;
}

int
resolver_main(int argc, char **argv)
{
    struct resolver *resolver = calloc(1, sizeof(*resolver));

    if (resolver == NULL || role_start_begin(argc, argv, &resolver->start) != 0 ||
        (resolver->loop = loop_new()) == NULL || open_unbound(resolver) != 0 ||
        open_listeners(resolver) != 0 || role_start_ready(&resolver->start, NULL, NULL) != 0) {
        return 1;
    }
    return loop_run(resolver->loop) == 0 ? 0 : 1;
}

/*
 * restriction_server - see the header. Before: restriction_service.c; after: the network.
 *
 * A connection is kept for smtpd_policy_service_max_idle since its last use, max_ttl in all and request_limit
 * questions, as Postfix keeps its own; it is looked at when it is used next, since nobody waits for it
 * meanwhile. What the server said unasked, and that it hung up, make a new one.
 */
#include "policy/restriction_server.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/net.h"

enum { SERVERS_MAX = 8, SERVER_NAME_MAX = 256, SERVER_PATH_MAX = 1024 };

struct kept {
    char server[SERVER_NAME_MAX];
    struct stream *stream; /* NULL: a free place */
    int64_t opened_ms, used_ms;
    int64_t questions;
};

struct restriction_servers {
    struct kept kept[SERVERS_MAX];
};

struct restriction_servers *
restriction_servers_new(void)
{
    return calloc(1, sizeof(struct restriction_servers));
}

void
restriction_servers_free(struct restriction_servers **servers)
{
    for (size_t i = 0; *servers != NULL && i < SERVERS_MAX; i++) {
        stream_free(&(*servers)->kept[i].stream);
    }
    free(*servers);
    *servers = NULL;
}

/* "inet:127.0.0.1:60000", "unix:private/policy" (below the queue directory). */
static int
connect_server(const struct config *view, const char *server, int64_t deadline_ms, int *fd_r)
{
    struct bytes text = bytes_str(server);
    struct net_addr addr;
    uint64_t port;

    if (bytes_has_prefix_nocase(text, BYTES_LIT("unix:"))) {
        char path[SERVER_PATH_MAX];

        (void)snprintf(path, sizeof(path), "%s%s%s",
                       server[5] == '/' ? "" : config_str(view, P_queue_directory),
                       server[5] == '/' ? "" : "/", server + 5);
        return net_connect_unix(path, deadline_ms, fd_r);
    }
    if (bytes_has_prefix_nocase(text, BYTES_LIT("inet:"))) {
        text = bytes_sub(text, 5, text.n);
    }
    ptrdiff_t colon = bytes_rindex(text, ':');
    struct bytes host = bytes_sub(text, 0, colon < 0 ? 0 : (size_t)colon);
    if (bytes_equal_nocase(host, BYTES_LIT("localhost"))) {
        host = BYTES_LIT("127.0.0.1");
    }
    if (colon < 0 || net_addr_parse(host, &addr) != 0 ||
        bytes_to_u64(bytes_sub(text, (size_t)colon + 1, text.n), &port) != 0 || port == 0 ||
        port > UINT16_MAX) {
        return GW_ERR_CONFIG;
    }
    addr.port = (uint16_t)port;
    return net_connect(&addr, NULL, deadline_ms, fd_r);
}

static int
open_stream(const struct config *view, const char *server, int64_t deadline_ms, struct stream **stream_r)
{
    int fd, r = connect_server(view, server, deadline_ms, &fd);

    *stream_r = NULL;
    if (r != 0) {
        return r;
    }
    *stream_r = stream_new(fd);
    if (*stream_r == NULL) {
        (void)close(fd);
        return GW_ERR_NOMEM;
    }
    return 0;
}

/* The connection's place: the one of this server, else the one that was used longest ago. */
static struct kept *
find_place(struct restriction_servers *servers, const char *server)
{
    struct kept *place = &servers->kept[0];

    for (size_t i = 0; i < SERVERS_MAX; i++) {
        struct kept *at = &servers->kept[i];

        if (at->stream != NULL && strcmp(at->server, server) == 0) {
            return at;
        }
        if (place->stream != NULL && (at->stream == NULL || at->used_ms < place->used_ms)) {
            place = at;
        }
    }
    stream_free(&place->stream);
    return place;
}

/* Over its time, or not silent: the server closed it or says what nobody asked. */
static bool
is_worn(const struct config *view, const struct kept *kept, int64_t now_ms)
{
    int64_t ttl_ms = config_int(view, P_smtpd_policy_service_max_ttl) * 1000;
    int64_t limit = config_int(view, P_smtpd_policy_service_request_limit);

    return now_ms - kept->used_ms >= config_int(view, P_smtpd_policy_service_max_idle) * 1000 ||
           (ttl_ms > 0 && now_ms - kept->opened_ms >= ttl_ms) || (limit > 0 && kept->questions >= limit) ||
           stream_has_pending(kept->stream);
}

/* Once, on the kept connection when there is one. */
static int
try_once(struct kept *place, const struct config *view, const char *server, restriction_dialogue *dialogue,
         void *context, bool *was_kept_r)
{
    int64_t now_ms = clock_monotonic_ms();
    int64_t deadline_ms = now_ms + config_int(view, P_smtpd_policy_service_timeout) * 1000;
    int r;

    if (place->stream != NULL && is_worn(view, place, now_ms)) {
        stream_free(&place->stream);
    }
    *was_kept_r = place->stream != NULL;
    if (place->stream == NULL) {
        if ((r = open_stream(view, server, deadline_ms, &place->stream)) != 0) {
            return r;
        }
        (void)snprintf(place->server, sizeof(place->server), "%s", server);
        place->opened_ms = now_ms;
        place->questions = 0;
    }
    stream_set_deadline(place->stream, deadline_ms);
    r = dialogue(context, place->stream);
    place->used_ms = clock_monotonic_ms();
    place->questions++;
    if (r != 0) {
        stream_free(&place->stream);
    }
    return r;
}

int
restriction_server_ask(struct restriction_servers *servers, const struct config *view, const char *server,
                       restriction_dialogue *dialogue, void *context)
{
    struct kept alone = {0};
    bool keeps = servers != NULL && strlen(server) < SERVER_NAME_MAX, was_kept;
    struct kept *place = keeps ? find_place(servers, server) : &alone;
    int64_t tries = config_int(view, P_smtpd_policy_service_try_limit);
    int r;

    while ((r = try_once(place, view, server, dialogue, context, &was_kept)) != 0) {
        if (was_kept) {
            continue;
        }
        if (--tries <= 0 || r == GW_ERR_CONFIG || r == GW_ERR_TIMEOUT) {
            break;
        }
        (void)poll(NULL, 0, (int)(config_int(view, P_smtpd_policy_service_retry_delay) * 1000));
    }
    stream_free(&alone.stream);
    return r;
}

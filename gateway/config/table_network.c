/*
 * table_network - see the header. Before: table_tcp.c, table_socketmap.c; after: the sockets.
 *
 * Idle connections are kept, as many as were needed at once. Who asks takes one or opens one and brings it
 * back when the answer was whole and nothing followed it; anything else closes it, so an answer can never be
 * taken for that of another question.
 */
#include "config/table_network.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/net.h"

enum { ADDRESSES_MAX = 16, FIRST_ROOM = 512 };

struct table_server {
    char *host, *port; /* of inet */
    char *path;        /* of unix; then host is NULL */
    size_t answer_max;
    pthread_mutex_t lock;
    int idle[TABLE_LINKS_MAX];
    size_t idle_count;
    int64_t down_until_ms;
};

/* "host:port", "[2001:db8::1]:port", "port". */
static int
split_endpoint(struct table_server *server, struct bytes text)
{
    ptrdiff_t colon = bytes_rindex(text, ':');
    struct bytes host = colon < 0 ? BYTES_LIT("localhost") : bytes_sub(text, 0, (size_t)colon);
    struct bytes port = colon < 0 ? text : bytes_sub(text, (size_t)colon + 1, text.n);

    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') {
        host = bytes_sub(host, 1, host.n - 2);
    } else if (bytes_index(host, ':') >= 0) {
        return GW_ERR_SYNTAX;
    }
    if (host.n == 0) {
        host = BYTES_LIT("localhost");
    }
    if (port.n == 0 || host.n >= NET_HOST_MAX) {
        return GW_ERR_SYNTAX;
    }
    server->host = bytes_dup_str(host);
    server->port = bytes_dup_str(port);
    return server->host == NULL || server->port == NULL ? GW_ERR_NOMEM : 0;
}

int
table_server_new(struct bytes endpoint, size_t answer_max, struct table_server **server_r,
                 struct buf *error_r)
{
    struct table_server *server = calloc(1, sizeof(*server));
    int r = GW_ERR_NOMEM;

    *server_r = NULL;
    if (server == NULL) {
        return r;
    }
    server->answer_max = answer_max;
    if (pthread_mutex_init(&server->lock, NULL) != 0) {
        free(server);
        return r;
    }
    if (bytes_has_prefix_nocase(endpoint, BYTES_LIT("unix:"))) {
        struct bytes path = bytes_sub(endpoint, 5, endpoint.n);

        server->path = bytes_dup_str(path);
        r = path.n == 0 ? GW_ERR_SYNTAX : server->path == NULL ? GW_ERR_NOMEM : 0;
    } else {
        bool typed = bytes_has_prefix_nocase(endpoint, BYTES_LIT("inet:"));

        r = split_endpoint(server, bytes_sub(endpoint, typed ? 5 : 0, endpoint.n));
    }
    if (r == GW_ERR_SYNTAX) {
        (void)buf_printf(error_r, "\"%.*s\" is neither host:port nor [address]:port nor unix:/path",
                         BYTES_FMT(endpoint));
        r = GW_ERR_CONFIG;
    }
    if (r == 0) {
        *server_r = server;
        server = NULL; /* transferred */
    }
    table_server_free(&server);
    return r;
}

void
table_server_free(struct table_server **server)
{
    if (*server != NULL) {
        for (size_t i = 0; i < (*server)->idle_count; i++) {
            (void)close((*server)->idle[i]);
        }
        (void)pthread_mutex_destroy(&(*server)->lock);
        free((*server)->host);
        free((*server)->port);
        free((*server)->path);
        free(*server);
        *server = NULL;
    }
}

/* A kept connection on which something came unasked, or the end, is not used again. */
static bool
is_quiet(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == -1 && errno == EAGAIN;
}

static int
take_idle(struct table_server *server)
{
    int fd = -1;

    (void)pthread_mutex_lock(&server->lock);
    while (fd == -1 && server->idle_count > 0) {
        fd = server->idle[--server->idle_count];
        if (!is_quiet(fd)) {
            (void)close(fd);
            fd = -1;
        }
    }
    (void)pthread_mutex_unlock(&server->lock);
    return fd;
}

static void
give_idle(struct table_server *server, int fd)
{
    (void)pthread_mutex_lock(&server->lock);
    if (server->idle_count < TABLE_LINKS_MAX) {
        server->idle[server->idle_count++] = fd;
        fd = -1;
    }
    (void)pthread_mutex_unlock(&server->lock);
    if (fd != -1) {
        (void)close(fd);
    }
}

static int64_t
down_until(struct table_server *server, int64_t set_ms)
{
    (void)pthread_mutex_lock(&server->lock);
    if (set_ms > 0) {
        server->down_until_ms = set_ms;
    }
    int64_t until_ms = server->down_until_ms;
    (void)pthread_mutex_unlock(&server->lock);
    return until_ms;
}

static int
connect_host(const struct table_server *server, int64_t deadline_ms, int *fd_r, struct buf *why_r)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int rc = getaddrinfo(server->host, server->port, &hints, &list);
    int r = GW_ERR_SYS, count = 0;

    if (rc != 0) {
        (void)buf_printf(why_r, "%s:%s: %s", server->host, server->port, gai_strerror(rc));
        return GW_ERR_TEMP;
    }
    for (const struct addrinfo *at = list; at != NULL && r != 0 && count < ADDRESSES_MAX; at = at->ai_next) {
        struct net_addr addr;

        net_addr_from_sockaddr(at->ai_addr, &addr);
        r = net_connect(&addr, NULL, deadline_ms, fd_r);
        count++;
    }
    freeaddrinfo(list);
    if (r != 0) {
        (void)buf_printf(why_r, "connect to %s:%s: %s", server->host, server->port,
                         r == GW_ERR_SYS ? strerror(errno) : gw_strerror(r));
    }
    return r;
}

static int
connect_server(struct table_server *server, int64_t deadline_ms, int *fd_r, struct buf *why_r)
{
    int64_t now_ms = clock_monotonic_ms();
    int r;

    *fd_r = -1;
    if (now_ms < down_until(server, 0)) {
        (void)buf_append_str(why_r, "it could not be reached a moment ago");
        return GW_ERR_TEMP;
    }
    if (server->path == NULL) {
        r = connect_host(server, deadline_ms, fd_r, why_r);
    } else if ((r = net_connect_unix(server->path, deadline_ms, fd_r)) != 0) {
        (void)buf_printf(why_r, "connect to %s: %s", server->path,
                         r == GW_ERR_SYS ? strerror(errno) : gw_strerror(r));
    }
    if (r == GW_ERR_TIMEOUT) {
        (void)down_until(server, clock_monotonic_ms() + TABLE_DOWN_MS);
    }
    return r;
}

static int
send_all(int fd, struct bytes data, int64_t deadline_ms)
{
    while (data.n > 0) {
        ssize_t n = send(fd, data.p, data.n, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n > 0) {
            data = bytes_sub(data, (size_t)n, data.n);
            continue;
        }
        struct pollfd one = {.fd = fd, .events = POLLOUT};
        if (errno != EAGAIN && errno != EINTR) {
            return GW_ERR_SYS;
        }
        if (errno == EAGAIN && poll(&one, 1, clock_left_ms(deadline_ms)) == 0) {
            return GW_ERR_TIMEOUT;
        }
    }
    return 0;
}

/* One more piece behind what is there. */
static int
receive_some(int fd, struct buf *come, int64_t deadline_ms)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    size_t room = come->limit - come->n < FIRST_ROOM ? come->limit - come->n : FIRST_ROOM;

    if (room == 0) {
        return GW_ERR_LIMIT;
    }
    int r = buf_reserve(come, room);
    if (r != 0) {
        return r;
    }
    room = come->cap - 1 - come->n < come->limit - come->n ? come->cap - 1 - come->n : come->limit - come->n;
    for (;;) {
        int ready = poll(&one, 1, clock_left_ms(deadline_ms));

        if (ready == 0) {
            return GW_ERR_TIMEOUT;
        }
        ssize_t n = ready < 0 ? -1 : recv(fd, come->p + come->n, room, MSG_DONTWAIT);
        if (n > 0) {
            come->n += (size_t)n;
            come->p[come->n] = '\0';
            return 0;
        }
        if (n == 0) {
            return GW_ERR_EOF;
        }
        if (errno != EINTR && errno != EAGAIN) {
            return GW_ERR_SYS;
        }
    }
}

/* 0: the answer, and nothing after it; 1: something followed it. */
static int
talk(int fd, struct bytes question, table_server_reader *read, void *context, struct buf *come,
     int64_t deadline_ms)
{
    int r = send_all(fd, question, deadline_ms);

    while (r == 0) {
        size_t used = 0;

        if ((r = receive_some(fd, come, deadline_ms)) == 0 &&
            (r = read(context, bytes_buf(come), &used)) == 1) {
            return used == come->n ? 0 : 1;
        }
    }
    return r;
}

int
table_server_ask(struct table_server *server, struct bytes question, table_server_reader *read, void *context,
                 struct buf *why_r)
{
    int64_t deadline_ms = clock_monotonic_ms() + TABLE_ANSWER_MS;
    int fd = take_idle(server);
    bool kept = fd != -1;
    struct buf come;
    int r;

    buf_init(&come, server->answer_max);
    for (;;) {
        if (fd == -1 && (r = connect_server(server, deadline_ms, &fd, why_r)) != 0) {
            break;
        }
        r = talk(fd, question, read, context, &come, deadline_ms);
        if (r == 0) {
            give_idle(server, fd);
            fd = -1;
            break;
        }
        (void)close(fd);
        fd = -1;
        if (kept && come.n == 0 && (r == GW_ERR_EOF || r == GW_ERR_SYS)) {
            kept = false; /* the server closed it while it was idle: that says nothing about the server */
            continue;
        }
        if (r < 0) {
            (void)buf_append_str(why_r, r == GW_ERR_SYS     ? strerror(errno)
                                        : r == GW_ERR_LIMIT ? "the answer is too long"
                                                            : gw_strerror(r));
        }
        break;
    }
    if (r == GW_ERR_TIMEOUT) {
        (void)down_until(server, clock_monotonic_ms() + TABLE_DOWN_MS);
    }
    buf_free(&come);
    return r > 0 ? 0 : r; /* more than the answer came: the answer stands, the connection is gone */
}

/*
 * dns_async - queries for event loops; see dns.h.
 *
 * One non-blocking connection carries all queries; each has a timer of its own, so the callback comes exactly
 * once whatever happens to the resolver. When the connection breaks, what is under way is answered "cannot
 * tell" and the next query connects again.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/dns_internal.h"
#include "base/error.h"
#include "base/ipc.h"
#include "base/loop.h"

enum { BUCKETS = 1024 };

struct query {
    struct query *next; /* in its bucket */
    struct dns_async *owner;
    uint64_t id;
    dns_done *done;
    void *context;
    struct loop_timer *timer;
};

struct dns_async {
    struct loop *loop;
    enum role self;
    struct ipc_channel *channel;
    struct loop_watch *watch;
    uint64_t next_id;
    struct query *buckets[BUCKETS];
};

struct dns_async *
dns_async_new(struct loop *loop, int self)
{
    struct dns_async *async = calloc(1, sizeof(*async));

    if (async != NULL) {
        async->loop = loop;
        async->self = (enum role)self;
        async->next_id = 1;
    }
    return async;
}

/* Takes a query out of its bucket; NULL when it is not there any more. */
static struct query *
take(struct dns_async *async, uint64_t id)
{
    struct query **at = &async->buckets[id % BUCKETS];

    while (*at != NULL && (*at)->id != id) {
        at = &(*at)->next;
    }
    struct query *query = *at;
    if (query != NULL) {
        *at = query->next;
        loop_timer_cancel(async->loop, &query->timer);
    }
    return query;
}

static void
finish(struct query *query, struct dns_answer *answer)
{
    dns_done *done = query->done;
    void *context = query->context;

    free(query);
    if (answer == NULL) {
        answer = dns_tempfail();
    }
    done(context, answer);
}

static void
disconnect(struct dns_async *async)
{
    loop_watch_remove(async->loop, &async->watch);
    ipc_channel_free(&async->channel);
}

/* The connection broke: everybody under way hears "cannot tell". Queries made by those callbacks are new
 * ones. */
static void
fail_all(struct dns_async *async)
{
    uint64_t last = async->next_id;

    disconnect(async);
    for (size_t i = 0; i < BUCKETS; i++) {
        struct query *query = async->buckets[i];

        while (query != NULL) {
            uint64_t id = query->id;

            query = query->next;
            if (id < last) {
                struct query *taken = take(async, id);

                if (taken != NULL) {
                    finish(taken, NULL);
                }
                query = async->buckets[i]; /* the callback may have changed the list */
                while (query != NULL && query->id >= last) {
                    query = query->next;
                }
            }
        }
    }
}

static void
receive_answers(void *context, uint32_t events)
{
    struct dns_async *async = context;
    struct ipc_message message;
    int r = 0;

    if ((events & EPOLLOUT) != 0) {
        r = ipc_flush(async->channel);
        r = r == GW_ERR_AGAIN ? 0 : r;
        if (r == 0 && !ipc_has_backlog(async->channel)) {
            loop_watch_change(async->loop, async->watch, EPOLLIN);
        }
    }
    while (r == 0 && async->channel != NULL && (r = ipc_receive(async->channel, 0, &message)) == 0) {
        struct query *query = take(async, message.id);
        struct dns_answer *answer = NULL;

        if (query != NULL) {
            (void)dns_wire_get_answer(message.payload, &answer);
        }
        ipc_message_free(&message);
        if (query != NULL) {
            finish(query, answer);
        }
    }
    if (r != 0 && r != GW_ERR_AGAIN) {
        fail_all(async);
    }
}

static int
connect_resolver(struct dns_async *async)
{
    struct ipc_channel *blocking = NULL;
    int r = ipc_connect(async->self, ROLE_RESOLVER, &blocking);

    if (r != 0) {
        return r;
    }
    int fd = fcntl(ipc_channel_fd(blocking), F_DUPFD_CLOEXEC, 3);
    ipc_channel_free(&blocking);
    if (fd == -1 || fcntl(fd, F_SETFL, O_NONBLOCK) == -1) {
        return GW_ERR_SYS;
    }
    async->channel = ipc_channel_new(fd, async->self, ROLE_RESOLVER);
    if (async->channel == NULL) {
        return GW_ERR_NOMEM;
    }
    async->watch = loop_watch_add(async->loop, fd, EPOLLIN, receive_answers, async);
    if (async->watch == NULL) {
        ipc_channel_free(&async->channel);
        return GW_ERR_NOMEM;
    }
    return 0;
}

static void
expire(void *context)
{
    struct query *query = context;

    query->timer = NULL;
    query = take(query->owner, query->id);
    if (query != NULL) {
        finish(query, NULL);
    }
}

static int
send_query(struct dns_async *async, uint64_t id, const char *name, enum dns_type type, int64_t deadline_ms)
{
    struct buf payload;
    int r = async->channel == NULL ? connect_resolver(async) : 0;

    if (r != 0) {
        return r;
    }
    buf_init(&payload, DNS_QUERY_BYTES_MAX);
    r = dns_wire_put_query(&payload, name, type, (uint32_t)clock_left_ms(deadline_ms));
    if (r == 0) {
        r = ipc_send(async->channel, DNS_IPC_QUERY, id, bytes_buf(&payload), NULL, 0);
    }
    buf_free(&payload);
    if (r == 0 && ipc_has_backlog(async->channel)) {
        loop_watch_change(async->loop, async->watch, EPOLLIN | EPOLLOUT);
    }
    return r;
}

int
dns_async_query(struct dns_async *async, const char *name, enum dns_type type, int64_t deadline_ms,
                dns_done *done, void *context, uint64_t *handle_r)
{
    *handle_r = 0;
    if (!dns_name_is_askable(name)) {
        return GW_ERR_SYNTAX;
    }
    struct query *query = calloc(1, sizeof(*query));
    if (query == NULL) {
        return GW_ERR_NOMEM;
    }
    *query = (struct query){.owner = async, .id = async->next_id++, .done = done, .context = context};
    /* A resolver that cannot be reached is told by the timer, at once: never from inside this call. */
    int64_t when_ms =
        send_query(async, query->id, name, type, deadline_ms) == 0 ? deadline_ms + DNS_GRACE_MS : 0;
    query->timer = loop_timer_add(async->loop, when_ms, expire, query);
    if (query->timer == NULL) {
        free(query);
        return GW_ERR_NOMEM;
    }
    query->next = async->buckets[query->id % BUCKETS];
    async->buckets[query->id % BUCKETS] = query;
    *handle_r = query->id;
    return 0;
}

void
dns_async_cancel(struct dns_async *async, uint64_t handle)
{
    free(take(async, handle));
}

void
dns_async_free(struct dns_async **async)
{
    if (*async == NULL) {
        return;
    }
    disconnect(*async);
    for (size_t i = 0; i < BUCKETS; i++) {
        while ((*async)->buckets[i] != NULL) {
            dns_async_cancel(*async, (*async)->buckets[i]->id);
        }
    }
    free(*async);
    *async = NULL;
}

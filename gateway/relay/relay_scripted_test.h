/*
 * relay_scripted_test.h - scripted servers on loopback and what a delivery needs without configuration and
 * queue: for the tests of this folder.
 *
 * A script is a list of lines: "<text" must come from the client (a prefix; with a "$" behind it, the whole
 * line), ">text" is sent, "=" reads until the line
 * with a single dot, "!" closes the connection. One thread plays the scripts one connection after the other.
 */
#ifndef RELAY_RELAY_SCRIPTED_TEST_H
#define RELAY_RELAY_SCRIPTED_TEST_H

#include "relay/relay_delivery.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/stream.h"
#include "base/tls.h"
#include "relay/relay_transaction.h"

static int failures;
#define CHECK(cond)                                                    \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                \
        }                                                              \
    } while (0)

enum { SCRIPTS_MAX = 4, LINES_MAX = 40, PATIENCE_MS = 10000 };

struct server {
    int listen_fd;
    uint16_t port;
    const char *const *scripts[SCRIPTS_MAX]; /* one per connection; NULL ends */
    int played;                              /* connections that came */
    bool wrong;                              /* a client line was not the expected one */
    char content[4096];
};

static void
read_content(struct server *server, struct stream *stream)
{
    struct bytes line;
    size_t n = 0;

    while (stream_read_line(stream, 4096, &line) == 0 && !bytes_equal(line, BYTES_LIT("."))) {
        n += (size_t)snprintf(server->content + n, sizeof(server->content) - n, "%.*s|", BYTES_FMT(line));
    }
}

static bool
is_expected(struct bytes line, struct bytes text)
{
    if (text.n > 0 && text.p[text.n - 1] == '$') {
        return bytes_equal(line, bytes_sub(text, 0, text.n - 1));
    }
    return bytes_has_prefix_nocase(line, text);
}

static void
play(struct server *server, const char *const *script, int fd)
{
    struct stream *stream = stream_new(fd);
    struct bytes line;

    stream_set_deadline(stream, clock_monotonic_ms() + PATIENCE_MS);
    for (; *script != NULL && **script != '!'; script++) {
        const char *text = *script + 1;

        if (**script == '>') {
            (void)stream_printf(stream, "%s\r\n", text);
            (void)stream_flush(stream);
        } else if (**script == '=') {
            read_content(server, stream);
        } else if (stream_read_line(stream, 4096, &line) != 0 || !is_expected(line, bytes_str(text))) {
            fprintf(stderr, "the server wanted \"%s\", got \"%.*s\"\n", text, BYTES_FMT(line));
            server->wrong = true;
            break;
        }
    }
    stream_free(&stream);
}

static void *
serve(void *context)
{
    struct server *server = context;

    for (int i = 0; server->scripts[i] != NULL; i++) {
        int fd = accept(server->listen_fd, NULL, NULL);

        if (fd == -1) {
            break;
        }
        server->played++;
        play(server, server->scripts[i], fd);
    }
    return NULL;
}

static void
start_server(struct server *server, pthread_t *thread)
{
    struct net_addr addr = {.family = AF_INET, .ip = {127, 0, 0, 1}};
    struct sockaddr_in sin;
    socklen_t length = sizeof(sin);

    server->listen_fd = net_listen(&addr, 5);
    CHECK(server->listen_fd != -1 && getsockname(server->listen_fd, (struct sockaddr *)&sin, &length) == 0);
    server->port = ntohs(sin.sin_port);
    CHECK(pthread_create(thread, NULL, serve, server) == 0);
}

static void
stop_server(struct server *server, pthread_t thread)
{
    (void)shutdown(server->listen_fd, SHUT_RDWR);
    (void)pthread_join(thread, NULL);
    (void)close(server->listen_fd);
    CHECK(!server->wrong);
}

/* Everything a delivery needs, without configuration and queue. */
struct bench {
    struct relay_settings settings;
    struct relay_delivery *delivery;
    struct evidence evidence;
    struct arena *arena;
    struct buf command, room;
    struct wire_job job;
    struct relay_task task;
    uint16_t numbers[8];
    int content_fd;
};

static int
no_dns(void *context, const char *name, enum dns_type type, int64_t deadline_ms, struct dns_answer **answer_r)
{
    (void)context;
    (void)name;
    (void)type;
    (void)deadline_ms;
    (void)answer_r;
    return GW_ERR_TEMP;
}

static void
set_up(struct bench *bench)
{
    struct relay_settings *s = &bench->settings;

    memset(bench, 0, sizeof(*bench));
    s->transport = "smtp";
    s->program = "smtp";
    s->connect_ms = s->helo_ms = s->starttls_ms = s->xforward_ms = s->mail_ms = s->rcpt_ms = s->data_init_ms =
        s->data_xfer_ms = s->data_done_ms = s->rset_ms = s->quit_ms = PATIENCE_MS;
    s->cache_idle_ms = 2000;
    s->reuse_ms = 300000;
    s->session_limit = 2;
    s->skip_5xx_greeting = true;
    s->helo_name = "gateway.test";
    s->address =
        (struct relay_address_rules){.use_ipv4 = true, .default_port = 25, .own_name = "gateway.test"};
    bench->delivery = calloc(1, sizeof(*bench->delivery));
    relay_session_init(&bench->delivery->session);
    bench->delivery->session.evidence = &bench->evidence;
    bench->delivery->lookup.query = no_dns;
    bench->arena = arena_new(1024 * 1024);
    buf_init(&bench->command, 65536);
    buf_init(&bench->room, 131072);
    (void)evidence_begin(&bench->evidence, "test", "relay");
    bench->content_fd = memfd_create("content", MFD_CLOEXEC);
}

static void
tear_down(struct bench *bench)
{
    relay_session_free(&bench->delivery->session);
    free(bench->delivery);
    evidence_free(&bench->evidence);
    arena_free(&bench->arena);
    buf_free(&bench->command);
    buf_free(&bench->room);
    (void)close(bench->content_fd);
}

/* Delivers the envelope, which has its recipients. */
static void
run_envelope(struct bench *bench, const char *nexthop, struct envelope *envelope, const char *content)
{
    CHECK(ftruncate(bench->content_fd, 0) == 0 &&
          pwrite(bench->content_fd, content, strlen(content), 0) == (ssize_t)strlen(content));
    envelope->size = strlen(content);
    (void)snprintf(envelope->queue_id, sizeof(envelope->queue_id), "4TEST");
    bench->job = (struct wire_job){
        .nexthop = bytes_str(nexthop), .envelope = envelope, .recipient_numbers = bench->numbers};
    arena_reset(bench->arena);
    bench->task = (struct relay_task){.command = &bench->command, .room = &bench->room};
    CHECK(relay_task_begin(&bench->task, &bench->job, bench->content_fd, bench->arena) == 0);
    relay_delivery_run(bench->delivery, &bench->settings, &bench->task);
    CHECK(bench->task.pending == 0);
}

/* One job to "a@x.test", "b@x.test" ... */
static inline void
run(struct bench *bench, const char *nexthop, size_t recipients, const char *content)
{
    static const char *const ADDRESSES[] = {"a@x.test", "b@x.test", "c@x.test"};
    struct envelope *envelope = envelope_new();

    CHECK(envelope_set_sender(envelope, BYTES_LIT("s@y.test")) == 0);
    for (size_t i = 0; i < recipients; i++) {
        CHECK(envelope_add_recipient(envelope, bytes_str(ADDRESSES[i]), bytes_of(NULL, 0), 0,
                                     bytes_of(NULL, 0)) == 0);
    }
    run_envelope(bench, nexthop, envelope, content);
    envelope_free(&envelope);
}

static bool
result_is(struct bench *bench, size_t index, enum delivery_status status, const char *dsn, const char *text)
{
    const struct relay_recipient *r = &bench->task.recipients[index];
    bool ok = r->status == status && strcmp(r->dsn, dsn) == 0 && bytes_find(r->reply, bytes_str(text)) >= 0;

    if (!ok) {
        fprintf(stderr, "recipient %zu: %d %s \"%.*s\"\n", index, (int)r->status, r->dsn,
                BYTES_FMT(r->reply));
    }
    return ok;
}

#endif

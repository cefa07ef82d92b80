/*
 * spamassassin - asks a real spamd over the spamc protocol (verb SYMBOLS), with a client of our own.
 *
 * Before: pipeline.c; after: policy/verdict.c compares the score with the spam_* levels. The message begins
 * with our own Received field, from which spamd learns the client; the sender of the envelope is sent in
 * front of it. No answer, a broken one or one too late: "could not finish". As many questions run at once as
 * there are scan threads.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/net.h"
#include "base/stream.h"
#include "scanners/scanner.h"
#include "scanners/spamd_reply.h"

enum { HEAD_MAX = 16384 };

extern const struct scanner SCANNER_SPAMASSASSIN_ROW;

struct server {
    char *path;           /* unix:, or */
    struct net_addr addr; /* inet: */
};

static int
load(const struct config *config, void **shared_r, struct buf *error_r)
{
    const char *text = config_str(config, P_spamassassin_server);
    struct server *server = calloc(1, sizeof(*server));
    uint64_t port = 783;

    *shared_r = NULL;
    if (server == NULL) {
        return GW_ERR_NOMEM;
    }
    if (strncmp(text, "unix:", 5) == 0) {
        if ((server->path = strdup(text + 5)) == NULL) {
            free(server);
            return GW_ERR_NOMEM;
        }
    } else {
        struct bytes host = bytes_str(strncmp(text, "inet:", 5) == 0 ? text + 5 : text);
        ptrdiff_t colon = bytes_rindex(host, ':');

        if (colon > 0 && bytes_to_u64(bytes_sub(host, (size_t)colon + 1, host.n), &port) == 0) {
            host = bytes_sub(host, 0, (size_t)colon);
        }
        if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') {
            host = bytes_sub(host, 1, host.n - 2);
        }
        if (bytes_equal_nocase(host, BYTES_LIT("localhost"))) {
            host = BYTES_LIT("127.0.0.1");
        }
        if (port == 0 || port > UINT16_MAX || net_addr_parse(host, &server->addr) != 0) {
            (void)buf_printf(error_r, "spamassassin_server = %s: write inet:address:port or unix:/path",
                             text);
            free(server);
            return GW_ERR_CONFIG;
        }
        server->addr.port = (uint16_t)port;
    }
    *shared_r = server;
    return 0;
}

static void
unload(void **shared)
{
    struct server *server = *shared;

    if (server != NULL) {
        free(server->path);
        free(server);
        *shared = NULL;
    }
}

/* One stream per thread: its buffers are used again for every message. */
static int
start_thread(const struct config *config, void *shared, void **thread_r)
{
    (void)config;
    (void)shared;
    *thread_r = stream_new(-1);
    return *thread_r == NULL ? GW_ERR_NOMEM : 0;
}

static void
stop_thread(void **thread)
{
    struct stream *stream = *thread;

    stream_free(&stream);
    *thread = NULL;
}

static int
send_message(struct stream *stream, const struct scan_input *input)
{
    struct buf front;
    int r;

    buf_init(&front, HEAD_MAX);
    r = buf_append_str(&front, "X-Envelope-From: <");
    r = r == 0 ? buf_append_printable(&front, input->request->envelope->sender, ENVELOPE_ADDRESS_MAX, true)
               : r;
    r = r == 0 ? buf_append_str(&front, ">\r\n") : r;
    r = r == 0 ? stream_printf(stream, "SYMBOLS SPAMC/1.5\r\nContent-length: %zu\r\n\r\n",
                               front.n + input->content.n)
               : r;
    r = r == 0 ? stream_write(stream, bytes_buf(&front)) : r;
    r = r == 0 ? stream_write(stream, input->content) : r;
    buf_free(&front);
    return r == 0 ? stream_flush(stream) : r;
}

static int
receive_reply(struct stream *stream, struct spamd_reply *reply)
{
    for (;;) {
        int r = spamd_reply_parse(stream_buffered(stream), false, reply);

        if (r != 0) {
            return r == 1 ? 0 : r;
        }
        r = stream_fill(stream);
        if (r == GW_ERR_EOF) {
            return spamd_reply_parse(stream_buffered(stream), true, reply) == 1 ? 0 : GW_ERR_SYNTAX;
        }
        if (r != 0) {
            return r;
        }
    }
}

static int
ask(const struct server *server, struct stream *stream, const struct scan_input *input, int64_t deadline_ms,
    struct spamd_reply *reply)
{
    int fd;
    int r = server->path != NULL ? net_connect_unix(server->path, deadline_ms, &fd)
                                 : net_connect(&server->addr, NULL, deadline_ms, &fd);

    if (r != 0) {
        return r;
    }
    stream_attach(stream, fd);
    stream_set_deadline(stream, deadline_ms);
    r = send_message(stream, input);
    return r == 0 ? receive_reply(stream, reply) : r;
}

static int
scan(void *shared, void *thread, const struct scan_input *input, struct scan_report *report)
{
    int64_t deadline_ms = clock_monotonic_ms() + config_int(input->config, P_spamassassin_timeout) * 1000;
    struct scan_result *result = scan_report_add(report, SCANNER_SPAMASSASSIN);
    struct spamd_reply reply;
    struct stream *stream = thread;

    if (result == NULL) {
        return GW_ERR_LIMIT;
    }
    if ((int64_t)input->content.n > config_int(input->config, P_spamassassin_size_limit)) {
        result->status = SCAN_SKIPPED;
        result->detail = BYTES_LIT("larger than spamassassin_size_limit");
        return 0;
    }
    int r = ask(shared, stream, input, deadline_ms < input->deadline_ms ? deadline_ms : input->deadline_ms,
                &reply);
    if (r != 0) {
        result->status = SCAN_TEMPFAIL;
        result->detail = bytes_str(arena_printf(input->arena, "spamd: %s", gw_strerror(r)));
    } else {
        result->score_milli = reply.score_milli;
        result->threshold_milli = reply.threshold_milli;
        result->status = reply.is_spam ? SCAN_FOUND : SCAN_CLEAN;
        result->found = arena_dup(input->arena, bytes_sub(reply.symbols, 0, SCAN_DETAIL_MAX));
    }
    stream_detach_close(stream);
    return 0;
}

const struct scanner SCANNER_SPAMASSASSIN_ROW = {
    .id = SCANNER_SPAMASSASSIN,
    .name = "spamassassin",
    .load = load,
    .unload = unload,
    .thread_start = start_thread,
    .thread_stop = stop_thread,
    .scan = scan,
};

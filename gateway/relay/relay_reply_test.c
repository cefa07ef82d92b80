/*
 * relay_reply_test - replies of servers, good and bad, whole and byte by byte over a socket.
 */
#include "relay/relay_reply.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/stream.h"

static int failures;
#define CHECK(cond)                                                    \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                \
        }                                                              \
    } while (0)

static const struct {
    const char *wire;
    int r;
    int code;
    const char *dsn;
    const char *text;
} CASES[] = {
    {"250 2.0.0 Ok: queued as 4XYZ\r\n", 0, 250, "2.0.0", "250 2.0.0 Ok: queued as 4XYZ"},
    {"250\r\n", 0, 250, "", "250"},
    {"250-one\r\n250-two\r\n250 three\r\n", 0, 250, "", "250-one 250-two 250 three"},
    {"550-5.1.1 first\r\n550 5.1.1 second\r\n", 0, 550, "5.1.1", "550-5.1.1 first 550 5.1.1 second"},
    {"450 5.1.1 code and class differ\r\n", 0, 450, "", "450 5.1.1 code and class differ"},
    {"550 5.1.1x no status\r\n", 0, 550, "", "550 5.1.1x no status"},
    {"354 go on\n", 0, 354, "", "354 go on"},
    {"250 a\001b\x7f\r\n", 0, 250, "", "250 a?b?"},
    {"hello\r\n", GW_ERR_PEER, 0, "", ""},
    {"250-one\r\n550 two\r\n", GW_ERR_PEER, 0, "", ""},
    {"150 no\r\n", GW_ERR_PEER, 0, "", ""},
    {"650 no\r\n", GW_ERR_PEER, 0, "", ""},
    {"2500 no\r\n", GW_ERR_PEER, 0, "", ""},
    {"\r\n", GW_ERR_PEER, 0, "", ""},
    {"250-cut", GW_ERR_EOF, 0, "", ""},
    {"", GW_ERR_EOF, 0, "", ""},
};

struct sender {
    int fd;
    struct bytes wire;
    size_t piece;
};

static void *
send_all(void *context)
{
    struct sender *sender = context;

    for (size_t at = 0; at < sender->wire.n; at += sender->piece) {
        struct bytes part = bytes_sub(sender->wire, at, sender->piece);

        if (send(sender->fd, part.p, part.n, MSG_NOSIGNAL) == -1) {
            break;
        }
    }
    (void)close(sender->fd);
    return NULL;
}

static int
receive(struct bytes wire, size_t piece, struct relay_reply *reply)
{
    int ends[2];
    pthread_t thread;

    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    struct sender sender = {.fd = ends[1], .wire = wire, .piece = piece};
    CHECK(pthread_create(&thread, NULL, send_all, &sender) == 0);
    struct stream *stream = stream_new(ends[0]);
    stream_set_deadline(stream, clock_monotonic_ms() + 10000);
    int r = relay_reply_read(stream, reply, NULL, NULL);
    stream_free(&stream);
    (void)pthread_join(thread, NULL);
    return r;
}

static void
test_limits(void)
{
    struct relay_reply reply;
    struct buf wire;

    relay_reply_init(&reply);
    buf_init(&wire, 1024 * 1024);
    for (int i = 0; i < 1000; i++) {
        (void)buf_append_str(&wire, "250-and so on\r\n");
    }
    CHECK(receive(bytes_buf(&wire), 1000, &reply) == GW_ERR_PEER); /* too many lines */
    buf_clear(&wire);
    (void)buf_append_str(&wire, "250 ");
    for (int i = 0; i < 10000; i++) {
        (void)buf_append_byte(&wire, 'x');
    }
    (void)buf_append_str(&wire, "\r\n");
    CHECK(receive(bytes_buf(&wire), 1000, &reply) == GW_ERR_PEER); /* too long a line */
    buf_free(&wire);
    relay_reply_free(&reply);
}

int
main(void)
{
    struct relay_reply reply;

    relay_reply_init(&reply);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        for (size_t piece = 1; piece < 100; piece += 98) {
            int r = receive(bytes_str(CASES[i].wire), piece, &reply);

            if (r != CASES[i].r ||
                (r == 0 && (reply.code != CASES[i].code || strcmp(reply.dsn, CASES[i].dsn) != 0 ||
                            strcmp(buf_str(&reply.text), CASES[i].text) != 0))) {
                fprintf(stderr, "\"%s\" in pieces of %zu: %d %d %s \"%s\"\n", CASES[i].wire, piece, r,
                        reply.code, reply.dsn, buf_str(&reply.text));
                failures++;
            }
        }
    }
    relay_reply_free(&reply);
    test_limits();
    return failures != 0;
}

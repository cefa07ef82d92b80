/*
 * stream_test - lines whole and byte by byte, limits, deadlines, ends, writes beyond the buffers, files, and
 * a stream object used again.
 */
#include "base/stream.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
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

enum { BIG = 3 * 1024 * 1024 + 17, OFFSET = 5 };

static struct stream *
open_pair(int *peer_r)
{
    int fds[2];

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    struct stream *stream = stream_new(fds[0]);
    CHECK(stream != NULL && stream_fd(stream) == fds[0]);
    stream_set_deadline(stream, clock_monotonic_ms() + 5000);
    *peer_r = fds[1];
    return stream;
}

/* What a peer sends from a thread of its own: in pieces of `step` bytes, then it closes. */
struct feed {
    int fd;
    struct bytes text;
    size_t step;
};

static void *
feed_peer(void *context)
{
    struct feed *feed = context;

    for (size_t at = 0; at < feed->text.n; at += feed->step) {
        struct bytes piece = bytes_sub(feed->text, at, feed->step);

        if (send(feed->fd, piece.p, piece.n, MSG_NOSIGNAL) != (ssize_t)piece.n) {
            break;
        }
    }
    (void)close(feed->fd);
    return NULL;
}

static void
test_lines(size_t step)
{
    static const struct {
        const char *text;
        size_t n;
    } LINES[] = {{"EHLO a", 6},   {"", 0},   {"bare lf", 7}, {"nul \0 in", 8},
                 {"cr \r in", 7}, {"\r", 1}, {"", 0}};
    struct bytes text = BYTES_LIT("EHLO a\r\n\r\nbare lf\nnul \0 in\r\ncr \r in\r\n\r\r\n\nno end");
    struct bytes line;
    pthread_t thread;
    struct feed feed = {.text = text, .step = step};
    struct stream *stream = open_pair(&feed.fd);

    CHECK(pthread_create(&thread, NULL, feed_peer, &feed) == 0);
    for (size_t i = 0; i < sizeof(LINES) / sizeof(LINES[0]); i++) {
        CHECK(stream_read_line(stream, 100, &line) == 0);
        CHECK(bytes_equal(line, bytes_of(LINES[i].text, LINES[i].n)));
    }
    CHECK(stream_read_line(stream, 100, &line) == GW_ERR_EOF);
    CHECK(bytes_equal(stream_buffered(stream), BYTES_LIT("no end")));
    CHECK(stream_fill(stream) == GW_ERR_EOF && stream_write(stream, BYTES_LIT("x")) == GW_ERR_EOF);
    (void)pthread_join(thread, NULL);
    stream_free(&stream);
    CHECK(stream == NULL);
    stream_free(&stream);
}

static void
test_limits(void)
{
    int peer;
    struct stream *stream = open_pair(&peer);
    struct bytes line;
    static uint8_t block[STREAM_READ_MAX];

    CHECK(send(peer, "12345678\r\nab\r\n", 14, 0) == 14);
    CHECK(stream_read_line(stream, 9, &line) == GW_ERR_LIMIT);
    CHECK(stream_buffered(stream).n == 14); /* nothing is lost by it */
    CHECK(stream_read_line(stream, 10, &line) == 0 && line.n == 8);
    CHECK(stream_has_pending(stream));
    stream_consume(stream, 4);
    CHECK(!stream_has_pending(stream) && stream_buffered(stream).n == 0);
    CHECK(send(peer, "never ends", 10, 0) == 10);
    CHECK(stream_read_line(stream, 10, &line) == GW_ERR_LIMIT);
    stream_consume(stream, SIZE_MAX); /* more than there is */
    CHECK(stream_buffered(stream).n == 0);
    memset(block, 'x', sizeof(block));
    CHECK(send(peer, block, sizeof(block), 0) == sizeof(block));
    while (stream_buffered(stream).n < STREAM_READ_MAX && failures == 0) {
        CHECK(stream_fill(stream) == 0);
    }
    CHECK(stream_fill(stream) == GW_ERR_LIMIT);
    (void)close(peer);
    stream_free(&stream);
}

static void
test_deadlines(void)
{
    int peer;
    struct stream *stream = open_pair(&peer);
    struct bytes line;
    static uint8_t block[256 * 1024];
    int64_t begun = clock_monotonic_ms();

    stream_set_deadline(stream, begun + 300);
    CHECK(stream_read_line(stream, 100, &line) == GW_ERR_TIMEOUT);
    CHECK(clock_monotonic_ms() - begun >= 295 && clock_monotonic_ms() - begun < 2500);
    stream_free(&stream);
    (void)close(peer);

    stream = open_pair(&peer);
    stream_set_deadline(stream, clock_monotonic_ms() - 1); /* passed already */
    CHECK(send(peer, "late\r\n", 6, 0) == 6);
    CHECK(stream_fill(stream) == GW_ERR_TIMEOUT);
    stream_free(&stream);
    (void)close(peer);

    stream = open_pair(&peer); /* a peer that does not read */
    begun = clock_monotonic_ms();
    stream_set_deadline(stream, begun + 300);
    int r = 0;
    for (int i = 0; i < 64 && r == 0; i++) {
        r = stream_write(stream, bytes_of(block, sizeof(block)));
    }
    CHECK(r == GW_ERR_TIMEOUT && clock_monotonic_ms() - begun < 2500);
    CHECK(stream_flush(stream) == GW_ERR_TIMEOUT);
    stream_free(&stream);
    (void)close(peer);
}

/* Reads until the end and compares with what is expected at that place. */
struct drain {
    int fd;
    size_t total;
    bool same;
};

static uint8_t
pattern(size_t at)
{
    return (uint8_t)(at * 7 + at / 251);
}

static void *
drain_peer(void *context)
{
    struct drain *drain = context;
    static uint8_t block[65536];
    ssize_t n;

    drain->same = true;
    while ((n = recv(drain->fd, block, sizeof(block), 0)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            drain->same = drain->same && block[i] == pattern(drain->total + (size_t)i);
        }
        drain->total += (size_t)n;
    }
    (void)close(drain->fd);
    return NULL;
}

static void
write_pattern(struct stream *stream, const uint8_t *all, int file)
{
    size_t at = 0;

    for (size_t step = 1; at + step < BIG / 2; step = step * 3 % 200003 + 1) {
        CHECK(stream_write(stream, bytes_of(all + at, step)) == 0);
        at += step;
    }
    CHECK(stream_send_file(stream, file, (int64_t)at + OFFSET, 100) == 0); /* small: joins the buffer */
    at += 100;
    CHECK(stream_send_file(stream, file, (int64_t)at + OFFSET, (int64_t)(BIG - at) - 3) == 0);
    CHECK(stream_write(stream, bytes_of(all + BIG - 3, 3)) == 0 && stream_flush(stream) == 0);
}

static void
test_writes(void)
{
    struct drain drain = {0};
    struct stream *stream = open_pair(&drain.fd);
    uint8_t *all = malloc(BIG);
    pthread_t thread;
    int file = memfd_create("stream_test", MFD_CLOEXEC);

    CHECK(all != NULL && file != -1);
    for (size_t i = 0; i < BIG; i++) {
        all[i] = pattern(i);
    }
    CHECK(write(file, "12345", OFFSET) == OFFSET && write(file, all, BIG) == BIG);
    CHECK(pthread_create(&thread, NULL, drain_peer, &drain) == 0);
    write_pattern(stream, all, file);
    stream_detach_close(stream);
    (void)pthread_join(thread, NULL);
    CHECK(drain.total == BIG && drain.same);
    /* The same object serves the next connection. */
    int fds[2];
    struct bytes line;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    stream_attach(stream, fds[0]);
    CHECK(send(fds[1], "again\n", 6, 0) == 6);
    CHECK(stream_read_line(stream, 100, &line) == 0 && bytes_equal(line, BYTES_LIT("again")));
    CHECK(stream_printf(stream, "%s %d\r\n", "reply", 250) == 0 && stream_flush(stream) == 0);
    char got[32] = {0};
    CHECK(recv(fds[1], got, sizeof(got), 0) == 11 && strcmp(got, "reply 250\r\n") == 0);
    /* A file that is shorter than it was said to be ends the stream instead of waiting or repeating. */
    CHECK(stream_send_file(stream, file, BIG, 100) == GW_ERR_SYS);
    CHECK(stream_write(stream, BYTES_LIT("x")) == GW_ERR_SYS);
    (void)close(fds[1]);
    stream_free(&stream);
    (void)close(file);
    free(all);
}

int
main(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    (void)sigaction(SIGPIPE, &ignore, NULL);
    test_lines(1);
    test_lines(3);
    test_lines(1000);
    test_limits();
    test_deadlines();
    test_writes();
    return failures != 0;
}

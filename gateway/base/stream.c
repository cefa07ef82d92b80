/*
 * stream - see the header. Before: sockets of receive, relay and scan; TLS underneath is OpenSSL
 * (stream_tls.c).
 *
 * The socket stays blocking; a deadline becomes SO_RCVTIMEO and SO_SNDTIMEO of at most STREAM_ARM_S seconds,
 * after which the deadline is looked at again. So they are set once for a connection, or never: an accepted
 * socket has those of its listening socket, and reading a line costs one recv(2).
 */
#include "base/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/stream_internal.h"

struct stream *
stream_new(int fd)
{
    struct stream *stream = calloc(1, sizeof(*stream));

    if (stream == NULL) {
        return NULL;
    }
    stream->in = malloc(STREAM_READ_MAX);
    stream->out = malloc(STREAM_WRITE_MAX);
    if (stream->in == NULL || stream->out == NULL) {
        free(stream->in);
        free(stream->out);
        free(stream);
        return NULL;
    }
    stream_attach(stream, fd);
    return stream;
}

void
stream_attach(struct stream *stream, int fd)
{
    stream->fd = fd;
    stream->from = stream->to = stream->out_n = 0;
    stream->error = 0;
    stream->receive_timeout_s = stream->send_timeout_s = -1;
    stream->deadline_ms = CLOCK_NEVER;
    stream->tls_error[0] = '\0';
}

int
stream_arm_listener(int fd)
{
    struct timeval wait = {.tv_sec = STREAM_ARM_S};

    return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) == -1 ||
                   setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) == -1
               ? GW_ERR_SYS
               : 0;
}

void
stream_attach_accepted(struct stream *stream, int fd)
{
    stream_attach(stream, fd);
    stream->receive_timeout_s = stream->send_timeout_s = STREAM_ARM_S;
}

void
stream_detach_close(struct stream *stream)
{
    stream_tls_end(stream);
    if (stream->fd != -1) {
        (void)close(stream->fd);
        stream->fd = -1;
    }
}

void
stream_free(struct stream **stream)
{
    if (*stream != NULL) {
        stream_detach_close(*stream);
        free((*stream)->in);
        free((*stream)->out);
        free(*stream);
        *stream = NULL;
    }
}

int
stream_fd(const struct stream *stream)
{
    return stream->fd;
}

void
stream_set_deadline(struct stream *stream, int64_t deadline_ms)
{
    stream->deadline_ms = deadline_ms;
}

/* Puts the time left into the socket. GW_ERR_TIMEOUT when there is none. */
int
stream_arm(struct stream *stream, bool receive)
{
    int left_ms = clock_left_ms(stream->deadline_ms);
    int seconds = left_ms == -1 || left_ms > STREAM_ARM_S * 1000 ? STREAM_ARM_S : left_ms / 1000 + 1;
    int *armed = receive ? &stream->receive_timeout_s : &stream->send_timeout_s;
    struct timeval wait = {.tv_sec = seconds};

    if (left_ms == 0) {
        return GW_ERR_TIMEOUT;
    }
    if (*armed == seconds) {
        return 0;
    }
    if (setsockopt(stream->fd, SOL_SOCKET, receive ? SO_RCVTIMEO : SO_SNDTIMEO, &wait, sizeof(wait)) == -1) {
        return GW_ERR_SYS;
    }
    *armed = seconds;
    return 0;
}

/* What errno means after a failed call; 0: try again. */
int
stream_errno(const struct stream *stream)
{
    if (errno == EINTR) {
        return 0;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return clock_left_ms(stream->deadline_ms) == 0 ? GW_ERR_TIMEOUT : 0;
    }
    return errno == EPIPE || errno == ECONNRESET ? GW_ERR_EOF : GW_ERR_SYS;
}

static int
fail(struct stream *stream, int error)
{
    stream->error = error;
    return error;
}

struct bytes
stream_buffered(const struct stream *stream)
{
    return bytes_of(stream->in + stream->from, stream->to - stream->from);
}

static int
receive_plain(struct stream *stream, size_t *n_r)
{
    for (;;) {
        int r = stream_arm(stream, true);
        ssize_t n;

        if (r != 0) {
            return r;
        }
        n = recv(stream->fd, stream->in + stream->to, STREAM_READ_MAX - stream->to, 0);
        if (n > 0) {
            *n_r = (size_t)n;
            return 0;
        }
        if (n == 0) {
            return GW_ERR_EOF;
        }
        if ((r = stream_errno(stream)) != 0) {
            return r;
        }
    }
}

int
stream_fill(struct stream *stream)
{
    size_t n = 0;

    if (stream->error != 0) {
        return stream->error;
    }
    if (stream->from > 0) {
        memmove(stream->in, stream->in + stream->from, stream->to - stream->from);
        stream->to -= stream->from;
        stream->from = 0;
    }
    if (stream->to == STREAM_READ_MAX) {
        return GW_ERR_LIMIT;
    }
    int r = stream->tls != NULL
                ? stream_tls_receive(stream, stream->in + stream->to, STREAM_READ_MAX - stream->to, &n)
                : receive_plain(stream, &n);
    if (r != 0) {
        /* A peer that stalled can still be told so: only a broken stream stays broken. */
        return r == GW_ERR_TIMEOUT ? r : fail(stream, r);
    }
    stream->to += n;
    return 0;
}

void
stream_consume(struct stream *stream, size_t n)
{
    size_t have = stream->to - stream->from;

    stream->from += n < have ? n : have;
    if (stream->from == stream->to) {
        stream->from = stream->to = 0;
    }
}

int
stream_read_line(struct stream *stream, size_t max, struct bytes *line_r)
{
    size_t seen = 0;

    for (;;) {
        struct bytes got = stream_buffered(stream);
        ptrdiff_t lf = bytes_index(bytes_sub(got, seen, got.n), '\n');

        if (lf >= 0) {
            size_t n = seen + (size_t)lf + 1;

            if (n > max) {
                return GW_ERR_LIMIT;
            }
            *line_r = bytes_sub(got, 0, n - 1);
            if (line_r->n > 0 && line_r->p[line_r->n - 1] == '\r') {
                line_r->n--;
            }
            /* The bytes stay where they are until the next fill: the view is good that long. */
            stream->from += n;
            return 0;
        }
        if (got.n >= max) {
            return GW_ERR_LIMIT;
        }
        seen = got.n;
        int r = stream_fill(stream);
        if (r != 0) {
            return r;
        }
    }
}

bool
stream_has_pending(struct stream *stream)
{
    struct pollfd ready = {.fd = stream->fd, .events = POLLIN};

    return stream->to > stream->from || stream_tls_pending(stream) || poll(&ready, 1, 0) == 1;
}

static int
send_plain(struct stream *stream, const uint8_t *p, size_t n)
{
    while (n > 0) {
        int r = stream_arm(stream, false);

        if (r != 0) {
            return r;
        }
        ssize_t sent = send(stream->fd, p, n, MSG_NOSIGNAL);
        if (sent >= 0) {
            p += sent;
            n -= (size_t)sent;
        } else if ((r = stream_errno(stream)) != 0) {
            return r;
        }
    }
    return 0;
}

static int
send_all(struct stream *stream, const uint8_t *p, size_t n)
{
    int r = stream->error;

    if (r == 0) {
        r = stream->tls != NULL ? stream_tls_send(stream, p, n) : send_plain(stream, p, n);
    }
    return r == 0 ? 0 : fail(stream, r);
}

int
stream_flush(struct stream *stream)
{
    if (stream->out_n == 0) {
        return stream->error;
    }
    size_t n = stream->out_n;

    stream->out_n = 0;
    return send_all(stream, stream->out, n);
}

int
stream_write(struct stream *stream, struct bytes v)
{
    if (stream->out_n + v.n > STREAM_WRITE_MAX) {
        int r = stream_flush(stream);

        if (r != 0) {
            return r;
        }
        if (v.n > STREAM_WRITE_MAX) {
            return send_all(stream, v.p, v.n);
        }
    }
    if (v.n > 0) {
        memcpy(stream->out + stream->out_n, v.p, v.n);
        stream->out_n += v.n;
    }
    return stream->error;
}

int
stream_printf(struct stream *stream, const char *format, ...)
{
    struct buf text;
    va_list args;

    buf_init(&text, STREAM_WRITE_MAX);
    va_start(args, format);
    int r = buf_vprintf(&text, format, args);
    va_end(args);
    if (r == 0) {
        r = stream_write(stream, bytes_buf(&text));
    }
    buf_free(&text);
    return r;
}

/* Through the write buffer: small files and TLS. */
static int
send_file_copied(struct stream *stream, int fd, int64_t offset, int64_t length)
{
    int r = 0;

    while (r == 0 && length > 0) {
        if (stream->out_n == STREAM_WRITE_MAX && (r = stream_flush(stream)) != 0) {
            break;
        }
        size_t room = STREAM_WRITE_MAX - stream->out_n;
        size_t want = length < (int64_t)room ? (size_t)length : room;
        ssize_t n = pread(fd, stream->out + stream->out_n, want, offset);

        if (n <= 0) {
            if (n == -1 && errno == EINTR) {
                continue;
            }
            return fail(stream, GW_ERR_SYS);
        }
        stream->out_n += (size_t)n;
        offset += n;
        length -= n;
    }
    return r;
}

int
stream_send_file(struct stream *stream, int fd, int64_t offset, int64_t length)
{
    off_t at = offset;

    /* A small one joins what is buffered: one segment, one system call less. */
    if (stream->tls != NULL || length <= (int64_t)(STREAM_WRITE_MAX - stream->out_n)) {
        return send_file_copied(stream, fd, offset, length);
    }
    int r = stream_flush(stream);
    while (r == 0 && length > 0) {
        if ((r = stream_arm(stream, false)) != 0) {
            break;
        }
        ssize_t n = sendfile(stream->fd, fd, &at, (size_t)length);
        if (n > 0) {
            length -= n;
        } else if (n == 0) {
            r = GW_ERR_SYS; /* the file is shorter than it was said to be */
        } else {
            r = stream_errno(stream);
        }
    }
    return r == 0 ? 0 : fail(stream, r);
}

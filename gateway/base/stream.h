/*
 * stream - a blocking byte stream over a socket with deadlines, buffers both ways, and TLS underneath when
 * started.
 *
 * Used by the threads of receive, relay and scan. Reading gives views into the stream's own buffer. Every
 * wait ends at the deadline set last. Writing is buffered; reading flushes nothing by itself: call
 * stream_flush() before waiting for the peer. After an error the stream only fails with the same error.
 */
#ifndef BASE_STREAM_H
#define BASE_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum {
    STREAM_READ_MAX = 65536,
    STREAM_WRITE_MAX = 65536,
    STREAM_ARM_S = 10, /* a socket waits this long before the deadline is looked at again */
};

struct stream;
struct tls_context;
struct tls_summary;

struct stream *stream_new(int fd);        /* takes fd over; NULL: out of memory, fd not closed */
void stream_free(struct stream **stream); /* closes; sends TLS close_notify when it can without waiting */
int stream_fd(const struct stream *stream);
/* Uses an existing stream object (and its buffers) for a new connection: no allocation per session. */
void stream_attach(struct stream *stream, int fd);
/* The same for a socket accepted from one that went through stream_arm_listener(): its time-outs are set
 * already. */
void stream_attach_accepted(struct stream *stream, int fd);
/* Sets the time-outs that accepted sockets will have. 0, GW_ERR_SYS. accept(2) itself returns EAGAIN after
 * them. */
int stream_arm_listener(int fd);
void stream_detach_close(struct stream *stream);

void stream_set_deadline(struct stream *stream, int64_t deadline_ms); /* absolute; base/clock.h */

/* View of what is buffered, without waiting. */
struct bytes stream_buffered(const struct stream *stream);
/* Waits until more is buffered than before. 0, GW_ERR_EOF, GW_ERR_TIMEOUT, GW_ERR_SYS, GW_ERR_TLS,
 * GW_ERR_LIMIT (buffer full). */
int stream_fill(struct stream *stream);
void stream_consume(struct stream *stream, size_t n); /* n <= buffered */
/* Reads one line ending in LF, at most `max` bytes with its ending. *line_r is without CRLF or LF and is
 * valid until the next call on the stream. GW_ERR_LIMIT: longer (nothing consumed). */
int stream_read_line(struct stream *stream, size_t max, struct bytes *line_r);
/* True when bytes wait in the buffer or on the descriptor: a client that speaks before its turn. */
bool stream_has_pending(struct stream *stream);

int stream_write(struct stream *stream, struct bytes v); /* buffered; sends when the buffer is full */
int stream_printf(struct stream *stream, const char *format, ...) __attribute__((format(printf, 2, 3)));
int stream_flush(struct stream *stream);
/* Sends `length` bytes of fd from `offset` after what is buffered; sendfile(2) when there is no TLS. */
int stream_send_file(struct stream *stream, int fd, int64_t offset, int64_t length);

/* TLS handshakes; deadline as set. Bytes buffered in plaintext are dropped first (STARTTLS injection, RFC
 * 3207). server_name: for SNI and verification; NULL for none. session_key: under which a session is kept and
 * resumed, where the context does that; NULL: not. GW_ERR_TLS: see stream_tls_error(). */
int stream_start_tls_server(struct stream *stream, struct tls_context *context);
int stream_start_tls_client(struct stream *stream, struct tls_context *context, const char *server_name,
                            const char *session_key);
bool stream_is_tls(const struct stream *stream);
void stream_tls_summary(const struct stream *stream, struct tls_summary *summary_r);
const char *stream_tls_error(const struct stream *stream);

#endif

/*
 * stream_tls - TLS underneath a stream: handshakes, records, what was agreed on.
 *
 * Before: stream.c; after: OpenSSL on the same blocking socket, whose timeouts are the deadline's. A peer
 * that closes without close_notify reads as the end of the stream, as SMTP defines the end itself.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/stream_internal.h"
#include "base/tls.h"
#include "base/tls_cache.h"

/* What an SSL_* failure means; 0: try again. */
static int
translate(struct stream *stream, int result)
{
    int saved = errno;

    switch (SSL_get_error(stream->tls, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return clock_left_ms(stream->deadline_ms) == 0 ? GW_ERR_TIMEOUT : 0;
    case SSL_ERROR_ZERO_RETURN:
        return GW_ERR_EOF;
    case SSL_ERROR_SYSCALL:
        errno = saved;
        return saved == 0 ? GW_ERR_EOF : stream_errno(stream);
    default:
        tls_take_error(stream->tls_error, sizeof(stream->tls_error));
        return GW_ERR_TLS;
    }
}

int
stream_tls_receive(struct stream *stream, uint8_t *p, size_t n, size_t *n_r)
{
    for (;;) {
        int r = stream_arm(stream, true);

        if (r != 0) {
            return r;
        }
        ERR_clear_error();
        errno = 0;
        int result = SSL_read_ex(stream->tls, p, n, n_r);
        if (result == 1) {
            return 0;
        }
        if ((r = translate(stream, result)) != 0) {
            return r;
        }
    }
}

int
stream_tls_send(struct stream *stream, const uint8_t *p, size_t n)
{
    while (n > 0) {
        int r = stream_arm(stream, false);
        size_t sent = 0;

        if (r != 0) {
            return r;
        }
        ERR_clear_error();
        errno = 0;
        int result = SSL_write_ex(stream->tls, p, n, &sent);
        if (result == 1) {
            p += sent;
            n -= sent;
        } else if ((r = translate(stream, result)) != 0) {
            return r;
        }
    }
    return 0;
}

bool
stream_tls_pending(const struct stream *stream)
{
    return stream->tls != NULL && SSL_has_pending(stream->tls) == 1;
}

void
stream_tls_end(struct stream *stream)
{
    if (stream->tls == NULL) {
        return;
    }
    if (stream->error == 0) {
        struct timeval now = {.tv_usec = 1}; /* close_notify only if it goes out without waiting */

        (void)setsockopt(stream->fd, SOL_SOCKET, SO_SNDTIMEO, &now, sizeof(now));
        (void)SSL_shutdown(stream->tls);
    }
    ERR_clear_error();
    tls_cache_forget(stream->tls);
    SSL_free(stream->tls);
    stream->tls = NULL;
    stream->tls_matched = false;
}

static int
handshake(struct stream *stream, int (*step)(SSL *))
{
    int r = 0;

    while (r == 0) {
        if ((r = stream_arm(stream, true)) != 0 || (r = stream_arm(stream, false)) != 0) {
            break;
        }
        ERR_clear_error();
        errno = 0;
        int result = step(stream->tls);
        if (result == 1) {
            return 0;
        }
        r = translate(stream, result);
    }
    return r;
}

static int
start(struct stream *stream, struct tls_context *context, const char *server_name, const char *session_key,
      int (*step)(SSL *))
{
    int r;

    if ((r = stream_flush(stream)) != 0) {
        return r;
    }
    stream->from = stream->to = 0; /* RFC 3207 section 5: nothing said before counts */
    stream->tls = SSL_new(tls_context_ssl(context));
    if (stream->tls == NULL || SSL_set_fd(stream->tls, stream->fd) != 1) {
        tls_take_error(stream->tls_error, sizeof(stream->tls_error));
        return stream->error = GW_ERR_TLS;
    }
    if (server_name != NULL) {
        (void)SSL_set_tlsext_host_name(stream->tls, server_name);
    }
    if (session_key != NULL && tls_context_cache(context) != NULL) {
        tls_cache_resume(tls_context_cache(context), stream->tls, session_key);
    }
    r = handshake(stream, step);
    if (r != 0) {
        stream->error = r;
    } else if (server_name != NULL) {
        X509 *peer = SSL_get1_peer_certificate(stream->tls);

        stream->tls_matched = peer != NULL && X509_check_host(peer, server_name, 0, 0, NULL) == 1;
        X509_free(peer);
    }
    return r;
}

int
stream_start_tls_server(struct stream *stream, struct tls_context *context)
{
    return start(stream, context, NULL, NULL, SSL_accept);
}

int
stream_start_tls_client(struct stream *stream, struct tls_context *context, const char *server_name,
                        const char *session_key)
{
    return start(stream, context, server_name, session_key, SSL_connect);
}

bool
stream_is_tls(const struct stream *stream)
{
    return stream->tls != NULL;
}

static void
take_peer_name(const struct stream *stream, struct tls_summary *summary)
{
    X509 *peer = SSL_get1_peer_certificate(stream->tls);
    char name[sizeof(summary->peer_name)];
    struct buf printable;

    if (peer == NULL) {
        return;
    }
    if (X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName, name, (int)sizeof(name)) > 0) {
        buf_init(&printable, sizeof(summary->peer_name) - 1);
        (void)buf_append_printable(&printable, bytes_str(name), sizeof(name) - 1, true);
        (void)snprintf(summary->peer_name, sizeof(summary->peer_name), "%s", buf_str(&printable));
        buf_free(&printable);
    }
    summary->peer_trusted = SSL_get_verify_result(stream->tls) == X509_V_OK;
    X509_free(peer);
}

void
stream_tls_summary(const struct stream *stream, struct tls_summary *summary_r)
{
    *summary_r = (struct tls_summary){0};
    if (stream->tls == NULL) {
        return;
    }
    const SSL_CIPHER *cipher = SSL_get_current_cipher(stream->tls);
    (void)snprintf(summary_r->protocol, sizeof(summary_r->protocol), "%s", SSL_get_version(stream->tls));
    (void)snprintf(summary_r->cipher, sizeof(summary_r->cipher), "%s", SSL_CIPHER_get_name(cipher));
    summary_r->bits_used = SSL_CIPHER_get_bits(cipher, &summary_r->bits_total);
    summary_r->peer_matched = stream->tls_matched;
    summary_r->resumed = SSL_session_reused(stream->tls) == 1;
    take_peer_name(stream, summary_r);
}

const char *
stream_tls_error(const struct stream *stream)
{
    return stream->tls_error;
}

/*
 * stream_internal - what stream.c and stream_tls.c share.
 */
#ifndef BASE_STREAM_INTERNAL_H
#define BASE_STREAM_INTERNAL_H

#include <openssl/ssl.h>

#include "base/stream.h"

struct stream {
    int fd;
    uint8_t *in, *out;
    size_t from, to; /* what is buffered of in */
    size_t out_n;
    int error; /* sticks */
    int64_t deadline_ms;
    int receive_timeout_s, send_timeout_s; /* as set on the socket; -1 not yet */
    SSL *tls;
    bool tls_matched;
    char tls_error[256];
};

int stream_arm(struct stream *stream, bool receive);
int stream_errno(const struct stream *stream);
int stream_tls_receive(struct stream *stream, uint8_t *p, size_t n, size_t *n_r);
int stream_tls_send(struct stream *stream, const uint8_t *p, size_t n);
bool stream_tls_pending(const struct stream *stream);
void stream_tls_end(struct stream *stream);

/* tls.c */
SSL_CTX *tls_context_ssl(struct tls_context *context);
struct tls_cache *tls_context_cache(struct tls_context *context); /* NULL: nothing is resumed */
void tls_take_error(char *out, size_t size);                      /* OpenSSL's reason; clears its queue */

#endif

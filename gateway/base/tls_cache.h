/*
 * tls_cache - the sessions a client may go on with: the resumption cache of one TLS context, in memory.
 *
 * Private to base/tls.c and base/stream_tls.c. A session is kept under the key its connection was started
 * with
 * ("host:port"), the newest only; the cache is bounded and gone with the process. Thread-safe.
 */
#ifndef BASE_TLS_CACHE_H
#define BASE_TLS_CACHE_H

#include <openssl/ssl.h>
#include <stdint.h>

enum { TLS_CACHE_SETS = 256, TLS_CACHE_WAYS = 4, TLS_CACHE_KEY_MAX = 320 };

struct tls_cache;

/* Takes over the new-session callback of context. lifetime_s > 0. 0, GW_ERR_NOMEM. */
int tls_cache_new(SSL_CTX *context, int64_t lifetime_s, struct tls_cache **cache_r);
void tls_cache_free(struct tls_cache **cache); /* before the context; no connection may be left */
/* Before the handshake: gives connection the session kept under key, if there is a fresh one, and remembers
 * the key for what the server hands out. A key longer than TLS_CACHE_KEY_MAX is not kept. */
void tls_cache_resume(struct tls_cache *cache, SSL *connection, const char *key);
void tls_cache_forget(SSL *connection); /* the key; before SSL_free(), whether there is one or not */

#endif

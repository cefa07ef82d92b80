/*
 * tls_cache - see the header. Before: stream_tls.c starts a handshake; after: OpenSSL, which calls back with
 * each ticket (with TLS 1.3 that is after the handshake, while the first reply is read).
 *
 * A table of sets: the key's hash chooses one, and in it the oldest makes room. What does not fit or is too
 * old costs a full handshake, never a connection.
 */
#include "base/tls_cache.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

struct kept {
    char key[TLS_CACHE_KEY_MAX];
    SSL_SESSION *session; /* NULL: free */
    int64_t kept_ms;
};

struct tls_cache {
    pthread_mutex_t lock;
    int64_t lifetime_ms;
    struct kept sets[TLS_CACHE_SETS][TLS_CACHE_WAYS];
};

static struct kept *
find_set(struct tls_cache *cache, const char *key)
{
    uint32_t hash = 2166136261U; /* FNV-1a: host names of our own configuration and DNS, bounded sets */

    for (const char *p = key; *p != '\0'; p++) {
        hash = (hash ^ (uint8_t)*p) * 16777619U;
    }
    return cache->sets[hash % TLS_CACHE_SETS];
}

/* The place of key in its set, or of the one that makes room for it. */
static struct kept *
find_place(struct tls_cache *cache, const char *key)
{
    struct kept *set = find_set(cache, key), *oldest = &set[0];

    for (size_t i = 0; i < TLS_CACHE_WAYS; i++) {
        if (set[i].session != NULL && strcmp(set[i].key, key) == 0) {
            return &set[i];
        }
        if (set[i].session == NULL || (oldest->session != NULL && set[i].kept_ms < oldest->kept_ms)) {
            oldest = &set[i];
        }
    }
    return oldest;
}

/* OpenSSL's callback: 1 keeps the reference that comes with session. */
static int
keep(SSL *connection, SSL_SESSION *session)
{
    struct tls_cache *cache = SSL_CTX_get_app_data(SSL_get_SSL_CTX(connection));
    const char *key = SSL_get_app_data(connection);

    if (cache == NULL || key == NULL || SSL_SESSION_is_resumable(session) != 1) {
        return 0;
    }
    (void)pthread_mutex_lock(&cache->lock);
    struct kept *kept = find_place(cache, key);
    SSL_SESSION_free(kept->session);
    (void)snprintf(kept->key, sizeof(kept->key), "%s", key);
    kept->session = session;
    kept->kept_ms = clock_monotonic_ms();
    (void)pthread_mutex_unlock(&cache->lock);
    return 1;
}

int
tls_cache_new(SSL_CTX *context, int64_t lifetime_s, struct tls_cache **cache_r)
{
    struct tls_cache *cache = calloc(1, sizeof(*cache));

    *cache_r = NULL;
    if (cache == NULL) {
        return GW_ERR_NOMEM;
    }
    (void)pthread_mutex_init(&cache->lock, NULL);
    cache->lifetime_ms = lifetime_s * 1000;
    (void)SSL_CTX_set_app_data(context, cache);
    (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep);
    *cache_r = cache;
    return 0;
}

void
tls_cache_free(struct tls_cache **cache)
{
    if (*cache == NULL) {
        return;
    }
    for (size_t set = 0; set < TLS_CACHE_SETS; set++) {
        for (size_t way = 0; way < TLS_CACHE_WAYS; way++) {
            SSL_SESSION_free((*cache)->sets[set][way].session);
        }
    }
    (void)pthread_mutex_destroy(&(*cache)->lock);
    free(*cache);
    *cache = NULL;
}

void
tls_cache_resume(struct tls_cache *cache, SSL *connection, const char *key)
{
    char *copy = strlen(key) < TLS_CACHE_KEY_MAX ? strdup(key) : NULL;

    if (copy == NULL) {
        return;
    }
    (void)SSL_set_app_data(connection, copy);
    (void)pthread_mutex_lock(&cache->lock);
    struct kept *kept = find_place(cache, key);
    if (kept->session != NULL && strcmp(kept->key, key) == 0 &&
        clock_monotonic_ms() - kept->kept_ms <= cache->lifetime_ms) {
        (void)SSL_set_session(connection, kept->session); /* takes a reference of its own */
    }
    (void)pthread_mutex_unlock(&cache->lock);
}

void
tls_cache_forget(SSL *connection)
{
    free(SSL_get_app_data(connection));
    (void)SSL_set_app_data(connection, NULL);
}

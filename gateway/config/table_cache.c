/*
 * table_cache - see the header. Before: table_find(); a place for each key by its hash, the newer one stays.
 */
#include "config/table_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

struct entry {
    int64_t until_ms; /* 0: empty */
    int result;
    uint16_t key_n, value_n;
    uint8_t bytes[TABLE_CACHE_BYTES_MAX]; /* key, then value */
};

struct table_cache {
    pthread_mutex_t lock;
    struct entry entries[TABLE_CACHE_ENTRIES];
};

struct table_cache *
table_cache_new(void)
{
    struct table_cache *cache = calloc(1, sizeof(*cache));

    if (cache != NULL && pthread_mutex_init(&cache->lock, NULL) != 0) {
        free(cache);
        cache = NULL;
    }
    return cache;
}

void
table_cache_free(struct table_cache **cache)
{
    if (*cache != NULL) {
        (void)pthread_mutex_destroy(&(*cache)->lock);
        free(*cache);
        *cache = NULL;
    }
}

/* FNV-1a: keys are chosen by strangers, but all they can do is push each other out. */
static struct entry *
place_of(struct table_cache *cache, struct bytes key)
{
    uint32_t hash = 2166136261U;

    for (size_t i = 0; i < key.n; i++) {
        hash = (hash ^ key.p[i]) * 16777619U;
    }
    return &cache->entries[hash % TABLE_CACHE_ENTRIES];
}

bool
table_cache_find(struct table_cache *cache, struct bytes key, int *result_r, struct buf *value)
{
    bool known = false;

    *result_r = GW_ERR_TEMP;
    if (cache == NULL || key.n == 0 || key.n > TABLE_CACHE_BYTES_MAX) {
        return false;
    }
    const struct entry *entry = place_of(cache, key);
    (void)pthread_mutex_lock(&cache->lock);
    if (entry->key_n == key.n && memcmp(entry->bytes, key.p, key.n) == 0 &&
        entry->until_ms > clock_monotonic_ms()) {
        known = buf_append(value, entry->bytes + entry->key_n, entry->value_n) == 0;
        *result_r = entry->result;
    }
    (void)pthread_mutex_unlock(&cache->lock);
    return known;
}

void
table_cache_put(struct table_cache *cache, struct bytes key, int result, struct bytes value)
{
    bool absent = result == GW_ERR_NOTFOUND && bytes_index(key, '@') >= 0;

    if (cache == NULL || (result != 0 && !absent) || key.n == 0 || key.n > TABLE_CACHE_BYTES_MAX) {
        return;
    }
    value.n = absent ? 0 : value.n;
    if (value.n > TABLE_CACHE_BYTES_MAX - key.n) {
        return;
    }
    struct entry *entry = place_of(cache, key);
    (void)pthread_mutex_lock(&cache->lock);
    entry->until_ms = clock_monotonic_ms() + TABLE_CACHE_MS;
    entry->result = result;
    entry->key_n = (uint16_t)key.n;
    entry->value_n = (uint16_t)value.n;
    memcpy(entry->bytes, key.p, key.n);
    if (value.n > 0) {
        memcpy(entry->bytes + key.n, value.p, value.n);
    }
    (void)pthread_mutex_unlock(&cache->lock);
}

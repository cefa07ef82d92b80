/*
 * deliver_seen - see the header. Before: deliver_expand.c and deliver_target.c ask before each step; after:
 * nobody.
 *
 * Owns nothing: keys lie in the caller's arena. Full or out of memory it says "new".
 */
#include "deliver/deliver_seen.h"

enum { BUCKETS = 256, KEY_MAX = 4096 };

struct place {
    struct place *next;
    struct bytes key;
};

struct deliver_seen {
    struct arena *arena;
    size_t limit, count;
    struct place *buckets[BUCKETS];
};

struct deliver_seen *
deliver_seen_new(struct arena *arena, size_t limit)
{
    struct deliver_seen *seen = arena_alloc(arena, sizeof(*seen));

    if (seen != NULL) {
        seen->arena = arena;
        seen->limit = limit;
    }
    return seen;
}

static unsigned
hash(struct bytes key)
{
    uint32_t h = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < key.n; i++) {
        h = (h ^ key.p[i]) * 16777619u;
    }
    return h % BUCKETS;
}

bool
deliver_seen_before(struct deliver_seen *seen, const char *format, ...)
{
    struct buf key;
    va_list args;
    bool found = false;

    buf_init(&key, KEY_MAX);
    va_start(args, format);
    int r = buf_vprintf(&key, format, args);
    va_end(args);
    if (r == 0) {
        struct place **bucket = &seen->buckets[hash(bytes_buf(&key))];

        for (const struct place *place = *bucket; place != NULL && !found; place = place->next) {
            found = bytes_equal(place->key, bytes_buf(&key));
        }
        struct place *fresh = !found && (seen->limit == 0 || seen->count < seen->limit)
                                  ? arena_alloc(seen->arena, sizeof(*fresh))
                                  : NULL;
        if (fresh != NULL && (fresh->key = arena_dup(seen->arena, bytes_buf(&key))).p != NULL) {
            fresh->next = *bucket;
            *bucket = fresh;
            seen->count++;
        }
    }
    buf_free(&key);
    return found;
}

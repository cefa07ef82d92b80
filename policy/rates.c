/*
 * rates - see the header. Before: receive_session.c at connect, MAIL and RCPT.
 *
 * A fixed hash table of buckets under one mutex: an operation is a few dozen instructions, and nothing is
 * looked up at all when the limits are off. An entry without open sessions is reused once its time unit has
 * passed.
 */
#include "policy/rates.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum { RATES_ENTRIES = 32768, RATES_PROBES = 16 };

struct entry {
    struct net_addr client;
    int32_t open;
    int64_t unit_start_s;
    int32_t counts[RATES_EVENTS];
};

struct rates {
    pthread_mutex_t lock;
    uint64_t seed;
    struct entry entries[RATES_ENTRIES];
};

struct rates *
rates_new(void)
{
    struct rates *rates = calloc(1, sizeof(*rates));

    if (rates != NULL) {
        (void)pthread_mutex_init(&rates->lock, NULL);
        rates->seed = (uint64_t)clock_monotonic_us() * 0x9e3779b97f4a7c15U;
    }
    return rates;
}

void
rates_free(struct rates **rates)
{
    if (*rates != NULL) {
        (void)pthread_mutex_destroy(&(*rates)->lock);
        free(*rates);
        *rates = NULL;
    }
}

bool
rates_is_needed(const struct rates_limits *limits)
{
    return limits->connections > 0 || limits->connection_rate > 0 || limits->message_rate > 0 ||
           limits->recipient_rate > 0;
}

static size_t
hash_client(const struct rates *rates, const struct net_addr *client)
{
    uint64_t h = rates->seed;

    for (size_t i = 0; i < sizeof(client->ip); i++) {
        h = (h ^ client->ip[i]) * 0x100000001b3U;
    }
    return (size_t)(h >> 20) % RATES_ENTRIES;
}

/* The client's entry, or a free one when `make`; NULL when there is none. Called with the lock held. */
static struct entry *
find_entry(struct rates *rates, const struct net_addr *client, int64_t unit_s, bool make)
{
    size_t at = hash_client(rates, client);
    int64_t now = clock_monotonic_ms() / 1000;
    struct entry *reusable = NULL;

    for (size_t i = 0; i < RATES_PROBES; i++) {
        struct entry *entry = &rates->entries[(at + i) % RATES_ENTRIES];

        if (entry->client.family != 0 && net_addr_equal(&entry->client, client)) {
            if (now - entry->unit_start_s >= unit_s) {
                entry->unit_start_s = now;
                memset(entry->counts, 0, sizeof(entry->counts));
            }
            return entry;
        }
        if (reusable == NULL && entry->open == 0 &&
            (entry->client.family == 0 || now - entry->unit_start_s >= unit_s)) {
            reusable = entry;
        }
    }
    if (make && reusable != NULL) {
        *reusable = (struct entry){.client = *client, .unit_start_s = now};
    }
    return make ? reusable : NULL;
}

bool
rates_connect(struct rates *rates, const struct rates_limits *limits, const struct net_addr *client)
{
    bool ok = true;

    (void)pthread_mutex_lock(&rates->lock);
    struct entry *entry = find_entry(rates, client, limits->unit_s, true);
    if (entry != NULL) {
        entry->open++;
        ok = limits->connections <= 0 || entry->open <= limits->connections;
    }
    (void)pthread_mutex_unlock(&rates->lock);
    return ok;
}

void
rates_disconnect(struct rates *rates, const struct net_addr *client)
{
    (void)pthread_mutex_lock(&rates->lock);
    struct entry *entry = find_entry(rates, client, INT64_MAX, false);
    if (entry != NULL && entry->open > 0) {
        entry->open--;
    }
    (void)pthread_mutex_unlock(&rates->lock);
}

bool
rates_count(struct rates *rates, const struct rates_limits *limits, const struct net_addr *client,
            enum rates_event event)
{
    const int64_t allowed[RATES_EVENTS] = {
        [RATES_CONNECTION] = limits->connection_rate,
        [RATES_MESSAGE] = limits->message_rate,
        [RATES_RECIPIENT] = limits->recipient_rate,
    };
    bool ok = true;

    if (allowed[event] <= 0) {
        return true;
    }
    (void)pthread_mutex_lock(&rates->lock);
    struct entry *entry = find_entry(rates, client, limits->unit_s, true);
    if (entry != NULL) {
        if (entry->counts[event] < INT32_MAX) {
            entry->counts[event]++;
        }
        ok = entry->counts[event] <= allowed[event];
    }
    (void)pthread_mutex_unlock(&rates->lock);
    return ok;
}

/*
 * screen_counts - how many connections each client address has in the screen
 * (postscreen_client_connection_count_limit).
 *
 * Before and after: screen_client.c, at accept and close. An address without connections has no entry.
 */
#include <stdlib.h>
#include <string.h>

#include "screen/screen_private.h"

/* Where the entry of an address is or would be. */
static struct screen_address_count **
find(struct screen *screen, const struct net_addr *addr)
{
    size_t length = addr->family == AF_INET6 ? 16 : 4;
    uint64_t hash = 0xcbf29ce484222325U; /* FNV-1a */

    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ addr->ip[i]) * 0x100000001b3U;
    }
    hash ^= hash >> 32;
    struct screen_address_count **at = &screen->addresses[hash % SCREEN_CLIENT_BUCKETS];
    while (*at != NULL && !net_addr_equal(&(*at)->addr, addr)) {
        at = &(*at)->next;
    }
    return at;
}

size_t
screen_counts_add(struct screen *screen, const struct net_addr *addr)
{
    struct screen_address_count **at = find(screen, addr);

    if (*at == NULL) {
        *at = calloc(1, sizeof(**at));
        if (*at == NULL) {
            return 0;
        }
        (*at)->addr = *addr;
    }
    return ++(*at)->count;
}

void
screen_counts_remove(struct screen *screen, const struct net_addr *addr)
{
    struct screen_address_count **at = find(screen, addr), *entry = *at;

    if (entry != NULL && --entry->count == 0) {
        *at = entry->next;
        free(entry);
    }
}

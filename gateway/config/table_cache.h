/*
 * table_cache - the last answers of a table outside the jail, for a few seconds. Private to config/table*.c.
 *
 * What was found is kept, and that a key with an @ was not: a user who is added is there at once, one who is
 * removed may be seen for TABLE_CACHE_MS more. Without it each local recipient, looked up as user@domain and
 * as user, costs four context switches and two readings of /etc/passwd.
 */
#ifndef CONFIG_TABLE_CACHE_H
#define CONFIG_TABLE_CACHE_H

#include "base/bytes.h"

struct table_cache;

enum {
    TABLE_CACHE_MS = 5000,
    TABLE_CACHE_ENTRIES = 256,
    TABLE_CACHE_BYTES_MAX = 512 /* key and value together */
};

struct table_cache *
table_cache_new(void); /* NULL: no memory; the other functions take that for an empty one */
void table_cache_free(struct table_cache **cache);
/* Thread-safe. True: *result_r is 0 and the value was appended, or GW_ERR_NOTFOUND. */
bool table_cache_find(struct table_cache *cache, struct bytes key, int *result_r, struct buf *value);
/* result: 0, or GW_ERR_NOTFOUND; others are not kept. */
void table_cache_put(struct table_cache *cache, struct bytes key, int result, struct bytes value);

#endif

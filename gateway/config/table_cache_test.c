/*
 * table_cache_test - what is kept of a table's answers, and what is not.
 *
 * Shows of contract.tsv: TAB7.
 */
#include "config/table_cache.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

int
main(void)
{
    static uint8_t large[TABLE_CACHE_BYTES_MAX + 1];
    struct table_cache *cache = table_cache_new();
    struct bytes whole = bytes_of(large, sizeof(large));
    struct buf value;
    int r;

    memset(large, 'x', sizeof(large));
    buf_init(&value, 4096);
    CHECK(!table_cache_find(cache, BYTES_LIT("user"), &r, &value));
    table_cache_put(cache, BYTES_LIT("user"), 0, BYTES_LIT("line"));
    CHECK(table_cache_find(cache, BYTES_LIT("user"), &r, &value) && r == 0 &&
          strcmp(buf_str(&value), "line") == 0);
    CHECK(!table_cache_find(cache, BYTES_LIT("use"), &r, &value));
    CHECK(!table_cache_find(cache, BYTES_LIT("userl"), &r, &value));
    /* A user who is not there yet may be there at the next question. */
    table_cache_put(cache, BYTES_LIT("new"), GW_ERR_NOTFOUND, BYTES_LIT(""));
    CHECK(!table_cache_find(cache, BYTES_LIT("new"), &r, &value));
    buf_clear(&value);
    table_cache_put(cache, BYTES_LIT("user@host"), GW_ERR_NOTFOUND, BYTES_LIT("junk"));
    CHECK(table_cache_find(cache, BYTES_LIT("user@host"), &r, &value) && r == GW_ERR_NOTFOUND &&
          value.n == 0);
    /* Trouble is asked again. */
    table_cache_put(cache, BYTES_LIT("bad@host"), GW_ERR_TEMP, BYTES_LIT(""));
    CHECK(!table_cache_find(cache, BYTES_LIT("bad@host"), &r, &value));
    /* What does not fit is not kept. */
    table_cache_put(cache, whole, 0, BYTES_LIT("v"));
    CHECK(!table_cache_find(cache, whole, &r, &value));
    table_cache_put(cache, BYTES_LIT("k"), 0, whole);
    CHECK(!table_cache_find(cache, BYTES_LIT("k"), &r, &value));
    table_cache_put(cache, BYTES_LIT("k"), 0, bytes_sub(whole, 0, TABLE_CACHE_BYTES_MAX - 1));
    CHECK(table_cache_find(cache, BYTES_LIT("k"), &r, &value) && r == 0);
    table_cache_free(&cache);
    CHECK(cache == NULL && !table_cache_find(cache, BYTES_LIT("k"), &r, &value));
    buf_free(&value);
    return failures != 0;
}

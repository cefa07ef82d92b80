/*
 * table_bdb_hash - the hash of Berkeley DB: from a key to its bucket, through the bucket's chain of pages.
 *
 * Before: table_bdb.c with the metadata; after: its items. A page holds pairs of items, growing from its end:
 * an item reaches from its own offset to that of the item before it (the first one to the end of the page).
 * The first byte tells what it is.
 */
#include <string.h>

#include "base/error.h"
#include "config/table_bdb_private.h"

enum hash_item { HASH_ITEM_BYTES = 1, HASH_ITEM_DUPLICATES = 2, HASH_ITEM_OVERFLOW = 3, HASH_ITEM_TREE = 4 };
enum { OVERFLOW_ITEM_BYTES = 12, TREE_ITEM_BYTES = 8 };

uint32_t
bdb_hash_of(struct bytes key)
{
    uint32_t hash = 0;

    for (size_t i = 0; i < key.n; i++) {
        hash = (hash * UINT32_C(16777619)) ^ key.p[i];
    }
    return hash;
}

/* Buckets double in generations; spares[g] says how far a generation's pages are behind its bucket numbers.
 */
static int
page_of_bucket(const struct bdb *bdb, uint32_t bucket, uint32_t *page_r)
{
    uint32_t generation = 0;

    while (generation < BDB_SPARES && (UINT64_C(1) << generation) < (uint64_t)bucket + 1) {
        generation++;
    }
    *page_r = generation < BDB_SPARES ? bucket + bdb->spares[generation] : 0;
    return *page_r != 0 ? 0 : GW_ERR_TEMP;
}

static int
read_bucket_page(struct bdb *bdb, uint32_t number)
{
    int r = bdb_read_page(bdb, number);

    if (r == 0 && bdb->type != BDB_PAGE_HASH && bdb->type != BDB_PAGE_HASH_UNSORTED &&
        bdb->type != BDB_PAGE_UNUSED) {
        r = GW_ERR_TEMP;
    }
    return r;
}

/* All duplicates of an item in the page: each with its length before and behind it. */
static int
next_duplicate(const struct bdb *bdb, struct bytes *rest, struct bytes *one_r)
{
    if (rest->n < 4) {
        return GW_ERR_TEMP;
    }
    size_t n = bdb_u16(bdb, rest->p);
    if (n + 4 > rest->n || bdb_u16(bdb, rest->p + 2 + n) != n) {
        return GW_ERR_TEMP;
    }
    *one_r = bytes_sub(*rest, 2, n);
    *rest = bytes_sub(*rest, n + 4, rest->n);
    return 0;
}

/* duplicates_r: the item's bytes are several values; the first is in item_r. */
static int
read_item(const struct bdb *bdb, uint32_t index, struct bdb_item *item_r, struct bytes *duplicates_r)
{
    uint32_t from, to = bdb->page_size;
    int r = bdb_entry_offset(bdb, index, &from);

    *item_r = (struct bdb_item){.kind = BDB_ITEM_BYTES};
    *duplicates_r = (struct bytes){0};
    if (r == 0 && index > 0) {
        r = bdb_entry_offset(bdb, index - 1, &to);
    }
    if (r != 0 || from >= to) {
        return GW_ERR_TEMP;
    }
    struct bytes bytes = bytes_of(bdb->page + from, to - from);
    switch (bytes.p[0]) {
    case HASH_ITEM_BYTES:
        item_r->bytes = bytes_sub(bytes, 1, bytes.n);
        return 0;
    case HASH_ITEM_DUPLICATES:
        *duplicates_r = bytes_sub(bytes, 1, bytes.n);
        bytes = *duplicates_r;
        return next_duplicate(bdb, &bytes, &item_r->bytes);
    case HASH_ITEM_OVERFLOW:
        if (bytes.n < OVERFLOW_ITEM_BYTES) {
            return GW_ERR_TEMP;
        }
        item_r->kind = BDB_ITEM_OVERFLOW;
        item_r->page = bdb_u32(bdb, bytes.p + 4);
        item_r->length = bdb_u32(bdb, bytes.p + 8);
        return 0;
    case HASH_ITEM_TREE:
        if (bytes.n < TREE_ITEM_BYTES) {
            return GW_ERR_TEMP;
        }
        item_r->kind = BDB_ITEM_DUPLICATES;
        item_r->page = bdb_u32(bdb, bytes.p + 4);
        return 0;
    default:
        return GW_ERR_TEMP;
    }
}

static int
find_in_page(struct bdb *bdb, struct bytes key, struct buf *value)
{
    struct bytes duplicates;
    struct bdb_item item;

    for (uint32_t i = 0; i + 1 < bdb->entries; i += 2) {
        int r = read_item(bdb, i, &item, &duplicates), order = 1;

        if (r == 0 && (item.kind != BDB_ITEM_OVERFLOW || item.length == key.n)) {
            r = bdb_compare(bdb, key, &item, &order);
        }
        if (r == 0 && order == 0) {
            r = read_item(bdb, i + 1, &item, &duplicates);
            return r == 0 ? bdb_take_value(bdb, &item, value) : r;
        }
        if (r != 0) {
            return r;
        }
    }
    return GW_ERR_NOTFOUND;
}

int
bdb_hash_find(struct bdb *bdb, struct bytes key, struct buf *value)
{
    uint32_t bucket = bdb_hash_of(key) & bdb->high_mask, page;

    if (bucket > bdb->max_bucket) {
        bucket &= bdb->low_mask;
    }
    int r = page_of_bucket(bdb, bucket, &page);
    if (r != 0) {
        return r;
    }
    do {
        r = read_bucket_page(bdb, page);
        r = r == 0 ? find_in_page(bdb, key, value) : r;
        page = bdb->next;
    } while (r == GW_ERR_NOTFOUND && page != 0);
    return r;
}

struct duplicate_visit {
    table_bdb_visitor *visit;
    void *context;
    struct bytes key;
};

static int
visit_duplicate(void *context, struct bytes item)
{
    const struct duplicate_visit *visit = context;

    return visit->visit(visit->context, visit->key, item);
}

static int
visit_pair(struct bdb *bdb, uint32_t index, struct buf *key, struct buf *value, struct duplicate_visit *visit)
{
    struct bytes duplicates;
    struct bdb_item item;
    int r = read_item(bdb, index, &item, &duplicates);

    buf_clear(key);
    buf_clear(value);
    r = r == 0 ? bdb_take_value(bdb, &item, key) : r;
    r = r == 0 ? read_item(bdb, index + 1, &item, &duplicates) : r;
    if (r != 0) {
        return r;
    }
    visit->key = bytes_buf(key);
    if (item.kind == BDB_ITEM_DUPLICATES) {
        return bdb_btree_duplicates(bdb, item.page, visit_duplicate, visit);
    }
    while (r == 0 && duplicates.n > 0) {
        struct bytes one;

        r = next_duplicate(bdb, &duplicates, &one);
        r = r == 0 ? visit_duplicate(visit, one) : r;
        if (duplicates.n == 0) {
            return r;
        }
    }
    r = r == 0 ? bdb_take_value(bdb, &item, value) : r;
    return r == 0 ? visit_duplicate(visit, bytes_buf(value)) : r;
}

int
bdb_hash_each(struct bdb *bdb, table_bdb_visitor *visit, void *context)
{
    struct duplicate_visit pair = {.visit = visit, .context = context};
    struct buf key, value;
    uint32_t page;
    int r = 0;

    buf_init(&key, TABLE_BDB_ITEM_MAX);
    buf_init(&value, TABLE_BDB_ITEM_MAX);
    for (uint32_t bucket = 0; r == 0 && bucket <= bdb->max_bucket; bucket++) {
        r = page_of_bucket(bdb, bucket, &page);
        while (r == 0 && page != 0) {
            r = read_bucket_page(bdb, page);
            for (uint32_t i = 0; r == 0 && i + 1 < bdb->entries; i += 2) {
                r = visit_pair(bdb, i, &key, &value, &pair);
            }
            page = bdb->next;
        }
    }
    buf_free(&key);
    buf_free(&value);
    return r;
}

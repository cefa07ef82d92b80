/*
 * table_bdb_btree - the tree of Berkeley DB: from the root down to a leaf, and the leaves in order. Trees of
 * duplicate values, of hash and btree files, are of the same make.
 *
 * Before: table_bdb.c with the metadata; after: its items. Keys are ordered by their bytes, the shorter
 * first. A leaf has pairs of key and value, a leaf of duplicates values alone; an item marked as deleted is
 * there for other programs' cursors only.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "config/table_bdb_private.h"

enum tree_item { TREE_ITEM_BYTES = 1, TREE_ITEM_DUPLICATES = 2, TREE_ITEM_OVERFLOW = 3 };
enum {
    ITEM_DELETED = 0x80,
    ITEM_HEADER = 3,      /* of bytes in a leaf */
    REFERENCE_BYTES = 12, /* of an item kept elsewhere */
    INTERNAL_HEADER = 12, /* of an item that leads down */
    RECNO_INTERNAL_BYTES = 8
};

/* An item of a leaf, or the reference inside an item that leads down. */
static int
parse_item(const struct bdb *bdb, uint32_t offset, struct bdb_item *item_r)
{
    const uint8_t *p = bdb->page + offset;
    uint32_t room = bdb->page_size - offset;

    *item_r = (struct bdb_item){.kind = BDB_ITEM_BYTES};
    if (room < ITEM_HEADER) {
        return GW_ERR_TEMP;
    }
    item_r->deleted = (p[2] & ITEM_DELETED) != 0;
    switch (p[2] & ~ITEM_DELETED) {
    case TREE_ITEM_BYTES:
        item_r->bytes = bytes_of(p + ITEM_HEADER, bdb_u16(bdb, p));
        return item_r->bytes.n <= room - ITEM_HEADER ? 0 : GW_ERR_TEMP;
    case TREE_ITEM_DUPLICATES:
    case TREE_ITEM_OVERFLOW:
        if (room < REFERENCE_BYTES) {
            return GW_ERR_TEMP;
        }
        item_r->kind = (p[2] & ~ITEM_DELETED) == TREE_ITEM_OVERFLOW ? BDB_ITEM_OVERFLOW : BDB_ITEM_DUPLICATES;
        item_r->page = bdb_u32(bdb, p + 4);
        item_r->length = bdb_u32(bdb, p + 8);
        return 0;
    default:
        return GW_ERR_TEMP;
    }
}

static int
read_leaf_item(const struct bdb *bdb, uint32_t index, struct bdb_item *item_r)
{
    uint32_t offset;
    int r = bdb_entry_offset(bdb, index, &offset);

    return r == 0 ? parse_item(bdb, offset, item_r) : r;
}

/* The key of an item that leads down, and where it leads. */
static int
read_internal_item(const struct bdb *bdb, uint32_t index, struct bdb_item *key_r, uint32_t *child_r)
{
    uint32_t offset;
    int r = bdb_entry_offset(bdb, index, &offset);

    *child_r = 0;
    if (r != 0 || bdb->page_size - offset < INTERNAL_HEADER) {
        return GW_ERR_TEMP;
    }
    const uint8_t *p = bdb->page + offset;
    uint32_t length = bdb_u16(bdb, p), room = bdb->page_size - offset - INTERNAL_HEADER;
    *child_r = bdb_u32(bdb, p + 4);
    if (length > room) {
        return GW_ERR_TEMP;
    }
    *key_r = (struct bdb_item){.kind = BDB_ITEM_BYTES, .bytes = bytes_of(p + INTERNAL_HEADER, length)};
    if ((p[2] & ~ITEM_DELETED) == TREE_ITEM_BYTES) {
        return 0;
    }
    return length >= REFERENCE_BYTES ? parse_item(bdb, offset + INTERNAL_HEADER, key_r) : GW_ERR_TEMP;
}

/* The child whose keys may include the key: that of the last item not behind it. The first item's key counts
 * as smaller than all. */
static int
choose_child(struct bdb *bdb, struct bytes key, uint32_t *child_r)
{
    uint32_t low = 1, high = bdb->entries, child;
    struct bdb_item item;
    int order, r;

    *child_r = 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        r = read_internal_item(bdb, middle, &item, &child);
        r = r == 0 ? bdb_compare(bdb, key, &item, &order) : r;
        if (r != 0) {
            return r;
        }
        if (order >= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return read_internal_item(bdb, low - 1, &item, child_r);
}

static int
first_child(const struct bdb *bdb, uint32_t *child_r)
{
    struct bdb_item item;
    uint32_t offset;

    if (bdb->type == BDB_PAGE_BTREE_INTERNAL) {
        return read_internal_item(bdb, 0, &item, child_r);
    }
    int r = bdb_entry_offset(bdb, 0, &offset);
    if (r != 0 || bdb->page_size - offset < RECNO_INTERNAL_BYTES) {
        return GW_ERR_TEMP;
    }
    *child_r = bdb_u32(bdb, bdb->page + offset);
    return 0;
}

/* Down to a leaf: the one for the key, or the first one without a key. */
static int
descend(struct bdb *bdb, uint32_t root, const struct bytes *key)
{
    uint32_t child = root;

    for (int depth = 0; depth < TABLE_BDB_DEPTH_MAX; depth++) {
        int r = bdb_read_page(bdb, child);

        if (r != 0) {
            return r;
        }
        switch (bdb->type) {
        case BDB_PAGE_BTREE_LEAF:
        case BDB_PAGE_DUPLICATE_LEAF:
        case BDB_PAGE_RECNO_LEAF:
            return 0;
        case BDB_PAGE_BTREE_INTERNAL:
            r = key != NULL ? choose_child(bdb, *key, &child) : first_child(bdb, &child);
            break;
        case BDB_PAGE_RECNO_INTERNAL:
            r = first_child(bdb, &child);
            break;
        default:
            r = GW_ERR_TEMP;
        }
        if (r != 0) {
            return r;
        }
    }
    return GW_ERR_TEMP;
}

/* Index of the first pair in the leaf whose key is not before the key. */
static int
find_pair(struct bdb *bdb, struct bytes key, uint32_t *index_r)
{
    uint32_t low = 0, high = bdb->entries / 2;

    *index_r = 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct bdb_item item;
        int order, r = read_leaf_item(bdb, 2 * middle, &item);

        r = r == 0 ? bdb_compare(bdb, key, &item, &order) : r;
        if (r != 0) {
            return r;
        }
        if (order > 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *index_r = 2 * low;
    return 0;
}

int
bdb_btree_find(struct bdb *bdb, struct bytes key, struct buf *value)
{
    uint32_t index = 0;
    int r = descend(bdb, bdb->root, &key);

    if (r == 0 && bdb->type != BDB_PAGE_BTREE_LEAF) {
        r = GW_ERR_TEMP;
    }
    r = r == 0 ? find_pair(bdb, key, &index) : r;
    for (; r == 0 && index + 1 < bdb->entries; index += 2) {
        struct bdb_item item;
        int order;

        r = read_leaf_item(bdb, index, &item);
        r = r == 0 ? bdb_compare(bdb, key, &item, &order) : r;
        if (r == 0 && order != 0) {
            return GW_ERR_NOTFOUND;
        }
        r = r == 0 ? read_leaf_item(bdb, index + 1, &item) : r;
        if (r == 0 && !item.deleted) {
            return bdb_take_value(bdb, &item, value);
        }
    }
    return r == 0 ? GW_ERR_NOTFOUND : r;
}

static int
visit_duplicates(struct bdb *bdb, uint32_t root, int (*visit)(void *context, struct bytes item),
                 void *context, struct buf *value)
{
    int r = descend(bdb, root, NULL);

    if (r == 0 && bdb->type == BDB_PAGE_BTREE_LEAF) {
        r = GW_ERR_TEMP; /* pairs are no values: no duplicates of duplicates */
    }
    while (r == 0) {
        for (uint32_t i = 0; r == 0 && i < bdb->entries; i++) {
            struct bdb_item item;

            r = read_leaf_item(bdb, i, &item);
            if (r != 0 || item.deleted) {
                continue;
            }
            buf_clear(value);
            r = item.kind == BDB_ITEM_DUPLICATES ? GW_ERR_TEMP : bdb_take_value(bdb, &item, value);
            r = r == 0 ? visit(context, bytes_buf(value)) : r;
        }
        if (r != 0 || bdb->next == 0) {
            break;
        }
        uint8_t type = bdb->type;
        r = bdb_read_page(bdb, bdb->next);
        r = r == 0 && bdb->type != type ? GW_ERR_TEMP : r;
    }
    return r;
}

int
bdb_btree_duplicates(struct bdb *bdb, uint32_t root, int (*visit)(void *context, struct bytes item),
                     void *context)
{
    struct bdb inner = *bdb; /* with a page of its own: the caller goes on in its page */
    struct buf value;
    int r = GW_ERR_NOMEM;

    buf_init(&value, TABLE_BDB_ITEM_MAX);
    inner.page = malloc(bdb->page_size);
    if (inner.page != NULL) {
        r = visit_duplicates(&inner, root, visit, context, &value);
        bdb->pages_left = inner.pages_left;
    }
    free(inner.page);
    buf_free(&value);
    return r;
}

struct duplicate_visit {
    table_bdb_visitor *visit;
    void *context;
    struct bytes key;
    uint32_t key_page; /* the key's overflow page; 0: it has none */
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
    struct bdb_item item, data;
    int r = read_leaf_item(bdb, index, &item);

    r = r == 0 ? read_leaf_item(bdb, index + 1, &data) : r;
    if (r != 0 || data.deleted) {
        return r;
    }
    buf_clear(value);
    /* Duplicates in a leaf share their key: one kept outside is read once for all of them. */
    if (item.kind != BDB_ITEM_OVERFLOW || item.page != visit->key_page) {
        buf_clear(key);
        r = item.kind == BDB_ITEM_DUPLICATES ? GW_ERR_TEMP : bdb_take_value(bdb, &item, key);
        visit->key = bytes_buf(key);
        visit->key_page = item.kind == BDB_ITEM_OVERFLOW ? item.page : 0;
    }
    if (r == 0 && data.kind == BDB_ITEM_DUPLICATES) {
        return bdb_btree_duplicates(bdb, data.page, visit_duplicate, visit);
    }
    r = r == 0 ? bdb_take_value(bdb, &data, value) : r;
    return r == 0 ? visit_duplicate(visit, bytes_buf(value)) : r;
}

int
bdb_btree_each(struct bdb *bdb, table_bdb_visitor *visit, void *context)
{
    struct duplicate_visit pair = {.visit = visit, .context = context};
    int r = descend(bdb, bdb->root, NULL);
    struct buf key, value;

    buf_init(&key, TABLE_BDB_ITEM_MAX);
    buf_init(&value, TABLE_BDB_ITEM_MAX);
    while (r == 0 && bdb->type == BDB_PAGE_BTREE_LEAF) {
        for (uint32_t i = 0; r == 0 && i + 1 < bdb->entries; i += 2) {
            r = visit_pair(bdb, i, &key, &value, &pair);
        }
        if (r != 0 || bdb->next == 0) {
            break;
        }
        r = bdb_read_page(bdb, bdb->next);
    }
    buf_free(&key);
    buf_free(&value);
    return r == 0 && bdb->type != BDB_PAGE_BTREE_LEAF ? GW_ERR_TEMP : r;
}

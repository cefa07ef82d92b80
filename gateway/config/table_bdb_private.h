/*
 * table_bdb_private - what table_bdb.c (metadata, pages, items) offers to table_bdb_hash.c and
 * table_bdb_btree.c. A `struct bdb` lives for one call.
 */
#ifndef CONFIG_TABLE_BDB_PRIVATE_H
#define CONFIG_TABLE_BDB_PRIVATE_H

#include "config/table_bdb.h"

enum { BDB_SPARES = 32 };

enum bdb_page_type {
    BDB_PAGE_UNUSED = 0,
    BDB_PAGE_HASH_UNSORTED = 2,
    BDB_PAGE_BTREE_INTERNAL = 3,
    BDB_PAGE_RECNO_INTERNAL = 4,
    BDB_PAGE_BTREE_LEAF = 5,
    BDB_PAGE_RECNO_LEAF = 6,
    BDB_PAGE_OVERFLOW = 7,
    BDB_PAGE_HASH_META = 8,
    BDB_PAGE_BTREE_META = 9,
    BDB_PAGE_DUPLICATE_LEAF = 12,
    BDB_PAGE_HASH = 13,
};

struct bdb {
    int fd;
    bool swapped, is_hash;
    uint32_t page_size, last_page; /* last_page 0: not told */
    uint32_t data_offset;          /* of the index in a page: behind the header and the checksum */
    uint32_t pages_left;           /* that this call may still read */
    uint8_t *page;                 /* the page read last, page_size bytes */
    uint8_t *chain;                /* room for one page of an overflow chain */
    uint32_t number;               /* of the page */
    uint32_t next;                 /* page behind it in its chain; 0: none */
    uint32_t entries;              /* offsets in its index */
    uint8_t type;
    uint32_t max_bucket, high_mask, low_mask, spares[BDB_SPARES]; /* hash */
    uint32_t root;                                                /* btree */
};

/* What an item is: bytes in the page, or a chain of overflow pages, or a tree of duplicates. */
enum bdb_item_kind { BDB_ITEM_BYTES, BDB_ITEM_OVERFLOW, BDB_ITEM_DUPLICATES };
struct bdb_item {
    enum bdb_item_kind kind;
    bool deleted;
    struct bytes bytes;    /* BDB_ITEM_BYTES: within the page */
    uint32_t page, length; /* first page of the chain and its bytes, or root of the tree */
};

uint16_t bdb_u16(const struct bdb *bdb, const uint8_t *p);
uint32_t bdb_u32(const struct bdb *bdb, const uint8_t *p);

/* Reads a page into bdb->page. 0, GW_ERR_TEMP. A page never written (all zero) is of type UNUSED. */
int bdb_read_page(struct bdb *bdb, uint32_t number);
/* Offset of an entry in the page, checked. */
int bdb_entry_offset(const struct bdb *bdb, uint32_t index, uint32_t *offset_r);
/* Appends at most `want` bytes of a chain. */
int bdb_read_chain(struct bdb *bdb, const struct bdb_item *item, size_t want, struct buf *out);
/* Order of key against an item: < 0, 0, > 0 in *order_r. Longer chains than the key are not read whole. */
int bdb_compare(struct bdb *bdb, struct bytes key, const struct bdb_item *item, int *order_r);
/* Appends an item; of duplicates the first. Spoils bdb->page in that case. 0, GW_ERR_NOTFOUND. */
int bdb_take_value(struct bdb *bdb, const struct bdb_item *item, struct buf *value);

/* Berkeley DB's own hash function (since 3.1: Fowler, Noll, Vo). */
uint32_t bdb_hash_of(struct bytes key);
int bdb_hash_find(struct bdb *bdb, struct bytes key, struct buf *value);
int bdb_hash_each(struct bdb *bdb, table_bdb_visitor *visit, void *context);
int bdb_btree_find(struct bdb *bdb, struct bytes key, struct buf *value);
int bdb_btree_each(struct bdb *bdb, table_bdb_visitor *visit, void *context);
/* Each item of a tree of duplicates, in order. */
int bdb_btree_duplicates(struct bdb *bdb, uint32_t root, int (*visit)(void *context, struct bytes item),
                         void *context);

#endif

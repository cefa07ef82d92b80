/*
 * table_bdb - metadata, pages and items of Berkeley DB files; see the header.
 *
 * Before: table_hash.c, which holds the descriptor and judges whether the file is being written; after:
 * table_bdb_hash.c and table_bdb_btree.c with the two ways of finding a page. Every page that is read counts
 * against pages_left, so that no chain or loop in a hostile file goes on for long. A contradiction is
 * GW_ERR_TEMP: it may be another program's half-done write, and it must never look like "not found".
 *
 * Offsets (dbinc/db_page.h of the documentation): page: number 8, next 16, entries 20, bytes of an overflow
 * page 22, type 25, index 26 (32 with checksums). Metadata: magic 12, version 16, page size 20, encryption
 * 24, type 25, flags of pages 26, last page 32, partitions 36, flags 48; hash: 72 and on; btree: root 88.
 */
#include "config/table_bdb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "config/table_bdb_private.h"

#define HASH_MAGIC UINT32_C(0x061561)
#define BTREE_MAGIC UINT32_C(0x053162)

enum {
    PAGE_SIZE_MIN = 512,
    PAGE_SIZE_MAX = 65536,
    HEADER_BYTES = 26,
    HEADER_BYTES_CHECKSUM = 32,
    META_CHECKSUM = 0x01,
    HASH_SUBDATABASES = 0x02,
    BTREE_RECNO = 0x02,
    BTREE_SUBDATABASES = 0x20,
    BTREE_COMPRESSED = 0x80,
    HASH_VERSION_MIN = 7,
    BTREE_VERSION_MIN = 8,
    VERSION_MAX = 10
};

/* The hash of this text (with its NUL) is in the metadata, to tell which function the keys went through. */
static const char HASH_PROBE[] = "%$sniglet^&";

uint16_t
bdb_u16(const struct bdb *bdb, const uint8_t *p)
{
    uint16_t value;

    memcpy(&value, p, sizeof(value));
    return bdb->swapped ? __builtin_bswap16(value) : value;
}

uint32_t
bdb_u32(const struct bdb *bdb, const uint8_t *p)
{
    uint32_t value;

    memcpy(&value, p, sizeof(value));
    return bdb->swapped ? __builtin_bswap32(value) : value;
}

bool
table_bdb_is(const uint8_t *start, size_t n)
{
    struct bdb plain = {.swapped = false}, swapped = {.swapped = true};
    uint32_t a, b;

    if (n < 16) {
        return false;
    }
    a = bdb_u32(&plain, start + 12);
    b = bdb_u32(&swapped, start + 12);
    return a == HASH_MAGIC || a == BTREE_MAGIC || b == HASH_MAGIC || b == BTREE_MAGIC;
}

static const char *
judge_hash(struct bdb *bdb, const uint8_t *meta)
{
    bdb->max_bucket = bdb_u32(bdb, meta + 72);
    bdb->high_mask = bdb_u32(bdb, meta + 76);
    bdb->low_mask = bdb_u32(bdb, meta + 80);
    for (size_t i = 0; i < BDB_SPARES; i++) {
        bdb->spares[i] = bdb_u32(bdb, meta + 96 + 4 * i);
    }
    if (bdb_u32(bdb, meta + 92) != bdb_hash_of(bytes_of(HASH_PROBE, sizeof(HASH_PROBE)))) {
        return "its hash function is not Berkeley DB's own";
    }
    /* A table of one bucket has both masks 0 or 1; beyond that a mask is all ones up to its top bit. */
    if ((bdb->high_mask & (bdb->high_mask + 1)) != 0 || bdb->max_bucket > bdb->high_mask ||
        bdb->max_bucket == UINT32_MAX) {
        return "its masks contradict each other";
    }
    return (bdb_u32(bdb, meta + 48) & HASH_SUBDATABASES) != 0 ? "it holds several databases" : NULL;
}

static const char *
judge_btree(struct bdb *bdb, const uint8_t *meta)
{
    uint32_t flags = bdb_u32(bdb, meta + 48);

    bdb->root = bdb_u32(bdb, meta + 88);
    if ((flags & BTREE_SUBDATABASES) != 0) {
        return "it holds several databases";
    }
    if ((flags & BTREE_RECNO) != 0) {
        return "it has record numbers instead of keys";
    }
    return (flags & BTREE_COMPRESSED) != 0 ? "it is compressed" : NULL;
}

/* NULL, or why the file is not read. */
static const char *
judge_meta(struct bdb *bdb, const uint8_t *meta)
{
    if (!table_bdb_is(meta, TABLE_BDB_META_BYTES)) {
        return "it is neither a hash nor a btree of Berkeley DB";
    }
    uint32_t magic = bdb_u32(bdb, meta + 12);
    bdb->swapped = magic != HASH_MAGIC && magic != BTREE_MAGIC;
    bdb->is_hash = bdb_u32(bdb, meta + 12) == HASH_MAGIC;
    bdb->page_size = bdb_u32(bdb, meta + 20);
    bdb->last_page = bdb_u32(bdb, meta + 32);
    bdb->data_offset = (meta[26] & META_CHECKSUM) != 0 ? HEADER_BYTES_CHECKSUM : HEADER_BYTES;
    uint32_t version = bdb_u32(bdb, meta + 16);
    if (version < (bdb->is_hash ? HASH_VERSION_MIN : BTREE_VERSION_MIN)) {
        return "it is older than Berkeley DB 3.1; run db_upgrade on it";
    }
    if (version > VERSION_MAX) {
        return "its version is not known";
    }
    if (bdb->page_size < PAGE_SIZE_MIN || bdb->page_size > PAGE_SIZE_MAX ||
        (bdb->page_size & (bdb->page_size - 1)) != 0) {
        return "its page size is impossible";
    }
    if (meta[24] != 0) {
        return "it is encrypted";
    }
    if (bdb_u32(bdb, meta + 36) != 0) {
        return "it is partitioned";
    }
    if (meta[25] != (bdb->is_hash ? BDB_PAGE_HASH_META : BDB_PAGE_BTREE_META)) {
        return "its first page is not of its type";
    }
    return bdb->is_hash ? judge_hash(bdb, meta) : judge_btree(bdb, meta);
}

static int
read_exactly(int fd, void *room, size_t n, uint64_t offset)
{
    ssize_t got;

    do {
        got = pread(fd, room, n, (off_t)offset);
    } while (got == -1 && errno == EINTR);
    return got == (ssize_t)n ? 0 : got == -1 ? GW_ERR_SYS : GW_ERR_TEMP;
}

/* why_r: NULL unless the file was understood to be none. */
static int
begin(struct bdb *bdb, int fd, const char **why_r)
{
    uint8_t meta[TABLE_BDB_META_BYTES];

    *bdb = (struct bdb){.fd = fd, .pages_left = TABLE_BDB_PAGES_MAX};
    *why_r = NULL;
    int r = read_exactly(fd, meta, sizeof(meta), 0);
    if (r != 0) {
        *why_r = r == GW_ERR_TEMP ? "it is cut off" : NULL;
        return r;
    }
    *why_r = judge_meta(bdb, meta);
    if (*why_r != NULL) {
        return GW_ERR_TEMP;
    }
    bdb->page = malloc(2 * (size_t)bdb->page_size);
    bdb->chain = bdb->page == NULL ? NULL : bdb->page + bdb->page_size;
    return bdb->page == NULL ? GW_ERR_NOMEM : 0;
}

static void
end(struct bdb *bdb)
{
    free(bdb->page);
    bdb->page = NULL;
    bdb->chain = NULL;
}

int
table_bdb_check(int fd, struct buf *error_r)
{
    const char *why;
    struct bdb bdb;
    int r = begin(&bdb, fd, &why);

    if (r == 0) {
        uint8_t last;
        /* The last byte of the last page: a file that was cut off says so now, not at the first lookup. (Page
         * 0 is the metadata: early writers told no last page.) */
        r = read_exactly(fd, &last, 1, ((uint64_t)bdb.last_page + 1) * bdb.page_size - 1);
        why = r == GW_ERR_TEMP ? "it is cut off" : NULL;
    }
    end(&bdb);
    if (r != 0) {
        (void)buf_append_str(error_r, why != NULL ? why : r == GW_ERR_SYS ? strerror(errno) : gw_strerror(r));
    }
    return r == GW_ERR_TEMP ? GW_ERR_CONFIG : r;
}

static int
spend_page(struct bdb *bdb, uint32_t number, uint8_t *room)
{
    if (number == 0 || (bdb->last_page != 0 && number > bdb->last_page) || bdb->pages_left == 0) {
        return GW_ERR_TEMP;
    }
    bdb->pages_left--;
    return read_exactly(bdb->fd, room, bdb->page_size, (uint64_t)number * bdb->page_size);
}

int
bdb_read_page(struct bdb *bdb, uint32_t number)
{
    int r = spend_page(bdb, number, bdb->page);

    if (r != 0) {
        return r;
    }
    bdb->number = number;
    bdb->next = bdb_u32(bdb, bdb->page + 16);
    bdb->entries = bdb_u16(bdb, bdb->page + 20);
    bdb->type = bdb->page[25];
    uint32_t self = bdb_u32(bdb, bdb->page + 8);
    if (bdb->type == BDB_PAGE_UNUSED && self == 0 && bdb->entries == 0 && bdb->next == 0) {
        return 0; /* a bucket nothing was ever put in: the file has a hole there */
    }
    return self == number && bdb->data_offset + 2 * bdb->entries <= bdb->page_size ? 0 : GW_ERR_TEMP;
}

int
bdb_entry_offset(const struct bdb *bdb, uint32_t index, uint32_t *offset_r)
{
    *offset_r = 0;
    if (index >= bdb->entries) {
        return GW_ERR_TEMP;
    }
    uint32_t offset = bdb_u16(bdb, bdb->page + bdb->data_offset + 2 * index);
    if (offset < bdb->data_offset + 2 * bdb->entries || offset >= bdb->page_size) {
        return GW_ERR_TEMP;
    }
    *offset_r = offset;
    return 0;
}

int
bdb_read_chain(struct bdb *bdb, const struct bdb_item *item, size_t want, struct buf *out)
{
    size_t left = want < item->length ? want : item->length;
    uint32_t number = item->page;

    while (left > 0) {
        int r = spend_page(bdb, number, bdb->chain);

        if (r != 0) {
            return r;
        }
        uint32_t n = bdb_u16(bdb, bdb->chain + 22);
        if (bdb_u32(bdb, bdb->chain + 8) != number || bdb->chain[25] != BDB_PAGE_OVERFLOW || n == 0 ||
            n > bdb->page_size - bdb->data_offset) {
            return GW_ERR_TEMP;
        }
        n = n < left ? n : (uint32_t)left;
        if ((r = buf_append(out, bdb->chain + bdb->data_offset, n)) != 0) {
            return r;
        }
        left -= n;
        number = bdb_u32(bdb, bdb->chain + 16);
    }
    return 0;
}

static int
compare_bytes(struct bytes a, struct bytes b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n == 0 ? 0 : memcmp(a.p, b.p, n);

    return order != 0 ? order : a.n < b.n ? -1 : a.n > b.n;
}

int
bdb_compare(struct bdb *bdb, struct bytes key, const struct bdb_item *item, int *order_r)
{
    struct buf text;
    int r;

    *order_r = 0;
    if (item->kind == BDB_ITEM_DUPLICATES) {
        return GW_ERR_TEMP; /* keys are never that */
    }
    if (item->kind == BDB_ITEM_BYTES) {
        *order_r = compare_bytes(key, item->bytes);
        return 0;
    }
    buf_init(&text, key.n + 1);
    r = bdb_read_chain(bdb, item, key.n + 1, &text); /* one more than the key's tells the order */
    if (r == 0) {
        *order_r = compare_bytes(key, bytes_buf(&text));
    }
    buf_free(&text);
    return r;
}

static int
take_first(void *context, struct bytes item)
{
    int r = buf_append_bytes(context, item);

    return r == 0 ? 1 : r; /* 1: enough */
}

int
bdb_take_value(struct bdb *bdb, const struct bdb_item *item, struct buf *value)
{
    int r;

    switch (item->kind) {
    case BDB_ITEM_BYTES:
        return buf_append_bytes(value, item->bytes);
    case BDB_ITEM_OVERFLOW:
        return bdb_read_chain(bdb, item, item->length, value);
    case BDB_ITEM_DUPLICATES:
        r = bdb_btree_duplicates(bdb, item->page, take_first, value);
        return r == 1 ? 0 : r == 0 ? GW_ERR_NOTFOUND : r;
    }
    return GW_ERR_TEMP;
}

int
table_bdb_find(int fd, struct bytes key, struct buf *value)
{
    const char *why;
    struct bdb bdb;
    int r = begin(&bdb, fd, &why);

    if (r == 0) {
        r = bdb.is_hash ? bdb_hash_find(&bdb, key, value) : bdb_btree_find(&bdb, key, value);
    }
    end(&bdb);
    return r == GW_ERR_SYS ? GW_ERR_TEMP : r;
}

int
table_bdb_each(int fd, table_bdb_visitor *visit, void *context)
{
    const char *why;
    struct stat status;
    struct bdb bdb;
    int r = begin(&bdb, fd, &why);

    r = r == 0 && fstat(fd, &status) == -1 ? GW_ERR_SYS : r;
    if (r == 0) {
        /* Each page of an honest file is met once, those of the way down a tree perhaps twice. */
        uint64_t pages = (uint64_t)status.st_size / bdb.page_size * 2;
        bdb.pages_left = pages < UINT32_MAX ? (uint32_t)pages : UINT32_MAX;
        r = bdb.is_hash ? bdb_hash_each(&bdb, visit, context) : bdb_btree_each(&bdb, visit, context);
    }
    end(&bdb);
    return r == GW_ERR_SYS ? GW_ERR_TEMP : r;
}

/*
 * table_lmdb - see the header. Before: table_hash.c, which holds the file and asks for its size.
 *
 * Layout (lmdb.h and mdb.c of 0.9): a page has number 0 (8 bytes), flags 10, end of its index 12, number of
 * overflow pages 12 (4 bytes), index 16. Metadata is in pages 0 and 1, at 16: magic, version, then at 24 the
 * page size, at 72 the database (flags 76, root 112), last page 120, transaction 128. A node has size (low,
 * high half), flags, length of the key, key, data; a branch keeps its child's number in the first three.
 *
 * What remains: a file that is cut off within the microsecond between fstat() and the end of a lookup ends
 * the role with SIGBUS; master starts it anew, and nothing unacknowledged is lost.
 */
#include "config/table_lmdb.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"

#define WINDOW_BYTES (UINT64_C(4) * 1024 * 1024 * 1024)
#define LMDB_MAGIC UINT32_C(0xBEEFC0DE)
#define NO_PAGE UINT64_MAX

enum { PAGE_SIZE_MIN = 512, PAGE_SIZE_MAX = 65536, PAGE_HEADER = 16, NODE_HEADER = 8 };
enum page_flags { PAGE_BRANCH = 0x01, PAGE_LEAF = 0x02, PAGE_OVERFLOW = 0x04, PAGE_META = 0x08 };
enum { PAGE_KINDS = 0x6f /* all flags but the writer's own marks */, NODE_BIG = 0x01 };
enum { DATA_VERSION = 1 };

struct table_lmdb {
    const uint8_t *base;
};

/* What a lookup works on. */
struct snapshot {
    const uint8_t *base;
    uint64_t size;
    uint32_t page_size;
    uint32_t flags;
    uint64_t root, transaction;
};

struct page {
    const uint8_t *p;
    uint32_t kind, count; /* entries in the index */
};

struct node {
    struct bytes key;
    const uint8_t *data; /* behind the key; within the page */
    size_t room;         /* from data to the end of the page */
    uint32_t size, flags;
    uint64_t child;
};

/* The file may change under us: a number that was checked must stay the number that is used, so the compiler
 * may not read it twice. */
static uint16_t
load16(const uint8_t *p)
{
    uint16_t value;

    memcpy(&value, p, sizeof(value));
    __asm__ volatile("" : "+r"(value));
    return value;
}

static uint32_t
load32(const uint8_t *p)
{
    uint32_t value;

    memcpy(&value, p, sizeof(value));
    __asm__ volatile("" : "+r"(value));
    return value;
}

static uint64_t
load64(const uint8_t *p)
{
    uint64_t value;

    memcpy(&value, p, sizeof(value));
    __asm__ volatile("" : "+r"(value));
    return value;
}

int
table_lmdb_new(int fd, struct table_lmdb **map_r)
{
    struct table_lmdb *map = calloc(1, sizeof(*map));

    *map_r = NULL;
    if (map == NULL) {
        return GW_ERR_NOMEM;
    }
    /* postmap may let the file grow while it is mapped here; address space is all that costs. */
    void *base = mmap(NULL, WINDOW_BYTES, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED) {
        free(map);
        return GW_ERR_SYS;
    }
    map->base = base;
    *map_r = map;
    return 0;
}

void
table_lmdb_free(struct table_lmdb **map)
{
    if (*map != NULL) {
        (void)munmap((void *)(uintptr_t)(*map)->base, WINDOW_BYTES);
        free(*map);
        *map = NULL;
    }
}

static bool
is_meta(const uint8_t *page)
{
    return (load16(page + 10) & PAGE_META) != 0 && load32(page + 16) == LMDB_MAGIC &&
           load32(page + 20) == DATA_VERSION;
}

bool
table_lmdb_is(const struct table_lmdb *map, uint64_t size)
{
    return size >= TABLE_LMDB_META_BYTES && is_meta(map->base);
}

/* The transactions of both metadata pages; false when they are not there. */
static bool
read_transactions(const uint8_t *base, uint64_t size, uint32_t *page_size_r, uint64_t transactions_r[2])
{
    if (size < TABLE_LMDB_META_BYTES || !is_meta(base)) {
        return false;
    }
    uint32_t page_size = load32(base + 40);
    if (page_size < PAGE_SIZE_MIN || page_size > PAGE_SIZE_MAX || (page_size & (page_size - 1)) != 0 ||
        size < (uint64_t)page_size + TABLE_LMDB_META_BYTES || !is_meta(base + page_size)) {
        return false;
    }
    *page_size_r = page_size;
    transactions_r[0] = load64(base + 144);
    transactions_r[1] = load64(base + page_size + 144);
    return true;
}

static int
take_snapshot(const struct table_lmdb *map, uint64_t size, struct snapshot *snapshot_r)
{
    uint64_t transactions[2];

    *snapshot_r = (struct snapshot){.base = map->base, .size = size < WINDOW_BYTES ? size : WINDOW_BYTES};
    if (!read_transactions(map->base, snapshot_r->size, &snapshot_r->page_size, transactions)) {
        return GW_ERR_TEMP;
    }
    int newest = transactions[1] > transactions[0];
    const uint8_t *meta = map->base + (newest == 1 ? snapshot_r->page_size : 0);
    snapshot_r->transaction = transactions[newest];
    snapshot_r->flags = load16(meta + 92);
    snapshot_r->root = load64(meta + 128);
    return 0;
}

/* Pages of a snapshot are used again by the writer behind the second commit after it. */
static bool
is_overtaken(const struct snapshot *snapshot)
{
    uint64_t transactions[2];
    uint32_t page_size;

    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (!read_transactions(snapshot->base, snapshot->size, &page_size, transactions)) {
        return false; /* no more an LMDB file; what was found was */
    }
    return transactions[0] > snapshot->transaction + 1 || transactions[1] > snapshot->transaction + 1;
}

static int
read_page(const struct snapshot *snapshot, uint64_t number, struct page *page_r)
{
    if (number < 2 || number >= snapshot->size / snapshot->page_size) {
        return GW_ERR_TEMP;
    }
    page_r->p = snapshot->base + number * snapshot->page_size;
    page_r->kind = load16(page_r->p + 10) & PAGE_KINDS;
    uint32_t end = load16(page_r->p + 12);
    if (load64(page_r->p) != number) {
        return GW_ERR_TEMP;
    }
    page_r->count = (end - PAGE_HEADER) / 2;
    return page_r->kind == PAGE_OVERFLOW || (end > PAGE_HEADER && end <= snapshot->page_size) ? 0
                                                                                              : GW_ERR_TEMP;
}

static int
read_node(const struct snapshot *snapshot, const struct page *page, uint32_t index, struct node *node_r)
{
    uint32_t offset = load16(page->p + PAGE_HEADER + 2 * (size_t)index);

    if (offset < PAGE_HEADER || offset + NODE_HEADER > snapshot->page_size) {
        return GW_ERR_TEMP;
    }
    const uint8_t *p = page->p + offset;
    uint16_t low = load16(p), high = load16(p + 2), flags = load16(p + 4), length = load16(p + 6);
    if (offset + NODE_HEADER + length > snapshot->page_size) {
        return GW_ERR_TEMP;
    }
    node_r->key = bytes_of(p + NODE_HEADER, length);
    node_r->data = p + NODE_HEADER + length;
    node_r->room = snapshot->page_size - offset - NODE_HEADER - length;
    node_r->size = (uint32_t)low | (uint32_t)high << 16;
    node_r->flags = flags;
    node_r->child = (uint64_t)node_r->size | (uint64_t)flags << 32;
    return 0;
}

static int
compare_keys(struct bytes a, struct bytes b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n == 0 ? 0 : memcmp(a.p, b.p, n);

    return order != 0 ? order : a.n < b.n ? -1 : a.n > b.n;
}

/* The first entry from `from` on whose key is not before the key; with `behind`, is behind it. */
static int
search_page(const struct snapshot *snapshot, const struct page *page, struct bytes key, uint32_t from,
            bool behind, uint32_t *index_r)
{
    uint32_t low = from, high = page->count;
    struct node node;

    *index_r = 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int r = read_node(snapshot, page, middle, &node);

        if (r != 0) {
            return r;
        }
        int order = compare_keys(node.key, key);
        if (order < 0 || (behind && order == 0)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *index_r = low;
    return 0;
}

static int
descend(const struct snapshot *snapshot, struct bytes key, struct page *page_r)
{
    uint64_t number = snapshot->root;

    for (int depth = 0; depth < TABLE_LMDB_DEPTH_MAX; depth++) {
        struct node node;
        uint32_t index;
        int r = read_page(snapshot, number, page_r);

        if (r != 0 || page_r->kind == PAGE_LEAF) {
            return r;
        }
        if (page_r->kind != PAGE_BRANCH) {
            return GW_ERR_TEMP;
        }
        /* The first entry of a branch has no key: it is before all. */
        r = search_page(snapshot, page_r, key, 1, true, &index);
        r = r == 0 ? read_node(snapshot, page_r, index - 1, &node) : r;
        if (r != 0) {
            return r;
        }
        number = node.child;
    }
    return GW_ERR_TEMP;
}

static int
read_value(const struct snapshot *snapshot, const struct node *node, struct bytes *value_r)
{
    if ((node->flags & ~(uint32_t)NODE_BIG) != 0) {
        return GW_ERR_TEMP; /* duplicates or a named database */
    }
    if ((node->flags & NODE_BIG) == 0) {
        *value_r = bytes_of(node->data, node->size);
        return node->size <= node->room ? 0 : GW_ERR_TEMP;
    }
    struct page page;
    if (node->room < sizeof(uint64_t)) {
        return GW_ERR_TEMP;
    }
    uint64_t number = load64(node->data);
    int r = read_page(snapshot, number, &page);
    if (r != 0 || page.kind != PAGE_OVERFLOW ||
        number * snapshot->page_size + PAGE_HEADER + node->size > snapshot->size) {
        return GW_ERR_TEMP;
    }
    *value_r = bytes_of(page.p + PAGE_HEADER, node->size);
    return 0;
}

/* Other programs' keys may have their NUL with them. Such a key is the next one possible behind ours, so it
 * is in the same place, or (at_end_r) first in the next leaf. */
static int
find_in_leaf(const struct snapshot *snapshot, struct bytes key, struct bytes *value_r, bool *at_end_r)
{
    struct page page;
    struct node node;
    uint32_t index;
    int r = descend(snapshot, key, &page);

    *at_end_r = false;
    r = r == 0 ? search_page(snapshot, &page, key, 0, false, &index) : r;
    if (r != 0) {
        return r;
    }
    if (index == page.count) {
        *at_end_r = true;
        return GW_ERR_NOTFOUND;
    }
    r = read_node(snapshot, &page, index, &node);
    if (r != 0) {
        return r;
    }
    bool same = node.key.n >= key.n && node.key.n <= key.n + 1 && memcmp(node.key.p, key.p, key.n) == 0 &&
                (node.key.n == key.n || node.key.p[key.n] == '\0');
    return same ? read_value(snapshot, &node, value_r) : GW_ERR_NOTFOUND;
}

static int
find_in_snapshot(const struct snapshot *snapshot, struct bytes key, struct bytes *value_r)
{
    uint8_t with_nul[512];
    bool at_end;

    if (snapshot->root == NO_PAGE) {
        return GW_ERR_NOTFOUND;
    }
    int r = find_in_leaf(snapshot, key, value_r, &at_end);
    if (at_end && key.n < sizeof(with_nul)) {
        memcpy(with_nul, key.p, key.n);
        with_nul[key.n] = '\0';
        r = find_in_leaf(snapshot, bytes_of(with_nul, key.n + 1), value_r, &at_end);
    }
    return r;
}

int
table_lmdb_find(const struct table_lmdb *map, uint64_t size, struct bytes key, struct buf *value)
{
    if (key.n == 0) {
        return GW_ERR_NOTFOUND;
    }
    for (int i = 0; i < TABLE_LMDB_TRIES_MAX; i++) {
        struct snapshot snapshot;
        struct bytes found;
        size_t kept = value->n;
        int r = take_snapshot(map, size, &snapshot);

        if (r != 0 || snapshot.flags != 0) {
            return GW_ERR_TEMP;
        }
        r = find_in_snapshot(&snapshot, key, &found);
        r = r == 0 ? buf_append_bytes(value, found) : r;
        if (!is_overtaken(&snapshot)) {
            return r;
        }
        buf_truncate(value, kept);
    }
    return GW_ERR_TEMP;
}

int
table_lmdb_check(const struct table_lmdb *map, uint64_t size, struct buf *error_r)
{
    struct snapshot snapshot;
    struct page page;
    const char *why = NULL;

    if (size < TABLE_LMDB_META_BYTES) {
        why = size == 0 ? "it is empty" : "it is cut off";
    } else if (!table_lmdb_is(map, size)) {
        why = "it is neither LMDB of this machine nor Berkeley DB";
    } else if (take_snapshot(map, size, &snapshot) != 0) {
        why = "it is cut off";
    } else if (snapshot.flags != 0) {
        why = "its keys are not plain ones";
    } else if (snapshot.root != NO_PAGE && read_page(&snapshot, snapshot.root, &page) != 0) {
        why = "it is cut off or spoiled";
    }
    if (why == NULL) {
        return 0;
    }
    (void)buf_append_str(error_r, why);
    return GW_ERR_CONFIG;
}

struct walk {
    const struct snapshot *snapshot;
    table_lmdb_visitor *visit;
    void *context;
    uint64_t pages_left; /* each page of an honest file is met once */
};

static int
visit_page(struct walk *walk, uint64_t number, int depth)
{
    struct page page;
    int r = GW_ERR_TEMP;

    if (depth < TABLE_LMDB_DEPTH_MAX && walk->pages_left > 0) {
        walk->pages_left--;
        r = read_page(walk->snapshot, number, &page);
    }
    if (r == 0 && page.kind != PAGE_LEAF && page.kind != PAGE_BRANCH) {
        r = GW_ERR_TEMP;
    }
    for (uint32_t i = 0; r == 0 && i < page.count; i++) {
        struct bytes value;
        struct node node;

        r = read_node(walk->snapshot, &page, i, &node);
        if (r == 0 && page.kind == PAGE_BRANCH) {
            r = visit_page(walk, node.child, depth + 1);
        } else if (r == 0) {
            r = read_value(walk->snapshot, &node, &value);
            r = r == 0 ? walk->visit(walk->context, node.key, value) : r;
        }
    }
    return r;
}

int
table_lmdb_each(const struct table_lmdb *map, uint64_t size, table_lmdb_visitor *visit, void *context)
{
    struct snapshot snapshot;
    int r = take_snapshot(map, size, &snapshot);

    if (r != 0 || snapshot.flags != 0) {
        return GW_ERR_TEMP;
    }
    struct walk walk = {.snapshot = &snapshot,
                        .visit = visit,
                        .context = context,
                        .pages_left = snapshot.size / snapshot.page_size};
    r = snapshot.root == NO_PAGE ? 0 : visit_page(&walk, snapshot.root, 0);
    return r == 0 && is_overtaken(&snapshot) ? GW_ERR_TEMP : r;
}

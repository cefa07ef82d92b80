/*
 * journal - see the header: blocks of records and their filters in journal.lmdb.
 *
 * Before: service.c with every WIRE_EVIDENCE. After: the store. A block that is not full is written again
 * under its key with the next commit, so a quiet gateway does not fill the store with tiny blocks. What is
 * lost when the policy role is killed is what came since the last commit (half a second); it is evidence,
 * never mail. Commits are durable ones: a store without sync would have to be thrown away after a power
 * failure, and with it what led up to the failure.
 */
#include "policy/journal_private.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

enum {
    BLOCK_TARGET = 60000,       /* bytes; with its length fields a block stays below 16 pages */
    BLOCK_MAX = 2 * 256 * 1024, /* the last record may be a long one */
    RECORD_HEADER = 4,          /* be32 length */
    HASHES_FIRST = 256,
    PENDING_MAX = 128,  /* full blocks in memory before a commit is forced */
    DROP_AT_ONCE = 256, /* blocks per transaction */
    FIRST_MAP = 64 * 1024 * 1024,
    COMMIT_ATTEMPTS = 3,
};

struct block {
    uint8_t key[JOURNAL_BLOCK_KEY];
    struct buf data;
    uint32_t *hashes;
    size_t hash_count, hash_room;
    size_t records; /* since the last commit */
};

struct journal {
    struct store *store;
    int64_t retention_us;
    struct block blocks[PENDING_MAX]; /* the last of them is open, those before are full */
    size_t block_count;
    bool dirty;
    uint64_t lost;
};

static const char *const TABLES[] = {[JOURNAL_BLOCKS] = "block", [JOURNAL_FILTERS] = "filter", NULL};

/* Which texts of an event are keys. */
enum { SUBJECT = 1, KEY = 2, VALUE = 4, DETAIL = 8 };
static const uint8_t KEYS_OF_KIND[EV_KINDS] = {
    [EV_CONNECT] = SUBJECT,
    [EV_COMMAND] = KEY,
    [EV_GREYLIST] = SUBJECT | KEY,
    [EV_VERDICT] = KEY,
    [EV_QUEUE] = SUBJECT | KEY | VALUE | DETAIL,
    [EV_DELIVERY] = SUBJECT,
    [EV_QUARANTINE] = SUBJECT | KEY,
};

struct store *
journal_store(struct journal *journal)
{
    return journal->store;
}

struct bytes
journal_normal_key(struct bytes text)
{
    text = bytes_trim(text);
    if (text.n >= 2 && text.p[0] == '<' && text.p[text.n - 1] == '>') {
        text = bytes_trim(bytes_sub(text, 1, text.n - 2));
    }
    return text;
}

/* FNV-1a of the text in lower case. A collision costs reading one block in vain, nothing else. */
uint32_t
journal_hash(struct bytes normal_key)
{
    uint32_t hash = 2166136261U;

    for (size_t i = 0; i < normal_key.n; i++) {
        uint8_t c = normal_key.p[i];

        hash = (hash ^ (c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c)) * 16777619U;
    }
    return hash;
}

/* "name[192.0.2.1]:25": the address. */
static struct bytes
address_in_brackets(struct bytes text)
{
    ptrdiff_t from = bytes_rindex(text, '['), to = bytes_rindex(text, ']');

    return from < 0 || to < from ? text : bytes_sub(text, (size_t)from + 1, (size_t)(to - from) - 1);
}

bool
journal_event_keys(const struct evidence_event *event, bool (*visit)(void *context, struct bytes key),
                   void *context)
{
    uint8_t which = event->kind < EV_KINDS ? KEYS_OF_KIND[event->kind] : 0;
    struct bytes texts[] = {event->subject, event->key, event->value, event->detail};

    for (size_t i = 0; which != 0; i++, which >>= 1) {
        if ((which & 1) == 0) {
            continue;
        }
        struct bytes key = event->kind == EV_CONNECT ? address_in_brackets(texts[i]) : texts[i];
        key = journal_normal_key(key);
        if (key.n > 0 && visit(context, key)) {
            return true;
        }
    }
    return false;
}

bool
journal_next_record(struct bytes *block, struct bytes *record_r)
{
    if (block->n < RECORD_HEADER) {
        return false;
    }
    const uint8_t *p = block->p;
    size_t n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    if (n > block->n - RECORD_HEADER) {
        return false;
    }
    *record_r = bytes_sub(*block, RECORD_HEADER, n);
    *block = bytes_sub(*block, RECORD_HEADER + n, block->n);
    return true;
}

static void
put_be(uint8_t *p, uint64_t v, size_t width)
{
    for (size_t i = 0; i < width; i++) {
        p[i] = (uint8_t)(v >> (8 * (width - 1 - i)));
    }
}

int
journal_open(const struct journal_options *options, struct journal **journal_r, const char **why_r)
{
    struct journal *journal = calloc(1, sizeof(*journal));
    size_t first = options->size_limit < FIRST_MAP ? (size_t)options->size_limit : FIRST_MAP;
    struct store_options store = {
        .path = options->path, .map_size = first, .map_limit = (size_t)options->size_limit, .tables = TABLES};
    int r;

    *journal_r = NULL;
    if (journal == NULL) {
        *why_r = "out of memory";
        return GW_ERR_NOMEM;
    }
    journal->retention_us = options->retention_s * 1000000;
    for (size_t i = 0; i < PENDING_MAX; i++) {
        buf_init(&journal->blocks[i].data, BLOCK_MAX);
    }
    if ((r = store_open(&store, &journal->store, why_r)) != 0) {
        journal_free(&journal);
        return r;
    }
    *journal_r = journal;
    return 0;
}

void
journal_free(struct journal **journal)
{
    if (*journal == NULL) {
        return;
    }
    if ((*journal)->store != NULL) {
        (void)journal_commit(*journal);
    }
    for (size_t i = 0; i < PENDING_MAX; i++) {
        buf_free(&(*journal)->blocks[i].data);
        free((*journal)->blocks[i].hashes);
    }
    store_close(&(*journal)->store);
    free(*journal);
    *journal = NULL;
}

bool
journal_is_dirty(const struct journal *journal)
{
    return journal->dirty;
}

uint64_t
journal_lost(const struct journal *journal)
{
    return journal->lost;
}

uint64_t
journal_used(struct journal *journal)
{
    uint64_t used, limit;

    store_usage(journal->store, &used, &limit);
    return used;
}

static bool
add_hash(void *context, struct bytes key)
{
    struct block *block = context;

    if (block->hash_count == block->hash_room) {
        size_t room = block->hash_room == 0 ? HASHES_FIRST : block->hash_room * 2;
        uint32_t *hashes = realloc(block->hashes, room * sizeof(*hashes));

        if (hashes == NULL) {
            return true;
        }
        block->hashes = hashes;
        block->hash_room = room;
    }
    block->hashes[block->hash_count++] = journal_hash(key);
    return false;
}

/* Adds the keys of a record to the block's; what was added stays even if the record turns out broken later.
 */
static int
add_keys(struct block *block, struct bytes record)
{
    struct evidence_head head;
    struct evidence_event event;
    int r = evidence_read_head(&record, &head);

    if (r != 0) {
        return r;
    }
    if (head.ident[0] != '\0' && add_hash(block, bytes_str(head.ident))) {
        return GW_ERR_NOMEM;
    }
    while ((r = evidence_read_event(&record, &event)) == 1) {
        if (journal_event_keys(&event, add_hash, block)) {
            return GW_ERR_NOMEM;
        }
    }
    return r;
}

/* The open block, or a new one when it is full. */
static struct block *
open_block(struct journal *journal, int64_t now_us)
{
    if (journal->block_count > 0 && journal->blocks[journal->block_count - 1].data.n < BLOCK_TARGET) {
        return &journal->blocks[journal->block_count - 1];
    }
    if (journal->block_count == PENDING_MAX) {
        (void)journal_commit(journal); /* leaves at most the open one */
    }
    struct block *block = &journal->blocks[journal->block_count++];
    put_be(block->key, (uint64_t)now_us, 8);
    put_be(block->key + 8, (uint64_t)getpid(), 4);
    buf_clear(&block->data);
    block->hash_count = 0;
    block->records = 0;
    return block;
}

int
journal_add(struct journal *journal, struct bytes record, int64_t now_us)
{
    struct block *block = open_block(journal, now_us);
    uint8_t length[RECORD_HEADER];
    size_t hashes = block->hash_count;
    int r;

    put_be(length, record.n, RECORD_HEADER);
    if ((r = add_keys(block, record)) == 0 &&
        (r = buf_reserve(&block->data, record.n + RECORD_HEADER)) == 0) {
        (void)buf_append(&block->data, length, RECORD_HEADER);
        (void)buf_append_bytes(&block->data, record);
        block->records++;
        journal->dirty = true;
    } else {
        block->hash_count = hashes;
    }
    return r;
}

static int
compare_hashes(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void
sort_hashes(struct block *block)
{
    size_t kept = 0;

    if (block->hash_count > 0) {
        qsort(block->hashes, block->hash_count, sizeof(*block->hashes), compare_hashes);
    }
    for (size_t i = 0; i < block->hash_count; i++) {
        if (kept == 0 || block->hashes[kept - 1] != block->hashes[i]) {
            block->hashes[kept++] = block->hashes[i];
        }
    }
    block->hash_count = kept;
}

static int
write_blocks(struct journal *journal)
{
    struct store_txn *txn = NULL;
    int r = store_begin(journal->store, true, &txn);

    for (size_t i = 0; r == 0 && i < journal->block_count; i++) {
        struct block *block = &journal->blocks[i];
        struct bytes key = bytes_of(block->key, sizeof(block->key));

        if (block->records == 0) {
            continue; /* open, and nothing new in it */
        }
        sort_hashes(block);
        r = store_put(txn, JOURNAL_BLOCKS, key, bytes_buf(&block->data));
        if (r == 0) {
            r = store_put(txn, JOURNAL_FILTERS, key,
                          bytes_of(block->hashes, block->hash_count * sizeof(*block->hashes)));
        }
    }
    if (r != 0) {
        store_abort(&txn);
        return r;
    }
    return store_commit(&txn);
}

/* Deletes the oldest blocks: all before `before`, or any when it is 0; at most `max`. */
static size_t
drop_oldest(struct journal *journal, uint64_t before, size_t max)
{
    struct store_txn *txn = NULL;
    struct bytes key, value;
    uint8_t copy[JOURNAL_BLOCK_KEY];
    size_t dropped = 0;

    if (store_begin(journal->store, true, &txn) != 0) {
        return 0;
    }
    while (dropped < max && store_seek(txn, JOURNAL_FILTERS, (struct bytes){0}, &key, &value) == 0 &&
           key.n == sizeof(copy)) {
        uint64_t time = 0;

        memcpy(copy, key.p, sizeof(copy));
        for (size_t i = 0; i < 8; i++) {
            time = time << 8 | copy[i];
        }
        if (before != 0 && time >= before) {
            break;
        }
        int r = store_delete(txn, JOURNAL_BLOCKS, bytes_of(copy, sizeof(copy)));
        if ((r != 0 && r != GW_ERR_NOTFOUND) ||
            store_delete(txn, JOURNAL_FILTERS, bytes_of(copy, sizeof(copy))) != 0) {
            store_abort(&txn);
            return 0;
        }
        dropped++;
    }
    if (dropped == 0) {
        store_abort(&txn);
        return 0;
    }
    return store_commit(&txn) == 0 ? dropped : 0;
}

/* Keeps the open block in front, forgets the full ones. */
static void
forget_full_blocks(struct journal *journal)
{
    if (journal->block_count > 1) {
        struct block open = journal->blocks[journal->block_count - 1];

        journal->blocks[journal->block_count - 1] = journal->blocks[0];
        journal->blocks[0] = open;
        journal->block_count = 1;
    }
    if (journal->block_count == 1) {
        journal->blocks[0].records = 0;
    }
    journal->dirty = false;
}

int
journal_commit(struct journal *journal)
{
    int r = 0;

    if (!journal->dirty) {
        return 0;
    }
    for (int attempt = 0; attempt < COMMIT_ATTEMPTS; attempt++) {
        r = write_blocks(journal);
        if (r != GW_ERR_FULL || drop_oldest(journal, 0, DROP_AT_ONCE) == 0) {
            break;
        }
    }
    if (r != 0) {
        for (size_t i = 0; i < journal->block_count; i++) {
            journal->lost += journal->blocks[i].records;
        }
        journal->block_count = 0; /* the open block is tried again from empty: it may be what does not fit */
    }
    forget_full_blocks(journal);
    return r;
}

size_t
journal_expire(struct journal *journal, int64_t now_us)
{
    uint64_t used, limit;
    int64_t before = now_us - journal->retention_us;

    store_usage(journal->store, &used, &limit);
    if (used > limit / 8 * 7) {
        return drop_oldest(journal, 0, DROP_AT_ONCE);
    }
    struct store_txn *txn = NULL;
    struct bytes key, value;
    bool is_old = false;

    /* Looking costs nothing; a write transaction is begun only when there is something to drop. */
    if (before > 0 && store_begin(journal->store, false, &txn) == 0) {
        uint8_t limit_key[8];

        put_be(limit_key, (uint64_t)before, sizeof(limit_key));
        is_old = store_seek(txn, JOURNAL_FILTERS, (struct bytes){0}, &key, &value) == 0 &&
                 key.n == JOURNAL_BLOCK_KEY && memcmp(key.p, limit_key, sizeof(limit_key)) < 0;
        store_abort(&txn);
    }
    return is_old ? drop_oldest(journal, (uint64_t)before, DROP_AT_ONCE) : 0;
}

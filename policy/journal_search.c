/*
 * journal_search - finds records by ident, queue id, message id, mail address or client address.
 *
 * Before: the "why" command of service_ctl.c. Two walks over the filters, newest block first: the first finds
 * records that hold the key, the second those linked with them by session ident or queue id (what the queue
 * and relay wrote about the same message). Each step opens its own short read transaction, so the store's
 * pages are not pinned while others are served.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "policy/journal_private.h"

enum { LINKS_MAX = 512, BLOCKS_BETWEEN_LOOKS = 16 };

struct found {
    uint8_t *bytes;
    size_t n;
    int64_t wall_us;
    uint8_t block[JOURNAL_BLOCK_KEY];
    size_t offset; /* in the block */
};

/* A key to look for. */
struct wanted {
    uint32_t hash;
    size_t n;
    char text[JOURNAL_KEY_MAX];
    bool exact; /* ids keep their case, addresses do not */
};

struct journal_search {
    struct journal *journal;
    int walk; /* 1, 2, 3: done */
    uint8_t position[JOURNAL_BLOCK_KEY];
    bool started; /* position holds the block looked at last */
    struct wanted *wanted;
    size_t wanted_count;
    struct found *found;
    size_t found_count;
    bool cut;
};

static int
want(struct journal_search *search, struct bytes key)
{
    key = journal_normal_key(key);
    if (key.n == 0 || key.n >= JOURNAL_KEY_MAX || search->wanted_count == LINKS_MAX) {
        return 0;
    }
    for (size_t i = 0; i < search->wanted_count; i++) {
        if (bytes_equal(bytes_of(search->wanted[i].text, search->wanted[i].n), key)) {
            return 0;
        }
    }
    struct wanted *more = realloc(search->wanted, (search->wanted_count + 1) * sizeof(*more));
    if (more == NULL) {
        return GW_ERR_NOMEM;
    }
    search->wanted = more;
    struct wanted *wanted = &more[search->wanted_count++];
    *wanted = (struct wanted){.hash = journal_hash(key), .n = key.n};
    memcpy(wanted->text, key.p, key.n);
    wanted->exact = bytes_index(key, '@') < 0 && bytes_index(key, '.') < 0 && bytes_index(key, ':') < 0;
    return 0;
}

int
journal_search_new(struct journal *journal, struct bytes key, struct journal_search **search_r)
{
    *search_r = NULL;
    key = journal_normal_key(key);
    if (key.n == 0 || key.n >= JOURNAL_KEY_MAX) {
        return GW_ERR_SYNTAX;
    }
    struct journal_search *search = calloc(1, sizeof(*search));
    if (search == NULL) {
        return GW_ERR_NOMEM;
    }
    search->journal = journal;
    search->walk = 1;
    search->found = calloc(JOURNAL_RESULTS_MAX, sizeof(*search->found));
    if (search->found == NULL || want(search, key) != 0) {
        journal_search_free(&search);
        return GW_ERR_NOMEM;
    }
    *search_r = search;
    return 0;
}

void
journal_search_free(struct journal_search **search)
{
    if (*search == NULL) {
        return;
    }
    for (size_t i = 0; i < (*search)->found_count; i++) {
        free((*search)->found[i].bytes);
    }
    free((*search)->found);
    free((*search)->wanted);
    free(*search);
    *search = NULL;
}

static bool
has_hash(struct bytes filter, uint32_t hash)
{
    size_t low = 0, high = filter.n / sizeof(hash);

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        uint32_t value;

        memcpy(&value, filter.p + middle * sizeof(value), sizeof(value));
        if (value == hash) {
            return true;
        }
        if (value < hash) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

static bool
may_hold(const struct journal_search *search, struct bytes filter)
{
    for (size_t i = 0; i < search->wanted_count; i++) {
        if (has_hash(filter, search->wanted[i].hash)) {
            return true;
        }
    }
    return false;
}

static bool
is_wanted(void *context, struct bytes key)
{
    const struct journal_search *search = context;

    for (size_t i = 0; i < search->wanted_count; i++) {
        const struct wanted *wanted = &search->wanted[i];
        struct bytes text = bytes_of(wanted->text, wanted->n);

        if (wanted->exact ? bytes_equal(text, key) : bytes_equal_nocase(text, key)) {
            return true;
        }
    }
    return false;
}

static bool
holds_wanted(struct journal_search *search, struct bytes record, int64_t *wall_us_r)
{
    struct evidence_head head;
    struct evidence_event event;

    if (evidence_read_head(&record, &head) != 0) {
        return false;
    }
    *wall_us_r = head.wall_us;
    if (head.ident[0] != '\0' && is_wanted(search, bytes_str(head.ident))) {
        return true;
    }
    while (evidence_read_event(&record, &event) == 1) {
        if (journal_event_keys(&event, is_wanted, search)) {
            return true;
        }
    }
    return false;
}

static bool
is_found_already(const struct journal_search *search, const uint8_t *block, size_t offset)
{
    for (size_t i = 0; i < search->found_count; i++) {
        if (search->found[i].offset == offset &&
            memcmp(search->found[i].block, block, JOURNAL_BLOCK_KEY) == 0) {
            return true;
        }
    }
    return false;
}

static int
keep(struct journal_search *search, const uint8_t *block, size_t offset, struct bytes record, int64_t wall_us)
{
    if (search->found_count == JOURNAL_RESULTS_MAX) {
        search->cut = true;
        return 0;
    }
    struct found found = {.n = record.n, .wall_us = wall_us, .offset = offset};
    memcpy(found.block, block, sizeof(found.block));
    found.bytes = malloc(record.n);
    if (found.bytes == NULL) {
        return GW_ERR_NOMEM;
    }
    memcpy(found.bytes, record.p, record.n);
    search->found[search->found_count++] = found;
    return 0;
}

static int
read_block(struct journal_search *search, struct store_txn *txn)
{
    struct bytes block, record;
    int64_t wall_us = 0;
    int r = store_get(txn, JOURNAL_BLOCKS, bytes_of(search->position, sizeof(search->position)), &block);
    const uint8_t *start = block.p;

    while (r == 0 && journal_next_record(&block, &record)) {
        size_t offset = (size_t)(record.p - start);

        if (holds_wanted(search, record, &wall_us) && !is_found_already(search, search->position, offset)) {
            r = keep(search, search->position, offset, record, wall_us);
        }
    }
    return r == GW_ERR_NOTFOUND ? 0 : r; /* a filter without its block is a block being dropped */
}

/* Session idents and queue ids of what was found are what the second walk looks for. */
static int
want_links(struct journal_search *search)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < search->found_count; i++) {
        struct bytes record = bytes_of(search->found[i].bytes, search->found[i].n);
        struct evidence_head head;
        struct evidence_event event;

        if (evidence_read_head(&record, &head) != 0) {
            continue;
        }
        r = want(search, bytes_str(head.ident));
        while (r == 0 && evidence_read_event(&record, &event) == 1) {
            if (event.kind == EV_QUEUE || event.kind == EV_QUARANTINE) {
                r = want(search, event.subject);
            }
            if (r == 0 && (event.kind == EV_VERDICT || event.kind == EV_QUARANTINE)) {
                r = want(search, event.key);
            }
        }
    }
    return r;
}

static int
compare_times(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    return x->wall_us < y->wall_us ? -1 : x->wall_us > y->wall_us;
}

/* The end of a walk. */
static int
next_walk(struct journal_search *search)
{
    search->started = false;
    search->walk = search->walk == 1 && search->found_count > 0 && !search->cut ? 2 : 3;
    if (search->walk == 2) {
        /* The address asked for has given what it had; its other sessions are no links. */
        search->wanted_count = 0;
        return want_links(search);
    }
    if (search->found_count > 1) {
        qsort(search->found, search->found_count, sizeof(*search->found), compare_times);
    }
    return 0;
}

int
journal_search_step(struct journal_search *search, int64_t budget_us)
{
    int64_t until = clock_monotonic_us() + budget_us;
    struct store_txn *txn = NULL;
    int r = 0;

    if (search->walk == 3) {
        return 1;
    }
    if ((r = store_begin(journal_store(search->journal), false, &txn)) != 0) {
        return r;
    }
    for (size_t turn = 1; r == 0; turn++) {
        struct bytes key, filter;
        struct bytes before = bytes_of(search->position, search->started ? sizeof(search->position) : 0);

        r = search->cut ? GW_ERR_NOTFOUND : store_prev(txn, JOURNAL_FILTERS, before, &key, &filter);
        if (r == 0 && key.n == sizeof(search->position)) {
            memcpy(search->position, key.p, key.n);
            search->started = true;
            if (may_hold(search, filter)) {
                r = read_block(search, txn);
            }
        } else if (r == 0 || r == GW_ERR_NOTFOUND) {
            r = next_walk(search);
            if (r == 0 && search->walk == 3) {
                r = 1;
            }
        }
        if (turn % BLOCKS_BETWEEN_LOOKS == 0 && clock_monotonic_us() >= until) {
            break;
        }
    }
    store_abort(&txn);
    return r;
}

size_t
journal_search_count(const struct journal_search *search)
{
    return search->found_count;
}

struct bytes
journal_search_record(const struct journal_search *search, size_t index)
{
    return bytes_of(search->found[index].bytes, search->found[index].n);
}

bool
journal_search_was_cut(const struct journal_search *search)
{
    return search->cut;
}

/*
 * state - see the header. Before: greylist.c, allowlist.c; after: base/store.h.
 *
 * A write that finds the map full ends the transaction (what it held is committed or lost as a whole), after
 * which the store has grown; it is tried once more. Whatever fails here fails towards mail: the callers let a
 * client pass whom they cannot remember.
 */
#include "policy/state.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/store.h"

enum {
    FIRST_MAP = 64 * 1024 * 1024,
    KEY_MAX = 64,       /* of this store: hashes and addresses */
    WRITES_MAX = 50000, /* in one transaction: its dirty pages are memory */
};

struct state {
    struct store *store;
    struct store_txn *txn; /* NULL between commits */
    size_t entries_max[STATE_TABLES];
    uint8_t swept[STATE_TABLES][KEY_MAX]; /* where the sweep is */
    size_t swept_size[STATE_TABLES];
    size_t writes;
};

static const char *const TABLES[] = {
    [STATE_TRIPLETS] = "triplet", [STATE_CLIENTS] = "client", [STATE_ALLOWED] = "allowed", NULL};

int
state_open(const struct state_options *options, struct state **state_r, const char **why_r)
{
    struct state *state = calloc(1, sizeof(*state));
    size_t first = options->size_limit < FIRST_MAP ? (size_t)options->size_limit : FIRST_MAP;
    struct store_options store = {
        .path = options->path, .map_size = first, .map_limit = (size_t)options->size_limit, .tables = TABLES};
    int r;

    *state_r = NULL;
    if (state == NULL) {
        *why_r = "out of memory";
        return GW_ERR_NOMEM;
    }
    memcpy(state->entries_max, options->entries_max, sizeof(state->entries_max));
    if ((r = store_open(&store, &state->store, why_r)) != 0) {
        state_free(&state);
        return r;
    }
    *state_r = state;
    return 0;
}

void
state_free(struct state **state)
{
    if (*state == NULL) {
        return;
    }
    (void)state_commit(*state);
    store_close(&(*state)->store);
    free(*state);
    *state = NULL;
}

static int
need_txn(struct state *state)
{
    return state->txn != NULL ? 0 : store_begin(state->store, true, &state->txn);
}

int
state_get(struct state *state, enum state_table table, struct bytes key, struct bytes *value_r)
{
    int r = need_txn(state);

    *value_r = (struct bytes){0};
    return r != 0 ? r : store_get(state->txn, (int)table, key, value_r);
}

bool
state_is_dirty(const struct state *state)
{
    return state->txn != NULL;
}

int
state_commit(struct state *state)
{
    int r = 0;

    if (state->txn != NULL && state->writes > 0) {
        r = store_commit(&state->txn);
    } else {
        store_abort(&state->txn);
    }
    state->writes = 0;
    return r;
}

/* Makes room in a full table: the entry that follows the new one's key, or the first. */
static int
give_up_one(struct state *state, enum state_table table, struct bytes key)
{
    struct bytes victim, value;
    uint8_t copy[KEY_MAX];
    int r = store_seek(state->txn, (int)table, key, &victim, &value);

    if (r == GW_ERR_NOTFOUND) {
        r = store_seek(state->txn, (int)table, (struct bytes){0}, &victim, &value);
    }
    if (r != 0 || victim.n > sizeof(copy)) {
        return r;
    }
    memcpy(copy, victim.p, victim.n);
    return store_delete(state->txn, (int)table, bytes_of(copy, victim.n));
}

static int
put_once(struct state *state, enum state_table table, struct bytes key, struct bytes value)
{
    struct bytes old;
    int r = need_txn(state);

    if (r == 0 && store_count(state->txn, (int)table) >= state->entries_max[table] &&
        store_get(state->txn, (int)table, key, &old) == GW_ERR_NOTFOUND) {
        r = give_up_one(state, table, key);
    }
    if (r == 0) {
        r = store_put(state->txn, (int)table, key, value);
    }
    if (r != 0) {
        store_abort(&state->txn);
        state->writes = 0;
        return r;
    }
    state->writes++;
    return 0;
}

int
state_put(struct state *state, enum state_table table, struct bytes key, struct bytes value)
{
    if (key.n > KEY_MAX) {
        return GW_ERR_LIMIT;
    }
    int r = state->writes >= WRITES_MAX ? state_commit(state) : 0;
    if (r == 0) {
        r = put_once(state, table, key, value);
    }
    return r == GW_ERR_FULL ? put_once(state, table, key, value) : r;
}

size_t
state_count(struct state *state, enum state_table table)
{
    return need_txn(state) == 0 ? store_count(state->txn, (int)table) : 0;
}

size_t
state_sweep(struct state *state, enum state_table table, size_t max, int64_t now_s, state_is_over *is_over,
            const void *context)
{
    struct bytes key, value;
    size_t deleted = 0;

    if (need_txn(state) != 0) {
        return 0;
    }
    uint8_t *at = state->swept[table];
    int r = store_seek(state->txn, (int)table, bytes_of(at, state->swept_size[table]), &key, &value);
    for (size_t i = 0; i < max && r == 0 && key.n <= KEY_MAX; i++) {
        bool over = is_over(value, now_s, context);

        memcpy(at, key.p, key.n);
        state->swept_size[table] = key.n;
        if (over && (r = store_delete(state->txn, (int)table, bytes_of(at, state->swept_size[table]))) == 0) {
            deleted++;
            state->writes++;
        }
        if (r == 0) {
            r = store_next(state->txn, (int)table, bytes_of(at, state->swept_size[table]), &key, &value);
        }
    }
    if (r != 0) {
        state->swept_size[table] = 0; /* the end: begin again */
    }
    if (r != 0 && r != GW_ERR_NOTFOUND) {
        store_abort(&state->txn);
        state->writes = 0;
    }
    return deleted;
}

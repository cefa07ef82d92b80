/*
 * state - state.lmdb: what the gateway remembers of clients between their visits (greylist, temporary
 * allowlist).
 *
 * Reads and writes go through one write transaction that stays open for at most half a second, so a decision
 * costs no commit. A crash loses that half second: a client waits once more or is tested once more, no mail
 * is lost. Tables are bounded: a full one gives up an entry near the new one's place, which a stranger can
 * neither choose nor use to stop the others. Entries past their time are swept in small batches. Owned by the
 * policy role; one thread.
 */
#ifndef POLICY_STATE_H
#define POLICY_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum state_table { STATE_TRIPLETS, STATE_CLIENTS, STATE_ALLOWED, STATE_TABLES };

struct state;

/* Whether an entry's time is over at now_s. */
typedef bool state_is_over(struct bytes value, int64_t now_s, const void *context);

struct state_options {
    const char *path;
    uint64_t size_limit; /* bytes */
    size_t entries_max[STATE_TABLES];
};

int state_open(const struct state_options *options, struct state **state_r, const char **why_r);
void state_free(struct state **state); /* commits */
/* The view is valid until the next call. GW_ERR_NOTFOUND, GW_ERR_SYS. */
int state_get(struct state *state, enum state_table table, struct bytes key, struct bytes *value_r);
/* 0, GW_ERR_FULL, GW_ERR_SYS. */
int state_put(struct state *state, enum state_table table, struct bytes key, struct bytes value);
bool state_is_dirty(const struct state *state);
int state_commit(struct state *state);
/* Looks at up to `max` entries from where the last call ended and deletes those that are over. Returns how
 * many. */
size_t state_sweep(struct state *state, enum state_table table, size_t max, int64_t now_s,
                   state_is_over *is_over, const void *context);
size_t state_count(struct state *state, enum state_table table);

#endif

/*
 * journal - keeps evidence records and finds them again: the store behind `estafeta why`.
 *
 * Writing is on the path of every message, reading is rare, so nothing is indexed record by record: records
 * are appended to blocks of about 60 KB, and beside each block lies a filter, the sorted hashes of all keys
 * in it. A search walks the filters from the newest to the oldest and reads only blocks that can hold the
 * key. Owned by the policy role; used by one thread.
 */
#ifndef POLICY_JOURNAL_H
#define POLICY_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum {
    JOURNAL_KEY_MAX = 1024,     /* bytes of what is searched for */
    JOURNAL_RESULTS_MAX = 1000, /* records one search gives, the newest */
};

struct journal;

struct journal_options {
    const char *path;
    int64_t retention_s;
    uint64_t size_limit; /* bytes; the oldest blocks go before it is reached */
};

/* 0 or the errors of store_open(). */
int journal_open(const struct journal_options *options, struct journal **journal_r, const char **why_r);
void journal_free(struct journal **journal); /* commits */
/* Takes a copy of one record. GW_ERR_SYNTAX: it is not one (the peer is to be cut off). In memory until the
 * commit. */
int journal_add(struct journal *journal, struct bytes record, int64_t now_us);
bool journal_is_dirty(const struct journal *journal);
/* Writes what was added and syncs. When there is no room even after the oldest blocks were dropped, the
 * records are given up and counted: mail never waits for its evidence. 0, GW_ERR_FULL, GW_ERR_SYS. */
int journal_commit(struct journal *journal);
/* Drops blocks that are too old or too many, at most a few hundred per call. Returns how many. */
size_t journal_expire(struct journal *journal, int64_t now_us);
uint64_t journal_lost(const struct journal *journal); /* records given up so far */
uint64_t journal_used(struct journal *journal);       /* bytes */

/* A search in steps, so that the loop serves others meanwhile. */
struct journal_search;
int journal_search_new(struct journal *journal, struct bytes key, struct journal_search **search_r);
void journal_search_free(struct journal_search **search);
/* Works for about budget_us. 1: done, 0: call again, or an error. */
int journal_search_step(struct journal_search *search, int64_t budget_us);
/* After the end: the records in order of time, each a view valid until journal_search_free(). */
size_t journal_search_count(const struct journal_search *search);
struct bytes journal_search_record(const struct journal_search *search, size_t index);
bool journal_search_was_cut(const struct journal_search *search); /* there are more, older ones */

#endif

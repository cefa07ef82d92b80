/*
 * journal_private - what journal.c (writing) and journal_search.c (finding) share: tables, keys, hashes.
 */
#ifndef POLICY_JOURNAL_PRIVATE_H
#define POLICY_JOURNAL_PRIVATE_H

#include "base/store.h"
#include "policy/evidence.h"
#include "policy/journal.h"

enum { JOURNAL_BLOCKS = 0, JOURNAL_FILTERS = 1 }; /* tables of the store; both by block key */

enum { JOURNAL_BLOCK_KEY = 12 }; /* be64 wall clock in us, be32 process id */

struct store *journal_store(struct journal *journal);
/* The text a key is compared and hashed by: without blanks and <> around it. */
struct bytes journal_normal_key(struct bytes text);
uint32_t journal_hash(struct bytes normal_key);
/* Calls visit for every key of the event; stops at the first true and returns it. */
bool journal_event_keys(const struct evidence_event *event, bool (*visit)(void *context, struct bytes key),
                        void *context);
/* Takes the next record off a block's value; false at its end. */
bool journal_next_record(struct bytes *block, struct bytes *record_r);

#endif

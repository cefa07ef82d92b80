/*
 * allowlist - which tests of the screen a client address has passed, and until when that counts.
 *
 * Postfix's postscreen cache: one expiry per test. Asked by screen for every connection, told by screen and
 * by receive (the deep tests end inside the session).
 */
#ifndef POLICY_ALLOWLIST_H
#define POLICY_ALLOWLIST_H

#include "message/wire.h"
#include "policy/state.h"

/* Fills expires_s of allow->client: 0 for tests not passed or no longer valid. An unknown client is all 0. */
int allowlist_ask(struct state *state, struct wire_allow *allow, int64_t now_s);
/* Remembers; a later expiry than the one given stays. */
int allowlist_set(struct state *state, const struct wire_allow *allow, int64_t now_s);
void allowlist_sweep(struct state *state, size_t max, int64_t now_s);

#endif

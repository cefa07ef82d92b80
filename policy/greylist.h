/*
 * greylist - whether a triplet (client network, sender, recipient) has waited long enough.
 *
 * Postgrey's rules: an unknown triplet waits greylist_delay; when it comes back within greylist_retry_window
 * it passes and is remembered for greylist_lifetime after its last use; a client network with five triplets
 * that passed is trusted as a whole for as long. The network is the /24 or /64, or the SPF domain when one is
 * given; digits in the sender's local part are alike (VERP), extensions are cut off. The store holds hashes
 * of triplets, no addresses.
 */
#ifndef POLICY_GREYLIST_H
#define POLICY_GREYLIST_H

#include "message/wire.h"
#include "policy/state.h"

struct greylist_limits {
    int64_t delay_s, retry_window_s, lifetime_s;
};

enum { GREYLIST_TRUSTED_AFTER = 5 }; /* triplets of a client that passed */

/* now_s: wall clock. 0 with an answer; on an error the answer is a pass (greylisting only ever delays). */
int greylist_check(struct state *state, const struct greylist_limits *limits,
                   const struct wire_triplet *triplet, int64_t now_s, struct wire_greylist_answer *answer_r);
/* Looks at `max` entries of each table. */
void greylist_sweep(struct state *state, const struct greylist_limits *limits, size_t max, int64_t now_s);

#endif

/*
 * deliver_seen - what one delivery has been to: the filter against duplicates (duplicate_filter_limit).
 */
#ifndef DELIVER_DELIVER_SEEN_H
#define DELIVER_DELIVER_SEEN_H

#include "base/arena.h"

struct deliver_seen;

/* In the arena, which must live as long. limit: places that are remembered; 0 remembers all. NULL: out of
 * memory. */
struct deliver_seen *deliver_seen_new(struct arena *arena, size_t limit);
/* True when the place was named before; else remembers it, unless the limit is reached: then it may be
 * delivered to again, which is better than not at all. */
bool deliver_seen_before(struct deliver_seen *seen, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif

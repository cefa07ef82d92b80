/*
 * deliver_alias - what an entry of alias_maps (aliases(5)) leads to.
 */
#ifndef DELIVER_DELIVER_ALIAS_H
#define DELIVER_DELIVER_ALIAS_H

#include "base/arena.h"
#include "deliver/deliver_transport.h"

enum { DELIVER_ALIAS_LEAVES_MAX = 2000, DELIVER_ALIAS_DEPTH_MAX = 50 };

struct deliver_alias {
    struct bytes leaves[DELIVER_ALIAS_LEAVES_MAX]; /* addresses that are no local aliases; in the arena */
    size_t count;
    bool is_alias; /* the name has an entry */
    bool has_self; /* the expansion contains the name itself: its mailbox gets a copy */
};

/* Expands the local part `name` (lower case) recursively. 0; GW_ERR_TEMP with *why_r when a table cannot be
 * read or an entry cannot be followed (commands, files and :include: are not served here). */
int deliver_alias_expand(const struct deliver_transport *transport, struct arena *arena, struct bytes name,
                         struct deliver_alias *alias_r, const char **why_r);
/* The next item of an alias's right-hand side: separated by commas, "quoted" parts kept together. */
bool deliver_alias_next(struct bytes *rest, struct bytes *item_r);

#endif

/*
 * restriction_explain - restriction lists seen by a checker: their words one by one, and a set that can be
 * tried without asking the world.
 */
#ifndef POLICY_RESTRICTION_EXPLAIN_H
#define POLICY_RESTRICTION_EXPLAIN_H

#include "policy/restriction.h"

struct restriction_explained {
    struct bytes name;     /* as written; a bare "type:name" is its own argument */
    struct bytes argument; /* empty when it has none */
    const char
        *word; /* the word of the table, "check_table_access" for a bare table; NULL: unknown or a class */
    const char *advice; /* of a historical word; else NULL */
    bool is_class;
    bool is_table;    /* its argument is a lookup table */
    bool is_zone;     /* its argument is a DNS list */
    bool ends_list;   /* nothing behind it is ever reached */
    bool stops_relay; /* may be what keeps strangers from relaying */
};

/* false ends the walk. */
typedef bool restriction_explain_visitor(void *context, const struct restriction_explained *word);
/* The words of a list of this view, in order. Nothing is opened. Views are valid during the call. */
void restriction_explain(const struct config *view, const char *list, restriction_explain_visitor *visit,
                         void *context);
/* From now on the words of the set that ask DNS or another server say nothing, as if those were silent: what
 * the set then permits it permits whatever the world answers. */
void restriction_set_blind(struct restriction_set *set);

#endif

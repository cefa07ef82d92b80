/*
 * expand - $name and its kin in values: $(name), ${name}, ${name?text}, ${name:text}, ${name?{x}:{y}},
 * ${{a} == {b} ? {x} : {y}} (postconf(5)). Used by config/ and postconf.
 */
#ifndef CONFIG_EXPAND_H
#define CONFIG_EXPAND_H

#include "base/bytes.h"

/* Appends the expanded value of `name` to out. GW_ERR_NOTFOUND: no such name; it expands to nothing. Without
 * out the question is whether the name has a text, before expansion: 0 or GW_ERR_NOTFOUND. */
typedef int expand_lookup(void *context, struct bytes name, struct buf *out);

/* GW_ERR_SYNTAX: braces that do not close, an operator that is none; GW_ERR_LIMIT: too deep or too long.
 * why_r gets a line that says where; NULL: nobody asks. */
int expand_value(struct bytes text, expand_lookup *lookup, void *context, struct buf *out, struct buf *why_r);
/* Calls lookup for every name that the text refers to, also in the branches that its conditions do not take;
 * nothing is kept of the outcome. why_r gets a line for each mistake. */
int expand_scan(struct bytes text, expand_lookup *lookup, void *context, struct buf *why_r);

#endif

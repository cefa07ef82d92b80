/*
 * deliver_alias - entries of alias_maps (aliases(5)), whose rights they give, and the items of a list.
 */
#ifndef DELIVER_DELIVER_ALIAS_H
#define DELIVER_DELIVER_ALIAS_H

#include "deliver/deliver_local.h"

/* One table of alias_maps and who owns its file. */
struct deliver_alias_source {
    const char *spec;
    bool is_root;  /* root's, or of a type without a file: commands get default_privs */
    bool is_known; /* else the owner has no account, and its entries are not followed */
    struct deliver_user user;
};

/* Opens alias_maps and finds the owners of its files. A table that does not open makes local mail wait and is
 * told in the log. GW_ERR_NOMEM. */
int deliver_alias_open(struct deliver_local *local, const struct deliver_transport *transport,
                       struct buf *why);
void deliver_alias_close(struct deliver_local *local);

/* The right-hand side of name (lower case), in the arena, and its source. 0, GW_ERR_NOTFOUND; GW_ERR_TEMP was
 * said. */
int deliver_alias_find(struct deliver_run *run, struct bytes name, struct bytes *value_r,
                       const struct deliver_alias_source **source_r);
/* The next item of a list: "|command", "/file", ":include:/file" without the quotes around them, or an
 * address without quotes and name. They are separated by commas, addresses also by blanks. Lies in the list
 * or in the arena; false at the end. */
bool deliver_alias_next(struct arena *arena, struct bytes *rest, struct bytes *item_r);

#endif

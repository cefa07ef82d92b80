/*
 * header_rewrite - the fields of a message's header with other addresses, or without some of them.
 *
 * Only what changes is written anew: an address takes the place of another, and a line is folded where it
 * would get long by that; every other byte stays, so that signatures over fields that nobody had to touch
 * still hold.
 */
#ifndef MESSAGE_HEADER_REWRITE_H
#define MESSAGE_HEADER_REWRITE_H

#include "message/header_address.h"
#include "message/header_field.h"

/* kind: FIELD_HAS_SENDERS or FIELD_HAS_RECIPIENTS. 1: the other address is in out; 0: it stays; or an error.
 */
typedef int header_map_address(void *context, unsigned kind, const struct header_address *place,
                               struct bytes address, struct buf *out);

struct header_rules {
    header_map_address *map; /* NULL: addresses stay */
    void *context;
    unsigned drop;           /* bits: HEADER_FIELD_BIT of what is left out */
    const char *drop_others; /* more names, separated by commas and blanks; NULL: none */
    size_t field_limit;      /* longer fields stay as they are */
};

/* header: as many bytes of the message as its fields have (struct trace_summary: fields_end). 1: out holds
 * what takes its place; 0: nothing changes, out is as it was; GW_ERR_LIMIT, GW_ERR_NOMEM, or what map
 * returned. */
int header_rewrite(struct bytes header, const struct header_rules *rules, struct buf *out);

#endif

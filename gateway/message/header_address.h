/*
 * header_address - the addresses in a header field (RFC 5322 section 3.4 and 4.4), and where in it they
 * stand.
 *
 * Display names, comments, groups, quoted strings, folding, routes. What is no address stays unfound: two
 * words without a sign between them, an angle bracket without its partner.
 */
#ifndef MESSAGE_HEADER_ADDRESS_H
#define MESSAGE_HEADER_ADDRESS_H

#include "base/bytes.h"

struct header_address {
    size_t element;   /* offset in the value where its element begins, behind the comma and blanks */
    size_t from, to;  /* what another address would take the place of */
    bool is_one_name; /* in quotes and without a host: %, ! and @ in it mean nothing */
    bool has_route;   /* a source route stands in front */
    bool has_comment; /* inside from..to */
};

/* The next address behind *at, copied without quotes, comments and route into out; moves *at behind its
 * element. 1: one is there; 0: the end; GW_ERR_SYNTAX: an element that is no address, *at is behind it;
 * GW_ERR_LIMIT: longer than out may be, *at is at the end. */
int header_address_next(struct bytes value, size_t *at, struct header_address *address_r, struct buf *out);

#endif

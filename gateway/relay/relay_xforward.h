/*
 * relay_xforward - the client's facts for a content filter behind us: Postfix's XFORWARD command.
 */
#ifndef RELAY_RELAY_XFORWARD_H
#define RELAY_RELAY_XFORWARD_H

#include "message/envelope.h"

/* Bits of the attributes named in the server's "XFORWARD NAME ADDR ..." keyword. */
uint32_t relay_xforward_offered(struct bytes words);
/* Appends one "XFORWARD NAME=... ADDR=...\r\n" line with the attributes offered. */
int relay_xforward_append(struct buf *out, uint32_t offered, const struct envelope *envelope);
/* xtext (RFC 3461 section 4): what is not printable, "+" and "=" become "+XX". */
int relay_xforward_xtext(struct buf *out, struct bytes value);

#endif

/*
 * address - mail addresses and host names: parts, validity, quoting, and the addresses in header fields.
 *
 * Addresses are kept without quotes inside the program ("a b@x"), and get them back where they leave it (RFC
 * 5321 section 4.1.2). Before: smtp_command.c; after: routing, restrictions, DSN, the relay.
 */
#ifndef MESSAGE_ADDRESS_H
#define MESSAGE_ADDRESS_H

#include "base/bytes.h"

enum { ADDRESS_LABEL_MAX = 63, ADDRESS_HOSTNAME_MAX = 255 };

/* Splits at the last @. domain is empty when there is none. */
void address_split(struct bytes address, struct bytes *local_r, struct bytes *domain_r);
/* A host name as HELO, PTR and MX may carry: labels of letters, digits, hyphens and underscores (Postfix's
 * valid_hostname), not all digits and dots. UTF-8 labels pass. */
bool address_is_hostname(struct bytes name);
/* "[192.0.2.1]", "[IPv6:2001:db8::1]". */
bool address_is_literal(struct bytes name);
/* The name as DNS wants it: A-labels (IDNA 2008, RFC 5891), lower case, no final dot. GW_ERR_SYNTAX: not a
 * host name, or not one that IDNA allows; GW_ERR_NOMEM. */
int address_domain_to_ascii(struct bytes domain, char ascii_r[ADDRESS_HOSTNAME_MAX + 1]);
/* The name to ask DNS for: the same when it is ASCII, else its A-labels in ascii; one that has none stays as
 * it is, and no server will know it. */
const char *address_dns_name(const char *name, char ascii[ADDRESS_HOSTNAME_MAX + 1]);
/* Appends the address as it is written in MAIL FROM and RCPT TO: the local part in quotes when it must be.
 * GW_ERR_SYNTAX, and nothing appended: it holds a line end or NUL, or its domain could not stand in <>. */
int address_append_quoted(struct buf *out, struct bytes address);
/* The next mailbox address of a header field's value (RFC 5322 section 3.4: groups, display names, comments,
 * quoted strings). Moves *rest. 1: found, copied without quoting into out; 0: the end; GW_ERR_SYNTAX,
 * GW_ERR_LIMIT. */
int address_next_in_header(struct bytes *rest, struct buf *out);

#endif

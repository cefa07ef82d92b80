/*
 * trace - trace header fields (RFC 5321 section 4.4): the Received field we put on top, and counting those
 * there.
 */
#ifndef MESSAGE_TRACE_H
#define MESSAGE_TRACE_H

#include "message/envelope.h"
#include "message/header_field.h"

/* Appends our Received field, with CRLF, in Postfix's form. myhostname and mail_name as configured. The
 * recipient is named only when there is just one. */
int trace_received(struct buf *out, const struct envelope *envelope, const char *myhostname,
                   const char *mail_name);

/* What the header of a message says that the path needs to know. */
struct trace_summary {
    unsigned hops;           /* Received and Delivered-To fields, as Postfix counts them */
    struct bytes message_id; /* view; trimmed; empty when absent */
    unsigned seen;           /* bits: HEADER_FIELD_BIT of the fields that are there */
    size_t fields_end;       /* first byte behind the last field */
    size_t body_offset;      /* first byte of the body */
};
void trace_summarize(struct bytes content, struct trace_summary *summary_r);

#endif

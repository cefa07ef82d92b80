/*
 * relay_reply - one reply of an SMTP or LMTP server: code, enhanced status code, text (RFC 5321 section 4.2).
 */
#ifndef RELAY_RELAY_REPLY_H
#define RELAY_RELAY_REPLY_H

#include "base/bytes.h"

struct stream;

enum {
    RELAY_REPLY_LINE_MAX = 4096, /* bytes of one line; RFC 5321 says 512 */
    RELAY_REPLY_LINES_MAX = 200,
    RELAY_REPLY_TEXT_MAX = 4096, /* bytes kept of all lines; the rest is dropped */
};

struct relay_reply {
    int code;        /* 200 to 599 */
    char dsn[12];    /* "5.1.1" of the last line that has one, or "" */
    struct buf text; /* the lines with their codes, joined by blanks, printable */
};

typedef void relay_reply_line(void *context, struct bytes text); /* a line without its code */

void relay_reply_init(struct relay_reply *reply);
void relay_reply_free(struct relay_reply *reply);
/* Waits for a whole reply until the stream's deadline. line may be NULL. GW_ERR_PEER: not a reply; other
 * errors are the stream's. */
int relay_reply_read(struct stream *stream, struct relay_reply *reply, relay_reply_line *line, void *context);
/* One line "250-text": code_r, whether it is the last, and the text. GW_ERR_SYNTAX. */
int relay_reply_parse_line(struct bytes line, int *code_r, bool *last_r, struct bytes *text_r);
/* "5.1.1 text" -> "5.1.1"; "" when there is none (RFC 3463). */
void relay_reply_parse_dsn(struct bytes text, char dsn_r[12]);

#endif

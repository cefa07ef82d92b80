/*
 * relay_content - a message's content as DATA wants it: dots doubled at line starts, ended by CRLF "." CRLF.
 */
#ifndef RELAY_RELAY_CONTENT_H
#define RELAY_RELAY_CONTENT_H

#include "base/bytes.h"

struct stream;

typedef int relay_content_write(void *context, struct bytes v);

/* Where in the text a chunk begins. */
struct relay_content {
    relay_content_write *write;
    void *context;
    uint8_t last[2]; /* the two bytes before the next chunk; starts as CR LF */
};

void relay_content_begin(struct relay_content *content, relay_content_write *write, void *context);
/* Writes the chunk with dots doubled. Returns what write returned first that was not 0. */
int relay_content_put(struct relay_content *content, struct bytes chunk);
/* Writes the missing CRLF, if any, and the final dot. */
int relay_content_end(struct relay_content *content);

/* Sends `size` bytes of fd from offset 0 and the dot, and flushes; each piece may take timeout_ms. room: a
 * buffer for pieces. *read_failed_r: the error is of our content, not of the stream: the connection must be
 * dropped before a dot could end a cut message. */
int relay_content_send(struct stream *stream, int fd, uint64_t size, struct buf *room, int64_t timeout_ms,
                       bool *read_failed_r);
/* True when the header section (up to the first empty line) holds a byte over 127. GW_ERR_SYS when
 * unreadable. */
int relay_content_has_8bit_header(int fd, uint64_t size, struct buf *room, bool *has_r);

#endif

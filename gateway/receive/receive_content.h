/*
 * receive_content - the content of one message on its way into a sealed memfd.
 *
 * Collected in the thread's spool buffer; most messages fit, so they cost one write. On top stands our
 * Received field; lines end in CRLF. A message over the size limit is read to its end and thrown away. What
 * the path needs to know of the header (hops, Message-ID) is learned here.
 */
#ifndef RECEIVE_RECEIVE_CONTENT_H
#define RECEIVE_RECEIVE_CONTENT_H

#include "base/bytes.h"

struct content;
struct receive_session;

/* Begins with the Received field of the session's envelope. GW_ERR_NOMEM. */
int receive_content_new(struct receive_session *session, struct content **content_r);
void receive_content_free(struct content **content);
/* A piece of content (a dot_sink). Trouble is remembered and told by receive_content_finish(), so that the
 * rest of the data can still be read: always 0. */
int receive_content_add(void *content, struct bytes piece);
/* The same for BDAT chunks, whose bare LF become CRLF. */
int receive_content_add_chunk(struct content *content, struct bytes piece);
uint64_t receive_content_size(const struct content *content);
/* Seals what was collected, with its header as the client's context wants it, into session->content_fd. 0;
 * GW_ERR_LIMIT: over message_size_limit; GW_ERR_DENIED: too many hops; GW_ERR_TEMP: a table cannot tell;
 * GW_ERR_SYS, GW_ERR_NOMEM: could not be kept. */
int receive_content_finish(struct receive_session *session);

/* For building another memfd in front of this one. */
int receive_content_write(int fd, struct bytes v);
/* Bytes from..size-1 of from_fd. */
int receive_content_copy(int to_fd, int from_fd, uint64_t from, uint64_t size, uint8_t *spool);
int receive_content_seal(int fd);

#endif

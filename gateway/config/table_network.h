/*
 * table_network - question and answer over a kept connection, for the tables that ask a server (tcp,
 * socketmap). Private to config/table*.c.
 */
#ifndef CONFIG_TABLE_NETWORK_H
#define CONFIG_TABLE_NETWORK_H

#include "base/bytes.h"

enum { TABLE_ANSWER_MS = 20000, TABLE_DOWN_MS = 5000, TABLE_LINKS_MAX = 16 };

struct table_server;

/* "inet:host:port", "unix:/path"; without a type it is inet; without a host it is localhost. GW_ERR_CONFIG
 * with the reason. Nothing is connected yet. */
int table_server_new(struct bytes endpoint, size_t answer_max, struct table_server **server_r,
                     struct buf *error_r);
void table_server_free(struct table_server **server);

/* Looks at what has come: 1 done, *used_r bytes were the answer; 0 needs more; negative: not the protocol. */
typedef int table_server_reader(void *context, struct bytes come, size_t *used_r);

/* Sends and reads until the reader is done, within TABLE_ANSWER_MS. Thread-safe: each question has a
 * connection of its own while it lasts. A kept connection that turns out to be closed is replaced once. When
 * the server does not let itself be reached in time, it is not asked for TABLE_DOWN_MS. GW_ERR_* with the
 * reason in why_r. */
int table_server_ask(struct table_server *server, struct bytes question, table_server_reader *read,
                     void *context, struct buf *why_r);

#endif

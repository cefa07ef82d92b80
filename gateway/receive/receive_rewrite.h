/*
 * receive_rewrite - whose names the addresses in a client's header are (local_header_rewrite_clients), and
 * the edited header of a message.
 */
#ifndef RECEIVE_RECEIVE_REWRITE_H
#define RECEIVE_RECEIVE_REWRITE_H

#include "config/table.h"
#include "policy/route.h"

struct receive_session;

enum { REWRITE_CLIENTS_MAX = 32 };

/* One word of local_header_rewrite_clients. */
struct rewrite_client {
    bool (*is_it)(const struct receive_session *session, const struct rewrite_client *client);
    struct table *table; /* of check_address_map; NULL else */
};

struct rewrite_clients {
    struct rewrite_client list[REWRITE_CLIENTS_MAX];
    size_t count;
};

/* Opens the tables. GW_ERR_CONFIG; error_r: what is wrong. */
int receive_rewrite_open(const struct config *view, struct rewrite_clients *clients_r, struct buf *error_r);
void receive_rewrite_close(struct rewrite_clients *clients);
/* router_edit_header() for the message of the session; *out is empty before. */
int receive_rewrite_header(struct receive_session *session, struct bytes content,
                           const struct trace_summary *summary, struct buf *out, struct bytes *message_id_r);

#endif

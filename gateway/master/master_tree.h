/*
 * master_tree - the directories below queue_directory and data_directory, and one socket per edge of the role
 * graph.
 */
#ifndef MASTER_TREE_H
#define MASTER_TREE_H

#include "base/role.h"
#include "config/config.h"

enum { MASTER_EDGES_MAX = 64, MASTER_PATH_MAX = 4096 };

struct master_edge {
    enum role client, server;
    int fd; /* listening SEQPACKET socket, kept for all generations */
};

struct master_edges {
    struct master_edge items[MASTER_EDGES_MAX];
    size_t count;
};

/* Whether mail_owner may be what it is; as root only. 0, or GW_ERR_CONFIG with the reason. master_tree_make()
 * begins with it. */
int master_tree_check(const struct config *config, struct buf *why);
/* Makes what is missing: queue_directory (root's), pid/, public/, jail/ROLE/, data_directory (policy's user).
 * As root there must be a user for every role. 0, or an error with the reason in *why. */
int master_tree_make(const struct config *config, struct buf *why);
/* Binds jail/CLIENT/ipc/SERVER for every edge; only the client's user may connect. Call with the pid file's
 * lock held: leftovers of a dead master are removed. */
int master_tree_bind(const struct config *config, struct master_edges *edges_r, struct buf *why);
void master_tree_close(struct master_edges *edges);
/* jail/ROLE below queue_directory. */
int master_tree_jail(const struct config *config, enum role role, char path_r[MASTER_PATH_MAX]);

#endif

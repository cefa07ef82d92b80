/*
 * table_keeper - the process that asks, for a role in its jail, what the jail hides: databases, table
 * servers, Unix sockets, the users of the host. Postfix's proxymap, one per role.
 *
 * A role opens its tables, then role_start forks the keeper before the jail is entered: the keeper has the
 * same open tables, the role's user and no root privilege, but sees the file system and the network; it has
 * neither the role's listening sockets nor its stores. Several threads of the role can ask at once. When the
 * keeper dies it is forked again; until then, and whenever it does not answer in time, lookups are
 * GW_ERR_TEMP. In commands (postmap) nothing starts it, and tables are asked directly.
 */
#ifndef CONFIG_TABLE_KEEPER_H
#define CONFIG_TABLE_KEEPER_H

#include "config/table.h"

enum { TABLE_KEEPER_TABLES_MAX = 4096, TABLE_KEEPER_CHANNELS = 16 };

/* How long a lookup may keep its asker. A thread waits for one message's sake; an event loop would keep
 * everybody else, so it waits shortly and then leaves the table alone for a while: at worst it stands still
 * for LOOP_WAIT of every LOOP_WAIT + LOOP_REST and table. */
enum { TABLE_KEEPER_WAIT_MS = 25000, TABLE_KEEPER_LOOP_WAIT_MS = 2000, TABLE_KEEPER_LOOP_REST_MS = 20000 };

/* Private to config/table*.c. The slot of a table that the keeper shall look up; 0: none left or too late, it
 * is looked up in this process. */
unsigned table_keeper_add(struct table *table);
void table_keeper_remove(unsigned slot); /* 0 is fine */
bool table_keeper_is_running(void);
/* As table_find(); key folded already. Thread-safe; GW_ERR_TEMP after wait_ms of the request at the latest,
 * or at once while the table rests. */
int table_keeper_find(unsigned slot, struct bytes key, struct table_hit *hit);

struct table_keeper_request {
    const struct config *config;
    const char *role;                             /* for names of processes and log lines */
    const char *user;                             /* to become when started as root; NULL: stay */
    int (*open_log)(const struct config *config); /* called when all descriptors but keep_fd are closed */
    int keep_fd;                                  /* what open_log needs */
    int wait_ms;                                  /* for each lookup, with the wait for a channel */
    int rest_ms; /* after that long without an answer the table is "cannot tell" at once, so long; 0: never */
    bool detach; /* standard output and error are for the start only */
};

/* Forks the keeper when a table asked for one; call it before threads are started and before the jail. 0,
 * GW_ERR_SYS. */
int table_keeper_start(const struct table_keeper_request *request);

#endif

/*
 * deliver_spawn - programs that serve a port of master.cf, a process per connection (spawn(8)).
 */
#ifndef DELIVER_DELIVER_SPAWN_H
#define DELIVER_DELIVER_SPAWN_H

#include "config/role_start.h"

struct deliver_spawns;

/* Reads the rows whose sockets the role was given and starts a thread for each. A row that cannot be served
 * is told in the log, and its clients are hung up on. spawns_r is NULL when there is none. GW_ERR_NOMEM;
 * GW_ERR_SYS: a thread could not be started. */
int deliver_spawn_start(const struct role_start *start, struct deliver_spawns **spawns_r);
/* Returns when each thread has stopped accepting, after master closed the control socket, and its last
 * program has ended or was killed at its time limit. */
void deliver_spawn_wait(struct deliver_spawns **spawns);

#endif

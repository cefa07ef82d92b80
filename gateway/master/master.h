/*
 * master - the first process: binds, starts the roles, starts them again, replaces them at reload, ends them
 * in order.
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

/* `estafeta start|start-fg [-c DIR]`; argv[0] is the command word. Returns the exit status (sysexits).
 * roles_built: bit 1 << role for every role that this binary holds. */
int master_start(int argc, char **argv, unsigned roles_built);
/* `estafeta set-permissions [-c DIR]`: makes the directories and sets their owners. */
int master_set_permissions(int argc, char **argv);

#endif

/*
 * master_private - the state of master, shared by its files. One per process, on the stack of master_start().
 */
#ifndef MASTER_PRIVATE_H
#define MASTER_PRIVATE_H

#include "base/loop.h"
#include "base/role.h"
#include "master/master_process.h"

enum {
    MASTER_STAGES = 3, /* of an orderly end: those who bring work, those who keep it, those whom all ask */
    MASTER_WHY_MAX = 65536,
};

struct master;

/* One role: the process of the newest generation, and when to try again. */
struct master_slot {
    struct master *master;
    enum role role;
    bool is_exclusive; /* sole owner of a store: the old one must be gone before the new one starts */
    bool owns_group;   /* its children die with it */
    int stage;
    bool is_wanted;
    unsigned failures; /* in a row */
    struct loop_timer *restart_timer;
    struct master_process *newest;
};

struct master {
    const char *directory;
    bool in_foreground;
    unsigned roles_built;
    struct loop *loop;
    struct master_generation generation;
    struct master_edges edges;
    struct master_slot slots[ROLE_COUNT];
    size_t slot_count;
    struct master_process *processes; /* all that have not been waited for */
    int pid_fd;
    int notify_fd;    /* start: the waiting parent; -1 */
    bool is_starting; /* not all were ready yet, the first time */
    bool is_reloading;
    bool is_stopping;
    int stage;
    int exit_status;
    struct master_watch *watch; /* of table files */
};

/* master_roles.c */
void master_roles_init(struct master *master);
void master_roles_want(struct master *master);  /* from the generation's listeners and roles_built */
void master_roles_start(struct master *master); /* those wanted that do not run */
/* A new process of each role whose bit (1U << role) is set, from the generation in use. */
void master_roles_replace(struct master *master, unsigned roles);
void master_roles_stop(struct master *master, int exit_status);
void master_roles_kill(struct master *master);
void master_roles_reap(void *master); /* SIGCHLD */

/* master_generation.c */
/* Loads, checks, binds; on failure the generation in use is as it was and *why says what is wrong. `first`:
 * makes directories, takes the pid file and binds the edges, too. Returns sysexits, 0 when all went well. */
int master_generation_load(struct master *master, bool first, struct buf *why);
void master_generation_free(struct master_generation *generation);

/* master_watch.c */
/* Begins, or begins again for a new generation. 0, GW_ERR_NOMEM, GW_ERR_LIMIT (more tables than are watched).
 */
int master_watch_begin(struct master *master);
void master_watch_end(struct master *master);

/* master_service.c */
void master_service_ready(struct master *master); /* every role is ready */

#endif

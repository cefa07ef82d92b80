/*
 * master_process - one role as a process: started by fork and exec, told to drain, killed.
 */
#ifndef MASTER_PROCESS_H
#define MASTER_PROCESS_H

#include <sys/types.h>

#include "base/loop.h"
#include "base/role.h"
#include "config/config.h"
#include "master/master_listen.h"
#include "master/master_tree.h"

/* What a new process is given; belongs to master. */
struct master_generation {
    unsigned number;
    struct config *config;
    int config_fd; /* sealed */
    struct master_listeners listeners;
};

struct master_process {
    struct master_process *next; /* in master's list */
    enum role role;
    pid_t pid;
    int control_fd; /* closing it means: finish what you have and go */
    unsigned generation;
    unsigned missing; /* enum jail_missing, as the role reported */
    bool is_ready;
    bool is_draining;
    int64_t started_ms;
    struct loop_watch *watch;
    struct loop_timer *kill_timer;
    void *owner; /* master */
};

/* 0 and a process whose control socket the caller watches; GW_ERR_SYS, GW_ERR_LIMIT (too many listeners).
 * detach: it lets go of our standard error once it is ready. */
int master_process_start(const struct master_generation *generation, const struct master_edges *edges,
                         enum role role, bool detach, struct master_process **process_r);
/* Closes the control socket, once. */
void master_process_drain(struct loop *loop, struct master_process *process);
void master_process_free(struct loop *loop, struct master_process **process);
/* What it said. 1: something was read into the process, 0 nothing more, GW_ERR_EOF. */
int master_process_hear(struct master_process *process);

#endif

/*
 * deliver_transport - what one row of master.cf delivers by: its agent, its settings, its tables.
 *
 * An agent is one row of the table in deliver_transport.c and one file. Everything is opened once at the
 * start and shared by all threads.
 */
#ifndef DELIVER_DELIVER_TRANSPORT_H
#define DELIVER_DELIVER_TRANSPORT_H

#include "config/config.h"
#include "config/table.h"
#include "deliver/deliver_task.h"

struct deliver_pipe;
struct deliver_local;

struct deliver_transport {
    const char *name; /* of the row */
    const struct config_service *row;
    const struct config *view;
    const struct deliver_agent *agent;
    /* by agent; NULL where not used */
    struct table_list *mailboxes, *uids, *gids; /* virtual */
    struct deliver_local *local;                /* local */
    struct deliver_pipe *pipe;                  /* pipe */
};

struct deliver_agent {
    const char *program; /* column of master.cf */
    /* 0, or GW_ERR_CONFIG with the reason in why; NULL: nothing to open */
    int (*open)(const struct config *config, struct deliver_transport *transport, struct buf *why);
    /* Sets the outcome of every recipient. slot: number of the thread */
    void (*run)(const struct deliver_transport *transport, struct deliver_task *task, unsigned slot);
};

/* NULL: the program is not served here. */
const struct deliver_agent *deliver_transport_agent(const char *program);
int deliver_transport_new(const struct config *config, size_t service, struct deliver_transport **transport_r,
                          struct buf *why);
void deliver_transport_free(struct deliver_transport **transport);

/* SERVICE_time_limit in ms; command_time_limit when that is not set. */
int64_t deliver_transport_time_limit(const struct config *view, const char *service);

/* The agents' entries. */
int deliver_virtual_open(const struct config *config, struct deliver_transport *transport, struct buf *why);
void deliver_virtual_run(const struct deliver_transport *transport, struct deliver_task *task, unsigned slot);
int deliver_local_open(const struct config *config, struct deliver_transport *transport, struct buf *why);
void deliver_local_run(const struct deliver_transport *transport, struct deliver_task *task, unsigned slot);
void deliver_local_free(struct deliver_local **local);
int deliver_pipe_open(const struct config *config, struct deliver_transport *transport, struct buf *why);
void deliver_pipe_run(const struct deliver_transport *transport, struct deliver_task *task, unsigned slot);
void deliver_pipe_free(struct deliver_pipe **pipe);
void deliver_discard_run(const struct deliver_transport *transport, struct deliver_task *task, unsigned slot);
void deliver_error_run(const struct deliver_transport *transport, struct deliver_task *task, unsigned slot);

#endif

/*
 * master_listen - the TCP sockets that master.cf asks for: planned, then bound, then kept for every
 * generation.
 */
#ifndef MASTER_LISTEN_H
#define MASTER_LISTEN_H

#include "base/net.h"
#include "base/role.h"
#include "config/config.h"

enum { MASTER_LISTENERS_MAX = 128, MASTER_BACKLOG = 4096 };

struct master_listener {
    struct net_addr addr;
    int fd; /* -1 until bound */
    enum role role;
    int service;      /* row of master.cf */
    bool is_silenced; /* does not listen any more, because its place is needed */
    bool optional;    /* IPv6 that was not asked for by name: a host without it does without */
};

struct master_listeners {
    struct master_listener items[MASTER_LISTENERS_MAX];
    size_t count;
};

/* Reads every inet row whose program is smtpd or postscreen; host names are resolved, nothing is bound.
 * Column 1 is "port", "host:port" or "[address]:port"; without a host inet_interfaces decides. GW_ERR_CONFIG
 * with the reason. */
int master_listen_plan(const struct config *config, struct master_listeners *plan_r, struct buf *why);
/* Binds what `plan` names; what `held` has already moves over, and what nobody wants any more is closed. On
 * failure `held` is as it was. wait_ms: how long a port in use is tried again (the roles of a killed master
 * still end). */
int master_listen_bind(const struct config *config, struct master_listeners *plan,
                       struct master_listeners *held, int wait_ms, struct buf *why);
void master_listen_close(struct master_listeners *listeners);

#endif

/*
 * role - the processes of the gateway by name, and the graph of who may connect to whom.
 *
 * Read by master (which binds one socket per edge in the client's jail), by ipc (which knows from the socket
 * who is talking) and by the check that compares gateway/doc/privileges.md with this table.
 */
#ifndef BASE_ROLE_H
#define BASE_ROLE_H

#include <stdbool.h>
#include <stddef.h>

enum role {
    ROLE_NONE,
    ROLE_MASTER,
    ROLE_SCREEN,
    ROLE_RECEIVE,
    ROLE_SCAN,
    ROLE_POLICY,
    ROLE_QUEUE,
    ROLE_RELAY,
    ROLE_DELIVER,
    ROLE_RESOLVER,
    ROLE_CTL,    /* commands of the operator: mailq, estafeta why, quarantine ... */
    ROLE_SUBMIT, /* sendmail, run by any user of this machine */
    ROLE_COUNT
};

struct role_edge {
    enum role client;
    enum role server;
};

extern const struct role_edge ROLE_EDGES[]; /* ends with ROLE_NONE, ROLE_NONE */

const char *role_name(enum role role); /* "screen" ...; "none" when out of range */
enum role role_by_name(const char *name);
bool role_may_connect(enum role client, enum role server);

#endif

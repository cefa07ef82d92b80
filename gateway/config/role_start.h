/*
 * role_start - what every role does first: take over its descriptors, configuration and log, then enter its
 * jail.
 *
 * master runs `estafeta --role=NAME KIND:VALUE ...` with descriptor 3 = control socket, 4 = sealed
 * configuration, 5 = log file (or /dev/null), and from 6 on one descriptor per argument in order: inet:INDEX
 * (a listening socket of master.cf row INDEX), ipc:ROLE (a listening socket for callers of that role). The
 * working directory is the role's jail directory, in which ipc/SERVER are the sockets it may connect to.
 */
#ifndef CONFIG_ROLE_START_H
#define CONFIG_ROLE_START_H

#include "base/role.h"
#include "config/config.h"

enum { ROLE_CONTROL_FD = 3, ROLE_CONFIG_FD = 4, ROLE_LOG_FD = 5, ROLE_FIRST_FD = 6 };
enum { ROLE_LISTENERS_MAX = 128 + 16 }; /* all that master.cf may name, and those for other roles */

struct role_listener {
    int fd;
    int service;    /* row of master.cf for inet:, -1 for ipc: */
    enum role peer; /* for ipc: */
};

struct role_start {
    enum role role;
    struct config *config;
    struct role_listener listeners[ROLE_LISTENERS_MAX];
    size_t listener_count;
    bool detach; /* started by a daemon: standard error is for the start only */
};

/* In the environment of a role: sets role_start.detach. */
#define ROLE_DETACH "ESTAFETA_DETACH"

/* Parses the command line, unpacks the configuration, opens the log, ignores SIGPIPE. 0 or an error that was
 * logged. */
int role_start_begin(int argc, char **argv, struct role_start *start_r);
/* After everything that needs the outside was opened: enters the jail of the role (base/jail.h) and tells
 * master "ready" on the control socket. read_dirs/write_dirs: what stays reachable (NULL-terminated, may be
 * NULL). */
int role_start_ready(const struct role_start *start, const char *const *read_dirs,
                     const char *const *write_dirs);
/* For roles that must report ready after the jail was entered (scan): the two halves. */
int role_start_jail(const struct role_start *start, const char *const *read_dirs,
                    const char *const *write_dirs);
int role_start_tell_ready(void);

/* The user a role runs as when the gateway was started as root: "estafeta-ROLE" when there is one, else
 * mail_owner. NULL: stays root (deliver, which becomes each recipient, and ctl). GW_ERR_CONFIG: root without
 * any such user. */
int role_start_user(const struct config *config, enum role role, const char **user_r);

/* What a role writes on its control socket: one packet of a word and a bit set. */
enum { ROLE_SAYS_READY = 'R', ROLE_SAYS_JAILED = 'J' }; /* J: the bits are enum jail_missing */
struct role_word {
    uint32_t word;
    uint32_t bits;
};

/* master closes its end of the control socket to say "finish what you have and go": readable means drain. */

#endif

/*
 * role_start - see the header. Before: master's fork and exec; after: the role's own main.
 *
 * What a role believes of its start comes from master alone: the argument list and descriptors 3 and up. The
 * configuration must be a sealed memfd, so that nobody changes it under a running role. Anything unexpected
 * here is an error of our own start; it is logged and the role ends, master tries again with back-off.
 */
#include "config/role_start.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/ipc.h"
#include "base/jail.h"
#include "base/log.h"
#include "config/table_keeper.h"

/* Users of the roles; NULL stays root. Literals, so that a pointer to them outlives getpwnam(3). */
static const char *const USERS[ROLE_COUNT] = {
    [ROLE_SCREEN] = "estafeta-screen",
    [ROLE_RECEIVE] = "estafeta-receive",
    [ROLE_SCAN] = "estafeta-scan",
    [ROLE_POLICY] = "estafeta-policy",
    [ROLE_QUEUE] = "estafeta-queue",
    [ROLE_RELAY] = "estafeta-relay",
    [ROLE_DELIVER] = NULL,
    [ROLE_RESOLVER] = "estafeta-resolver",
};

int
role_start_user(const struct config *config, enum role role, const char **user_r)
{
    const char *own = (unsigned)role < ROLE_COUNT ? USERS[role] : NULL;
    const char *owner = config_str(config, P_mail_owner);

    *user_r = NULL;
    if (own == NULL) {
        return 0;
    }
    if (getpwnam(own) != NULL) {
        *user_r = own;
        return 0;
    }
    const struct passwd *shared = getpwnam(owner);
    if (shared == NULL || shared->pw_uid == 0) {
        return GW_ERR_CONFIG;
    }
    *user_r = owner;
    return 0;
}

/* "inet:3" or "ipc:receive". */
static int
parse_listener(const char *argument, struct role_listener *listener)
{
    struct bytes text = bytes_str(argument);
    uint64_t index;

    *listener = (struct role_listener){.fd = -1, .service = -1, .peer = ROLE_NONE};
    if (strncmp(argument, "inet:", 5) == 0) {
        if (bytes_to_u64(bytes_sub(text, 5, text.n), &index) != 0 || index >= CONFIG_SERVICES_MAX) {
            return GW_ERR_SYNTAX;
        }
        listener->service = (int)index;
        return 0;
    }
    if (strncmp(argument, "ipc:", 4) == 0) {
        listener->peer = role_by_name(argument + 4);
        return listener->peer != ROLE_NONE ? 0 : GW_ERR_SYNTAX;
    }
    return GW_ERR_SYNTAX;
}

static int
take_listeners(int argc, char **argv, struct role_start *start)
{
    for (int i = 2; i < argc; i++) {
        struct role_listener *listener = &start->listeners[start->listener_count];
        int fd = ROLE_FIRST_FD + i - 2;

        if (start->listener_count >= ROLE_LISTENERS_MAX || parse_listener(argv[i], listener) != 0) {
            log_error(role_name(start->role), "unexpected argument %s", argv[i]);
            return GW_ERR_SYNTAX;
        }
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) == -1) {
            log_error(role_name(start->role), "descriptor %d for %s: %s", fd, argv[i], strerror(errno));
            return GW_ERR_SYS;
        }
        listener->fd = fd;
        start->listener_count++;
    }
    return 0;
}

static int
take_config(struct role_start *start)
{
    struct stat st;
    int r = GW_ERR_INTERNAL;

    if (fstat(ROLE_CONFIG_FD, &st) == -1 || st.st_size <= 0 || !ipc_is_sealed(ROLE_CONFIG_FD)) {
        log_error(role_name(start->role),
                  "descriptor %d is not a sealed configuration; roles are started by master", ROLE_CONFIG_FD);
        return GW_ERR_CONFIG;
    }
    void *packed = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, ROLE_CONFIG_FD, 0);
    if (packed == MAP_FAILED) {
        log_error(role_name(start->role), "mmap of the configuration: %s", strerror(errno));
        return GW_ERR_SYS;
    }
    r = config_unpack(bytes_of(packed, (size_t)st.st_size), &start->config);
    (void)munmap(packed, (size_t)st.st_size);
    if (r != 0) {
        log_error(role_name(start->role), "the configuration of this generation cannot be read: %s",
                  gw_strerror(r));
        return r;
    }
    (void)close(ROLE_CONFIG_FD);
    return 0;
}

static int
open_log(const struct config *config)
{
    struct log_target target = {
        .syslog_name = config_str(config, P_syslog_name),
        .facility = config_str(config, P_syslog_facility),
        .file = config_str(config, P_maillog_file),
        .fd = ROLE_LOG_FD,
        .also_stderr = true, /* until ready: who started us sees why not */
    };

    return log_open(&target);
}

int
role_start_begin(int argc, char **argv, struct role_start *start_r)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    int r = GW_ERR_INTERNAL;

    *start_r = (struct role_start){.role = ROLE_NONE};
    if (argc < 2 || strncmp(argv[1], "--role=", 7) != 0) {
        log_error("master", "a role is started by master, not by hand: use estafeta start");
        return GW_ERR_SYNTAX;
    }
    start_r->role = role_by_name(argv[1] + 7);
    start_r->detach = getenv(ROLE_DETACH) != NULL;
    (void)unsetenv(ROLE_DETACH); /* not for programs that deliver starts */
    /* With TZ set, the C library reads the zone's file once; without, again and again, and in vain after
     * chroot. */
    if (setenv("TZ", ":/etc/localtime", 0) == -1 || sigaction(SIGPIPE, &ignore, NULL) == -1) {
        return GW_ERR_SYS;
    }
    (void)prctl(PR_SET_NAME, role_name(start_r->role), 0, 0, 0);
    for (int fd = ROLE_CONTROL_FD; fd < ROLE_FIRST_FD; fd++) {
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) == -1) {
            log_error(role_name(start_r->role), "descriptor %d is missing: use estafeta start", fd);
            return GW_ERR_SYS;
        }
    }
    if ((r = take_config(start_r)) != 0 || (r = take_listeners(argc, argv, start_r)) != 0) {
        goto out;
    }
    if ((r = open_log(start_r->config)) != 0) {
        log_error(role_name(start_r->role), "cannot open the log: %s", strerror(errno));
        goto out;
    }
    clock_shift_wall(config_int(start_r->config, P_test_clock_offset));
    r = 0;
out:
    if (r != 0) {
        config_free(&start_r->config);
    }
    return r;
}

static int
tell_master(uint32_t word, uint32_t bits)
{
    struct role_word packet = {.word = word, .bits = bits};

    while (send(ROLE_CONTROL_FD, &packet, sizeof(packet), MSG_NOSIGNAL) == -1) {
        if (errno == EPIPE || errno == ECONNRESET) {
            return 0; /* told to go before we had come: the drain that follows sees the same */
        }
        if (errno != EINTR) {
            return GW_ERR_SYS;
        }
    }
    return 0;
}

int
role_start_tell_ready(void)
{
    return tell_master(ROLE_SAYS_READY, 0);
}

/* Roles whose lookups happen in their one event loop. */
static bool
is_loop(enum role role)
{
    return role == ROLE_QUEUE || role == ROLE_SCREEN;
}

/* Tables that the jail would cut off from what they ask. A role that stays root asks as mail_owner. */
static int
start_keeper(const struct role_start *start, const char *user)
{
    struct table_keeper_request request = {
        .config = start->config,
        .role = role_name(start->role),
        .user = user != NULL && user[0] != '\0' ? user : config_str(start->config, P_mail_owner),
        .open_log = open_log,
        .keep_fd = ROLE_LOG_FD,
        .wait_ms = is_loop(start->role) ? TABLE_KEEPER_LOOP_WAIT_MS : TABLE_KEEPER_WAIT_MS,
        .rest_ms = is_loop(start->role) ? TABLE_KEEPER_LOOP_REST_MS : 0,
        .detach = start->detach,
    };
    int r = table_keeper_start(&request);

    if (r != 0) {
        log_error(request.role, "cannot start the process for lookups: %s", strerror(errno));
    }
    return r;
}

int
role_start_jail(const struct role_start *start, const char *const *read_dirs, const char *const *write_dirs)
{
    struct jail_request request = {
        .role = start->role,
        .root = ".", /* master chose the working directory: jail/ROLE below queue_directory */
        .read_dirs = read_dirs,
        .write_dirs = write_dirs,
        .strict = true,
    };
    const char *name = role_name(start->role);
    unsigned missing = 0;
    int r;

    if (geteuid() == 0 && (r = role_start_user(start->config, start->role, &request.user)) != 0) {
        log_error(name,
                  "started as root, but there is neither a user estafeta-%s nor mail_owner = %s: create one",
                  name, config_str(start->config, P_mail_owner));
        return r;
    }
    if ((r = start_keeper(start, request.user)) != 0) {
        return r;
    }
    if ((r = jail_enter(&request, &missing)) != 0) {
        log_error(name, "cannot enter the jail: %s: %s", gw_strerror(r), strerror(errno));
        return r;
    }
    log_stderr(false);
    if (start->detach) {
        (void)dup2(STDIN_FILENO, STDOUT_FILENO); /* standard input is /dev/null */
        (void)dup2(STDIN_FILENO, STDERR_FILENO);
    }
    return tell_master(ROLE_SAYS_JAILED, missing);
}

int
role_start_ready(const struct role_start *start, const char *const *read_dirs, const char *const *write_dirs)
{
    int r = role_start_jail(start, read_dirs, write_dirs);

    return r != 0 ? r : role_start_tell_ready();
}

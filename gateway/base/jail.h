/*
 * jail - gives away what a role does not need: user, root directory, system calls, files, resources.
 *
 * Started as root: setgroups, setresgid, setresuid, chroot, no_new_privs, seccomp allow-list, rlimits,
 * Landlock where the kernel has it. Started by an ordinary user: what works without root; jail_enter() tells
 * which protections are off, master says so once. The table of who gets what is gateway/doc/privileges.md,
 * checked against JAIL_PROFILES.
 */
#ifndef BASE_JAIL_H
#define BASE_JAIL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/role.h"

enum jail_missing { JAIL_NO_USER = 1, JAIL_NO_CHROOT = 2, JAIL_NO_SECCOMP = 4, JAIL_NO_LANDLOCK = 8 };

/* What a role may do after the jail; the system calls behind each are in jail_calls.c. Every role with a
 * filter has: memory, threads, time, descriptors it holds, Unix sockets, memfds, opening files for reading
 * (where chroot and Landlock leave any). */
enum jail_right {
    JAIL_WRITE_FILES = 1, /* open for writing, create, rename, remove */
    JAIL_NETWORK = 2,     /* new IPv4 and IPv6 sockets */
    JAIL_FORK = 4,        /* processes of its own, waiting for them, signals to them */
    JAIL_CODE = 8,        /* executable memory: just-in-time compilers of PCRE2 and libclamav */
    JAIL_UNFILTERED =
        16, /* no filter and no Landlock: runs the administrator's programs, which would inherit both */
};

struct jail_profile {
    enum role role;
    unsigned rights;
    bool chroot;          /* enters request->root when started as root */
    unsigned descriptors; /* RLIMIT_NOFILE, at most; 0 leaves it */
};

/* One row per role that enters a jail; ends with ROLE_NONE. */
extern const struct jail_profile JAIL_PROFILES[];

struct jail_request {
    enum role role;
    const char *user;             /* NULL or "": stay who we are */
    const char *root;             /* directory to chroot to; NULL: none */
    const char *const *read_dirs; /* Landlock: may be read; NULL-terminated or NULL */
    const char *const *write_dirs;
    bool strict; /* an unavailable protection is an error when started as root */
};

/* Enters the jail of the role. *missing_r: protections that are off. 0, GW_ERR_SYS, GW_ERR_CONFIG (no such
 * user). Call it before threads are started: Landlock binds only the calling thread and those it starts.
 * After chroot the working directory is the new root. */
int jail_enter(const struct jail_request *request, unsigned *missing_r);

/* The seccomp part (jail_calls.c). 0, or GW_ERR_SYS: the kernel has no filters. */
int jail_calls_filter(unsigned rights);
/* The Landlock part (jail_landlock.c). 0, or GW_ERR_SYS: the kernel has none or it is switched off. */
int jail_landlock_restrict(unsigned rights, const char *const *read_dirs, const char *const *write_dirs);

#endif

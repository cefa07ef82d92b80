/*
 * jail - gives away what a role does not need: user, root directory, system calls, files, resources.
 *
 * Started as root: setgroups, setresgid, setresuid, chroot, no_new_privs, seccomp allow-list, rlimits, Landlock where
 * the kernel has it. Started by an ordinary user: what works without root; jail_enter() tells which protections are
 * off, master says so once. The table of who gets what is gateway/doc/privileges.md, checked against JAIL_PROFILES.
 */
#ifndef BASE_JAIL_H
#define BASE_JAIL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/role.h"

enum jail_missing { JAIL_NO_USER = 1, JAIL_NO_CHROOT = 2, JAIL_NO_SECCOMP = 4, JAIL_NO_LANDLOCK = 8 };

struct jail_request {
    enum role role;
    const char *user;             /* NULL or "": stay who we are */
    const char *root;             /* directory to chroot to; NULL: none */
    const char *const *read_dirs; /* Landlock: may be read; NULL-terminated or NULL */
    const char *const *write_dirs;
    bool strict; /* an unavailable protection is an error when started as root */
};

/* Enters the jail of the role. *missing_r: protections that are off. 0, GW_ERR_SYS, GW_ERR_CONFIG (no such user). */
int jail_enter(const struct jail_request *request, unsigned *missing_r);

#endif

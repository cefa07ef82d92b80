/*
 * jail - see the header. Before: role_start, once everything a role needs is open. After: nothing undoes it.
 *
 * Order: files that need the old root are opened for Landlock, limits are set, then chroot, groups, group,
 * user (each needs what the next takes away), then Landlock, and the system call filter last because it
 * forbids all of the above. A step that fails leaves the process more privileged than asked: the caller must
 * exit then.
 */
#include "base/jail.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"

enum { MANY_DESCRIPTORS = 65536, SOME_DESCRIPTORS = 16384, FEW_DESCRIPTORS = 4096 };

const struct jail_profile JAIL_PROFILES[] = {
    /* role          rights                                          chroot  descriptors */
    {ROLE_SCREEN, 0, true, MANY_DESCRIPTORS},
    {ROLE_RECEIVE, JAIL_NETWORK, true, SOME_DESCRIPTORS}, /* milters, policy services, before-queue filters */
    {ROLE_SCAN, JAIL_NETWORK | JAIL_WRITE_FILES | JAIL_FORK | JAIL_CODE, false, FEW_DESCRIPTORS},
    {ROLE_POLICY, 0, true, SOME_DESCRIPTORS},
    {ROLE_QUEUE, 0, true, SOME_DESCRIPTORS},
    {ROLE_RELAY, JAIL_NETWORK, true, SOME_DESCRIPTORS},
    {ROLE_DELIVER, JAIL_UNFILTERED, false, FEW_DESCRIPTORS},
    {ROLE_RESOLVER, JAIL_NETWORK, true, FEW_DESCRIPTORS},
    {ROLE_NONE, 0, false, 0},
};

static const struct jail_profile *
find_profile(enum role role)
{
    for (const struct jail_profile *profile = JAIL_PROFILES; profile->role != ROLE_NONE; profile++) {
        if (profile->role == role) {
            return profile;
        }
    }
    return NULL;
}

/* As many descriptors as the profile allows and the system grants; no core files, which would hold mail and
 * keys. */
static int
set_limits(const struct jail_profile *profile)
{
    struct rlimit none = {0, 0}, files;

    if (setrlimit(RLIMIT_CORE, &none) == -1 || getrlimit(RLIMIT_NOFILE, &files) == -1) {
        return GW_ERR_SYS;
    }
    if (profile->descriptors > 0) {
        if (files.rlim_max > profile->descriptors || geteuid() == 0) {
            files.rlim_max = profile->descriptors;
        }
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files) == -1 && errno != EPERM) {
            return GW_ERR_SYS;
        }
    }
    return 0;
}

static int
enter_root(const char *root)
{
    return chroot(root) == -1 || chdir("/") == -1 ? GW_ERR_SYS : 0;
}

static int
become(const struct passwd *user, const char *name)
{
    if (initgroups(name, user->pw_gid) == -1) {
        return GW_ERR_SYS;
    }
    return 0;
}

static int
drop_user(uid_t uid, gid_t gid)
{
    if (setresgid(gid, gid, gid) == -1 || setresuid(uid, uid, uid) == -1) {
        return GW_ERR_SYS;
    }
    if (uid != 0 && (setuid(0) != -1 || geteuid() == 0)) {
        errno = EPERM; /* there is a way back: not a jail */
        return GW_ERR_SYS;
    }
    return 0;
}

/* What only root can do. The user's groups are read before the root directory with /etc/group is gone. */
static int
drop_root(const struct jail_request *request, const struct jail_profile *profile, unsigned *missing)
{
    bool has_user = request->user != NULL && request->user[0] != '\0';
    bool wants_root = profile->chroot && request->root != NULL;
    uid_t uid = 0;
    gid_t gid = 0;
    int r;

    if (geteuid() != 0) {
        *missing |= (has_user ? (unsigned)JAIL_NO_USER : 0U) | (wants_root ? (unsigned)JAIL_NO_CHROOT : 0U);
        return 0;
    }
    if (has_user) {
        errno = 0;
        const struct passwd *user = getpwnam(request->user);

        if (user == NULL) {
            return errno == 0 || errno == ENOENT ? GW_ERR_CONFIG : GW_ERR_SYS;
        }
        uid = user->pw_uid;
        gid = user->pw_gid;
        if ((r = become(user, request->user)) != 0) {
            return r;
        }
    }
    if (wants_root && (r = enter_root(request->root)) != 0) {
        return r;
    }
    return has_user ? drop_user(uid, gid) : 0;
}

int
jail_enter(const struct jail_request *request, unsigned *missing_r)
{
    const struct jail_profile *profile = find_profile(request->role);
    bool was_root = geteuid() == 0;
    unsigned missing = 0;
    int r;

    *missing_r = 0;
    if (profile == NULL) {
        return GW_ERR_CONFIG;
    }
    if ((r = set_limits(profile)) != 0 || (r = drop_root(request, profile, &missing)) != 0) {
        return r;
    }
    if ((profile->rights & JAIL_UNFILTERED) == 0) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1) {
            return GW_ERR_SYS;
        }
        if (jail_landlock_restrict(profile->rights, request->read_dirs, request->write_dirs) != 0) {
            missing |= JAIL_NO_LANDLOCK;
        }
        if (jail_calls_filter(profile->rights) != 0) {
            missing |= JAIL_NO_SECCOMP;
        }
    }
    /* Landlock is a second wall behind chroot and users: kernels of Debian 12 may lack it. */
    if (request->strict && was_root && (missing & ~(unsigned)JAIL_NO_LANDLOCK) != 0) {
        return GW_ERR_SYS;
    }
    *missing_r = missing;
    return 0;
}

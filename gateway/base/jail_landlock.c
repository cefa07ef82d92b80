/*
 * jail_landlock - files below named directories only, and no TCP for roles without network, by Landlock.
 *
 * Before: jail.c. The rights the kernel knows depend on its version, asked at run time; structures and
 * numbers are written out here because Debian 12's headers describe the first version only. Directories that
 * do not exist (inside a chroot most do not) are left out.
 */
#include "base/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

/* struct landlock_ruleset_attr as of version 4. */
struct ruleset {
    uint64_t files;
    uint64_t network;
};

enum { VERSION_WITH_NETWORK = 4, RULESET_SIZE_FIRST = 8 };

static const uint64_t READ_RIGHTS = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
static const uint64_t WRITE_RIGHTS =
    LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_WRITE_FILE |
    LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
    LANDLOCK_ACCESS_FS_MAKE_SYM | 1ULL << 13 /* refer */
    | 1ULL << 14 /* truncate */;
static const uint64_t FILE_ONLY = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | 1ULL << 14;

/* All file rights the version knows: 13 in version 1, then refer, truncate, and (5) ioctl on devices. */
static uint64_t
known_rights(long version)
{
    unsigned bits = version >= 5 ? 16 : version >= 3 ? 15 : version == 2 ? 14 : 13;

    return (1ULL << bits) - 1;
}

/* What libraries open when they feel like it: time zones, CA files, name service, entropy. */
static const char *const ALWAYS_READ[] = {
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/usr/lib",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/gai.conf",
    "/dev/null",
    "/dev/urandom",
    "/proc",
    NULL,
};

static int
allow_below(int ruleset, const char *path, uint64_t rights)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = rights};

    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd == -1) {
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : GW_ERR_SYS;
    }
    long rc = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    if (rc == -1 && errno == EINVAL) {
        rule.allowed_access &= FILE_ONLY; /* a file, not a directory */
        rc = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    }
    (void)close(rule.parent_fd);
    return rc == -1 ? GW_ERR_SYS : 0;
}

static int
allow_all(int ruleset, const char *const *paths, uint64_t rights)
{
    int r = 0;

    for (size_t i = 0; r == 0 && paths != NULL && paths[i] != NULL; i++) {
        r = allow_below(ruleset, paths[i], rights);
    }
    return r;
}

int
jail_landlock_restrict(unsigned rights, const char *const *read_dirs, const char *const *write_dirs)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    int r = GW_ERR_SYS;

    if (version < 1) {
        return GW_ERR_SYS;
    }
    uint64_t known = known_rights(version);
    struct ruleset attributes = {.files = known};
    bool has_network = version >= VERSION_WITH_NETWORK;
    if (has_network && (rights & JAIL_NETWORK) == 0) {
        attributes.network = 3; /* bind and connect of TCP: no rule allows any port */
    }
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes,
                               has_network ? sizeof(attributes) : (size_t)RULESET_SIZE_FIRST, 0);
    if (ruleset == -1) {
        return GW_ERR_SYS;
    }
    if (allow_all(ruleset, ALWAYS_READ, READ_RIGHTS & known) == 0 &&
        allow_all(ruleset, read_dirs, READ_RIGHTS & known) == 0 &&
        allow_all(ruleset, write_dirs, WRITE_RIGHTS & known) == 0 &&
        syscall(SYS_landlock_restrict_self, ruleset, 0) == 0) {
        r = 0;
    }
    (void)close(ruleset);
    return r;
}

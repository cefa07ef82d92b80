/*
 * scan_temporary - see the header. Before: scan_service.c, still with the rights it was started with.
 *
 * A directory is in use as long as somebody holds the lock on it, so what a killed process left is told from
 * what another instance uses. It is locked under another name before it gets the one that is looked for.
 * Everything below is removed by descriptor: what stands in a directory of a less trusted user may be a link
 * to anywhere.
 */
#include "scanners/scan_temporary.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "config/role_start.h"

enum { DEPTH_MAX = 64 };

static const char PREFIX[] = "estafeta-scan-";

static void
empty_directory(int fd, int depth)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    DIR *dir = copy != -1 ? fdopendir(copy) : NULL;
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            unlinkat(fd, entry->d_name, 0) == 0 || depth >= DEPTH_MAX) {
            continue;
        }
        int below = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (below != -1) {
            empty_directory(below, depth + 1);
            (void)close(below);
            (void)unlinkat(fd, entry->d_name, AT_REMOVEDIR);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    } else if (copy != -1) {
        (void)close(copy);
    }
}

static int
worker_path(int pid, char out[SCAN_PATH_MAX])
{
    const char *parent = getenv("TMPDIR");
    int n = parent == NULL ? -1 : snprintf(out, SCAN_PATH_MAX, "%s/worker-%d", parent, pid);

    return n > 0 && n < SCAN_PATH_MAX ? 0 : GW_ERR_SYS;
}

int
scan_temporary_enter_worker(void)
{
    char path[SCAN_PATH_MAX];

    return worker_path((int)getpid(), path) == 0 && mkdir(path, 0700) == 0 && setenv("TMPDIR", path, 1) == 0
               ? 0
               : GW_ERR_SYS;
}

void
scan_temporary_forget_worker(int pid)
{
    char path[SCAN_PATH_MAX];
    int fd = worker_path(pid, path) == 0 ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;

    if (fd != -1) {
        empty_directory(fd, 0);
        (void)close(fd);
        (void)rmdir(path);
    }
}

/* Removes one directory that nobody holds: ours with all that is in it, and root anybody's that is empty,
 * because under a mount of its own each run leaves one. */
static void
remove_stale(int parent, const char *name, uid_t owner)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd == -1) {
        return;
    }
    if (fstat(fd, &st) == 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        if (st.st_uid == owner || st.st_uid == geteuid()) {
            empty_directory(fd, 0);
        }
        (void)unlinkat(parent, name, AT_REMOVEDIR);
    }
    (void)close(fd);
}

static void
remove_all_stale(const char *path, uid_t owner)
{
    DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, PREFIX, sizeof(PREFIX) - 1) == 0) {
            remove_stale(dirfd(dir), entry->d_name, owner);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
}

/* Whom the role will be. */
static int
find_owner(const struct config *config, uid_t *uid_r, gid_t *gid_r)
{
    const char *user = NULL;
    const struct passwd *entry = NULL;

    *uid_r = geteuid();
    *gid_r = getegid();
    if (geteuid() != 0 || role_start_user(config, ROLE_SCAN, &user) != 0 || user == NULL) {
        return 0;
    }
    if ((entry = getpwnam(user)) == NULL) {
        return GW_ERR_CONFIG;
    }
    *uid_r = entry->pw_uid;
    *gid_r = entry->pw_gid;
    return 0;
}

static int
make_locked(const char *parent, uid_t uid, gid_t gid, struct scan_temporary *temporary)
{
    char fresh[SCAN_PATH_MAX];

    if (snprintf(fresh, sizeof(fresh), "%s/estafeta-new-XXXXXX", parent) >= (int)sizeof(fresh)) {
        errno = ENAMETOOLONG;
        return GW_ERR_SYS;
    }
    if (mkdtemp(fresh) == NULL) {
        return GW_ERR_SYS;
    }
    temporary->lock_fd = open(fresh, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    (void)snprintf(temporary->path, sizeof(temporary->path), "%s/%s%s", parent, PREFIX,
                   fresh + strlen(fresh) - strlen("XXXXXX"));
    if (temporary->lock_fd == -1 || flock(temporary->lock_fd, LOCK_EX | LOCK_NB) == -1 ||
        fchown(temporary->lock_fd, uid, gid) == -1 || rename(fresh, temporary->path) == -1) {
        int error = errno;

        (void)rmdir(fresh);
        errno = error;
        temporary->path[0] = '\0';
        return GW_ERR_SYS;
    }
    return 0;
}

/* A bomb then fills this file system, not the one that the queue's memfds and other programs share. */
static bool
mount_own(const struct config *config, const char *path, uid_t uid, gid_t gid)
{
    char options[128];

    (void)snprintf(options, sizeof(options), "size=%lld,mode=0700,uid=%u,gid=%u",
                   (long long)config_int(config, P_scan_temporary_size_limit), (unsigned)uid, (unsigned)gid);
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) == 0;
}

int
scan_temporary_make(const struct config *config, struct scan_temporary *temporary_r)
{
    const char *parent = config_str(config, P_scan_temporary_directory);
    uid_t uid;
    gid_t gid;

    *temporary_r = (struct scan_temporary){.lock_fd = -1};
    if (find_owner(config, &uid, &gid) != 0) {
        log_error("scan", "the user of the scan role is not known here");
        return GW_ERR_CONFIG;
    }
    remove_all_stale(parent, uid);
    if (make_locked(parent, uid, gid, temporary_r) != 0) {
        log_error("scan", "scan_temporary_directory = %s: %s; name a writable tmpfs", parent,
                  strerror(errno));
        return GW_ERR_SYS;
    }
    if (geteuid() == 0) {
        temporary_r->own_mount = mount_own(config, temporary_r->path, uid, gid);
        if (!temporary_r->own_mount) {
            log_info("scan", "%s has no size limit of its own: %s", temporary_r->path, strerror(errno));
        }
    }
    return setenv("TMPDIR", temporary_r->path, 1) == 0 ? 0 : GW_ERR_SYS;
}

void
scan_temporary_remove(struct scan_temporary *temporary)
{
    if (temporary->path[0] == '\0') {
        return;
    }
    if (!temporary->own_mount) {
        empty_directory(temporary->lock_fd, 0);
    } else if (geteuid() == 0) { /* the start failed: still with the rights for it */
        (void)umount2(temporary->path, MNT_DETACH);
    }
    /* Below a mount that can no longer be taken away this fails, and the next start removes the empty
     * directory. */
    (void)rmdir(temporary->path);
    (void)close(temporary->lock_fd);
    temporary->path[0] = '\0';
    temporary->lock_fd = -1;
}

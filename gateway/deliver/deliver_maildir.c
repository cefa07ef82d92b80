/*
 * deliver_maildir - see the header. Before: deliver_virtual.c, deliver_local.c, through deliver_owner.c;
 * after: the user's mail reader.
 *
 * tmp/ is written and synced, then linked into new/ under a unique name, then new/ is synced: only after that
 * is the message delivered. A crash before leaves at most a file in tmp/, which readers delete after 36
 * hours, and the queue delivers again. link(2) instead of rename(2): it never replaces a message that is
 * there.
 */
#include "deliver/deliver_maildir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

enum { MAILDIR_MODE = 0700, FILE_MODE = 0600, NAME_ROOM = 512 };

/* Makes every missing directory of path (up to its last '/'). */
static int
make_directories(const char *path)
{
    char part[PATH_MAX];

    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        if ((size_t)(slash - path) >= sizeof(part)) {
            errno = ENAMETOOLONG;
            return GW_ERR_SYS;
        }
        memcpy(part, path, (size_t)(slash - path));
        part[slash - path] = '\0';
        if (mkdir(part, MAILDIR_MODE) == -1 && errno != EEXIST) {
            return GW_ERR_SYS;
        }
    }
    return 0;
}

static int
make_maildir(const char *path)
{
    static const char *const FOLDERS[] = {"tmp/", "new/", "cur/"};
    char folder[PATH_MAX];

    for (size_t i = 0; i < sizeof(FOLDERS) / sizeof(FOLDERS[0]); i++) {
        if ((size_t)snprintf(folder, sizeof(folder), "%s%s", path, FOLDERS[i]) >= sizeof(folder)) {
            errno = ENAMETOOLONG;
            return GW_ERR_SYS;
        }
        if (make_directories(folder) != 0) {
            return GW_ERR_SYS;
        }
    }
    return 0;
}

/* '/' and ':' have a meaning in Maildir names. */
static void
safe_hostname(const char *hostname, char *out, size_t size)
{
    size_t n = 0;

    for (; *hostname != '\0' && n + 5 < size; hostname++) {
        if (*hostname == '/' || *hostname == ':') {
            n += (size_t)snprintf(out + n, size - n, "\\%03o", (unsigned)(unsigned char)*hostname);
        } else {
            out[n++] = *hostname;
        }
    }
    out[n] = '\0';
}

static int
open_temporary(const struct deliver_maildir *maildir, const char *host, const struct timespec *now,
               char *path, size_t size)
{
    if ((size_t)snprintf(path, size, "%stmp/%lld.P%ldQ%uM%ld.%s", maildir->path, (long long)now->tv_sec,
                         (long)getpid(), maildir->serial, now->tv_nsec / 1000, host) >= size) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd == -1 && errno == ENOENT && make_maildir(maildir->path) == 0) {
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    }
    return fd;
}

static int
sync_directory(const char *maildir, const char *folder)
{
    char path[PATH_MAX];

    if ((size_t)snprintf(path, sizeof(path), "%s%s", maildir, folder) >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return GW_ERR_SYS;
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd == -1) {
        return GW_ERR_SYS;
    }
    int r = fsync(fd) == -1 ? GW_ERR_SYS : 0;
    (void)close(fd);
    return r;
}

/* Device and inode make the name unique on this host (Postfix's form). */
static int
publish(const struct deliver_maildir *maildir, const char *host, const struct timespec *now, int fd,
        const char *from)
{
    char path[PATH_MAX];
    struct stat st;

    if (fstat(fd, &st) == -1) {
        return GW_ERR_SYS;
    }
    if ((size_t)snprintf(path, sizeof(path), "%snew/%lld.V%llxI%llxM%ld.%s", maildir->path,
                         (long long)now->tv_sec, (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
                         now->tv_nsec / 1000, host) >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return GW_ERR_SYS;
    }
    if (link(from, path) == -1 &&
        (errno != ENOENT || make_maildir(maildir->path) != 0 || link(from, path) == -1)) {
        return GW_ERR_SYS;
    }
    if (sync_directory(maildir->path, "new") != 0) {
        int error = errno;

        (void)unlink(path); /* not durable, so not delivered; the next attempt must not make a second copy */
        errno = error;
        return GW_ERR_SYS;
    }
    return 0;
}

void
deliver_maildir_store(void *context, struct deliver_outcome *outcome)
{
    const struct deliver_maildir *maildir = context;
    char host[NAME_ROOM];
    char path[PATH_MAX];
    struct timespec now;

    safe_hostname(maildir->hostname, host, sizeof(host));
    (void)clock_gettime(CLOCK_REALTIME, &now);
    int fd = open_temporary(maildir, host, &now, path, sizeof(path));

    if (fd == -1) {
        (void)deliver_outcome_errno(outcome, "create a file in maildir", maildir->path);
        return;
    }
    if (deliver_writer_copy(maildir->message, fd) != 0 || fsync(fd) == -1) {
        (void)deliver_outcome_errno(outcome, "write to maildir", maildir->path);
    } else if (publish(maildir, host, &now, fd, path) != 0) {
        (void)deliver_outcome_errno(outcome, "deliver to maildir", maildir->path);
    } else {
        deliver_outcome_set(outcome, DELIVERY_SENT, "2.0.0", "delivered to maildir");
    }
    (void)close(fd);
    (void)unlink(path);
}

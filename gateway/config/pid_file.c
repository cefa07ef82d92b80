/*
 * pid_file - see the header. Before: master's start, the commands stop, reload, status. After: signals to the
 * holder.
 *
 * A POSIX record lock and not flock(2): F_GETLK names the holder, which is how the commands find it.
 */
#include "config/pid_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

enum { PID_PATH_MAX = 4096, PID_TEXT_MAX = 32 };

static const char DEFAULT_DIRECTORY[] = "/etc/postfix";

static int
make_path(const struct config *config, char path[PID_PATH_MAX])
{
    int n = snprintf(path, PID_PATH_MAX, "%s/%s/master.pid", config_str(config, P_queue_directory),
                     config_str(config, P_process_id_directory));

    return n > 0 && n < PID_PATH_MAX ? 0 : GW_ERR_LIMIT;
}

static int
find_holder(int fd, pid_t *holder_r)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fcntl(fd, F_GETLK, &lock) == -1) {
        return GW_ERR_SYS;
    }
    if (lock.l_type == F_UNLCK || lock.l_pid <= 0) {
        return GW_ERR_NOTFOUND;
    }
    *holder_r = lock.l_pid;
    return 0;
}

int
pid_file_take(const struct config *config, int *fd_r, pid_t *holder_r)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char path[PID_PATH_MAX], text[PID_TEXT_MAX];
    int fd = -1, r = GW_ERR_INTERNAL;

    *fd_r = -1;
    *holder_r = 0;
    if ((r = make_path(config, path)) != 0) {
        goto out;
    }
    r = GW_ERR_SYS;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd == -1) {
        goto out;
    }
    if (fcntl(fd, F_SETLK, &lock) == -1) {
        r = (errno == EACCES || errno == EAGAIN) && find_holder(fd, holder_r) == 0 ? GW_ERR_EXISTS
                                                                                   : GW_ERR_SYS;
        goto out;
    }
    int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (n <= 0 || ftruncate(fd, 0) == -1 || pwrite(fd, text, (size_t)n, 0) != n) {
        goto out;
    }
    *fd_r = fd;
    fd = -1; /* transferred */
    r = 0;
out:
    if (fd != -1) {
        (void)close(fd);
    }
    return r;
}

int
pid_file_holder(const struct config *config, pid_t *pid_r)
{
    char path[PID_PATH_MAX];
    int r = make_path(config, path);

    *pid_r = 0;
    if (r != 0) {
        return r;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd == -1) {
        return errno == ENOENT || errno == ENOTDIR ? GW_ERR_NOTFOUND : GW_ERR_SYS;
    }
    r = find_holder(fd, pid_r);
    (void)close(fd);
    return r;
}

int
pid_file_directory(int *argc, char **argv, const char **directory_r)
{
    const char *from_environment = getenv("MAIL_CONFIG");
    int kept = 1;

    *directory_r =
        from_environment != NULL && from_environment[0] != '\0' ? from_environment : DEFAULT_DIRECTORY;
    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], "-c") == 0) {
            if (i + 1 >= *argc) {
                return GW_ERR_SYNTAX;
            }
            *directory_r = argv[++i];
        } else if (strcmp(argv[i], "-v") != 0) {
            argv[kept++] = argv[i];
        }
    }
    *argc = kept;
    argv[kept] = NULL;
    return 0;
}

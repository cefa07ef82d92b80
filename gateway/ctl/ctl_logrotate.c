/*
 * ctl_logrotate - see the header. Before: ctl_control.c; after: master, which opens the new file with its
 * next generation.
 *
 * The file is renamed, so that what is still written to it is not lost, and compressed when nobody has it
 * open for writing any more: sessions of the generation before may go on for minutes. When they do, the file
 * is left as it is and that is said; nothing is ever cut off.
 */
#include "ctl/ctl_logrotate.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    STATUS_USAGE = 64,
    STATUS_UNAVAILABLE = 69,
    STATUS_CANTCREAT = 73,
    PATH_BYTES = 4096,
    QUIET_WAIT_MS = 30000, /* for the writers of the generation before */
    STEP_US = 100000,
};

static int
fail(int status, const char *what, const char *path)
{
    (void)fprintf(stderr, "estafeta: fatal: logfile '%s' rotation failed: %s: %s\n", path, what,
                  strerror(errno));
    return status;
}

/* file.20261121-110426 */
static int
new_name(const struct config *config, const char *file, char *path, size_t size)
{
    time_t now = (time_t)clock_wall_s();
    char suffix[256];
    struct tm tm;

    if (localtime_r(&now, &tm) == NULL ||
        strftime(suffix, sizeof(suffix), config_str(config, P_maillog_file_rotate_suffix), &tm) == 0 ||
        strchr(suffix, '/') != NULL || (size_t)snprintf(path, size, "%s.%s", file, suffix) >= size) {
        errno = EINVAL;
        return fail(STATUS_USAGE, "maillog_file_rotate_suffix", file);
    }
    if (access(path, F_OK) == 0) {
        errno = EEXIST;
        return fail(STATUS_CANTCREAT, path, file);
    }
    return rename(file, path) == -1 ? fail(STATUS_CANTCREAT, "rename", file) : 0;
}

/* A write lease is given to the only one who has the file open. */
static bool
is_alone(int fd)
{
    if (fcntl(fd, F_SETLEASE, F_WRLCK) == -1) {
        return false;
    }
    (void)fcntl(fd, F_SETLEASE, F_UNLCK);
    return true;
}

static bool
wait_for_quiet(const char *path)
{
    int64_t deadline_ms = clock_monotonic_ms() + QUIET_WAIT_MS;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool quiet = false;

    while (fd != -1 && !(quiet = is_alone(fd)) && clock_monotonic_ms() < deadline_ms) {
        (void)usleep(STEP_US);
    }
    if (fd != -1) {
        (void)close(fd);
    }
    return quiet;
}

static int
compress(const char *program, const char *path)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        (void)execlp(program, program, path, (char *)NULL);
        _exit(127);
    }
    if (pid == -1 || waitpid(pid, &status, 0) == -1) {
        return fail(STATUS_UNAVAILABLE, "fork", path);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        (void)fprintf(stderr, "estafeta: fatal: logfile '%s' rotation failed: %s ended with status %d\n",
                      path, program, WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
        return STATUS_UNAVAILABLE;
    }
    return 0;
}

int
ctl_logrotate_run(const struct config *config, int pid)
{
    const char *file = config_str(config, P_maillog_file),
               *program = config_str(config, P_maillog_file_compressor);
    char path[PATH_BYTES];
    int status;

    if (file[0] == '\0' || strncmp(file, "/dev/", 5) == 0) {
        (void)fprintf(stderr,
                      "estafeta: fatal: logfile rotation needs a file: set maillog_file in %s/main.cf\n",
                      config_directory(config));
        return STATUS_USAGE;
    }
    if ((status = new_name(config, file, path, sizeof(path))) != 0) {
        return status;
    }
    if (pid != 0 && kill(pid, SIGHUP) == -1) {
        return fail(STATUS_UNAVAILABLE, "signal master", file);
    }
    if (program[0] == '\0') {
        return 0;
    }
    if (!wait_for_quiet(path)) {
        (void)fprintf(stderr, "estafeta: warning: %s is still written to: it is left uncompressed\n", path);
        return 0;
    }
    return compress(program, path);
}

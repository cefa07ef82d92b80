/*
 * jail_test - a child enters each profile and tries what it may and what it must not.
 *
 * Runs as root (user, chroot) and as an ordinary user (what is left). A kernel without seccomp or Landlock
 * turns the tests of that part off with a line that says so.
 *
 * Shows of contract.tsv: CHR4.
 */
#include "base/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

static int failures;
#define CHECK(cond)                                                                            \
    do {                                                                                       \
        if (!(cond)) {                                                                         \
            (void)fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #cond, errno); \
            failures++;                                                                        \
        }                                                                                      \
    } while (0)

enum { NO_SECCOMP_EXIT = 77 };

static char directory[64];

static const struct jail_profile *
profile_of(enum role role)
{
    const struct jail_profile *profile = JAIL_PROFILES;

    while (profile->role != ROLE_NONE && profile->role != role) {
        profile++;
    }
    return profile;
}

static void *
run_thread(void *context)
{
    *(int *)context = 42;
    return NULL;
}

/* What every role needs of its libraries. */
static void
try_ordinary(int data_fd)
{
    int pair[2], answer = 0;
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, run_thread, &answer) == 0);
    CHECK(pthread_join(thread, NULL) == 0 && answer == 42);
    void *memory = malloc(64 * 1024 * 1024);
    CHECK(memory != NULL);
    free(memory);
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(fd != -1 && write(fd, "x", 1) == 1 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0);
    void *map = mmap(NULL, 1, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(map != MAP_FAILED);
    (void)munmap(map, 1);
    (void)close(fd);
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    CHECK(send(pair[0], "x", 1, 0) == 1);
    (void)close(pair[0]);
    (void)close(pair[1]);
    /* What LMDB does with its file. */
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    CHECK(fcntl(data_fd, F_SETLK, &lock) == 0);
    CHECK(pwrite(data_fd, "data", 4, 0) == 4 && fdatasync(data_fd) == 0 && ftruncate(data_fd, 4096) == 0);
    FILE *stream = fopen("/dev/null", "r");
    CHECK(stream != NULL || errno == ENOENT);
    if (stream != NULL) {
        (void)fclose(stream);
    }
}

static void
try_rights(const struct jail_profile *profile, const char *file)
{
    bool network = (profile->rights & JAIL_NETWORK) != 0, writes = (profile->rights & JAIL_WRITE_FILES) != 0;

    errno = 0;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(network ? fd != -1 : fd == -1 && errno == EPERM);
    (void)close(fd);
    CHECK(socket(AF_PACKET, SOCK_RAW, 0) == -1);
    fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK(fd != -1);
    (void)close(fd);
    errno = 0;
    fd = open(file, O_CREAT | O_WRONLY, 0600);
    CHECK(writes ? fd != -1 : fd == -1 && errno == EPERM);
    (void)close(fd);
    errno = 0;
    CHECK(mkdir(file, 0700) == -1 && errno == (writes ? EEXIST : EPERM));
    void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(((profile->rights & JAIL_CODE) != 0) == (code != MAP_FAILED));
#ifndef __SANITIZE_ADDRESS__
    pid_t child = fork();
    if (child == 0) {
        _exit(7);
    }
    int status = 0;
    CHECK(((profile->rights & JAIL_FORK) != 0) == (child != -1));
    CHECK(child == -1 || (waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7));
#endif
}

/* Child: exits with the number of failures, or NO_SECCOMP_EXIT. */
static void
run_child(enum role role, bool deadly, int data_fd)
{
    const struct jail_profile *profile = profile_of(role);
    const char *const writable[] = {directory, NULL};
    struct jail_request request = {.role = role, .write_dirs = writable};
    unsigned missing = 0;
    char file[128];

    if (geteuid() == 0) {
        request.user = "nobody";
        request.root = profile->chroot ? directory : NULL;
    }
    (void)snprintf(file, sizeof(file), "%s/file", request.root != NULL ? "" : directory);
    failures = 0;
    CHECK(jail_enter(&request, &missing) == 0);
    CHECK((missing & (JAIL_NO_USER | JAIL_NO_CHROOT)) == 0);
    if ((missing & JAIL_NO_SECCOMP) != 0) {
        _exit(NO_SECCOMP_EXIT);
    }
    if (deadly) {
        char *const argv[] = {"true", NULL};
        (void)execv("/bin/true", argv);
        _exit(99);
    }
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max == 0);
    if (request.user != NULL) {
        CHECK(geteuid() != 0 && getuid() != 0 && getegid() != 0);
        CHECK(request.root == NULL || access("/etc/passwd", F_OK) == -1);
    }
    try_ordinary(data_fd);
    try_rights(profile, file);
    if ((missing & JAIL_NO_LANDLOCK) == 0 && request.root == NULL) {
        CHECK(open("/etc/passwd", O_RDONLY) == -1 && errno == EACCES);
        CHECK(open("/tmp/jail_test.outside", O_CREAT | O_WRONLY, 0600) == -1);
    }
    (void)fflush(stderr);
    _exit(failures);
}

static void
test_profile(enum role role, bool deadly, int data_fd)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        run_child(role, deadly, data_fd);
    }
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_SECCOMP_EXIT) {
        (void)fprintf(stderr, "%s: this kernel has no seccomp filters: not tested\n", role_name(role));
        return;
    }
    bool held = deadly ? WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS
                       : WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!held) {
        (void)fprintf(stderr, "%s%s: status %x\n", role_name(role), deadly ? " (execve)" : "",
                      (unsigned)status);
        failures++;
    }
}

static void
test_refusals(void)
{
    unsigned missing;
    struct jail_request request = {.role = ROLE_MASTER};
    int status = 0;

    CHECK(jail_enter(&request, &missing) == GW_ERR_CONFIG);
    if (geteuid() == 0) {
        pid_t child = fork();
        if (child == 0) {
            request = (struct jail_request){.role = ROLE_QUEUE, .user = "no-such-user-here"};
            _exit(jail_enter(&request, &missing) == GW_ERR_CONFIG ? 0 : 1);
        }
        CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 0);
    }
}

/* Every role but master and those of commands has exactly one row. */
static void
test_table(void)
{
    for (int role = ROLE_NONE + 1; role < ROLE_COUNT; role++) {
        int rows = 0;
        for (const struct jail_profile *profile = JAIL_PROFILES; profile->role != ROLE_NONE; profile++) {
            rows += (int)profile->role == role ? 1 : 0;
        }
        CHECK(rows == (role == ROLE_MASTER || role == ROLE_CTL || role == ROLE_SUBMIT ? 0 : 1));
    }
}

int
main(void)
{
    char file[128];

    (void)snprintf(directory, sizeof(directory), "%s", "/tmp/jail_test.XXXXXX");
    if (mkdtemp(directory) == NULL || chmod(directory, 0777) == -1) {
        perror("mkdtemp");
        return 1;
    }
    (void)snprintf(file, sizeof(file), "%s/data", directory);
    int data_fd = open(file, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    CHECK(data_fd != -1);
    test_table();
    test_refusals();
    for (const struct jail_profile *profile = JAIL_PROFILES; profile->role != ROLE_NONE; profile++) {
        if ((profile->rights & JAIL_UNFILTERED) == 0) {
            test_profile(profile->role, false, data_fd);
            test_profile(profile->role, true, data_fd);
            (void)snprintf(file, sizeof(file), "%s/file", directory);
            (void)unlink(file);
        }
    }
    (void)close(data_fd);
    (void)snprintf(file, sizeof(file), "%s/data", directory);
    (void)unlink(file);
    CHECK(rmdir(directory) == 0);
    return failures != 0;
}

/*
 * scan_temporary_test - what nobody holds is removed with its content, links are not followed, what is held
 * stays.
 */
#include "scanners/scan_temporary.h"

#include <fcntl.h>
#include <sys/file.h>

#include "scanners/scan_rig.h"

static char *
path_of(const struct rig *rig, const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];

    (void)snprintf(path, sizeof(paths[0]), "%s/%s", rig->directory, name);
    return path;
}

static bool
exists(const struct rig *rig, const char *name)
{
    return faccessat(AT_FDCWD, path_of(rig, name), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void
test_stale(struct rig *rig)
{
    struct scan_temporary temporary;

    CHECK(mkdir(path_of(rig, "precious"), 0700) == 0);
    rig_write(rig, "precious/file", BYTES_LIT("x"));
    CHECK(mkdir(path_of(rig, "estafeta-scan-old"), 0700) == 0);
    CHECK(mkdir(path_of(rig, "estafeta-scan-old/below"), 0700) == 0);
    rig_write(rig, "estafeta-scan-old/below/file", BYTES_LIT("x"));
    CHECK(symlink(path_of(rig, "precious"), path_of(rig, "estafeta-scan-old/link")) == 0);
    CHECK(symlink(path_of(rig, "precious"), path_of(rig, "estafeta-scan-link")) == 0);
    CHECK(mkdir(path_of(rig, "estafeta-scan-held"), 0700) == 0);
    rig_write(rig, "estafeta-scan-held/file", BYTES_LIT("x"));
    CHECK(mkdir(path_of(rig, "other"), 0700) == 0);
    int held = open(path_of(rig, "estafeta-scan-held"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(held != -1 && flock(held, LOCK_EX | LOCK_NB) == 0);

    CHECK(scan_temporary_make(rig->config, &temporary) == 0);
    CHECK(!exists(rig, "estafeta-scan-old") && exists(rig, "estafeta-scan-held/file") &&
          exists(rig, "other"));
    CHECK(exists(rig, "precious/file"));
    CHECK(strcmp(getenv("TMPDIR"), temporary.path) == 0 && access(temporary.path, W_OK) == 0);
    CHECK(strstr(temporary.path, "/estafeta-scan-") != NULL);
    scan_temporary_remove(&temporary);
    CHECK(temporary.path[0] == '\0');
    scan_temporary_remove(&temporary);

    (void)close(held);
    CHECK(scan_temporary_make(rig->config, &temporary) == 0);
    CHECK(!exists(rig, "estafeta-scan-held"));
    scan_temporary_remove(&temporary);
}

static void
test_workers(struct rig *rig)
{
    struct scan_temporary temporary;
    char file[SCAN_PATH_MAX + 8];

    CHECK(scan_temporary_make(rig->config, &temporary) == 0);
    CHECK(scan_temporary_enter_worker() == 0 && access(getenv("TMPDIR"), W_OK) == 0);
    (void)snprintf(file, sizeof(file), "%s/file", getenv("TMPDIR"));
    int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd != -1 && close(fd) == 0);
    CHECK(setenv("TMPDIR", temporary.path, 1) == 0); /* the loader's view */
    scan_temporary_forget_worker((int)getpid());
    CHECK(access(file, F_OK) == -1 && access(temporary.path, W_OK) == 0);
    scan_temporary_remove(&temporary);
}

int
main(void)
{
    struct rig rig;
    struct scan_temporary temporary;

    rig_open(&rig, "");
    test_stale(&rig);
    test_workers(&rig);
    rig_configure(&rig, "scan_temporary_directory = /nonexistent\n");
    CHECK(scan_temporary_make(rig.config, &temporary) != 0 && temporary.path[0] == '\0');
    rig_close(&rig);
    return failures != 0;
}

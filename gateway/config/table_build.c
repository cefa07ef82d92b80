/*
 * table_build - see the header. Before: ctl_postmap.c; after: table_hash.c reads the file, in this and other
 * processes.
 *
 * Readers hold no locks (MDB_NOLOCK): LMDB takes pages that one rewrite gave up into use again in the rewrite
 * after the next at the earliest, and table_lmdb.c looks again when that many ended during a lookup.
 */
#include "config/table_build.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "config/table_bdb.h"
#include "config/table_lmdb.h"
#include "config/table_type.h"

#define MAP_BYTES ((size_t)4 * 1024 * 1024 * 1024)

struct table_build {
    char path[TABLE_PATH_MAX], temporary[TABLE_PATH_MAX + 16];
    bool in_place;
    int lock_fd;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
};

bool
table_build_is_possible(const char *type)
{
    static const char *const TYPES[] = {"hash", "btree", "lmdb", "dbm", "sdbm", "cdb"};

    for (size_t i = 0; i < sizeof(TYPES) / sizeof(TYPES[0]); i++) {
        if (strcmp(type, TYPES[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int
make_path(const char *type, const char *name, char out[TABLE_PATH_MAX])
{
    int n = snprintf(out, TABLE_PATH_MAX, "%s%s", name, strcmp(type, "lmdb") == 0 ? ".lmdb" : ".db");

    return n >= 0 && n < TABLE_PATH_MAX ? 0 : GW_ERR_LIMIT;
}

static void
free_build(struct table_build **build_p)
{
    struct table_build *build = *build_p;

    if (build->txn != NULL) {
        mdb_txn_abort(build->txn);
    }
    if (build->env != NULL) {
        mdb_env_close(build->env);
    }
    if (build->temporary[0] != '\0') {
        (void)unlink(build->temporary);
    }
    if (build->lock_fd != -1) {
        (void)close(build->lock_fd);
    }
    free(build);
    *build_p = NULL;
}

static int
open_environment(struct table_build *build, const char *path, bool empty)
{
    int error = mdb_env_create(&build->env);

    error = error == 0 ? mdb_env_set_mapsize(build->env, MAP_BYTES) : error;
    error = error == 0 ? mdb_env_open(build->env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0600) : error;
    error = error == 0 ? mdb_txn_begin(build->env, NULL, 0, &build->txn) : error;
    error = error == 0 ? mdb_dbi_open(build->txn, NULL, 0, &build->dbi) : error;
    error = error == 0 && empty ? mdb_drop(build->txn, build->dbi, 0) : error;
    if (error != 0) {
        if (build->txn != NULL) {
            mdb_txn_abort(build->txn);
            build->txn = NULL;
        }
        mdb_env_close(build->env);
        build->env = NULL;
    }
    return error;
}

/* Beside the file: for a name that is new, or that holds a file of another program's making. */
static int
open_beside(struct table_build *build, const struct table_build_options *options)
{
    (void)snprintf(build->temporary, sizeof(build->temporary), "%s.XXXXXX", build->path);
    int fd = mkstemp(build->temporary);

    if (fd == -1) {
        build->temporary[0] = '\0';
        return errno;
    }
    int failed = fchmod(fd, options->mode & 0666);
    if (geteuid() == 0) {
        failed |= fchown(fd, options->owner, options->group);
    }
    (void)close(fd);
    return failed != 0 ? errno : open_environment(build, build->temporary, false);
}

/* May liblmdb open this file? It ends the program over one that is cut off or spoiled. */
static bool
is_sound(int fd, uint64_t size, struct buf *why)
{
    struct table_lmdb *map = NULL;
    bool sound = table_lmdb_new(fd, &map) == 0 && table_lmdb_check(map, size, why) == 0;

    table_lmdb_free(&map);
    return sound;
}

/* In place where that is possible; else beside, unless what is there must stay. */
static int
open_existing(struct table_build *build, uint64_t size, const struct table_build_options *options,
              struct buf *why)
{
    uint8_t start[16];

    if (size > 0 && is_sound(build->lock_fd, size, why)) {
        int error = open_environment(build, build->path, !options->keep);

        build->in_place = error == 0;
        return error;
    }
    if (options->keep && pread(build->lock_fd, start, sizeof(start), 0) == sizeof(start) &&
        table_bdb_is(start, sizeof(start))) {
        buf_clear(why);
        (void)buf_append_str(why, "it is a Berkeley DB file of another program, which is only read here");
    }
    return options->keep ? MDB_INVALID : 0;
}

int
table_build_begin(const struct table_build_options *options, struct table_build **build_r,
                  struct buf *error_r)
{
    struct table_build *build = calloc(1, sizeof(*build));
    struct stat status;
    struct buf why;
    int error = 0, r = GW_ERR_SYS;

    *build_r = NULL;
    if (build == NULL) {
        return GW_ERR_NOMEM;
    }
    build->lock_fd = -1;
    buf_init(&why, TABLE_PATH_MAX);
    if (make_path(options->type, options->name, build->path) != 0) {
        error = ENAMETOOLONG;
        goto out;
    }
    build->lock_fd = open(build->path, O_RDWR | O_CLOEXEC);
    if (build->lock_fd == -1 && (errno != ENOENT || options->keep)) {
        error = errno;
        goto out;
    }
    if (build->lock_fd != -1 &&
        (flock(build->lock_fd, LOCK_EX) == -1 || fstat(build->lock_fd, &status) == -1)) {
        error = errno;
        goto out;
    }
    if (build->lock_fd != -1) {
        error = open_existing(build, (uint64_t)status.st_size, options, &why);
    }
    if (error == 0 && !build->in_place) {
        error = open_beside(build, options);
    }
out:
    if (error == 0) {
        *build_r = build;
        build = NULL; /* transferred */
        r = 0;
    } else {
        (void)buf_printf(error_r, "open database %s: %s", build->path,
                         error == MDB_INVALID && why.n > 0 ? buf_str(&why) : mdb_strerror(error));
        free_build(&build);
    }
    buf_free(&why);
    return r;
}

int
table_build_put(struct table_build *build, struct bytes key, struct bytes value, bool replace)
{
    MDB_val k = {key.n, (void *)(uintptr_t)key.p}, v = {value.n, (void *)(uintptr_t)value.p};

    if (key.n == 0 || key.n > TABLE_BUILD_KEY_MAX) {
        return GW_ERR_LIMIT;
    }
    int error = mdb_put(build->txn, build->dbi, &k, &v, replace ? 0 : MDB_NOOVERWRITE);
    if (error != 0 && error != MDB_KEYEXIST) {
        errno = error;
    }
    return error == MDB_KEYEXIST ? GW_ERR_EXISTS : error != 0 ? GW_ERR_SYS : 0;
}

int
table_build_delete(struct table_build *build, struct bytes key)
{
    MDB_val k = {key.n, (void *)(uintptr_t)key.p};

    if (key.n == 0 || key.n > TABLE_BUILD_KEY_MAX) {
        return GW_ERR_NOTFOUND;
    }
    int error = mdb_del(build->txn, build->dbi, &k, NULL);
    return error == MDB_NOTFOUND ? GW_ERR_NOTFOUND : error != 0 ? GW_ERR_SYS : 0;
}

const char *
table_build_path(const struct table_build *build)
{
    return build->path;
}

int
table_build_commit(struct table_build **build_p)
{
    struct table_build *build = *build_p;
    int error = mdb_txn_commit(build->txn);
    int r = error == 0 ? 0 : GW_ERR_SYS;

    build->txn = NULL;
    errno = error;
    if (r == 0 && !build->in_place) {
        /* The name changes only to a file that is whole on disk. */
        mdb_env_close(build->env);
        build->env = NULL;
        r = rename(build->temporary, build->path) == 0 ? 0 : GW_ERR_SYS;
        if (r == 0) {
            build->temporary[0] = '\0';
        }
    }
    int kept = errno;
    free_build(build_p);
    errno = kept;
    return r;
}

void
table_build_abort(struct table_build **build)
{
    if (*build != NULL) {
        free_build(build);
    }
}

/* Any indexed file that table_hash.c reads, with its own readers: they stop at a spoiled file. */
static int
list_file(int fd, const char *path, table_build_visitor *visit, void *context, struct buf *error_r)
{
    struct table_lmdb *map = NULL;
    struct stat status;
    struct buf why;
    int r = fstat(fd, &status) == -1 ? GW_ERR_SYS : table_lmdb_new(fd, &map);

    buf_init(&why, TABLE_PATH_MAX);
    if (r == 0) {
        uint64_t size = (uint64_t)status.st_size;
        bool lmdb = table_lmdb_is(map, size);

        r = lmdb ? table_lmdb_check(map, size, &why) : table_bdb_check(fd, &why);
        if (r == 0) {
            r = lmdb ? table_lmdb_each(map, size, visit, context) : table_bdb_each(fd, visit, context);
        }
    }
    if (r != 0) {
        (void)buf_printf(error_r, "open database %s: %s", path,
                         why.n > 0          ? buf_str(&why)
                         : r == GW_ERR_TEMP ? "it is cut off or spoiled"
                                            : gw_strerror(r));
    }
    table_lmdb_free(&map);
    buf_free(&why);
    return r;
}

int
table_build_list(const char *type, const char *name, table_build_visitor *visit, void *context,
                 struct buf *error_r)
{
    char path[TABLE_PATH_MAX];
    int fd = -1, r = make_path(type, name, path);

    if (r == 0) {
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    }
    if (fd == -1) {
        (void)buf_printf(error_r, "open database %s: %s", path,
                         r != 0 ? strerror(ENAMETOOLONG) : strerror(errno));
        return r != 0 ? r : GW_ERR_SYS;
    }
    r = list_file(fd, path, visit, context, error_r);
    (void)close(fd);
    return r;
}

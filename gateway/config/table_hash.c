/*
 * table_hash - indexed files, "x.db" or "x.lmdb", in whatever of the two formats they are: LMDB (what our
 * postmap writes for hash:, btree:, lmdb: and their kin) or Berkeley DB (pop-before-smtp, Debian's postmap).
 *
 * Before: table.c; after: table_lmdb.c or table_bdb.c, chosen by magic at each lookup, since another program
 * may write its own format into the same file. The descriptor is opened before the jail and held. Each lookup
 * asks for the file's size: what was cut off, removed or spoiled gives GW_ERR_TEMP, never "not found".
 *
 * LMDB is always consistent. A Berkeley DB file is not while it is written: a file changed a moment ago is
 * read under a shared flock(2), which Postfix's writers respect, and read again until it is at rest.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "config/table_bdb.h"
#include "config/table_lmdb.h"
#include "config/table_type.h"

enum {
    RECENT_MS = 1000, /* a file changed since then may be in the hands of its writer */
    SETTLE_MS = 20,   /* more than the grain of file times: two writes within it look like one */
    TRY_PAUSE_MS = 5, /* between two tries */
    TRIES_MAX = 60,   /* 300 ms, then the answer is "cannot tell" */
    REMOVED_GRACE_MS =
        10000, /* in a jail, where names cannot be looked at, a removed file answers this long:
                  it may have been replaced, and a process that has the new one is on its way */
    PATH_ROOM = TABLE_PATH_MAX + 8
};

struct indexed {
    int fd;
    char *path;
    dev_t root_device; /* of "/" when it was opened: tells whether path can still be looked at */
    ino_t root_inode;
    struct table_lmdb *map;
    pthread_mutex_t lock; /* of the flock, which belongs to the descriptor and not to a thread */
    bool nul_first;       /* a Berkeley DB file's keys were last found with a NUL behind them; a hint */
};

static void
close_hash(void *state)
{
    struct indexed *file = state;

    table_lmdb_free(&file->map);
    if (file->fd != -1) {
        (void)close(file->fd);
    }
    (void)pthread_mutex_destroy(&file->lock);
    free(file->path);
    free(file);
}

/* Is this a file that can be read? Berkeley DB is tried where the magic of LMDB is not. */
static int
check_file(const struct indexed *file, struct buf *error_r)
{
    struct stat status;

    if (fstat(file->fd, &status) == -1) {
        return GW_ERR_SYS;
    }
    if (!S_ISREG(status.st_mode)) {
        (void)buf_append_str(error_r, "it is not a file");
        return GW_ERR_CONFIG;
    }
    uint64_t size = (uint64_t)status.st_size;
    uint8_t start[16];
    if (!table_lmdb_is(file->map, size) && pread(file->fd, start, sizeof(start), 0) == sizeof(start) &&
        table_bdb_is(start, sizeof(start))) {
        return table_bdb_check(file->fd, error_r);
    }
    return table_lmdb_check(file->map, size, error_r);
}

static int
open_file(struct indexed *file, const char *path, struct buf *error_r)
{
    struct stat root = {0};
    int r;

    (void)stat("/", &root);
    file->root_device = root.st_dev;
    file->root_inode = root.st_ino;
    file->path = strdup(path);
    file->fd = file->path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file->fd == -1) {
        return file->path == NULL ? GW_ERR_NOMEM : GW_ERR_SYS;
    }
    r = table_lmdb_new(file->fd, &file->map);
    return r == 0 ? check_file(file, error_r) : r;
}

/* The type is an alias: "x.db" for all but lmdb:, and the other name where only that is. */
static int
open_indexed(const struct config *config, const char *name, const char *const suffixes[2], void **state_r,
             struct buf *error_r)
{
    struct indexed *file = calloc(1, sizeof(*file));
    char path[PATH_ROOM], base[TABLE_PATH_MAX];
    struct buf why;
    int r = GW_ERR_NOMEM;

    *state_r = NULL;
    buf_init(&why, TABLE_PATH_MAX);
    if (file == NULL) {
        goto out;
    }
    file->fd = -1;
    (void)pthread_mutex_init(&file->lock, NULL);
    if ((r = table_path(config, name, base)) != 0) {
        goto out;
    }
    (void)snprintf(path, sizeof(path), "%s%s", base, suffixes[1]);
    if (access(path, F_OK) != 0) {
        (void)snprintf(path, sizeof(path), "%s%s", base, suffixes[0]);
    } else {
        char preferred[PATH_ROOM];

        (void)snprintf(preferred, sizeof(preferred), "%s%s", base, suffixes[0]);
        memcpy(path, access(preferred, F_OK) == 0 ? preferred : path, sizeof(path));
    }
    r = open_file(file, path, &why);
    if (r != 0) {
        (void)buf_printf(error_r, "open database %s: %s; run postmap on %s", path,
                         why.n > 0         ? buf_str(&why)
                         : r == GW_ERR_SYS ? strerror(errno)
                                           : gw_strerror(r),
                         base);
        r = r == GW_ERR_NOMEM ? r : GW_ERR_CONFIG;
        goto out;
    }
    *state_r = file;
    file = NULL; /* transferred */
out:
    if (file != NULL) {
        close_hash(file);
    }
    buf_free(&why);
    return r;
}

static int
open_hash(const struct config *config, const char *name, unsigned flags, void **state_r, struct buf *error_r)
{
    static const char *const SUFFIXES[2] = {".db", ".lmdb"};

    (void)flags;
    return open_indexed(config, name, SUFFIXES, state_r, error_r);
}

static int
open_lmdb(const struct config *config, const char *name, unsigned flags, void **state_r, struct buf *error_r)
{
    static const char *const SUFFIXES[2] = {".lmdb", ".db"};

    (void)flags;
    return open_indexed(config, name, SUFFIXES, state_r, error_r);
}

/* Milliseconds since the time of a file; a time in the future counts as long ago. */
static int64_t
age_ms(const struct timespec *time)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
    int64_t ms = ((int64_t)now.tv_sec - time->tv_sec) * 1000 + (now.tv_nsec - time->tv_nsec) / 1000000;
    return ms >= -RECENT_MS ? ms : INT64_MAX;
}

/* A removed file answers no more. One that was replaced does, until the new process that master starts has
 * taken over. */
static bool
is_gone(const struct indexed *file, const struct stat *status)
{
    struct stat other;

    if (status->st_nlink > 0) {
        return false;
    }
    if (stat("/", &other) == 0 && other.st_dev == file->root_device && other.st_ino == file->root_inode) {
        return stat(file->path, &other) == -1;
    }
    return age_ms(&status->st_ctim) > REMOVED_GRACE_MS;
}

/* Keys of Postfix have their NUL with them (DB_File's have not): both forms, the likelier one first. */
static int
find_both_forms(struct indexed *file, struct bytes key, struct buf *value)
{
    uint8_t with_nul[TABLE_KEY_MAX + 1];
    bool nul = __atomic_load_n(&file->nul_first, __ATOMIC_RELAXED);
    int r = GW_ERR_NOTFOUND;

    memcpy(with_nul, key.p, key.n);
    with_nul[key.n] = '\0';
    for (int i = 0; i < 2 && r == GW_ERR_NOTFOUND; i++) {
        bool this_nul = i == 0 ? nul : !nul;

        r = table_bdb_find(file->fd, bytes_of(with_nul, key.n + this_nul), value);
        if (r == 0 && i == 1) {
            __atomic_store_n(&file->nul_first, this_nul, __ATOMIC_RELAXED);
        }
    }
    return r;
}

/* With the writers that lock kept out. GW_ERR_TEMP: one is at it. */
static int
find_locked(struct indexed *file, struct bytes key, struct buf *value)
{
    int r = GW_ERR_TEMP;

    (void)pthread_mutex_lock(&file->lock);
    if (flock(file->fd, LOCK_SH | LOCK_NB) == 0) {
        r = find_both_forms(file, key, value);
        (void)flock(file->fd, LOCK_UN);
    }
    (void)pthread_mutex_unlock(&file->lock);
    return r;
}

static bool
is_same(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* What is found in a file at rest counts. */
static int
find_bdb(struct indexed *file, struct bytes key, struct stat *before, struct buf *value)
{
    static const struct timespec PAUSE = {.tv_nsec = TRY_PAUSE_MS * 1000000L};

    for (int i = 0; i < TRIES_MAX; i++) {
        bool recent = age_ms(&before->st_mtim) < RECENT_MS;
        size_t kept = value->n;
        struct stat after;
        int r = recent ? find_locked(file, key, value) : find_both_forms(file, key, value);

        if (fstat(file->fd, &after) == -1) {
            return GW_ERR_TEMP;
        }
        bool at_rest = is_same(before, &after) && (!recent || age_ms(&after.st_mtim) > SETTLE_MS);
        if (at_rest && (r != GW_ERR_TEMP || !recent)) {
            return r;
        }
        buf_truncate(value, kept);
        *before = after;
        (void)nanosleep(&PAUSE, NULL);
    }
    return GW_ERR_TEMP;
}

static int
find_hash(void *state, struct bytes key, struct table_hit *hit)
{
    struct indexed *file = state;
    size_t kept = hit->value.n;
    struct stat status;
    int r;

    /* Postfix's keys are C strings: one with a NUL inside is none, and must not match one with its NUL
     * behind.
     */
    if (key.n == 0 || key.n > TABLE_KEY_MAX || memchr(key.p, '\0', key.n) != NULL) {
        return GW_ERR_NOTFOUND;
    }
    if (fstat(file->fd, &status) == -1 || is_gone(file, &status)) {
        return GW_ERR_TEMP;
    }
    r = table_lmdb_is(file->map, (uint64_t)status.st_size)
            ? table_lmdb_find(file->map, (uint64_t)status.st_size, key, &hit->value)
            : find_bdb(file, key, &status, &hit->value);
    if (r == 0) {
        const uint8_t *text = hit->value.p + kept;
        const uint8_t *nul = hit->value.n > kept ? memchr(text, '\0', hit->value.n - kept) : NULL;

        buf_truncate(&hit->value, nul != NULL ? (size_t)(nul - hit->value.p) : hit->value.n);
    }
    return r;
}

const struct table_type TABLE_HASH = {"hash", false, open_hash, close_hash, find_hash};
const struct table_type TABLE_LMDB = {"lmdb", false, open_lmdb, close_hash, find_hash};

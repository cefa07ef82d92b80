/*
 * master_watch - notices that the file of a lookup table was replaced, and lets the roles that read it start
 * over.
 *
 * Before: every new generation begins a watch; after: master_roles. A role has its tables open before its
 * jail and cannot open a path later. postmap rewrites a file in place, which readers see by themselves; a
 * program that makes a new file and renames it over the old one is what this is for. Postfix's daemons end
 * and start again for the same reason. main.cf is not read again for it: that is what reload is for.
 *
 * A file counts as replaced when another inode has stood there for a whole tick, so that the writer is done.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "config/table_files.h"
#include "master/master_private.h"

enum {
    TICK_MS = 1000,
    PAUSE_MS = 5000, /* between two restarts for replaced tables: a program may replace one every second */
};

struct watched_file {
    char *path;
    unsigned roles; /* bits of enum role */
    dev_t device;
    ino_t inode; /* 0: no such file */
    bool is_suspect;
    ino_t seen; /* when suspect: the inode of the tick before */
};

struct master_watch {
    struct master *master;
    struct loop_timer *timer;
    int64_t not_before_ms;
    struct watched_file *files;
    size_t count;
};

static unsigned
role_bits(const char *words)
{
    struct bytes rest, word;
    unsigned bits = 0;

    for (enum role role = ROLE_MASTER; role < ROLE_COUNT; role++) {
        struct bytes name = bytes_str(role_name(role));

        for (rest = bytes_str(words); rest.n > 0; rest = bytes_sub(rest, word.n + 1, rest.n)) {
            const uint8_t *blank = memchr(rest.p, ' ', rest.n);

            word = bytes_sub(rest, 0, blank != NULL ? (size_t)(blank - rest.p) : rest.n);
            bits |= bytes_equal(word, name) ? 1U << role : 0U;
        }
    }
    return bits;
}

static void
look(const char *path, dev_t *device_r, ino_t *inode_r)
{
    struct stat st;

    *device_r = 0;
    *inode_r = 0;
    if (stat(path, &st) == 0) {
        *device_r = st.st_dev;
        *inode_r = st.st_ino;
    }
}

/* One row per path: parameters often name the same table. */
static int
add_file(void *context, const char *path, const char *roles)
{
    struct master_watch *watch = context;

    for (size_t i = 0; i < watch->count; i++) {
        if (strcmp(watch->files[i].path, path) == 0) {
            watch->files[i].roles |= role_bits(roles);
            return 0;
        }
    }
    struct watched_file *files = reallocarray(watch->files, watch->count + 1, sizeof(*files));
    char *copy = files != NULL ? strdup(path) : NULL;

    watch->files = files != NULL ? files : watch->files;
    if (copy == NULL) {
        return GW_ERR_NOMEM;
    }
    struct watched_file *file = &files[watch->count++];
    *file = (struct watched_file){.path = copy, .roles = role_bits(roles)};
    look(path, &file->device, &file->inode);
    return 0;
}

/* True when the file is another one now, and has been so for a tick. A file that is gone is no news: the
 * roles hold what they have open, and nothing better is there. */
static bool
was_replaced(struct watched_file *file)
{
    dev_t device;
    ino_t inode;

    look(file->path, &device, &inode);
    if (inode == 0 || (inode == file->inode && device == file->device)) {
        file->is_suspect = false;
        return false;
    }
    if (!file->is_suspect || file->seen != inode) {
        file->is_suspect = true;
        file->seen = inode;
        return false;
    }
    file->device = device;
    file->inode = inode;
    file->is_suspect = false;
    return true;
}

static void
tick(void *context)
{
    struct master_watch *watch = context;
    struct master *master = watch->master;
    int64_t now_ms = clock_monotonic_ms();
    unsigned roles = 0;

    watch->timer = loop_timer_add(master->loop, now_ms + TICK_MS, tick, watch);
    if (master->is_starting || master->is_stopping || master->is_reloading || now_ms < watch->not_before_ms) {
        return;
    }
    for (size_t i = 0; i < watch->count; i++) {
        if (was_replaced(&watch->files[i])) {
            log_info("master", "table file %s was replaced: its readers start over", watch->files[i].path);
            roles |= watch->files[i].roles;
        }
    }
    if (roles != 0) {
        watch->not_before_ms = now_ms + PAUSE_MS;
        master->is_reloading = true;
        master_roles_replace(master, roles);
    }
}

static void
forget(struct master_watch *watch)
{
    for (size_t i = 0; i < watch->count; i++) {
        free(watch->files[i].path);
    }
    free(watch->files);
    watch->files = NULL;
    watch->count = 0;
}

int
master_watch_begin(struct master *master)
{
    struct master_watch *watch = master->watch;
    int r;

    if (watch == NULL) {
        watch = calloc(1, sizeof(*watch));
        if (watch == NULL) {
            return GW_ERR_NOMEM;
        }
        watch->master = master;
        master->watch = watch;
    }
    forget(watch);
    r = table_files_walk(master->generation.config, add_file, watch);
    if (r == 0 && watch->timer == NULL) {
        watch->timer = loop_timer_add(master->loop, clock_monotonic_ms() + TICK_MS, tick, watch);
        r = watch->timer == NULL ? GW_ERR_NOMEM : 0;
    }
    return r;
}

void
master_watch_end(struct master *master)
{
    struct master_watch *watch = master->watch;

    if (watch == NULL) {
        return;
    }
    loop_timer_cancel(master->loop, &watch->timer);
    forget(watch);
    free(watch);
    master->watch = NULL;
}

/*
 * table_unix - unix:passwd.byname and unix:group.byname, the users and groups of this host.
 *
 * Before: table_find(), through the keeper when a role asks: its jail has no /etc, and a user who was added
 * is valid without a reload. The answer is the entry's line as in passwd(5) and group(5), the password as
 * "x".
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "config/table_type.h"

enum { NAME_BYTES_MAX = 256, ENTRY_BYTES_MAX = 1024 * 1024, ENTRY_BYTES = 1024 };

struct system_table {
    int (*look)(const char *name, char *room, size_t size, struct buf *value);
};

/* The C library's three answers: an error number, no entry, an entry. ENOENT and its kin mean "no entry" to
 * some of its sources (getpwnam(3)). */
static int
judge(int rc, const void *found)
{
    if (rc == ERANGE) {
        return GW_ERR_LIMIT;
    }
    if (found != NULL) {
        return 0;
    }
    return rc == 0 || rc == ENOENT || rc == ESRCH ? GW_ERR_NOTFOUND : GW_ERR_TEMP;
}

static int
look_user(const char *name, char *room, size_t size, struct buf *value)
{
    struct passwd entry, *found = NULL;
    int rc = getpwnam_r(name, &entry, room, size, &found), r = judge(rc, found);

    return r != 0 ? r
                  : buf_printf(value, "%s:x:%u:%u:%s:%s:%s", entry.pw_name, entry.pw_uid, entry.pw_gid,
                               entry.pw_gecos, entry.pw_dir, entry.pw_shell);
}

static int
look_group(const char *name, char *room, size_t size, struct buf *value)
{
    struct group entry, *found = NULL;
    int rc = getgrnam_r(name, &entry, room, size, &found), r = judge(rc, found);

    if (r == 0) {
        r = buf_printf(value, "%s:x:%u:", entry.gr_name, entry.gr_gid);
    }
    for (char **member = r == 0 ? entry.gr_mem : NULL; r == 0 && member != NULL && *member != NULL;
         member++) {
        r = buf_printf(value, "%s%s", member == entry.gr_mem ? "" : ",", *member);
    }
    return r;
}

static const struct {
    const char *name;
    struct system_table table;
} SYSTEM_TABLES[] = {
    {"passwd.byname", {look_user}},
    {"group.byname", {look_group}},
};

static int
open_unix(const struct config *config, const char *name, unsigned flags, void **state_r, struct buf *error_r)
{
    (void)config;
    (void)flags;
    *state_r = NULL;
    for (size_t i = 0; i < sizeof(SYSTEM_TABLES) / sizeof(SYSTEM_TABLES[0]); i++) {
        if (strcmp(name, SYSTEM_TABLES[i].name) == 0) {
            *state_r = (void *)(uintptr_t)&SYSTEM_TABLES[i].table;
            return 0;
        }
    }
    (void)buf_printf(error_r, "unix:%s: unknown table; use unix:passwd.byname or unix:group.byname", name);
    return GW_ERR_CONFIG;
}

static void
close_unix(void *state)
{
    (void)state;
}

static int
find_unix(void *state, struct bytes key, struct table_hit *hit)
{
    const struct system_table *table = state;
    char name[NAME_BYTES_MAX], small[ENTRY_BYTES], *room = small;
    size_t size = sizeof(small);

    if (key.n == 0 || key.n >= sizeof(name) || bytes_index(key, '\0') >= 0) {
        return GW_ERR_NOTFOUND;
    }
    memcpy(name, key.p, key.n);
    name[key.n] = '\0';
    int r = table->look(name, room, size, &hit->value);
    while (r == GW_ERR_LIMIT && size < ENTRY_BYTES_MAX) { /* a group with many members */
        char *grown = realloc(room == small ? NULL : room, size * 4);

        if (grown == NULL) {
            r = GW_ERR_NOMEM;
            break;
        }
        room = grown;
        size *= 4;
        buf_clear(&hit->value);
        r = table->look(name, room, size, &hit->value);
    }
    if (room != small) {
        free(room);
    }
    return r;
}

const struct table_type TABLE_UNIX = {"unix", false, open_unix, close_unix, find_unix};

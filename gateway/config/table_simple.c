/*
 * table_simple - the types without a file of their own kind: texthash, inline, static, fail, unix.
 *
 * texthash and inline are read into a sorted array once; static answers everything with its name; fail
 * answers nothing but trouble; unix is the users and groups as they were when it was opened, since a role in
 * its jail cannot ask for them later.
 */
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "config/main_cf.h"
#include "config/table_type.h"

struct entry {
    char *key, *value;
    unsigned line;
};

struct dictionary {
    struct entry *entries;
    size_t count, room;
    bool fold;
    struct buf *error;
    const char *path;
};

static void
close_dictionary(void *state)
{
    struct dictionary *d = state;

    for (size_t i = 0; i < d->count; i++) {
        free(d->entries[i].key);
        free(d->entries[i].value);
    }
    free(d->entries);
    free(d);
}

static int
compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = strcmp(x->key, y->key);

    /* Equal keys: the first line stands, as postmap warns and keeps. */
    return order != 0 ? order : x->line < y->line ? -1 : x->line > y->line;
}

static int
add_entry(struct dictionary *d, struct bytes key, struct bytes value, unsigned line)
{
    if (d->count >= TABLE_ENTRIES_MAX) {
        return GW_ERR_LIMIT;
    }
    if (d->count == d->room) {
        size_t room = d->room == 0 ? 16 : d->room * 2;
        struct entry *grown = realloc(d->entries, room * sizeof(*grown));

        if (grown == NULL) {
            return GW_ERR_NOMEM;
        }
        d->entries = grown;
        d->room = room;
    }
    struct entry *entry = &d->entries[d->count];
    *entry = (struct entry){.key = bytes_dup_str(key), .value = bytes_dup_str(value), .line = line};
    d->count++;
    if (entry->key == NULL || entry->value == NULL) {
        return GW_ERR_NOMEM;
    }
    if (d->fold) {
        ascii_lower((uint8_t *)entry->key, key.n);
    }
    return 0;
}

static int
take_text_line(void *context, struct bytes line, int number)
{
    struct dictionary *d = context;
    size_t n = 0;

    while (n < line.n && line.p[n] != ' ' && line.p[n] != '\t') {
        n++;
    }
    struct bytes key = bytes_sub(line, 0, n), value = bytes_trim(bytes_sub(line, n, line.n));
    if (value.n == 0) {
        log_warning("table", "%s, line %d: expected format: key whitespace value; ignoring this line",
                    d->path, number);
        return 0;
    }
    return add_entry(d, key, value, (unsigned)number);
}

static int
finish_dictionary(struct dictionary *d, int r, void **state_r)
{
    d->error = NULL;
    d->path = NULL;
    if (r != 0) {
        close_dictionary(d);
        return r;
    }
    if (d->count > 0) {
        qsort(d->entries, d->count, sizeof(*d->entries), compare_entries);
    }
    *state_r = d;
    return 0;
}

static int
open_texthash(const struct config *config, const char *name, unsigned flags, void **state_r,
              struct buf *error_r)
{
    struct dictionary *d = calloc(1, sizeof(*d));
    char path[TABLE_PATH_MAX];
    int r;

    *state_r = NULL;
    if (d == NULL) {
        return GW_ERR_NOMEM;
    }
    d->fold = (flags & TABLE_FOLD) != 0;
    d->error = error_r;
    d->path = path;
    r = table_path(config, name, path);
    return finish_dictionary(d, r == 0 ? config_read_lines(path, take_text_line, d, error_r) : r, state_r);
}

/* "{ key = value, { key = value with blanks }, ... }" */
static int
open_inline(const struct config *config, const char *name, unsigned flags, void **state_r,
            struct buf *error_r)
{
    struct dictionary *d = calloc(1, sizeof(*d));
    struct bytes rest = bytes_trim(bytes_str(name)), key, value;
    int r = 0;

    (void)config;
    *state_r = NULL;
    if (d == NULL) {
        return GW_ERR_NOMEM;
    }
    d->fold = (flags & TABLE_FOLD) != 0;
    if (rest.n < 2 || rest.p[0] != '{' || rest.p[rest.n - 1] != '}') {
        (void)buf_printf(
            error_r, "inline:%s: bad syntax; write inline:{ key=value, { key = text with spaces } }", name);
        return finish_dictionary(d, GW_ERR_CONFIG, state_r);
    }
    rest = bytes_sub(rest, 1, rest.n - 2);
    while (r == 0) {
        while (rest.n > 0 && memchr(", \t\r\n", rest.p[0], 5) != NULL) {
            rest = bytes_sub(rest, 1, rest.n);
        }
        if (rest.n == 0) {
            break;
        }
        size_t n = 0;
        if (rest.p[0] == '{') {
            ptrdiff_t end = bytes_index(rest, '}');
            n = end < 0 ? rest.n : (size_t)end + 1;
            r = config_split_setting(bytes_trim(bytes_sub(rest, 1, n > 2 ? n - 2 : 0)), &key, &value);
        } else {
            while (n < rest.n && memchr(", \t\r\n", rest.p[n], 5) == NULL) {
                n++;
            }
            r = config_split_setting(bytes_sub(rest, 0, n), &key, &value);
        }
        r = r == 0 ? add_entry(d, key, value, 0) : r;
        rest = bytes_sub(rest, n, rest.n);
    }
    if (r == GW_ERR_SYNTAX) {
        (void)buf_printf(error_r, "inline:%s: an entry is not key=value", name);
        r = GW_ERR_CONFIG;
    }
    return finish_dictionary(d, r, state_r);
}

static int
find_entry(void *state, struct bytes key, struct table_hit *hit)
{
    const struct dictionary *d = state;
    size_t low = 0, high = d->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        struct bytes at = bytes_str(d->entries[middle].key);
        size_t n = at.n < key.n ? at.n : key.n;
        int order = n > 0 ? memcmp(at.p, key.p, n) : 0;

        if (order < 0 || (order == 0 && at.n < key.n)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low >= d->count || !bytes_equal(bytes_str(d->entries[low].key), key)) {
        return GW_ERR_NOTFOUND;
    }
    hit->line = d->entries[low].line;
    return buf_append_str(&hit->value, d->entries[low].value);
}

const struct table_type TABLE_TEXTHASH = {"texthash", false, open_texthash, close_dictionary, find_entry};
const struct table_type TABLE_INLINE = {"inline", false, open_inline, close_dictionary, find_entry};

static int
open_name(const struct config *config, const char *name, unsigned flags, void **state_r, struct buf *error_r)
{
    struct bytes text = bytes_trim(bytes_str(name));

    (void)config;
    (void)flags;
    (void)error_r;
    if (text.n >= 2 && text.p[0] == '{' && text.p[text.n - 1] == '}') {
        text = bytes_trim(bytes_sub(text, 1, text.n - 2));
    }
    *state_r = bytes_dup_str(text);
    return *state_r == NULL ? GW_ERR_NOMEM : 0;
}

static int
find_static(void *state, struct bytes key, struct table_hit *hit)
{
    (void)key;
    return buf_append_str(&hit->value, state);
}

static int
find_failure(void *state, struct bytes key, struct table_hit *hit)
{
    (void)state;
    (void)key;
    (void)hit;
    return GW_ERR_TEMP;
}

const struct table_type TABLE_STATIC = {"static", true, open_name, free, find_static};
const struct table_type TABLE_FAIL = {"fail", true, open_name, free, find_failure};

static int
add_text(struct dictionary *d, const char *name, const struct buf *value)
{
    return add_entry(d, bytes_str(name), bytes_buf(value), 0);
}

static int
add_users(struct dictionary *d)
{
    const struct passwd *user;
    struct buf text;
    int r = 0;

    buf_init(&text, TABLE_VALUE_MAX);
    setpwent();
    while (r == 0 && (user = getpwent()) != NULL) {
        buf_clear(&text);
        r = buf_printf(&text, "%s:x:%u:%u:%s:%s:%s", user->pw_name, user->pw_uid, user->pw_gid,
                       user->pw_gecos, user->pw_dir, user->pw_shell);
        r = r == 0 ? add_text(d, user->pw_name, &text) : r;
    }
    endpwent();
    buf_free(&text);
    return r;
}

static int
add_groups(struct dictionary *d)
{
    const struct group *group;
    struct buf text;
    int r = 0;

    buf_init(&text, TABLE_VALUE_MAX);
    setgrent();
    while (r == 0 && (group = getgrent()) != NULL) {
        buf_clear(&text);
        r = buf_printf(&text, "%s:x:%u:", group->gr_name, group->gr_gid);
        for (char **member = group->gr_mem; r == 0 && *member != NULL; member++) {
            r = buf_printf(&text, "%s%s", member == group->gr_mem ? "" : ",", *member);
        }
        r = r == 0 ? add_text(d, group->gr_name, &text) : r;
    }
    endgrent();
    buf_free(&text);
    return r;
}

static int
open_unix(const struct config *config, const char *name, unsigned flags, void **state_r, struct buf *error_r)
{
    bool users = strcmp(name, "passwd.byname") == 0;
    struct dictionary *d;

    (void)config;
    (void)flags;
    *state_r = NULL;
    if (!users && strcmp(name, "group.byname") != 0) {
        (void)buf_printf(error_r, "unix:%s: unknown table; use unix:passwd.byname or unix:group.byname",
                         name);
        return GW_ERR_CONFIG;
    }
    d = calloc(1, sizeof(*d));
    return d == NULL ? GW_ERR_NOMEM : finish_dictionary(d, users ? add_users(d) : add_groups(d), state_r);
}

const struct table_type TABLE_UNIX = {"unix", false, open_unix, close_dictionary, find_entry};

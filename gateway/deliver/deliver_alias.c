/*
 * deliver_alias - see the header. Before: deliver_expand.c; after: the tables.
 *
 * A table that cannot be read is "not now", never "no such alias". Commands of an alias run with the rights
 * of who owns the table's file, because whoever can write there chooses the command; root's are run as
 * default_privs.
 */
#include "deliver/deliver_alias.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/log.h"

/* The default of alias_maps may name NIS, which does not exist here: that part is left out. */
static void
copy_without_nis(struct bytes specs, struct buf *out)
{
    struct bytes spec;

    while (bytes_next_token(&specs, ", \t\n", &spec)) {
        if (!bytes_has_prefix_nocase(spec, BYTES_LIT("nis:"))) {
            (void)buf_append_bytes(out, spec);
            (void)buf_append_str(out, " ");
        }
    }
}

/* The file behind "type:/name": with an index, that counts. False: no file. */
static bool
find_file(const char *spec, struct stat *st)
{
    static const char *const ENDS[] = {".db", ".lmdb", ".cdb", ".dir", ""};
    const char *colon = strchr(spec, ':');
    char path[PATH_MAX];

    for (size_t i = 0; colon != NULL && colon[1] == '/' && i < sizeof(ENDS) / sizeof(ENDS[0]); i++) {
        if ((size_t)snprintf(path, sizeof(path), "%s%s", colon + 1, ENDS[i]) < sizeof(path) &&
            stat(path, st) == 0) {
            return true;
        }
    }
    return false;
}

static int
add_source(struct deliver_local *local, struct bytes spec)
{
    struct deliver_alias_source *grown =
        reallocarray(local->sources, local->source_count + 1, sizeof(*grown));
    struct stat st;

    if (grown == NULL) {
        return GW_ERR_NOMEM;
    }
    local->sources = grown;
    struct deliver_alias_source *source = &grown[local->source_count];
    memset(source, 0, sizeof(*source));
    source->spec = bytes_dup_str(spec);
    if (source->spec == NULL) {
        return GW_ERR_NOMEM;
    }
    local->source_count++;
    source->is_root = !find_file(source->spec, &st) || st.st_uid == 0;
    source->is_known = source->is_root;
    if (!source->is_root) {
        source->is_known = deliver_owner_account(st.st_uid, &source->user) == 0;
        if (!source->is_known) {
            log_warning("local", "cannot find alias database owner for %s", source->spec);
        }
    }
    return 0;
}

int
deliver_alias_open(struct deliver_local *local, const struct deliver_transport *transport, struct buf *why)
{
    struct buf specs;
    struct bytes rest, spec;
    int r = 0;

    buf_init(&specs, TABLE_NAME_MAX * TABLE_LIST_MAX);
    copy_without_nis(bytes_str(config_str(transport->view, P_alias_maps)), &specs);
    if (table_list_open(transport->view, buf_str(&specs), TABLE_FOLD, &local->aliases, why) != 0) {
        /* The other transports must live: local mail waits until the file is there. */
        log_warning("local", "alias_maps: %s: local mail is deferred", buf_str(why));
        buf_clear(why);
        local->aliases_broken = true;
    }
    rest = bytes_buf(&specs);
    while (r == 0 && bytes_next_token(&rest, ", \t\n", &spec)) {
        r = add_source(local, spec);
    }
    buf_free(&specs);
    return r;
}

void
deliver_alias_close(struct deliver_local *local)
{
    table_list_free(&local->aliases);
    for (size_t i = 0; i < local->source_count; i++) {
        free((char *)(uintptr_t)local->sources[i].spec);
    }
    free(local->sources);
    local->sources = NULL;
    local->source_count = 0;
}

static const struct deliver_alias_source *
source_of(const struct deliver_local *local, const char *spec)
{
    static const struct deliver_alias_source ROOT = {.is_root = true, .is_known = true};

    for (size_t i = 0; spec != NULL && i < local->source_count; i++) {
        if (strcmp(local->sources[i].spec, spec) == 0) {
            return &local->sources[i];
        }
    }
    return &ROOT;
}

int
deliver_alias_find(struct deliver_run *run, struct bytes name, struct bytes *value_r,
                   const struct deliver_alias_source **source_r)
{
    const struct deliver_local *local = run->transport->local;
    struct table_hit hit = {0};
    int r = GW_ERR_NOTFOUND;

    *value_r = bytes_of(NULL, 0);
    if (local->aliases_broken) {
        deliver_run_say(run, DELIVERY_DEFERRED, "4.3.0", "alias database unavailable");
        return GW_ERR_TEMP;
    }
    if (local->aliases == NULL || table_list_is_empty(local->aliases)) {
        return r;
    }
    buf_init(&hit.value, TABLE_VALUE_MAX);
    r = table_list_find(local->aliases, name, &hit);
    if (r == 0) {
        *value_r = arena_dup(run->arena, bytes_buf(&hit.value));
        *source_r = source_of(local, hit.table);
        if (value_r->p == NULL && hit.value.n > 0) {
            r = GW_ERR_NOMEM;
        }
    }
    buf_free(&hit.value);
    if (r != 0 && r != GW_ERR_NOTFOUND) {
        deliver_run_say(run, DELIVERY_DEFERRED, "4.3.0", "alias database unavailable");
        r = GW_ERR_TEMP;
    }
    return r;
}

/* The end of the item that begins at *rest: a comma or line end that no quotes protect. */
static size_t
item_end(struct bytes rest)
{
    bool quoted = false;
    size_t n = 0;

    for (; n < rest.n && (quoted || (rest.p[n] != ',' && rest.p[n] != '\n')); n++) {
        if (rest.p[n] == '\\' && n + 1 < rest.n) {
            n++;
        } else if (rest.p[n] == '"') {
            quoted = !quoted;
        }
    }
    return n < rest.n ? n : rest.n;
}

/* "|command", "/file" and ":include:/file" are one item to its end, blanks and all. */
static bool
is_place(struct bytes item)
{
    return item.n > 0 &&
           (item.p[0] == '|' || item.p[0] == '/' || bytes_has_prefix_nocase(item, BYTES_LIT(":include:")));
}

/* What is in the quotes that begin at p[0]; *end_r is behind them. */
static struct bytes
quoted_text(struct arena *arena, struct bytes item, size_t *end_r)
{
    uint8_t *copy = arena_alloc(arena, item.n + 1);
    size_t n = 0, i = 1;

    for (; copy != NULL && i < item.n && item.p[i] != '"'; i++) {
        i += item.p[i] == '\\' && i + 1 < item.n;
        copy[n++] = item.p[i];
    }
    *end_r = i + 1 < item.n ? i + 1 : item.n;
    return bytes_of(copy, n);
}

/* The address without quotes, as the program keeps them, up to a blank or `stop`. A backslash in front stays.
 */
static struct bytes
bare_address(struct arena *arena, struct bytes item, uint8_t stop, size_t *end_r)
{
    uint8_t *copy = arena_alloc(arena, item.n + 1);
    size_t n = 0, i = 0;
    bool quoted = false;

    for (; copy != NULL && i < item.n; i++) {
        uint8_t c = item.p[i];

        if (!quoted && (c == ' ' || c == '\t' || c == stop)) {
            break;
        }
        if (c == '\\' && i > 0 && i + 1 < item.n) {
            c = item.p[++i];
        } else if (c == '"') {
            quoted = !quoted;
            continue;
        }
        copy[n++] = c;
    }
    *end_r = i;
    return bytes_of(copy, n);
}

/* Where "<" opens an address behind a name; -1: nowhere. */
static ptrdiff_t
angle(struct bytes item)
{
    bool quoted = false;

    for (size_t i = 0; i < item.n; i++) {
        if (item.p[i] == '\\') {
            i++;
        } else if (item.p[i] == '"') {
            quoted = !quoted;
        } else if (item.p[i] == '<' && !quoted) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

bool
deliver_alias_next(struct arena *arena, struct bytes *rest, struct bytes *item_r)
{
    while (rest->n > 0) {
        size_t end = item_end(*rest), used = 0, blanks = 0;
        struct bytes item = bytes_sub(*rest, 0, end);

        while (blanks < item.n &&
               (item.p[blanks] == ' ' || item.p[blanks] == '\t' || item.p[blanks] == '\r')) {
            blanks++;
        }
        item = bytes_trim(bytes_sub(item, blanks, item.n));
        if (item.n == 0) {
            *rest = bytes_sub(*rest, end + 1, rest->n);
            continue;
        }
        struct bytes text = item.p[0] == '"' ? quoted_text(arena, item, &used) : item;
        ptrdiff_t open = angle(item);

        if (is_place(text)) {
            *item_r = text;
            used = item.n;
        } else if (open >= 0) {
            *item_r = bare_address(arena, bytes_sub(item, (size_t)open + 1, item.n), '>', &used);
            used = item.n;
        } else {
            *item_r = bare_address(arena, item, '\0', &used);
        }
        *rest = bytes_sub(*rest, used == item.n ? end + 1 : blanks + used, rest->n);
        if (item_r->n > 0) {
            return true;
        }
        if (used == 0) {
            *rest = bytes_sub(*rest, 1, rest->n); /* a NUL: nothing an address may hold */
        }
    }
    return false;
}

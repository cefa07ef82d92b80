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

/* Without the quotes of "|command" and ":include:/file"; those of "a b"@domain belong to the address. */
static struct bytes
unquote(struct arena *arena, struct bytes item)
{
    uint8_t *copy;
    size_t n = 0;

    if (item.n < 2 || item.p[0] != '"' || item.p[item.n - 1] != '"' ||
        (copy = arena_alloc(arena, item.n)) == NULL) {
        return item;
    }
    for (size_t i = 1; i + 1 < item.n; i++) {
        if (item.p[i] == '\\' && i + 2 < item.n) {
            i++;
        } else if (item.p[i] == '"') {
            return item; /* "a" <b> or the like: not one quoted whole */
        }
        copy[n++] = item.p[i];
    }
    /* "a b" without a domain stays quoted: it is an address, not a place. */
    return n > 0 && strchr("|/:", copy[0]) != NULL && copy[0] != '\0' ? bytes_of(copy, n)
           : memchr(copy, ' ', n) == NULL                             ? bytes_of(copy, n)
                                                                      : item;
}

bool
deliver_alias_next(struct arena *arena, struct bytes *rest, struct bytes *item_r)
{
    while (rest->n > 0) {
        bool quoted = false;
        size_t n = 0;

        for (; n < rest->n && (quoted || (rest->p[n] != ',' && rest->p[n] != '\n')); n++) {
            if (rest->p[n] == '\\' && n + 1 < rest->n) {
                n++;
            } else if (rest->p[n] == '"') {
                quoted = !quoted;
            }
        }
        n = n < rest->n ? n : rest->n;
        struct bytes item = bytes_trim(bytes_sub(*rest, 0, n));

        *rest = bytes_sub(*rest, n + 1, rest->n);
        item = bytes_trim(unquote(arena, item));
        if (item.n > 1 && item.p[item.n - 1] == '>' && bytes_index(item, '<') >= 0 &&
            strchr("|/:", item.p[0]) == NULL) {
            size_t open = (size_t)bytes_rindex(item, '<');

            item = bytes_trim(bytes_sub(item, open + 1, item.n - open - 2)); /* "Name <address>" */
        }
        if (item.n > 0) {
            *item_r = item;
            return true;
        }
    }
    return false;
}

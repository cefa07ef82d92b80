/*
 * table - "type:name" to an open table, and lists of tables; see the header.
 *
 * Before: whoever reads a *_maps parameter; after: one file per type. The key is folded here, once for all
 * types.
 */
#include "config/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "config/table_cache.h"
#include "config/table_keeper.h"
#include "config/table_module.h"
#include "config/table_type.h"

/* OUTSIDE: asks what a jail hides (other servers, files of users, sockets), so the keeper asks for the role.
 * MODULE: needs a separately built library, which may not be there. COMPOSED: made of
 * other tables. SPEAKS: has logged what went wrong when it says "cannot tell". CACHED: what it gives is kept
 * for a moment. */
enum { OUTSIDE = 1, MODULE = 2, COMPOSED = 4, SPEAKS = 8, CACHED = 16 };

static const struct {
    const char *word;
    const struct table_type *type; /* NULL: Postfix has it, we never do */
    unsigned marks;
} TYPES[] = {
    {"btree", &TABLE_HASH, 0},
    {"cdb", &TABLE_HASH, 0},
    {"cidr", &TABLE_CIDR, 0},
    {"dbm", &TABLE_HASH, 0},
    {"environ", &TABLE_ENVIRON, 0},
    {"fail", &TABLE_FAIL, 0},
    {"hash", &TABLE_HASH, 0},
    {"inline", &TABLE_INLINE, 0},
    {"ldap", &TABLE_LDAP, OUTSIDE | MODULE | SPEAKS},
    {"lmdb", &TABLE_LMDB, 0},
    {"memcache", NULL, 0},
    {"mysql", &TABLE_MYSQL, OUTSIDE | MODULE | SPEAKS},
    {"netinfo", NULL, 0},
    {"nis", NULL, 0},
    {"nisplus", NULL, 0},
    {"pcre", &TABLE_PCRE, 0},
    {"pgsql", &TABLE_PGSQL, OUTSIDE | MODULE | SPEAKS},
    {"pipemap", &TABLE_PIPE, COMPOSED | SPEAKS},
    {"proxy", &TABLE_FAIL, 0}, /* taken off before this table is searched */
    {"randmap", &TABLE_RANDOM, 0},
    {"regexp", &TABLE_REGEXP, 0},
    {"sdbm", &TABLE_HASH, 0},
    {"socketmap", &TABLE_SOCKETMAP, OUTSIDE | SPEAKS},
    {"sqlite", &TABLE_SQLITE, OUTSIDE | MODULE | SPEAKS},
    {"static", &TABLE_STATIC, 0},
    {"tcp", &TABLE_TCP, OUTSIDE | SPEAKS},
    {"texthash", &TABLE_TEXTHASH, 0},
    {"unionmap", &TABLE_UNION, COMPOSED | SPEAKS},
    {"unix", &TABLE_UNIX, OUTSIDE | CACHED},
};

enum { TYPE_COUNT = sizeof(TYPES) / sizeof(TYPES[0]) };

struct table {
    const struct table_type *type;
    void *state;
    char *spec;
    bool fold, pattern, speaks, keep_lists;
    unsigned slot;             /* of the keeper; 0: looked up here */
    struct table_cache *cache; /* NULL: none */
};

struct table_list {
    struct table *tables[TABLE_LIST_MAX];
    size_t count;
};

int
table_path(const struct config *config, const char *name, char out[TABLE_PATH_MAX])
{
    int n = name[0] == '/' || config == NULL
                ? snprintf(out, TABLE_PATH_MAX, "%s", name)
                : snprintf(out, TABLE_PATH_MAX, "%s/%s", config_directory(config), name);

    return n >= 0 && n < TABLE_PATH_MAX ? 0 : GW_ERR_LIMIT;
}

/* TYPE_COUNT: there is no such word. */
static size_t
find_type(struct bytes word)
{
    size_t i = 0;

    while (i < TYPE_COUNT && !bytes_equal(word, bytes_str(TYPES[i].word))) {
        i++;
    }
    return i;
}

static bool
is_built(const struct config *config, size_t index)
{
    return TYPES[index].type != NULL &&
           ((TYPES[index].marks & MODULE) == 0 || table_module_find(config, TYPES[index].word) != NULL);
}

static int
refuse_type(struct bytes text, struct buf *error_r)
{
    (void)buf_printf(error_r, "unsupported dictionary type in \"%.*s\"; use one of", BYTES_FMT(text));
    for (size_t i = 0; table_type_name(i) != NULL; i++) {
        (void)buf_printf(error_r, "%s %s", i > 0 ? "," : "", table_type_name(i));
    }
    return GW_ERR_CONFIG;
}

/* A type that Postfix may have and that is not here keeps nothing down: it is said once, and whoever asks the
 * table gets "cannot tell". */
static const struct table_type *
replace_type(size_t index, struct bytes text)
{
    if (TYPES[index].type == NULL) {
        log_warning("table",
                    "%.*s: type not built: this gateway has no %s tables; lookups are answered with a "
                    "temporary error",
                    BYTES_FMT(text), TYPES[index].word);
    } else {
        log_warning("table",
                    "%.*s: type not built: there is no estafeta-table-%s.so in %s; lookups are answered "
                    "with a temporary error",
                    BYTES_FMT(text), TYPES[index].word, table_module_directory());
    }
    return &TABLE_FAIL;
}

static void
classify(struct table *table, size_t index)
{
    bool fails = table->type == &TABLE_FAIL;

    bool composed = (TYPES[index].marks & COMPOSED) != 0;

    table->speaks = (TYPES[index].marks & SPEAKS) != 0 && !fails;
    table->pattern = composed ? table_composition_is_pattern(table->state) : table->type->pattern;
    table->cache = (TYPES[index].marks & CACHED) != 0 && !fails ? table_cache_new() : NULL;
    table->slot = (TYPES[index].marks & OUTSIDE) != 0 && !fails ? table_keeper_add(table) : 0;
}

int
table_open(const struct config *config, struct bytes spec, unsigned flags, struct table **table_r,
           struct buf *error_r)
{
    struct bytes text = bytes_trim(spec);
    struct table *table;
    int r = GW_ERR_NOMEM;

    *table_r = NULL;
    /* proxy: hands a table to another process in Postfix; here the keeper has those that need it. */
    while (bytes_has_prefix_nocase(text, BYTES_LIT("proxy:"))) {
        text = bytes_sub(text, 6, text.n);
    }
    ptrdiff_t colon = bytes_index(text, ':');
    size_t index = colon < 0 ? TYPE_COUNT : find_type(bytes_sub(text, 0, (size_t)colon));
    if (index == TYPE_COUNT) {
        return refuse_type(text, error_r);
    }
    if ((size_t)colon + 1 == text.n) {
        (void)buf_printf(error_r, "open dictionary: expecting \"type:name\" form instead of \"%.*s\"",
                         BYTES_FMT(text));
        return GW_ERR_CONFIG;
    }
    table = calloc(1, sizeof(*table));
    if (table == NULL || (table->spec = bytes_dup_str(text)) == NULL) {
        goto out;
    }
    table->type = is_built(config, index) ? TYPES[index].type : replace_type(index, text);
    r = table->type->open(config, table->spec + colon + 1, flags, &table->state, error_r);
    if (r == 0) {
        classify(table, index);
        table->keep_lists = config == NULL || config_bool(config, P_owner_request_special);
        table->fold =
            (flags & TABLE_FOLD) != 0 && !table->type->pattern && (TYPES[index].marks & COMPOSED) == 0;
        *table_r = table;
        table = NULL; /* transferred */
    }
out:
    table_free(&table);
    return r;
}

const char *
table_type_name(size_t index)
{
    size_t shown = 0;

    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (is_built(NULL, i) && shown++ == index) {
            return TYPES[i].word;
        }
    }
    return NULL;
}

void
table_free(struct table **table)
{
    if (*table != NULL) {
        table_keeper_remove((*table)->slot);
        if ((*table)->state != NULL) {
            (*table)->type->close((*table)->state);
        }
        table_cache_free(&(*table)->cache);
        free((*table)->spec);
        free(*table);
        *table = NULL;
    }
}

bool
table_keeps_lists(const struct table *table)
{
    return table->keep_lists;
}

const char *
table_spec(const struct table *table)
{
    return table->spec;
}

bool
table_is_pattern(const struct table *table)
{
    return table->pattern;
}

int
table_find_here(struct table *table, struct bytes key, struct table_hit *hit)
{
    int r = table->type->find(table->state, key, hit);

    if (r != 0 && r != GW_ERR_NOTFOUND) {
        if (!table->speaks || r != GW_ERR_TEMP) {
            log_warning("table", "%s: lookup problem: %s", table->spec, gw_strerror(r));
        }
        r = GW_ERR_TEMP;
    }
    return r;
}

static int
find_outside(struct table *table, struct bytes key, struct table_hit *hit)
{
    int r;

    if (!table_cache_find(table->cache, key, &r, &hit->value)) {
        r = table_keeper_find(table->slot, key, hit);
        table_cache_put(table->cache, key, r, bytes_buf(&hit->value));
    }
    return r;
}

int
table_find(struct table *table, struct bytes key, struct table_hit *hit)
{
    uint8_t folded[TABLE_KEY_MAX];

    if (key.n > sizeof(folded)) {
        return GW_ERR_NOTFOUND;
    }
    if (table->fold && key.n > 0) {
        memcpy(folded, key.p, key.n);
        ascii_lower(folded, key.n);
        key.p = folded;
    }
    buf_clear(&hit->value);
    hit->line = 0;
    int r = table->slot != 0 && table_keeper_is_running() ? find_outside(table, key, hit)
                                                          : table_find_here(table, key, hit);
    hit->table = table->spec;
    return r;
}

int
table_list_open(const struct config *config, const char *specs, unsigned flags, struct table_list **list_r,
                struct buf *error_r)
{
    struct table_list *list = calloc(1, sizeof(*list));
    struct bytes rest = bytes_str(specs), spec;
    int r = list == NULL ? GW_ERR_NOMEM : 0;

    *list_r = NULL;
    while (r == 0 && table_next_word(&rest, &spec)) {
        if (list->count >= TABLE_LIST_MAX) {
            (void)buf_printf(error_r, "more than %d tables in \"%s\"", TABLE_LIST_MAX, specs);
            r = GW_ERR_CONFIG;
            break;
        }
        r = table_open(config, spec, flags, &list->tables[list->count], error_r);
        list->count += r == 0;
    }
    if (r == 0) {
        *list_r = list;
        list = NULL; /* transferred */
    }
    table_list_free(&list);
    return r;
}

void
table_list_free(struct table_list **list)
{
    if (*list != NULL) {
        for (size_t i = 0; i < (*list)->count; i++) {
            table_free(&(*list)->tables[i]);
        }
        free(*list);
        *list = NULL;
    }
}

bool
table_list_is_empty(const struct table_list *list)
{
    return list == NULL || list->count == 0;
}

int
table_list_find(struct table_list *list, struct bytes key, struct table_hit *hit)
{
    int r = GW_ERR_NOTFOUND;

    for (size_t i = 0; list != NULL && i < list->count && r == GW_ERR_NOTFOUND; i++) {
        r = table_find(list->tables[i], key, hit);
    }
    return r;
}

/* Partial keys are not for pattern tables: those see whole addresses only. */
static int
find_partial(struct table_list *list, struct bytes key, struct table_hit *hit)
{
    int r = GW_ERR_NOTFOUND;

    for (size_t i = 0; i < list->count && r == GW_ERR_NOTFOUND; i++) {
        if (!list->tables[i]->pattern) {
            r = table_find(list->tables[i], key, hit);
        }
    }
    return r;
}

int
table_list_find_address(struct table_list *list, struct bytes address, const char *delimiter,
                        bool is_local_domain, struct table_hit *hit)
{
    ptrdiff_t at = bytes_rindex(address, '@');
    struct bytes local = at < 0 ? address : bytes_sub(address, 0, (size_t)at);
    struct bytes domain = at < 0 ? (struct bytes){0} : bytes_sub(address, (size_t)at, address.n); /* with @ */
    size_t bare =
        table_extension(local, delimiter, !table_list_is_empty(list) && list->tables[0]->keep_lists);
    struct buf key;
    int r;

    if (table_list_is_empty(list)) {
        return GW_ERR_NOTFOUND;
    }
    buf_init(&key, TABLE_KEY_MAX);
    hit->unmatched = 0;
    r = table_list_find(list, address, hit);
    if (r == GW_ERR_NOTFOUND && bare < local.n && domain.n > 0 &&
        buf_append_bytes(&key, bytes_sub(local, 0, bare)) == 0 && buf_append_bytes(&key, domain) == 0) {
        r = find_partial(list, bytes_buf(&key), hit);
        hit->unmatched = r == 0 ? local.n - bare : 0;
    }
    if (r == GW_ERR_NOTFOUND && is_local_domain && domain.n > 0) {
        r = find_partial(list, local, hit);
    }
    if (r == GW_ERR_NOTFOUND && is_local_domain && bare < local.n) {
        r = find_partial(list, bytes_sub(local, 0, bare), hit);
        hit->unmatched = r == 0 ? local.n - bare : 0;
    }
    if (r == GW_ERR_NOTFOUND && domain.n > 0) {
        r = find_partial(list, domain, hit);
    }
    buf_free(&key);
    return r;
}

int
table_list_find_transport(struct table_list *list, struct bytes address, const char *delimiter,
                          struct table_hit *hit)
{
    ptrdiff_t at = bytes_rindex(address, '@');
    struct bytes local = bytes_sub(address, 0, at < 0 ? address.n : (size_t)at);
    struct bytes domain = at < 0 ? (struct bytes){0} : bytes_sub(address, (size_t)at + 1, address.n);
    size_t bare =
        table_extension(local, delimiter, !table_list_is_empty(list) && list->tables[0]->keep_lists);
    struct buf key;
    int r;

    if (table_list_is_empty(list)) {
        return GW_ERR_NOTFOUND;
    }
    buf_init(&key, TABLE_KEY_MAX);
    r = table_list_find(list, address, hit);
    if (r == GW_ERR_NOTFOUND && bare < local.n && at >= 0 &&
        buf_append_bytes(&key, bytes_sub(local, 0, bare)) == 0 &&
        buf_append_bytes(&key, bytes_sub(address, (size_t)at, address.n)) == 0) {
        r = find_partial(list, bytes_buf(&key), hit);
    }
    buf_free(&key);
    for (struct bytes name = domain; r == GW_ERR_NOTFOUND && name.n > 0;) {
        r = find_partial(list, name, hit); /* "example.com", then ".com": the dot stays for parents */
        ptrdiff_t dot = bytes_index(bytes_sub(name, 1, name.n), '.');
        name = dot < 0 ? (struct bytes){0} : bytes_sub(name, (size_t)dot + 1, name.n);
    }
    return r == GW_ERR_NOTFOUND ? find_partial(list, BYTES_LIT("*"), hit) : r;
}

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
#include "config/table_type.h"

static const struct {
    const char *word;
    const struct table_type *type;
} TYPES[] = {
    {"btree", &TABLE_HASH},        {"cdb", &TABLE_HASH},  {"cidr", &TABLE_CIDR},
    {"dbm", &TABLE_HASH},          {"fail", &TABLE_FAIL}, {"hash", &TABLE_HASH},
    {"inline", &TABLE_INLINE},     {"lmdb", &TABLE_HASH}, {"pcre", &TABLE_PCRE},
    {"regexp", &TABLE_REGEXP},     {"sdbm", &TABLE_HASH}, {"static", &TABLE_STATIC},
    {"texthash", &TABLE_TEXTHASH}, {"unix", &TABLE_UNIX},
};

struct table {
    const struct table_type *type;
    void *state;
    char *spec;
    bool fold;
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

static const struct table_type *
find_type(struct bytes word)
{
    for (size_t i = 0; i < sizeof(TYPES) / sizeof(TYPES[0]); i++) {
        if (bytes_equal(word, bytes_str(TYPES[i].word))) {
            return TYPES[i].type;
        }
    }
    return NULL;
}

int
table_open(const struct config *config, struct bytes spec, unsigned flags, struct table **table_r,
           struct buf *error_r)
{
    struct bytes text = bytes_trim(spec);
    struct table *table;
    int r = GW_ERR_NOMEM;

    *table_r = NULL;
    /* proxy: hands a table to another process in Postfix; here it is opened by whoever reads it. */
    if (bytes_has_prefix_nocase(text, BYTES_LIT("proxy:"))) {
        text = bytes_sub(text, 6, text.n);
    }
    ptrdiff_t colon = bytes_index(text, ':');
    const struct table_type *type = colon < 0 ? NULL : find_type(bytes_sub(text, 0, (size_t)colon));
    if (type == NULL) {
        (void)buf_printf(error_r,
                         "unsupported dictionary type in \"%.*s\"; use one of hash, lmdb, texthash, inline, "
                         "static, regexp, pcre, cidr, unix, fail",
                         BYTES_FMT(text));
        return GW_ERR_CONFIG;
    }
    table = calloc(1, sizeof(*table));
    if (table == NULL || (table->spec = bytes_dup_str(text)) == NULL) {
        goto out;
    }
    table->type = type;
    table->fold = (flags & TABLE_FOLD) != 0 && !type->pattern;
    r = type->open(config, table->spec + colon + 1, flags, &table->state, error_r);
    if (r == 0) {
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
    return index < sizeof(TYPES) / sizeof(TYPES[0]) ? TYPES[index].word : NULL;
}

void
table_free(struct table **table)
{
    if (*table != NULL) {
        if ((*table)->state != NULL) {
            (*table)->type->close((*table)->state);
        }
        free((*table)->spec);
        free(*table);
        *table = NULL;
    }
}

const char *
table_spec(const struct table *table)
{
    return table->spec;
}

bool
table_is_pattern(const struct table *table)
{
    return table->type->pattern;
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
    hit->table = table->spec;
    hit->line = 0;
    int r = table->type->find(table->state, key, hit);
    if (r != 0 && r != GW_ERR_NOTFOUND) {
        log_warning("table", "%s: lookup problem: %s", table->spec, gw_strerror(r));
        r = GW_ERR_TEMP;
    }
    return r;
}

/* Specs are separated by commas and blanks, but not inside braces: "inline:{ a=b, c=d }" is one. */
static bool
next_spec(struct bytes *rest, struct bytes *spec_r)
{
    size_t i = 0, depth = 0;

    while (rest->n > 0 && memchr(", \t\r\n", rest->p[0], 5) != NULL) {
        *rest = bytes_sub(*rest, 1, rest->n);
    }
    for (; i < rest->n; i++) {
        depth += rest->p[i] == '{';
        depth -= rest->p[i] == '}' && depth > 0;
        if (depth == 0 && memchr(", \t\r\n", rest->p[i], 5) != NULL) {
            break;
        }
    }
    *spec_r = bytes_sub(*rest, 0, i);
    *rest = bytes_sub(*rest, i, rest->n);
    return spec_r->n > 0;
}

int
table_list_open(const struct config *config, const char *specs, unsigned flags, struct table_list **list_r,
                struct buf *error_r)
{
    struct table_list *list = calloc(1, sizeof(*list));
    struct bytes rest = bytes_str(specs), spec;
    int r = list == NULL ? GW_ERR_NOMEM : 0;

    *list_r = NULL;
    while (r == 0 && next_spec(&rest, &spec)) {
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
        if (!list->tables[i]->type->pattern) {
            r = table_find(list->tables[i], key, hit);
        }
    }
    return r;
}

/* The local part without the extension; the whole when there is none. Offset of the delimiter, or local.n. */
static size_t
find_extension(struct bytes local, const char *delimiters)
{
    for (size_t i = 1; i < local.n; i++) {
        if (local.p[i] != '\0' && strchr(delimiters, local.p[i]) != NULL) {
            return i;
        }
    }
    return local.n;
}

int
table_list_find_address(struct table_list *list, struct bytes address, const char *delimiter,
                        bool is_local_domain, struct table_hit *hit)
{
    ptrdiff_t at = bytes_rindex(address, '@');
    struct bytes local = at < 0 ? address : bytes_sub(address, 0, (size_t)at);
    struct bytes domain = at < 0 ? (struct bytes){0} : bytes_sub(address, (size_t)at, address.n); /* with @ */
    size_t bare = find_extension(local, delimiter);
    struct buf key;
    int r;

    if (table_list_is_empty(list)) {
        return GW_ERR_NOTFOUND;
    }
    buf_init(&key, TABLE_KEY_MAX);
    r = table_list_find(list, address, hit);
    if (r == GW_ERR_NOTFOUND && bare < local.n && domain.n > 0 &&
        buf_append_bytes(&key, bytes_sub(local, 0, bare)) == 0 && buf_append_bytes(&key, domain) == 0) {
        r = find_partial(list, bytes_buf(&key), hit);
    }
    if (r == GW_ERR_NOTFOUND && is_local_domain && domain.n > 0) {
        r = find_partial(list, local, hit);
    }
    if (r == GW_ERR_NOTFOUND && is_local_domain && bare < local.n) {
        r = find_partial(list, bytes_sub(local, 0, bare), hit);
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
    size_t bare = find_extension(local, delimiter);
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

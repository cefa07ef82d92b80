/*
 * table_simple - the types without a file of their own kind: texthash, inline, static, fail.
 *
 * texthash and inline are read into a sorted array once; static answers everything with its name; fail
 * answers nothing but trouble.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "config/main_cf.h"
#include "config/table_text.h"
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
    struct bytes key, value;

    switch (table_text_split(line, &key, &value)) {
    case TABLE_TEXT_UNBALANCED:
        log_warning("table", "%s, line %d: unbalanced '\"' in '%.*s' -- ignoring this line", d->path, number,
                    BYTES_FMT(key));
        return 0;
    case TABLE_TEXT_NO_VALUE:
        log_warning("table", "%s, line %d: expected format: key whitespace value -- ignoring this line",
                    d->path, number);
        return 0;
    case TABLE_TEXT_ALIAS:
        log_warning("table", "%s, line %d: record is in \"key: value\" format; is this an alias file?",
                    d->path, number);
        break;
    case TABLE_TEXT_GOOD:
        break;
    }
    return add_entry(d, key, value, (unsigned)number);
}

/* A source file says which lines do not count, as postmap does. */
static void
warn_duplicates(const struct dictionary *d)
{
    for (size_t i = 1; i < d->count; i++) {
        if (strcmp(d->entries[i - 1].key, d->entries[i].key) == 0) {
            log_warning("table", "%s, line %u: duplicate entry: \"%s\"", d->path, d->entries[i].line,
                        d->entries[i].key);
        }
    }
}

static int
finish_dictionary(struct dictionary *d, int r, void **state_r)
{
    if (r == 0 && d->count > 0) {
        qsort(d->entries, d->count, sizeof(*d->entries), compare_entries);
    }
    if (r == 0 && d->path != NULL) {
        warn_duplicates(d);
    }
    d->error = NULL;
    d->path = NULL;
    if (r != 0) {
        close_dictionary(d);
        return r;
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

/* One of "key=value" and "{ key = value with blanks }". */
static int
add_inline(struct dictionary *d, struct bytes word, unsigned number)
{
    struct bytes key, value;

    if (word.p[0] == '{') {
        if (word.p[word.n - 1] != '}') {
            return GW_ERR_SYNTAX;
        }
        word = bytes_trim(bytes_sub(word, 1, word.n - 2));
    }
    int r = config_split_setting(word, &key, &value);
    /* Equal keys: here the last stands, so they are numbered downwards for the sort. */
    return r == 0 ? add_entry(d, key, value, UINT_MAX - number) : r;
}

/* "{ key = value, { key = value with blanks }, ... }" */
static int
open_inline(const struct config *config, const char *name, unsigned flags, void **state_r,
            struct buf *error_r)
{
    struct dictionary *d = calloc(1, sizeof(*d));
    struct bytes rest, word;
    unsigned number = 0;
    int r = 0;

    (void)config;
    *state_r = NULL;
    if (d == NULL) {
        return GW_ERR_NOMEM;
    }
    d->fold = (flags & TABLE_FOLD) != 0;
    if (!table_strip_braces(bytes_str(name), &rest) || bytes_trim(rest).n == 0) {
        r = GW_ERR_SYNTAX;
    }
    while (r == 0 && table_next_word(&rest, &word)) {
        r = add_inline(d, word, number++);
    }
    if (r == GW_ERR_SYNTAX) {
        (void)buf_printf(error_r, "bad syntax: \"inline:%s\"; need \"inline:{name=value...}\"", name);
        r = GW_ERR_CONFIG;
    }
    r = finish_dictionary(d, r, state_r);
    for (size_t i = 0; r == 0 && i < d->count; i++) {
        d->entries[i].line = 0;
    }
    return r;
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

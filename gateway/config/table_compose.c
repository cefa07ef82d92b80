/*
 * table_compose - tables made of tables: unionmap:{a, b}, pipemap:{a, b}; and randmap:{x, y}, which is made
 * of values.
 *
 * Before: table_find(); after: table_find() of each member, which may be composed again up to a depth.
 * unionmap joins what its members give with commas; pipemap looks the key up in the first, what that gave in
 * the second, and so on; randmap gives any of its values. A member that cannot tell makes the whole "cannot
 * tell".
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/error.h"
#include "config/table_type.h"

enum { MEMBERS_MAX = TABLE_LIST_MAX, DEPTH_MAX = 16 };

struct composition {
    struct table *members[MEMBERS_MAX];
    size_t count;
    bool pattern;
};

bool
table_strip_braces(struct bytes text, struct bytes *inner_r)
{
    size_t depth = 0;

    if (text.n < 2 || text.p[0] != '{') {
        return false;
    }
    for (size_t i = 0; i < text.n; i++) {
        depth += text.p[i] == '{';
        depth -= text.p[i] == '}';
        if (depth == 0) {
            *inner_r = bytes_sub(text, 1, text.n - 2);
            return i + 1 == text.n;
        }
    }
    return false;
}

bool
table_next_word(struct bytes *rest, struct bytes *word_r)
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
    *word_r = bytes_sub(*rest, 0, i);
    *rest = bytes_sub(*rest, i, rest->n);
    return word_r->n > 0;
}

/* How deep braces stand in braces: each level is a level of recursion. */
static bool
is_too_deep(const char *text)
{
    size_t depth = 0;

    for (; *text != '\0'; text++) {
        depth += *text == '{';
        depth -= *text == '}' && depth > 0;
        if (depth > DEPTH_MAX) {
            return true;
        }
    }
    return false;
}

static int
bad_syntax(const char *type, const char *name, const char *need, struct buf *error_r)
{
    (void)buf_printf(error_r, "bad syntax: \"%s:%s\"; need \"%s:{%s...}\"", type, name, type, need);
    return GW_ERR_CONFIG;
}

static void
close_composition(void *state)
{
    struct composition *composition = state;

    for (size_t i = 0; i < composition->count; i++) {
        table_free(&composition->members[i]);
    }
    free(composition);
}

static int
open_members(const struct config *config, const char *type, const char *name, unsigned flags,
             struct composition **composition_r, struct buf *error_r)
{
    struct composition *composition = calloc(1, sizeof(*composition));
    struct bytes rest, word;
    int r = 0;

    *composition_r = NULL;
    if (composition == NULL) {
        return GW_ERR_NOMEM;
    }
    if (!table_strip_braces(bytes_str(name), &rest) || is_too_deep(name)) {
        r = bad_syntax(type, name, "type:name", error_r);
    }
    while (r == 0 && table_next_word(&rest, &word)) {
        if (composition->count >= MEMBERS_MAX) {
            (void)buf_printf(error_r, "%s:%s: more than %d tables", type, name, MEMBERS_MAX);
            r = GW_ERR_CONFIG;
            break;
        }
        r = table_open(config, word, flags, &composition->members[composition->count], error_r);
        composition->count += r == 0;
    }
    if (r == 0 && composition->count == 0) {
        r = bad_syntax(type, name, "type:name", error_r);
    }
    if (r != 0) {
        close_composition(composition);
        return r;
    }
    *composition_r = composition;
    return 0;
}

/* Partial keys make sense as soon as one member looks keys up as they are. */
static int
open_union(const struct config *config, const char *name, unsigned flags, void **state_r, struct buf *error_r)
{
    struct composition *composition;
    int r = open_members(config, "unionmap", name, flags, &composition, error_r);

    *state_r = composition;
    if (r == 0) {
        composition->pattern = true;
        for (size_t i = 0; i < composition->count; i++) {
            composition->pattern = composition->pattern && table_is_pattern(composition->members[i]);
        }
    }
    return r;
}

/* The first member is the one that sees the key. */
static int
open_pipe(const struct config *config, const char *name, unsigned flags, void **state_r, struct buf *error_r)
{
    struct composition *composition;
    int r = open_members(config, "pipemap", name, flags, &composition, error_r);

    *state_r = composition;
    if (r == 0) {
        composition->pattern = table_is_pattern(composition->members[0]);
    }
    return r;
}

bool
table_composition_is_pattern(const void *state)
{
    const struct composition *composition = state;

    return composition->pattern;
}

static int
find_union(void *state, struct bytes key, struct table_hit *hit)
{
    struct composition *composition = state;
    struct table_hit member = {0};
    bool found = false;
    int r = 0;

    buf_init(&member.value, TABLE_VALUE_MAX);
    for (size_t i = 0; r == 0 && i < composition->count; i++) {
        r = table_find(composition->members[i], key, &member);
        if (r == 0) {
            r = found ? buf_append_byte(&hit->value, ',') : 0;
            r = r == 0 ? buf_append_bytes(&hit->value, bytes_buf(&member.value)) : r;
            found = true;
        } else if (r == GW_ERR_NOTFOUND) {
            r = 0;
        }
    }
    buf_free(&member.value);
    return r != 0 ? r : found ? 0 : GW_ERR_NOTFOUND;
}

static int
find_pipe(void *state, struct bytes key, struct table_hit *hit)
{
    struct composition *composition = state;
    struct table_hit before = {0};
    int r = 0;

    buf_init(&before.value, TABLE_VALUE_MAX);
    for (size_t i = 0; r == 0 && i < composition->count; i++) {
        if (i > 0) {
            buf_clear(&before.value);
            if ((r = buf_append_bytes(&before.value, bytes_buf(&hit->value))) != 0) {
                break;
            }
            key = bytes_buf(&before.value);
        }
        r = table_find(composition->members[i], key, hit);
    }
    buf_free(&before.value);
    return r;
}

const struct table_type TABLE_UNION = {"unionmap", false, open_union, close_composition, find_union};
const struct table_type TABLE_PIPE = {"pipemap", false, open_pipe, close_composition, find_pipe};

struct choice {
    char *values[MEMBERS_MAX];
    size_t count;
};

static void
close_choice(void *state)
{
    struct choice *choice = state;

    for (size_t i = 0; i < choice->count; i++) {
        free(choice->values[i]);
    }
    free(choice);
}

static int
open_random(const struct config *config, const char *name, unsigned flags, void **state_r,
            struct buf *error_r)
{
    struct choice *choice = calloc(1, sizeof(*choice));
    struct bytes rest, word;
    int r = 0;

    (void)config;
    (void)flags;
    *state_r = NULL;
    if (choice == NULL) {
        return GW_ERR_NOMEM;
    }
    if (!table_strip_braces(bytes_str(name), &rest)) {
        r = bad_syntax("randmap", name, "value", error_r);
    }
    while (r == 0 && table_next_word(&rest, &word)) {
        if (choice->count >= MEMBERS_MAX) {
            (void)buf_printf(error_r, "randmap:%s: more than %d values", name, MEMBERS_MAX);
            r = GW_ERR_CONFIG;
        } else if ((choice->values[choice->count] = bytes_dup_str(word)) == NULL) {
            r = GW_ERR_NOMEM;
        } else {
            choice->count++;
        }
    }
    if (r == 0 && choice->count == 0) {
        r = bad_syntax("randmap", name, "value", error_r);
    }
    if (r != 0) {
        close_choice(choice);
        return r;
    }
    *state_r = choice;
    return 0;
}

static int
find_random(void *state, struct bytes key, struct table_hit *hit)
{
    const struct choice *choice = state;
    uint32_t chance = 0;

    (void)key;
    if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) == -1) {
        chance = 0; /* any value is a right answer */
    }
    return buf_append_str(&hit->value, choice->values[chance % choice->count]);
}

const struct table_type TABLE_RANDOM = {"randmap", true, open_random, close_choice, find_random};

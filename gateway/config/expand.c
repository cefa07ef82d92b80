/*
 * expand - see the header. Before: config.c for every value; bounded in depth by CONFIG_EXPAND_DEPTH_MAX.
 */
#include "config/expand.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "config/config.h"

struct expander {
    expand_lookup *lookup;
    void *context;
    unsigned depth;
};

static int expand(struct expander *e, struct bytes text, struct buf *out);

static bool
is_name_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static size_t
name_length(struct bytes text)
{
    size_t n = 0;

    while (n < text.n && is_name_byte(text.p[n])) {
        n++;
    }
    return n;
}

/* Offset of the bracket that closes the one at text.p[0], or -1. */
static ptrdiff_t
find_close(struct bytes text, uint8_t open, uint8_t close)
{
    size_t depth = 0;

    for (size_t i = 0; i < text.n; i++) {
        depth += text.p[i] == open;
        if (text.p[i] == close && --depth == 0) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

/* Takes "{...}" off *rest, blanks around it too. */
static int
take_braced(struct bytes *rest, struct bytes *inner_r)
{
    *rest = bytes_trim(*rest);
    ptrdiff_t end = rest->n > 0 && rest->p[0] == '{' ? find_close(*rest, '{', '}') : -1;

    if (end < 0) {
        return GW_ERR_SYNTAX;
    }
    *inner_r = bytes_trim(bytes_sub(*rest, 1, (size_t)end - 1));
    *rest = bytes_trim(bytes_sub(*rest, (size_t)end + 1, rest->n));
    return 0;
}

/* 3.6 and 3.10 compare by parts, as compatibility levels do. */
static int
compare_levels(const char *a, const char *b)
{
    for (int part = 0; part < 3; part++) {
        char *end_a, *end_b;
        long x = strtol(a, &end_a, 10), y = strtol(b, &end_b, 10);

        if (x != y) {
            return x < y ? -1 : 1;
        }
        a = *end_a == '.' ? end_a + 1 : "";
        b = *end_b == '.' ? end_b + 1 : "";
    }
    return 0;
}

static int
compare_values(const char *a, const char *b)
{
    char *end_a, *end_b;
    long x = strtol(a, &end_a, 10), y = strtol(b, &end_b, 10);

    if (a[0] != '\0' && b[0] != '\0' && *end_a == '\0' && *end_b == '\0') {
        return x < y ? -1 : x > y;
    }
    return strcmp(a, b);
}

static const struct {
    const char *word;
    bool less, equal, greater;
} OPERATORS[] = {
    {"==", false, true, false}, {"!=", true, false, true}, {"<=", true, true, false},
    {">=", false, true, true},  {"<", true, false, false}, {">", false, false, true},
};

/* "{a} op {b}" of a conditional; *rest is left behind it. */
static int
evaluate(struct expander *e, struct bytes *rest, bool *holds_r)
{
    struct bytes left, right, word;
    struct buf a, b;
    int r;

    buf_init(&a, CONFIG_LINE_MAX);
    buf_init(&b, CONFIG_LINE_MAX);
    if ((r = take_braced(rest, &left)) != 0) {
        goto out;
    }
    ptrdiff_t brace = bytes_index(*rest, '{');
    if (brace <= 0) {
        r = GW_ERR_SYNTAX;
        goto out;
    }
    word = bytes_trim(bytes_sub(*rest, 0, (size_t)brace));
    *rest = bytes_sub(*rest, (size_t)brace, rest->n);
    if ((r = take_braced(rest, &right)) != 0 || (r = expand(e, left, &a)) != 0 ||
        (r = expand(e, right, &b)) != 0) {
        goto out;
    }
    bool level = bytes_has_suffix_nocase(word, BYTES_LIT("level"));
    if (level) {
        word = bytes_trim(bytes_sub(word, 0, word.n - 5));
    }
    r = GW_ERR_SYNTAX;
    for (size_t i = 0; i < sizeof(OPERATORS) / sizeof(OPERATORS[0]) && r != 0; i++) {
        if (bytes_equal(word, bytes_str(OPERATORS[i].word))) {
            int order =
                level ? compare_levels(buf_str(&a), buf_str(&b)) : compare_values(buf_str(&a), buf_str(&b));

            *holds_r = order < 0 ? OPERATORS[i].less : order == 0 ? OPERATORS[i].equal : OPERATORS[i].greater;
            r = 0;
        }
    }
out:
    buf_free(&a);
    buf_free(&b);
    return r;
}

/* Behind a condition: "? x : y", "?x", ":y"; x and y with or without braces. */
static int
choose(struct expander *e, struct bytes rest, bool holds, struct buf *out)
{
    struct bytes yes = {0}, no = {0};

    rest = bytes_trim(rest);
    if (rest.n > 0 && rest.p[0] == '?') {
        rest = bytes_sub(rest, 1, rest.n);
        struct bytes after = bytes_trim(rest);
        if (after.n > 0 && after.p[0] == '{') {
            if (take_braced(&after, &yes) != 0) {
                return GW_ERR_SYNTAX;
            }
            rest = after;
        } else {
            yes = rest;
            rest = (struct bytes){0};
        }
    }
    if (rest.n > 0 && rest.p[0] == ':') {
        no = bytes_sub(rest, 1, rest.n);
        struct bytes after = bytes_trim(no);
        if (after.n > 0 && after.p[0] == '{' && take_braced(&after, &no) != 0) {
            return GW_ERR_SYNTAX;
        }
    } else if (rest.n > 0) {
        return GW_ERR_SYNTAX;
    }
    return expand(e, holds ? yes : no, out);
}

/* What stands between "${" and "}" or "$(" and ")". */
static int
expand_inner(struct expander *e, struct bytes inner, struct buf *out)
{
    struct bytes text = bytes_trim(inner);
    bool holds = false;
    int r;

    if (text.n > 0 && text.p[0] == '{') {
        r = evaluate(e, &text, &holds);
        return r == 0 ? choose(e, text, holds, out) : r;
    }
    size_t n = name_length(text);
    if (n == 0) {
        return GW_ERR_SYNTAX;
    }
    struct bytes name = bytes_sub(text, 0, n), rest = bytes_sub(text, n, text.n);
    if (rest.n == 0) {
        r = e->lookup(e->context, name, out);
        return r == GW_ERR_NOTFOUND ? 0 : r;
    }
    struct buf value;
    buf_init(&value, CONFIG_LINE_MAX);
    r = e->lookup(e->context, name, &value);
    holds = r == 0 && value.n > 0;
    buf_free(&value);
    return r == 0 || r == GW_ERR_NOTFOUND ? choose(e, rest, holds, out) : r;
}

/* One "$..." at the start of *text. */
static int
expand_dollar(struct expander *e, struct bytes *text, struct buf *out)
{
    uint8_t next = text->n > 1 ? text->p[1] : '\0';

    if (next == '$') {
        *text = bytes_sub(*text, 2, text->n);
        return buf_append_byte(out, '$');
    }
    if (next == '{' || next == '(') {
        struct bytes from = bytes_sub(*text, 1, text->n);
        ptrdiff_t end = find_close(from, next, next == '{' ? '}' : ')');

        if (end < 0) {
            return GW_ERR_SYNTAX;
        }
        *text = bytes_sub(from, (size_t)end + 1, from.n);
        return expand_inner(e, bytes_sub(from, 1, (size_t)end - 1), out);
    }
    size_t n = name_length(bytes_sub(*text, 1, text->n));
    if (n == 0) {
        return GW_ERR_SYNTAX;
    }
    struct bytes name = bytes_sub(*text, 1, n);
    *text = bytes_sub(*text, n + 1, text->n);
    int r = e->lookup(e->context, name, out);
    return r == GW_ERR_NOTFOUND ? 0 : r;
}

static int
expand(struct expander *e, struct bytes text, struct buf *out)
{
    int r = 0;

    if (++e->depth > CONFIG_EXPAND_DEPTH_MAX) {
        return GW_ERR_LIMIT;
    }
    while (r == 0 && text.n > 0) {
        ptrdiff_t dollar = bytes_index(text, '$');
        size_t plain = dollar < 0 ? text.n : (size_t)dollar;

        r = buf_append_bytes(out, bytes_sub(text, 0, plain));
        text = bytes_sub(text, plain, text.n);
        if (r == 0 && text.n > 0) {
            r = expand_dollar(e, &text, out);
        }
    }
    e->depth--;
    return r;
}

int
expand_value(struct bytes text, expand_lookup *lookup, void *context, struct buf *out)
{
    struct expander e = {.lookup = lookup, .context = context};

    return expand(&e, text, out);
}

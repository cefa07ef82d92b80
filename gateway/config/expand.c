/*
 * expand - see the header. Before: config.c for every value, postconf; bounded in depth by
 * CONFIG_EXPAND_DEPTH_MAX.
 *
 * What stands in braces is taken as it is, blanks included; blanks around braces, names and operators do not
 * count. Both as Postfix has it, since old configurations rely on either.
 */
#include "config/expand.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "config/config.h"

enum { SHOWN_BYTES = 20, NUMBER_DIGITS_MAX = 18, LEVEL_PARTS = 3 };

struct expander {
    expand_lookup *lookup;
    void *context;
    struct buf *why;
    bool scan; /* every branch is visited */
    unsigned depth;
};

static int expand(struct expander *e, struct bytes text, struct buf *out);

static bool
is_name_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool
is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct bytes
skip_blanks(struct bytes text)
{
    size_t n = 0;

    while (n < text.n && is_blank(text.p[n])) {
        n++;
    }
    return bytes_sub(text, n, text.n);
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

/* `rest` is the end of `whole`, from where it is not understood. */
static int
complain(struct expander *e, const char *what, struct bytes whole, struct bytes rest)
{
    size_t done = whole.n >= rest.n ? whole.n - rest.n : 0;
    size_t from = done > SHOWN_BYTES ? done - SHOWN_BYTES : 0;
    struct bytes before = bytes_sub(whole, from, done - from), after = bytes_sub(rest, 0, SHOWN_BYTES);

    if (e->why != NULL) {
        (void)buf_printf(e->why, "%s%s at: \"...%.*s>>>%.*s\"", e->why->n > 0 ? "\n" : "", what,
                         BYTES_FMT(before), BYTES_FMT(after));
    }
    return GW_ERR_SYNTAX;
}

static int
complain_of(struct expander *e, const char *what, struct bytes text)
{
    if (e->why != NULL) {
        (void)buf_printf(e->why, "%s%s: \"%.*s\"", e->why->n > 0 ? "\n" : "", what, BYTES_FMT(text));
    }
    return GW_ERR_SYNTAX;
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

static bool
is_braced(struct bytes text)
{
    return text.n > 0 && text.p[0] == '{';
}

/* Takes "{...}" off *rest, and the blanks behind it. */
static int
take_braced(struct expander *e, struct bytes *rest, struct bytes *inner_r)
{
    ptrdiff_t end = find_close(*rest, '{', '}');

    if (end < 0) {
        return complain_of(e, "unbalanced {} in attribute expression", *rest);
    }
    *inner_r = bytes_sub(*rest, 1, (size_t)end - 1);
    *rest = skip_blanks(bytes_sub(*rest, (size_t)end + 1, rest->n));
    return 0;
}

static bool
is_number(struct bytes text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return false;
        }
    }
    return text.n > 0;
}

static int
compare_values(struct expander *e, struct bytes a, struct bytes b, int *order_r)
{
    uint64_t x, y;

    if (!is_number(a) || !is_number(b)) {
        size_t n = a.n < b.n ? a.n : b.n;
        int order = n > 0 ? memcmp(a.p, b.p, n) : 0;

        *order_r = order != 0 ? order : a.n < b.n ? -1 : a.n > b.n;
        return 0;
    }
    if (a.n > NUMBER_DIGITS_MAX || bytes_to_u64(a, &x) != 0) {
        return complain_of(e, "a number is too long", a);
    }
    if (b.n > NUMBER_DIGITS_MAX || bytes_to_u64(b, &y) != 0) {
        return complain_of(e, "a number is too long", b);
    }
    *order_r = x < y ? -1 : x > y;
    return 0;
}

/* "3", "3.6" or "3.6.1" */
static int
parse_level(struct expander *e, struct bytes text, uint64_t part[LEVEL_PARTS])
{
    struct bytes rest = text;
    size_t count = 0;

    memset(part, 0, LEVEL_PARTS * sizeof(part[0]));
    for (bool more = true; more; count++) {
        ptrdiff_t dot = bytes_index(rest, '.');
        struct bytes number = dot < 0 ? rest : bytes_sub(rest, 0, (size_t)dot);

        if (count >= LEVEL_PARTS || number.n > NUMBER_DIGITS_MAX || bytes_to_u64(number, &part[count]) != 0) {
            return complain_of(e, "malformed compatibility level syntax", text);
        }
        more = dot >= 0;
        rest = more ? bytes_sub(rest, (size_t)dot + 1, rest.n) : rest;
    }
    return 0;
}

/* 3.10 comes after 3.9. */
static int
compare_levels(struct expander *e, struct bytes a, struct bytes b, int *order_r)
{
    uint64_t x[LEVEL_PARTS], y[LEVEL_PARTS];
    int r = parse_level(e, a, x);

    r = r == 0 ? parse_level(e, b, y) : r;
    *order_r = 0;
    for (size_t i = 0; r == 0 && i < LEVEL_PARTS && *order_r == 0; i++) {
        *order_r = x[i] < y[i] ? -1 : x[i] > y[i];
    }
    return r;
}

static const struct comparison {
    const char *word;
    bool less, equal, greater;
} COMPARISONS[] = {
    {"==", false, true, false}, {"!=", true, false, true}, {"<=", true, true, false},
    {">=", false, true, true},  {"<", true, false, false}, {">", false, false, true},
};

/* Takes an operator off *rest; "level" behind it compares compatibility levels. */
static const struct comparison *
take_comparison(struct bytes *rest, bool *level_r)
{
    static const char SIGNS[] = "=!<>", LEVEL[] = "level";
    size_t n = 0, letters;

    while (n < rest->n && strchr(SIGNS, rest->p[n]) != NULL && rest->p[n] != '\0') {
        n++;
    }
    letters = name_length(bytes_sub(*rest, n, rest->n));
    *level_r = bytes_equal(bytes_sub(*rest, n, letters), BYTES_LIT("level"));
    if (letters > 0 && !*level_r) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof(COMPARISONS) / sizeof(COMPARISONS[0]); i++) {
        if (bytes_equal(bytes_sub(*rest, 0, n), bytes_str(COMPARISONS[i].word))) {
            *rest = skip_blanks(bytes_sub(*rest, n + (*level_r ? sizeof(LEVEL) - 1 : 0), rest->n));
            return &COMPARISONS[i];
        }
    }
    return NULL;
}

/* "{a} op {b}" of a conditional; *rest is left behind it. */
static int
evaluate(struct expander *e, struct bytes *rest, bool *holds_r)
{
    struct bytes whole = *rest, left, right;
    const struct comparison *comparison;
    struct buf a, b;
    bool level;
    int order = 0, r;

    buf_init(&a, CONFIG_LINE_MAX);
    buf_init(&b, CONFIG_LINE_MAX);
    if ((r = take_braced(e, rest, &left)) != 0) {
        goto out;
    }
    if ((comparison = take_comparison(rest, &level)) == NULL) {
        r = complain(e, "\"==\" or \"!=\" or \"<\" or \"<=\" or \">=\" or \">\" expected", whole, *rest);
        goto out;
    }
    if (!is_braced(*rest)) {
        r = complain(e, "\"{expression}\" expected", whole, *rest);
        goto out;
    }
    if ((r = take_braced(e, rest, &right)) != 0) {
        goto out;
    }
    r = expand(e, left, &a);
    if (r == 0 || e->scan) {
        int second = expand(e, right, &b);

        r = r == 0 ? second : r;
    }
    if (r != 0) {
        goto out;
    }
    if (!e->scan) {
        r = level ? compare_levels(e, bytes_buf(&a), bytes_buf(&b), &order)
                  : compare_values(e, bytes_buf(&a), bytes_buf(&b), &order);
    }
    *holds_r = order < 0 ? comparison->less : order == 0 ? comparison->equal : comparison->greater;
    if (r == 0 && rest->n > 0 && rest->p[0] != '?' && rest->p[0] != ':') {
        r = complain(e, "\"?\" or \":\" expected", whole, *rest);
    }
out:
    buf_free(&a);
    buf_free(&b);
    return r;
}

/* Behind a condition: "?{x}:{y}", "?x", ":y". Without braces the text goes on to the end. */
static int
split_choice(struct expander *e, struct bytes whole, struct bytes rest, struct bytes *yes_r,
             struct bytes *no_r)
{
    int r;

    *yes_r = *no_r = (struct bytes){0};
    if (rest.p[0] == '?') {
        struct bytes text = bytes_sub(rest, 1, rest.n);

        rest = skip_blanks(text);
        if (!is_braced(rest)) {
            *yes_r = text;
            return 0;
        }
        if ((r = take_braced(e, &rest, yes_r)) != 0 || rest.n == 0) {
            return r;
        }
        if (rest.p[0] != ':') {
            return complain(e, "\":\" expected", whole, rest);
        }
    }
    *no_r = bytes_sub(rest, 1, rest.n);
    rest = skip_blanks(*no_r);
    if (is_braced(rest)) {
        r = take_braced(e, &rest, no_r);
        return r == 0 && rest.n > 0 ? complain(e, "unexpected input", whole, rest) : r;
    }
    return 0;
}

static int
choose(struct expander *e, struct bytes whole, struct bytes rest, bool holds, struct buf *out)
{
    struct bytes yes, no;
    int split = split_choice(e, whole, rest, &yes, &no), r = e->scan ? 0 : split;

    if (r == 0 && (holds || e->scan)) {
        r = expand(e, yes, out);
    }
    if (r == 0 && (!holds || e->scan)) {
        r = expand(e, no, out);
    }
    return r == 0 ? split : r;
}

/* What stands between "${" and "}" or "$(" and ")". */
static int
expand_inner(struct expander *e, struct bytes inner, struct buf *out)
{
    struct bytes text = skip_blanks(inner);
    bool holds = false;
    int r;

    if (is_braced(text)) {
        r = evaluate(e, &text, &holds);
        if (r != 0 || text.n > 0) {
            return r == 0 ? choose(e, inner, text, holds, out) : r;
        }
        return holds ? buf_append_str(out, "true") : 0;
    }
    size_t n = name_length(text);
    struct bytes name = bytes_sub(text, 0, n), rest = skip_blanks(bytes_sub(text, n, text.n));
    if (n == 0 || (rest.n > 0 && rest.p[0] != '?' && rest.p[0] != ':')) {
        return complain(e, "attribute name syntax error", inner, bytes_sub(text, n, text.n));
    }
    if (rest.n == 0) {
        r = e->lookup(e->context, name, out);
        return r == GW_ERR_NOTFOUND ? 0 : r;
    }
    r = e->lookup(e->context, name, NULL);
    holds = r == 0;
    return r == 0 || r == GW_ERR_NOTFOUND ? choose(e, inner, rest, holds, out) : r;
}

/* One "$..." at the start of *text; whole is the value, for messages. */
static int
expand_dollar(struct expander *e, struct bytes whole, struct bytes *text, struct buf *out)
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
            return complain_of(e, "truncated macro reference", whole);
        }
        *text = bytes_sub(from, (size_t)end + 1, from.n);
        return end == 1 ? complain_of(e, "empty macro name", whole)
                        : expand_inner(e, bytes_sub(from, 1, (size_t)end - 1), out);
    }
    size_t n = name_length(bytes_sub(*text, 1, text->n));
    if (n == 0) {
        return complain_of(e, "empty macro name", whole);
    }
    struct bytes name = bytes_sub(*text, 1, n);
    *text = bytes_sub(*text, n + 1, text->n);
    int r = e->lookup(e->context, name, out);
    return r == GW_ERR_NOTFOUND ? 0 : r;
}

static int
expand(struct expander *e, struct bytes text, struct buf *out)
{
    struct bytes whole = text;
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
            r = expand_dollar(e, whole, &text, out);
        }
    }
    e->depth--;
    return r;
}

int
expand_value(struct bytes text, expand_lookup *lookup, void *context, struct buf *out, struct buf *why_r)
{
    struct expander e = {.lookup = lookup, .context = context, .why = why_r};

    return expand(&e, text, out);
}

int
expand_scan(struct bytes text, expand_lookup *lookup, void *context, struct buf *why_r)
{
    struct expander e = {.lookup = lookup, .context = context, .why = why_r, .scan = true};
    struct buf unused;

    buf_init(&unused, CONFIG_LINE_MAX);
    int r = expand(&e, text, &unused);
    buf_free(&unused);
    return r;
}

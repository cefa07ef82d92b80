/*
 * header_address - see the header. Before: a field's value as it stands in the message; after:
 * header_rewrite.c puts other addresses into their places, sendmail -t takes recipients from them.
 *
 * One pass from left to right, no recursion: comments are counted. A byte that cannot be placed ends the
 * field.
 */
#include "message/header_address.h"

#include "base/error.h"

/* One element up to its "," or ";". */
struct element {
    struct bytes value;
    size_t i;
    struct header_address *found;
    struct buf *out;
    bool angle, closed; /* "<" and ">" were there */
    bool has_word, gap; /* a word was there; blanks or a comment behind it */
    bool has_quotes, has_at;
    bool odd; /* no address, as it stands */
};

static bool
is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* "(...)", nested. */
static int
skip_comment(struct element *e)
{
    size_t depth = 0;

    for (; e->i < e->value.n; e->i++) {
        uint8_t c = e->value.p[e->i];

        if (c == '\\') {
            e->i++;
        } else if (c == '(') {
            depth++;
        } else if (c == ')' && --depth == 0) {
            e->i++;
            return 0;
        }
    }
    e->i = e->value.n;
    return GW_ERR_SYNTAX;
}

/* A word, @ or dot begins at `from`: it belongs to the one before when nothing or a sign stands between. */
static void
begin_word(struct element *e, size_t from, uint8_t c)
{
    uint8_t last = e->out->n > 0 ? e->out->p[e->out->n - 1] : '@';

    if (!e->has_word) {
        e->found->from = from;
    } else if (e->gap && c != '@' && c != '.' && last != '@' && last != '.') {
        e->odd = true;
    } else if (e->gap) {
        for (size_t k = e->found->to; k < from; k++) {
            e->found->has_comment = e->found->has_comment || e->value.p[k] == '(';
        }
    }
    e->has_word = true;
    e->gap = false;
}

static int
put(struct element *e, uint8_t c)
{
    return buf_append_byte(e->out, c) == 0 ? 0 : GW_ERR_LIMIT;
}

static int
take_quoted(struct element *e)
{
    int r = 0;

    begin_word(e, e->i, '"');
    e->has_quotes = true;
    for (e->i++; r == 0 && e->i < e->value.n; e->i++) {
        uint8_t c = e->value.p[e->i];

        if (c == '"') {
            e->found->to = ++e->i;
            return 0;
        }
        if (c == '\\' && e->i + 1 < e->value.n) {
            c = e->value.p[++e->i];
        }
        /* Line ends are folding, never part of a name. */
        r = c != '\r' && c != '\n' ? put(e, c) : 0;
    }
    return r != 0 ? r : GW_ERR_SYNTAX;
}

/* "[IPv6:2001:db8::1]": its colons are no group and its commas no separators. */
static int
take_literal(struct element *e)
{
    int r = 0;

    begin_word(e, e->i, '[');
    for (; r == 0 && e->i < e->value.n; e->i++) {
        uint8_t c = e->value.p[e->i];

        r = is_blank(c) ? 0 : put(e, c);
        if (r == 0 && c == ']') {
            e->found->to = ++e->i;
            return 0;
        }
    }
    return r != 0 ? r : GW_ERR_SYNTAX;
}

static int
take_plain(struct element *e)
{
    uint8_t c = e->value.p[e->i];

    begin_word(e, e->i, c);
    if (c == '\\' && e->i + 1 < e->value.n) {
        c = e->value.p[++e->i];
        e->has_quotes = true;
        e->odd = e->odd || c == '\r' || c == '\n';
    } else {
        e->has_at = e->has_at || c == '@';
        e->odd = e->odd || c == '>' || c == ')' || c < ' ' || c == 0x7f;
    }
    e->found->to = ++e->i;
    return put(e, c);
}

static void
forget_words(struct element *e)
{
    buf_clear(e->out);
    e->has_word = e->gap = e->has_quotes = e->has_at = e->odd = false;
    e->found->has_comment = false;
}

/* The signs that say what the words around them are. True: it was one. */
static bool
take_sign(struct element *e)
{
    uint8_t c = e->value.p[e->i];

    if (c == '<' && !e->angle) {
        forget_words(e); /* what stood before was the display name */
        e->angle = true;
    } else if (c == '>' && e->angle && !e->closed) {
        e->closed = true;
    } else if (c == ':' && !e->angle) {
        forget_words(e); /* the name of a group */
    } else if (c == ':' && !e->closed && e->out->n > 0 && e->out->p[0] == '@') {
        forget_words(e);
        e->found->has_route = true;
    } else if (c == ',' && e->angle && !e->closed && e->out->n > 0 && e->out->p[0] == '@') {
        e->gap = false; /* between the hosts of a route */
        return put(e, c) == 0 && ++e->i > 0;
    } else {
        return false;
    }
    e->i++;
    return true;
}

static int
take_token(struct element *e)
{
    uint8_t c = e->value.p[e->i];

    if (c == '(') {
        e->gap = true;
        return skip_comment(e);
    }
    if (is_blank(c)) {
        e->gap = true;
        e->i++;
        return 0;
    }
    if (take_sign(e)) {
        return 0;
    }
    if (e->closed) {
        e->i++; /* words behind ">" mean nothing */
        return 0;
    }
    return c == '"'                                                       ? take_quoted(e)
           : c == '[' && e->out->n > 0 && e->out->p[e->out->n - 1] == '@' ? take_literal(e)
                                                                          : take_plain(e);
}

static bool
ends_element(const struct element *e)
{
    uint8_t c = e->value.p[e->i];

    return (c == ',' || c == ';') &&
           (!e->angle || e->closed || !(e->out->n > 0 && e->out->p[0] == '@' && !e->has_quotes && c == ','));
}

/* One element: 1 when an address is in it, 0 when not. */
static int
take_element(struct element *e)
{
    size_t angle_from = 0;
    int r = 0;

    buf_clear(e->out);
    while (e->i < e->value.n && is_blank(e->value.p[e->i])) {
        e->i++;
    }
    *e->found = (struct header_address){.element = e->i};
    while (r == 0 && e->i < e->value.n && !ends_element(e)) {
        bool was_angle = e->angle;

        r = take_token(e);
        angle_from = e->angle && !was_angle ? e->i : angle_from;
    }
    bool open = e->angle && !e->closed;
    if (r != 0) {
        e->i = e->value.n; /* of a quote or comment without an end nobody knows what it holds */
        return r;
    }
    if (e->i < e->value.n) {
        e->i++; /* the comma */
    }
    if (e->found->has_route) {
        e->found->from = angle_from;
    }
    e->found->is_one_name = e->has_quotes && !e->has_at;
    return open || (e->odd && e->has_word) ? GW_ERR_SYNTAX : e->has_word;
}

int
header_address_next(struct bytes value, size_t *at, struct header_address *address_r, struct buf *out)
{
    int r = 0;

    *address_r = (struct header_address){0};
    while (r == 0 && *at < value.n) {
        struct element element = {.value = value, .i = *at, .found = address_r, .out = out};

        r = take_element(&element);
        *at = r == GW_ERR_LIMIT ? value.n : element.i;
    }
    return r;
}

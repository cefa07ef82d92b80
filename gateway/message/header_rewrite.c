/*
 * header_rewrite - see the header. Before: receive_content.c, sendmail and the relay, which know the rules;
 * after: the content that is scanned, queued or sent. What cannot be understood stays.
 */
#include "message/header_rewrite.h"

#include "base/error.h"
#include "message/address.h"

enum { ADDRESS_LIMIT = 8192, LINE_WIDTH = 78 };

struct rewriting {
    struct bytes header;
    const struct header_rules *rules;
    struct buf *out;
    size_t begun;  /* length of out before */
    size_t copied; /* of header */
    bool changed;
    struct buf address, mapped, written;
};

/* Everything up to `to` as it stands. */
static int
copy_to(struct rewriting *w, size_t to)
{
    int r = buf_append_bytes(w->out, bytes_sub(w->header, w->copied, to - w->copied));

    w->copied = to;
    w->changed = true;
    return r;
}

/* A line break behind the comma when the line gets too long with `more` bytes. */
static int
fold(struct rewriting *w, size_t more)
{
    size_t end = w->out->n, line = end;

    while (line > w->begun && end - line <= LINE_WIDTH && w->out->p[line - 1] != '\n') {
        line--;
    }
    if (end - line + more <= LINE_WIDTH) {
        return 0;
    }
    while (end > line && (w->out->p[end - 1] == ' ' || w->out->p[end - 1] == '\t')) {
        end--;
    }
    if (end == line || w->out->p[end - 1] != ',') {
        return 0; /* the first of its line or field */
    }
    buf_truncate(w->out, end);
    return buf_append_str(w->out, "\r\n\t");
}

/* The comments that stood inside the address go behind it. */
static int
keep_comments(struct rewriting *w, struct bytes old)
{
    size_t depth = 0;
    bool quoted = false;
    int r = 0;

    for (size_t i = 0; r == 0 && i < old.n; i++) {
        bool escapes = old.p[i] == '\\' && i + 1 < old.n;

        quoted = quoted != (old.p[i] == '"' && depth == 0);
        if (!quoted && old.p[i] == '(' && depth++ == 0) {
            r = buf_append_byte(w->out, ' ');
        }
        if (depth > 0 && r == 0) {
            r = buf_append(w->out, old.p + i, escapes ? 2 : 1);
        }
        if (!quoted && old.p[i] == ')' && depth > 0) {
            depth--;
        }
        i += escapes;
    }
    return r;
}

/* base: offset of the field's value in the header. */
static int
replace(struct rewriting *w, size_t base, const struct header_address *place)
{
    int r;

    buf_clear(&w->written);
    if ((r = address_append_quoted(&w->written, bytes_buf(&w->mapped))) != 0) {
        return r == GW_ERR_SYNTAX ? 0 : r; /* it could not be written in a message: the old one stays */
    }
    if ((r = copy_to(w, base + place->element)) != 0 ||
        (r = fold(w, place->from - place->element + w->written.n)) != 0 ||
        (r = copy_to(w, base + place->from)) != 0 ||
        (r = buf_append_bytes(w->out, bytes_buf(&w->written))) != 0) {
        return r;
    }
    if (place->has_comment) {
        r = keep_comments(w, bytes_sub(w->header, base + place->from, place->to - place->from));
    }
    w->copied = base + place->to;
    return r;
}

static int
rewrite_value(struct rewriting *w, unsigned kind, struct bytes value)
{
    size_t base = (size_t)(value.p - w->header.p), at = 0;
    struct header_address place;
    int r = 0;

    while (r == 0 && at < value.n) {
        if (header_address_next(value, &at, &place, &w->address) != 1) {
            continue; /* no address, as it stands */
        }
        buf_clear(&w->mapped);
        r = w->rules->map(w->rules->context, kind, &place, bytes_buf(&w->address), &w->mapped);
        r = r == 1 ? replace(w, base, &place) : r;
    }
    return r;
}

static bool
is_dropped(const struct header_rules *rules, enum header_field known, struct bytes name)
{
    struct bytes rest = bytes_str(rules->drop_others), word;

    if ((rules->drop & HEADER_FIELD_BIT(known)) != 0 && known != FIELD_OTHER) {
        return true;
    }
    while (known == FIELD_OTHER && bytes_next_token(&rest, ", \t\r\n", &word)) {
        if (bytes_equal_nocase(word, name)) {
            return true;
        }
    }
    return false;
}

int
header_rewrite(struct bytes header, const struct header_rules *rules, struct buf *out)
{
    struct rewriting w = {.header = header, .rules = rules, .out = out, .begun = out->n};
    struct bytes rest = header, field, name, value;
    int r = 0;

    buf_init(&w.address, ADDRESS_LIMIT);
    buf_init(&w.mapped, ADDRESS_LIMIT);
    buf_init(&w.written, 2 * ADDRESS_LIMIT);
    while (r == 0 && header_field_next(&rest, &field, &name, &value)) {
        enum header_field known = header_field_known(name);
        unsigned kind = header_field_kinds(known) & (FIELD_HAS_SENDERS | FIELD_HAS_RECIPIENTS);

        if (is_dropped(rules, known, name)) {
            r = copy_to(&w, (size_t)(field.p - header.p));
            w.copied += field.n;
        } else if (kind != 0 && rules->map != NULL && field.n <= rules->field_limit) {
            r = rewrite_value(&w, kind, value);
        }
    }
    if (r == 0 && w.changed) {
        r = copy_to(&w, header.n);
        r = r == 0 ? 1 : r;
    }
    buf_free(&w.address);
    buf_free(&w.mapped);
    buf_free(&w.written);
    return r;
}

/*
 * mime_parameter - see the header. Before: mime_walk.c and mime_names.c with the value of a field.
 *
 * Lenient on purpose: what some mail reader would take for a parameter is one here.
 */
#include "message/mime_parameter.h"

#include <string.h>

#include "base/error.h"

enum { NUMBER_MAX = 100000 };

/* "name*12*" into its parts. */
static void
split_name(struct mime_parameter *parameter)
{
    struct bytes name = parameter->name;
    ptrdiff_t star = bytes_index(name, '*');

    parameter->base = bytes_sub(name, 0, star < 0 ? name.n : (size_t)star);
    parameter->is_extended = star >= 0 && name.p[name.n - 1] == '*';
    if (star < 0) {
        return;
    }
    for (size_t i = (size_t)star + 1; i < name.n && name.p[i] >= '0' && name.p[i] <= '9'; i++) {
        parameter->is_piece = true;
        if (parameter->number < NUMBER_MAX) {
            parameter->number = parameter->number * 10 + (unsigned)(name.p[i] - '0');
        }
    }
}

/* The value at the start of v; returns how many bytes it takes. */
static size_t
take_value(struct bytes v, struct buf *text, int *r)
{
    bool quoted = v.n > 0 && v.p[0] == '"';
    size_t i;

    for (i = quoted; i < v.n; i++) {
        uint8_t c = v.p[i];

        if (quoted ? c == '"' : c == ';') {
            break;
        }
        if (quoted && c == '\\' && i + 1 < v.n) {
            c = v.p[++i];
        }
        if (c != '\r' && c != '\n' && *r != GW_ERR_LIMIT && buf_append_byte(text, c) != 0) {
            *r = GW_ERR_LIMIT;
        }
    }
    return quoted && i < v.n ? i + 1 : i < v.n ? i : v.n;
}

int
mime_parameter_next(struct bytes *rest, struct mime_parameter *parameter_r, struct buf *text)
{
    ptrdiff_t semicolon = bytes_index(*rest, ';');
    size_t i = 0;
    int r = 1;

    *parameter_r = (struct mime_parameter){0};
    buf_clear(text);
    if (semicolon < 0) {
        return 0;
    }
    *rest = bytes_trim(bytes_sub(*rest, (size_t)semicolon + 1, rest->n));
    while (i < rest->n && rest->p[i] != '=' && rest->p[i] != ';') {
        i++;
    }
    parameter_r->name = bytes_trim(bytes_sub(*rest, 0, i));
    split_name(parameter_r);
    if (i >= rest->n || rest->p[i] == ';') {
        *rest = bytes_sub(*rest, i, rest->n);
        return r;
    }
    *rest = bytes_trim(bytes_sub(*rest, i + 1, rest->n));
    *rest = bytes_sub(*rest, take_value(*rest, text, &r), rest->n);
    semicolon = bytes_index(*rest, ';');
    parameter_r->tail = bytes_trim(bytes_sub(*rest, 0, semicolon < 0 ? rest->n : (size_t)semicolon));
    return r;
}

static int
hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* %xx or =xx; `mark` tells which. */
static int
decode_hex(struct bytes v, uint8_t mark, struct buf *out)
{
    int r = 0;

    for (size_t i = 0; i < v.n && r == 0; i++) {
        if (v.p[i] == mark && v.n - i >= 3 && hex_digit(v.p[i + 1]) >= 0 && hex_digit(v.p[i + 2]) >= 0) {
            r = buf_append_byte(out, (uint8_t)(hex_digit(v.p[i + 1]) * 16 + hex_digit(v.p[i + 2])));
            i += 2;
        } else {
            r = buf_append_byte(out, mark == '=' && v.p[i] == '_' ? ' ' : v.p[i]);
        }
    }
    return r;
}

static int
base64_value(uint8_t c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

static int
decode_base64(struct bytes v, struct buf *out)
{
    uint32_t bits = 0;
    unsigned count = 0;
    int r = 0;

    for (size_t i = 0; i < v.n && v.p[i] != '=' && r == 0; i++) {
        int value = base64_value(v.p[i]);

        if (value < 0) {
            continue;
        }
        bits = bits << 6 | (uint32_t)value;
        if (++count == 4) {
            const uint8_t three[3] = {(uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits};
            r = buf_append(out, three, 3);
            bits = count = 0;
        }
    }
    if (count >= 2 && r == 0) {
        bits <<= 6 * (4 - count);
        const uint8_t two[2] = {(uint8_t)(bits >> 16), (uint8_t)(bits >> 8)};
        r = buf_append(out, two, count - 1);
    }
    return r;
}

int
mime_decode_extended(struct bytes v, bool with_charset, struct buf *out)
{
    for (int quote = 0; with_charset && quote < 2; quote++) {
        ptrdiff_t at = bytes_index(v, '\'');

        if (at >= 0) {
            v = bytes_sub(v, (size_t)at + 1, v.n);
        }
    }
    return decode_hex(v, '%', out);
}

/* "=?charset?B?text?=" at the start of v: its bytes, 0 when there is none. */
static size_t
measure_word(struct bytes v, uint8_t *coding_r, struct bytes *text_r)
{
    if (v.n < 2 || v.p[0] != '=' || v.p[1] != '?') {
        return 0;
    }
    struct bytes inner = bytes_sub(v, 2, v.n);
    ptrdiff_t mark = bytes_index(inner, '?');
    struct bytes coded = mark < 0 ? (struct bytes){0} : bytes_sub(inner, (size_t)mark + 1, inner.n);
    if (coded.n <= 2 || coded.p[1] != '?') {
        return 0;
    }
    ptrdiff_t end = bytes_find(bytes_sub(coded, 2, coded.n), BYTES_LIT("?="));
    if (end < 0) {
        return 0;
    }
    *coding_r = coded.p[0] | 32;
    *text_r = bytes_sub(coded, 2, (size_t)end);
    return 2 + (size_t)mark + 1 + 2 + (size_t)end + 2;
}

int
mime_decode_words(struct bytes v, struct buf *out)
{
    bool behind_word = false;
    int r = 0;

    while (v.n > 0 && r == 0) {
        ptrdiff_t start = bytes_find(v, BYTES_LIT("=?"));
        size_t plain = start < 0 ? v.n : (size_t)start, n;
        struct bytes before = bytes_sub(v, 0, plain), text;
        uint8_t coding;

        v = bytes_sub(v, plain, v.n);
        n = measure_word(v, &coding, &text);
        if (n == 0 || !behind_word || bytes_trim(before).n > 0) {
            r = buf_append_bytes(out,
                                 before); /* blanks between two words are dropped (RFC 2047 section 6.2) */
        }
        if (n == 0) {
            r = r == 0 ? buf_append_bytes(out, bytes_sub(v, 0, 2)) : r;
            v = bytes_sub(v, 2, v.n);
            behind_word = false;
            continue;
        }
        r = r == 0 ? (coding == 'b' ? decode_base64(text, out) : decode_hex(text, '=', out)) : r;
        v = bytes_sub(v, n, v.n);
        behind_word = true;
    }
    return r;
}

void
mime_pieces_add(struct mime_pieces *pieces, const struct mime_parameter *parameter, struct bytes text,
                struct buf *store)
{
    size_t from = store->n;

    if (pieces->count >= MIME_PIECES_MAX || buf_append_bytes(store, text) != 0) {
        pieces->is_cut = true;
        return;
    }
    pieces->pieces[pieces->count].number = parameter->number;
    pieces->pieces[pieces->count].is_extended = parameter->is_extended;
    pieces->pieces[pieces->count].from = from;
    pieces->pieces[pieces->count++].n = text.n;
}

/* The order of the pieces: stable by number, or as they stand. */
static void
order_pieces(const struct mime_pieces *pieces, bool by_number, size_t order[MIME_PIECES_MAX])
{
    for (size_t i = 0; i < pieces->count; i++) {
        size_t at = i;

        while (by_number && at > 0 && pieces->pieces[order[at - 1]].number > pieces->pieces[i].number) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
}

int
mime_pieces_join(struct mime_pieces *pieces, const struct buf *store, bool by_number, struct buf *out)
{
    size_t order[MIME_PIECES_MAX];
    int r = pieces->is_cut ? GW_ERR_LIMIT : 0;

    buf_clear(out);
    order_pieces(pieces, by_number, order);
    for (size_t i = 0; i < pieces->count && r == 0; i++) {
        size_t k = order[i];
        struct bytes text = bytes_sub(bytes_buf(store), pieces->pieces[k].from, pieces->pieces[k].n);

        r = pieces->pieces[k].is_extended ? mime_decode_extended(text, i == 0, out)
                                          : buf_append_bytes(out, text);
    }
    return r;
}

/*
 * mime_walk - see the header. Before: the scanners; after: their visits.
 */
#include "message/mime_walk.h"

#include <string.h>

#include "base/error.h"

struct walk {
    mime_visit *visit;
    void *context;
    unsigned depth_max;
    size_t parts;
    bool limited;
};

bool
mime_next_field(struct bytes *rest, struct bytes *field_r, struct bytes *name_r, struct bytes *value_r)
{
    size_t end = 0;

    if (rest->n == 0) {
        return false;
    }
    do {
        ptrdiff_t lf = bytes_index(bytes_sub(*rest, end, rest->n), '\n');

        end = lf < 0 ? rest->n : end + (size_t)lf + 1;
    } while (end < rest->n && (rest->p[end] == ' ' || rest->p[end] == '\t'));
    *field_r = bytes_sub(*rest, 0, end);
    *rest = bytes_sub(*rest, end, rest->n);
    while (field_r->n > 0 && (field_r->p[field_r->n - 1] == '\n' || field_r->p[field_r->n - 1] == '\r')) {
        field_r->n--;
    }
    ptrdiff_t colon = bytes_index(*field_r, ':');
    *name_r = bytes_trim(bytes_sub(*field_r, 0, colon < 0 ? field_r->n : (size_t)colon));
    *value_r = colon < 0 ? (struct bytes){0} : bytes_sub(*field_r, (size_t)colon + 1, field_r->n);
    return true;
}

/* Splits an entity at its first empty line. A part may begin with one: then it has no header. */
static void
split_entity(struct bytes entity, struct bytes *header_r, struct bytes *body_r)
{
    size_t at = 0;

    while (at < entity.n) {
        ptrdiff_t lf = bytes_index(bytes_sub(entity, at, entity.n), '\n');
        size_t end = lf < 0 ? entity.n : at + (size_t)lf + 1;
        struct bytes line = bytes_sub(entity, at, end - at);

        if (line.n <= 2 && bytes_trim(line).n == 0 && lf >= 0) {
            *header_r = bytes_sub(entity, 0, at);
            *body_r = bytes_sub(entity, end, entity.n);
            return;
        }
        at = end;
    }
    *header_r = entity;
    *body_r = bytes_sub(entity, entity.n, 0);
}

/* The value of the first field of that name; empty when there is none. */
static struct bytes
find_field(struct bytes header, struct bytes wanted)
{
    struct bytes field, name, value;

    while (mime_next_field(&header, &field, &name, &value)) {
        if (bytes_equal_nocase(name, wanted)) {
            return value;
        }
    }
    return (struct bytes){0};
}

/* The next "; name=value" of a structured field; quotes are taken off into `text`. Moves *rest. */
static bool
next_parameter(struct bytes *rest, struct bytes *name_r, struct buf *text)
{
    ptrdiff_t semicolon = bytes_index(*rest, ';');
    size_t i = 0;

    buf_clear(text);
    if (semicolon < 0) {
        return false;
    }
    *rest = bytes_trim(bytes_sub(*rest, (size_t)semicolon + 1, rest->n));
    while (i < rest->n && rest->p[i] != '=' && rest->p[i] != ';') {
        i++;
    }
    *name_r = bytes_trim(bytes_sub(*rest, 0, i));
    if (i >= rest->n || rest->p[i] == ';') {
        *rest = bytes_sub(*rest, i, rest->n);
        return true;
    }
    *rest = bytes_trim(bytes_sub(*rest, i + 1, rest->n));
    bool quoted = rest->n > 0 && rest->p[0] == '"';
    for (i = quoted; i < rest->n; i++) {
        uint8_t c = rest->p[i];

        if (quoted ? c == '"' : c == ';') {
            break;
        }
        if (quoted && c == '\\' && i + 1 < rest->n) {
            c = rest->p[++i];
        }
        if (c != '\r' && c != '\n' && buf_append_byte(text, c) != 0) {
            break;
        }
    }
    *rest = bytes_sub(*rest, quoted && i < rest->n ? i + 1 : i, rest->n);
    return true;
}

static bool
find_boundary(struct bytes content_type, struct buf *boundary)
{
    struct bytes name;

    while (next_parameter(&content_type, &name, boundary)) {
        if (bytes_equal_nocase(name, BYTES_LIT("boundary"))) {
            buf_truncate(boundary, bytes_trim(bytes_buf(boundary)).n);
            return boundary->n > 0;
        }
    }
    return false;
}

static int walk_entity(struct walk *walk, struct bytes entity, unsigned depth, bool nested);

/* 0: no boundary here; 1: "--boundary"; 2: "--boundary--". */
static int
is_boundary(struct bytes line, struct bytes boundary)
{
    if (line.n < boundary.n + 2 || line.p[0] != '-' || line.p[1] != '-' ||
        memcmp(line.p + 2, boundary.p, boundary.n) != 0) {
        return 0;
    }
    struct bytes rest = bytes_sub(line, boundary.n + 2, line.n);
    if (rest.n >= 2 && rest.p[0] == '-' && rest.p[1] == '-') {
        return 2;
    }
    return bytes_trim(rest).n == 0 ? 1 : 0;
}

static int
walk_multipart(struct walk *walk, struct bytes body, struct bytes boundary, unsigned depth)
{
    size_t at = 0, start = 0;
    bool inside = false;
    int r = 0;

    while (r == 0 && at < body.n) {
        ptrdiff_t lf = bytes_index(bytes_sub(body, at, body.n), '\n');
        size_t end = lf < 0 ? body.n : at + (size_t)lf + 1;
        int kind = body.p[at] == '-' ? is_boundary(bytes_sub(body, at, end - at), boundary) : 0;

        if (kind != 0) {
            if (inside) {
                r = walk_entity(walk, bytes_sub(body, start, at - start), depth + 1, false);
            }
            inside = kind == 1;
            start = end;
        }
        at = end;
    }
    if (r == 0 && inside) {
        r = walk_entity(walk, bytes_sub(body, start, body.n), depth + 1, false); /* never closed */
    }
    return r;
}

static int
walk_entity(struct walk *walk, struct bytes entity, unsigned depth, bool nested)
{
    struct mime_part part = {.depth = depth, .nested_message = nested};
    struct buf boundary;
    int r;

    if (depth > walk->depth_max || ++walk->parts > MIME_PARTS_MAX) {
        walk->limited = true;
        return 0;
    }
    split_entity(entity, &part.header, &part.body);
    struct bytes content_type = find_field(part.header, BYTES_LIT("Content-Type"));
    ptrdiff_t semicolon = bytes_index(content_type, ';');
    part.type = bytes_trim(bytes_sub(content_type, 0, semicolon < 0 ? content_type.n : (size_t)semicolon));
    buf_init(&boundary, MIME_BOUNDARY_MAX);
    part.is_multipart =
        bytes_has_prefix_nocase(part.type, BYTES_LIT("multipart/")) && find_boundary(content_type, &boundary);
    r = walk->visit(walk->context, &part);
    if (r == 0 && part.is_multipart) {
        r = walk_multipart(walk, part.body, bytes_buf(&boundary), depth);
    } else if (r == 0 && bytes_equal_nocase(part.type, BYTES_LIT("message/rfc822"))) {
        r = walk_entity(walk, part.body, depth + 1, true);
    }
    buf_free(&boundary);
    return r;
}

int
mime_walk(struct bytes message, unsigned depth_max, mime_visit *visit, void *context)
{
    struct walk walk = {.visit = visit,
                        .context = context,
                        .depth_max = depth_max < MIME_DEPTH_MAX ? depth_max : MIME_DEPTH_MAX};
    int r = walk_entity(&walk, message, 0, false);

    return r == 0 && walk.limited ? GW_ERR_LIMIT : r;
}

static void
add_name(struct arena *arena, struct bytes v, struct bytes *names, size_t *count)
{
    if (v.n == 0 || *count >= MIME_NAMES_MAX) {
        return;
    }
    for (size_t i = 0; i < *count; i++) {
        if (bytes_equal(names[i], v)) {
            return;
        }
    }
    names[*count] = arena_dup(arena, v);
    *count += names[*count].p != NULL;
}

static int
hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* %xx or =xx; `mark` tells which. */
static void
decode_hex(struct bytes v, uint8_t mark, struct buf *out)
{
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] == mark && v.n - i >= 3 && hex_digit(v.p[i + 1]) >= 0 && hex_digit(v.p[i + 2]) >= 0) {
            (void)buf_append_byte(out, (uint8_t)(hex_digit(v.p[i + 1]) * 16 + hex_digit(v.p[i + 2])));
            i += 2;
        } else {
            (void)buf_append_byte(out, mark == '=' && v.p[i] == '_' ? ' ' : v.p[i]);
        }
    }
}

static void
decode_base64(struct bytes v, struct buf *out)
{
    uint32_t bits = 0;
    unsigned count = 0;

    for (size_t i = 0; i < v.n && v.p[i] != '='; i++) {
        uint8_t c = v.p[i];
        int value = c >= 'A' && c <= 'Z'   ? c - 'A'
                    : c >= 'a' && c <= 'z' ? c - 'a' + 26
                    : c >= '0' && c <= '9' ? c - '0' + 52
                    : c == '+'             ? 62
                    : c == '/'             ? 63
                                           : -1;
        if (value < 0) {
            continue;
        }
        bits = bits << 6 | (uint32_t)value;
        if (++count == 4) {
            const uint8_t three[3] = {(uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits};
            (void)buf_append(out, three, 3);
            bits = count = 0;
        }
    }
    if (count >= 2) {
        bits <<= 6 * (4 - count);
        (void)buf_append_byte(out, (uint8_t)(bits >> 16));
        if (count == 3) {
            (void)buf_append_byte(out, (uint8_t)(bits >> 8));
        }
    }
}

/* "=?utf-8?B?...?=" words inside text (RFC 2047), as mail readers decode them in parameters although they
 * should not. */
static void
decode_words(struct bytes v, struct buf *out)
{
    while (v.n > 0) {
        ptrdiff_t start = bytes_find(v, BYTES_LIT("=?"));
        size_t plain = start < 0 ? v.n : (size_t)start;

        (void)buf_append_bytes(out, bytes_sub(v, 0, plain));
        v = bytes_sub(v, plain, v.n);
        if (v.n == 0) {
            return;
        }
        struct bytes inner = bytes_sub(v, 2, v.n);
        ptrdiff_t charset = bytes_index(inner, '?');
        struct bytes coded = charset < 0 ? (struct bytes){0} : bytes_sub(inner, (size_t)charset + 1, inner.n);
        ptrdiff_t end =
            coded.n > 2 && coded.p[1] == '?' ? bytes_find(bytes_sub(coded, 2, coded.n), BYTES_LIT("?=")) : -1;
        if (end < 0) {
            (void)buf_append_bytes(out, v);
            return;
        }
        struct bytes text = bytes_sub(coded, 2, (size_t)end);
        if ((coded.p[0] | 32) == 'b') {
            decode_base64(text, out);
        } else {
            decode_hex(text, '=', out);
        }
        v = bytes_sub(coded, (size_t)end + 4, coded.n);
    }
}

/* "name", "filename", "name*", "name*0", "name*0*": the base name. False: another parameter. */
static bool
is_name_parameter(struct bytes name, bool *continued_r, bool *encoded_r)
{
    ptrdiff_t star = bytes_index(name, '*');
    struct bytes base = bytes_sub(name, 0, star < 0 ? name.n : (size_t)star);

    *encoded_r = star >= 0 && name.p[name.n - 1] == '*';
    *continued_r =
        star >= 0 && (size_t)star + 1 < name.n && name.p[star + 1] >= '0' && name.p[star + 1] <= '9';
    return bytes_equal_nocase(base, BYTES_LIT("name")) || bytes_equal_nocase(base, BYTES_LIT("filename"));
}

/* RFC 2231: "charset'language'percent-encoded". */
static void
decode_extended(struct bytes v, struct buf *out)
{
    for (int quote = 0; quote < 2; quote++) {
        ptrdiff_t at = bytes_index(v, '\'');

        if (at >= 0) {
            v = bytes_sub(v, (size_t)at + 1, v.n);
        }
    }
    decode_hex(v, '%', out);
}

static void
collect_names(struct arena *arena, struct bytes value, struct bytes *names, size_t *count)
{
    struct buf text, decoded, joined;
    struct bytes name;
    bool continued, encoded, first_piece = true;

    buf_init(&text, 65536);
    buf_init(&decoded, 65536);
    buf_init(&joined, 65536);
    while (next_parameter(&value, &name, &text)) {
        if (!is_name_parameter(name, &continued, &encoded)) {
            continue;
        }
        buf_clear(&decoded);
        if (continued) {
            if (encoded && first_piece) {
                decode_extended(bytes_buf(&text), &joined);
            } else if (encoded) {
                decode_hex(bytes_buf(&text), '%', &joined);
            } else {
                (void)buf_append_bytes(&joined, bytes_buf(&text));
            }
            first_piece = false;
            continue;
        }
        if (encoded) {
            decode_extended(bytes_buf(&text), &decoded);
        } else {
            add_name(arena, bytes_buf(&text), names, count);
            decode_words(bytes_buf(&text), &decoded);
        }
        add_name(arena, bytes_buf(&decoded), names, count);
    }
    add_name(arena, bytes_buf(&joined), names, count);
    buf_free(&text);
    buf_free(&decoded);
    buf_free(&joined);
}

size_t
mime_part_names(struct arena *arena, const struct mime_part *part, struct bytes names[MIME_NAMES_MAX])
{
    struct bytes rest = part->header, field, name, value;
    size_t count = 0;

    while (mime_next_field(&rest, &field, &name, &value)) {
        if (bytes_equal_nocase(name, BYTES_LIT("Content-Type")) ||
            bytes_equal_nocase(name, BYTES_LIT("Content-Disposition"))) {
            collect_names(arena, value, names, &count);
        }
    }
    return count;
}

/*
 * mime_walk - see the header. Before: the scanners; after: their visits.
 */
#include "message/mime_walk.h"

#include <string.h>

#include "base/error.h"
#include "message/mime_parameter.h"

enum {
    CANDIDATES_MAX = 4, /* boundaries of one part */
    WORK_FACTOR = 128,  /* a message is read at most as often while its boundaries are looked for */
};

struct walk {
    mime_visit *visit;
    void *context;
    unsigned depth_max;
    size_t parts;
    size_t work_left; /* bytes */
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

/* All boundaries a mail reader could go by: of every Content-Type, plain and in pieces (RFC 2231). */
struct boundaries {
    struct buf list[CANDIDATES_MAX];
    size_t count;
    bool is_cut;
};

static void
add_boundary(struct boundaries *boundaries, struct bytes v)
{
    v = bytes_trim(v);
    for (size_t i = 0; i < boundaries->count; i++) {
        if (bytes_equal(bytes_buf(&boundaries->list[i]), v)) {
            return;
        }
    }
    if (v.n == 0) {
        return;
    }
    if (boundaries->count >= CANDIDATES_MAX) {
        boundaries->is_cut = true;
        return;
    }
    struct buf *boundary = &boundaries->list[boundaries->count];
    buf_init(boundary, MIME_BOUNDARY_MAX);
    if (buf_append_bytes(boundary, v) != 0) {
        boundaries->is_cut = true;
        return;
    }
    boundaries->count++;
}

static void
find_boundaries(struct bytes value, struct boundaries *boundaries)
{
    struct mime_parameter parameter;
    struct mime_pieces pieces = {0};
    struct buf text, store;
    int r;

    buf_init(&text, MIME_BOUNDARY_MAX);
    buf_init(&store, MIME_BOUNDARY_MAX);
    while ((r = mime_parameter_next(&value, &parameter, &text)) != 0) {
        if (!bytes_equal_nocase(parameter.base, BYTES_LIT("boundary"))) {
            continue;
        }
        boundaries->is_cut = boundaries->is_cut || r < 0;
        if (parameter.is_piece || parameter.is_extended) {
            mime_pieces_add(&pieces, &parameter, bytes_buf(&text), &store);
        }
        if (!parameter.is_piece) {
            add_boundary(boundaries, bytes_buf(&text));
        }
    }
    for (int by_number = 0; by_number < 2 && pieces.count > 0; by_number++) {
        boundaries->is_cut =
            mime_pieces_join(&pieces, &store, by_number != 0, &text) != 0 || boundaries->is_cut;
        add_boundary(boundaries, bytes_buf(&text));
    }
    buf_free(&text);
    buf_free(&store);
}

static void
free_boundaries(struct boundaries *boundaries)
{
    for (size_t i = 0; i < boundaries->count; i++) {
        buf_free(&boundaries->list[i]);
    }
}

/* "text/plain" of "(comment) text/plain; charset=..." */
static struct bytes
type_of(struct bytes value)
{
    ptrdiff_t semicolon = bytes_index(value, ';'), end;

    value = bytes_trim(bytes_sub(value, 0, semicolon < 0 ? value.n : (size_t)semicolon));
    while (value.n > 0 && value.p[0] == '(' && (end = bytes_index(value, ')')) >= 0) {
        value = bytes_trim(bytes_sub(value, (size_t)end + 1, value.n));
    }
    return value;
}

/* Type and boundaries. The first Content-Type names the part; a second one that says multipart or message is
 * heeded too, as some mail readers would. */
static void
read_header(struct mime_part *part, struct boundaries *boundaries, bool *is_message_r)
{
    struct bytes rest = part->header, field, name, value;
    bool is_first = true;

    *is_message_r = false;
    while (mime_next_field(&rest, &field, &name, &value)) {
        if (!bytes_equal_nocase(name, BYTES_LIT("Content-Type"))) {
            continue;
        }
        struct bytes type = type_of(value);
        if (is_first) {
            part->type = type;
            is_first = false;
        }
        if (bytes_has_prefix_nocase(type, BYTES_LIT("multipart/"))) {
            find_boundaries(value, boundaries);
        }
        *is_message_r = *is_message_r || bytes_equal_nocase(type, BYTES_LIT("message/rfc822")) ||
                        bytes_equal_nocase(type, BYTES_LIT("message/global"));
    }
    part->is_multipart = boundaries->count > 0;
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

/* Text outside the parts: before the first boundary, behind the last. Shown by some mail readers, and all
 * there is when the boundary is a false one. */
static int
visit_loose(struct walk *walk, struct bytes text, unsigned depth)
{
    struct mime_part part = {.depth = depth, .body = text, .header = bytes_sub(text, 0, 0)};

    if (bytes_trim(text).n == 0) {
        return 0;
    }
    if (depth > walk->depth_max || ++walk->parts > MIME_PARTS_MAX) {
        walk->limited = true;
        return 0;
    }
    return walk->visit(walk->context, &part);
}

static int
walk_multipart(struct walk *walk, struct bytes body, struct bytes boundary, unsigned depth)
{
    size_t at = 0, start = 0;
    bool inside = false;
    int r = 0;

    if (walk->work_left < body.n) {
        walk->limited = true;
        return 0;
    }
    walk->work_left -= body.n;
    while (r == 0 && at < body.n) {
        ptrdiff_t lf = bytes_index(bytes_sub(body, at, body.n), '\n');
        size_t end = lf < 0 ? body.n : at + (size_t)lf + 1;
        int kind = body.p[at] == '-' ? is_boundary(bytes_sub(body, at, end - at), boundary) : 0;

        if (kind != 0) {
            struct bytes piece = bytes_sub(body, start, at - start);

            r = inside ? walk_entity(walk, piece, depth + 1, false) : visit_loose(walk, piece, depth + 1);
            inside = kind == 1;
            start = end;
        }
        at = end;
    }
    if (r == 0) {
        struct bytes piece = bytes_sub(body, start, body.n);

        r = inside ? walk_entity(walk, piece, depth + 1, false) /* never closed */
                   : visit_loose(walk, piece, depth + 1);
    }
    return r;
}

static int
walk_entity(struct walk *walk, struct bytes entity, unsigned depth, bool nested)
{
    struct mime_part part = {.depth = depth, .nested_message = nested};
    struct boundaries boundaries = {.count = 0};
    bool is_message;
    int r;

    if (depth > walk->depth_max || ++walk->parts > MIME_PARTS_MAX) {
        walk->limited = true;
        return 0;
    }
    split_entity(entity, &part.header, &part.body);
    read_header(&part, &boundaries, &is_message);
    walk->limited = walk->limited || boundaries.is_cut;
    r = walk->visit(walk->context, &part);
    for (size_t i = 0; r == 0 && i < boundaries.count; i++) {
        r = walk_multipart(walk, part.body, bytes_buf(&boundaries.list[i]), depth);
    }
    if (r == 0 && is_message) {
        r = walk_entity(walk, part.body, depth + 1, true);
    }
    free_boundaries(&boundaries);
    return r;
}

int
mime_walk(struct bytes message, unsigned depth_max, mime_visit *visit, void *context)
{
    struct walk walk = {.visit = visit,
                        .context = context,
                        .work_left = message.n * WORK_FACTOR,
                        .depth_max = depth_max < MIME_DEPTH_MAX ? depth_max : MIME_DEPTH_MAX};
    int r = walk_entity(&walk, message, 0, false);

    return r == 0 && walk.limited ? GW_ERR_LIMIT : r;
}

/*
 * ctl_postmap_message - postmap -b, -h and -m: the lookup keys of a message, as header_checks and body_checks
 * see them.
 *
 * A header is a key with its folded lines, a line of the body is one. Without -m the message is a header and
 * a body; with it the headers of its parts are headers, too: where they are tells message/mime_walk.c, which
 * is what the scanners go by. Before: ctl_postmap_query.c; after: one lookup for each key.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "ctl/ctl_postmap_private.h"
#include "message/mime_walk.h"

enum { NESTING_DEFAULT = 100 };

struct ranges {
    const uint8_t *start; /* of the message */
    struct range {
        size_t from, to;
    } * list;
    size_t count, room;
};

struct keys {
    const struct postmap *job;
    postmap_visitor *visit;
    void *context;
    struct bytes rest;
    const uint8_t *start;
    struct buf key;
};

static int
add_range(struct ranges *ranges, size_t from, size_t to)
{
    if (ranges->count == ranges->room) {
        size_t room = ranges->room == 0 ? 16 : 2 * ranges->room;
        struct range *grown = reallocarray(ranges->list, room, sizeof(*grown));

        if (grown == NULL) {
            return GW_ERR_NOMEM;
        }
        ranges->list = grown;
        ranges->room = room;
    }
    ranges->list[ranges->count++] = (struct range){from, to};
    return 0;
}

static int
visit_part(void *context, const struct mime_part *part)
{
    struct ranges *ranges = context;

    if (part->header.n == 0) {
        return 0;
    }
    size_t from = (size_t)(part->header.p - ranges->start);
    return add_range(ranges, from, from + part->header.n);
}

static int
compare_ranges(const void *a, const void *b)
{
    const struct range *x = a, *y = b;

    return x->from < y->from ? -1 : x->from > y->from;
}

/* "name:" or "name :" of printable bytes at the start. */
static bool
is_header(struct bytes line)
{
    size_t n = 0;

    while (n < line.n && line.p[n] > ' ' && line.p[n] < 0x7f && line.p[n] != ':') {
        n++;
    }
    size_t name = n;
    while (n < line.n && (line.p[n] == ' ' || line.p[n] == '\t')) {
        n++;
    }
    return name > 0 && n < line.n && line.p[n] == ':';
}

/* The next line without its LF; a CR stays, as in Postfix. */
static bool
next_line(struct bytes *rest, struct bytes *line_r)
{
    if (rest->n == 0) {
        return false;
    }
    ptrdiff_t lf = bytes_index(*rest, '\n');
    size_t n = lf < 0 ? rest->n : (size_t)lf;

    *line_r = bytes_sub(*rest, 0, n);
    *rest = bytes_sub(*rest, n + (lf >= 0), rest->n);
    return true;
}

static int
send_body(struct keys *keys, struct bytes line)
{
    return keys->job->body ? keys->visit(keys->context, line) : 0;
}

/* Blanks before the colon are not part of a key. */
static int
append_line(struct buf *key, struct bytes line, bool folded)
{
    ptrdiff_t colon = folded ? -1 : bytes_index(line, ':');
    size_t name = colon < 0 ? 0 : (size_t)colon;
    int r = 0;

    while (name > 0 && (line.p[name - 1] == ' ' || line.p[name - 1] == '\t')) {
        name--;
    }
    if (colon >= 0) {
        r = buf_append_bytes(key, bytes_sub(line, 0, name));
        line = bytes_sub(line, (size_t)colon, line.n);
    }
    return r == 0 ? buf_append_bytes(key, line) : r;
}

/* Headers from here to the first line that is none, at most up to `end`. */
static int
send_headers(struct keys *keys, size_t end)
{
    struct bytes line, after = keys->rest;
    int r = 0;

    buf_clear(&keys->key);
    while (r == 0 && (size_t)(after.p - keys->start) < end && next_line(&after, &line)) {
        bool folded = keys->key.n > 0 && line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t');

        if (!folded && !is_header(line)) {
            break;
        }
        if (!folded && keys->key.n > 0) {
            r = keys->job->header ? keys->visit(keys->context, bytes_buf(&keys->key)) : 0;
            buf_clear(&keys->key);
        }
        r = r == 0 && folded ? buf_append_byte(&keys->key, '\n') : r;
        r = r == 0 ? append_line(&keys->key, line, folded) : r;
        keys->rest = after;
    }
    if (r == 0 && keys->key.n > 0) {
        r = keys->job->header ? keys->visit(keys->context, bytes_buf(&keys->key)) : 0;
    }
    return r;
}

static int
send_all(struct keys *keys, const struct ranges *ranges)
{
    struct bytes line, after;
    size_t next = 0;
    int r = send_headers(keys, SIZE_MAX);

    /* An empty line stands between header and body, whether or not the message has one. */
    r = r == 0 && keys->rest.n > 0 ? send_body(keys, (struct bytes){0}) : r;
    after = keys->rest;
    if (next_line(&after, &line) && line.n == 0) {
        keys->rest = after;
    }
    while (r == 0 && keys->rest.n > 0) {
        size_t at = (size_t)(keys->rest.p - keys->start);

        while (next < ranges->count && ranges->list[next].from < at) {
            next++;
        }
        if (next < ranges->count && ranges->list[next].from == at) {
            r = send_headers(keys, ranges->list[next++].to);
            if (r != 0 || (size_t)(keys->rest.p - keys->start) != at) {
                continue;
            }
        }
        r = next_line(&keys->rest, &line) ? send_body(keys, line) : 0;
    }
    return r;
}

int
postmap_visit_message(const struct postmap *job, struct bytes message, postmap_visitor *visit, void *context)
{
    struct keys keys = {.job = job, .visit = visit, .context = context, .rest = message, .start = message.p};
    struct ranges ranges = {.start = message.p};
    int64_t depth = job->config != NULL ? config_int(job->config, P_mime_nesting_limit) : NESTING_DEFAULT;
    int r = 0;

    buf_init(&keys.key, message.n + 1);
    if (job->mime) {
        r = mime_walk(message, (unsigned)depth, visit_part, &ranges);
        r = r == GW_ERR_LIMIT ? 0 : r; /* what was found counts */
    }
    if (ranges.count > 0) {
        qsort(ranges.list, ranges.count, sizeof(*ranges.list), compare_ranges);
    }
    r = r == 0 ? send_all(&keys, &ranges) : r;
    buf_free(&keys.key);
    free(ranges.list);
    return r;
}

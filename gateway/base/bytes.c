/*
 * bytes - see the header. Everything above base works on these views and buffers.
 *
 * A buffer grows by doubling up to its limit and keeps one byte for the NUL that is not counted. Nothing here
 * fails but for the limit and memory.
 */
#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { BUF_FIRST = 256 };

static uint8_t
lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

static bool
is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct bytes
bytes_of(const void *p, size_t n)
{
    return (struct bytes){p, n};
}

struct bytes
bytes_str(const char *text)
{
    return text == NULL ? (struct bytes){0} : (struct bytes){(const uint8_t *)text, strlen(text)};
}

struct bytes
bytes_buf(const struct buf *buf)
{
    return (struct bytes){buf->p, buf->n};
}

struct bytes
bytes_sub(struct bytes v, size_t from, size_t n)
{
    if (from >= v.n) {
        return (struct bytes){v.p == NULL ? NULL : v.p + v.n, 0};
    }
    return (struct bytes){v.p + from, n < v.n - from ? n : v.n - from};
}

bool
bytes_equal(struct bytes a, struct bytes b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool
bytes_equal_nocase(struct bytes a, struct bytes b)
{
    return a.n == b.n && bytes_has_prefix_nocase(a, b);
}

bool
bytes_has_prefix_nocase(struct bytes v, struct bytes prefix)
{
    if (v.n < prefix.n) {
        return false;
    }
    for (size_t i = 0; i < prefix.n; i++) {
        if (lower(v.p[i]) != lower(prefix.p[i])) {
            return false;
        }
    }
    return true;
}

bool
bytes_has_suffix_nocase(struct bytes v, struct bytes suffix)
{
    return v.n >= suffix.n && bytes_equal_nocase(bytes_sub(v, v.n - suffix.n, suffix.n), suffix);
}

ptrdiff_t
bytes_index(struct bytes v, uint8_t byte)
{
    const uint8_t *at = v.n == 0 ? NULL : memchr(v.p, byte, v.n);

    return at == NULL ? -1 : at - v.p;
}

ptrdiff_t
bytes_rindex(struct bytes v, uint8_t byte)
{
    const uint8_t *at = v.n == 0 ? NULL : memrchr(v.p, byte, v.n);

    return at == NULL ? -1 : at - v.p;
}

ptrdiff_t
bytes_find(struct bytes v, struct bytes needle)
{
    if (needle.n == 0) {
        return 0;
    }
    const uint8_t *at = v.n == 0 ? NULL : memmem(v.p, v.n, needle.p, needle.n);
    return at == NULL ? -1 : at - v.p;
}

struct bytes
bytes_trim(struct bytes v)
{
    while (v.n > 0 && is_space(v.p[0])) {
        v = bytes_sub(v, 1, v.n);
    }
    while (v.n > 0 && is_space(v.p[v.n - 1])) {
        v.n--;
    }
    return v;
}

bool
bytes_next_token(struct bytes *rest, const char *delims, struct bytes *token_r)
{
    size_t count = strlen(delims), from = 0, to;

    while (from < rest->n && memchr(delims, rest->p[from], count) != NULL) {
        from++;
    }
    if (from >= rest->n) {
        *rest = bytes_sub(*rest, rest->n, 0);
        return false;
    }
    for (to = from; to < rest->n && memchr(delims, rest->p[to], count) == NULL; to++) {
    }
    *token_r = bytes_sub(*rest, from, to - from);
    *rest = bytes_sub(*rest, to, rest->n);
    return true;
}

bool
bytes_next_line(struct bytes *rest, struct bytes *line_r)
{
    if (rest->n == 0) {
        return false;
    }
    ptrdiff_t at = bytes_index(*rest, '\n');
    size_t n = at < 0 ? rest->n : (size_t)at;

    *line_r = bytes_sub(*rest, 0, n);
    *rest = bytes_sub(*rest, at < 0 ? n : n + 1, rest->n);
    if (at >= 0 && line_r->n > 0 && line_r->p[line_r->n - 1] == '\r') {
        line_r->n--;
    }
    return true;
}

int
bytes_to_u64(struct bytes v, uint64_t *value_r)
{
    uint64_t value = 0;

    *value_r = 0;
    if (v.n == 0) {
        return GW_ERR_SYNTAX;
    }
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '9') {
            return GW_ERR_SYNTAX;
        }
        uint64_t digit = (uint64_t)(v.p[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return GW_ERR_LIMIT;
        }
        value = value * 10 + digit;
    }
    *value_r = value;
    return 0;
}

char *
bytes_dup_str(struct bytes v)
{
    if (bytes_index(v, '\0') >= 0) {
        return NULL;
    }
    char *copy = malloc(v.n + 1);
    if (copy != NULL) {
        if (v.n > 0) {
            memcpy(copy, v.p, v.n);
        }
        copy[v.n] = '\0';
    }
    return copy;
}

void
buf_init(struct buf *buf, size_t limit)
{
    *buf = (struct buf){.limit = limit};
}

void
buf_free(struct buf *buf)
{
    free(buf->p);
    *buf = (struct buf){.limit = buf->limit};
}

void
buf_clear(struct buf *buf)
{
    buf_truncate(buf, 0);
}

void
buf_truncate(struct buf *buf, size_t n)
{
    if (n <= buf->n && buf->p != NULL) {
        buf->n = n;
        buf->p[n] = '\0';
    }
}

int
buf_reserve(struct buf *buf, size_t more)
{
    if (more > buf->limit || buf->n > buf->limit - more) {
        return GW_ERR_LIMIT;
    }
    size_t need = buf->n + more + 1;
    if (need <= buf->cap) {
        return 0;
    }
    size_t cap = buf->cap < BUF_FIRST ? BUF_FIRST : buf->cap * 2;
    if (cap < need) {
        cap = need;
    }
    if (cap > buf->limit + 1) {
        cap = buf->limit + 1;
    }
    uint8_t *p = realloc(buf->p, cap);
    if (p == NULL) {
        return GW_ERR_NOMEM;
    }
    buf->p = p;
    buf->cap = cap;
    buf->p[buf->n] = '\0';
    return 0;
}

int
buf_append(struct buf *buf, const void *p, size_t n)
{
    int r = buf_reserve(buf, n);

    if (r == 0 && n > 0) {
        memcpy(buf->p + buf->n, p, n);
        buf->n += n;
        buf->p[buf->n] = '\0';
    }
    return r;
}

int
buf_append_bytes(struct buf *buf, struct bytes v)
{
    return buf_append(buf, v.p, v.n);
}

int
buf_append_str(struct buf *buf, const char *text)
{
    return buf_append_bytes(buf, bytes_str(text));
}

int
buf_append_byte(struct buf *buf, uint8_t byte)
{
    return buf_append(buf, &byte, 1);
}

int
buf_vprintf(struct buf *buf, const char *format, va_list args)
{
    va_list again;

    va_copy(again, args);
    size_t room = buf->cap > buf->n ? buf->cap - buf->n : 0;
    int n = vsnprintf(room > 0 ? (char *)buf->p + buf->n : NULL, room, format, args);
    int r = n < 0 ? GW_ERR_INTERNAL : 0;
    if (r == 0 && (size_t)n >= room && (r = buf_reserve(buf, (size_t)n)) == 0) {
        n = vsnprintf((char *)buf->p + buf->n, (size_t)n + 1, format, again);
    }
    va_end(again);
    if (r == 0) {
        buf->n += (size_t)n;
    } else if (buf->p != NULL) {
        buf->p[buf->n] = '\0';
    }
    return r;
}

int
buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int r = buf_vprintf(buf, format, args);
    va_end(args);
    return r;
}

/* Length of the valid UTF-8 sequence at p (2 to 4), or 0. */
static size_t
utf8_length(const uint8_t *p, size_t n)
{
    size_t length = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
                    : (p[0] & 0xf0) == 0xe0        ? 3
                    : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                                   : 0;

    if (length == 0 || n < length) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    /* Over-long forms, surrogates, beyond U+10FFFF, and the C1 controls. */
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f) || (p[0] == 0xc2 && p[1] < 0xa0)) {
        return 0;
    }
    return length;
}

int
buf_append_printable(struct buf *buf, struct bytes v, size_t max, bool utf8_ok)
{
    size_t n = v.n < max ? v.n : max;
    int r = buf_reserve(buf, n);

    if (r != 0) {
        return r;
    }
    for (size_t i = 0; i < n;) {
        size_t length = utf8_ok && v.p[i] >= 0x80 ? utf8_length(v.p + i, n - i) : 0;

        if (length > 0) {
            memcpy(buf->p + buf->n, v.p + i, length);
            buf->n += length;
            i += length;
        } else {
            buf->p[buf->n++] = v.p[i] >= 0x20 && v.p[i] < 0x7f ? v.p[i] : '?';
            i++;
        }
    }
    buf->p[buf->n] = '\0';
    return 0;
}

void
buf_consume(struct buf *buf, size_t n)
{
    if (n >= buf->n) {
        buf_clear(buf);
    } else if (n > 0) {
        memmove(buf->p, buf->p + n, buf->n - n + 1);
        buf->n -= n;
    }
}

const char *
buf_str(const struct buf *buf)
{
    return buf->p == NULL ? "" : (const char *)buf->p;
}

void
ascii_lower(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = lower(p[i]);
    }
}

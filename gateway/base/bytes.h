/*
 * bytes - views of bytes (struct bytes, borrowed) and growable buffers with a limit (struct buf, owned).
 *
 * What comes from the network is bytes with a length, never a C string: it may hold NUL. A view does not own
 * what it points to. A buf grows up to its limit and then fails with GW_ERR_LIMIT; its content is always
 * followed by one NUL that is not counted, so that text we made ourselves can be handed to C interfaces.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
    const uint8_t *p;
    size_t n;
};

struct buf {
    uint8_t *p; /* NULL or n bytes and a NUL */
    size_t n;
    size_t cap;
    size_t limit; /* n never exceeds this */
};

#define BYTES_LIT(text) ((struct bytes){(const uint8_t *)("" text), sizeof(text) - 1})
/* printf of a view: "%.*s", BYTES_FMT(view). For trusted or already escaped bytes only; see
 * bytes_printable(). */
#define BYTES_FMT(view) (int)(view).n, (const char *)(view).p

struct bytes bytes_of(const void *p, size_t n);
struct bytes bytes_str(const char *text);                      /* NULL gives the empty view */
struct bytes bytes_buf(const struct buf *buf);                 /* view of the buffer's content */
struct bytes bytes_sub(struct bytes v, size_t from, size_t n); /* clamped to v */
bool bytes_equal(struct bytes a, struct bytes b);
bool bytes_equal_nocase(struct bytes a, struct bytes b); /* ASCII only */
bool bytes_has_prefix_nocase(struct bytes v, struct bytes prefix);
bool bytes_has_suffix_nocase(struct bytes v, struct bytes suffix);
/* Offset of the first occurrence, or -1. */
ptrdiff_t bytes_index(struct bytes v, uint8_t byte);
ptrdiff_t bytes_rindex(struct bytes v, uint8_t byte);
ptrdiff_t bytes_find(struct bytes v, struct bytes needle);
struct bytes bytes_trim(struct bytes v); /* without blanks, tabs, CR and LF at both ends */
/* Takes the next token of *rest that is delimited by any byte of `delims`; false at the end. */
bool bytes_next_token(struct bytes *rest, const char *delims, struct bytes *token_r);
/* Takes the next line (without LF or CRLF) off *rest; false when *rest is empty. */
bool bytes_next_line(struct bytes *rest, struct bytes *line_r);
/* Whole view as a decimal number without sign; GW_ERR_SYNTAX or GW_ERR_LIMIT (overflow). */
int bytes_to_u64(struct bytes v, uint64_t *value_r);
/* Copy with a NUL behind it; the caller frees. NULL when out of memory or when v holds a NUL. */
char *bytes_dup_str(struct bytes v);

void buf_init(struct buf *buf, size_t limit);
void buf_free(struct buf *buf); /* leaves an empty buffer with the same limit */
void buf_clear(struct buf *buf);
void buf_truncate(struct buf *buf, size_t n);
int buf_reserve(struct buf *buf, size_t more); /* room for `more` bytes behind n */
int buf_append(struct buf *buf, const void *p, size_t n);
int buf_append_bytes(struct buf *buf, struct bytes v);
int buf_append_str(struct buf *buf, const char *text);
int buf_append_byte(struct buf *buf, uint8_t byte);
int buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *buf, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
/* Appends v with every byte outside printable ASCII replaced by '?', at most `max` bytes: what a log line or
 * a reply may carry of a peer's bytes. UTF-8 is kept when `utf8_ok`. */
int buf_append_printable(struct buf *buf, struct bytes v, size_t max, bool utf8_ok);
void buf_consume(struct buf *buf, size_t n); /* drops the first n bytes */
/* The content as a C string ("" when empty). Valid until the next change. */
const char *buf_str(const struct buf *buf);
void ascii_lower(uint8_t *p, size_t n);

#endif

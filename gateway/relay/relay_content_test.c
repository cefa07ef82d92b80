/*
 * relay_content_test - dot-stuffing: each case whole, byte by byte, and in pieces of every size.
 */
#include "relay/relay_content.h"

#include <stdio.h>
#include <string.h>

static int failures;
#define CHECK(cond)                                                    \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                \
        }                                                              \
    } while (0)

static const struct {
    const char *content;
    const char *wire;
} CASES[] = {
    {"", ".\r\n"},
    {"a\r\n", "a\r\n.\r\n"},
    {"a", "a\r\n.\r\n"},
    {"a\r", "a\r\r\n.\r\n"},
    {".", "..\r\n.\r\n"},
    {".\r\n", "..\r\n.\r\n"},
    {"..\r\n", "...\r\n.\r\n"},
    {"a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"},
    {"a\r\n.b\r\n.c\r\n", "a\r\n..b\r\n..c\r\n.\r\n"},
    {"a.b\r\nc.\r\n", "a.b\r\nc.\r\n.\r\n"},
    {"\r\n.\r\n", "\r\n..\r\n.\r\n"},
    {"a\n.\r\nMAIL FROM:<x>\r\n", "a\n..\r\nMAIL FROM:<x>\r\n.\r\n"}, /* bare LF: no way to end DATA */
    {"a\n.\nb\n", "a\n..\nb\n\r\n.\r\n"},
    {"a\r\n\r\n", "a\r\n\r\n.\r\n"},
};

static int
collect(void *context, struct bytes v)
{
    return buf_append_bytes(context, v);
}

static void
run(const char *content, const char *wire, size_t piece)
{
    struct relay_content state;
    struct buf out;
    size_t n = strlen(content);

    buf_init(&out, 4096);
    relay_content_begin(&state, collect, &out);
    for (size_t at = 0; at < n; at += piece) {
        CHECK(relay_content_put(&state, bytes_of(content + at, n - at < piece ? n - at : piece)) == 0);
    }
    CHECK(relay_content_end(&state) == 0);
    if (!bytes_equal(bytes_buf(&out), bytes_str(wire))) {
        fprintf(stderr, "content \"%s\" in pieces of %zu: got \"%s\"\n", content, piece, buf_str(&out));
        failures++;
    }
    buf_free(&out);
}

int
main(void)
{
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        for (size_t piece = 1; piece <= 40; piece++) {
            run(CASES[i].content, CASES[i].wire, piece);
        }
    }
    return failures != 0;
}

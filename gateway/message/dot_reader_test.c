/*
 * dot_reader_test - dialogues of DATA, whole and byte by byte: only CRLF.CRLF ends; dots come off; bare line
 * ends.
 */
#include "message/dot_reader.h"

#include <stdio.h>
#include <string.h>

static int failures;

#define CHECK(cond)                                                              \
    do {                                                                         \
        if (!(cond)) {                                                           \
            printf("%s:%d: %s (case %zu)\n", __FILE__, __LINE__, #cond, number); \
            failures++;                                                          \
        }                                                                        \
    } while (0)

static const struct {
    const char *input, *output, *rest;
    bool normalize, ends;
    unsigned bare_lf, bare_cr;
} CASES[] = {
    {".\r\n", "", "", true, true, 0, 0},
    {"a\r\n.\r\nQUIT\r\n", "a\r\n", "QUIT\r\n", true, true, 0, 0},
    {"..a\r\n...\r\n.\r\n", ".a\r\n..\r\n", "", true, true, 0, 0},
    {"a\r\n.b\r\n.\r\n", "a\r\nb\r\n", "", true, true, 0, 0},
    {"a.b\r\n\r\nc\r\n.\r\n", "a.b\r\n\r\nc\r\n", "", true, true, 0, 0},
    {"a\n.\n", "a\r\n.\r\n", "", true, false, 2, 0},
    {"a\n.\r\nMAIL FROM:<x>\r\n.\r\n", "a\r\n.\r\nMAIL FROM:<x>\r\n", "", true, true, 1, 0},
    {"a\r\n.\nb\r\n.\r\n", "a\r\n\r\nb\r\n", "", true, true, 1, 0},
    {"a\r.\r\n.\r\n", "a\r.\r\n", "", true, true, 0, 1},
    {"a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n", "", true, true, 0, 1},
    {"a\r\r\n.\r\n", "a\r\r\n", "", true, true, 0, 1},
    {"a\nb\r\n.\r\n", "a\nb\r\n", "", false, true, 1, 0},
    {"a\r\n.\r\r\n.\r\n", "a\r\n\r\r\n", "", true, true, 0, 1},
    {"a\r\n.", "a\r\n", "", true, false, 0, 0},
};

struct output {
    char bytes[256];
    size_t n;
};

static int
collect(void *context, struct bytes piece)
{
    struct output *out = context;

    if (piece.n > sizeof(out->bytes) - out->n) {
        return -1;
    }
    memcpy(out->bytes + out->n, piece.p, piece.n);
    out->n += piece.n;
    return 0;
}

static void
run_case(size_t number, size_t step)
{
    struct dot_reader reader;
    struct output out = {.n = 0};
    struct bytes input = bytes_str(CASES[number].input);
    size_t at = 0, consumed = 0;
    int r = 0;

    dot_reader_init(&reader, CASES[number].normalize, collect, &out);
    while (r == 0 && at < input.n) {
        r = dot_reader_feed(&reader, bytes_sub(input, at, step), &consumed);
        at += consumed;
    }
    CHECK((r == 1) == CASES[number].ends);
    CHECK(out.n == strlen(CASES[number].output) && memcmp(out.bytes, CASES[number].output, out.n) == 0);
    CHECK(reader.bare_lf == CASES[number].bare_lf);
    CHECK(reader.bare_cr == CASES[number].bare_cr);
    CHECK(bytes_equal(bytes_sub(input, at, input.n), bytes_str(CASES[number].rest)));
}

int
main(void)
{
    for (size_t number = 0; number < sizeof(CASES) / sizeof(CASES[0]); number++) {
        for (size_t step = 1; step < 8; step++) {
            run_case(number, step);
        }
        run_case(number, 1000);
    }
    return failures != 0;
}

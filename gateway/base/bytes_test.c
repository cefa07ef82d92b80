/*
 * bytes_test - views, tokens, lines, numbers and growable buffers with their limits.
 */
#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

static bool
is(struct bytes v, const char *text)
{
    return bytes_equal(v, bytes_str(text));
}

static void
test_views(void)
{
    struct bytes v = BYTES_LIT("Hello, World");

    CHECK(v.n == 12 && bytes_str(NULL).n == 0);
    CHECK(is(bytes_sub(v, 7, 100), "World") && is(bytes_sub(v, 100, 1), "") &&
          is(bytes_sub(v, 0, 5), "Hello"));
    CHECK(is(bytes_sub(v, 7, SIZE_MAX), "World"));
    CHECK(bytes_equal_nocase(v, BYTES_LIT("hELLO, wORLD")) && !bytes_equal(v, BYTES_LIT("hello, World")));
    CHECK(!bytes_equal_nocase(BYTES_LIT("\xc4"), BYTES_LIT("\xe4"))); /* ASCII only */
    CHECK(!bytes_equal_nocase(BYTES_LIT("["), BYTES_LIT("{")));
    CHECK(bytes_has_prefix_nocase(v, BYTES_LIT("HELLO")) &&
          !bytes_has_prefix_nocase(BYTES_LIT("He"), BYTES_LIT("Hello")));
    CHECK(bytes_has_suffix_nocase(v, BYTES_LIT("WORLD")) &&
          !bytes_has_suffix_nocase(BYTES_LIT("ld"), BYTES_LIT("World")));
    CHECK(bytes_index(v, 'o') == 4 && bytes_rindex(v, 'o') == 8 && bytes_index(v, 'x') == -1);
    CHECK(bytes_find(v, BYTES_LIT("World")) == 7 && bytes_find(v, BYTES_LIT("Worlds")) == -1);
    CHECK(bytes_find(BYTES_LIT("aaab"), BYTES_LIT("aab")) == 1 && bytes_find(v, BYTES_LIT("")) == 0);
    CHECK(bytes_find(BYTES_LIT("a\0b"), BYTES_LIT("\0b")) == 1);
    CHECK(is(bytes_trim(BYTES_LIT(" \t a b\r\n")), "a b") && is(bytes_trim(BYTES_LIT(" \r\n")), ""));
}

static void
test_tokens(void)
{
    struct bytes rest = BYTES_LIT(", a,b ,,  c"), token;

    CHECK(bytes_next_token(&rest, ", ", &token) && is(token, "a"));
    CHECK(bytes_next_token(&rest, ", ", &token) && is(token, "b"));
    CHECK(bytes_next_token(&rest, ", ", &token) && is(token, "c"));
    CHECK(!bytes_next_token(&rest, ", ", &token));

    rest = BYTES_LIT("one\r\ntwo\n\nlast\r");
    CHECK(bytes_next_line(&rest, &token) && is(token, "one"));
    CHECK(bytes_next_line(&rest, &token) && is(token, "two"));
    CHECK(bytes_next_line(&rest, &token) && is(token, ""));
    CHECK(bytes_next_line(&rest, &token) && is(token, "last\r")); /* no LF: the CR belongs to the text */
    CHECK(!bytes_next_line(&rest, &token));
}

static void
test_numbers(void)
{
    static const struct {
        const char *text;
        int r;
        uint64_t value;
    } CASES[] = {
        {"0", 0, 0},
        {"007", 0, 7},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", GW_ERR_LIMIT, 0},
        {"99999999999999999999999", GW_ERR_LIMIT, 0},
        {"", GW_ERR_SYNTAX, 0},
        {"-1", GW_ERR_SYNTAX, 0},
        {"+1", GW_ERR_SYNTAX, 0},
        {" 1", GW_ERR_SYNTAX, 0},
        {"1x", GW_ERR_SYNTAX, 0},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        uint64_t value = 99;
        int r = bytes_to_u64(bytes_str(CASES[i].text), &value);

        if (r != CASES[i].r || value != CASES[i].value) {
            (void)fprintf(stderr, "number \"%s\": %d, %llu\n", CASES[i].text, r, (unsigned long long)value);
            failures++;
        }
    }
}

static void
test_buf(void)
{
    struct buf buf;

    buf_init(&buf, 10);
    CHECK(strcmp(buf_str(&buf), "") == 0);
    CHECK(buf_append_str(&buf, "12345") == 0 && buf_append_byte(&buf, '6') == 0);
    CHECK(buf_append_str(&buf, "78901") == GW_ERR_LIMIT && strcmp(buf_str(&buf), "123456") == 0);
    CHECK(buf_printf(&buf, "%d", 12345) == GW_ERR_LIMIT && buf.n == 6);
    CHECK(buf_printf(&buf, "%d", 7890) == 0 && strcmp(buf_str(&buf), "1234567890") == 0);
    CHECK(buf_append_byte(&buf, 'x') == GW_ERR_LIMIT && buf_reserve(&buf, SIZE_MAX) == GW_ERR_LIMIT);
    buf_consume(&buf, 4);
    CHECK(strcmp(buf_str(&buf), "567890") == 0);
    buf_consume(&buf, 400);
    CHECK(buf.n == 0);
    CHECK(buf_append(&buf, "a\0b", 3) == 0 && buf.n == 3 && buf.p[3] == '\0');
    buf_truncate(&buf, 1);
    CHECK(strcmp(buf_str(&buf), "a") == 0);
    buf_clear(&buf);
    CHECK(buf.n == 0 && buf.limit == 10);
    buf_free(&buf);
    CHECK(buf.p == NULL && buf.limit == 10 && buf_append_str(&buf, "again") == 0);
    buf_free(&buf);
}

static void
test_printable(void)
{
    static const struct {
        const char *in, *out;
        size_t n, max;
        bool utf8_ok;
    } CASES[] = {
        {"plain text", "plain text", 10, 100, false},
        {"a\r\nb\x1b[1m\x7f", "a??b?[1m?", 9, 100, false},
        {"a\0b", "a?b", 3, 100, false},
        {"h\xc3\xa9", "h??", 3, 100, false},
        {"h\xc3\xa9", "h\xc3\xa9", 3, 100, true},
        {"h\xc3", "h?", 2, 100, true},              /* cut short */
        {"\xc0\xaf", "??", 2, 100, true},           /* overlong */
        {"\xed\xa0\x80", "???", 3, 100, true},      /* a surrogate */
        {"\xf5\x80\x80\x80", "????", 4, 100, true}, /* above U+10FFFF */
        {"abcdef", "abc", 6, 3, false},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct buf buf;

        buf_init(&buf, 1000);
        CHECK(buf_append_printable(&buf, bytes_of(CASES[i].in, CASES[i].n), CASES[i].max, CASES[i].utf8_ok) ==
              0);
        if (strcmp(buf_str(&buf), CASES[i].out) != 0) {
            (void)fprintf(stderr, "printable case %zu: \"%s\"\n", i, buf_str(&buf));
            failures++;
        }
        buf_free(&buf);
    }
}

static void
test_dup(void)
{
    char *text = bytes_dup_str(BYTES_LIT("abc"));

    CHECK(text != NULL && strcmp(text, "abc") == 0);
    free(text);
    CHECK(bytes_dup_str(BYTES_LIT("a\0c")) == NULL);
}

int
main(void)
{
    test_views();
    test_tokens();
    test_numbers();
    test_buf();
    test_printable();
    test_dup();
    return failures != 0;
}

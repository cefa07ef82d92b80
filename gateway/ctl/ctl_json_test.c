/*
 * ctl_json_test - any bytes become valid JSON text.
 */
#include "ctl/ctl_json.h"

#include <stdlib.h>
#include <string.h>

static int failures;
#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

static const struct {
    const char *bytes;
    size_t n;
    const char *escaped;
} CASES[] = {
    {"plain", 5, "plain"},
    {"a\"b\\c", 5, "a\\\"b\\\\c"},
    {"\0\x01\n\r\t\x7f", 6, "\\u0000\\u0001\\n\\r\\t\\u007f"},
    {"\xc3\xa9", 2, "\xc3\xa9"},
    {"\xf0\x9f\x93\xa7", 4, "\xf0\x9f\x93\xa7"},
    {"\xff", 1, "\\ufffd"},
    {"\xc3", 1, "\\ufffd"},
    {"\xc0\x80", 2, "\\ufffd\\ufffd"},            /* overlong */
    {"\xed\xa0\x80", 3, "\\ufffd\\ufffd\\ufffd"}, /* surrogate */
    {"\xf4\x90\x80\x80", 4, "\\ufffd\\ufffd\\ufffd\\ufffd"},
    {"\xe2\x82x", 3, "\\ufffd\\ufffdx"},
};

int
main(void)
{
    char *text = NULL;
    size_t n = 0;
    struct ctl_json json;
    struct buf out;

    buf_init(&out, 1000);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        buf_clear(&out);
        CHECK(ctl_json_escape(bytes_of(CASES[i].bytes, CASES[i].n), &out) == 0);
        if (strcmp(buf_str(&out), CASES[i].escaped) != 0) {
            (void)fprintf(stderr, "case %zu: %s\n", i, buf_str(&out));
            failures++;
        }
    }
    buf_free(&out);
    FILE *stream = open_memstream(&text, &n);
    ctl_json_begin(&json, stream);
    ctl_json_open(&json, NULL, '{');
    ctl_json_text(&json, "a", BYTES_LIT("x\"y"));
    ctl_json_open(&json, "list", '[');
    ctl_json_number(&json, NULL, -1);
    ctl_json_open(&json, NULL, '{');
    ctl_json_close(&json, '}');
    ctl_json_bool(&json, NULL, true);
    ctl_json_close(&json, ']');
    ctl_json_time(&json, "t", 1700000000LL * 1000000 + 42);
    ctl_json_close(&json, '}');
    (void)fclose(stream);
    CHECK(strcmp(text, "{\"a\":\"x\\\"y\",\"list\":[-1,{},true],\"t\":\"2023-11-14T22:13:20.000042Z\"}\n") ==
          0);
    free(text);
    return failures != 0;
}

/*
 * table_format_test - formats of database tables, escaping for LDAP, and their configuration files.
 *
 * Shows of contract.tsv: TAB9.
 */
#include "config/table_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "config/table_ldap.h"
#include "config/table_settings.h"

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

static int
mark(void *context, struct bytes text, struct buf *out)
{
    (void)context;
    return buf_printf(out, "[%.*s]", BYTES_FMT(text));
}

/* expected NULL: nothing to ask. */
static void
check_query(const char *format, const char *key, const char *expected)
{
    struct table_formats *formats = table_formats_new();
    struct buf out, why;

    buf_init(&out, 1024);
    buf_init(&why, 1024);
    CHECK(table_formats_add(formats, format, true, &why) == 0);
    int r = table_formats_query(formats, format, bytes_str(key), mark, NULL, &out);
    CHECK(table_formats_allow(formats, bytes_str(key)) == (expected != NULL));
    if (expected == NULL ? r != 0 : r != 1 || strcmp(buf_str(&out), expected) != 0) {
        (void)fprintf(stderr, "\"%s\" of %s: %d %s\n", format, key, r, buf_str(&out));
        failures++;
    }
    table_formats_free(&formats);
    buf_free(&out);
    buf_free(&why);
}

static void
test_queries(void)
{
    static const struct {
        const char *format, *key, *expected;
    } CASES[] = {
        {"a='%s'", "u@d.com", "a='[u@d.com]'"},
        {"a='%s'", "", NULL},
        {"%%s", "k", "%s"},
        {"%u|%d", "u@d.com", "[u]|[d.com]"},
        {"%u", "bare", "[bare]"},
        {"%d", "bare", NULL},
        {"%d", "u@", NULL},
        {"%u", "@d", NULL},
        {"%s", "@d", "[@d]"},
        {"%U|%D|%S", "u@d", "[u]|[d]|[u@d]"},
        {"%u", "a@b@c", "[a@b]"},
        {"%3.%2.%1", "u@mail.example.com", "[mail].[example].[com]"},
        {"%3", "u@example.com", NULL},
        {"%1", "example.com", NULL},
        {"%2", "u@..com..example.", "[com]"},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        check_query(CASES[i].format, CASES[i].key, CASES[i].expected);
    }
}

static void
test_results(void)
{
    static const struct {
        const char *format, *key, *value, *expected;
    } CASES[] = {
        {"%s", "k", "v", "first,v"},
        {"%s", "k", "", "first"},
        {"<%u>", "k", "u@d", "first,<u>"},
        {"<%u>", "k", "@d", "first"},
        {"smtp:[%d]", "k", "u@d", "first,smtp:[d]"},
        {"smtp:[%d]", "k", "plain", "first"},
        {"%S=%s", "k", "v", "first,k=v"},
        {"%U.%D=%s", "a@b", "v", "first,a.b=v"},
        {"%2%%", "a@b.c", "v", "first,b%"},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct table_formats *formats = table_formats_new();
        struct buf out, why;

        buf_init(&out, 1024);
        buf_init(&why, 1024);
        CHECK(table_formats_add(formats, CASES[i].format, false, &why) == 0 &&
              buf_append_str(&out, "first") == 0);
        CHECK(table_formats_result(formats, CASES[i].format, bytes_str(CASES[i].key),
                                   bytes_str(CASES[i].value), &out) >= 0);
        if (strcmp(buf_str(&out), CASES[i].expected) != 0) {
            (void)fprintf(stderr, "\"%s\" of %s: %s\n", CASES[i].format, CASES[i].value, buf_str(&out));
            failures++;
        }
        table_formats_free(&formats);
        buf_free(&out);
        buf_free(&why);
    }
}

static void
test_mistakes(void)
{
    static const char *const BAD[] = {"%", "a%x", "%0", "100%", "% s"};
    struct table_formats *formats = table_formats_new();
    struct buf why;

    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        buf_init(&why, 1024);
        CHECK(table_formats_add(formats, BAD[i], true, &why) == GW_ERR_CONFIG && why.n > 0);
        buf_free(&why);
    }
    table_formats_free(&formats);
}

static void
test_domains(void)
{
    static const struct {
        const char *key;
        int allowed;
    } CASES[] = {
        {"u@example.com", 1},
        {"u@EXAMPLE.com", 1},
        {"u@sub.example.com", 0},
        {"u@x.dotted.org", 0},
        {"example.com", 0},
        {"@example.com", 0},
        {"u", 0},
        {"u@", 0},
        {"u@other.test", 1},
        {"u@fail.test", 0},
    };
    struct table_formats *formats = table_formats_new();
    struct buf why;

    buf_init(&why, 1024);
    CHECK(table_formats_limit(formats, NULL, "example.com .dotted.org, inline:{other.test=x}", &why) == 0);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        CHECK(table_formats_allow(formats, bytes_str(CASES[i].key)) == CASES[i].allowed);
    }
    table_formats_free(&formats);
    formats = table_formats_new();
    CHECK(table_formats_limit(formats, NULL, "fail:x", &why) == 0);
    CHECK(table_formats_allow(formats, BYTES_LIT("u@example.com")) == GW_ERR_TEMP); /* never "not found" */
    table_formats_free(&formats);
    buf_free(&why);
}

static void
test_ldap_quoting(void)
{
    struct buf out;

    buf_init(&out, 256);
    CHECK(table_ldap_quote_filter(NULL, BYTES_LIT("a*b(c)d\\e\303\251"), &out) == 0);
    CHECK(strcmp(buf_str(&out), "a\\2ab\\28c\\29d\\5ce\\c3\\a9") == 0);
    buf_clear(&out);
    CHECK(table_ldap_quote_dn(NULL, BYTES_LIT(" #a,b+c\"d\\e<f>g;h=i "), &out) == 0);
    CHECK(strcmp(buf_str(&out), "\\20#a\\2cb\\2bc\\22d\\5ce\\3cf\\3eg\\3bh\\3di\\20") == 0);
    buf_clear(&out);
    CHECK(table_ldap_quote_dn(NULL, BYTES_LIT("#a"), &out) == 0 && strcmp(buf_str(&out), "\\23a") == 0);
    buf_free(&out);
}

static void
test_settings(void)
{
    char path[] = "/tmp/table_format_test.XXXXXX";
    int fd = mkstemp(path), number = -1;
    static const char CONTENT[] =
        "# comment\nhosts = a\n  b\nhosts = c,\n\td\nquery = x = '%s' # no comment\nempty =\n"
        "limit = 7\nbad = 7x\nsays = YES\nnever = perhaps\n";
    struct table_settings *settings = NULL;
    bool yes = false;
    struct buf why;

    buf_init(&why, 1024);
    CHECK(fd != -1 && write(fd, CONTENT, sizeof(CONTENT) - 1) == (ssize_t)sizeof(CONTENT) - 1);
    CHECK(table_settings_open(NULL, path, &settings, &why) == 0);
    if (settings != NULL) {
        CHECK(strcmp(table_settings_str(settings, "hosts"), "c,\td") == 0);
        CHECK(strcmp(table_settings_str(settings, "query"), "x = '%s' # no comment") == 0);
        CHECK(strcmp(table_settings_str(settings, "empty"), "") == 0);
        CHECK(table_settings_str(settings, "none") == NULL);
        CHECK(table_settings_int(settings, "limit", 1, 0, &number, &why) == 0 && number == 7);
        CHECK(table_settings_int(settings, "none", 1, 0, &number, &why) == 0 && number == 1);
        CHECK(table_settings_int(settings, "limit", 1, 8, &number, &why) == GW_ERR_CONFIG);
        CHECK(table_settings_int(settings, "bad", 1, 0, &number, &why) == GW_ERR_CONFIG);
        CHECK(table_settings_bool(settings, "says", false, &yes, &why) == 0 && yes);
        CHECK(table_settings_bool(settings, "never", false, &yes, &why) == GW_ERR_CONFIG);
    }
    table_settings_free(&settings);
    CHECK(pwrite(fd, "line without sign\n", 18, 0) == 18 && ftruncate(fd, 18) == 0);
    CHECK(table_settings_open(NULL, path, &settings, &why) == GW_ERR_CONFIG && settings == NULL);
    (void)close(fd);
    (void)unlink(path);
    CHECK(table_settings_open(NULL, path, &settings, &why) != 0);
    buf_free(&why);
}

int
main(void)
{
    test_queries();
    test_results();
    test_mistakes();
    test_domains();
    test_ldap_quoting();
    test_settings();
    return failures != 0;
}

/*
 * table_test - every type of lookup table, the order of keys in lists and access tables, match lists, and
 * what table_build writes. Expected answers are those of Postfix 3.7's postmap -q.
 *
 * Shows of contract.tsv: D1 D14 TAB1 TAB4 TAB5 TAB7 TAB11 TAB12 TAB13 TAB16 HBC15 PAR5 RTE1.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "config/config.h"
#include "config/table.h"
#include "config/table_build.h"

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

static char directory[] = "/tmp/table_test.XXXXXX";
static char path[256]; /* of the file under test */

static void
write_file(const char *text)
{
    FILE *file = fopen(path, "we");

    if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

/* expected: the value; NULL: not found; "!": cannot tell. */
static void
check_find(const char *type, const char *content, const char *key, const char *expected)
{
    struct table_hit hit = {0};
    struct table *table = NULL;
    struct buf spec, why;

    buf_init(&spec, 4096);
    buf_init(&why, 4096);
    buf_init(&hit.value, TABLE_VALUE_MAX);
    write_file(content);
    (void)buf_printf(&spec, "%s:%s", type, path);
    int r = table_open(NULL, bytes_buf(&spec), TABLE_FOLD, &table, &why);
    if (r == 0) {
        r = table_find(table, bytes_str(key), &hit);
    }
    bool good = expected == NULL             ? r == GW_ERR_NOTFOUND
                : strcmp(expected, "!") == 0 ? r == GW_ERR_TEMP
                                             : r == 0 && strcmp(buf_str(&hit.value), expected) == 0;
    if (!good) {
        (void)fprintf(stderr, "%s [%s] %s: %d \"%s\" instead of \"%s\" %s\n", type, content, key, r,
                      buf_str(&hit.value), expected == NULL ? "(none)" : expected, buf_str(&why));
        failures++;
    }
    table_free(&table);
    buf_free(&spec);
    buf_free(&why);
    buf_free(&hit.value);
}

static void
test_types(void)
{
    static const struct {
        const char *type, *content, *key, *expected;
    } CASES[] = {
        {"texthash", "Key  a value \n#c\nx y\n  z\n", "KEY", "a value"},
        {"texthash", "Key  a value \n#c\nx y\n  z\n", "x", "y  z"},
        {"texthash", "key\nk v\n", "key", NULL},
        {"texthash", "", "", NULL},
        {"texthash", "a first\na second\n", "a", "first"},
        {"cidr", "192.0.2.0/24 a\n2001:db8::/32 b\n[2001:db9::]/32 d\n0.0.0.0/0 c\n", "192.0.2.7", "a"},
        {"cidr", "192.0.2.0/24 a\n2001:db8::/32 b\n", "2001:db8::5", "b"},
        {"cidr", "192.0.2.0/24 a\n", "192.0.3.1", NULL},
        {"cidr", "192.0.2.0/24 a\n", "name.test", NULL},
        {"cidr", "!192.0.2.0/24 a\n", "192.0.3.1", "a"},
        {"cidr", "!192.0.2.0/24 a\n", "2001:db8::1", NULL},
        {"cidr", "!192.0.2.0/24 a\n", "name.test", NULL},
        {"cidr", "if 192.0.2.0/24\n192.0.2.9 a\nendif\n192.0.2.8 b\n", "192.0.2.8", "b"},
        {"regexp", "/^a(b*)c$/ got $1.${1}.$(1)$$\n", "aBBc", "got BB.BB.BB$"},
        {"regexp", "/^abc$/i no\n/^ABC$/ yes\n", "aBC", "yes"}, /* "i" turns case folding off */
        {"regexp", "/^date:.*/i REJECT\n", "Date: x", NULL},
        {"regexp", "/^date:.*/i REJECT\n", "date: x", "REJECT"},
        {"regexp", "if /a/\n/b/ ab\nendif\n/b/ b\n", "xb", "b"},
        {"regexp", "if /a/\n/b/ ab\nendif\n/b/ b\n", "ab", "ab"},
        {"regexp", "if !/a/\n/b/ b\nendif\n", "ab", NULL},
        {"regexp", "if /a/\nif /b/\n/./ both\nendif\n/./ one\nendif\n/./ none\n", "xa", "one"},
        {"regexp", "!/a/ none\n", "xyz", "none"},
        {"regexp", "/a/ x\n", "", NULL},
        {"regexp", "/a\\/b/ slash\n", "a/b", "slash"},
        {"regexp", "#a#  hash\n", "a", NULL}, /* a comment */
        {"regexp", "%a% percent\n", "a", "percent"},
        {"regexp", "/(\\<IFrame\\ src\\=\\\"|\\<x)/ REJECT\n", "<iframe src=\"cid:x\"", "REJECT"},
        {"regexp", "/^(.*)@(.*)$/ $2 $1\n", "u@d", "d u"},
        {"pcre", "/^a(b*)c$/ got $1.${1}.$(1)$$\n", "aBBc", "got BB.BB.BB$"},
        {"pcre", "/^abc$/i no\n/^ABC$/ yes\n", "aBC", "yes"},
        {"pcre", "/a.b/ dot\n", "a\nb", "dot"},
        {"pcre", "/a.b/s dot\n", "a\nb", NULL}, /* "s" turns DOTALL off */
        {"pcre", "/^b/m x\n", "a\nb", "x"},
        {"pcre", "/^b/ x\n", "a\nb", NULL},
        {"pcre", "/a b/x x\n", "ab", "x"},
        {"pcre", "/\\d{3}\\b/ num\n", "a123 ", "num"},
        {"pcre", "/(a)|(b)/ [$1][$2]\n", "b", "[][b]"},
        {"pcre", "if /x/\n/y/ xy\nendif\n", "y", NULL},
        {"pcre", "/^(a+)+$/ x\n", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "!"},
        {"pcre", "/^begin\\s+\\d{3}\\s+.+?\\.(bat|scr|vb[esx]|ws[fh])\\b/ REJECT\n", "begin 644 foo.scr",
         "REJECT"},
        {"pcre", "/^begin\\s+\\d{3}\\s+.+?\\.(bat|scr|vb[esx]|ws[fh])\\b/ REJECT\n", "begin 644 foo.txt",
         NULL},
        {"pcre", "/^Subject: Re: Your password!$/ REJECT Estas infectado con el Frethem.\n",
         "subject: Re: Your password!", "REJECT Estas infectado con el Frethem."},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        check_find(CASES[i].type, CASES[i].content, CASES[i].key, CASES[i].expected);
    }
}

/* Types without a file. */
static void
test_specs(void)
{
    static const struct {
        const char *spec, *key, *expected;
    } CASES[] = {
        {"static:OK", "anything", "OK"},
        {"static:{two words}", "x", "two words"},
        {"fail:x", "x", "!"},
        {"inline:{ A=1, {b = two words}, c=3 }", "a", "1"},
        {"inline:{ A=1, {b = two words}, c=3 }", "B", "two words"},
        {"inline:{ A=1, {b = two words}, c=3 }", "d", NULL},
        {"proxy:inline:{a=b}", "a", "b"},
        {"regexp:{ {/^a/ first}, {/b/ second} }", "xb", "second"},
        {"pcre:{ {/^a{2}$/ first} }", "aa", "first"},
        {"cidr:{ {192.0.2.0/24 OK} }", "192.0.2.1", "OK"},
        {"unix:passwd.byname", "root", "root:"},
        {"unix:passwd.byname", "nosuchuser", NULL},
        {"unix:group.byname", "root", "root:"},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct table_hit hit = {0};
        struct table *table = NULL;
        struct buf why;

        buf_init(&why, 4096);
        buf_init(&hit.value, TABLE_VALUE_MAX);
        CHECK(table_open(NULL, bytes_str(CASES[i].spec), TABLE_FOLD, &table, &why) == 0);
        int r = table == NULL ? GW_ERR_CONFIG : table_find(table, bytes_str(CASES[i].key), &hit);
        const char *expected = CASES[i].expected;
        size_t n = expected == NULL ? 0 : strlen(expected);
        bool prefix = n > 0 && expected[n - 1] == ':';
        bool good = expected == NULL             ? r == GW_ERR_NOTFOUND
                    : strcmp(expected, "!") == 0 ? r == GW_ERR_TEMP
                    : prefix                     ? r == 0 && strncmp(buf_str(&hit.value), expected, n) == 0
                                                 : r == 0 && strcmp(buf_str(&hit.value), expected) == 0;
        if (!good) {
            (void)fprintf(stderr, "%s %s: %d \"%s\"\n", CASES[i].spec, CASES[i].key, r, buf_str(&hit.value));
            failures++;
        }
        table_free(&table);
        buf_free(&why);
        buf_free(&hit.value);
    }
}

static void
test_bad(void)
{
    static const struct {
        const char *type, *content, *told;
    } CASES[] = {
        {"regexp", "ok\n", NULL}, /* "o" is the delimiter: "k" has no end */
        {"regexp", "/(/ REJECT\n", ":1: "},
        {"regexp", "/a/ x\n/a/q x\n", ":2: unknown regexp flag"},
        {"regexp", "if /a/\n/b/ x\n", ":1: if without endif"},
        {"regexp", "endif\n", ":1: endif without if"},
        {"regexp", "/(a)/ $1\n/(a)/ $2\n", ":2: out of range replacement index"},
        {"pcre", "!/(a)/ $1\n", ":1: $number found in negative match"},
        {"regexp", "/a\n", ":1: no closing delimiter"},
        {"pcre", "/(/ REJECT\n", ":1: "},
        {"cidr", "192.0.2.1/24 x\n", ":1: bad network"},
        {"cidr", "x y\n", ":1: bad network"},
        {"nosuch", "", "unsupported dictionary type"},
        {"hash", "", "run postmap"},
        {"inline", "", "bad syntax"},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct table *table = NULL;
        struct buf spec, why;

        buf_init(&spec, 4096);
        buf_init(&why, 4096);
        write_file(CASES[i].content);
        (void)buf_printf(&spec, "%s:%s", CASES[i].type, path);
        int r = table_open(NULL, bytes_buf(&spec), 0, &table, &why);
        if (r == 0 || table != NULL ||
            (CASES[i].told != NULL && strstr(buf_str(&why), CASES[i].told) == NULL)) {
            (void)fprintf(stderr, "%s [%s]: %d %s\n", CASES[i].type, CASES[i].content, r, buf_str(&why));
            failures++;
        }
        table_free(&table);
        buf_free(&spec);
        buf_free(&why);
    }
}

/* HBC16: postmap -q leaves out what is broken, and only that. */
static void
test_skip_broken(void)
{
    static const struct {
        const char *key, *expected;
    } CASES[] = {{"a", "x"},     {"b", NULL}, {"c", "z"},    {"di", "inner"},
                 {"i", "inner"}, {"e", NULL}, {"ef", "last"}};
    struct table *table = NULL;
    struct table_hit hit;
    struct buf spec, why;

    buf_init(&spec, 4096);
    buf_init(&why, 4096);
    buf_init(&hit.value, 4096);
    write_file("/a/ x\n/(/ y\n/b\nendif\n/c/ z\nif /(/\n/i/ inner\nendif\n/(e)/ $2\nif /e/\n/f/ last\n");
    (void)buf_printf(&spec, "regexp:%s", path);
    CHECK(table_open(NULL, bytes_buf(&spec), 0, &table, &why) != 0);
    buf_clear(&why);
    CHECK(table_open(NULL, bytes_buf(&spec), TABLE_SKIP_BROKEN, &table, &why) == 0 && why.n == 0);
    for (size_t i = 0; table != NULL && i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        bool found = table_find(table, bytes_str(CASES[i].key), &hit) == 0;

        CHECK(found == (CASES[i].expected != NULL));
        CHECK(!found || strcmp(buf_str(&hit.value), CASES[i].expected) == 0);
    }
    table_free(&table);
    buf_free(&hit.value);
    buf_free(&why);
    buf_free(&spec);
}

static void
build(bool keep, const char *const *pairs)
{
    struct table_build_options options = {
        .type = "hash", .name = path, .mode = 0644, .keep = keep, .owner = getuid(), .group = getgid()};
    struct table_build *b = NULL;
    struct buf why;

    buf_init(&why, 4096);
    CHECK(table_build_begin(&options, &b, &why) == 0);
    for (; b != NULL && *pairs != NULL; pairs += 2) {
        CHECK(table_build_put(b, bytes_str(pairs[0]), bytes_str(pairs[1]), keep) == 0);
    }
    CHECK(b == NULL || table_build_commit(&b) == 0);
    buf_free(&why);
}

struct reader {
    struct table *table;
    bool stop;
    size_t wrong;
};

/* While the table is rewritten again and again, a key that is always in it is always found. */
static void *
read_all_the_time(void *context)
{
    struct reader *reader = context;
    struct table_hit hit = {0};

    buf_init(&hit.value, TABLE_VALUE_MAX);
    while (!__atomic_load_n(&reader->stop, __ATOMIC_ACQUIRE)) {
        if (table_find(reader->table, BYTES_LIT("always"), &hit) != 0 || hit.value.n != 4) {
            reader->wrong++;
        }
    }
    buf_free(&hit.value);
    return NULL;
}

static void
test_build(void)
{
    static const char *const FIRST[] = {"key", "one", "always", "here", NULL};
    static const char *const SECOND[] = {"key", "two", "always", "here", NULL};
    static const char *const MORE[] = {"new", "three", NULL};
    struct table_hit hit = {0};
    struct table *table = NULL, *again = NULL;
    struct buf spec, why;
    pthread_t thread;

    buf_init(&spec, 4096);
    buf_init(&why, 4096);
    buf_init(&hit.value, TABLE_VALUE_MAX);
    build(false, FIRST);
    (void)buf_printf(&spec, "hash:%s", path);
    CHECK(table_open(NULL, bytes_buf(&spec), TABLE_FOLD, &table, &why) == 0);
    CHECK(table_open(NULL, bytes_buf(&spec), TABLE_FOLD, &again, &why) == 0); /* twice in one process */
    if (table == NULL || again == NULL) {
        goto out;
    }
    CHECK(table_find(table, BYTES_LIT("KEY"), &hit) == 0 && strcmp(buf_str(&hit.value), "one") == 0);
    table_free(&again);
    build(false, SECOND);
    CHECK(table_find(table, BYTES_LIT("key"), &hit) == 0 && strcmp(buf_str(&hit.value), "two") == 0);
    build(true, MORE);
    CHECK(table_find(table, BYTES_LIT("key"), &hit) == 0 && strcmp(buf_str(&hit.value), "two") == 0);
    CHECK(table_find(table, BYTES_LIT("new"), &hit) == 0 && strcmp(buf_str(&hit.value), "three") == 0);
    CHECK(table_find(table, BYTES_LIT(""), &hit) == GW_ERR_NOTFOUND);
    struct reader reader = {.table = table};
    CHECK(pthread_create(&thread, NULL, read_all_the_time, &reader) == 0);
    for (int i = 0; i < 50; i++) {
        build(false, i % 2 == 0 ? FIRST : SECOND);
    }
    __atomic_store_n(&reader.stop, true, __ATOMIC_RELEASE);
    (void)pthread_join(thread, NULL);
    CHECK(reader.wrong == 0);
out:
    table_free(&table);
    table_free(&again);
    (void)buf_append_str(&spec, ".db");
    (void)unlink(buf_str(&spec) + strlen("hash:"));
    buf_free(&spec);
    buf_free(&why);
    buf_free(&hit.value);
}

static void
check_list(const char *what, const char *specs, const char *key, bool local, const char *expected)
{
    struct table_list *list = NULL;
    struct table_hit hit = {0};
    struct net_addr addr;
    struct buf why;
    int r = GW_ERR_INTERNAL;

    buf_init(&why, 4096);
    buf_init(&hit.value, TABLE_VALUE_MAX);
    CHECK(table_list_open(NULL, specs, TABLE_FOLD, &list, &why) == 0);
    struct table *table = NULL;
    CHECK(table_open(NULL, bytes_str(specs), TABLE_FOLD, &table, &why) == 0 || strchr(specs, ';') == NULL);
    if (strcmp(what, "address") == 0) {
        r = table_list_find_address(list, bytes_str(key), "+", local, &hit);
    } else if (strcmp(what, "transport") == 0) {
        r = table_list_find_transport(list, bytes_str(key), "+", &hit);
    } else if (strcmp(what, "domain") == 0) {
        r = table_find_domain(table, bytes_str(key), true, &hit);
    } else if (strcmp(what, "dotted") == 0) {
        r = table_find_domain(table, bytes_str(key), false, &hit);
    } else if (strcmp(what, "mail") == 0) {
        r = table_find_mail(table, bytes_str(key), "+", true, &hit);
    } else if (net_addr_parse(bytes_str(key), &addr) == 0) {
        r = table_find_client_address(table, &addr, &hit);
    }
    bool good =
        expected == NULL ? r == GW_ERR_NOTFOUND : r == 0 && strcmp(buf_str(&hit.value), expected) == 0;
    if (!good) {
        (void)fprintf(stderr, "%s %s %s: %d \"%s\" instead of \"%s\"\n", what, specs, key, r,
                      buf_str(&hit.value), expected == NULL ? "(none)" : expected);
        failures++;
    }
    table_list_free(&list);
    table_free(&table);
    buf_free(&why);
    buf_free(&hit.value);
}

static void
test_orders(void)
{
    static const char ADDRESSES[] = "inline:{ u+x@d.test=1, u@d.test=2, v+y=3, v=4, @d.test=5 }";
    static const char TRANSPORTS[] = "inline:{ u@d.test=1, d.test=2, .d.test=3, .test=4, *=5 }";
    static const char ACCESS[] = "inline:{ u@d.test=1, d.test=2, u@=3, 192.0.2=4, 192.0.2.9=5, 2001:db8=6 }";
    static const struct {
        const char *what, *specs, *key;
        bool local;
        const char *expected;
    } CASES[] = {
        {"address", ADDRESSES, "U+x@D.test", false, "1"},
        {"address", ADDRESSES, "u+z@d.test", false, "2"},
        {"address", ADDRESSES, "v+y@d.test", true, "3"},
        {"address", ADDRESSES, "v+z@d.test", true, "4"},
        {"address", ADDRESSES, "v+y@d.test", false, "5"},
        {"address", ADDRESSES, "w@d.test", true, "5"},
        {"address", ADDRESSES, "w@e.test", true, NULL},
        {"address", ADDRESSES, "v", true, "4"},
        {"address", "inline:{a@b=1} inline:{a@b=2,c@b=3}", "c@b", false, "3"},
        {"address", "inline:{ {a@b = x}}, inline:{a@b=2}", "a@b", false, "x"},
        {"address", "regexp:{ {/^v$/ bare}, {/^v\\+y@/ full} }", "v+y@d.test", true, "full"},
        {"address", "regexp:{ {/^v$/ bare} }", "v+y@d.test", true,
         NULL}, /* patterns see whole addresses only */
        {"transport", TRANSPORTS, "u+x@d.test", false, "1"},
        {"transport", TRANSPORTS, "v@d.test", false, "2"},
        {"transport", TRANSPORTS, "v@a.b.d.test", false, "3"},
        {"transport", TRANSPORTS, "v@e.test", false, "4"},
        {"transport", TRANSPORTS, "v@else.where", false, "5"},
        {"transport", TRANSPORTS, "v", false, "5"},
        {"domain", ACCESS, "a.b.D.test", false, "2"},
        {"domain", ACCESS, "xd.test", false, NULL},
        {"domain", "inline:{.d.test=1}", "a.d.test", false, NULL}, /* one way or the other, never both */
        {"dotted", "inline:{.d.test=1}", "a.d.test", false, "1"},
        {"dotted", "inline:{.d.test=1, d.test=2}", "a.b.d.test", false, "1"},
        {"dotted", "inline:{d.test=2}", "a.d.test", false, NULL},
        {"domain", "inline:{0.2.1=1, 2.1=2}", "192.0.2.1", false, NULL},
        {"mail", "inline:{u@d.test=1}", "u@d.test.", false, "1"},
        {"mail", ACCESS, "U@d.test", false, "1"},
        {"mail", ACCESS, "u+ext@d.test", false, "1"},
        {"mail", ACCESS, "x@sub.d.test", false, "2"},
        {"mail", ACCESS, "u@e.test", false, "3"},
        {"mail", ACCESS, "u+e@e.test", false, "3"},
        {"mail", ACCESS, "x@e.test", false, NULL},
        {"client", ACCESS, "192.0.2.8", false, "4"},
        {"client", ACCESS, "192.0.2.9", false, "5"},
        {"client", ACCESS, "192.0.20.9", false, NULL},
        {"client", ACCESS, "2001:db8::1", false, "6"},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        check_list(CASES[i].what, CASES[i].specs, CASES[i].key, CASES[i].local, CASES[i].expected);
    }
}

static void
test_match_lists(void)
{
    static const struct {
        const char *text;
        unsigned flags;
        const char *name, *address;
        int expected;
    } CASES[] = {
        {"a.test, b.test", 0, "B.test", NULL, 1},
        {"a.test, b.test", 0, "x.b.test", NULL, 0},
        {"a.test, b.test", MATCH_PARENT, "x.b.test", NULL, 1},
        {"a.test b.test", MATCH_PARENT, "xb.test", NULL, 0},
        {".b.test", 0, "x.b.test", NULL, 1},
        {".b.test", 0, "b.test", NULL, 0},
        {"!x.b.test .b.test", 0, "x.b.test", NULL, 0},
        {"!x.b.test .b.test", 0, "y.b.test", NULL, 1},
        {"inline:{c.test=1}", 0, "c.test", NULL, 1},
        {"inline:{c.test=1}", MATCH_PARENT, "x.c.test", NULL, 1},
        {"fail:x", 0, "c.test", NULL, GW_ERR_TEMP},
        {"a.test fail:x", 0, "a.test", NULL, 1},
        {"static:all", 0, "c.test", NULL, 1},
        {"", 0, "c.test", NULL, 0},
        {"127.0.0.0/8 [::1]/128", MATCH_ADDRESSES, NULL, "127.9.9.9", 1},
        {"127.0.0.0/8 [::1]/128", MATCH_ADDRESSES, NULL, "::1", 1},
        {"127.0.0.0/8 [::1]/128", MATCH_ADDRESSES, NULL, "::2", 0},
        {"!192.0.2.9 192.0.2.0/24", MATCH_ADDRESSES, NULL, "192.0.2.9", 0},
        {"!192.0.2.9 192.0.2.0/24", MATCH_ADDRESSES, NULL, "192.0.2.8", 1},
        {"cidr:{ {10.0.0.0/8 x} }", MATCH_ADDRESSES, NULL, "10.1.1.1", 1},
        {"host.test", MATCH_ADDRESSES, "host.test", "192.0.2.1", 1},
        {"host.test", MATCH_ADDRESSES, "unknown", "192.0.2.1", 0},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct match_list *list = NULL;
        struct net_addr addr;
        struct buf why;
        int r = GW_ERR_INTERNAL;

        buf_init(&why, 4096);
        CHECK(match_list_open(NULL, CASES[i].text, CASES[i].flags, &list, &why) == 0);
        if (list != NULL && CASES[i].address == NULL) {
            r = match_list_name(list, bytes_str(CASES[i].name));
        } else if (list != NULL && net_addr_parse(bytes_str(CASES[i].address), &addr) == 0) {
            r = match_list_client(list, CASES[i].name, &addr);
        }
        if (r != CASES[i].expected) {
            (void)fprintf(stderr, "[%s] %s %s: %d\n", CASES[i].text, CASES[i].name, CASES[i].address, r);
            failures++;
        }
        match_list_free(&list);
        buf_free(&why);
    }
    struct match_list *list = NULL;
    struct buf why;
    buf_init(&why, 4096);
    CHECK(match_list_open(NULL, "192.0.2.1/24", MATCH_ADDRESSES, &list, &why) != 0 && list == NULL);
    write_file("f.test # c\n#x\ng.test\n");
    CHECK(match_list_open(NULL, path, 0, &list, &why) == 0);
    CHECK(list != NULL && match_list_name(list, BYTES_LIT("g.test")) == 1);
    match_list_free(&list);
    buf_free(&why);
}

int
main(void)
{
    if (mkdtemp(directory) == NULL) {
        perror(directory);
        return 1;
    }
    (void)snprintf(path, sizeof(path), "%s/table", directory);
    test_types();
    test_specs();
    test_bad();
    test_skip_broken();
    test_build();
    test_orders();
    test_match_lists();
    (void)unlink(path);
    if (rmdir(directory) != 0) {
        perror(directory);
        failures++;
    }
    return failures != 0;
}

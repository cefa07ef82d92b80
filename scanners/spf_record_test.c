/*
 * spf_record_test - terms, networks and domain-specs of SPF records; one wrong term anywhere spoils the whole
 * record.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/ipc.h"
#include "scanners/spf.h"

static int failures;
#define CHECK(cond, text)                                                              \
    do {                                                                               \
        if (!(cond)) {                                                                 \
            (void)fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #cond, text); \
            failures++;                                                                \
        }                                                                              \
    } while (0)

static const struct {
    const char *text;
    bool is_one;
} VERSIONS[] = {
    {"v=spf1", true},        {"v=spf1 -all", true},   {"V=SPF1 -all", true},
    {"v=spf1\t-all", false}, {"v=spf10 -all", false}, {"v=spf2 -all", false},
    {" v=spf1 -all", false}, {"v=spf", false},        {"", false},
    {"v=spf1-all", false},
};

/* A record as it is understood: "qualifier mechanism domain network/bits4/bits6" per term, then modifiers. */
static const struct {
    const char *text, *terms;
} GOOD[] = {
    {"v=spf1", ""},
    {"v=spf1   -all  ", "fail all\n"},
    {"v=spf1 ~ALL", "softfail all\n"},
    {"v=spf1 ?all +all", "neutral all\npass all\n"},
    {"v=spf1 a", "pass a /32/128\n"},
    {"v=spf1 a/24 mx//64 -a/24//64", "pass a /24/128\npass mx /32/64\nfail a /24/64\n"},
    {"v=spf1 a:b.example/0//0", "pass a b.example/0/0\n"},
    {"v=spf1 MX:%{d}/8", "pass mx %{d}/8/128\n"},
    {"v=spf1 include:_spf.example.com", "pass include _spf.example.com\n"},
    {"v=spf1 exists:%{ir}.%{l1r+-}._spf.%{d}", "pass exists %{ir}.%{l1r+-}._spf.%{d}\n"},
    {"v=spf1 exists:%{i}.x/y.example.com", "pass exists %{i}.x/y.example.com\n"},
    {"v=spf1 ptr -ptr:example.com.", "pass ptr \nfail ptr example.com.\n"},
    {"v=spf1 ip4:192.0.2.1", "pass ip4 192.0.2.1/32\n"},
    {"v=spf1 ip4:192.0.2.77/24 ip4:1.2.3.4/0", "pass ip4 192.0.2.0/24\npass ip4 0.0.0.0/0\n"},
    {"v=spf1 ip6:2001:DB8::1/32", "pass ip6 2001:db8::/32\n"},
    {"v=spf1 ip6:::1", "pass ip6 ::1/128\n"},
    {"v=spf1 ip6:::ffff:192.0.2.1/120", "pass ip6 192.0.2.0/24\n"},
    {"v=spf1 redirect=_spf.example.com exp=why.%{d}", "redirect _spf.example.com\nexp why.%{d}\n"},
    {"v=spf1 unknown=%{d}x -all another=", "fail all\n"},
    {"v=spf1 a:%%.%_.%-", "pass a %%.%_.%-/32/128\n"},
    {"v=spf1 a:x.123a", "pass a x.123a/32/128\n"},
    {"v=spf1 a=b.example ip4=192.0.2.1", ""}, /* by the grammar modifiers that nobody knows */
    {"v=spf1 moo.cow_far-out=man:dog/cat", ""},
};

static const char *const BAD[] = {
    "v=spf1 all:x.example",
    "v=spf1 all/8",
    "v=spf1 al",
    "v=spf1 include",
    "v=spf1 include:",
    "v=spf1 include:localhost",
    "v=spf1 include:a.b/24",
    "v=spf1 exists",
    "v=spf1 exists:",
    "v=spf1 a:",
    "v=spf1 a:/24",
    "v=spf1 a/33",
    "v=spf1 a/",
    "v=spf1 a//",
    "v=spf1 a/024",
    "v=spf1 a//129",
    "v=spf1 a/24/64",
    "v=spf1 a//64/24",
    "v=spf1 a///64",
    "v=spf1 -all a:b..",
    "v=spf1 a:b.123",
    "v=spf1 a:b.-c",
    "v=spf1 a:b.c-",
    "v=spf1 a:%{x}.example",
    "v=spf1 a:%{d",
    "v=spf1 a:%",
    "v=spf1 a:%z.example",
    "v=spf1 a:%{d0}.e.com",
    "v=spf1 a:%{c}.example",
    "v=spf1 ip4",
    "v=spf1 ip4:",
    "v=spf1 ip4:192.0.2",
    "v=spf1 ip4:1.2.3.4/33",
    "v=spf1 ip4:1.2.3.4/08",
    "v=spf1 ip4:1.2.3.4//24",
    "v=spf1 ip4:1.2.3.4:25",
    "v=spf1 ip4:::1",
    "v=spf1 ip6:1.2.3.4",
    "v=spf1 ip6:::1/129",
    "v=spf1 ip6:",
    "v=spf1 ptr:",
    "v=spf1 ptr/24",
    "v=spf1 redirect=",
    "v=spf1 exp=",
    "v=spf1 exp=a.b exp=a.b",
    "v=spf1 redirect=a.b redirect=c.d",
    "v=spf1 -",
    "v=spf1 --all",
    "v=spf1 -redirect=a.b",
    "v=spf1 =x",
    "v=spf1 1x=y",
    "v=spf1 x=%{",
    "v=spf1 a\tmx",
    "v=spf1 a:\xc3\xa9.com",
    "v=spf1 a:x\x7f.com",
    "v=spf1 all\n",
};

static const char *const NAMES[] = {"all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"};

static void
describe_term(struct buf *out, const struct spf_term *term)
{
    char text[NET_ADDR_TEXT_MAX];

    (void)buf_printf(out, "%s %s", auth_result_word((enum auth_result)term->qualifier),
                     NAMES[term->mechanism]);
    if (term->mechanism == SPF_IP4 || term->mechanism == SPF_IP6) {
        net_addr_format(&term->network.base, text);
        (void)buf_printf(out, " %s/%d", text, term->network.bits);
    } else if (term->mechanism != SPF_ALL) {
        (void)buf_printf(out, " %.*s", BYTES_FMT(term->domain));
    }
    if (term->mechanism == SPF_A || term->mechanism == SPF_MX) {
        (void)buf_printf(out, "/%d/%d", term->bits4, term->bits6);
    }
    (void)buf_append_byte(out, '\n');
}

/* Parses a copy that ends where the text ends. Its description, or "" and false. */
static bool
describe(const char *text, struct buf *out)
{
    struct arena *arena = arena_new(1024 * 1024);
    struct bytes view = bytes_str(text);
    uint8_t *copy = malloc(view.n + 1);
    struct spf_record record;
    const char *problem = NULL;
    bool good = false;

    if (arena == NULL || copy == NULL) {
        exit(2);
    }
    memcpy(copy, view.p, view.n);
    int r = spf_record_parse(arena, bytes_of(copy, view.n), &record, &problem);
    CHECK(r == 0 || (r == GW_ERR_SYNTAX && problem != NULL && problem[0] != '\0'), text);
    buf_clear(out);
    if (r == 0) {
        good = true;
        for (size_t i = 0; i < record.count; i++) {
            describe_term(out, &record.terms[i]);
        }
        if (record.redirect.p != NULL) {
            (void)buf_printf(out, "redirect %.*s\n", BYTES_FMT(record.redirect));
        }
        if (record.explanation.p != NULL) {
            (void)buf_printf(out, "exp %.*s\n", BYTES_FMT(record.explanation));
        }
    }
    free(copy);
    arena_free(&arena);
    return good;
}

static void
test_limits(struct buf *out)
{
    struct buf text;

    buf_init(&text, 65536);
    (void)buf_append_str(&text, "v=spf1");
    for (int i = 0; i < SPF_TERMS_MAX; i++) {
        (void)buf_append_str(&text, " a");
    }
    CHECK(describe(buf_str(&text), out), "512 terms");
    (void)buf_append_str(&text, " a");
    CHECK(!describe(buf_str(&text), out), "513 terms");
    buf_clear(&text);
    (void)buf_append_str(&text, "v=spf1 -all");
    while (text.n < SPF_RECORD_MAX) {
        (void)buf_append_byte(&text, ' ');
    }
    CHECK(describe(buf_str(&text), out), "16384 bytes");
    (void)buf_append_byte(&text, ' ');
    CHECK(!describe(buf_str(&text), out), "16385 bytes");
    buf_free(&text);
}

int
main(void)
{
    struct buf out;
    char spoiled[256];

    CHECK(IPC_RULES[0].type != 0, "links the table of messages");
    buf_init(&out, 1024 * 1024);
    for (size_t i = 0; i < sizeof(VERSIONS) / sizeof(VERSIONS[0]); i++) {
        CHECK(spf_record_is_one(bytes_str(VERSIONS[i].text)) == VERSIONS[i].is_one, VERSIONS[i].text);
    }
    for (size_t i = 0; i < sizeof(GOOD) / sizeof(GOOD[0]); i++) {
        CHECK(describe(GOOD[i].text, &out), GOOD[i].text);
        CHECK(strcmp(buf_str(&out), GOOD[i].terms) == 0, buf_str(&out));
    }
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        CHECK(!describe(BAD[i], &out), BAD[i]);
        /* before and behind good terms, behind "all" as well */
        (void)snprintf(spoiled, sizeof(spoiled), "v=spf1 +all%s", BAD[i] + 6);
        CHECK(!describe(spoiled, &out), spoiled);
        (void)snprintf(spoiled, sizeof(spoiled), "%s mx -all", BAD[i]);
        CHECK(!describe(spoiled, &out), spoiled);
    }
    test_limits(&out);
    buf_free(&out);
    return failures != 0;
}

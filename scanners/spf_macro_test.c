/*
 * spf_macro_test - macro-strings: the examples of RFC 7208 section 7.4, transformers, escapes, what is no
 * macro.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
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

static struct net_addr v4, v6;
static unsigned name_asked;

static const struct {
    const char *text, *expanded;
    bool exp, ipv6;
} GOOD[] = {
    {"", "", false, false},
    {"plain.example", "plain.example", false, false},
    {"%{s}", "strong-bad@email.example.com", false, false},
    {"%{o}", "email.example.com", false, false},
    {"%{d}", "email.example.com", false, false},
    {"%{d4}", "email.example.com", false, false},
    {"%{d3}", "email.example.com", false, false},
    {"%{d2}", "example.com", false, false},
    {"%{d1}", "com", false, false},
    {"%{dr}", "com.example.email", false, false},
    {"%{d2r}", "example.email", false, false},
    {"%{l}", "strong-bad", false, false},
    {"%{l-}", "strong.bad", false, false},
    {"%{lr}", "strong-bad", false, false},
    {"%{lr-}", "bad.strong", false, false},
    {"%{l1r-}", "strong", false, false},
    {"%{L1R-}", "strong", false, false},
    {"%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com", false, false},
    {"%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com", false, false},
    {"%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com", false, false},
    {"%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com", false, false},
    {"%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net", false, false},
    {"%{ir}.%{v}._spf.%{d2}",
     "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com", false, true},
    {"%{h}|%{p}", "mx.example.org|mail.example.com", false, false},
    {"%%%_%-x", "% %20x", false, false},
    {"%{S}", "strong-bad%40email.example.com", false, false},
    {"%{d999999999999}", "email.example.com", false, false},
    {"%{o2r.-+,/_=}", "example.email", false, false},
    {"%{c} is not one of %{d}'s, says %{r}", "192.0.2.3 is not one of email.example.com's, says gw.example",
     true, false},
    {"%{c}", "2001:db8::cb01", true, true},
};

static const struct {
    const char *text;
    bool exp;
} BAD[] = {
    {"%", false},        {"a%", false},     {"%a", false},       {"%{", false},    {"%{d", false},
    {"%{}", false},      {"%{d0}", false},  {"%{d00}", false},   {"%{x}", false},  {"%{dx}", false},
    {"%{d-2}", false},   {"%{dr2}", false}, {"%{c}", false},     {"%{r}", false},  {"%{t}", false},
    {"%{2d}", false},    {"%{d:}", false},  {"%{o@}", false},    {"%{d}%", false}, {"a b", false},
    {"\xc3\xa9", false}, {"%{d rr}", true}, {"100% sure", true}, {"%{z}", true},
};

static struct bytes
give_name(void *context)
{
    (void)context;
    name_asked++;
    return BYTES_LIT("mail.example.com");
}

static void
test_good(const struct spf_macros *macros, struct spf_request *request, struct buf *out)
{
    for (size_t i = 0; i < sizeof(GOOD) / sizeof(GOOD[0]); i++) {
        struct bytes text = bytes_str(GOOD[i].text);

        request->client = GOOD[i].ipv6 ? &v6 : &v4;
        buf_clear(out);
        CHECK(spf_macro_check(text, GOOD[i].exp) == 0, GOOD[i].text);
        CHECK(spf_macro_expand(macros, text, GOOD[i].exp, out) == 0, GOOD[i].text);
        CHECK(strcmp(buf_str(out), GOOD[i].expanded) == 0, buf_str(out));
    }
    CHECK(name_asked == 1, "PTR is asked for only where %{p} stands");
    buf_clear(out);
    CHECK(spf_macro_expand(macros, BYTES_LIT("%{t}"), true, out) == 0, "%{t}");
    CHECK(strtoll(buf_str(out), NULL, 10) / 100 == clock_wall_s() / 100, buf_str(out));
}

static void
test_bad(const struct spf_macros *macros, struct buf *out)
{
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        struct bytes text = bytes_str(BAD[i].text);

        buf_clear(out);
        CHECK(spf_macro_check(text, BAD[i].exp) == GW_ERR_SYNTAX, BAD[i].text);
        CHECK(spf_macro_expand(macros, text, BAD[i].exp, out) == GW_ERR_SYNTAX && out->n == 0, BAD[i].text);
    }
}

/* A text that would grow beyond the buffer, and a local part of very many parts. */
static void
test_limits(struct spf_macros macros)
{
    struct buf text, small;
    char dots[600];

    buf_init(&text, 65536);
    buf_init(&small, 100);
    for (int i = 0; i < 50; i++) {
        (void)buf_append_str(&text, "%{d}");
    }
    CHECK(spf_macro_expand(&macros, bytes_buf(&text), false, &small) == GW_ERR_LIMIT,
          "longer than the buffer");
    CHECK(small.n <= 100, "longer than the buffer");
    memset(dots, '.', sizeof(dots));
    macros.sender_local = bytes_of(dots, sizeof(dots));
    buf_clear(&text);
    CHECK(spf_macro_expand(&macros, BYTES_LIT("%{l}"), false, &text) == GW_ERR_LIMIT, "too many parts");
    buf_clear(&text);
    CHECK(spf_macro_expand(&macros, BYTES_LIT("%{s1}"), false, &text) == 0, "%{s} of a long local part");
    buf_free(&text);
    buf_free(&small);
}

int
main(void)
{
    struct spf_request request = {.helo = BYTES_LIT("mx.example.org"), .receiver = "gw.example"};
    struct spf_macros macros = {.request = &request,
                                .sender_local = BYTES_LIT("strong-bad"),
                                .sender_domain = BYTES_LIT("email.example.com"),
                                .domain = BYTES_LIT("email.example.com"),
                                .validated_name = give_name};
    struct buf out;

    CHECK(IPC_RULES[0].type != 0, "links the table of messages");
    CHECK(net_addr_parse(BYTES_LIT("192.0.2.3"), &v4) == 0, "v4");
    CHECK(net_addr_parse(BYTES_LIT("2001:db8::cb01"), &v6) == 0, "v6");
    buf_init(&out, 65536);
    test_good(&macros, &request, &out);
    test_bad(&macros, &out);
    request.client = &v4;
    test_limits(macros);
    buf_free(&out);
    return failures != 0;
}

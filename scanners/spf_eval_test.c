/*
 * spf_eval_test - check_host() with a DNS in memory: mechanisms, include, redirect, exp, ptr, the limits of
 * RFC 7208 section 4.6.4, and what happens when DNS cannot answer.
 *
 * Shows of contract.tsv: SPF1 SPF2 SPF3 SPF5 SPF7.
 */
#include "base/ipc.h"
#include "scanners/dns_zone.h"
#include "scanners/spf.h"

static int failures;
#define CHECK(cond, text)                                                              \
    do {                                                                               \
        if (!(cond)) {                                                                 \
            (void)fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #cond, text); \
            failures++;                                                                \
        }                                                                              \
    } while (0)

enum { QUERIES_MAX = 200 }; /* no check may ask more */

#define TXT(name, text)     \
    {                       \
        name, DNS_TXT, text \
    }
#define MX10(name)                                                                                \
    {name, DNS_MX, "m0.example"}, {name, DNS_MX, "m1.example"}, {name, DNS_MX, "m2.example"},     \
        {name, DNS_MX, "m3.example"}, {name, DNS_MX, "m4.example"}, {name, DNS_MX, "m5.example"}, \
        {name, DNS_MX, "m6.example"}, {name, DNS_MX, "m7.example"}, {name, DNS_MX, "m8.example"}, \
    {                                                                                             \
        name, DNS_MX, "m9.example"                                                                \
    }

static const struct zone_row ZONE[] = {
    /* records and versions */
    TXT("none.example", "something else"),
    TXT("plain.example", "something else"),
    TXT("plain.example", "v=spf1 -all"),
    TXT("twice.example", "v=spf1 -all"),
    TXT("twice.example", "v=spf1 +all"),
    TXT("down.example", ZONE_DOWN),
    TXT("broken.example", "v=spf1 +all junk"),
    TXT("empty.example", "v=spf1"),
    /* mechanisms */
    TXT("ip4.example", "v=spf1 ip4:192.0.2.0/24 -all"),
    TXT("ip6.example", "v=spf1 ip6:2001:db8::/32 ~all"),
    TXT("a.example", "v=spf1 a -all"),
    {"a.example", DNS_A, "198.51.100.1"},
    {"a.example", DNS_A, "192.0.2.1"},
    {"a.example", DNS_AAAA, "2001:db8::1"},
    TXT("acidr.example", "v=spf1 a:far.example/24//32 -all"),
    {"far.example", DNS_A, "192.0.2.200"},
    {"far.example", DNS_AAAA, "2001:db8:ffff::1"},
    TXT("adown.example", "v=spf1 a:adown.example +all"),
    {"adown.example", DNS_A, ZONE_DOWN},
    TXT("mx.example", "v=spf1 mx -all"),
    {"mx.example", DNS_MX, "nowhere.example"},
    {"mx.example", DNS_MX, "far.example"},
    {"mx.example", DNS_MX, "a.example"},
    TXT("mx10.example", "v=spf1 mx -all"),
    MX10("mx10.example"),
    {"m9.example", DNS_A, "192.0.2.1"},
    TXT("mx11.example", "v=spf1 mx -all"),
    MX10("mx11.example"),
    {"mx11.example", DNS_MX, "a.example"},
    TXT("ptr.example", "v=spf1 ptr -all"),
    TXT("ptrother.example", "v=spf1 ptr:ptr.example. -all"),
    {"1.2.0.192.in-addr.arpa", DNS_PTR, "liar.ptr.example"},
    {"1.2.0.192.in-addr.arpa", DNS_PTR, "host.ptr.example"},
    {"liar.ptr.example", DNS_A, "203.0.113.1"},
    {"host.ptr.example", DNS_A, "192.0.2.1"},
    {"2.2.0.192.in-addr.arpa", DNS_PTR, "xptr.example"},
    {"xptr.example", DNS_A, "192.0.2.2"},
    {"3.2.0.192.in-addr.arpa", DNS_PTR, ZONE_DOWN},
    TXT("exists.example", "v=spf1 exists:%{ir}.%{l}.list.example -all"),
    {"1.2.0.192.ana.list.example", DNS_A, "127.0.0.2"},
    TXT("p.example", "v=spf1 exists:%{p}.list.example -all"),
    {"host.ptr.example.list.example", DNS_A, "127.0.0.2"},
    {"unknown.list.example", DNS_A, "127.0.0.2"},
    /* include and redirect */
    TXT("include.example", "v=spf1 include:ip4.example ?all"),
    TXT("includesoft.example", "v=spf1 include:soft.example -all"),
    TXT("soft.example", "v=spf1 ~all"),
    TXT("includenone.example", "v=spf1 include:none.example +all"),
    TXT("includedown.example", "v=spf1 include:down.example +all"),
    TXT("includebroken.example", "v=spf1 include:broken.example +all"),
    TXT("redirect.example", "v=spf1 redirect=ip4.example"),
    TXT("redirectlate.example", "v=spf1 redirect=plain.example ip4:192.0.2.1"),
    TXT("redirectnone.example", "v=spf1 redirect=none.example"),
    TXT("redirectall.example", "v=spf1 redirect=ip4.example ?all"),
    TXT("redirectd.example", "v=spf1 redirect=%{l}.%{d2}"),
    TXT("ana.redirectd.example", "v=spf1 exists:%{d}.%{o}.list.example -all"),
    {"ana.redirectd.example.redirectd.example.list.example", DNS_A, "127.0.0.2"},
    TXT("loop.example", "v=spf1 include:loop.example +all"),
    TXT("loopredirect.example", "v=spf1 redirect=loopredirect.example"),
    TXT("loopa.example", "v=spf1 include:loopb.example +all"),
    TXT("loopb.example", "v=spf1 redirect=loopa.example"),
    /* limits */
    TXT("ten.example",
        "v=spf1 mx:mx.example mx:mx.example mx:mx.example mx:mx.example mx:mx.example mx:mx.example "
        "mx:mx.example mx:mx.example mx:mx.example a:a.example -all"),
    TXT("eleven.example",
        "v=spf1 a:far.example a:far.example a:far.example a:far.example a:far.example a:far.example "
        "a:far.example a:far.example a:far.example a:far.example a:a.example +all"),
    TXT("elevenbelow.example", "v=spf1 include:five.example include:five.example +all"),
    TXT("five.example",
        "v=spf1 a:far.example a:far.example a:far.example a:far.example a:far.example ip4:203.0.113.1 -all"),
    TXT("voidtwo.example", "v=spf1 a:n1.example exists:n2.example ip4:192.0.2.1 -all"),
    TXT("voidthree.example", "v=spf1 a:n1.example mx:n2.example exists:n3.example +all"),
    TXT("voidbelow.example",
        "v=spf1 include:voidone.example include:voidone.example include:voidone.example +all"),
    TXT("voidone.example", "v=spf1 a:n1.example -all"),
    TXT("toolong.example", "v=spf1 exists:"
                           "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.%{s}.%{s}.%{s}.%{s}."
                           "%{s}.%{s}.%{s}.%{s}.%{s}."
                           "%{s}.%{s}.%{s}.%{s}.list.example -all"),
    /* exp */
    TXT("exp.example", "v=spf1 exp=why.%{d} -all"),
    TXT("why.exp.example", "%{i} may not send for %{d}, %{l}"),
    TXT("expdown.example", "v=spf1 -all exp=down.example"),
    TXT("exptwo.example", "v=spf1 -all exp=twice.example"),
    TXT("expbad.example", "v=spf1 -all exp=badtext.example"),
    TXT("badtext.example", "100% wrong"),
    TXT("expctl.example", "v=spf1 -all exp=ctltext.example"),
    TXT("ctltext.example", "one\r\nX-Injected: two"),
    TXT("expsoft.example", "v=spf1 ~all exp=why.exp.example"),
    TXT("expinclude.example", "v=spf1 include:exp.example -all"),
    TXT("expredirect.example", "v=spf1 redirect=exp.example"),
    {NULL, DNS_A, NULL},
};

static const struct {
    const char *client, *domain;
    enum auth_result result;
    const char *explanation;
} CASES[] = {
    {"192.0.2.1", "none.example", AUTH_NONE, ""},
    {"192.0.2.1", "absent.example", AUTH_NONE, ""},
    {"192.0.2.1", "example", AUTH_NONE, ""},
    {"192.0.2.1", "a..example", AUTH_NONE, ""},
    {"192.0.2.1", "[192.0.2.1]", AUTH_NONE, ""},
    {"192.0.2.1", "plain.example", AUTH_FAIL, ""},
    {"192.0.2.1", "PLAIN.example.", AUTH_FAIL, ""},
    {"192.0.2.1", "twice.example", AUTH_PERMERROR, ""},
    {"192.0.2.1", "down.example", AUTH_TEMPERROR, ""},
    {"192.0.2.1", "broken.example", AUTH_PERMERROR, ""},
    {"192.0.2.1", "empty.example", AUTH_NEUTRAL, ""},

    {"192.0.2.9", "ip4.example", AUTH_PASS, ""},
    {"192.0.3.9", "ip4.example", AUTH_FAIL, ""},
    {"2001:db8::9", "ip4.example", AUTH_FAIL, ""},
    {"::ffff:192.0.2.9", "ip4.example", AUTH_PASS, ""},
    {"2001:db8::9", "ip6.example", AUTH_PASS, ""},
    {"192.0.2.9", "ip6.example", AUTH_SOFTFAIL, ""},
    {"192.0.2.1", "a.example", AUTH_PASS, ""},
    {"2001:db8::1", "a.example", AUTH_PASS, ""},
    {"192.0.2.2", "a.example", AUTH_FAIL, ""},
    {"192.0.2.1", "acidr.example", AUTH_PASS, ""},
    {"2001:db8::1", "acidr.example", AUTH_PASS, ""},
    {"2001:db9::1", "acidr.example", AUTH_FAIL, ""},
    {"192.0.2.1", "adown.example", AUTH_TEMPERROR, ""},
    {"192.0.2.1", "mx.example", AUTH_PASS, ""},
    {"192.0.2.2", "mx.example", AUTH_FAIL, ""},
    {"192.0.2.1", "mx10.example", AUTH_PASS, ""},
    {"192.0.2.1", "mx11.example", AUTH_PERMERROR, ""},
    {"192.0.2.1", "ptr.example", AUTH_PASS, ""},
    {"192.0.2.1", "ptrother.example", AUTH_PASS, ""},
    {"192.0.2.2", "ptr.example", AUTH_FAIL, ""}, /* xptr.example is not below ptr.example */
    {"192.0.2.3", "ptr.example", AUTH_FAIL, ""}, /* section 5.5: trouble is no match */
    {"192.0.2.1", "exists.example", AUTH_PASS, ""},
    {"192.0.2.2", "exists.example", AUTH_FAIL, ""},
    {"192.0.2.1", "p.example", AUTH_PASS, ""},
    {"192.0.2.4", "p.example", AUTH_PASS, ""}, /* "unknown" */
    {"192.0.2.2", "p.example", AUTH_FAIL, ""},

    {"192.0.2.1", "include.example", AUTH_PASS, ""},
    {"192.0.3.1", "include.example", AUTH_NEUTRAL, ""},
    {"192.0.2.1", "includesoft.example", AUTH_FAIL, ""},
    {"192.0.2.1", "includenone.example", AUTH_PERMERROR, ""},
    {"192.0.2.1", "includedown.example", AUTH_TEMPERROR, ""},
    {"192.0.2.1", "includebroken.example", AUTH_PERMERROR, ""},
    {"192.0.2.1", "redirect.example", AUTH_PASS, ""},
    {"192.0.3.1", "redirect.example", AUTH_FAIL, ""},
    {"192.0.2.1", "redirectlate.example", AUTH_PASS, ""},
    {"192.0.2.2", "redirectlate.example", AUTH_FAIL, ""},
    {"192.0.2.1", "redirectnone.example", AUTH_PERMERROR, ""},
    {"192.0.2.1", "redirectall.example", AUTH_NEUTRAL, ""},
    {"192.0.2.1", "redirectd.example", AUTH_PASS, ""},
    {"192.0.2.1", "loop.example", AUTH_PERMERROR, ""},
    {"192.0.2.1", "loopredirect.example", AUTH_PERMERROR, ""},
    {"192.0.2.1", "loopa.example", AUTH_PERMERROR, ""},

    {"192.0.2.1", "ten.example", AUTH_PASS, ""},
    {"192.0.2.1", "eleven.example", AUTH_PERMERROR, ""},
    {"192.0.2.1", "elevenbelow.example", AUTH_PERMERROR, ""},
    {"192.0.2.1", "voidtwo.example", AUTH_PASS, ""},
    {"192.0.2.1", "voidthree.example", AUTH_PERMERROR, ""},
    {"192.0.2.1", "voidbelow.example", AUTH_PERMERROR, ""},
    {"192.0.2.1", "toolong.example", AUTH_FAIL, ""},

    {"192.0.2.1", "exp.example", AUTH_FAIL, "192.0.2.1 may not send for exp.example, ana"},
    {"192.0.2.1", "expdown.example", AUTH_FAIL, ""},
    {"192.0.2.1", "exptwo.example", AUTH_FAIL, ""},
    {"192.0.2.1", "expbad.example", AUTH_FAIL, ""},
    {"192.0.2.1", "expctl.example", AUTH_FAIL, ""},
    {"192.0.2.1", "expsoft.example", AUTH_SOFTFAIL, ""},
    {"192.0.2.1", "expinclude.example", AUTH_FAIL, ""},
    {"192.0.2.1", "expredirect.example", AUTH_FAIL, "192.0.2.1 may not send for exp.example, ana"},
};

static unsigned queries;

static int
look_up(void *context, const char *name, enum dns_type type, struct dns_answer **answer_r)
{
    (void)context;
    queries++;
    return zone_answer(ZONE, name, type, answer_r);
}

static void
check(struct arena *arena, const char *client, struct bytes sender, const char *helo,
      struct spf_outcome *outcome_r)
{
    struct net_addr addr;
    struct spf_request request = {.client = &addr,
                                  .sender = sender,
                                  .helo = bytes_str(helo),
                                  .receiver = "gw.example",
                                  .lookup = look_up,
                                  .arena = arena};

    CHECK(net_addr_parse(bytes_str(client), &addr) == 0, client);
    queries = 0;
    spf_check(&request, outcome_r);
    CHECK(queries <= QUERIES_MAX, "queries");
}

static void
test_cases(struct arena *arena)
{
    struct spf_outcome outcome;
    char sender[300];

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        (void)snprintf(sender, sizeof(sender), "ana@%s", CASES[i].domain);
        check(arena, CASES[i].client, bytes_str(sender), "helo.example", &outcome);
        CHECK(outcome.result == CASES[i].result, sender);
        CHECK(bytes_equal(outcome.domain, bytes_str(CASES[i].domain)), sender);
        CHECK(bytes_equal(outcome.explanation, bytes_str(CASES[i].explanation)), sender);
        CHECK(outcome.lookups <= SPF_LOOKUPS_MAX + 1, sender);
        /* An error says what it is, a result has no problem. */
        bool error = outcome.result == AUTH_TEMPERROR || outcome.result == AUTH_PERMERROR;
        CHECK((outcome.problem.n > 0) == error, sender);
    }
}

/* The null sender is postmaster at HELO, a sender without a local part is postmaster too. */
static void
test_identities(struct arena *arena)
{
    struct spf_outcome outcome;

    check(arena, "192.0.2.1", (struct bytes){0}, "plain.example", &outcome);
    CHECK(outcome.result == AUTH_FAIL && bytes_equal(outcome.domain, BYTES_LIT("plain.example")), "helo");
    check(arena, "192.0.2.1", (struct bytes){0}, "exp.example", &outcome);
    CHECK(bytes_equal(outcome.explanation, BYTES_LIT("192.0.2.1 may not send for exp.example, postmaster")),
          "helo");
    check(arena, "192.0.2.1", (struct bytes){0}, "", &outcome);
    CHECK(outcome.result == AUTH_NONE, "no name at all");
    check(arena, "192.0.2.1", BYTES_LIT("@exp.example"), "x", &outcome);
    CHECK(bytes_equal(outcome.explanation, BYTES_LIT("192.0.2.1 may not send for exp.example, postmaster")),
          "@");
    check(arena, "192.0.2.1", BYTES_LIT("a@b@plain.example"), "x", &outcome);
    CHECK(outcome.result == AUTH_FAIL, "the last @");
    check(arena, "192.0.2.1", BYTES_LIT("ana@"), "plain.example", &outcome);
    CHECK(outcome.result == AUTH_NONE, "no domain");
    check(arena, "192.0.2.1", BYTES_LIT("ana@plain.example\0.x"), "x", &outcome);
    CHECK(outcome.result == AUTH_NONE, "NUL");
}

int
main(void)
{
    struct arena *arena = arena_new(16 * 1024 * 1024);

    CHECK(IPC_RULES[0].type != 0 && arena != NULL, "links the table of messages");
    test_cases(arena);
    test_identities(arena);
    arena_free(&arena);
    return failures != 0;
}

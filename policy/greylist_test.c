/*
 * greylist_test - timelines of triplets with a clock of its own; the tables' bounds and sweeps; the
 * allowlist.
 *
 * Shows of contract.tsv: GRY1 GRY2 GRY9 PSC5.
 */
#include "policy/greylist.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "policy/allowlist.h"

static int failures;
#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

enum { DELAY = 300, WINDOW = 2 * 86400, LIFETIME = 35 * 86400 };
static const struct greylist_limits LIMITS = {DELAY, WINDOW, LIFETIME};
static const int64_t START = 1700000000;
static char directory[64];

static struct state *
open_state(const char *name, size_t entries)
{
    char path[128];
    struct state *state = NULL;
    const char *why = "";

    (void)snprintf(path, sizeof(path), "%s/%s.lmdb", directory, name);
    struct state_options options = {
        .path = path, .size_limit = 64 << 20, .entries_max = {entries, entries, entries}};
    CHECK(state_open(&options, &state, &why) == 0);
    return state;
}

static struct net_addr
address(const char *text)
{
    struct net_addr addr = {0};

    CHECK(net_addr_parse(bytes_str(text), &addr) == 0);
    return addr;
}

static int64_t
ask(struct state *state, int64_t now_s, const char *client, const char *domain, const char *sender,
    const char *rcpt)
{
    struct wire_triplet triplet = {
        .client = address(client), .sender = bytes_str(sender), .recipient = bytes_str(rcpt)};
    struct wire_greylist_answer answer;

    (void)snprintf(triplet.client_domain, sizeof(triplet.client_domain), "%s", domain);
    CHECK(greylist_check(state, &LIMITS, &triplet, now_s, &answer) == 0);
    CHECK((answer.pass != WIRE_GREYLIST_WAIT) == (answer.wait_s == 0));
    return answer.wait_s;
}

/* Steps of one timeline: seconds since the start, who, and the wait expected. */
static const struct {
    const char *name;
    int64_t at;
    const char *client, *domain, *sender, *rcpt;
    int64_t wait;
} STEPS[] = {
    {"first", 0, "192.0.2.1", "", "a@example.com", "r@example.net", 300},
    {"too early", 100, "192.0.2.1", "", "a@example.com", "r@example.net", 200},
    {"one second too early", 299, "192.0.2.1", "", "A@Example.COM", "R@example.net", 1},
    {"same /24", 300, "192.0.2.200", "", "a@example.com", "r@example.net", 0},
    {"again at once", 301, "192.0.2.1", "", "a@example.com", "r@example.net", 0},
    {"another recipient", 301, "192.0.2.1", "", "a@example.com", "s@example.net", 300},
    {"another /24", 301, "192.0.3.1", "", "a@example.com", "r@example.net", 300},
    {"null sender", 301, "192.0.2.1", "", "", "r@example.net", 300},
    {"within its life", 300 + LIFETIME, "192.0.2.1", "", "a@example.com", "r@example.net", 0},
    {"after its life", 301 + 2 * LIFETIME + LIFETIME / 16, "192.0.2.1", "", "a@example.com", "r@example.net",
     300},
    {"verp", 0, "203.0.113.1", "", "list-return-123-r=example.net@lists.example", "r@example.net", 300},
    {"verp again", 400, "203.0.113.1", "", "list-return-9999-r=example.net@lists.example", "r@example.net",
     0},
    {"tag", 0, "203.0.114.1", "", "user+one@example.com", "r+x@example.net", 300},
    {"tag again", 400, "203.0.114.1", "", "user+two@example.com", "r+y@example.net", 0},
    {"batv", 0, "203.0.115.1", "", "prvs=0123abc=user@example.com", "r@example.net", 300},
    {"batv again", 400, "203.0.115.1", "", "prvs=9999fff=user@example.com", "r@example.net", 0},
    {"came back too late", 0, "203.0.116.1", "", "l@example.com", "r@example.net", 300},
    {"counts as new", WINDOW + 1, "203.0.116.1", "", "l@example.com", "r@example.net", 300},
    {"/64", 0, "2001:db8:1:2::1", "", "a@example.com", "r@example.net", 300},
    {"same /64", 400, "2001:db8:1:2:ffff::9", "", "a@example.com", "r@example.net", 0},
    {"another /64", 400, "2001:db8:1:3::1", "", "a@example.com", "r@example.net", 300},
    {"spf domain", 0, "198.51.100.1", "big.example", "a@big.example", "r@example.net", 300},
    {"spf domain elsewhere", 400, "203.0.117.77", "BIG.example", "a@big.example", "r@example.net", 0},
    {"its address without spf", 400, "198.51.100.1", "", "a@big.example", "r@example.net", 300},
};

static void
test_timelines(void)
{
    struct state *state = open_state("timeline", 1000);

    for (size_t i = 0; i < sizeof(STEPS) / sizeof(STEPS[0]); i++) {
        int64_t wait =
            ask(state, START + STEPS[i].at, STEPS[i].client, STEPS[i].domain, STEPS[i].sender, STEPS[i].rcpt);
        if (wait != STEPS[i].wait) {
            (void)fprintf(stderr, "%s: %lld, not %lld\n", STEPS[i].name, (long long)wait,
                          (long long)STEPS[i].wait);
            failures++;
        }
    }
    state_free(&state);
    state_free(&state);
}

/* Five triplets that passed: the sixth need not wait. It holds over a restart and ends after the lifetime. */
static void
test_trust(void)
{
    struct state *state = open_state("trust", 1000);
    char sender[64];
    int64_t now = START;

    for (int i = 0; i < GREYLIST_TRUSTED_AFTER; i++) {
        (void)snprintf(sender, sizeof(sender), "%c@example.com", 'a' + i);
        CHECK(ask(state, now, "192.0.2.1", "", sender, "r@example.net") == DELAY);
        CHECK(ask(state, now + DELAY, "192.0.2.1", "", sender, "r@example.net") == 0);
        CHECK(ask(state, now + DELAY + 1, "192.0.2.1", "", sender, "r@example.net") == 0);
    }
    CHECK(ask(state, now + 1000, "192.0.2.9", "", "new@example.com", "r@example.net") == 0);
    CHECK(state_commit(state) == 0 && !state_is_dirty(state));
    state_free(&state);
    state = open_state("trust", 1000);
    CHECK(ask(state, now + 2000, "192.0.2.9", "", "newer@example.com", "r@example.net") == 0);
    CHECK(ask(state, now + 3 * LIFETIME, "192.0.2.9", "", "newest@example.com", "r@example.net") == DELAY);
    state_free(&state);
}

/* A flood of strangers: the table stays within its bound, and greylisting goes on. */
static void
test_flood(void)
{
    struct state *state = open_state("flood", 500);
    char client[64], sender[64];

    for (int i = 0; i < 5000; i++) {
        (void)snprintf(client, sizeof(client), "10.%d.%d.1", i >> 8, i & 255);
        (void)snprintf(sender, sizeof(sender), "%c%c%c@example.com", 'a' + i % 26, 'a' + i / 26 % 26,
                       'a' + i / 676);
        CHECK(ask(state, START + i / 100, client, "", sender, "r@example.net") == DELAY);
    }
    CHECK(state_count(state, STATE_TRIPLETS) == 500);
    CHECK(ask(state, START + 100, "192.0.2.1", "", "a@example.com", "r@example.net") == DELAY);
    CHECK(ask(state, START + 100 + DELAY, "192.0.2.1", "", "a@example.com", "r@example.net") == 0);
    /* The sweep takes the strangers away in small batches and leaves who passed. */
    for (int i = 0; i < 60; i++) {
        greylist_sweep(state, &LIMITS, 10, START + WINDOW + 1000);
    }
    CHECK(state_count(state, STATE_TRIPLETS) == 1 && state_count(state, STATE_CLIENTS) == 1);
    for (int i = 0; i < 3; i++) {
        greylist_sweep(state, &LIMITS, 10, START + 2 * LIFETIME);
    }
    CHECK(state_count(state, STATE_TRIPLETS) == 0 && state_count(state, STATE_CLIENTS) == 0);
    state_free(&state);
}

static void
test_allowlist(void)
{
    struct state *state = open_state("allow", 100);
    struct wire_allow allow = {.client = address("192.0.2.1")};

    CHECK(allowlist_ask(state, &allow, START) == 0);
    for (size_t i = 0; i < SCREEN_TESTS_COUNT; i++) {
        CHECK(allow.expires_s[i] == 0);
    }
    allow.expires_s[0] = START + 100;
    allow.expires_s[1] = START + 1000;
    CHECK(allowlist_set(state, &allow, START) == 0);
    struct wire_allow later = {.client = address("192.0.2.1"), .expires_s = {START + 50, 0, START + 500}};
    CHECK(allowlist_set(state, &later, START) == 0);
    struct wire_allow asked = {.client = address("192.0.2.1")};
    CHECK(allowlist_ask(state, &asked, START + 10) == 0);
    CHECK(asked.expires_s[0] == START + 100 && asked.expires_s[1] == START + 1000 &&
          asked.expires_s[2] == START + 500 && asked.expires_s[3] == 0);
    CHECK(allowlist_ask(state, &asked, START + 600) == 0);
    CHECK(asked.expires_s[0] == 0 && asked.expires_s[1] == START + 1000 && asked.expires_s[2] == 0);
    struct wire_allow other = {.client = address("192.0.2.2")};
    CHECK(allowlist_ask(state, &other, START) == 0 && other.expires_s[1] == 0);
    struct wire_allow six = {.client = address("2001:db8::1"), .expires_s = {START + 100}};
    CHECK(allowlist_set(state, &six, START) == 0 && state_count(state, STATE_ALLOWED) == 2);
    allowlist_sweep(state, 10, START + 200);
    CHECK(state_count(state, STATE_ALLOWED) == 1);
    allowlist_sweep(state, 10, START + 2000);
    allowlist_sweep(state, 10, START + 2000);
    CHECK(state_count(state, STATE_ALLOWED) == 0);
    state_free(&state);
}

int
main(void)
{
    char command[128];

    (void)snprintf(directory, sizeof(directory), "%s", "/tmp/greylist_test.XXXXXX");
    if (mkdtemp(directory) == NULL) {
        perror("mkdtemp");
        return 1;
    }
    test_timelines();
    test_trust();
    test_flood();
    test_allowlist();
    (void)snprintf(command, sizeof(command), "rm -rf %s", directory);
    CHECK(system(command) == 0);
    return failures != 0;
}

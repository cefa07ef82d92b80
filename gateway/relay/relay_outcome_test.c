/*
 * relay_outcome_test - the failure policy row by row, and the texts operators search for.
 */
#include "relay/relay_outcome.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

static int failures;
#define CHECK(cond)                                                    \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                \
        }                                                              \
    } while (0)

static void
test_rules(void)
{
    for (int scope = 0; scope < RELAY_SCOPES; scope++) {
        for (int kind = 0; kind < RELAY_KINDS; kind++) {
            const struct relay_rule *rule =
                relay_outcome_rule((enum relay_scope)scope, (enum relay_kind)kind);

            /* Only a host's own 5xx returns mail; a lost connection never does. */
            CHECK(rule->status == DELIVERY_DEFERRED ||
                  (rule->status == DELIVERY_BOUNCED && kind == RELAY_KIND_HARD));
            CHECK(!rule->site || scope <= RELAY_SCOPE_SITE);
        }
    }
    CHECK(relay_outcome_rule(RELAY_SCOPE_CONNECT, RELAY_KIND_BROKEN)->next_host);
    CHECK(relay_outcome_rule(RELAY_SCOPE_SITE, RELAY_KIND_HARD)->next_host);
    CHECK(relay_outcome_rule(RELAY_SCOPE_SITE, RELAY_KIND_HARD)->status == DELIVERY_BOUNCED);
    CHECK(!relay_outcome_rule(RELAY_SCOPE_RECIPIENT, RELAY_KIND_HARD)->next_host);
    CHECK(relay_outcome_rule(RELAY_SCOPE_RECIPIENT, RELAY_KIND_SOFT)->next_host);
    CHECK(!relay_outcome_rule(RELAY_SCOPE_END, RELAY_KIND_BROKEN)->next_host);
    CHECK(relay_outcome_rule((enum relay_scope)99, RELAY_KIND_HARD)->status == DELIVERY_DEFERRED);
}

static void
test_kinds(void)
{
    CHECK(relay_outcome_kind(550) == RELAY_KIND_HARD);
    CHECK(relay_outcome_kind(450) == RELAY_KIND_SOFT);
    CHECK(relay_outcome_kind(250) == RELAY_KIND_SOFT);
    CHECK(relay_outcome_kind(0) == RELAY_KIND_SOFT);
}

static void
test_texts(void)
{
    struct relay_trouble t;

    relay_outcome_said(&t, RELAY_SCOPE_RECIPIENT, "mx.example[192.0.2.1]", 550, "5.1.1",
                       BYTES_LIT("550 5.1.1 no such user"), "RCPT TO command");
    CHECK(strcmp(t.failure.text,
                 "host mx.example[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)") ==
          0);
    CHECK(strcmp(t.failure.dsn, "5.1.1") == 0 && t.failure.status == DELIVERY_BOUNCED);
    relay_outcome_said(&t, RELAY_SCOPE_RECIPIENT, "h", 450, "", BYTES_LIT("450 later"), "RCPT TO command");
    CHECK(strcmp(t.failure.dsn, "4.0.0") == 0 && t.failure.status == DELIVERY_DEFERRED);
    relay_outcome_said(&t, RELAY_SCOPE_RECIPIENT, "h", 450, "5.1.1", BYTES_LIT("450 5.1.1 odd"),
                       "RCPT TO command");
    CHECK(strcmp(t.failure.dsn, "4.1.1") == 0);
    relay_outcome_refused(&t, "h", 554, "", BYTES_LIT("554 go away"));
    CHECK(strcmp(t.failure.text, "host h refused to talk to me: 554 go away") == 0);
    CHECK(t.scope == RELAY_SCOPE_SITE && t.kind == RELAY_KIND_HARD);
    relay_outcome_broken(&t, RELAY_SCOPE_MESSAGE, "h", GW_ERR_EOF, "sending MAIL FROM");
    CHECK(strcmp(t.failure.text, "lost connection with h while sending MAIL FROM") == 0);
    relay_outcome_broken(&t, RELAY_SCOPE_MESSAGE, "h", GW_ERR_TIMEOUT, "sending MAIL FROM");
    CHECK(strcmp(t.failure.text, "conversation with h timed out while sending MAIL FROM") == 0);
    CHECK(strcmp(t.failure.dsn, "4.4.2") == 0 && t.failure.status == DELIVERY_DEFERRED);
}

int
main(void)
{
    test_rules();
    test_kinds();
    test_texts();
    return failures != 0;
}

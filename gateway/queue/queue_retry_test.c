/*
 * queue_retry_test - pauses, expiry and delay warnings by table.
 *
 * Shows of contract.tsv: PAR21 PAR57.
 */
#include "queue/queue_retry.h"

#include <stdio.h>

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

static const struct queue_retry POSTFIX = {
    .minimal_backoff_s = 300,
    .maximal_backoff_s = 4000,
    .maximal_lifetime_s = 432000,
    .bounce_lifetime_s = 86400,
    .delay_warning_s = 14400,
};

static void
check_pauses(void)
{
    static const struct {
        int64_t age_s, pause_s;
    } CASES[] = {
        {0, 300},     {299, 300},   {300, 300},   {301, 301},     {600, 600},
        {3999, 3999}, {4000, 4000}, {4001, 4000}, {400000, 4000}, {-5000, 300}, /* the clock was set back */
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        int64_t now_s = 1000000;

        CHECK(queue_retry_next(&POSTFIX, now_s - CASES[i].age_s, now_s) == now_s + CASES[i].pause_s);
    }
    /* Doubling: an attempt as soon as allowed each time. */
    int64_t now_s = 0, attempts = 0;
    while (now_s < 4000) {
        now_s = queue_retry_next(&POSTFIX, 0, now_s);
        attempts++;
    }
    CHECK(attempts == 5); /* 300 600 1200 2400 4800 */
}

static void
check_lifetimes(void)
{
    CHECK(!queue_retry_is_expired(&POSTFIX, false, 0, 431999));
    CHECK(queue_retry_is_expired(&POSTFIX, false, 0, 432000));
    CHECK(!queue_retry_is_expired(&POSTFIX, true, 0, 86399));
    CHECK(queue_retry_is_expired(&POSTFIX, true, 0, 86400));
    struct queue_retry once = POSTFIX;
    once.maximal_lifetime_s = 0;
    CHECK(queue_retry_is_expired(&once, false, 100, 100));
    /* bounce_queue_lifetime never prolongs. */
    once.bounce_lifetime_s = 500;
    CHECK(queue_retry_is_expired(&once, true, 100, 100));
}

static void
check_delay(void)
{
    struct queue_retry never = POSTFIX;

    never.delay_warning_s = 0;
    CHECK(!queue_retry_is_delayed(&never, 0, 1000000));
    CHECK(!queue_retry_is_delayed(&POSTFIX, 0, 14399));
    CHECK(queue_retry_is_delayed(&POSTFIX, 0, 14400));
}

int
main(void)
{
    check_pauses();
    check_lifetimes();
    check_delay();
    return failures != 0;
}

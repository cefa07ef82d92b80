/*
 * queue_schedule_test - round robin, windows, feedback, dead destinations, process limits, and a random run
 * in which every job must come out exactly once.
 *
 * Shows of contract.tsv: PAR54.
 */
#include "queue/queue_schedule.h"

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

static const struct queue_limits POSTFIX = {
    .initial_concurrency = 5,
    .concurrency = 20,
    .recipients = 50,
    .processes = 100,
    .failed_cohorts = 1,
    .positive = {.value = 1},
    .negative = {.value = 1},
    .dead_ms = 300000,
};

static struct queue_schedule *
make(const struct queue_limits *limits)
{
    struct queue_schedule *schedule = queue_schedule_new();

    CHECK(schedule != NULL);
    CHECK(queue_schedule_add_transport(schedule, "smtp", ROLE_RELAY, "smtp", limits) == 0);
    CHECK(queue_schedule_add_transport(schedule, "local", ROLE_DELIVER, "local", limits) == 0);
    return schedule;
}

static int
add(struct queue_schedule *schedule, const char *nexthop, int64_t now_ms, struct queue_entry **entry_r)
{
    static const uint16_t NUMBERS[] = {0, 3, 7};
    const char *reason;

    return queue_schedule_add(schedule, queue_schedule_transport(schedule, "smtp"), nexthop, nexthop, NULL,
                              NUMBERS, 3, now_ms, entry_r, &reason);
}

static void
check_round_robin(void)
{
    struct queue_schedule *schedule = make(&POSTFIX);
    static const char *const HOPS[] = {"a", "b", "c"};
    struct queue_entry *entry;

    /* All of a first: it must not go first. */
    for (int hop = 0; hop < 3; hop++) {
        for (int i = 0; i < 3; i++) {
            CHECK(add(schedule, HOPS[hop], 0, &entry) == 0);
        }
    }
    CHECK(queue_schedule_waiting(schedule) == 9);
    CHECK(!queue_schedule_is_ready(schedule, ROLE_DELIVER));
    CHECK(queue_schedule_take(schedule, ROLE_DELIVER) == NULL);
    for (int i = 0; i < 9; i++) {
        CHECK(queue_schedule_is_ready(schedule, ROLE_RELAY));
        entry = queue_schedule_take(schedule, ROLE_RELAY);
        CHECK(entry != NULL && strcmp(queue_destination_nexthop(entry->destination), HOPS[i % 3]) == 0);
        CHECK(entry != NULL && entry->count == 3 && entry->numbers[2] == 7);
        CHECK(!queue_schedule_done(schedule, &entry, QUEUE_RESULT_REACHED, "", 0));
        CHECK(entry == NULL);
    }
    CHECK(queue_schedule_take(schedule, ROLE_RELAY) == NULL);
    queue_schedule_free(&schedule);
}

/* Five at first; each success opens one more, up to the limit. */
static void
check_window(void)
{
    struct queue_schedule *schedule = make(&POSTFIX);
    struct queue_entry *taken[64] = {0}, *entry;
    size_t n = 0;

    for (int i = 0; i < 200; i++) {
        CHECK(add(schedule, "mx", 0, &entry) == 0);
    }
    while ((entry = queue_schedule_take(schedule, ROLE_RELAY)) != NULL) {
        taken[n++] = entry;
    }
    CHECK(n == 5);
    for (int round = 0; round < 40; round++) {
        entry = taken[--n];
        CHECK(!queue_schedule_done(schedule, &entry, QUEUE_RESULT_REACHED, "", 0));
        while (n < 64 && (entry = queue_schedule_take_for(schedule, "smtp", "mx")) != NULL) {
            taken[n++] = entry;
        }
        CHECK(n <= 20);
    }
    CHECK(n == 20);
    CHECK(queue_schedule_window(taken[0]->destination) == 20);
    CHECK(queue_schedule_take_for(schedule, "smtp", "other") == NULL);
    CHECK(queue_schedule_take_for(schedule, "nothing", "mx") == NULL);
    while (n > 0) {
        entry = taken[--n];
        (void)queue_schedule_done(schedule, &entry, QUEUE_RESULT_UNKNOWN, "", 0);
    }
    queue_schedule_free(&schedule);
}

static void
check_dead(void)
{
    struct queue_schedule *schedule = make(&POSTFIX);
    struct queue_entry *taken[5] = {0}, *entry;
    const char *reason;
    bool dead = false;

    for (int i = 0; i < 12; i++) {
        CHECK(add(schedule, "mx", 0, &entry) == 0);
    }
    for (size_t i = 0; i < 5; i++) {
        CHECK((taken[i] = queue_schedule_take(schedule, ROLE_RELAY)) != NULL);
    }
    size_t used = 0;
    while (!dead && used < 5) {
        dead =
            queue_schedule_done(schedule, &taken[used++], QUEUE_RESULT_SITE_DOWN, "connection refused", 1000);
    }
    CHECK(dead && used < 5); /* cohorts: 1/5 + 1/4 + 1/3 + 1/2 >= 1 */
    size_t drained = 0;
    while ((entry = queue_schedule_take_dead(schedule, &reason)) != NULL) {
        CHECK(strcmp(reason, "connection refused") == 0);
        queue_schedule_drop(schedule, &entry);
        drained++;
    }
    CHECK(drained == 7);
    CHECK(queue_schedule_waiting(schedule) == 0);
    CHECK(add(schedule, "mx", 2000, &entry) == GW_ERR_TEMP && entry == NULL);
    /* A worker that died with a job of a dead destination: the job is for the drain too. */
    queue_schedule_return(schedule, taken[4]);
    CHECK((entry = queue_schedule_take_dead(schedule, &reason)) == taken[4]);
    queue_schedule_drop(schedule, &entry);
    while (used < 4) {
        (void)queue_schedule_done(schedule, &taken[used++], QUEUE_RESULT_SITE_DOWN, "again", 1500);
    }
    /* Its time is over. */
    CHECK(add(schedule, "mx", 301001, &entry) == 0);
    CHECK((entry = queue_schedule_take(schedule, ROLE_RELAY)) != NULL);
    CHECK(queue_schedule_window(entry->destination) == 5);
    (void)queue_schedule_done(schedule, &entry, QUEUE_RESULT_REACHED, "", 301001);
    queue_schedule_sweep(schedule, 400000, 60000, false);
    /* A flush revives at once. */
    CHECK(add(schedule, "mx2", 0, &entry) == 0);
    queue_schedule_free(&schedule);
}

/* One failure among successes closes the window a little and kills nothing. */
static void
check_mixed(void)
{
    struct queue_schedule *schedule = make(&POSTFIX);
    struct queue_entry *entry;

    for (int i = 0; i < 100; i++) {
        CHECK(add(schedule, "mx", 0, &entry) == 0);
        CHECK((entry = queue_schedule_take(schedule, ROLE_RELAY)) != NULL);
        enum queue_result result = i % 4 == 3 ? QUEUE_RESULT_SITE_DOWN : QUEUE_RESULT_REACHED;
        CHECK(!queue_schedule_done(schedule, &entry, result, "x", 0));
    }
    queue_schedule_free(&schedule);
}

static void
check_processes(void)
{
    struct queue_limits limits = POSTFIX;
    struct queue_entry *entry, *first, *second;

    limits.processes = 2;
    struct queue_schedule *schedule = make(&limits);
    CHECK(add(schedule, "a", 0, &entry) == 0);
    CHECK(add(schedule, "b", 0, &entry) == 0);
    CHECK(add(schedule, "c", 0, &entry) == 0);
    CHECK((first = queue_schedule_take(schedule, ROLE_RELAY)) != NULL);
    CHECK((second = queue_schedule_take(schedule, ROLE_RELAY)) != NULL);
    CHECK(queue_schedule_take(schedule, ROLE_RELAY) == NULL);
    CHECK(!queue_schedule_is_ready(schedule, ROLE_RELAY));
    CHECK(queue_schedule_take_for(schedule, "smtp", "c") == NULL);
    queue_schedule_return(schedule, first); /* its worker died: it is first again */
    CHECK(queue_schedule_take_for(schedule, "smtp", "a") == first);
    queue_schedule_drop(schedule, &first);
    CHECK((entry = queue_schedule_take(schedule, ROLE_RELAY)) != NULL);
    queue_schedule_drop(schedule, &second);
    queue_schedule_drop(schedule, &entry);
    queue_schedule_free(&schedule);
}

static void
check_feedback(void)
{
    struct queue_feedback feedback;

    CHECK(queue_feedback_parse("1", &feedback) == 0 && feedback.kind == QUEUE_FEEDBACK_FIXED);
    CHECK(queue_feedback_parse("1/concurrency", &feedback) == 0 && feedback.kind == QUEUE_FEEDBACK_LINEAR);
    CHECK(queue_feedback_parse("0.5 / sqrt_concurrency", &feedback) == 0 &&
          feedback.kind == QUEUE_FEEDBACK_ROOT);
    CHECK(queue_feedback_parse("2", &feedback) == GW_ERR_SYNTAX);
    CHECK(queue_feedback_parse("-1", &feedback) == GW_ERR_SYNTAX);
    CHECK(queue_feedback_parse("1/x", &feedback) == GW_ERR_SYNTAX && feedback.kind == QUEUE_FEEDBACK_FIXED);
    CHECK(queue_feedback_parse("", &feedback) == GW_ERR_SYNTAX);
    CHECK(queue_feedback_parse("nan", &feedback) == GW_ERR_SYNTAX);
}

/* Whatever happens in whatever order, jobs in = jobs out and no limit is passed. */
static void
check_random(unsigned seed)
{
    enum { HOPS = 17, BUSY_MAX = 100 };
    struct queue_schedule *schedule = make(&POSTFIX);
    struct queue_entry *taken[BUSY_MAX] = {0}, *entry;
    size_t busy = 0, in = 0, out = 0;
    const char *reason;
    int64_t now_ms = 0;

    for (int step = 0; step < 20000 || busy > 0 || queue_schedule_waiting(schedule) > 0; step++) {
        char hop[16];
        int dice = rand_r(&seed) % 10;

        now_ms += rand_r(&seed) % 50;
        if (dice < 4 && step < 20000) {
            (void)snprintf(hop, sizeof(hop), "hop%d", rand_r(&seed) % HOPS);
            in += add(schedule, hop, now_ms, &entry) == 0;
        } else if (dice < 7 && (entry = queue_schedule_take(schedule, ROLE_RELAY)) != NULL) {
            CHECK(busy < BUSY_MAX);
            taken[busy++] = entry;
        } else if (busy > 0) {
            size_t i = (size_t)rand_r(&seed) % busy;

            if (dice == 7 && taken[i]->losses++ < 2) {
                queue_schedule_return(schedule, taken[i]);
            } else {
                (void)queue_schedule_done(schedule, &taken[i], (enum queue_result)(rand_r(&seed) % 3), "r",
                                          now_ms);
                out++;
            }
            taken[i] = taken[--busy];
        }
        while ((entry = queue_schedule_take_dead(schedule, &reason)) != NULL) {
            queue_schedule_drop(schedule, &entry);
            out++;
        }
        if (step % 100 == 0) {
            queue_schedule_sweep(schedule, now_ms, 1000, step % 5000 == 0);
        }
    }
    CHECK(in == out);
    CHECK(in > 3000);
    queue_schedule_free(&schedule);
}

int
main(void)
{
    check_round_robin();
    check_window();
    check_dead();
    check_mixed();
    check_processes();
    check_feedback();
    for (unsigned seed = 1; seed <= 20; seed++) {
        check_random(seed);
    }
    return failures != 0;
}

/*
 * journal_test - what was recorded is found by every key and with its companions; retention, size limit, kill
 * -9.
 */
#include "policy/journal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "policy/evidence.h"

static int failures;
#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

enum { MESSAGES = 20000, DAY = 86400 };
static const int64_t START = 1700000000LL * 1000000;
static char directory[64];

static struct journal *
open_journal(const char *name, uint64_t limit)
{
    char path[128];
    struct journal *journal = NULL;
    const char *why = "";

    (void)snprintf(path, sizeof(path), "%s/%s.lmdb", directory, name);
    struct journal_options options = {.path = path, .retention_s = 14 * DAY, .size_limit = limit};
    CHECK(journal_open(&options, &journal, &why) == 0);
    return journal;
}

/* The record of a session or of the delivery of its message. */
static void
make_record(struct evidence *evidence, int number, bool delivery)
{
    char ident[32], id[32], text[128], text2[128], address[64];

    (void)snprintf(ident, sizeof(ident), "S%07d", number);
    (void)snprintf(id, sizeof(id), "Q%07dz%c", number, number % 2 == 0 ? 'a' : 'A');
    (void)evidence_begin(evidence, ident, delivery ? "relay" : "receive");
    if (delivery) {
        (void)snprintf(text, sizeof(text), "to%d@example.net", number);
        evidence_add(evidence, EV_DELIVERY, bytes_str(text), BYTES_LIT("mx.example.net[198.51.100.7]:25"),
                     BYTES_LIT("sent"), BYTES_LIT("250 2.0.0 Ok"), 0);
        return;
    }
    (void)snprintf(address, sizeof(address), "client%d.example.com[10.%d.%d.%d]:4711", number, number >> 16,
                   number >> 8 & 255, number & 255);
    evidence_add(evidence, EV_CONNECT, bytes_str(address), (struct bytes){0}, (struct bytes){0},
                 BYTES_LIT("smtp"), 0);
    for (int i = 0; i < 10; i++) {
        evidence_add(evidence, EV_RESTRICTION, BYTES_LIT("reject_unauth_destination"), (struct bytes){0},
                     BYTES_LIT("dunno"), (struct bytes){0}, 0);
    }
    (void)snprintf(text, sizeof(text), "Sender%d@Example.com", number % 100);
    (void)snprintf(text2, sizeof(text2), "<m%d@example.com>", number);
    evidence_add(evidence, EV_VERDICT, BYTES_LIT("accept"), bytes_str(id), BYTES_LIT("250"),
                 (struct bytes){0}, 250);
    evidence_add(evidence, EV_QUEUE, bytes_str(id), bytes_str(text2), bytes_str(text),
                 BYTES_LIT("to@example.net"), 9);
}

static void
add_record(struct journal *journal, int number, bool delivery, int64_t now_us)
{
    struct evidence evidence = {0};

    make_record(&evidence, number, delivery);
    CHECK(journal_add(journal, bytes_buf(&evidence.record), now_us) == 0);
    evidence_free(&evidence);
}

static size_t
find(struct journal *journal, const char *key, bool *cut_r)
{
    struct journal_search *search = NULL;
    int r;

    CHECK(journal_commit(journal) == 0);
    CHECK(journal_search_new(journal, bytes_str(key), &search) == 0);
    size_t turns = 0;
    while ((r = journal_search_step(search, 200)) == 0 && turns < 1000000) {
        turns++;
    }
    CHECK(r == 1 && journal_search_step(search, 200) == 1);
    size_t count = journal_search_count(search);
    int64_t last = 0;
    for (size_t i = 0; i < count; i++) {
        struct bytes record = journal_search_record(search, i);
        struct evidence_head head;
        CHECK(evidence_read_head(&record, &head) == 0 && head.wall_us >= last);
        last = head.wall_us;
    }
    if (cut_r != NULL) {
        *cut_r = journal_search_was_cut(search);
    }
    journal_search_free(&search);
    return count;
}

static const struct {
    const char *key;
    size_t records;
} SEARCHES[] = {
    {"S0012345", 2},         /* session id: the session and its delivery */
    {"Q0012345zA", 2},       /* queue id */
    {"Q0012345za", 0},       /* ids keep their case */
    {"m777@example.com", 2}, /* message id */
    {"<M777@EXAMPLE.com>", 2},
    {" to778@example.net ", 2}, /* recipient, known from the delivery only */
    {"sender7@example.com", 400},
    {"10.0.48.57", 2}, /* client 12345 */
    {"10.0.48", 0},
    {"nobody@example.com", 0},
};

static void
test_searches(void)
{
    struct journal *journal = open_journal("search", 1 << 30);
    int64_t started = clock_monotonic_us(), now = START;
    bool cut = false;

    for (int i = 0; i < MESSAGES; i++) {
        add_record(journal, i, false, now += 100);
        add_record(journal, i, true, now += 100);
        if (i % 1000 == 999) {
            CHECK(journal_is_dirty(journal) && journal_commit(journal) == 0 && !journal_is_dirty(journal));
        }
    }
    (void)printf("%.1f us per message, %llu bytes\n", (double)(clock_monotonic_us() - started) / MESSAGES,
                 (unsigned long long)journal_used(journal) / MESSAGES);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof(SEARCHES) / sizeof(SEARCHES[0]); i++) {
            size_t count = find(journal, SEARCHES[i].key, &cut);
            if (count != SEARCHES[i].records || cut) {
                (void)fprintf(stderr, "%s: %zu records, not %zu\n", SEARCHES[i].key, count,
                              SEARCHES[i].records);
                failures++;
            }
        }
        CHECK(find(journal, "to@example.net", &cut) == JOURNAL_RESULTS_MAX && cut);
        journal_free(&journal);
        journal = open_journal("search", 1 << 30); /* and again after a restart */
    }
    /* What is not committed yet is found too, in the order of time. */
    add_record(journal, 999999, false, now + 1);
    CHECK(find(journal, "S0999999", NULL) == 1);
    add_record(journal, 999999, true, now + 2);
    CHECK(find(journal, "S0999999", NULL) == 2);
    struct journal_search *search = NULL;
    CHECK(journal_search_new(journal, BYTES_LIT("<> "), &search) == GW_ERR_SYNTAX && search == NULL);
    journal_free(&journal);
    journal_free(&journal);
}

static void
test_broken_records(void)
{
    struct journal *journal = open_journal("broken", 1 << 26);
    struct evidence evidence = {0};

    make_record(&evidence, 1, false);
    CHECK(journal_add(journal, (struct bytes){0}, START) == GW_ERR_SYNTAX);
    CHECK(journal_add(journal, bytes_sub(bytes_buf(&evidence.record), 0, evidence.record.n - 1), START) ==
          GW_ERR_SYNTAX);
    CHECK(!journal_is_dirty(journal));
    CHECK(journal_add(journal, bytes_buf(&evidence.record), START) == 0);
    CHECK(find(journal, "S0000001", NULL) == 1);
    evidence_free(&evidence);
    journal_free(&journal);
}

static void
test_retention(void)
{
    struct journal *journal = open_journal("retention", 1 << 28);
    int64_t now = START;

    for (int i = 0; i < 5000; i++) {
        add_record(journal, i, false, now);
        now += (int64_t)30 * DAY * 1000000 / 5000; /* over 30 days */
        if (i % 50 == 0) {
            CHECK(journal_commit(journal) == 0);
        }
    }
    CHECK(journal_commit(journal) == 0);
    while (journal_expire(journal, now) > 0) {
    }
    CHECK(find(journal, "S0000001", NULL) == 0);
    CHECK(find(journal, "S0001000", NULL) == 0);
    CHECK(find(journal, "S0003500", NULL) == 1);
    CHECK(find(journal, "S0004999", NULL) == 1);
    CHECK(journal_expire(journal, now) == 0);
    journal_free(&journal);
}

/* Four times what fits: the newest stay, nothing is lost on the way in, the file stays within its limit. */
static void
test_size(void)
{
    struct journal *journal = open_journal("size", 8 << 20);
    int64_t now = START;
    struct stat status;
    char path[128];
    int i;

    for (i = 0; i < 60000 && failures == 0; i++) {
        add_record(journal, i, false, now += 1000);
        if (i % 200 == 0) {
            CHECK(journal_commit(journal) == 0);
            (void)journal_expire(journal, now);
        }
    }
    CHECK(journal_lost(journal) == 0);
    CHECK(find(journal, "S0059999", NULL) == 1);
    CHECK(find(journal, "S0000001", NULL) == 0);
    (void)snprintf(path, sizeof(path), "%s/size.lmdb", directory);
    CHECK(stat(path, &status) == 0 && status.st_size <= (10 << 20));
    journal_free(&journal);
}

static void
test_kill(void)
{
    int said[2], number = -1, last = -1;

    CHECK(pipe(said) == 0);
    pid_t child = fork();
    if (child == 0) {
        struct journal *journal = open_journal("kill", 1 << 28);
        int64_t now = START;
        for (int i = 0; i < 1000000; i++) {
            add_record(journal, i, false, now += 1000);
            if (i % 7 == 0 && (journal_commit(journal) != 0 || write(said[1], &i, sizeof(i)) != sizeof(i))) {
                break;
            }
        }
        _exit(0);
    }
    (void)close(said[1]);
    for (int i = 0; i < 100 && read(said[0], &number, sizeof(number)) == sizeof(number); i++) {
    }
    CHECK(kill(child, SIGKILL) == 0);
    last = number;
    while (read(said[0], &number, sizeof(number)) == sizeof(number)) {
        last = number;
    }
    (void)close(said[0]);
    CHECK(waitpid(child, NULL, 0) == child && last >= 7 * 99);
    struct journal *journal = open_journal("kill", 1 << 28);
    for (int i = 0; i <= last; i += 13) {
        char ident[32];
        (void)snprintf(ident, sizeof(ident), "S%07d", i);
        CHECK(find(journal, ident, NULL) == 1);
    }
    journal_free(&journal);
}

int
main(void)
{
    char command[128];

    (void)snprintf(directory, sizeof(directory), "%s", "/tmp/journal_test.XXXXXX");
    if (mkdtemp(directory) == NULL) {
        perror("mkdtemp");
        return 1;
    }
    test_searches();
    test_broken_records();
    test_retention();
    test_size();
    test_kill();
    (void)snprintf(command, sizeof(command), "rm -rf %s", directory);
    CHECK(system(command) == 0);
    return failures != 0;
}

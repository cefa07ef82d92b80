/*
 * queue_store_test - rows of messages whose ids are prefixes of each other, outcomes, removal, orphans,
 * damaged rows.
 */
#include "queue/queue_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

static struct queue_store *
open_store(const char *directory)
{
    struct queue_store *store = NULL;
    const char *why = "";

    int r = queue_store_open(directory, 256 * 1024 * 1024, &store, &why);
    if (r != 0) {
        (void)fprintf(stderr, "open: %d %s\n", r, why);
        exit(1);
    }
    return store;
}

static struct store_txn *
begin(struct queue_store *store, bool write)
{
    struct store_txn *txn = NULL;

    if (queue_store_begin(store, write, &txn) != 0) {
        (void)fprintf(stderr, "begin failed\n");
        exit(1);
    }
    return txn;
}

static int
add(struct store_txn *txn, const char *id, const char *envelope, size_t size,
    const struct queue_status *status)
{
    uint8_t *content = malloc(size + 1);

    for (size_t i = 0; i < size; i++) {
        content[i] = (uint8_t)(i * 31 + (uint8_t)id[0]);
    }
    int fd = memfd_create("test", MFD_CLOEXEC);
    CHECK(write(fd, content, size) == (ssize_t)size);
    int r = queue_store_add(txn, id, bytes_str(envelope), fd, size, status);
    (void)close(fd);
    free(content);
    return r;
}

static void
check_body(struct store_txn *txn, const char *id, size_t size)
{
    int fd = -1;

    CHECK(queue_store_get_body(txn, id, size, &fd) == 0);
    uint8_t *content = malloc(size + 1);
    CHECK(pread(fd, content, size + 1, 0) == (ssize_t)size);
    for (size_t i = 0; i < size; i++) {
        if (content[i] != (uint8_t)(i * 31 + (uint8_t)id[0])) {
            CHECK(!"content differs");
            break;
        }
    }
    free(content);
    (void)close(fd);
}

struct seen {
    unsigned count;
    uint16_t last;
    struct queue_outcome outcome;
    char reply[64];
};

static int
see(void *context, uint16_t number, const struct queue_outcome *outcome)
{
    struct seen *seen = context;

    seen->count++;
    seen->last = number;
    seen->outcome = *outcome;
    (void)snprintf(seen->reply, sizeof(seen->reply), "%.*s", BYTES_FMT(outcome->reply));
    return 0;
}

static void
test_rows(const char *directory)
{
    struct queue_store *store = open_store(directory);
    static const char *const IDS[] = {"3ab", "3abc", "3abcd", "3b", "A", "z9"};
    enum { COUNT = sizeof(IDS) / sizeof(IDS[0]) };
    static const size_t SIZES[COUNT] = {0, 1, 65536 - 64, 65536 - 63, 1000000, 4096};
    struct queue_status held = {.next_us = 77, .attempts = 3, .flags = QUEUE_HELD}, status;
    struct bytes packed;
    char id[QUEUE_ID_MAX] = "";

    struct store_txn *txn = begin(store, true);
    for (size_t i = COUNT; i-- > 0;) {
        CHECK(add(txn, IDS[i], IDS[i], SIZES[i], i == 1 ? &held : NULL) == 0);
    }
    CHECK(add(txn, "3abc", "other", 10, NULL) == GW_ERR_EXISTS);
    CHECK(add(txn, "", "x", 1, NULL) == GW_ERR_SYNTAX);
    CHECK(add(txn, "a/b", "x", 1, NULL) == GW_ERR_SYNTAX);
    CHECK(add(txn, "0123456789012345678901234567890123", "x", 1, NULL) == GW_ERR_SYNTAX);
    struct queue_outcome outcome = {.status = QUEUE_DEFERRED,
                                    .parent = QUEUE_NO_PARENT,
                                    .dsn = "4.4.1",
                                    .reply = BYTES_LIT("connection refused"),
                                    .remote_mta = BYTES_LIT("mx.example")};
    for (uint16_t i = 0; i < 300; i++) {
        CHECK(queue_store_set_outcome(txn, "3abc", i, &outcome) == 0);
    }
    CHECK(queue_store_set_outcome(txn, "3ab", 9, &outcome) == 0);
    CHECK(store_commit(&txn) == 0);

    txn = begin(store, false);
    CHECK(queue_store_count(txn) == COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(queue_store_next(txn, id, id, &packed) == 0);
        CHECK(strcmp(id, IDS[i]) == 0 && bytes_equal(packed, bytes_str(IDS[i])));
        check_body(txn, IDS[i], SIZES[i]);
    }
    CHECK(queue_store_next(txn, id, id, &packed) == GW_ERR_NOTFOUND);
    CHECK(queue_store_get_status(txn, "3abc", &status) == 0 && status.next_us == 77 && status.attempts == 3);
    CHECK(queue_store_get_status(txn, "3abcd", &status) == 0 && status.next_us == 0 && status.flags == 0);
    struct seen seen = {0};
    CHECK(queue_store_each_outcome(txn, "3abc", see, &seen) == 0 && seen.count == 300 && seen.last == 299);
    CHECK(strcmp(seen.reply, "connection refused") == 0 && strcmp(seen.outcome.dsn, "4.4.1") == 0);
    seen = (struct seen){0};
    CHECK(queue_store_each_outcome(txn, "3ab", see, &seen) == 0 && seen.count == 1 && seen.last == 9);
    seen = (struct seen){0};
    CHECK(queue_store_each_outcome(txn, "3abcd", see, &seen) == 0 && seen.count == 0);
    store_abort(&txn);

    txn = begin(store, true);
    CHECK(queue_store_remove(txn, "3abc") == 0);
    CHECK(queue_store_remove(txn, "3abc") == 0);
    CHECK(store_commit(&txn) == 0);
    txn = begin(store, false);
    CHECK(queue_store_get_envelope(txn, "3abc", &packed) == GW_ERR_NOTFOUND);
    CHECK(queue_store_get_envelope(txn, "3ab", &packed) == 0);
    check_body(txn, "3abcd", SIZES[2]);
    seen = (struct seen){0};
    CHECK(queue_store_each_outcome(txn, "3abc", see, &seen) == 0 && seen.count == 0);
    CHECK(queue_store_each_outcome(txn, "3ab", see, &seen) == 0 && seen.count == 1);
    store_abort(&txn);
    queue_store_close(&store);
}

/* Rows that no envelope owns go away, the others stay. */
static void
test_orphans(const char *directory)
{
    struct queue_store *store = open_store(directory);
    struct queue_outcome outcome = {.status = QUEUE_SENT, .parent = QUEUE_NO_PARENT};
    struct queue_status status = {.next_us = 5};
    struct seen seen = {0};
    size_t removed;

    struct store_txn *txn = begin(store, true);
    CHECK(queue_store_set_outcome(txn, "Orphan1", 4, &outcome) == 0);
    CHECK(queue_store_set_status(txn, "Orphan2", &status) == 0);
    CHECK(store_commit(&txn) == 0);
    txn = begin(store, true);
    CHECK(queue_store_remove_orphans(txn, &removed) == 0 && removed == 2);
    CHECK(store_commit(&txn) == 0);
    txn = begin(store, true);
    CHECK(queue_store_remove_orphans(txn, &removed) == 0 && removed == 0);
    CHECK(queue_store_each_outcome(txn, "Orphan1", see, &seen) == 0 && seen.count == 0);
    CHECK(queue_store_each_outcome(txn, "3ab", see, &seen) == 0 && seen.count == 1);
    CHECK(queue_store_count(txn) == 5);
    check_body(txn, "A", 1000000);
    store_abort(&txn);
    queue_store_close(&store);
}

int
main(void)
{
    char directory[] = "/tmp/queue_store_test.XXXXXX", command[256];

    if (mkdtemp(directory) == NULL) {
        perror("mkdtemp");
        return 1;
    }
    test_rows(directory);
    test_orphans(directory); /* reopened: what test_rows committed is there */
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", directory);
    CHECK(system(command) == 0);
    return failures != 0;
}

/*
 * quarantine_test - byte for byte in and out, batches that fail as a whole, a full store, retention, kill -9.
 */
#include "policy/quarantine.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "message/wire.h"

static int failures;
#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

enum { DAY = 86400, CONTENT = 150000 };
static const int64_t START = 1700000000LL * 1000000;
static char directory[64];
static uint8_t content[CONTENT];

static struct quarantine *
open_quarantine(const char *name, uint64_t limit)
{
    char path[128];
    struct quarantine *quarantine = NULL;
    const char *why = "";

    (void)snprintf(path, sizeof(path), "%s/%s.lmdb", directory, name);
    CHECK(quarantine_open(path, limit, 30 * DAY, &quarantine, &why) == 0);
    return quarantine;
}

static const struct quarantine_entry ENTRY = {.reason = {(const uint8_t *)"clamav: Eicar", 13},
                                              .envelope = {(const uint8_t *)"env\0elope", 9},
                                              .report = {(const uint8_t *)"report", 6}};

static int
add(struct quarantine *quarantine, size_t n, int64_t now_us, char id[QUARANTINE_ID_MAX])
{
    int fd = ipc_sealed_memfd("test", bytes_of(content, n));
    int r = quarantine_add(quarantine, &ENTRY, fd, now_us, id);

    (void)close(fd);
    return r;
}

static bool
has_content(struct quarantine *quarantine, const char *id, size_t n)
{
    static uint8_t read_back[CONTENT + 1];
    int fd = -1;

    if (quarantine_content(quarantine, bytes_str(id), &fd) != 0) {
        return false;
    }
    ssize_t got = read(fd, read_back, sizeof(read_back));
    (void)close(fd);
    return got == (ssize_t)n && memcmp(read_back, content, n) == 0;
}

static void
test_round_trip(void)
{
    static const size_t SIZES[] = {0, 1, 65472, 65473, CONTENT};
    struct quarantine *quarantine = open_quarantine("trip", 1 << 28);
    struct quarantine_entry entry;
    char ids[5][QUARANTINE_ID_MAX];
    struct buf storage;
    size_t seen = 0;

    buf_init(&storage, 1 << 20);
    for (size_t i = 0; i < 5; i++) {
        CHECK(add(quarantine, SIZES[i], START, ids[i]) ==
              0); /* the same microsecond: ids differ all the same */
    }
    CHECK(quarantine_is_dirty(quarantine));
    CHECK(quarantine_get(quarantine, bytes_str(ids[0]), &storage, &entry) == GW_ERR_NOTFOUND);
    CHECK(quarantine_delete(quarantine, bytes_str(ids[0])) == GW_ERR_AGAIN);
    CHECK(quarantine_commit(quarantine) == 0 && !quarantine_is_dirty(quarantine));
    quarantine_free(&quarantine);
    quarantine = open_quarantine("trip", 1 << 28);
    for (size_t i = 0; i < 5; i++) {
        CHECK(i == 0 || strcmp(ids[i - 1], ids[i]) < 0);
        CHECK(quarantine_get(quarantine, bytes_str(ids[i]), &storage, &entry) == 0);
        CHECK(entry.size == SIZES[i] && entry.wall_us == START && entry.state == QUARANTINE_STORED);
        CHECK(bytes_equal(entry.reason, ENTRY.reason) && bytes_equal(entry.envelope, ENTRY.envelope) &&
              bytes_equal(entry.report, ENTRY.report));
        CHECK(has_content(quarantine, ids[i], SIZES[i]));
    }
    CHECK(quarantine_mark_released(quarantine, bytes_str(ids[1]), START + 5) == 0);
    CHECK(quarantine_get(quarantine, bytes_str(ids[1]), &storage, &entry) == 0);
    CHECK(entry.state == QUARANTINE_RELEASED && entry.changed_us == START + 5 &&
          has_content(quarantine, ids[1], 1));
    CHECK(quarantine_delete(quarantine, bytes_str(ids[2])) == 0 &&
          !has_content(quarantine, ids[2], SIZES[2]));
    CHECK(quarantine_delete(quarantine, bytes_str(ids[2])) == GW_ERR_NOTFOUND);
    CHECK(quarantine_mark_released(quarantine, BYTES_LIT("Qnone"), START) == GW_ERR_NOTFOUND);
    CHECK(quarantine_get(quarantine, (struct bytes){0}, &storage, &entry) == GW_ERR_NOTFOUND);
    char last[QUARANTINE_ID_MAX] = "";
    while (quarantine_previous(quarantine, bytes_str(last), &storage, &entry) == 0) {
        CHECK(last[0] == '\0' || strcmp(entry.id, last) < 0);
        (void)snprintf(last, sizeof(last), "%s", entry.id);
        seen++;
    }
    CHECK(seen == 4);
    /* Only a sealed memfd is taken: another could change under our hands. */
    char id[QUARANTINE_ID_MAX];
    CHECK(quarantine_add(quarantine, &ENTRY, STDERR_FILENO, START, id) == GW_ERR_PEER && id[0] == '\0');
    buf_free(&storage);
    quarantine_free(&quarantine);
    quarantine_free(&quarantine);
}

/* When it is full, new mail is refused and old mail stays; deleting makes room. */
static void
test_full(void)
{
    struct quarantine *quarantine = open_quarantine("full", 4 << 20);
    char id[QUARANTINE_ID_MAX], first[QUARANTINE_ID_MAX] = "", second[QUARANTINE_ID_MAX] = "";
    int stored = 0, r = 0;

    for (int i = 0; i < 100 && r == 0; i++) {
        r = add(quarantine, CONTENT, START + i, id);
        r = r == 0 ? quarantine_commit(quarantine) : r;
        stored += r == 0 ? 1 : 0;
        if (r == 0 && i < 2) {
            memcpy(i == 0 ? first : second, id, sizeof(id));
        }
    }
    CHECK(r == GW_ERR_FULL && stored > 15 && stored < 30);
    CHECK(has_content(quarantine, first, CONTENT) && has_content(quarantine, second, CONTENT));
    CHECK(quarantine_delete(quarantine, bytes_str(first)) == 0 &&
          quarantine_delete(quarantine, bytes_str(second)) == 0);
    (void)usleep(1100 * 1000); /* the store counts its room once a second */
    CHECK(add(quarantine, CONTENT, START + 1000, id) == 0 && quarantine_commit(quarantine) == 0);
    CHECK(has_content(quarantine, id, CONTENT));
    quarantine_free(&quarantine);
}

static void
test_retention(void)
{
    struct quarantine *quarantine = open_quarantine("retention", 1 << 28);
    char ids[40][QUARANTINE_ID_MAX];

    for (int i = 0; i < 40; i++) {
        CHECK(add(quarantine, 1000, START + (int64_t)i * DAY * 1000000, ids[i]) == 0);
    }
    CHECK(quarantine_commit(quarantine) == 0);
    CHECK(quarantine_expire(quarantine, START + 30LL * DAY * 1000000) == 0);
    size_t gone = 0;
    for (size_t n; (n = quarantine_expire(quarantine, START + 50LL * DAY * 1000000)) > 0;) {
        CHECK(n <= 16);
        gone += n;
    }
    CHECK(gone == 20 && !has_content(quarantine, ids[19], 1000) && has_content(quarantine, ids[20], 1000));
    quarantine_free(&quarantine);
}

/* What was committed before a kill -9 is whole. */
static void
test_kill(void)
{
    int said[2];
    char id[QUARANTINE_ID_MAX], all[400][QUARANTINE_ID_MAX];
    size_t count = 0;

    CHECK(pipe(said) == 0);
    pid_t child = fork();
    if (child == 0) {
        struct quarantine *quarantine = open_quarantine("kill", 1 << 28);
        for (int i = 0; i < 400; i++) {
            if (add(quarantine, CONTENT, START + i, id) != 0 || quarantine_commit(quarantine) != 0 ||
                write(said[1], id, sizeof(id)) != sizeof(id)) {
                break;
            }
        }
        _exit(0);
    }
    (void)close(said[1]);
    while (count < 400 && read(said[0], all[count], sizeof(all[count])) == sizeof(all[count])) {
        count++;
        if (count == 60) {
            CHECK(kill(child, SIGKILL) == 0);
        }
    }
    (void)close(said[0]);
    CHECK(waitpid(child, NULL, 0) == child && count >= 60);
    struct quarantine *quarantine = open_quarantine("kill", 1 << 28);
    for (size_t i = 0; i < count; i++) {
        CHECK(has_content(quarantine, all[i], CONTENT));
    }
    quarantine_free(&quarantine);
}

int
main(void)
{
    char command[128];

    (void)snprintf(directory, sizeof(directory), "%s", "/tmp/quarantine_test.XXXXXX");
    if (mkdtemp(directory) == NULL) {
        perror("mkdtemp");
        return 1;
    }
    for (size_t i = 0; i < sizeof(content); i++) {
        content[i] = (uint8_t)(i * 7 + i / 251);
    }
    CHECK(IPC_RULES[0].type != 0); /* the form receive sends is that of the wire */
    test_round_trip();
    test_full();
    test_retention();
    test_kill();
    (void)snprintf(command, sizeof(command), "rm -rf %s", directory);
    CHECK(system(command) == 0);
    return failures != 0;
}

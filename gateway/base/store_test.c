/*
 * store_test - the store's promises: growth, order, chunks, kill -9 between batches, reuse of freed space,
 * full map.
 */
#include "base/store.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

enum { MB = 1 << 20, BODY = 100 * 1000, CYCLES = 10000 };

static const char *const TABLES[] = {"index", "body", NULL};
static char directory[64];

static struct store *
open_store(const char *name, size_t map, size_t limit, bool no_sync)
{
    char path[128];
    struct store *store = NULL;
    const char *why = "";

    (void)snprintf(path, sizeof(path), "%s/%s.lmdb", directory, name);
    struct store_options options = {
        .path = path, .map_size = map, .map_limit = limit, .no_sync = no_sync, .tables = TABLES};
    int r = store_open(&options, &store, &why);
    if (r != 0) {
        (void)fprintf(stderr, "%s: %s\n", path, why);
    }
    CHECK(r == 0);
    return store;
}

static struct bytes
key_of(uint32_t number, uint8_t room[4])
{
    for (size_t i = 0; i < 4; i++) {
        room[i] = (uint8_t)(number >> (24 - 8 * i));
    }
    return bytes_of(room, 4);
}

static void
test_order_and_errors(void)
{
    struct store *store = open_store("order", MB, 4 * MB, false);
    struct store_txn *txn = NULL;
    struct bytes key, value;
    uint8_t room[4], room2[4];

    CHECK(store_begin(store, true, &txn) == 0);
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t n = (i * 7919) % 1000;
        CHECK(store_put_new(txn, 0, key_of(n, room), bytes_of(&n, sizeof(n))) == 0);
    }
    CHECK(store_put_new(txn, 0, key_of(5, room), BYTES_LIT("x")) == GW_ERR_EXISTS);
    CHECK(store_get(txn, 0, BYTES_LIT("none"), &value) == GW_ERR_NOTFOUND && value.p == NULL);
    CHECK(store_delete(txn, 0, BYTES_LIT("none")) == GW_ERR_NOTFOUND);
    CHECK(store_put(txn, 0, (struct bytes){0}, BYTES_LIT("x")) == GW_ERR_LIMIT);
    CHECK(store_commit(&txn) == 0 && txn == NULL);

    CHECK(store_begin(store, false, &txn) == 0);
    uint32_t seen = 0;
    int r = store_seek(txn, 0, (struct bytes){0}, &key, &value);
    for (; r == 0; r = store_next(txn, 0, key, &key, &value)) {
        CHECK(bytes_equal(key, key_of(seen, room)));
        seen++;
    }
    CHECK(r == GW_ERR_NOTFOUND && seen == 1000 && store_count(txn, 0) == 1000 && store_count(txn, 1) == 0);
    r = store_prev(txn, 0, (struct bytes){0}, &key, &value);
    for (; r == 0; r = store_prev(txn, 0, key, &key, &value)) {
        seen--;
        CHECK(bytes_equal(key, key_of(seen, room)));
    }
    CHECK(r == GW_ERR_NOTFOUND && seen == 0);
    CHECK(store_prev(txn, 0, key_of(2000, room), &key, &value) == 0 && bytes_equal(key, key_of(999, room)));
    CHECK(store_prev(txn, 1, key_of(2000, room), &key, &value) == GW_ERR_NOTFOUND);
    store_abort(&txn);

    /* Walking while deleting, as expiry does. */
    CHECK(store_begin(store, true, &txn) == 0);
    r = store_seek(txn, 0, key_of(500, room), &key, &value);
    for (seen = 0; r == 0; seen++) {
        memcpy(room2, key.p, 4);
        CHECK(store_delete(txn, 0, bytes_of(room2, 4)) == 0);
        r = store_next(txn, 0, bytes_of(room2, 4), &key, &value);
    }
    CHECK(seen == 500 && store_count(txn, 0) == 500);
    store_abort(&txn);
    CHECK(store_begin(store, false, &txn) == 0 && store_count(txn, 0) == 1000);
    CHECK(store_put(txn, 0, BYTES_LIT("k"), BYTES_LIT("v")) != 0);
    store_abort(&txn);
    store_close(&store);
    CHECK(store == NULL);
    store_close(&store);
}

/* A map of 1 MB takes 40 MB in batches that are run again after GW_ERR_FULL; at the limit it stays
 * GW_ERR_FULL and what was committed is still there. */
static void
test_growth(void)
{
    struct store *store = open_store("growth", MB, 64 * MB, true);
    static uint8_t value[20000];
    uint64_t used, limit;
    uint8_t room[4];
    uint32_t committed = 0;
    int r = 0;

    for (uint32_t batch = 0; batch < 1000 && r == 0; batch++) {
        for (int attempt = 0; attempt < 5; attempt++) {
            struct store_txn *txn = NULL;
            r = store_begin(store, true, &txn);
            CHECK(r == 0);
            for (uint32_t i = 0; r == 0 && i < 30; i++) {
                r = store_put(txn, 0, key_of(committed + i, room), bytes_of(value, sizeof(value)));
            }
            int c = store_commit(&txn);
            CHECK(c == r);
            if (r != GW_ERR_FULL) {
                break;
            }
            (void)usleep(attempt > 2 ? 1100 * 1000 : 0); /* room is counted anew once a second */
        }
        committed += r == 0 ? 30 : 0;
    }
    CHECK(r == GW_ERR_FULL);
    CHECK(committed > 2000);
    store_usage(store, &used, &limit);
    CHECK(limit == 64 * MB && used > limit / 10 * 8);
    struct store_txn *txn = NULL;
    CHECK(store_begin(store, false, &txn) == 0);
    CHECK(store_count(txn, 0) == committed);
    store_abort(&txn);
    /* Deleting makes room again, though the file does not shrink. */
    CHECK(store_begin(store, true, &txn) == 0);
    for (uint32_t i = 0; i < committed / 2; i++) {
        CHECK(store_delete(txn, 0, key_of(i, room)) == 0);
    }
    CHECK(store_commit(&txn) == 0);
    uint64_t after;
    (void)usleep(1100 * 1000); /* room is counted anew once a second */
    store_usage(store, &after, &limit);
    CHECK(after < used / 4 * 3);
    store_close(&store);
    /* The larger file opens with the smaller map asked for. */
    store = open_store("growth", MB, 64 * MB, true);
    CHECK(store_begin(store, false, &txn) == 0 && store_count(txn, 0) == committed - committed / 2);
    store_abort(&txn);
    store_close(&store);
}

static int
make_body(size_t size, uint32_t seed)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    uint8_t *p = malloc(size + 1);

    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525 + 1013904223;
        p[i] = (uint8_t)(seed >> 24);
    }
    CHECK(write(fd, p, size) == (ssize_t)size);
    free(p);
    return fd;
}

static bool
is_same(int a, int b, size_t size)
{
    uint8_t *p = malloc(size + 1), *q = malloc(size + 1);
    bool same = pread(a, p, size + 1, 0) == (ssize_t)size && pread(b, q, size + 1, 0) == (ssize_t)size &&
                memcmp(p, q, size) == 0;

    free(p);
    free(q);
    return same;
}

static void
test_bodies(void)
{
    static const size_t SIZES[] = {0, 1, 4096, STORE_CHUNK - 1, STORE_CHUNK, STORE_CHUNK + 1, 5 * MB + 3};
    struct store *store = open_store("body", 16 * MB, 64 * MB, true);

    for (size_t i = 0; i < sizeof(SIZES) / sizeof(SIZES[0]); i++) {
        struct store_txn *txn = NULL;
        int in = make_body(SIZES[i], (uint32_t)i), out = -1;

        CHECK(store_begin(store, true, &txn) == 0);
        CHECK(store_put_body(txn, 1, BYTES_LIT("a"), in, SIZES[i]) == 0);
        CHECK(store_put_body(txn, 1, BYTES_LIT("ab"), in, SIZES[i]) == 0); /* a longer key is another body */
        CHECK(store_commit(&txn) == 0);
        CHECK(store_begin(store, false, &txn) == 0);
        CHECK(store_get_body(txn, 1, BYTES_LIT("a"), SIZES[i], &out) == 0);
        CHECK(out != -1 && lseek(out, 0, SEEK_CUR) == 0 && is_same(in, out, SIZES[i]));
        (void)close(out);
        CHECK(store_get_body(txn, 1, BYTES_LIT("a"), SIZES[i] + 1, &out) == GW_ERR_NOTFOUND && out == -1);
        store_abort(&txn);
        CHECK(store_begin(store, true, &txn) == 0);
        CHECK(store_delete_body(txn, 1, BYTES_LIT("a")) == 0);
        CHECK(store_get_body(txn, 1, BYTES_LIT("ab"), SIZES[i], &out) == 0);
        (void)close(out);
        CHECK(store_delete_body(txn, 1, BYTES_LIT("ab")) == 0);
        CHECK(store_count(txn, 1) == 0);
        CHECK(store_commit(&txn) == 0);
        (void)close(in);
    }
    /* A descriptor shorter than announced spoils the transaction. */
    struct store_txn *txn = NULL;
    int in = make_body(1000, 1);
    CHECK(store_begin(store, true, &txn) == 0);
    CHECK(store_put_body(txn, 1, BYTES_LIT("s"), in, 1001) == GW_ERR_SYS);
    CHECK(store_commit(&txn) != 0);
    (void)close(in);
    store_close(&store);
}

/* A writer says over a pipe what it has committed and is killed: everything said is there. */
static void
test_kill(void)
{
    for (int round = 0; round < 5; round++) {
        int said[2];
        uint32_t number, last = 0;
        bool any = false;

        CHECK(pipe(said) == 0);
        pid_t child = fork();
        if (child == 0) {
            struct store *store = open_store("kill", 4 * MB, 64 * MB, false);
            uint8_t room[4];
            for (uint32_t i = 0; i < 1000000 && store != NULL; i++) {
                struct store_txn *txn = NULL;
                if (store_begin(store, true, &txn) != 0 ||
                    store_put(txn, 0, key_of(i, room), bytes_of(&i, sizeof(i))) != 0 ||
                    store_commit(&txn) != 0 || write(said[1], &i, sizeof(i)) != sizeof(i)) {
                    break;
                }
            }
            _exit(0);
        }
        (void)close(said[1]);
        for (int i = 0; i < 50 + 37 * round && read(said[0], &number, sizeof(number)) == sizeof(number);
             i++) {
            last = number;
        }
        CHECK(kill(child, SIGKILL) == 0);
        while (read(said[0], &number, sizeof(number)) == sizeof(number)) {
            last = number;
            any = true;
        }
        (void)any;
        (void)close(said[0]);
        CHECK(waitpid(child, NULL, 0) == child);
        struct store *store = open_store("kill", 4 * MB, 64 * MB, false);
        struct store_txn *txn = NULL;
        struct bytes value;
        uint8_t room[4];
        CHECK(store_begin(store, false, &txn) == 0);
        for (uint32_t i = 0; i <= last; i++) {
            CHECK(store_get(txn, 0, key_of(i, room), &value) == 0 && value.n == sizeof(i));
        }
        store_abort(&txn);
        store_close(&store);
    }
}

static uint64_t
file_size(const char *name)
{
    char path[128];
    struct stat status = {0};

    (void)snprintf(path, sizeof(path), "%s/%s.lmdb", directory, name);
    CHECK(stat(path, &status) == 0);
    return (uint64_t)status.st_size;
}

/* 10,000 bodies come and go, 20 of them at a time: the file does not grow after the start. */
static void
test_reuse(void)
{
    struct store *store = open_store("reuse", 16 * MB, 256 * MB, true);
    int fd = make_body(BODY, 7);
    uint64_t used, settled = 0;
    uint8_t room[4];

    for (uint32_t i = 0; i < CYCLES && failures == 0; i++) {
        struct store_txn *txn = NULL;
        CHECK(store_begin(store, true, &txn) == 0);
        CHECK(store_put_body(txn, 1, key_of(i, room), fd, BODY - (i * 31) % 40000) == 0);
        if (i >= 20) {
            CHECK(store_delete_body(txn, 1, key_of(i - 20, room)) == 0);
        }
        CHECK(store_commit(&txn) == 0);
        if (i == CYCLES / 10) {
            settled = file_size("reuse");
        }
    }
    used = file_size("reuse");
    CHECK(used <= settled + settled / 4);
    if (used > settled + settled / 4) {
        (void)fprintf(stderr, "file grew from %llu to %llu\n", (unsigned long long)settled,
                      (unsigned long long)used);
    }
    (void)close(fd);
    store_close(&store);
}

static void
test_open_failures(void)
{
    char path[128];
    struct store *store = NULL;
    const char *why = NULL;
    struct store_options options = {.path = path, .map_size = MB, .map_limit = MB, .tables = TABLES};

    (void)snprintf(path, sizeof(path), "%s/none/x.lmdb", directory);
    CHECK(store_open(&options, &store, &why) == GW_ERR_SYS && store == NULL && why != NULL &&
          errno == ENOENT);
    (void)snprintf(path, sizeof(path), "%s/rubbish.lmdb", directory);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    for (int i = 0; i < 4096; i++) {
        CHECK(write(fd, "rubbish", 7) == 7);
    }
    (void)close(fd);
    CHECK(store_open(&options, &store, &why) == GW_ERR_SYS && store == NULL && store_is_damage(errno));
}

int
main(void)
{
    char command[128];

    (void)snprintf(directory, sizeof(directory), "%s", "/tmp/store_test.XXXXXX");
    if (mkdtemp(directory) == NULL) {
        perror("mkdtemp");
        return 1;
    }
    test_order_and_errors();
    test_growth();
    test_bodies();
    test_kill();
    test_reuse();
    test_open_failures();
    (void)snprintf(command, sizeof(command), "rm -rf %s", directory);
    if (system(command) != 0) {
        failures++;
    }
    return failures != 0;
}

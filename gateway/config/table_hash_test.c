/*
 * table_hash_test - indexed files as other programs write them, and as accidents leave them: Berkeley DB hash
 * and btree (made with db5.3_load, pages of 512 bytes, one in each byte order), LMDB; cut off at every
 * length, spoiled at every byte, overwritten with another format, locked, removed. A key that was in the file
 * is found or "cannot tell", never "not found".
 *
 * Shows of contract.tsv: D13 TAB2 TAB16.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "config/table.h"
#include "config/table_bdb.h"
#include "config/table_build.h"
#include "config/table_lmdb.h"

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

/* A file of mostly zeros: the bytes that are none, and behind them how many times 'v'. */
struct piece {
    unsigned offset, count;
    const char *bytes;
    unsigned values;
};

static const struct piece HASH_PIECES[] = {
    {4, 1, "\x01", 0},
    {12, 14, "a\x15\x06\x00\x09\x00\x00\x00\x00\x02\x00\x00\x00\x08", 0},
    {32, 1, "\x04", 0},
    {52, 14,
     ";\xa4\xaa\x00\x00\xfe\x00\x00\x15NF\x9d"
     "b\x13",
     0},
    {72, 5, "\x01\x00\x00\x00\x01", 0},
    {88, 13, "\x03\x00\x00\x00\xd1\x8dh^\x01\x00\x00\x00\x01", 0},
    {516, 5, "\x01\x00\x00\x00\x01", 0},
    {532, 14, "\x04\x00\xdf\x01\x00\x0d\xfa\x01\xee\x01\xe7\x01\xdf\x01", 0},
    {991, 42,
     "\x01REJECT\x00\x01other\x00\x03;"
     "\x05\xb6\x03\x00\x00\x00\xbd\x02\x00\x00\x01long\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02",
     0},
    {1044, 13, "\x02\x00\xf4\x01\x00\x0d\xf8\x01\xf4\x01\x00\x00\x02", 0},
    {1076, 14,
     ";\xa4\xaa\x00\x00\xfe\x00\x00\x15NF\x9d"
     "b\x13",
     0},
    {1096, 5, "\x01\x00\x00\x00\x01", 0},
    {1116, 9, "\xd1\x8dh^\x01\x00\x00\x00\x01", 0},
    {1524, 21,
     "\x01OK\x00\x01"
     "client\x00\x00\x00\x00\x00\x01\x00\x00\x00\x03",
     0},
    {1552, 10, "\x04\x00\x00\x00\x01\x00\xe6\x01\x00\x07", 486},
    {2048, 13, "\x00\x00\x00\x00\x01\x00\x00\x00\x04\x00\x00\x00\x03", 0},
    {2068, 6, "\x01\x00\xd7\x00\x00\x07", 214},
};
static const struct piece BTREE_PIECES[] = {
    {7, 19,
     "\x01\x00\x00\x00\x00\x00\x05"
     "1b\x00\x00\x00\x09\x00\x00\x02\x00\x00\x09",
     0},
    {35, 1, "\x03", 0},
    {51, 15,
     "\x01"
     "3\xa5\xaa\x00\x00\xfe\x00\x00\xe4U\xd9 c\x13",
     0},
    {79, 1, "\x02", 0},
    {87, 5, " \x00\x00\x00\x01", 0},
    {519, 5, "\x01\x00\x00\x00\x01", 0},
    {533, 21, "\x08\x01\xb8\x01\x05\x01\xf4\x01\xec\x01\xf4\x01\xe0\x01\xd8\x01\xcc\x01\xc4\x01\xb8", 0},
    {563, 15,
     "\x01"
     "3\xa5\xaa\x00\x00\xfe\x00\x00\xe4U\xd9 c\x13",
     0},
    {591, 1, "\x02", 0},
    {599, 5, " \x00\x00\x00\x01", 0},
    {953, 68,
     "\x06\x01REJECT\x00\x00\x00\x00\x05\x01other\x00\x00\x03\x00\x00\x00\x00\x02\x00\x00\x02\xbc\x00\x04\x01"
     "long\x00\x00\x06\x01second\x00\x00\x00\x00\x02\x01OK\x00\x00\x00\x00\x06\x01"
     "client",
     0},
    {1031, 5, "\x01\x00\x00\x00\x02", 0},
    {1043, 7, "\x03\x00\x01\x01\xe6\x00\x07", 486},
    {1543, 19, "\x01\x00\x00\x00\x03\x00\x00\x00\x02\x00\x00\x00\x00\x00\x01\x00\xd6\x00\x07", 214},
};

enum { HASH_BYTES = 2560, BTREE_BYTES = 2048, LONG_VALUE = 700, LMDB_ENTRIES = 1000 };

/* Two files with the same keys: "client" OK, "long" 700 times v, "other" REJECT. */
static const struct sample {
    const struct piece *pieces;
    size_t count, size;
    bool nul; /* with the keys and values */
} SAMPLES[] = {
    {HASH_PIECES, sizeof(HASH_PIECES) / sizeof(HASH_PIECES[0]), HASH_BYTES, true},
    {BTREE_PIECES, sizeof(BTREE_PIECES) / sizeof(BTREE_PIECES[0]), BTREE_BYTES, false},
};
enum { SAMPLE_COUNT = sizeof(SAMPLES) / sizeof(SAMPLES[0]) };

static char directory[] = "/tmp/table_hash_test.XXXXXX";
static char path[256], file[264]; /* the table and its ".db" */

static void
make_sample(const struct sample *sample, uint8_t *out)
{
    memset(out, 0, sample->size);
    for (size_t i = 0; i < sample->count; i++) {
        const struct piece *piece = &sample->pieces[i];

        memcpy(out + piece->offset, piece->bytes, piece->count);
        memset(out + piece->offset + piece->count, 'v', piece->values);
    }
}

static int
make_file(const uint8_t *bytes, size_t n)
{
    int fd = memfd_create("db", MFD_CLOEXEC);

    CHECK(fd != -1 && pwrite(fd, bytes, n, 0) == (ssize_t)n);
    return fd;
}

/* Into the file under test, as it is, and long ago, so that no writer is waited for. */
static void
overwrite_file(const uint8_t *bytes, size_t n)
{
    static const struct timespec LONG_AGO[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    CHECK(fd != -1 && (n == 0 || pwrite(fd, bytes, n, 0) == (ssize_t)n) && futimens(fd, LONG_AGO) == 0);
    (void)close(fd);
}

static int
find(struct table *table, const char *key, const char *expected)
{
    struct table_hit hit = {0};

    buf_init(&hit.value, TABLE_VALUE_MAX);
    int r = table_find(table, bytes_str(key), &hit);
    CHECK(r != 0 || expected == NULL || strcmp(buf_str(&hit.value), expected) == 0);
    buf_free(&hit.value);
    return r;
}

static struct table *
open_table(const char *type)
{
    struct table *table = NULL;
    struct buf spec, why;

    buf_init(&spec, 4096);
    buf_init(&why, 4096);
    CHECK(buf_printf(&spec, "%s:%s", type, path) == 0);
    if (table_open(NULL, bytes_buf(&spec), TABLE_FOLD, &table, &why) != 0) {
        (void)fprintf(stderr, "%s\n", buf_str(&why));
    }
    buf_free(&spec);
    buf_free(&why);
    return table;
}

static int
find_raw(int fd, const struct sample *sample, const char *key, struct buf *value)
{
    buf_clear(value);
    return table_bdb_find(fd, bytes_of(key, strlen(key) + sample->nul), value);
}

static int
count_entry(void *context, struct bytes key, struct bytes value)
{
    size_t *count = context;

    CHECK(key.n >= 4 && value.n >= 2);
    (*count)++;
    return 0;
}

static void
test_bdb(const struct sample *sample)
{
    uint8_t bytes[HASH_BYTES];
    struct buf value, why;
    size_t count = 0;

    buf_init(&value, TABLE_VALUE_MAX);
    buf_init(&why, 4096);
    make_sample(sample, bytes);
    int fd = make_file(bytes, sample->size);
    CHECK(table_bdb_check(fd, &why) == 0);
    CHECK(find_raw(fd, sample, "client", &value) == 0 && strcmp(buf_str(&value), "OK") == 0);
    CHECK(find_raw(fd, sample, "other", &value) == 0 && strcmp(buf_str(&value), "REJECT") == 0);
    CHECK(find_raw(fd, sample, "long", &value) == 0 && value.n == LONG_VALUE + (size_t)sample->nul);
    CHECK(value.p[0] == 'v' && value.p[LONG_VALUE - 1] == 'v');
    CHECK(find_raw(fd, sample, "clien", &value) == GW_ERR_NOTFOUND);
    CHECK(find_raw(fd, sample, "clientt", &value) == GW_ERR_NOTFOUND);
    CHECK(find_raw(fd, sample, "zzz", &value) == GW_ERR_NOTFOUND);
    CHECK(table_bdb_each(fd, count_entry, &count) == 0 && count == (sample->nul ? 3 : 4));
    struct buf small;
    buf_init(&small, LONG_VALUE - 1);
    CHECK(find_raw(fd, sample, "long", &small) == GW_ERR_LIMIT);
    buf_free(&small);
    (void)close(fd);
    /* Cut off: what is still there is found, the rest cannot be told. */
    for (size_t n = 0; n < sample->size; n += 7) {
        fd = make_file(bytes, n);
        CHECK(table_bdb_check(fd, &why) == GW_ERR_CONFIG);
        int client = find_raw(fd, sample, "client", &value), longer = find_raw(fd, sample, "long", &value);
        CHECK((client == 0 || client == GW_ERR_TEMP) && (longer == 0 || longer == GW_ERR_TEMP));
        CHECK(longer == GW_ERR_TEMP && table_bdb_each(fd, count_entry, &count) == GW_ERR_TEMP);
        (void)close(fd);
    }
    buf_free(&value);
    buf_free(&why);
}

static int
ignore_entry(void *context, struct bytes key, struct bytes value)
{
    size_t *sum = context;

    for (size_t i = 0; i < key.n; i++) {
        *sum += key.p[i];
    }
    for (size_t i = 0; i < value.n; i++) {
        *sum += value.p[i];
    }
    return 0;
}

/* Whatever a byte is changed to, there is an answer. */
static void
test_spoilt_bdb(const struct sample *sample)
{
    static const uint8_t MASKS[] = {0x01, 0x80, 0xff};
    uint8_t bytes[HASH_BYTES];
    struct buf value;
    size_t sum = 0;

    buf_init(&value, TABLE_VALUE_MAX);
    make_sample(sample, bytes);
    int fd = make_file(bytes, sample->size);
    for (size_t i = 0; i < sample->size; i++) {
        for (size_t m = 0; m < sizeof(MASKS); m++) {
            uint8_t changed = bytes[i] ^ MASKS[m];

            CHECK(pwrite(fd, &changed, 1, (off_t)i) == 1);
            int r = find_raw(fd, sample, "long", &value);
            CHECK(r == 0 || r == GW_ERR_TEMP || r == GW_ERR_NOTFOUND || r == GW_ERR_LIMIT);
            (void)find_raw(fd, sample, "client", &value);
            (void)table_bdb_each(fd, ignore_entry, &sum);
        }
        CHECK(pwrite(fd, &bytes[i], 1, (off_t)i) == 1);
    }
    (void)close(fd);
    buf_free(&value);
}

static void
make_lmdb(void)
{
    struct table_build_options options = {
        .type = "hash", .name = path, .mode = 0644, .owner = getuid(), .group = getgid()};
    struct table_build *build = NULL;
    struct buf why, text;

    buf_init(&why, 4096);
    buf_init(&text, 4096);
    (void)unlink(file);
    CHECK(table_build_begin(&options, &build, &why) == 0);
    for (unsigned i = 0; build != NULL && i < LMDB_ENTRIES; i++) {
        buf_clear(&text);
        CHECK(buf_printf(&text, "key%u", i) == 0);
        CHECK(table_build_put(build, bytes_buf(&text), BYTES_LIT("some value of the key"), false) == 0);
    }
    CHECK(build == NULL || table_build_commit(&build) == 0);
    buf_free(&why);
    buf_free(&text);
}

static size_t
find_all(struct table *table, unsigned step, unsigned *wrong)
{
    size_t found = 0;
    char key[16];

    for (unsigned i = 0; i < LMDB_ENTRIES; i += step) {
        (void)snprintf(key, sizeof(key), "key%u", i);
        int r = find(table, key, NULL);
        found += r == 0;
        *wrong += r != 0 && r != GW_ERR_TEMP;
    }
    return found;
}

static void
test_cut_lmdb(void)
{
    unsigned wrong = 0;
    struct stat status;

    make_lmdb();
    struct table *table = open_table("hash");
    int fd = open(file, O_RDWR | O_CLOEXEC);
    CHECK(table != NULL && fd != -1 && fstat(fd, &status) == 0);
    if (table == NULL) {
        return;
    }
    CHECK(find_all(table, 1, &wrong) == LMDB_ENTRIES && wrong == 0);
    CHECK(find(table, "key", NULL) == GW_ERR_NOTFOUND && find(table, "zzz", NULL) == GW_ERR_NOTFOUND);
    size_t size = (size_t)status.st_size;
    uint8_t *kept = malloc(size);
    CHECK(kept != NULL && pread(fd, kept, size, 0) == (ssize_t)size);
    for (size_t n = size; n >= 1024; n -= 1024) {
        CHECK(ftruncate(fd, (off_t)n - 1024) == 0);
        (void)find_all(table, 37, &wrong);
    }
    CHECK(wrong == 0);
    CHECK(find(table, "key1", NULL) == GW_ERR_TEMP);
    struct table *again = open_table("hash");
    CHECK(again == NULL); /* says so at the start */
    table_free(&again);
    CHECK(pwrite(fd, kept, size, 0) == (ssize_t)size);
    CHECK(find(table, "key1", NULL) == 0); /* and is back when the file is */
    srandom(4711);
    for (int i = 0; i < 20000; i++) {
        size_t at = (size_t)random() % size, from = at < 8 ? 0 : at - 8;
        uint8_t byte = (uint8_t)random();

        CHECK(pwrite(fd, &byte, 1, (off_t)at) == 1);
        (void)find_all(table, 101, &wrong);
        if (i % 4 != 0) { /* the damage grows */
            CHECK(pwrite(fd, kept + from, at - from + 1, (off_t)from) == (ssize_t)(at - from + 1));
        }
    }
    (void)close(fd);
    free(kept);
    table_free(&table);
}

/* Another program writes its own format into the same file, as Debian's postmap does. */
static void
test_overwritten(void)
{
    uint8_t bytes[HASH_BYTES];

    make_lmdb();
    struct table *table = open_table("hash"), *named = open_table("lmdb");
    if (table == NULL || named == NULL) {
        CHECK(false);
        return;
    }
    CHECK(find(table, "key7", "some value of the key") == 0 && find(named, "key7", NULL) == 0);
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        overwrite_file(NULL, 0);
        CHECK(find(table, "client", NULL) == GW_ERR_TEMP);
        make_sample(&SAMPLES[i], bytes);
        overwrite_file(bytes, SAMPLES[i].size);
        CHECK(find(table, "Client", "OK") == 0 && find(table, "other", "REJECT") == 0);
        CHECK(find(table, "key7", NULL) == GW_ERR_NOTFOUND);
    }
    struct table_hit hit = {0};
    buf_init(&hit.value, TABLE_VALUE_MAX);
    CHECK(table_find(table, bytes_of("client", 7), &hit) ==
          GW_ERR_NOTFOUND); /* a NUL of the peer's is no key */
    buf_free(&hit.value);
    overwrite_file((const uint8_t *)"key7 some text\n", 15);
    CHECK(find(table, "key7", NULL) == GW_ERR_TEMP);
    table_free(&table);
    table_free(&named);
}

static int64_t
now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A file just changed, and locked by its writer, is waited for, but not for long. */
static void
test_locked(void)
{
    uint8_t bytes[HASH_BYTES];

    make_sample(&SAMPLES[0], bytes);
    overwrite_file(bytes, SAMPLES[0].size);
    struct table *table = open_table("hash");
    int fd = open(file, O_RDWR | O_CLOEXEC);
    if (table == NULL || fd == -1) {
        CHECK(false);
        return;
    }
    CHECK(flock(fd, LOCK_EX) == 0 && find(table, "client", "OK") == 0); /* long ago: nobody waits */
    CHECK(pwrite(fd, bytes, 1, 0) == 1);
    int64_t start = now_ms();
    CHECK(find(table, "client", NULL) == GW_ERR_TEMP && now_ms() - start < 2000);
    CHECK(flock(fd, LOCK_UN) == 0 && find(table, "client", "OK") == 0);
    (void)close(fd);
    table_free(&table);
}

/* In a jail the name says nothing: what is held answers for the time being. */
static bool
answers_in_jail(struct table *table)
{
    pid_t child = fork();
    int status = 1;

    if (child == 0) {
        _exit(chroot(directory) == 0 && find(table, "key1", NULL) == 0 ? 0 : 1);
    }
    return child != -1 && waitpid(child, &status, 0) == child && status == 0;
}

/* A removed file answers no more; one that was moved or replaced does. */
static void
test_removed(void)
{
    uint8_t bytes[HASH_BYTES];
    char kept[280];

    make_sample(&SAMPLES[0], bytes);
    overwrite_file(bytes, SAMPLES[0].size);
    (void)snprintf(kept, sizeof(kept), "%s.kept", file);
    struct table *bdb = open_table("hash");
    CHECK(rename(file, kept) == 0);
    make_lmdb();
    struct table *lmdb = open_table("hash");
    if (bdb == NULL || lmdb == NULL) {
        CHECK(false);
        return;
    }
    CHECK(find(lmdb, "key1", NULL) == 0 && find(bdb, "client", "OK") == 0);
    CHECK(unlink(file) == 0);
    CHECK(find(lmdb, "key1", NULL) == GW_ERR_TEMP && find(bdb, "client", "OK") == 0);
    CHECK(geteuid() != 0 || answers_in_jail(lmdb));
    overwrite_file(bytes, SAMPLES[0].size); /* replaced */
    CHECK(find(lmdb, "key1", NULL) == 0);
    CHECK(unlink(file) == 0 && unlink(kept) == 0);
    CHECK(find(lmdb, "key1", NULL) == GW_ERR_TEMP && find(bdb, "client", NULL) == GW_ERR_TEMP);
    table_free(&bdb);
    table_free(&lmdb);
}

int
main(void)
{
    if (mkdtemp(directory) == NULL) {
        perror(directory);
        return 1;
    }
    (void)snprintf(path, sizeof(path), "%s/table", directory);
    (void)snprintf(file, sizeof(file), "%s.db", path);
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        test_bdb(&SAMPLES[i]);
        test_spoilt_bdb(&SAMPLES[i]);
    }
    test_cut_lmdb();
    test_overwritten();
    test_locked();
    test_removed();
    (void)unlink(file);
    if (rmdir(directory) != 0) {
        perror(directory);
        failures++;
    }
    return failures != 0;
}

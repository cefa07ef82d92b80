/*
 * deliver_store_test - what ends up in Maildir and mbox files, byte for byte; owners; failures that must not
 * deliver.
 *
 * Shows of contract.tsv: PAR85.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "deliver/deliver_maildir.h"
#include "deliver/deliver_mbox.h"
#include "deliver/deliver_owner.h"

static int failures;
#define CHECK(cond)                                                    \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                \
        }                                                              \
    } while (0)

enum { NOBODY = 65534 };

static char top[] = "/tmp/deliver_store_test.XXXXXX";

static void
set_message(struct deliver_message *message, struct bytes content, unsigned form)
{
    *message = (struct deliver_message){
        .content_fd = memfd_create("content", MFD_CLOEXEC),
        .size = content.n,
        .sender = BYTES_LIT("s@example.org"),
        .recipient = BYTES_LIT("r@example.org"),
        .original = BYTES_LIT("o@example.org"),
        .form = form,
        .date = "  Sat Nov 21 06:01:48 2026",
    };
    CHECK(write(message->content_fd, content.p, content.n) == (ssize_t)content.n);
}

static void
read_file(const char *path, struct buf *out)
{
    uint8_t piece[4096];
    ssize_t n;
    int fd = open(path, O_RDONLY);

    buf_clear(out);
    CHECK(fd != -1);
    while ((n = read(fd, piece, sizeof(piece))) > 0) {
        (void)buf_append(out, piece, (size_t)n);
    }
    (void)close(fd);
}

static const struct {
    const char *content;
    unsigned form;
    const char *stored;
} WRITES[] = {
    {"A: b\r\n\r\ntext\r\n", 0, "A: b\n\ntext\n"},
    {"A: b\r\n\r\ntext\r\n", DELIVER_CRLF, "A: b\r\n\r\ntext\r\n"},
    {"A: b\r\n\r\nno end", 0, "A: b\n\nno end\n"},
    {"A: b\r\n\r\na\rb\r\n", 0, "A: b\n\na\rb\n"},
    {"A: b\r\n\r\na\r\r\n", 0, "A: b\n\na\r\n"},
    {"A: b\r\n\r\n", DELIVER_RETURN_PATH | DELIVER_ORIGINAL_TO | DELIVER_DELIVERED_TO,
     "Return-Path: <s@example.org>\nX-Original-To: o@example.org\nDelivered-To: r@example.org\nA: b\n\n"},
    {"A: b\r\n\r\nFrom me\r\n", DELIVER_FROM_LINE | DELIVER_QUOTE_FROM | DELIVER_BLANK_LINE,
     "From s@example.org  Sat Nov 21 06:01:48 2026\nA: b\n\n>From me\n\n"},
    {"A: b\r\n\r\nxFrom me\r\n>From you\r\nFrom", DELIVER_QUOTE_FROM, "A: b\n\nxFrom me\n>From you\nFrom\n"},
    {"A: b\r\n\r\n.\r\n..\r\na.\r\n", DELIVER_QUOTE_DOT, "A: b\n\n..\n...\na.\n"},
    {"", 0, "\n"},
};

static void
test_writer(void)
{
    struct deliver_message message;
    struct buf got;

    buf_init(&got, 1024 * 1024);
    for (size_t i = 0; i < sizeof(WRITES) / sizeof(WRITES[0]); i++) {
        char path[64];
        int fd = memfd_create("out", 0);

        set_message(&message, bytes_str(WRITES[i].content), WRITES[i].form);
        CHECK(deliver_writer_copy(&message, fd) == 0);
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        read_file(path, &got);
        if (!bytes_equal(bytes_buf(&got), bytes_str(WRITES[i].stored))) {
            fprintf(stderr, "case %zu: got \"%s\"\n", i, buf_str(&got));
            failures++;
        }
        (void)close(fd);
        (void)close(message.content_fd);
    }
    buf_free(&got);
}

/* Lines around the size of the reading buffer: every CRLF becomes LF wherever a piece ends. */
static void
test_long_lines(void)
{
    struct buf content, expected, got;

    buf_init(&content, 8 * 1024 * 1024);
    buf_init(&expected, 8 * 1024 * 1024);
    buf_init(&got, 8 * 1024 * 1024);
    for (size_t length = 32760; length < 32775; length++) {
        struct deliver_message message;
        int fd = memfd_create("out", 0);
        char path[64];

        buf_clear(&content);
        buf_clear(&expected);
        for (int line = 0; line < 5; line++) {
            for (size_t i = 0; i < length; i++) {
                (void)buf_append_byte(&content, i % 7 == 0 ? '\r' : 'x');
                (void)buf_append_byte(&expected, i % 7 == 0 ? '\r' : 'x');
            }
            (void)buf_append_str(&content, "\r\nFrom x\r\n");
            (void)buf_append_str(&expected, "\n>From x\n");
        }
        set_message(&message, bytes_buf(&content), DELIVER_QUOTE_FROM);
        CHECK(deliver_writer_copy(&message, fd) == 0);
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        read_file(path, &got);
        CHECK(bytes_equal(bytes_buf(&got), bytes_buf(&expected)));
        (void)close(fd);
        (void)close(message.content_fd);
    }
    buf_free(&content);
    buf_free(&expected);
    buf_free(&got);
}

static void
test_loop(void)
{
    static const struct {
        const char *content;
        bool loop;
    } CASES[] = {
        {"Delivered-To: r@example.org\r\n\r\n", true},
        {"A: b\r\ndelivered-to:R@EXAMPLE.org\r\n\r\n", true},
        {"Delivered-To: x@example.org\r\n\r\n", false},
        {"A: b\r\n\r\nDelivered-To: r@example.org\r\n", false},
        {"X-Delivered-To: r@example.org\r\n\r\n", false},
        {"", false},
        {"Delivered-To: r@example.org.x\r\n\r\n", false},
    };
    struct deliver_message message;

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        set_message(&message, bytes_str(CASES[i].content), 0);
        CHECK(deliver_writer_has_loop(&message) == CASES[i].loop);
        (void)close(message.content_fd);
    }
}

static size_t
count_files(const char *directory, char *last, size_t size)
{
    DIR *dir = opendir(directory);
    const struct dirent *entry;
    size_t n = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            (void)snprintf(last, size, "%s/%s", directory, entry->d_name);
            n++;
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    return n;
}

static void
test_maildir(void)
{
    char path[PATH_MAX], folder[PATH_MAX + 8], file[2 * PATH_MAX];
    struct deliver_message message;
    struct deliver_outcome outcome = {0};
    struct buf got;

    buf_init(&got, 65536);
    (void)snprintf(path, sizeof(path), "%s/a/b/Maildir/", top);
    struct deliver_maildir target = {.message = &message, .path = path, .hostname = "host/x:1"};

    set_message(&message, BYTES_LIT("A: b\r\n\r\ntext\r\n"), DELIVER_DELIVERED_TO);
    for (int i = 0; i < 3; i++) {
        deliver_maildir_store(&target, &outcome);
        CHECK(outcome.status == DELIVERY_SENT && strcmp(outcome.text, "delivered to maildir") == 0);
    }
    (void)snprintf(folder, sizeof(folder), "%snew", path);
    CHECK(count_files(folder, file, sizeof(file)) == 3);
    CHECK(strstr(file, ".host\\057x\\0721") != NULL);
    read_file(file, &got);
    CHECK(strcmp(buf_str(&got), "Delivered-To: r@example.org\nA: b\n\ntext\n") == 0);
    (void)snprintf(folder, sizeof(folder), "%stmp", path);
    CHECK(count_files(folder, file, sizeof(file)) == 0);

    /* A content shorter than its size, and a directory that cannot be made: deferred, nothing in new/. */
    message.size = 1000;
    deliver_maildir_store(&target, &outcome);
    CHECK(outcome.status == DELIVERY_DEFERRED && outcome.dsn[0] == '4');
    (void)snprintf(folder, sizeof(folder), "%snew", path);
    CHECK(count_files(folder, file, sizeof(file)) == 3);
    (void)snprintf(folder, sizeof(folder), "%s/file", top);
    (void)close(open(folder, O_CREAT | O_WRONLY, 0600));
    (void)snprintf(path, sizeof(path), "%s/file/Maildir/", top);
    deliver_maildir_store(&target, &outcome);
    CHECK(outcome.status == DELIVERY_DEFERRED);
    (void)close(message.content_fd);
    buf_free(&got);
}

static void
test_mbox(void)
{
    char path[PATH_MAX], lock[PATH_MAX + 8], other[PATH_MAX];
    struct deliver_message message;
    struct deliver_outcome outcome = {0};
    struct stat st;
    struct buf got;

    buf_init(&got, 65536);
    (void)snprintf(path, sizeof(path), "%s/mbox", top);
    (void)snprintf(lock, sizeof(lock), "%s.lock", path);
    struct deliver_mbox target = {.message = &message,
                                  .path = path,
                                  .dotlock = true,
                                  .fcntl_lock = true,
                                  .lock_attempts = 2,
                                  .lock_delay_ms = 10,
                                  .stale_s = 500};

    set_message(&message, BYTES_LIT("A: b\r\n\r\nFrom x\r\n"),
                DELIVER_FROM_LINE | DELIVER_QUOTE_FROM | DELIVER_BLANK_LINE);
    deliver_mbox_store(&target, &outcome);
    deliver_mbox_store(&target, &outcome);
    CHECK(outcome.status == DELIVERY_SENT && strcmp(outcome.text, "delivered to mailbox") == 0);
    read_file(path, &got);
    CHECK(strcmp(buf_str(&got), "From s@example.org  Sat Nov 21 06:01:48 2026\nA: b\n\n>From x\n\n"
                                "From s@example.org  Sat Nov 21 06:01:48 2026\nA: b\n\n>From x\n\n") == 0);
    CHECK(access(lock, F_OK) == -1);
    size_t size = got.n;

    (void)close(open(lock, O_CREAT | O_WRONLY, 0600)); /* somebody else's lock */
    deliver_mbox_store(&target, &outcome);
    CHECK(outcome.status == DELIVERY_DEFERRED && access(lock, F_OK) == 0);
    (void)unlink(lock);
    target.size_limit = 10;
    deliver_mbox_store(&target, &outcome);
    CHECK(outcome.status == DELIVERY_BOUNCED && strcmp(outcome.dsn, "5.2.2") == 0);
    target.size_limit = 0;
    message.size = 1000; /* unreadable: the part that was written is taken back */
    deliver_mbox_store(&target, &outcome);
    CHECK(outcome.status == DELIVERY_DEFERRED);
    CHECK(stat(path, &st) == 0 && (size_t)st.st_size == size);
    message.size = 16;
    (void)snprintf(other, sizeof(other), "%s/link", top);
    CHECK(symlink(path, other) == 0);
    target.path = other;
    deliver_mbox_store(&target, &outcome);
    CHECK(outcome.status == DELIVERY_DEFERRED);
    (void)close(message.content_fd);
    buf_free(&got);
}

static void
test_owner(void)
{
    char path[PATH_MAX];
    struct deliver_message message;
    struct deliver_outcome outcome = {0};
    struct deliver_owner owner = {.uid = NOBODY, .gid = NOBODY};
    struct stat st;

    (void)snprintf(path, sizeof(path), "%s/nobody", top);
    CHECK(mkdir(path, 0700) == 0);
    if (geteuid() == 0) {
        CHECK(chown(path, NOBODY, NOBODY) == 0 && chmod(top, 0755) == 0);
    }
    (void)snprintf(path, sizeof(path), "%s/nobody/Maildir/", top);
    struct deliver_maildir target = {.message = &message, .path = path, .hostname = "h"};

    set_message(&message, BYTES_LIT("A: b\r\n\r\n"), 0);
    deliver_owner_run(&owner, 10000, deliver_maildir_store, &target, &outcome);
    if (geteuid() == 0) {
        CHECK(outcome.status == DELIVERY_SENT);
        CHECK(stat(path, &st) == 0 && st.st_uid == NOBODY && (st.st_mode & 077) == 0);
        (void)snprintf(path, sizeof(path), "%s/rootonly/Maildir/", top);
        CHECK(mkdir(path, 0700) == -1); /* its parent is missing and belongs to root */
        deliver_owner_run(&owner, 10000, deliver_maildir_store, &target, &outcome);
    }
    CHECK(outcome.status == DELIVERY_DEFERRED);
    (void)close(message.content_fd);
}

static void
die(void *context, struct deliver_outcome *outcome)
{
    (void)context;
    deliver_outcome_set(outcome, DELIVERY_SENT, "2.0.0", "not true");
    _exit(0);
}

static void
hang(void *context, struct deliver_outcome *outcome)
{
    (void)context;
    (void)outcome;
    (void)sleep(60);
}

/* Only a complete report counts. */
static void
test_child_failures(void)
{
    struct deliver_outcome outcome = {0};
    struct deliver_owner owner = {.uid = NOBODY, .gid = NOBODY};

    if (geteuid() != 0) {
        return;
    }
    deliver_owner_run(&owner, 10000, die, NULL, &outcome);
    CHECK(outcome.status == DELIVERY_DEFERRED);
    deliver_owner_run(&owner, 100, hang, NULL, &outcome);
    CHECK(outcome.status == DELIVERY_DEFERRED);
}

int
main(void)
{
    char command[PATH_MAX + 16];

    (void)umask(077);
    CHECK(mkdtemp(top) != NULL);
    test_writer();
    test_long_lines();
    test_loop();
    test_maildir();
    test_mbox();
    test_owner();
    test_child_failures();
    (void)snprintf(command, sizeof(command), "rm -rf %s", top);
    CHECK(system(command) == 0);
    return failures != 0;
}

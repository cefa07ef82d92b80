/*
 * scan_rig - for the tests of this folder: a configuration in a directory of its own, and messages to look
 * at.
 */
#ifndef SCANNERS_SCAN_RIG_H
#define SCANNERS_SCAN_RIG_H

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/ipc.h"
#include "base/log.h"
#include "scanners/scanner.h"

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

enum { RIG_BUDGET_MS = 60000, RIG_ARENA = 64 * 1024 * 1024 };

/* Both halves apart, so that no scanner of this machine takes the test for what it holds. */
#define RIG_EICAR                                 \
    "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD" \
    "-ANTIVIRUS-TEST-FILE!$H+H*"
#define RIG_GTUBE                                \
    "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD" \
    "-ANTI-UBE-TEST-EMAIL*C.34X"
#define RIG_HEAD \
    "From: ana@example.com\r\nTo: luis@example.org\r\nSubject: hola\r\nMessage-ID: <1@example.com>\r\n"

struct rig {
    char directory[64];
    struct config *config;
    struct arena *arena;
    struct envelope *envelope;
    struct wire_scan request;
    struct dns_client *dns; /* the test's own; NULL: none */
};

__attribute__((noreturn)) static inline void
rig_die(const char *what)
{
    (void)fprintf(stderr, "rig: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* A file below the rig's directory. */
static inline void
rig_write(const struct rig *rig, const char *name, struct bytes text)
{
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/%s", rig->directory, name);
    FILE *file = fopen(path, "we");
    if (file == NULL || fwrite(text.p, 1, text.n, file) != text.n || fclose(file) != 0) {
        rig_die(path);
    }
}

/* main.cf: `settings` behind what every test needs. Replaces the configuration there was. */
static inline void
rig_configure(struct rig *rig, const char *settings)
{
    struct buf text, why;

    buf_init(&text, 65536);
    buf_init(&why, 65536);
    (void)buf_printf(&text,
                     "compatibility_level = 3.7\nmyhostname = gw.example.test\nmydomain = example.test\n"
                     "mydestination =\nmynetworks = 127.0.0.0/8\nqueue_directory = %s\ndata_directory = %s\n"
                     "clamav_database_directory = /nonexistent\nscan_temporary_directory = %s\n%s",
                     rig->directory, rig->directory, rig->directory, settings);
    rig_write(rig, "main.cf", bytes_buf(&text));
    rig_write(rig, "master.cf", BYTES_LIT("127.0.0.1:2525 inet n - n - - smtpd -o content_filter=scan:\n"));
    config_free(&rig->config);
    if (config_load(rig->directory, &rig->config, &why) != 0) {
        (void)fprintf(stderr, "%s\n", buf_str(&why));
        exit(2);
    }
    buf_free(&text);
    buf_free(&why);
}

static inline void
rig_open(struct rig *rig, const char *settings)
{
    struct net_addr client;

    CHECK(IPC_RULES[0].type != 0); /* links the table of messages, which base needs and message holds */
    *rig = (struct rig){.directory = "/tmp/estafeta-scanners-XXXXXX"};
    if (mkdtemp(rig->directory) == NULL || chmod(rig->directory, 0755) == -1 ||
        (rig->arena = arena_new(RIG_ARENA)) == NULL || (rig->envelope = envelope_new()) == NULL ||
        net_addr_parse(BYTES_LIT("192.0.2.1"), &client) != 0 ||
        envelope_set_sender(rig->envelope, BYTES_LIT("ana@example.com")) != 0 ||
        envelope_add_recipient(rig->envelope, BYTES_LIT("luis@example.org"), BYTES_LIT("luis@example.org"),
                               NOTIFY_DEFAULT, (struct bytes){0}) != 0) {
        rig_die("directory");
    }
    struct session_facts *session = &rig->envelope->session;
    session->client = client;
    (void)snprintf(session->name, sizeof(session->name), "mail.example.com");
    (void)snprintf(session->helo, sizeof(session->helo), "mail.example.com");
    (void)snprintf(session->protocol, sizeof(session->protocol), "ESMTP");
    (void)snprintf(rig->envelope->queue_id, sizeof(rig->envelope->queue_id), "4XyZ0test");
    rig->request = (struct wire_scan){.envelope = rig->envelope, .budget_ms = RIG_BUDGET_MS};
    rig_configure(rig, settings);
}

static inline int
rig_remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline void
rig_close(struct rig *rig)
{
    config_free(&rig->config);
    arena_free(&rig->arena);
    envelope_free(&rig->envelope);
    (void)nftw(rig->directory, rig_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* One scanner, loaded, with a thread. */
struct rig_scanner {
    const struct scanner *row;
    void *shared, *thread;
};

static inline int
rig_load(struct rig *rig, enum scanner_id id, struct rig_scanner *scanner)
{
    struct buf why;
    int r;

    *scanner = (struct rig_scanner){.row = SCANNERS[id]};
    buf_init(&why, 65536);
    r = scanner->row->load != NULL ? scanner->row->load(rig->config, &scanner->shared, &why) : 0;
    r = r == 0 && scanner->row->load_data != NULL
            ? scanner->row->load_data(rig->config, scanner->shared, &why)
            : r;
    r = r == 0 && scanner->row->thread_start != NULL
            ? scanner->row->thread_start(rig->config, scanner->shared, &scanner->thread)
            : r;
    if (r != 0) {
        (void)fprintf(stderr, "%s: %s\n", scanner->row->name, buf_str(&why));
    }
    buf_free(&why);
    return r;
}

static inline void
rig_unload(struct rig_scanner *scanner)
{
    if (scanner->thread != NULL) {
        scanner->row->thread_stop(&scanner->thread);
    }
    if (scanner->row->unload != NULL) {
        scanner->row->unload(&scanner->shared);
    }
}

/* The report lies in the rig's arena. */
static inline int
rig_look(struct rig *rig, struct rig_scanner *scanner, struct bytes content, struct scan_report *report_r)
{
    ptrdiff_t body = bytes_find(content, BYTES_LIT("\r\n\r\n"));
    struct scan_input input = {.content = content,
                               .fd = -1,
                               .body_offset = body < 0 ? content.n : (size_t)body + 4,
                               .request = &rig->request,
                               .config = rig->config,
                               .arena = rig->arena,
                               .dns = rig->dns,
                               .deadline_ms = clock_monotonic_ms() + rig->request.budget_ms};

    *report_r = (struct scan_report){0};
    rig->envelope->size = content.n;
    return scanner->row->scan(scanner->shared, scanner->thread, &input, report_r);
}

/* One scanner over one message, from load to unload. */
static inline int
rig_scan(struct rig *rig, enum scanner_id id, struct bytes content, struct scan_report *report_r)
{
    struct rig_scanner scanner;
    int r = rig_load(rig, id, &scanner);

    *report_r = (struct scan_report){0};
    r = r == 0 ? rig_look(rig, &scanner, content, report_r) : r;
    rig_unload(&scanner);
    return r;
}

#endif

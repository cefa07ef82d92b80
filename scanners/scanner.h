/*
 * scanner - what a scanner is: a row in the table, a function that looks at one message, a result.
 *
 * A result starts as "not scanned" and only the scanner's own finding changes it: a crash, a timeout, an
 * unreadable signature set or a full temporary directory leave it there, and the verdict (policy/verdict.h)
 * never reads that as clean. Scanners run in the sandboxed scan workers; the verdict is made outside, by
 * receive.
 */
#ifndef SCANNERS_SCANNER_H
#define SCANNERS_SCANNER_H

#include "base/arena.h"
#include "config/config.h"
#include "message/wire.h"

enum { SCAN_RESULTS_MAX = 32, SCAN_FOUND_MAX = 512, SCAN_DETAIL_MAX = 4096 };

enum scanner_id {
    SCANNER_HEADER_REGEXP, /* header_checks, mime_header_checks, nested_header_checks */
    SCANNER_BODY_REGEXP,   /* body_checks */
    SCANNER_BANNED,        /* banned_name_checks: names and types of parts */
    SCANNER_CLAMAV,
    SCANNER_SPF,
    SCANNER_DKIM,
    SCANNER_SPAMASSASSIN,
    SCANNER_COUNT
};

enum scan_status {
    SCAN_NOT_SCANNED = 0, /* the initial value: no statement */
    SCAN_CLEAN,           /* looked at everything, found nothing */
    SCAN_FOUND,           /* found: see `found` and the scanner's own fields */
    SCAN_TEMPFAIL,        /* could not finish: detail says why */
    SCAN_SKIPPED, /* configured not to look at this one (trusted client, too large): detail says why */
};

/* RFC 8601 section 2.7 words. */
enum auth_result {
    AUTH_NONE,
    AUTH_PASS,
    AUTH_FAIL,
    AUTH_SOFTFAIL,
    AUTH_NEUTRAL,
    AUTH_POLICY,
    AUTH_TEMPERROR,
    AUTH_PERMERROR
};
const char *auth_result_word(enum auth_result result); /* "pass" */

struct scan_result {
    enum scanner_id scanner;
    enum scan_status status;
    struct bytes found;  /* virus name, rule, banned name, symbols; one line of printable text */
    struct bytes detail; /* for log and evidence */
    int64_t elapsed_us;
    /* regexp and access actions: "REJECT text", "WARN ...", with table and line */
    struct bytes action;
    struct bytes table;
    uint32_t line;
    /* SPF, DKIM */
    uint8_t auth;        /* enum auth_result */
    struct bytes domain; /* d= or the SPF domain */
    struct bytes selector;
    struct bytes second_opinion; /* libspf2's word when it differs from ours; empty when equal */
    /* SpamAssassin, in thousandths of a point */
    int32_t score_milli;
    int32_t threshold_milli;
};

struct scan_report {
    struct scan_result
        results[SCAN_RESULTS_MAX]; /* DKIM has one per signature, regexp one per hit that acts */
    size_t count;
    int64_t elapsed_us;
};

/* The message as every scanner sees it: exactly the bytes that will be relayed. */
struct scan_input {
    struct bytes content; /* the mapped memfd: header, CRLF CRLF, body; lines end in CRLF */
    int fd;
    size_t body_offset; /* first byte of the body */
    const struct wire_scan *request;
    const struct config *config;
    struct arena *arena; /* results point in here; lives as long as the message */
    int64_t deadline_ms;
    struct dns_client *dns;
};

/* One per scanner, made once per worker (after fork), used by one thread at a time. */
struct scanner_instance;

struct scanner {
    enum scanner_id id;
    const char *name; /* in scan_pipeline, logs and evidence: "clamav" */
    /* Once per role, before the jail: open tables, compile rules. *shared_r is inherited by the workers.
     * NULL: none */
    int (*load)(const struct config *config, void **shared_r, struct buf *error_r);
    /* What changes while the configuration stays (signatures): once per loader, in the jail, before its
     * workers are forked. NULL: none */
    int (*load_data)(const struct config *config, void *shared, struct buf *error_r);
    /* Whether what load_data() reads has changed since the last call; asked outside the loader. NULL: never
     */
    bool (*has_new_data)(const struct config *config, void *shared);
    void (*unload)(void **shared);
    /* Once per worker process, after the fork and before its threads. NULL: none */
    int (*worker_start)(void *shared);
    /* Once per worker thread. */
    int (*thread_start)(const struct config *config, void *shared, void **thread_r);
    void (*thread_stop)(void **thread);
    /* Looks at one message and appends its results. An error return leaves "not scanned" with gw_strerror as
     * detail. */
    int (*scan)(void *shared, void *thread, const struct scan_input *input, struct scan_report *report);
};

extern const struct scanner *const SCANNERS[SCANNER_COUNT]; /* scanners/scanner.c: the one table, by id */
const struct scanner *scanner_by_name(struct bytes name);
/* A new result in the report, preset to "not scanned". NULL when SCAN_RESULTS_MAX is reached. */
struct scan_result *scan_report_add(struct scan_report *report, enum scanner_id scanner);

int scan_report_pack(struct buf *buf, const struct scan_report *report);
int scan_report_unpack(struct arena *arena, struct bytes payload, struct scan_report *report_r);

/* What this configuration asks of the scan role. ALL: an SMTP service has content_filter = scan:. RULES: none
 * has, but header_checks or body_checks (and their like) are set, which Postfix applies whatever the filter
 * is. */
enum scan_need { SCAN_NEED_NONE, SCAN_NEED_RULES, SCAN_NEED_ALL };
enum scan_need scan_need(const struct config *config);
/* What mail of one service passes, whose view this is: the names as scan_pipeline has them, "" for nothing.
 * receive_override_options = no_header_body_checks takes the rules away. Beside services with scan: an empty
 * content_filter is the way back into the queue: nothing is looked at twice. */
const char *scan_steps(const struct config *view, enum scan_need need);

/* The pipeline (scanners/pipeline.c): loads all scanners named in scan_pipeline, or those of the rules alone,
 * then runs them in order. */
struct pipeline;
struct pipeline_thread;
int pipeline_load(const struct config *config, struct pipeline **pipeline_r, struct buf *error_r);
void pipeline_free(struct pipeline **pipeline);
/* The halves that are done again when signatures change (struct scanner). */
int pipeline_load_data(struct pipeline *pipeline, struct buf *error_r);
bool pipeline_has_new_data(struct pipeline *pipeline);
int pipeline_worker_start(struct pipeline *pipeline);
/* For a loader that could not load: scanners that need data say "not scanned" to every message. */
void pipeline_do_without_data(struct pipeline *pipeline);
int pipeline_thread_start(struct pipeline *pipeline, struct pipeline_thread **thread_r);
void pipeline_thread_stop(struct pipeline_thread **thread);
/* Every scanner of the pipeline has at least one result in the report afterwards, whatever happened. */
void pipeline_scan(struct pipeline_thread *thread, const struct wire_scan *request, int content_fd,
                   struct arena *arena, struct scan_report *report_r);

/* Role entry (scanners/scan_service.c): loader and workers. */
int scan_main(int argc, char **argv);

#endif

/*
 * pipeline_test - order, an entry for every scanner whatever happens, skipping once all is decided, bad
 * settings.
 *
 * Shows of contract.tsv: HBC17.
 */
#include "scanners/scan_rig.h"

static void
run(struct rig *rig, struct bytes content, uint64_t claimed, struct scan_report *report_r)
{
    struct pipeline *pipeline = NULL;
    struct pipeline_thread *thread = NULL;
    struct buf why;
    int fd = ipc_sealed_memfd("content", content);

    buf_init(&why, 65536);
    *report_r = (struct scan_report){0};
    rig->envelope->size = claimed;
    int r = pipeline_load(rig->config, &pipeline, &why);
    r = r == 0 ? pipeline_load_data(pipeline, &why) : r;
    r = r == 0 ? pipeline_thread_start(pipeline, &thread) : r;
    if (r != 0) {
        (void)fprintf(stderr, "%s\n", buf_str(&why));
    }
    CHECK(r == 0 && fd != -1);
    if (r == 0) {
        CHECK(!pipeline_has_new_data(pipeline));
        pipeline_scan(thread, &rig->request, fd, rig->arena, report_r);
    }
    pipeline_thread_stop(&thread);
    pipeline_free(&pipeline);
    (void)close(fd);
    buf_free(&why);
}

static void
run_plain(struct rig *rig, struct bytes content, struct scan_report *report_r)
{
    run(rig, content, content.n, report_r);
}

static bool
is_result(const struct scan_report *report, size_t at, enum scanner_id scanner, enum scan_status status)
{
    return at < report->count && report->results[at].scanner == scanner &&
           report->results[at].status == status;
}

static void
test_order(struct rig *rig, const char *settings)
{
    struct scan_report report;
    char text[1024];

    (void)snprintf(text, sizeof(text), "%sscan_pipeline = clamav banned, body header\n", settings);
    rig_configure(rig, text);
    run_plain(rig, BYTES_LIT(RIG_HEAD "\r\nhola\r\n"), &report);
    CHECK(report.count == 4 && is_result(&report, 0, SCANNER_CLAMAV, SCAN_CLEAN));
    CHECK(is_result(&report, 1, SCANNER_BANNED, SCAN_CLEAN) &&
          is_result(&report, 2, SCANNER_BODY_REGEXP, SCAN_CLEAN));
    CHECK(is_result(&report, 3, SCANNER_HEADER_REGEXP, SCAN_CLEAN));
    CHECK(report.elapsed_us > 0 && report.results[0].elapsed_us > 0);
}

static void
test_decided(struct rig *rig, const char *settings)
{
    static const struct {
        const char *settings, *content;
        enum scan_status expected[3]; /* header, clamav, banned */
    } CASES[] = {
        {"", RIG_HEAD "\r\nhola\r\n", {SCAN_CLEAN, SCAN_CLEAN, SCAN_CLEAN}},
        {"", RIG_HEAD "\r\n" RIG_EICAR "\r\n", {SCAN_CLEAN, SCAN_FOUND, SCAN_SKIPPED}},
        {"virus_action = quarantine\n",
         RIG_HEAD "\r\n" RIG_EICAR "\r\n",
         {SCAN_CLEAN, SCAN_FOUND, SCAN_SKIPPED}},
        {"virus_action = tag\n", RIG_HEAD "\r\n" RIG_EICAR "\r\n", {SCAN_CLEAN, SCAN_FOUND, SCAN_CLEAN}},
        {"", RIG_HEAD "X-Bad: 1\r\n\r\nhola\r\n", {SCAN_FOUND, SCAN_SKIPPED, SCAN_SKIPPED}},
        {"", RIG_HEAD "X-Gone: 1\r\n\r\nhola\r\n", {SCAN_FOUND, SCAN_SKIPPED, SCAN_SKIPPED}},
        {"", RIG_HEAD "X-Hold: 1\r\n\r\nhola\r\n", {SCAN_FOUND, SCAN_CLEAN, SCAN_CLEAN}},
    };

    rig_write(rig, "rules", BYTES_LIT("/^X-Bad/ REJECT\n/^X-Gone/ DISCARD\n/^X-Hold/ HOLD\n"));
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        static const enum scanner_id ORDER[] = {SCANNER_HEADER_REGEXP, SCANNER_CLAMAV, SCANNER_BANNED};
        struct scan_report report;
        char text[1024];

        (void)snprintf(
            text, sizeof(text),
            "%s%sscan_pipeline = header clamav banned\nheader_checks = regexp:$config_directory/rules\n",
            settings, CASES[i].settings);
        rig_configure(rig, text);
        run_plain(rig, bytes_str(CASES[i].content), &report);
        CHECK(report.count == 3);
        for (size_t k = 0; k < 3; k++) {
            if (!is_result(&report, k, ORDER[k], CASES[i].expected[k])) {
                (void)fprintf(stderr, "case %zu, result %zu: %d\n", i, k, report.results[k].status);
                failures++;
            }
        }
    }
}

/* No time, no content, less content than the envelope says: everything "not scanned", nothing crashes. */
static void
test_trouble(struct rig *rig, const char *settings)
{
    struct bytes content = BYTES_LIT(RIG_HEAD "\r\nhola\r\n");
    struct scan_report report;
    char text[1024];

    (void)snprintf(text, sizeof(text), "%sscan_pipeline = header clamav\n", settings);
    rig_configure(rig, text);
    rig->request.budget_ms = 0;
    run_plain(rig, content, &report);
    CHECK(report.count == 2 && is_result(&report, 0, SCANNER_HEADER_REGEXP, SCAN_TEMPFAIL) &&
          is_result(&report, 1, SCANNER_CLAMAV, SCAN_TEMPFAIL) && report.results[0].detail.n > 0);
    rig->request.budget_ms = RIG_BUDGET_MS;
    const uint64_t claims[] = {0, content.n + 1, content.n + 1000000, UINT64_MAX};
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
        run(rig, content, claims[i], &report);
        CHECK(report.count == 2 && is_result(&report, 0, SCANNER_HEADER_REGEXP, SCAN_NOT_SCANNED) &&
              is_result(&report, 1, SCANNER_CLAMAV, SCAN_NOT_SCANNED));
    }
    rig_configure(rig, "scan_pipeline =\n");
    run_plain(rig, content, &report);
    CHECK(report.count == 0);
}

static void
test_settings(struct rig *rig)
{
    static const char *const BAD[] = {"scan_pipeline = clam\n", "scan_pipeline = header, header\n",
                                      "scan_pipeline = header\nheader_checks = regexp:/nonexistent\n",
                                      "scan_pipeline = spamassassin\nspamassassin_server = nowhere\n"};

    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        struct pipeline *pipeline = NULL;
        struct buf why;

        buf_init(&why, 65536);
        rig_configure(rig, BAD[i]);
        CHECK(pipeline_load(rig->config, &pipeline, &why) != 0 && pipeline == NULL && why.n > 0);
        buf_free(&why);
    }
}

int
main(void)
{
    struct rig rig;
    char path[128], settings[256];
    struct buf line;

    rig_open(&rig, "");
    (void)snprintf(path, sizeof(path), "%s/signatures", rig.directory);
    (void)snprintf(settings, sizeof(settings), "clamav_database_directory = %s\n", path);
    CHECK(mkdir(path, 0700) == 0 && setenv("TMPDIR", rig.directory, 1) == 0);
    buf_init(&line, 4096);
    CHECK(buf_append_str(&line, "Test.Eicar:0:*:") == 0);
    for (const char *p = RIG_EICAR; *p != '\0'; p++) {
        CHECK(buf_printf(&line, "%02x", (unsigned char)*p) == 0);
    }
    CHECK(buf_append_byte(&line, '\n') == 0);
    rig_write(&rig, "signatures/a.ndb", bytes_buf(&line));
    buf_free(&line);
    test_order(&rig, settings);
    test_decided(&rig, settings);
    test_trouble(&rig, settings);
    test_settings(&rig);
    rig_close(&rig);
    return failures != 0;
}

/*
 * header_checks_test - which field is asked of which tables, first match per field, actions, flags that
 * toggle.
 *
 * Shows of contract.tsv: D1 HBC1 HBC6 PAR33 PAR34 PAR86.
 */
#include "scanners/scan_rig.h"

#define MULTIPART                                                                                \
    RIG_HEAD "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n" \
             "Content-Type: text/plain\r\nX-Part: yes\r\n\r\nX-Part: this is body\r\n--b\r\n"    \
             "Content-Type: application/octet-stream;\r\n\tname=\"a.exe\"\r\n\r\nMZ\r\n--b--\r\n"
#define NESTED                                                                                              \
    RIG_HEAD "Content-Type: message/rfc822\r\n\r\nX-Inner: yes\r\nContent-Type: text/html\r\n\r\nX-Inner: " \
             "body\r\n"

static const struct {
    const char *settings, *rules, *content;
    enum scan_status status; /* of the first result */
    const char *action;      /* of the first result; NULL: none */
    unsigned line;
    size_t count;
} CASES[] = {
    /* no tables, no hit, a hit */
    {"", "/x/ REJECT\n", RIG_HEAD "\r\nx\r\n", SCAN_CLEAN, NULL, 0, 1},
    {"header_checks = regexp:$config_directory/rules\n", "/^X-No/ REJECT\n", RIG_HEAD "\r\nX-No: 1\r\n",
     SCAN_CLEAN, NULL, 0, 1},
    {"header_checks = regexp:$config_directory/rules\n", "/^X-No/ REJECT\n/^Subject: hola$/ REJECT go away\n",
     RIG_HEAD "\r\n", SCAN_FOUND, "REJECT go away", 2, 1},
    {"header_checks = pcre:$config_directory/rules\n", "/^subject:\\s+HOLA$/ DISCARD silently\n",
     RIG_HEAD "\r\n", SCAN_FOUND, "DISCARD silently", 1, 1},
    /* "i" turns the case-insensitivity off */
    {"header_checks = regexp:$config_directory/rules\n", "/^date:.*/i REJECT\n",
     "Date: Mon, 6 Jan 2003 10:00:00 +0100\r\n\r\n", SCAN_CLEAN, NULL, 0, 1},
    {"header_checks = regexp:$config_directory/rules\n", "/^date:.*/i REJECT\n", "date: x\r\n\r\n",
     SCAN_FOUND, "REJECT", 1, 1},
    /* a folded field is one lookup, with its line break */
    {"header_checks = pcre:$config_directory/rules\n", "/^Subject: one\\n two$/ REJECT folded\n",
     "Subject: one\r\n two\r\n\r\n", SCAN_FOUND, "REJECT folded", 1, 1},
    {"header_checks = regexp:$config_directory/rules\n", "/^Subject: one.*two/ REJECT folded\n",
     "Subject: one\r\n two\r\n\r\n", SCAN_FOUND, "REJECT folded", 1, 1},
    {"header_checks = regexp:$config_directory/rules\n", "/^ two/ REJECT\n", "Subject: one\r\n two\r\n\r\n",
     SCAN_CLEAN, NULL, 0, 1},
    /* the first match of a field wins, each field has its own */
    {"header_checks = regexp:$config_directory/rules\n",
     "/^From:/ DUNNO\n/^From:/ REJECT\n/^To:/ WARN look\n/^To:/ REJECT\n/^Subject:/ INFO so\n/^Subject:/ "
     "REJECT\n",
     RIG_HEAD "\r\n", SCAN_CLEAN, NULL, 0, 1},
    {"header_checks = regexp:$config_directory/rules\n", "/^From:/ HOLD\n/^To:/ PREPEND X-To: yes\n",
     RIG_HEAD "\r\n", SCAN_FOUND, "HOLD", 1, 2},
    {"header_checks = regexp:$config_directory/rules\n", "/^From:/ REJECT one\n/^To:/ REJECT two\n",
     RIG_HEAD "\r\n", SCAN_FOUND, "REJECT one", 1, 1},
    {"header_checks = regexp:$config_directory/rules\n", "/^From:/ filter smtp:[192.0.2.9]:25\n",
     RIG_HEAD "\r\n", SCAN_FOUND, "filter smtp:[192.0.2.9]:25", 1, 1},
    {"header_checks = regexp:$config_directory/rules\n", "/^From: (.*)$/ REJECT you are $1\n",
     RIG_HEAD "\r\n", SCAN_FOUND, "REJECT you are ana@example.com", 1, 1},
    /* fields of parts and of MIME: mime_header_checks, which is header_checks unless set */
    {"header_checks = regexp:$config_directory/rules\n", "/^X-Part: yes/ REJECT part\n", MULTIPART,
     SCAN_FOUND, "REJECT part", 1, 1},
    {"header_checks = regexp:$config_directory/rules\n", "/^X-Part: this/ REJECT part\n", MULTIPART,
     SCAN_CLEAN, NULL, 0, 1},
    {"header_checks = regexp:$config_directory/rules\nmime_header_checks =\n",
     "/^(X-Part|Content-Type):/ REJECT\n", MULTIPART, SCAN_CLEAN, NULL, 0, 1},
    {"mime_header_checks = pcre:$config_directory/rules\n", "/name=\"?a\\.exe/ REJECT program\n", MULTIPART,
     SCAN_FOUND, "REJECT program", 1, 1},
    {"mime_header_checks = pcre:$config_directory/rules\n", "/^Subject/ REJECT\n", MULTIPART, SCAN_CLEAN,
     NULL, 0, 1},
    /* attached messages: nested_header_checks, but for fields of MIME */
    {"nested_header_checks = pcre:$config_directory/rules\n", "/^X-Inner: yes/ REJECT inner\n", NESTED,
     SCAN_FOUND, "REJECT inner", 1, 1},
    {"nested_header_checks = pcre:$config_directory/rules\n",
     "/^(Content-Type: text|Subject|X-Inner: body)/ REJECT\n", NESTED, SCAN_CLEAN, NULL, 0, 1},
    {"mime_header_checks = pcre:$config_directory/rules\n", "/^Content-Type: text.html/ REJECT html\n",
     NESTED, SCAN_FOUND, "REJECT html", 1, 1},
    /* what is beyond header_size_limit is not looked at */
    {"header_checks = pcre:$config_directory/rules\nheader_size_limit = 30\n", "/^Subject:.*end/ REJECT\n",
     "Subject: 0123456789 0123456789 end\r\n\r\n", SCAN_CLEAN, NULL, 0, 1},
    {"header_checks = pcre:$config_directory/rules\nheader_size_limit = 34\n", "/^Subject:.*end/ REJECT\n",
     "Subject: 0123456789 0123456789 end\r\n\r\n", SCAN_FOUND, "REJECT", 1, 1},
    /* a message without body, without header, with nothing that is a field */
    {"header_checks = pcre:$config_directory/rules\n", "/./ REJECT\n", "\r\nbody\r\n", SCAN_CLEAN, NULL, 0,
     1},
    {"header_checks = pcre:$config_directory/rules\n", "/hola/ REJECT\n", "Subject: hola", SCAN_FOUND,
     "REJECT", 1, 1},
};

static void
test_cases(struct rig *rig)
{
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct scan_report report;

        rig_write(rig, "rules", bytes_str(CASES[i].rules));
        rig_configure(rig, CASES[i].settings);
        int before = failures;
        CHECK(rig_scan(rig, SCANNER_HEADER_REGEXP, bytes_str(CASES[i].content), &report) == 0);
        CHECK(report.count == CASES[i].count && report.results[0].status == CASES[i].status);
        CHECK(bytes_equal(report.results[0].action, bytes_str(CASES[i].action)));
        CHECK(report.results[0].line == CASES[i].line);
        if (CASES[i].action != NULL) {
            CHECK(bytes_find(report.results[0].table, BYTES_LIT("/rules")) > 0 &&
                  report.results[0].found.n > 0);
        }
        if (failures != before) {
            (void)fprintf(stderr, "case %zu: %s: %.*s\n", i, CASES[i].rules,
                          BYTES_FMT(report.results[0].action));
        }
        arena_reset(rig->arena);
    }
}

/* More hits than a report holds: an error, so "not scanned", never clean. */
static void
test_many_hits(struct rig *rig)
{
    struct scan_report report;
    struct buf content;

    rig_write(rig, "rules", BYTES_LIT("/^X-/ PREPEND X-Y: z\n"));
    rig_configure(rig, "header_checks = regexp:$config_directory/rules\n");
    buf_init(&content, 65536);
    for (int i = 0; i < SCAN_RESULTS_MAX + 1; i++) {
        CHECK(buf_printf(&content, "X-%d: 1\r\n", i) == 0);
    }
    CHECK(buf_append_str(&content, "\r\n") == 0);
    CHECK(rig_scan(rig, SCANNER_HEADER_REGEXP, bytes_buf(&content), &report) == GW_ERR_FULL);
    buf_free(&content);
}

int
main(void)
{
    struct rig rig;

    rig_open(&rig, "");
    test_cases(&rig);
    test_many_hits(&rig);
    rig_close(&rig);
    return failures != 0;
}

/*
 * body_checks_test - line by line, per part, within the limits; part headers only on demand (the rules of
 * older guides).
 *
 * Shows of contract.tsv: D2 HBC2 HBC3 HBC8 HBC10 HBC12 PAR35 PAR59.
 */
#include "scanners/scan_rig.h"

enum { LONG_MAX = 200000 };

#define ATTACHMENT                                                                                       \
    RIG_HEAD "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n" \
             "Content-Type: application/octet-stream;\r\n\tname=\"Happy99.exe\"\r\n\r\nsecond "          \
             "segment\r\n--b--\r\n"
#define WORMS "/(filename|name)=\"(Happy99|Navidad)\\.exe\"/ REJECT worm\n"

static const struct {
    const char *settings, *rules, *content;
    const char *action; /* NULL: clean */
    unsigned line;
} CASES[] = {
    {"", "/x/ REJECT\n", RIG_HEAD "\r\nx\r\n", NULL, 0},
    {"body_checks = regexp:$config_directory/rules\n", "/keyword/ REJECT\n",
     RIG_HEAD "\r\na\r\nKEYWORD inside\r\n", "REJECT", 1},
    {"body_checks = regexp:$config_directory/rules\n", "/keyword/i REJECT\n",
     RIG_HEAD "\r\nKEYWORD inside\r\n", NULL, 0},
    {"body_checks = regexp:$config_directory/rules\n", "/keyword/i REJECT\n",
     RIG_HEAD "\r\nkeyword inside\r\n", "REJECT", 1},
    {"body_checks = regexp:$config_directory/rules\n", "/^Subject/ REJECT\n", RIG_HEAD "\r\nbody\r\n", NULL,
     0},
    {"body_checks = pcre:$config_directory/rules\n", "/one.two/ REJECT\n", RIG_HEAD "\r\none\r\ntwo\r\n",
     NULL, 0},
    {"body_checks = pcre:$config_directory/rules\n", "/^$/ REJECT\n", RIG_HEAD "\r\none\r\n\r\ntwo\r\n", NULL,
     0},
    {"body_checks = pcre:$config_directory/rules\n", "/^two$/ REJECT\n", RIG_HEAD "\r\none\r\ntwo", "REJECT",
     1},
    {"body_checks = regexp:$config_directory/no, pcre:$config_directory/rules\n",
     "/two/ REJECT second table\n", RIG_HEAD "\r\ntwo\r\n", "REJECT second table", 1},
    {"body_checks = pcre:$config_directory/rules\n", "/two/ WARN\n/one/ DUNNO\n", RIG_HEAD "\r\none two\r\n",
     NULL, 0},
    {"body_checks = pcre:$config_directory/rules\n", "/two/ HOLD\n", RIG_HEAD "\r\none two\r\n", "HOLD", 1},
    /* encoded text is not decoded */
    {"body_checks = pcre:$config_directory/rules\n", "/keyword/ REJECT\n",
     RIG_HEAD "Content-Transfer-Encoding: base64\r\n\r\na2V5d29yZA==\r\n", NULL, 0},
    /* a second part has a count of its own; what lies between parts is not lost */
    {"body_checks = pcre:$config_directory/rules\n", "/second segment/ REJECT\n", ATTACHMENT, "REJECT", 1},
    /* names of attachments */
    {"body_checks = regexp:$config_directory/rules\n", WORMS, ATTACHMENT, "REJECT worm", 1},
    {"body_checks = regexp:$config_directory/rules\nbody_checks_mime_headers = yes\n", WORMS, ATTACHMENT,
     "REJECT worm", 1},
    {"body_checks = regexp:$config_directory/rules\nbody_checks_mime_headers = no\n", WORMS, ATTACHMENT, NULL,
     0},
    {"body_checks = regexp:$config_directory/rules\n", "/Happy99/ REJECT\n", ATTACHMENT, NULL, 0},
    {"body_checks = pcre:$config_directory/rules\n", "/^\\s+(file)?name=\"?.+?\\.(exe|vbs)\\b/ REJECT\n",
     ATTACHMENT, "REJECT", 1},
};

static void
test_cases(struct rig *rig)
{
    rig_write(rig, "no", BYTES_LIT("/nothing of that/ REJECT\n"));
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct scan_report report;

        rig_write(rig, "rules", bytes_str(CASES[i].rules));
        rig_configure(rig, CASES[i].settings);
        int before = failures;
        CHECK(rig_scan(rig, SCANNER_BODY_REGEXP, bytes_str(CASES[i].content), &report) == 0);
        CHECK(report.count == 1);
        CHECK(report.results[0].status == (CASES[i].action != NULL ? SCAN_FOUND : SCAN_CLEAN));
        CHECK(bytes_equal(report.results[0].action, bytes_str(CASES[i].action)));
        CHECK(report.results[0].line == CASES[i].line);
        if (failures != before) {
            (void)fprintf(stderr, "case %zu: %s", i, CASES[i].rules);
        }
        arena_reset(rig->arena);
    }
}

/* `before` bytes of filling in short lines, or in one line, then "END". */
static enum scan_status
scan_filled(struct rig *rig, size_t before, bool one_line)
{
    struct scan_report report;
    struct buf content;

    buf_init(&content, LONG_MAX);
    CHECK(buf_append_str(&content, RIG_HEAD "\r\n") == 0);
    for (size_t i = 0; i < before; i++) {
        bool end_of_line = !one_line && i % 50 >= 48;

        CHECK(buf_append_byte(&content, !end_of_line ? 'a' : i % 50 == 48 ? '\r' : '\n') == 0);
    }
    CHECK(buf_append_str(&content, "END\r\n") == 0);
    CHECK(rig_scan(rig, SCANNER_BODY_REGEXP, bytes_buf(&content), &report) == 0 && report.count == 1);
    buf_free(&content);
    arena_reset(rig->arena);
    return report.results[0].status;
}

static void
test_limits(struct rig *rig)
{
    rig_write(rig, "rules", BYTES_LIT("/END/ REJECT\n"));
    rig_configure(rig, "body_checks = pcre:$config_directory/rules\n");
    CHECK(scan_filled(rig, 51200 - 3, false) == SCAN_FOUND);
    CHECK(scan_filled(rig, 51200 - 2, false) == SCAN_CLEAN);
    CHECK(scan_filled(rig, 51200, false) == SCAN_CLEAN);
    /* A line is looked at in pieces of line_length_limit. */
    rig_configure(rig, "body_checks = pcre:$config_directory/rules\nline_length_limit = 2048\n");
    CHECK(scan_filled(rig, 2045, true) == SCAN_FOUND);
    CHECK(scan_filled(rig, 2046, true) == SCAN_CLEAN);
    CHECK(scan_filled(rig, 2048, true) == SCAN_FOUND);
}

int
main(void)
{
    struct rig rig;

    rig_open(&rig, "");
    test_cases(&rig);
    test_limits(&rig);
    rig_close(&rig);
    return failures != 0;
}

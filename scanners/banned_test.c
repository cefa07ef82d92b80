/*
 * banned_test - the shipped rules against names as hostile senders write them.
 */
#include <fcntl.h>

#include "scanners/scan_rig.h"

enum { FILE_MAX = 65536, DEEP = 150, DEEP_MAX = 65536 };

static const struct {
    const char *part; /* header of the part, without the empty line */
    const char *found;
} CASES[] = {
    {"Content-Type: text/plain", NULL},
    {"Content-Type: application/pdf; name=\"invoice.pdf\"", NULL},
    {"Content-Type: application/zip; name=\"executive.zip\"", NULL},
    {"Content-Type: application/octet-stream; name=\"bill.exe\"", "bill.exe"},
    {"Content-Type: application/octet-stream; name=bill.exe", "bill.exe"},
    {"content-type: application/octet-stream; NAME=\"BILL.EXE\"", "BILL.EXE"},
    {"Content-Type: application/octet-stream;\r\n\tname=\"bill.exe\"", "bill.exe"},
    {"Content-Disposition: attachment; filename=\"bill.scr\"", "bill.scr"},
    {"Content-Type: image/png; name=\"a.png\"\r\nContent-Disposition: attachment; filename=\"bill.js\"",
     "bill.js"},
    {"Content-Disposition: attachment; filename*=utf-8''bill%2Eexe", "bill.exe"},
    {"Content-Disposition: attachment; filename*0=\"bi\"; filename*1=\"ll.exe\"", "bill.exe"},
    {"Content-Disposition: attachment; filename*0*=utf-8''bi; filename*1*=ll%2eexe", "bill.exe"},
    {"Content-Type: a/b; name=\"=?utf-8?B?YmlsbC5leGU=?=\"", "bill.exe"},
    {"Content-Type: a/b; name=\"=?utf-8?Q?bill=2Eexe?=\"", "bill.exe"},
    {"Content-Type: a/b; name=\"bill.exe \"", "bill.exe "},
    {"Content-Type: a/b; name=\"invoice.pdf                    .exe\"",
     "invoice.pdf                    .exe"},
    {"Content-Type: a/b; name=\"x.{12345678-1234-1234-1234-123456789abc}\"",
     "x.{12345678-1234-1234-1234-123456789abc}"},
    {"Content-Type: application/x-msdownload", "application/x-msdownload"},
    {"Content-Type: a/b; name=\"a\\\"b.exe\"", "a\"b.exe"},
    {"X-Other: name=\"bill.exe\"", NULL},
};

static void
copy_rules(const struct rig *rig)
{
    char text[FILE_MAX];
    int fd = open("rules/banned_names", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd == -1 ? -1 : read(fd, text, sizeof(text));

    CHECK(n > 0);
    rig_write(rig, "banned", bytes_of(text, n > 0 ? (size_t)n : 0));
    (void)close(fd);
}

static void
test_names(struct rig *rig)
{
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct scan_report report;
        struct buf content;
        int before = failures;

        buf_init(&content, FILE_MAX);
        CHECK(buf_printf(&content,
                         RIG_HEAD
                         "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
                         "Content-Type: text/plain\r\n\r\nhola\r\n--b\r\n%s\r\n\r\nMZ\r\n--b--\r\n",
                         CASES[i].part) == 0);
        CHECK(rig_scan(rig, SCANNER_BANNED, bytes_buf(&content), &report) == 0 && report.count == 1);
        CHECK(report.results[0].status == (CASES[i].found != NULL ? SCAN_FOUND : SCAN_CLEAN));
        CHECK(bytes_equal(report.results[0].found, bytes_str(CASES[i].found)));
        if (failures != before) {
            (void)fprintf(stderr, "case %zu: %s: %.*s\n", i, CASES[i].part,
                          BYTES_FMT(report.results[0].found));
        }
        buf_free(&content);
        arena_reset(rig->arena);
    }
}

/* Inside an attached message; too deep to be looked at; no tables. */
static void
test_depth(struct rig *rig)
{
    struct scan_report report;
    struct buf content;

    CHECK(rig_scan(rig, SCANNER_BANNED,
                   BYTES_LIT(RIG_HEAD "Content-Type: message/rfc822\r\n\r\nSubject: in\r\n"
                                      "Content-Type: a/b; name=bill.exe\r\n\r\nMZ\r\n"),
                   &report) == 0);
    CHECK(report.count == 1 && report.results[0].status == SCAN_FOUND);
    buf_init(&content, DEEP_MAX);
    for (int i = 0; i < DEEP; i++) {
        CHECK(buf_append_str(&content, "Content-Type: message/rfc822\r\n\r\n") == 0);
    }
    CHECK(buf_append_str(&content, "Content-Type: a/b; name=bill.exe\r\n\r\nMZ\r\n") == 0);
    CHECK(rig_scan(rig, SCANNER_BANNED, bytes_buf(&content), &report) == 0);
    CHECK(report.count == 1 && report.results[0].status == SCAN_TEMPFAIL && report.results[0].detail.n > 0);
    rig_configure(rig, "banned_name_checks =\n");
    CHECK(rig_scan(rig, SCANNER_BANNED, bytes_buf(&content), &report) == 0);
    CHECK(report.count == 1 && report.results[0].status == SCAN_CLEAN);
    buf_free(&content);
}

int
main(void)
{
    struct rig rig;

    rig_open(&rig, "");
    copy_rules(&rig);
    rig_configure(&rig, "banned_name_checks = pcre:$config_directory/banned\n");
    test_names(&rig);
    test_depth(&rig);
    rig_close(&rig);
    return failures != 0;
}

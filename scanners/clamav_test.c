/*
 * clamav_test - finds what it should, says "not scanned" when it cannot look, tells of limits, sees new
 * signatures.
 *
 * Shows of contract.tsv: SCN1.
 */
#include <signal.h>
#include <sys/resource.h>

#include "scanners/clamav_canary.h"
#include "scanners/scan_rig.h"

enum { ZIP_MAX = 1000000, NESTED = 4, LARGE = 400000, ROOM = 65536 };

static void
write_signature(const struct rig *rig, const char *file, const char *name, const char *text)
{
    struct buf line;

    buf_init(&line, 4096);
    CHECK(buf_printf(&line, "%s:0:*:", name) == 0);
    for (const char *p = text; *p != '\0'; p++) {
        CHECK(buf_printf(&line, "%02x", (unsigned char)*p) == 0);
    }
    CHECK(buf_append_byte(&line, '\n') == 0);
    rig_write(rig, file, bytes_buf(&line));
    buf_free(&line);
}

/* `levels` zips around the text. */
static void
zip(struct bytes text, int levels, struct buf *out)
{
    struct buf inner;

    buf_init(&inner, ZIP_MAX);
    CHECK(buf_append_bytes(&inner, text) == 0);
    for (int i = 0; i < levels; i++) {
        buf_clear(out);
        CHECK(clamav_canary_zip_of(bytes_buf(&inner), out) == 0);
        buf_clear(&inner);
        CHECK(buf_append_bytes(&inner, bytes_buf(out)) == 0);
    }
    buf_free(&inner);
}

/* One look; the only result. */
static struct scan_result
look(struct rig *rig, struct rig_scanner *clamav, struct bytes content)
{
    struct scan_report report;

    CHECK(rig_look(rig, clamav, content, &report) == 0 && report.count == 1);
    return report.results[0];
}

static void
test_findings(struct rig *rig)
{
    struct rig_scanner clamav;
    struct buf zipped;

    buf_init(&zipped, ZIP_MAX);
    CHECK(rig_load(rig, SCANNER_CLAMAV, &clamav) == 0);
    struct scan_result result = look(rig, &clamav, BYTES_LIT(RIG_HEAD "\r\nhola\r\n"));
    CHECK(result.status == SCAN_CLEAN && result.found.n == 0);
    result = look(rig, &clamav, BYTES_LIT(RIG_HEAD "\r\n" RIG_EICAR "\r\n"));
    CHECK(result.status == SCAN_FOUND && bytes_equal(result.found, BYTES_LIT("Test.Eicar.UNOFFICIAL")));
    zip(BYTES_LIT(RIG_EICAR), NESTED, &zipped);
    result = look(rig, &clamav, bytes_buf(&zipped));
    CHECK(result.status == SCAN_FOUND && bytes_equal(result.found, BYTES_LIT("Test.Eicar.UNOFFICIAL")));
    /* The same twice: what was found once is not cached as clean, nor the reverse. */
    result = look(rig, &clamav, bytes_buf(&zipped));
    CHECK(result.status == SCAN_FOUND);
    result = look(rig, &clamav, BYTES_LIT(RIG_HEAD "\r\nhola\r\n"));
    CHECK(result.status == SCAN_CLEAN);
    rig_unload(&clamav);
    buf_free(&zipped);
}

/* A zip that was never seen: libclamav remembers what was clean. */
static struct scan_result
look_at_fresh_zip(struct rig *rig, struct rig_scanner *clamav, int number)
{
    struct buf zipped;
    char text[32];

    buf_init(&zipped, ZIP_MAX);
    (void)snprintf(text, sizeof(text), "nothing %d", number);
    zip(bytes_str(text), 2, &zipped);
    struct scan_result result = look(rig, clamav, bytes_buf(&zipped));
    buf_free(&zipped);
    return result;
}

/* Where scanners unpack is gone, then there again: never clean in between. */
static void
test_no_temporary(struct rig *rig)
{
    struct rig_scanner clamav;
    char place[128], away[128];

    (void)snprintf(place, sizeof(place), "%s/unpack", rig->directory);
    (void)snprintf(away, sizeof(away), "%s/away", rig->directory);
    CHECK(mkdir(place, 0700) == 0 && setenv("TMPDIR", place, 1) == 0);
    CHECK(rig_load(rig, SCANNER_CLAMAV, &clamav) == 0);
    CHECK(look_at_fresh_zip(rig, &clamav, 0).status == SCAN_CLEAN);
    CHECK(rename(place, away) == 0);
    for (int i = 1; i < 3; i++) {
        struct scan_result result = look_at_fresh_zip(rig, &clamav, i);

        CHECK(result.status == SCAN_NOT_SCANNED && result.detail.n > 0);
        (void)fprintf(stderr, "without a directory: %.*s\n", BYTES_FMT(result.detail));
        /* Nothing is believed now, not even what needs no unpacking. */
        CHECK(look(rig, &clamav, BYTES_LIT(RIG_HEAD "\r\nhola\r\n")).status == SCAN_NOT_SCANNED);
    }
    CHECK(rename(away, place) == 0);
    CHECK(look_at_fresh_zip(rig, &clamav, 3).status == SCAN_CLEAN);
    CHECK(look(rig, &clamav, BYTES_LIT(RIG_HEAD "\r\nhola\r\n")).status == SCAN_CLEAN);
    rig_unload(&clamav);
    CHECK(setenv("TMPDIR", rig->directory, 1) == 0);
}

/* No room to unpack: a member larger than what may be written. */
static void
test_no_room(struct rig *rig)
{
    struct rig_scanner clamav;
    struct rlimit before, small;
    struct buf zipped, large;

    buf_init(&zipped, ZIP_MAX);
    buf_init(&large, LARGE);
    while (buf_append_str(&large, "0123456789abcdef") == 0) {
    }
    zip(bytes_buf(&large), 1, &zipped);
    CHECK(rig_load(rig, SCANNER_CLAMAV, &clamav) == 0);
    CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR && getrlimit(RLIMIT_FSIZE, &before) == 0);
    small = (struct rlimit){.rlim_cur = ROOM, .rlim_max = before.rlim_max};
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    struct scan_result result = look(rig, &clamav, bytes_buf(&zipped));
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK(result.status == SCAN_NOT_SCANNED && result.detail.n > 0);
    (void)fprintf(stderr, "without room: %.*s\n", BYTES_FMT(result.detail));
    CHECK(look(rig, &clamav, bytes_buf(&zipped)).status == SCAN_CLEAN);
    rig_unload(&clamav);
    buf_free(&zipped);
    buf_free(&large);
}

static void
test_limits(struct rig *rig, const char *database)
{
    static const struct {
        const char *action;
        enum scan_status status;
    } CASES[] = {{"tempfail", SCAN_TEMPFAIL}, {"virus", SCAN_FOUND}, {"clean", SCAN_CLEAN}};
    struct buf zipped;
    char settings[512];

    buf_init(&zipped, ZIP_MAX);
    zip(BYTES_LIT("nothing"), NESTED, &zipped);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct rig_scanner clamav;

        (void)snprintf(settings, sizeof(settings), "%sclamav_max_recursion = 3\nclamav_limit_action = %s\n",
                       database, CASES[i].action);
        rig_configure(rig, settings);
        CHECK(rig_load(rig, SCANNER_CLAMAV, &clamav) == 0);
        struct scan_result result = look(rig, &clamav, bytes_buf(&zipped));
        CHECK(result.status == CASES[i].status);
        CHECK(bytes_find(result.detail, BYTES_LIT("MaxRecursion")) > 0);
        rig_unload(&clamav);
    }
    rig_configure(rig, database);
    buf_free(&zipped);
}

static void
test_change(struct rig *rig)
{
    struct rig_scanner clamav;
    const struct scanner *row = SCANNERS[SCANNER_CLAMAV];

    CHECK(rig_load(rig, SCANNER_CLAMAV, &clamav) == 0);
    CHECK(!row->has_new_data(rig->config, clamav.shared));
    write_signature(rig, "signatures/b.ndb", "Test.New", "entirely new and bad");
    CHECK(row->has_new_data(rig->config, clamav.shared));
    CHECK(!row->has_new_data(rig->config, clamav.shared));
    CHECK(look(rig, &clamav, BYTES_LIT(RIG_HEAD "\r\nentirely new and bad\r\n")).status == SCAN_CLEAN);
    rig_unload(&clamav);
    CHECK(rig_load(rig, SCANNER_CLAMAV, &clamav) == 0);
    CHECK(look(rig, &clamav, BYTES_LIT(RIG_HEAD "\r\nentirely new and bad\r\n")).status == SCAN_FOUND);
    rig_unload(&clamav);
}

/* Empty: refused, or the fallback. Broken: refused. */
static void
test_databases(struct rig *rig, const char *database)
{
    struct rig_scanner clamav;
    char settings[512];

    rig_configure(rig, "");
    CHECK(rig_load(rig, SCANNER_CLAMAV, &clamav) == GW_ERR_CONFIG);
    rig_unload(&clamav);
    (void)snprintf(settings, sizeof(settings), "clamav_fallback_database_directory = %s/signatures\n",
                   rig->directory);
    rig_configure(rig, settings);
    CHECK(rig_load(rig, SCANNER_CLAMAV, &clamav) == 0);
    CHECK(look(rig, &clamav, BYTES_LIT(RIG_HEAD "\r\n" RIG_EICAR "\r\n")).status == SCAN_FOUND);
    rig_unload(&clamav);
    rig_configure(rig, database);
    rig_write(rig, "signatures/c.ndb", BYTES_LIT("no signature\n"));
    CHECK(rig_load(rig, SCANNER_CLAMAV, &clamav) == GW_ERR_CONFIG);
    rig_unload(&clamav);
}

int
main(void)
{
    struct rig rig;
    char path[128], database[256];

    rig_open(&rig, "");
    (void)snprintf(path, sizeof(path), "%s/signatures", rig.directory);
    (void)snprintf(database, sizeof(database), "clamav_database_directory = %s/signatures\n", rig.directory);
    CHECK(mkdir(path, 0700) == 0 && setenv("TMPDIR", rig.directory, 1) == 0);
    write_signature(&rig, "signatures/a.ndb", "Test.Eicar", RIG_EICAR);
    rig_configure(&rig, database);
    test_findings(&rig);
    test_no_temporary(&rig);
    test_no_room(&rig);
    test_limits(&rig, database);
    test_change(&rig);
    test_databases(&rig, database);
    rig_close(&rig);
    return failures != 0;
}

/*
 * scanner_test - a report survives the way out of the sandbox; what does not decode wholly is refused.
 */
#include "scanners/scan_rig.h"

static void
fill(struct scan_report *report)
{
    *report = (struct scan_report){.elapsed_us = 12345};
    for (size_t i = 0; i < SCAN_RESULTS_MAX; i++) {
        struct scan_result *result = scan_report_add(report, (enum scanner_id)(i % SCANNER_COUNT));

        CHECK(result != NULL && result->status == SCAN_NOT_SCANNED);
        *result = (struct scan_result){.scanner = (enum scanner_id)(i % SCANNER_COUNT),
                                       .status = (enum scan_status)(i % (SCAN_SKIPPED + 1)),
                                       .found = BYTES_LIT("Win.Test.EICAR"),
                                       .detail = BYTES_LIT("why"),
                                       .elapsed_us = (int64_t)i,
                                       .action = BYTES_LIT("REJECT so"),
                                       .table = BYTES_LIT("regexp:/etc/x"),
                                       .line = (uint32_t)i,
                                       .auth = (uint8_t)(i % (AUTH_PERMERROR + 1)),
                                       .domain = BYTES_LIT("example.com"),
                                       .selector = BYTES_LIT("s1"),
                                       .second_opinion = BYTES_LIT("pass"),
                                       .score_milli = -(int32_t)i * 1000,
                                       .threshold_milli = 5000};
    }
    CHECK(scan_report_add(report, SCANNER_CLAMAV) == NULL);
}

static bool
is_same(const struct scan_result *a, const struct scan_result *b)
{
    return a->scanner == b->scanner && a->status == b->status && bytes_equal(a->found, b->found) &&
           bytes_equal(a->detail, b->detail) && a->elapsed_us == b->elapsed_us &&
           bytes_equal(a->action, b->action) && bytes_equal(a->table, b->table) && a->line == b->line &&
           a->auth == b->auth && bytes_equal(a->domain, b->domain) && bytes_equal(a->selector, b->selector) &&
           bytes_equal(a->second_opinion, b->second_opinion) && a->score_milli == b->score_milli &&
           a->threshold_milli == b->threshold_milli;
}

static void
test_round_trip(struct arena *arena)
{
    static struct scan_report report, back;
    struct buf packed;

    fill(&report);
    buf_init(&packed, 1024 * 1024);
    CHECK(scan_report_pack(&packed, &report) == 0);
    CHECK(scan_report_unpack(arena, bytes_buf(&packed), &back) == 0);
    CHECK(back.count == report.count && back.elapsed_us == report.elapsed_us);
    for (size_t i = 0; i < report.count; i++) {
        CHECK(is_same(&report.results[i], &back.results[i]));
    }
    for (size_t n = 0; n < packed.n; n++) {
        /* In memory of exactly that length, so that AddressSanitizer sees a read behind it. */
        uint8_t *cut = malloc(n > 0 ? n : 1);
        CHECK(cut != NULL);
        memcpy(cut, packed.p, n);
        CHECK(scan_report_unpack(arena, bytes_of(cut, n), &back) != 0 && back.count == 0);
        free(cut);
        arena_reset(arena);
    }
    CHECK(buf_append_byte(&packed, 0) == 0);
    CHECK(scan_report_unpack(arena, bytes_buf(&packed), &back) != 0);
    buf_free(&packed);
}

/* Numbers that no scanner, status or result has. */
static void
test_numbers(struct arena *arena)
{
    struct scan_report report = {0}, back;
    struct buf packed;
    size_t auth_at = 12 + 1 + 1 + 8 + 4;

    (void)scan_report_add(&report, SCANNER_SPF);
    buf_init(&packed, 4096);
    CHECK(scan_report_pack(&packed, &report) == 0);
    CHECK(scan_report_unpack(arena, bytes_buf(&packed), &back) == 0);
    CHECK(packed.p[12] == SCANNER_SPF && packed.p[13] == SCAN_NOT_SCANNED && packed.p[auth_at] == AUTH_NONE);
    for (size_t i = 0; i < 3; i++) {
        const size_t at[] = {12, 13, auth_at};
        const uint8_t beyond[] = {SCANNER_COUNT, SCAN_SKIPPED + 1, AUTH_PERMERROR + 1};
        uint8_t before = packed.p[at[i]];

        packed.p[at[i]] = beyond[i];
        CHECK(scan_report_unpack(arena, bytes_buf(&packed), &back) == GW_ERR_SYNTAX);
        packed.p[at[i]] = before;
    }
    buf_free(&packed);
}

static void
test_names(void)
{
    for (size_t i = 0; i < SCANNER_COUNT; i++) {
        CHECK(SCANNERS[i] != NULL && SCANNERS[i]->id == (enum scanner_id)i && SCANNERS[i]->scan != NULL);
        CHECK(scanner_by_name(bytes_str(SCANNERS[i]->name)) == SCANNERS[i]);
    }
    CHECK(scanner_by_name(BYTES_LIT("clam")) == NULL && scanner_by_name((struct bytes){0}) == NULL);
    CHECK(strcmp(auth_result_word(AUTH_PASS), "pass") == 0);
    CHECK(strcmp(auth_result_word((enum auth_result)99), "temperror") == 0);
}

int
main(void)
{
    struct arena *arena = arena_new(RIG_ARENA);

    CHECK(arena != NULL && IPC_RULES[0].type != 0);
    test_round_trip(arena);
    test_numbers(arena);
    test_names();
    arena_free(&arena);
    return failures != 0;
}

/*
 * evidence_test - what is written is read back; what does not fit is counted; cut and damaged records are
 * refused.
 */
#include "policy/evidence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

static int failures;
#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

static const struct {
    enum evidence_kind kind;
    const char *subject, *key, *value, *detail;
    int64_t number;
} CASES[] = {
    {EV_CONNECT, "mail.example.com[192.0.2.1]:4711", "", "", "smtp", 0},
    {EV_LOOKUP, "hash:/etc/postfix/access", "example.com", "REJECT no", "", 12},
    {EV_SCAN, "clamav", "", "found", "Win.Test.EICAR_HDB-1", 1234567},
    {EV_VERDICT, "reject", "QID", "5.7.1 Message content rejected", "clamav", -550},
    {EV_NOTE, "", "", "", "", INT64_MIN},
    {EV_NOTE, "", "", "", "", INT64_MAX},
    {EV_NOTE, "", "", "", "", -1},
};
enum { CASE_COUNT = sizeof(CASES) / sizeof(CASES[0]) };

static bool
is_text(struct bytes v, const char *text)
{
    return bytes_equal(v, bytes_str(text));
}

static void
add_cases(struct evidence *evidence)
{
    for (size_t i = 0; i < CASE_COUNT; i++) {
        evidence_add(evidence, CASES[i].kind, bytes_str(CASES[i].subject), bytes_str(CASES[i].key),
                     bytes_str(CASES[i].value), bytes_str(CASES[i].detail), CASES[i].number);
    }
}

static void
test_round_trip(void)
{
    struct evidence evidence = {0};
    struct evidence_head head;
    struct evidence_event event;
    int64_t last = 0;
    size_t i = 0;

    CHECK(evidence_begin(&evidence, "4bXyZ0123456789", "receive") == 0);
    add_cases(&evidence);
    struct bytes rest = bytes_buf(&evidence.record);
    CHECK(evidence_read_head(&rest, &head) == 0);
    CHECK(strcmp(head.ident, "4bXyZ0123456789") == 0 && strcmp(head.role, "receive") == 0 &&
          head.dropped == 0);
    CHECK(head.wall_us > clock_wall_us() - 10000000 && head.wall_us <= clock_wall_us());
    int r;
    for (; (r = evidence_read_event(&rest, &event)) == 1 && i < CASE_COUNT; i++) {
        CHECK(event.kind == CASES[i].kind && event.number == CASES[i].number);
        CHECK(is_text(event.subject, CASES[i].subject) && is_text(event.key, CASES[i].key));
        CHECK(is_text(event.value, CASES[i].value) && is_text(event.detail, CASES[i].detail));
        CHECK(event.offset_us >= last);
        last = event.offset_us;
    }
    CHECK(r == 0 && i == CASE_COUNT);
    /* Every shorter record is refused or ends after a whole event, and is never read beyond its end. */
    for (size_t n = 0; n < evidence.record.n; n++) {
        uint8_t *copy = malloc(n + 1);
        memcpy(copy, evidence.record.p, n);
        rest = bytes_of(copy, n);
        i = 0;
        if (evidence_read_head(&rest, &head) == 0) {
            while ((r = evidence_read_event(&rest, &event)) == 1) {
                i++;
            }
            CHECK(i < CASE_COUNT && (r == 0 || r == GW_ERR_SYNTAX));
        }
        free(copy);
    }
    evidence_free(&evidence);
    evidence_free(&evidence);
    evidence_add(NULL, EV_NOTE, (struct bytes){0}, (struct bytes){0}, (struct bytes){0}, (struct bytes){0},
                 0);
}

static size_t
count_kind(const struct evidence *evidence, uint8_t kind, struct evidence_head *head_r)
{
    struct bytes rest = bytes_buf(&evidence->record);
    struct evidence_event event;
    size_t count = 0;
    int r;

    CHECK(evidence_read_head(&rest, head_r) == 0);
    while ((r = evidence_read_event(&rest, &event)) == 1) {
        count += event.kind == kind ? 1 : 0;
        CHECK(event.detail.n <= EVIDENCE_TEXT_MAX);
    }
    CHECK(r == 0);
    return count;
}

/* A client that says 10,000 long commands fills its record, but the verdict still finds room. */
static void
test_limits(void)
{
    struct evidence evidence = {0};
    struct evidence_head head;
    static uint8_t text[5000];

    memset(text, 'x', sizeof(text));
    CHECK(evidence_begin(&evidence, "a name that is much longer than thirty-two bytes",
                         "a role too long for it") == 0);
    for (int i = 0; i < 10000; i++) {
        evidence_add(&evidence, EV_COMMAND, BYTES_LIT("NOOP"), (struct bytes){0}, BYTES_LIT("250"),
                     bytes_of(text, sizeof(text)), 250);
    }
    size_t full = evidence.record.n;
    evidence_add(&evidence, EV_VERDICT, BYTES_LIT("accept"), (struct bytes){0}, (struct bytes){0},
                 (struct bytes){0}, 0);
    CHECK(evidence.record.n > full && evidence.record.n <= EVIDENCE_RECORD_MAX);
    size_t kept = count_kind(&evidence, EV_COMMAND, &head);
    CHECK(kept > 30 && kept + head.dropped == 10000 && head.dropped == evidence.dropped);
    CHECK(strlen(head.ident) == sizeof(head.ident) - 1 && strlen(head.role) == sizeof(head.role) - 1);
    CHECK(count_kind(&evidence, EV_VERDICT, &head) == 1);
    for (int i = 0; i < 1000; i++) {
        evidence_add(&evidence, EV_SCAN, BYTES_LIT("x"), (struct bytes){0}, (struct bytes){0},
                     bytes_of(text, sizeof(text)), 0);
    }
    CHECK(evidence.record.n <= EVIDENCE_RECORD_MAX);
    evidence_free(&evidence);
}

/* Screen's events are appended to the session's record as bytes. */
static void
test_append(void)
{
    struct evidence screen = {0}, session = {0};
    struct evidence_head head;

    CHECK(evidence_begin(&screen, "s", "screen") == 0 && evidence_begin(&session, "s", "receive") == 0);
    add_cases(&screen);
    struct bytes events = bytes_buf(&screen.record);
    CHECK(evidence_read_head(&events, &head) == 0);
    CHECK(buf_append_bytes(&session.record, events) == 0);
    evidence_add(&session, EV_SCREEN, BYTES_LIT("pregreet"), (struct bytes){0}, BYTES_LIT("pass"),
                 (struct bytes){0}, 0);
    CHECK(count_kind(&session, EV_NOTE, &head) == 3 && count_kind(&session, EV_SCREEN, &head) == 1);
    CHECK(strcmp(head.role, "receive") == 0);
    evidence_free(&screen);
    evidence_free(&session);
}

static void
test_damage(void)
{
    struct evidence evidence = {0};
    struct evidence_head head;
    struct evidence_event event;

    CHECK(evidence_begin(&evidence, "damage", "relay") == 0);
    add_cases(&evidence);
    for (size_t at = 0; at < evidence.record.n; at++) {
        for (unsigned flip = 1; flip < 256; flip <<= 1) {
            evidence.record.p[at] ^= (uint8_t)flip;
            struct bytes rest = bytes_buf(&evidence.record);
            if (evidence_read_head(&rest, &head) == 0) {
                size_t turns = 0;
                while (evidence_read_event(&rest, &event) == 1) {
                    turns++;
                }
                CHECK(turns <= evidence.record.n);
            }
            evidence.record.p[at] ^= (uint8_t)flip;
        }
    }
    evidence.record.p[0] = EVIDENCE_VERSION + 1;
    struct bytes rest = bytes_buf(&evidence.record);
    CHECK(evidence_read_head(&rest, &head) == GW_ERR_SYNTAX);
    /* An 11-byte varint, and one of more than 64 bits. */
    rest = bytes_of("\0\x0d\x01\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\0", 15);
    CHECK(evidence_read_event(&rest, &event) == GW_ERR_SYNTAX);
    rest = bytes_of("\0\x10\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\0", 18);
    CHECK(evidence_read_event(&rest, &event) == GW_ERR_SYNTAX);
    evidence_free(&evidence);
}

static void
write_seed(const char *path)
{
    struct evidence evidence = {0};
    FILE *file = fopen(path, "wb");

    CHECK(evidence_begin(&evidence, "4bXyZ0123456789", "receive") == 0);
    add_cases(&evidence);
    CHECK(file != NULL && fwrite(evidence.record.p, 1, evidence.record.n, file) == evidence.record.n);
    if (file != NULL) {
        (void)fclose(file);
    }
    evidence_free(&evidence);
}

int
main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "seed") == 0) {
        write_seed(argv[2]); /* how test-corpus/fuzz/evidence was made */
        return failures != 0;
    }
    test_round_trip();
    test_limits();
    test_append();
    test_damage();
    CHECK(strcmp(evidence_kind_name(EV_SCAN), "scan") == 0 &&
          strcmp(evidence_kind_name(200), "unknown") == 0);
    for (uint8_t kind = 0; kind < EV_KINDS; kind++) {
        CHECK(strcmp(evidence_kind_name(kind), "unknown") != 0);
    }
    return failures != 0;
}

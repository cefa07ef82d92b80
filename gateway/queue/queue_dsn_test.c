/*
 * queue_dsn_test - notifications: the parts a reader looks for, and peers' words that try to add headers or
 * parts.
 *
 * Shows of contract.tsv: NOT9.
 */
#include "queue/queue_dsn.h"

#include <stdio.h>
#include <string.h>

#include "queue/queue_private.h"

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

static struct envelope *
make_envelope(const char *sender)
{
    struct envelope *envelope = envelope_new();

    (void)snprintf(envelope->queue_id, sizeof(envelope->queue_id), "3ABC");
    (void)envelope_set_sender(envelope, bytes_str(sender));
    (void)envelope_add_recipient(envelope, BYTES_LIT("x@far.test"), BYTES_LIT("list@here.test"),
                                 NOTIFY_DEFAULT, (struct bytes){0});
    (void)envelope_add_recipient(envelope, BYTES_LIT("\xc3\xa4@far.test"), (struct bytes){0}, NOTIFY_DEFAULT,
                                 BYTES_LIT("rfc822;orig+40far.test"));
    envelope->arrival_us = 1795250497LL * 1000000;
    envelope->dsn_envid = BYTES_LIT("envelope-1");
    return envelope;
}

static void
write_dsn(struct buf *out, enum queue_notice kind, struct bytes reply, struct bytes content, bool is_whole)
{
    struct envelope *envelope = make_envelope("a@example.test");
    struct queue_dsn_recipient told[2];
    struct queue_dsn dsn = {
        .kind = kind,
        .original = envelope,
        .queue_id = "3DSN",
        .to = "a@example.test",
        .myhostname = "gate.test",
        .mail_name = "Estafeta",
        .now_s = 1795250500,
        .give_up_s = 1795682497,
        .recipients = told,
        .count = 2,
        .content = content,
        .is_whole = is_whole,
    };

    for (size_t i = 0; i < 2; i++) {
        told[i] = (struct queue_dsn_recipient){
            .recipient = &envelope->recipients[i],
            .action = kind == QUEUE_NOTICE_BOUNCE ? "failed" : "delayed",
            .dsn = "5.1.1",
            .reply = reply,
            .remote_mta = BYTES_LIT("mx.far.test"),
        };
    }
    CHECK(queue_dsn_write(out, &dsn) == 0);
    envelope_free(&envelope);
}

static bool
has(const struct buf *out, const char *needle)
{
    return bytes_find(bytes_buf(out), bytes_str(needle)) >= 0;
}

static size_t
count_of(const struct buf *out, const char *needle)
{
    struct bytes rest = bytes_buf(out);
    size_t count = 0;
    ptrdiff_t at;

    while ((at = bytes_find(rest, bytes_str(needle))) >= 0) {
        count++;
        rest = bytes_sub(rest, (size_t)at + 1, rest.n);
    }
    return count;
}

/* Every line ends in CRLF and is short enough for SMTP (RFC 5321 section 4.5.3.1.6). */
static void
check_lines(const struct buf *out)
{
    size_t start = 0;

    for (size_t i = 0; i < out->n; i++) {
        if (out->p[i] == '\n') {
            CHECK(i > 0 && out->p[i - 1] == '\r');
            CHECK(i - start < 998);
            start = i + 1;
        }
        CHECK(out->p[i] != 0);
    }
    CHECK(start == out->n);
}

static void
test_bounce(void)
{
    struct buf out;

    buf_init(&out, 1024 * 1024);
    write_dsn(&out, QUEUE_NOTICE_BOUNCE,
              BYTES_LIT("host mx.far.test[192.0.2.1] said: 550 5.1.1 unknown (in reply to RCPT TO command)"),
              BYTES_LIT("Subject: s\r\n\r\nbody without end"), true);
    check_lines(&out);
    CHECK(has(&out, "From: MAILER-DAEMON@gate.test (Mail Delivery System)\r\n"));
    CHECK(has(&out, "To: a@example.test\r\nAuto-Submitted: auto-replied\r\n"));
    CHECK(has(&out, "Content-Type: multipart/report; report-type=delivery-status;\r\n"));
    CHECK(has(&out, "\r\nReporting-MTA: dns; gate.test\r\nOriginal-Envelope-Id: envelope-1\r\n"));
    CHECK(has(&out, "Final-Recipient: rfc822; x@far.test\r\nOriginal-Recipient: rfc822; list@here.test\r\n"
                    "Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.far.test\r\n"
                    "Diagnostic-Code: smtp; 550 5.1.1 unknown\r\n"));
    CHECK(has(&out,
              "Final-Recipient: utf-8; \xc3\xa4@far.test\r\nOriginal-Recipient: rfc822;orig+40far.test\r\n"));
    CHECK(has(&out, "Content-Type: message/rfc822\r\n"));
    CHECK(has(&out, "body without end\r\n\r\n--"));
    CHECK(count_of(&out, "\r\n--3DSN.1795250500/gate.test") == 4); /* three parts and the end */
    CHECK(!has(&out, "Will-Retry-Until"));
    buf_free(&out);
}

static void
test_delay(void)
{
    struct buf out;

    buf_init(&out, 1024 * 1024);
    write_dsn(&out, QUEUE_NOTICE_DELAY, BYTES_LIT("connect to mx: refused"), BYTES_LIT("Subject: s\r\n"),
              false);
    check_lines(&out);
    CHECK(has(&out, "Subject: Delayed Mail (still being retried)\r\n"));
    CHECK(has(&out, "Will-Retry-Until: "));
    CHECK(has(&out, "Content-Type: text/rfc822-headers\r\n"));
    CHECK(has(&out, "Diagnostic-Code: X-Postfix; connect to mx: refused\r\n"));
    buf_free(&out);
}

static void
test_hostile_words(void)
{
    uint8_t words[3000];
    struct buf out;

    buf_init(&out, 1024 * 1024);
    write_dsn(
        &out, QUEUE_NOTICE_BOUNCE,
        BYTES_LIT("said: 550 x\r\nStatus: 2.0.0\r\n\r\n--3DSN.1795250500/gate.test--\r\nBcc: v@example.test"),
        BYTES_LIT("Subject: s\r\n\r\n"), true);
    check_lines(&out);
    CHECK(!has(&out, "\r\nStatus: 2.0.0"));
    CHECK(!has(&out, "\r\nBcc:"));
    CHECK(count_of(&out, "\r\n--3DSN.1795250500/gate.test") == 4);
    buf_free(&out);
    /* Every byte there is, and words as long as the store keeps: folded or not, no line may break SMTP's
     * limit. */
    for (size_t i = 0; i < sizeof(words); i++) {
        words[i] = (uint8_t)(i % 256);
    }
    buf_init(&out, 1024 * 1024);
    write_dsn(&out, QUEUE_NOTICE_BOUNCE, bytes_of(words, QUEUE_REPLY_MAX), (struct bytes){0}, false);
    check_lines(&out);
    buf_free(&out);
    memset(words, 'x', sizeof(words));
    buf_init(&out, 1024 * 1024);
    write_dsn(&out, QUEUE_NOTICE_BOUNCE, bytes_of(words, QUEUE_REPLY_MAX), (struct bytes){0}, false);
    check_lines(&out);
    buf_free(&out);
}

static void
test_delays(void)
{
    static const struct {
        int64_t us;
        const char *text;
    } CASES[] = {
        {0, "0"},         {-5, "0"},        {4999, "0"},      {5000, "0.01"},       {50000, "0.05"},
        {100000, "0.1"},  {123456, "0.12"}, {996000, "1"},    {1000000, "1"},       {1234567, "1.2"},
        {9949999, "9.9"}, {9960000, "10"},  {12345678, "12"}, {3600000000, "3600"},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        char text[32];

        queue_log_delay(CASES[i].us, text, sizeof(text));
        if (strcmp(text, CASES[i].text) != 0) {
            (void)fprintf(stderr, "%lld us: %s, not %s\n", (long long)CASES[i].us, text, CASES[i].text);
            failures++;
        }
    }
}

int
main(void)
{
    CHECK(IPC_RULES[0].type != 0); /* and so the linker takes the table */
    test_bounce();
    test_delay();
    test_hostile_words();
    test_delays();
    return failures != 0;
}

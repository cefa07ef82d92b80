/*
 * notice_test - a thousand equal events are one mail with a count; classes, budgets, digests, hostile bytes.
 *
 * Shows of contract.tsv: NOT1 NOT8 PAR14.
 */
#include "policy/notice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static int failures;
#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

static const int64_t START = 1700000000LL * 1000000;
static const int64_t S = 1000000;

static struct notices *
make(const char *classes)
{
    struct notice_settings settings = {
        .classes = notice_classes(classes), .interval_s = 60, .mail_name = "Postfix"};

    for (size_t i = 0; i < NOTICE_CLASSES; i++) {
        settings.recipients[i] = i == NOTICE_DELAY ? "delay@example.com" : "postmaster@example.com";
    }
    return notices_new(&settings);
}

static void
add(struct notices *notices, enum notice_class class, const char *key, const char *text, int64_t now_us)
{
    struct wire_notice notice = {.class = (uint8_t) class, .text = bytes_str(text)};

    (void)snprintf(notice.key, sizeof(notice.key), "%s", key);
    notices_add(notices, &notice, now_us);
}

/* All mails that are due: how many, and how many events they tell of. */
static size_t
take_all(struct notices *notices, int64_t now_us, uint64_t *events_r)
{
    struct notice_mail mail;
    size_t count = 0;

    *events_r = 0;
    while (notices_take(notices, now_us, &mail) == 1) {
        count++;
        *events_r += mail.events;
        notice_mail_free(&mail);
    }
    return count;
}

static void
test_grouping(void)
{
    struct notices *notices = make("resource, software");
    struct notice_mail mail;
    uint64_t events;

    CHECK(notices_due_us(notices, START) == INT64_MAX && notices_take(notices, START, &mail) == 0);
    for (int i = 0; i < 1000; i++) {
        add(notices, NOTICE_RESOURCE, "queue full", "no space left\nsecond line", START + i);
    }
    CHECK(notices_due_us(notices, START + 1000) == START + 5 * S);
    CHECK(notices_take(notices, START + 4 * S, &mail) == 0);
    CHECK(notices_take(notices, START + 5 * S, &mail) == 1);
    CHECK(mail.events == 1000 && strcmp(mail.recipient, "postmaster@example.com") == 0);
    CHECK(strcmp(buf_str(&mail.subject), "Postfix resource notice: queue full (1000 times)") == 0);
    CHECK(strstr(buf_str(&mail.body), "1000 times") != NULL &&
          strstr(buf_str(&mail.body), "no space left\r\nsecond line\r\n") != NULL);
    notice_mail_free(&mail);
    CHECK(take_all(notices, START + 50 * S, &events) == 0);
    /* It goes on: one mail per interval, and the interval doubles. */
    size_t mails = 0;
    uint64_t told = 0;
    for (int64_t t = 6; t < 3600; t++) {
        add(notices, NOTICE_RESOURCE, "queue full", "no space left", START + t * S);
        mails += take_all(notices, START + t * S, &events);
        told += events;
    }
    CHECK(mails >= 4 && mails <= 7 && told > 1500);
    /* After a long silence it is news again. */
    (void)take_all(notices, START + 8000 * S, &events);
    add(notices, NOTICE_RESOURCE, "queue full", "no space left", START + 20000 * S);
    CHECK(take_all(notices, START + 20005 * S, &events) == 1 && events == 1);
    notices_free(&notices);
    notices_free(&notices);
}

static void
test_classes(void)
{
    struct notices *notices = make("bounce");
    uint64_t events;

    CHECK(notice_classes("") == 1U << NOTICE_ALARM);
    CHECK(notice_classes("Policy protocol,nonsense") ==
          (1U << NOTICE_POLICY | 1U << NOTICE_PROTOCOL | 1U << NOTICE_ALARM));
    add(notices, NOTICE_POLICY, "a", "x", START);
    add(notices, NOTICE_SOFTWARE, "b", "x", START);
    add(notices, NOTICE_DELAY, "c", "x", START);
    CHECK(take_all(notices, START + 10 * S, &events) == 0);
    add(notices, NOTICE_BOUNCE, "d", "x", START);
    add(notices, NOTICE_2BOUNCE, "e", "x", START);
    add(notices, NOTICE_ALARM, "clamav", "no signatures", START);
    CHECK(take_all(notices, START + 1 * S, &events) == 1); /* the alarm does not wait */
    CHECK(take_all(notices, START + 10 * S, &events) == 2);
    struct wire_notice wrong = {.class = NOTICE_CLASSES};
    notices_add(notices, &wrong, START);
    notices_free(&notices);
}

static void
test_session_subject(void)
{
    struct notices *notices = make("policy");
    struct notice_mail mail;

    add(notices, NOTICE_POLICY, "smtpd evil.example[192.0.2.1] 554",
        " Out: 220 mx\n In:  MAIL FROM:<a>\r\n Out: \x1b[2Jx\n", START);
    CHECK(notices_take(notices, START + 5 * S, &mail) == 1);
    CHECK(strcmp(buf_str(&mail.subject), "Postfix SMTP server: errors from evil.example[192.0.2.1]") == 0);
    CHECK(strstr(buf_str(&mail.body), "Transcript of session follows.\r\n\r\n Out: 220 mx\r\n") != NULL);
    CHECK(strstr(buf_str(&mail.body), "For other details, see the local mail logfile") != NULL);
    CHECK(memchr(mail.body.p, '\x1b', mail.body.n) == NULL);
    notice_mail_free(&mail);
    add(notices, NOTICE_POLICY, "key\r\nBcc: other@example.com", "x", START + 100 * S);
    CHECK(notices_take(notices, START + 200 * S, &mail) == 1);
    CHECK(memchr(mail.subject.p, '\r', mail.subject.n) == NULL &&
          memchr(mail.subject.p, '\n', mail.subject.n) == NULL);
    notice_mail_free(&mail);
    notices_free(&notices);
}

/* Ten thousand different clients within an hour: a bounded number of mails that together tell of all. */
static void
test_flood(void)
{
    struct notices *notices = make("policy");
    uint64_t events, told = 0;
    size_t mails = 0;
    char key[64];

    for (int i = 0; i < 10000; i++) {
        int64_t now = START + i * S * 36 / 100;
        (void)snprintf(key, sizeof(key), "smtpd unknown[10.0.%d.%d] 554", i >> 8, i & 255);
        add(notices, NOTICE_POLICY, key, "In: x\nOut: y\n", now);
        mails += take_all(notices, now, &events);
        told += events;
        CHECK(notices_due_us(notices, now) > now);
    }
    mails += take_all(notices, START + 7200 * S, &events);
    told += events;
    mails += take_all(notices, START + 14400 * S, &events);
    told += events;
    CHECK(told == 10000);
    CHECK(mails <= 62 * 6);
    notices_free(&notices);
}

int
main(void)
{
    test_grouping();
    test_classes();
    test_session_subject();
    test_flood();
    return failures != 0;
}

/*
 * notice - see the header. Before: service.c with WIRE_NOTICE; after: service_notice.c.
 *
 * A group is a class and a key. It is made by its first event, and forgotten when nothing happened for twice
 * its interval. Groups are bounded: when all are taken, further keys of a class share one group named so.
 */
#include "policy/notice.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"

enum {
    GROUPS_MAX = 512,
    TEXT_KEPT_MAX = 16384, /* bytes of the first event's text */
    BODY_MAX = 256 * 1024,
    SUBJECT_MAX = 400,
    LINE_MAX_BYTES = 900, /* RFC 5322 section 2.1.1 allows 998 */
    BUDGET = 5,           /* mails of one class in one interval before digests begin */
    DIGEST_TEXTS = 10,    /* groups shown with their text */
};
static const int64_t SECOND_US = 1000000;
static const int64_t HOLD_US = 5 * 1000000LL;
static const int64_t ALARM_HOLD_US = 1000000LL;
static const int64_t INTERVAL_LIMIT_US = 3600 * 1000000LL;

struct group {
    bool used;
    uint8_t class;
    char key[sizeof(((struct wire_notice *)0)->key)];
    struct buf text;
    uint64_t count; /* since the last mail */
    int64_t first_us, last_us;
    int64_t due_us;    /* when count > 0 */
    int64_t mailed_us; /* 0: never */
    int64_t interval_us;
};

struct notices {
    struct notice_settings settings;
    struct group groups[GROUPS_MAX + NOTICE_CLASSES]; /* the last ones: what did not fit, by class */
    int64_t window_us[NOTICE_CLASSES];                /* start of the budget's interval */
    unsigned mailed[NOTICE_CLASSES];                  /* in it */
};

static const char *const CLASS_NAMES[NOTICE_CLASSES] = {
    [NOTICE_POLICY] = "policy",     [NOTICE_SOFTWARE] = "software", [NOTICE_RESOURCE] = "resource",
    [NOTICE_PROTOCOL] = "protocol", [NOTICE_BOUNCE] = "bounce",     [NOTICE_2BOUNCE] = "2bounce",
    [NOTICE_DELAY] = "delay",       [NOTICE_ALARM] = "alarm",
};

unsigned
notice_classes(const char *text)
{
    struct bytes rest = bytes_str(text), word;
    unsigned classes = 1U << NOTICE_ALARM;

    while (bytes_next_token(&rest, ", \t\r\n", &word)) {
        for (unsigned class = 0; class < NOTICE_CLASSES; class ++) {
            if (bytes_equal_nocase(word, bytes_str(CLASS_NAMES[class]))) {
                classes |= 1U << class;
            }
        }
    }
    return (classes & 1U << NOTICE_BOUNCE) != 0 ? classes | 1U << NOTICE_2BOUNCE : classes;
}

struct notices *
notices_new(const struct notice_settings *settings)
{
    struct notices *notices = calloc(1, sizeof(*notices));

    if (notices != NULL) {
        notices->settings = *settings;
        for (size_t i = 0; i < GROUPS_MAX + NOTICE_CLASSES; i++) {
            buf_init(&notices->groups[i].text, TEXT_KEPT_MAX);
        }
    }
    return notices;
}

void
notices_free(struct notices **notices)
{
    if (*notices == NULL) {
        return;
    }
    for (size_t i = 0; i < GROUPS_MAX + NOTICE_CLASSES; i++) {
        buf_free(&(*notices)->groups[i].text);
    }
    free(*notices);
    *notices = NULL;
}

static bool
is_forgotten(const struct group *group, int64_t now_us)
{
    return group->count == 0 && now_us - group->mailed_us > 2 * group->interval_us;
}

/* The group of the event, a free one, or the class's last resort. */
static struct group *
find_group(struct notices *notices, const struct wire_notice *notice, int64_t now_us)
{
    struct group *spare = NULL;

    for (size_t i = 0; i < GROUPS_MAX; i++) {
        struct group *group = &notices->groups[i];

        if (group->used && is_forgotten(group, now_us)) {
            group->used = false;
        }
        if (!group->used) {
            spare = spare == NULL ? group : spare;
        } else if (group->class == notice->class && strcmp(group->key, notice->key) == 0) {
            return group;
        }
    }
    struct group *group = spare != NULL ? spare : &notices->groups[GROUPS_MAX + notice->class];
    if (!group->used) {
        struct buf text = group->text;

        *group = (struct group){.used = true, .class = notice->class, .text = text};
        memcpy(group->key, spare != NULL ? notice->key : "many different events",
               spare != NULL ? sizeof(group->key) : sizeof("many different events"));
        group->interval_us = notices->settings.interval_s * SECOND_US;
    }
    return group;
}

void
notices_add(struct notices *notices, const struct wire_notice *notice, int64_t now_us)
{
    if (notice->class >= NOTICE_CLASSES || (notices->settings.classes & 1U << notice->class) == 0) {
        return;
    }
    struct group *group = find_group(notices, notice, now_us);
    if (group->count == 0) {
        buf_clear(&group->text);
        (void)buf_append_bytes(&group->text, bytes_sub(notice->text, 0, TEXT_KEPT_MAX));
        group->first_us = now_us;
        group->due_us = now_us + (notice->class == NOTICE_ALARM ? ALARM_HOLD_US : HOLD_US);
        if (group->mailed_us != 0 && group->due_us < group->mailed_us + group->interval_us) {
            group->due_us = group->mailed_us + group->interval_us;
        }
    }
    group->count++;
    group->last_us = now_us;
}

static bool
has_budget(struct notices *notices, uint8_t class, int64_t now_us)
{
    if (now_us - notices->window_us[class] >= notices->settings.interval_s * SECOND_US) {
        notices->window_us[class] = now_us;
        notices->mailed[class] = 0;
    }
    return notices->mailed[class] <= BUDGET; /* one more than BUDGET: the digest */
}

/* Text as mail lines: CRLF, no longer than the standard allows, nothing a terminal would obey. */
static void
append_lines(struct buf *out, struct bytes text)
{
    struct bytes line;

    while (bytes_next_line(&text, &line)) {
        (void)buf_append_printable(out, line, LINE_MAX_BYTES, false);
        (void)buf_append_str(out, "\r\n");
    }
}

static void
append_time(struct buf *out, int64_t wall_us)
{
    char text[80];

    clock_rfc5322(wall_us / SECOND_US, text, sizeof(text));
    (void)buf_append_str(out, text);
}

static void
append_count(struct buf *out, const struct group *group)
{
    if (group->count > 1) {
        (void)buf_printf(out, "This happened %llu times\r\n    from ", (unsigned long long)group->count);
        append_time(out, group->first_us);
        (void)buf_append_str(out, "\r\n    to   ");
        append_time(out, group->last_us);
        (void)buf_append_str(out, "\r\nand is reported once. The first time:\r\n\r\n");
    }
}

/* Keys of receive are "smtpd CLIENT CODE": the client, for Postfix's subject line. */
static bool
is_session(const struct group *group, struct bytes *client_r)
{
    struct bytes rest = bytes_str(group->key), word;

    return bytes_next_token(&rest, " ", &word) && bytes_equal(word, BYTES_LIT("smtpd")) &&
           bytes_next_token(&rest, " ", client_r);
}

static void
append_one(struct buf *out, const struct group *group)
{
    struct bytes client;
    bool session = is_session(group, &client);

    append_count(out, group);
    if (session) {
        (void)buf_append_str(out, "Transcript of session follows.\r\n\r\n");
    }
    append_lines(out, bytes_buf(&group->text));
    if (session) {
        (void)buf_append_str(out, "\r\nFor other details, see the local mail logfile\r\n");
    }
}

static void
settle(struct group *group, int64_t now_us)
{
    int64_t next = group->mailed_us == 0 ? group->interval_us : group->interval_us * 2;

    group->interval_us = next < INTERVAL_LIMIT_US ? next : INTERVAL_LIMIT_US;
    group->mailed_us = now_us;
    group->count = 0;
}

static void
make_single(struct notices *notices, struct group *group, struct notice_mail *mail)
{
    struct bytes client;

    if (is_session(group, &client)) {
        (void)buf_printf(&mail->subject, "%s SMTP server: errors from ", notices->settings.mail_name);
        (void)buf_append_printable(&mail->subject, client, SUBJECT_MAX / 2, false);
    } else {
        (void)buf_printf(&mail->subject, "%s %s notice: ", notices->settings.mail_name,
                         CLASS_NAMES[group->class]);
        (void)buf_append_printable(&mail->subject, bytes_str(group->key), SUBJECT_MAX / 2, false);
    }
    if (group->count > 1) {
        (void)buf_printf(&mail->subject, " (%llu times)", (unsigned long long)group->count);
    }
    append_one(&mail->body, group);
    mail->events = group->count;
}

/* All that is due of a class in one mail. */
static void
make_digest(struct notices *notices, uint8_t class, int64_t now_us, struct notice_mail *mail)
{
    size_t kinds = 0;

    for (size_t i = 0; i < GROUPS_MAX + NOTICE_CLASSES; i++) {
        struct group *group = &notices->groups[i];

        if (!group->used || group->class != class || group->count == 0 || group->due_us > now_us) {
            continue;
        }
        kinds++;
        mail->events += group->count;
        (void)buf_printf(&mail->body, "%s%llu x ", kinds > 1 ? "\r\n" : "", (unsigned long long)group->count);
        (void)buf_append_printable(&mail->body, bytes_str(group->key), LINE_MAX_BYTES, false);
        (void)buf_append_str(&mail->body, "\r\n");
        if (kinds <= DIGEST_TEXTS) {
            append_one(&mail->body, group);
        }
        settle(group, now_us);
    }
    (void)buf_printf(&mail->subject, "%s %s notice: %llu events of %zu kinds", notices->settings.mail_name,
                     CLASS_NAMES[class], (unsigned long long)mail->events, kinds);
}

int
notices_take(struct notices *notices, int64_t now_us, struct notice_mail *mail_r)
{
    struct group *first[NOTICE_CLASSES] = {NULL};

    *mail_r = (struct notice_mail){0};
    for (size_t i = 0; i < GROUPS_MAX + NOTICE_CLASSES; i++) {
        struct group *group = &notices->groups[i];

        if (group->used && group->count > 0 && group->due_us <= now_us &&
            (first[group->class] == NULL || group->due_us < first[group->class]->due_us)) {
            first[group->class] = group;
        }
    }
    for (uint8_t class = 0; class < NOTICE_CLASSES; class ++) {
        if (first[class] == NULL || !has_budget(notices, class, now_us)) {
            continue;
        }
        buf_init(&mail_r->subject, SUBJECT_MAX);
        buf_init(&mail_r->body, BODY_MAX);
        mail_r->class = class;
        mail_r->recipient = notices->settings.recipients[class];
        if (notices->mailed[class]++ < BUDGET) {
            make_single(notices, first[class], mail_r);
            settle(first[class], now_us);
        } else {
            make_digest(notices, class, now_us, mail_r);
        }
        return 1;
    }
    return 0;
}

int64_t
notices_due_us(const struct notices *notices, int64_t now_us)
{
    int64_t due_us = INT64_MAX;

    for (size_t i = 0; i < GROUPS_MAX + NOTICE_CLASSES; i++) {
        const struct group *group = &notices->groups[i];

        if (!group->used || group->count == 0) {
            continue;
        }
        int64_t window_end = notices->window_us[group->class] + notices->settings.interval_s * SECOND_US;
        bool spent = notices->mailed[group->class] > BUDGET && now_us < window_end;
        int64_t due = spent && group->due_us < window_end ? window_end : group->due_us;
        due_us = due < due_us ? due : due_us;
    }
    return due_us;
}

void
notice_mail_free(struct notice_mail *mail)
{
    buf_free(&mail->subject);
    buf_free(&mail->body);
}

/*
 * notice - turns events for the postmaster into few mails: equal events are one mail with a count.
 *
 * Postfix's notify_classes decide which classes become mail; alarms (a scanner or the signatures fail) always
 * do. The first event of a kind is mailed after a short hold, so that a burst is one mail; what follows is
 * counted and mailed at intervals that double up to an hour. Each class has a budget of mails; beyond it,
 * what is due becomes one digest. Pure: time is given in, mails are given out; service_notice.c sends them.
 */
#ifndef POLICY_NOTICE_H
#define POLICY_NOTICE_H

#include <stdbool.h>

#include "message/wire.h"

struct notices;

struct notice_settings {
    unsigned classes;                       /* bits 1 << enum notice_class; see notice_classes() */
    int64_t interval_s;                     /* postmaster_notice_interval */
    const char *recipients[NOTICE_CLASSES]; /* qualified addresses; must outlive the object */
    const char *mail_name;
};

struct notice_mail {
    const char *recipient;
    uint8_t class; /* enum notice_class */
    uint64_t events;
    struct buf subject; /* printable ASCII, without line ends */
    struct buf body;    /* lines end in CRLF */
};

/* "resource, software" as bits; bounce implies 2bounce; alarm is always in. Unknown words are skipped. */
unsigned notice_classes(const char *text);

struct notices *notices_new(const struct notice_settings *settings); /* NULL: out of memory */
void notices_free(struct notices **notices);
void notices_add(struct notices *notices, const struct wire_notice *notice, int64_t now_us);
/* 1 and a mail whose time has come (notice_mail_free() it), 0 none, GW_ERR_NOMEM. Call until 0. */
int notices_take(struct notices *notices, int64_t now_us, struct notice_mail *mail_r);
/* When notices_take() has something next; INT64_MAX for never. */
int64_t notices_due_us(const struct notices *notices, int64_t now_us);
void notice_mail_free(struct notice_mail *mail);

#endif

/*
 * header_field - see the header. Before: whoever has a message's first bytes; after: trace.c counts hops,
 * header_rewrite.c changes fields. Owns nothing: all are views.
 */
#include "message/header_field.h"

#include <string.h>

#define SENDERS FIELD_HAS_SENDERS
#define RECIPIENTS FIELD_HAS_RECIPIENTS
#define RESENT FIELD_IS_RESENT

static const struct {
    struct bytes name;
    unsigned kinds;
} FIELDS[FIELD_COUNT] = {
    [FIELD_OTHER] = {{(const uint8_t *)"", 0}, 0},
#define ROW(field, text, kinds) [field] = {{(const uint8_t *)(text), sizeof(text) - 1}, kinds}
    ROW(FIELD_APPARENTLY_TO, "Apparently-To", RECIPIENTS),
    ROW(FIELD_BCC, "Bcc", RECIPIENTS),
    ROW(FIELD_CC, "Cc", RECIPIENTS),
    ROW(FIELD_CONTENT_LENGTH, "Content-Length", 0),
    ROW(FIELD_DATE, "Date", 0),
    ROW(FIELD_DELIVERED_TO, "Delivered-To", 0),
    ROW(FIELD_DISPOSITION_NOTIFICATION_TO, "Disposition-Notification-To", SENDERS),
    ROW(FIELD_ERRORS_TO, "Errors-To", SENDERS),
    ROW(FIELD_FROM, "From", SENDERS),
    ROW(FIELD_MAIL_FOLLOWUP_TO, "Mail-Followup-To", SENDERS),
    ROW(FIELD_MESSAGE_ID, "Message-Id", 0),
    ROW(FIELD_RECEIVED, "Received", 0),
    ROW(FIELD_REPLY_TO, "Reply-To", SENDERS),
    ROW(FIELD_RESENT_BCC, "Resent-Bcc", RECIPIENTS | RESENT),
    ROW(FIELD_RESENT_CC, "Resent-Cc", RECIPIENTS | RESENT),
    ROW(FIELD_RESENT_DATE, "Resent-Date", RESENT),
    ROW(FIELD_RESENT_FROM, "Resent-From", SENDERS | RESENT),
    ROW(FIELD_RESENT_MESSAGE_ID, "Resent-Message-Id", RESENT),
    ROW(FIELD_RESENT_REPLY_TO, "Resent-Reply-To", RECIPIENTS | RESENT),
    ROW(FIELD_RESENT_SENDER, "Resent-Sender", SENDERS | RESENT),
    ROW(FIELD_RESENT_TO, "Resent-To", RECIPIENTS | RESENT),
    ROW(FIELD_RETURN_PATH, "Return-Path", SENDERS),
    ROW(FIELD_RETURN_RECEIPT_TO, "Return-Receipt-To", SENDERS),
    ROW(FIELD_SENDER, "Sender", SENDERS),
    ROW(FIELD_TO, "To", RECIPIENTS),
#undef ROW
};

const char *
header_field_name(enum header_field field)
{
    return (const char *)FIELDS[field].name.p;
}

unsigned
header_field_kinds(enum header_field field)
{
    return FIELDS[field].kinds;
}

enum header_field
header_field_known(struct bytes name)
{
    for (size_t i = FIELD_OTHER + 1; i < FIELD_COUNT; i++) {
        if (name.n == FIELDS[i].name.n && (name.p[0] | 0x20) == (FIELDS[i].name.p[0] | 0x20) &&
            bytes_equal_nocase(name, FIELDS[i].name)) {
            return (enum header_field)i;
        }
    }
    return FIELD_OTHER;
}

/* Offset of the colon of a field, and where its name ends; -1: the line is no field (RFC 5322 section 2.2,
 * and section 4.5: blanks before the colon). */
static ptrdiff_t
find_colon(struct bytes v, size_t *name_end_r)
{
    size_t i = 0;

    while (i < v.n && i <= HEADER_FIELD_NAME_MAX && v.p[i] > ' ' && v.p[i] < 0x7f && v.p[i] != ':') {
        i++;
    }
    *name_end_r = i;
    if (i == 0) {
        return -1;
    }
    while (i < v.n && (v.p[i] == ' ' || v.p[i] == '\t')) {
        i++;
    }
    return i < v.n && v.p[i] == ':' ? (ptrdiff_t)i : -1;
}

bool
header_field_next(struct bytes *rest, struct bytes *field_r, struct bytes *name_r, struct bytes *value_r)
{
    size_t name_end, end = 0;
    ptrdiff_t colon = find_colon(*rest, &name_end);

    *field_r = *name_r = *value_r = (struct bytes){0};
    if (colon < 0) {
        return false;
    }
    do {
        const uint8_t *lf = memchr(rest->p + end, '\n', rest->n - end);

        end = lf == NULL ? rest->n : (size_t)(lf - rest->p) + 1;
    } while (end < rest->n && (rest->p[end] == ' ' || rest->p[end] == '\t'));
    *field_r = bytes_sub(*rest, 0, end);
    *name_r = bytes_sub(*rest, 0, name_end);
    *value_r = bytes_sub(*rest, (size_t)colon + 1, end - (size_t)colon - 1);
    *rest = bytes_sub(*rest, end, rest->n);
    return true;
}

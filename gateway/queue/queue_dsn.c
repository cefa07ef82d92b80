/*
 * queue_dsn - see the header. Before: queue_bounce.c decides who is told what. After: the notification is a
 * submission.
 */
#include "queue/queue_dsn.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

enum {
    FOLD_AT = 76,
    TEXT_MAX = 2000,
    DATE_MAX = 64,
    BOUNDARY_MAX = 512,
    ADDRESS_SHOWN = 900, /* a line has 998 bytes at most */
    WORD_PIECE = 400,
};

static const struct words {
    const char *subject;
    const char *returned; /* description of the last part */
    const char *text;     /* %s: our name */
} WORDS[QUEUE_NOTICES] = {
    [QUEUE_NOTICE_BOUNCE] = {"Undelivered Mail Returned to Sender", "Undelivered Message",
                             "This is the mail system at host %s.\r\n\r\n"
                             "Your message could not be delivered to the recipients below, and no\r\n"
                             "further attempt will be made. What is left of it is attached.\r\n\r\n"
                             "If you need help, send mail to postmaster and include this report.\r\n\r\n"},
    [QUEUE_NOTICE_DELAY] = {"Delayed Mail (still being retried)", "Undelivered Message",
                            "This is the mail system at host %s.\r\n\r\n"
                            "THIS IS A WARNING ONLY. You do not need to send your message again.\r\n\r\n"
                            "Your message could not be delivered to the recipients below yet.\r\n"
                            "Delivery is tried again until %s.\r\n\r\n"},
    [QUEUE_NOTICE_SUCCESS] = {"Successful Mail Delivery Report", "Message",
                              "This is the mail system at host %s.\r\n\r\n"
                              "Your message was delivered to the recipients below, or handed to a mail\r\n"
                              "system that sends no reports of its own.\r\n\r\n"},
};

static bool
is_ascii(struct bytes text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

/* Appends text, printable, with a line break and a blank at blanks once a line has grown long; `column` is
 * where the line stands already. */
static int
append_folded(struct buf *out, struct bytes text, size_t column)
{
    text = bytes_sub(text, 0, TEXT_MAX);
    while (text.n > 0) {
        ptrdiff_t blank = bytes_index(bytes_sub(text, 1, text.n), ' ');
        size_t n = blank >= 0 ? (size_t)blank + 1 : text.n;

        n = n < WORD_PIECE ? n : WORD_PIECE;
        if (column + n > FOLD_AT && (text.p[0] == ' ' || column > WORD_PIECE)) {
            (void)buf_append_str(out, "\r\n   ");
            column = 3;
        }
        int r = buf_append_printable(out, bytes_sub(text, 0, n), n, true);
        if (r != 0) {
            return r;
        }
        column += n;
        text = bytes_sub(text, n, text.n);
    }
    return 0;
}

static int
write_header(struct buf *out, const struct queue_dsn *dsn, const char *boundary)
{
    char date[DATE_MAX];

    clock_rfc5322(dsn->now_s, date, sizeof(date));
    (void)buf_printf(out, "Received: by %s (%s)\r\n\tid %s; %s\r\nDate: %s\r\n", dsn->myhostname,
                     dsn->mail_name, dsn->queue_id, date, date);
    (void)buf_printf(out,
                     "From: MAILER-DAEMON@%s (Mail Delivery System)\r\nSubject: %s\r\nTo: ", dsn->myhostname,
                     WORDS[dsn->kind].subject);
    (void)buf_append_printable(out, bytes_str(dsn->to), ADDRESS_SHOWN, true);
    return buf_printf(out,
                      "\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
                      "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"\r\n"
                      "%sMessage-Id: <%s.%lld@%s>\r\n\r\nThis is a MIME-encapsulated message.\r\n\r\n",
                      boundary, dsn->original->body != BODY_7BIT ? "Content-Transfer-Encoding: 8bit\r\n" : "",
                      dsn->queue_id, (long long)dsn->now_s, dsn->myhostname);
}

static int
write_text(struct buf *out, const struct queue_dsn *dsn, const char *boundary)
{
    char until[DATE_MAX];
    int r = buf_printf(
        out, "--%s\r\nContent-Description: Notification\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n",
        boundary);

    clock_rfc5322(dsn->give_up_s, until, sizeof(until));
    if (r == 0 && dsn->kind == QUEUE_NOTICE_DELAY) {
        r = buf_printf(out, WORDS[QUEUE_NOTICE_DELAY].text, dsn->myhostname, until);
    } else if (r == 0) {
        r = buf_printf(out, WORDS[dsn->kind].text, dsn->myhostname);
    }
    (void)buf_printf(out, "                   %s\r\n\r\n", dsn->mail_name);
    for (size_t i = 0; r == 0 && i < dsn->count; i++) {
        const struct queue_dsn_recipient *recipient = &dsn->recipients[i];
        size_t start = out->n;

        (void)buf_append_str(out, "<");
        (void)buf_append_printable(out, recipient->recipient->address, ADDRESS_SHOWN, true);
        (void)buf_append_str(out, ">: ");
        r = append_folded(out, recipient->reply, out->n - start);
        (void)buf_append_str(out, "\r\n\r\n");
    }
    return r;
}

/* "host h[a] said: 550 5.1.1 text (in reply to RCPT TO command)" gives what the host said. */
static struct bytes
remote_words(struct bytes reply)
{
    ptrdiff_t said = bytes_find(reply, BYTES_LIT(" said: "));

    if (said < 0) {
        return (struct bytes){0};
    }
    struct bytes words = bytes_sub(reply, (size_t)said + 7, reply.n);
    ptrdiff_t end = bytes_find(words, BYTES_LIT(" (in reply to "));
    return end >= 0 ? bytes_sub(words, 0, (size_t)end) : words;
}

static void
write_typed_address(struct buf *out, const char *field, struct bytes address)
{
    (void)buf_printf(out, "%s: %s; ", field, is_ascii(address) ? "rfc822" : "utf-8");
    (void)buf_append_printable(out, address, ADDRESS_SHOWN, true);
    (void)buf_append_str(out, "\r\n");
}

static int
write_recipient(struct buf *out, const struct queue_dsn *dsn, const struct queue_dsn_recipient *told)
{
    const struct recipient *recipient = told->recipient;
    char date[DATE_MAX];

    (void)buf_append_str(out, "\r\n");
    write_typed_address(out, "Final-Recipient", recipient->address);
    if (recipient->dsn_orcpt.n > 0) {
        (void)buf_append_str(out, "Original-Recipient: "); /* type;address, as the client gave it */
        (void)buf_append_printable(out, recipient->dsn_orcpt, ADDRESS_SHOWN, true);
        (void)buf_append_str(out, "\r\n");
    } else if (recipient->original.n > 0) {
        write_typed_address(out, "Original-Recipient", recipient->original);
    }
    (void)buf_printf(out, "Action: %s\r\nStatus: %s\r\n", told->action, told->dsn);
    if (told->remote_mta.n > 0) {
        bool is_typed = bytes_has_prefix_nocase(told->remote_mta, BYTES_LIT("dns;"));

        (void)buf_append_str(out, is_typed ? "Remote-MTA: " : "Remote-MTA: dns; ");
        (void)buf_append_printable(out, told->remote_mta, ADDRESS_SHOWN, true);
        (void)buf_append_str(out, "\r\n");
    }
    struct bytes words = remote_words(told->reply);
    const char *type = words.n > 0 ? "Diagnostic-Code: smtp; " : "Diagnostic-Code: X-Postfix; ";
    (void)buf_append_str(out, type);
    int r = append_folded(out, words.n > 0 ? words : told->reply, strlen(type));
    (void)buf_append_str(out, "\r\n");
    if (dsn->kind == QUEUE_NOTICE_DELAY) {
        clock_rfc5322(dsn->give_up_s, date, sizeof(date));
        (void)buf_printf(out, "Will-Retry-Until: %s\r\n", date);
    }
    return r;
}

static int
write_report(struct buf *out, const struct queue_dsn *dsn, const char *boundary)
{
    const struct envelope *original = dsn->original;
    char date[DATE_MAX];
    int r = buf_printf(
        out, "--%s\r\nContent-Description: Delivery report\r\nContent-Type: message/delivery-status\r\n",
        boundary);

    clock_rfc5322(original->arrival_us / 1000000, date, sizeof(date));
    (void)buf_printf(out, "\r\nReporting-MTA: dns; %s\r\n", dsn->myhostname);
    if (original->dsn_envid.n > 0) {
        (void)buf_append_str(out, "Original-Envelope-Id: ");
        (void)buf_append_printable(out, original->dsn_envid, ADDRESS_SHOWN, false);
        (void)buf_append_str(out, "\r\n");
    }
    (void)buf_printf(out, "X-Postfix-Queue-ID: %s\r\n", original->queue_id);
    write_typed_address(out, "X-Postfix-Sender", original->sender);
    (void)buf_printf(out, "Arrival-Date: %s\r\n", date);
    for (size_t i = 0; r == 0 && i < dsn->count; i++) {
        r = write_recipient(out, dsn, &dsn->recipients[i]);
    }
    return r == 0 ? buf_append_str(out, "\r\n") : r;
}

static int
write_content(struct buf *out, const struct queue_dsn *dsn, const char *boundary)
{
    int r = buf_printf(out, "--%s\r\nContent-Description: %s%s\r\nContent-Type: %s\r\n%s\r\n", boundary,
                       WORDS[dsn->kind].returned, dsn->is_whole ? "" : " Headers",
                       dsn->is_whole ? "message/rfc822" : "text/rfc822-headers",
                       dsn->original->body != BODY_7BIT ? "Content-Transfer-Encoding: 8bit\r\n" : "");

    if (r == 0) {
        r = buf_append_bytes(out, dsn->content);
    }
    bool is_ended = dsn->content.n >= 2 && memcmp(dsn->content.p + dsn->content.n - 2, "\r\n", 2) == 0;
    if (r == 0) {
        r = buf_printf(out, "%s\r\n--%s--\r\n", is_ended || dsn->content.n == 0 ? "" : "\r\n", boundary);
    }
    return r;
}

int
queue_dsn_write(struct buf *out, const struct queue_dsn *dsn)
{
    char boundary[BOUNDARY_MAX];
    int r = GW_ERR_INTERNAL;

    /* Unique without a random number: the id of a message that did not exist when the returned one was
     * written. */
    int n = snprintf(boundary, sizeof(boundary), "%s.%lld/%s", dsn->queue_id, (long long)dsn->now_s,
                     dsn->myhostname);
    if (n < 0 || n > 70) {
        (void)snprintf(boundary, sizeof(boundary), "%s.%lld", dsn->queue_id, (long long)dsn->now_s);
    }
    if ((r = write_header(out, dsn, boundary)) == 0 && (r = write_text(out, dsn, boundary)) == 0 &&
        (r = write_report(out, dsn, boundary)) == 0) {
        r = write_content(out, dsn, boundary);
    }
    return r;
}

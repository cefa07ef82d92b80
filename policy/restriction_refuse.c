/*
 * restriction_refuse - what a refusal says: the thing it is about, its class, code, status and text.
 *
 * Before: every word that refuses; after: restriction_run() hands the answer to receive. Under warn_if_reject
 * the refusal only becomes a log line "reject_warning" and the list goes on.
 */
#include "policy/restriction_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

static const char *const CLASSES[] = {
    [SUBJECT_CLIENT] = "Client host",
    [SUBJECT_REVERSE_CLIENT] = "Unverified Client host",
    [SUBJECT_HELO] = "Helo command",
    [SUBJECT_SENDER] = "Sender address",
    [SUBJECT_RECIPIENT] = "Recipient address",
    [SUBJECT_DATA] = "Data command",
    [SUBJECT_END_OF_DATA] = "End-of-data",
    [SUBJECT_ETRN] = "Etrn command",
    [SUBJECT_LIST] = "Client host",
};

const char *
restriction_subject_class(enum restriction_subject subject)
{
    return CLASSES[subject];
}

bool
restriction_subject_known(const struct restriction_run *run, enum restriction_subject subject)
{
    switch (subject) {
    case SUBJECT_HELO:
        return run->facts->session->helo[0] != '\0';
    case SUBJECT_SENDER:
        return run->facts->has_sender;
    case SUBJECT_RECIPIENT:
    case SUBJECT_ETRN:
        return run->facts->has_recipient;
    default:
        return true;
    }
}

struct bytes
restriction_subject_value(const struct restriction_run *run, enum restriction_subject subject)
{
    const struct restriction_facts *facts = run->facts;

    switch (subject) {
    case SUBJECT_HELO:
        return bytes_str(facts->session->helo);
    case SUBJECT_SENDER:
        return facts->sender;
    case SUBJECT_RECIPIENT:
    case SUBJECT_ETRN:
        return facts->recipient_given;
    case SUBJECT_DATA:
        return BYTES_LIT("DATA");
    case SUBJECT_END_OF_DATA:
        return BYTES_LIT("END-OF-MESSAGE");
    case SUBJECT_REVERSE_CLIENT:
        return bytes_str(facts->session->reverse_name);
    default:
        return bytes_str(facts->session->name);
    }
}

/* "<value>" as replies name the subject; a client is named "name[address]". */
void
restriction_append_subject(const struct restriction_run *run, enum restriction_subject subject,
                           struct buf *out)
{
    (void)buf_append_byte(out, '<');
    (void)buf_append_printable(out, restriction_subject_value(run, subject), RESTRICTION_TEXT_MAX / 2, true);
    if (subject == SUBJECT_CLIENT || subject == SUBJECT_REVERSE_CLIENT) {
        char address[NET_ADDR_TEXT_MAX];

        net_addr_format(&run->facts->session->client, address);
        (void)buf_printf(out, "[%s]", address);
    }
    (void)buf_append_byte(out, '>');
}

static void
warn(const struct restriction_run *run, int code, const char *dsn, const char *text)
{
    struct buf line;

    buf_init(&line, 2 * RESTRICTION_TEXT_MAX);
    (void)buf_printf(&line, "%d %s %s", code, dsn, text);
    if (run->facts->log != NULL) {
        run->facts->log(run->facts->log_context, "reject_warning", bytes_buf(&line));
    }
    buf_free(&line);
}

enum restriction_step
restriction_refuse_text(struct restriction_run *run, int code, const char *dsn, const char *text)
{
    struct restriction_answer *answer = run->answer;
    char status[sizeof(answer->dsn)];

    (void)snprintf(status, sizeof(status), "%s", dsn);
    status[0] = code / 100 == 5 ? '5' : '4';
    if (run->warn_only) {
        warn(run, code, status, text);
        return STEP_DUNNO;
    }
    answer->code = code;
    (void)snprintf(answer->dsn, sizeof(answer->dsn), "%s", status);
    buf_clear(&answer->text);
    (void)buf_append_printable(&answer->text, bytes_str(text), RESTRICTION_TEXT_MAX - 1, true);
    /* Postfix 421 and 521: the reply is the last thing the client hears. */
    answer->outcome = code == 421 || code == 521 ? RESTRICTION_DISCONNECT
                      : code / 100 == 5          ? RESTRICTION_REJECT
                                                 : RESTRICTION_DEFER;
    return STEP_REFUSE;
}

static void
form_text(const struct restriction_run *run, enum restriction_subject subject, const char *reason,
          struct buf *out)
{
    restriction_append_subject(run, subject, out);
    (void)buf_printf(out, ": %s rejected: ", restriction_subject_class(subject));
    (void)buf_append_printable(out, bytes_str(reason), RESTRICTION_TEXT_MAX / 2, true);
}

enum restriction_step
restriction_refuse(struct restriction_run *run, enum restriction_subject subject, int code, const char *dsn,
                   const char *reason)
{
    struct buf text;

    buf_init(&text, 2 * RESTRICTION_TEXT_MAX);
    form_text(run, subject, reason, &text);
    enum restriction_step step = restriction_refuse_text(run, code, dsn, buf_str(&text));
    buf_free(&text);
    return step;
}

void
restriction_pend(struct restriction_run *run, bool if_permit, int code, const char *dsn, const char *text)
{
    struct restriction_pending *pending = run->facts->pending;

    if (run->warn_only) {
        warn(run, code, dsn, text);
        return;
    }
    if (pending == NULL || (if_permit ? pending->if_permit : pending->if_reject)) {
        return; /* the first one stands */
    }
    pending->if_permit = pending->if_permit || if_permit;
    pending->if_reject = pending->if_reject || !if_permit;
    pending->code = code;
    (void)snprintf(pending->dsn, sizeof(pending->dsn), "%s", dsn);
    (void)snprintf(pending->text, sizeof(pending->text), "%s", text);
}

enum restriction_step
restriction_defer_if_reject(struct restriction_run *run, enum restriction_subject subject, int code,
                            const char *dsn, const char *reason)
{
    struct buf text;

    buf_init(&text, 2 * RESTRICTION_TEXT_MAX);
    form_text(run, subject, reason, &text);
    restriction_pend(run, false, code, dsn, buf_str(&text));
    buf_free(&text);
    return STEP_DUNNO;
}

enum restriction_step
restriction_defer_if_permit(struct restriction_run *run, enum restriction_subject subject, int code,
                            const char *dsn, const char *reason)
{
    struct buf text;

    buf_init(&text, 2 * RESTRICTION_TEXT_MAX);
    form_text(run, subject, reason, &text);
    if (run->facts->pending == NULL) {
        enum restriction_step step = restriction_refuse_text(run, code, dsn, buf_str(&text));

        buf_free(&text);
        return step;
    }
    restriction_pend(run, true, code, dsn, buf_str(&text));
    buf_free(&text);
    return STEP_DUNNO;
}

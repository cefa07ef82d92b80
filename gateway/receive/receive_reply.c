/*
 * receive_reply - see the header. Before: every verb; after: the stream, the log, the evidence.
 */
#include "receive/receive_reply.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

enum { LOG_ADDRESS_MAX = 200 };

static void
add_transcript(struct receive_session *session, const char *direction, struct bytes line)
{
    if (session->keep_transcript && session->transcript.n + line.n + 8 < RECEIVE_TRANSCRIPT_MAX) {
        (void)buf_append_str(&session->transcript, direction);
        (void)buf_append_printable(&session->transcript, line, RECEIVE_REPLY_MAX, false);
        (void)buf_append_byte(&session->transcript, '\n');
    }
}

void
receive_note_command(struct receive_session *session, struct bytes line)
{
    add_transcript(session, " In:  ", line);
}

int
receive_reply_bytes(struct receive_session *session, int code, const char *dsn, struct bytes text)
{
    struct buf *line = &session->tools->scratch;

    /* smtpd_discard_ehlo_keywords may take ENHANCEDSTATUSCODES away; a HELO client gets them all the same, as
     * from Postfix. */
    buf_clear(line);
    if (dsn != NULL) {
        (void)buf_printf(line, "%d %s ", code, dsn);
    } else {
        (void)buf_printf(line, "%d ", code);
    }
    (void)buf_append_printable(line, text, RECEIVE_REPLY_MAX, session->envelope->smtputf8);
    session->last_code = code;
    add_transcript(session, " Out: ", bytes_buf(line));
    (void)buf_append_str(line, "\r\n");
    return stream_write(session->stream, bytes_buf(line));
}

int
receive_reply(struct receive_session *session, int code, const char *dsn, const char *format, ...)
{
    char text[RECEIVE_REPLY_MAX];
    va_list args;

    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (n < 0) {
        n = 0;
    }
    return receive_reply_bytes(session, code, dsn,
                               bytes_of(text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1));
}

static void
append_address(struct buf *out, const char *label, struct bytes address)
{
    (void)buf_printf(out, " %s=<", label);
    (void)buf_append_printable(out, address, LOG_ADDRESS_MAX, true);
    (void)buf_append_byte(out, '>');
}

/* "; from=<s> to=<r> proto=ESMTP helo=<h>", with what is known so far, in Postfix's order. */
static void
append_context(struct receive_session *session, struct buf *out, struct bytes recipient)
{
    (void)buf_append_byte(out, ';');
    if (session->has_sender) {
        append_address(out, "from", session->envelope->sender);
    }
    if (recipient.n > 0) {
        append_address(out, "to", recipient);
    }
    (void)buf_printf(out, " proto=%s", session->facts.protocol[0] != '\0' ? session->facts.protocol : "SMTP");
    if (session->facts.helo[0] != '\0') {
        append_address(out, "helo", bytes_str(session->facts.helo));
    }
}

void
receive_log_action(struct receive_session *session, const char *action, const char *verb,
                   struct bytes recipient, struct bytes text)
{
    struct buf line;
    char client[NET_HOST_MAX + NET_ADDR_TEXT_MAX + 3];
    const char *id = session->envelope->queue_id[0] != '\0' ? session->envelope->queue_id : "NOQUEUE";

    buf_init(&line, 4 * RECEIVE_REPLY_MAX);
    (void)buf_printf(&line, "%s: %s: %s from %s: ", id, action, verb,
                     receive_session_client(session, client, sizeof(client)));
    (void)buf_append_printable(&line, text, RECEIVE_REPLY_MAX, true);
    append_context(session, &line, recipient);
    log_info("smtpd", "%s", buf_str(&line));
    buf_free(&line);
}

int
receive_reject(struct receive_session *session, const char *verb, struct bytes recipient, int code,
               const char *dsn, struct bytes text)
{
    struct buf said;
    char number[24];

    (void)snprintf(number, sizeof(number), "%d %s ", code, dsn);
    buf_init(&said, 2 * RECEIVE_REPLY_MAX);
    (void)buf_append_str(&said, number);
    (void)buf_append_bytes(&said, bytes_sub(text, 0, RECEIVE_REPLY_MAX));
    receive_log_action(session, "reject", verb, recipient, bytes_buf(&said));
    buf_free(&said);
    evidence_add(&session->tools->evidence, EV_COMMAND, bytes_str(verb), recipient,
                 bytes_trim(bytes_str(number)), text, code);
    session->policy_event = true;
    session->errors++;
    return receive_reply_bytes(session, code, dsn, text);
}

int
receive_reply_error(struct receive_session *session, int code, const char *dsn, const char *text)
{
    session->errors++;
    session->protocol_event = true;
    evidence_add(&session->tools->evidence, EV_COMMAND, bytes_str("error"), (struct bytes){0}, bytes_str(dsn),
                 bytes_str(text), code);
    return receive_reply(session, code, dsn, "%s", text);
}

struct ipc_channel *
receive_policy_channel(struct receive_tools *tools)
{
    if (tools->policy == NULL && ipc_connect(ROLE_RECEIVE, ROLE_POLICY, &tools->policy) != 0) {
        return NULL;
    }
    return tools->policy;
}

/* notify_classes decides in the policy role whether mail comes of it; here only what may matter is sent. */
void
receive_notify(struct receive_session *session)
{
    struct wire_notice notice = {0};
    struct buf payload;
    char client[NET_HOST_MAX + NET_ADDR_TEXT_MAX + 3], text[NET_HOST_MAX + NET_ADDR_TEXT_MAX + 128];

    if (!session->resource_event &&
        !(session->keep_transcript && (session->policy_event || session->protocol_event))) {
        return;
    }
    notice.class = session->resource_event ? NOTICE_RESOURCE
                   : session->policy_event ? NOTICE_POLICY
                                           : NOTICE_PROTOCOL;
    receive_session_client(session, client, sizeof(client));
    if (session->resource_event) {
        /* Not the client's doing: one group for all clients. */
        (void)snprintf(notice.key, sizeof(notice.key), "smtpd resource");
    } else {
        (void)snprintf(notice.key, sizeof(notice.key), "smtpd %.100s %d", client, session->last_code);
    }
    notice.text = bytes_buf(&session->transcript);
    if (notice.text.n == 0) {
        (void)snprintf(text, sizeof(text),
                       "A message from %s was answered 4xx for lack of a resource; the log has the "
                       "line.\n",
                       client);
        notice.text = bytes_str(text);
    }
    buf_init(&payload, RECEIVE_TRANSCRIPT_MAX + 4096);
    struct ipc_channel *policy = receive_policy_channel(session->tools);
    if (policy != NULL && wire_notice_pack(&payload, &notice) == 0 &&
        ipc_send(policy, WIRE_NOTICE, 0, bytes_buf(&payload), NULL, 0) != 0) {
        ipc_channel_free(&session->tools->policy);
    }
    buf_free(&payload);
}

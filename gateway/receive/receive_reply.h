/*
 * receive_reply - what the client is told, and the log line that goes with a refusal.
 *
 * The text to the client is generic and exact; the detail is in the log and the evidence. Every reply goes
 * through here, so that transcripts, counters and evidence see all of them.
 */
#ifndef RECEIVE_RECEIVE_REPLY_H
#define RECEIVE_RECEIVE_REPLY_H

#include "receive/receive_session.h"

/* "code dsn text": dsn NULL leaves it out. Returns the stream's error if writing failed. */
int receive_reply(struct receive_session *session, int code, const char *dsn, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The same for a text of bytes; line breaks in it are replaced. */
int receive_reply_bytes(struct receive_session *session, int code, const char *dsn, struct bytes text);
/* A refusal: reply and "NOQUEUE: reject: RCPT from client: code dsn text; from=<> to=<> proto= helo=". `verb`
 * is the word after "reject:"; recipient may be empty. */
int receive_reject(struct receive_session *session, const char *verb, struct bytes recipient, int code,
                   const char *dsn, struct bytes text);
/* "QID: action: VERB from client: text; from=<> to=<> proto= helo=": a refusal's line for what is no refusal.
 */
void receive_log_action(struct receive_session *session, const char *action, const char *verb,
                        struct bytes recipient, struct bytes text);
/* A client's mistake (500, 501, 503): counts towards the error limits. */
int receive_reply_error(struct receive_session *session, int code, const char *dsn, const char *text);
/* The client's line, for the transcript. */
void receive_note_command(struct receive_session *session, struct bytes line);
/* Sends an event to the policy role for the postmaster, with the session's transcript. */
void receive_notify(struct receive_session *session);
struct ipc_channel *receive_policy_channel(struct receive_tools *tools);

#endif

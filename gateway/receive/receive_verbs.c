/*
 * receive_verbs - the small verbs: RSET, NOOP, VRFY, HELP, AUTH, QUIT.
 */
#include "base/error.h"
#include "message/address.h"
#include "receive/receive_reply.h"

int
receive_rset(struct receive_session *session, const struct smtp_command *command)
{
    if (command->argument.n > 0) {
        return receive_reply_error(session, 501, "5.5.4", "Syntax: RSET");
    }
    receive_session_reset_message(session);
    return receive_reply(session, 250, "2.0.0", "Ok");
}

int
receive_noop(struct receive_session *session, const struct smtp_command *command)
{
    (void)command;
    return receive_reply(session, 250, "2.0.0", "Ok");
}

/* 252: we would take the mail (RFC 5321 section 3.5.3). The recipient restrictions apply, so that VRFY tells
 * nothing that RCPT would not. */
int
receive_vrfy(struct receive_session *session, const struct smtp_command *command)
{
    static const enum restriction_stage STAGES[] = {STAGE_CLIENT, STAGE_HELO, STAGE_RELAY, STAGE_RECIPIENT};
    struct smtp_command *parsed = &session->tools->command;
    struct buf canonical, shown;
    bool permitted;
    int r;

    if (session->port->disable_vrfy) {
        return receive_reply_error(session, 502, "5.5.1", "VRFY command is disabled");
    }
    if (command->argument.n == 0 || command->argument.n > ENVELOPE_ADDRESS_MAX) {
        return receive_reply_error(session, 501, "5.5.4", "Syntax: VRFY address");
    }
    if (session->has_sender) {
        return receive_reply_error(session, 503, "5.5.1", "Error: MAIL transaction in progress");
    }
    buf_init(&canonical, 2 * ENVELOPE_ADDRESS_MAX);
    buf_init(&shown, RECEIVE_REPLY_MAX);
    if (smtp_command_path(parsed, BYTES_LIT(""), session->port->strict_envelopes) != 0 ||
        parsed->path.n == 0 || router_canonical_form(session->port->router, parsed->path, &canonical) != 0) {
        r = receive_reply_error(session, 501, "5.1.3", "Bad recipient address syntax");
    } else {
        r = receive_restrict(session, STAGES, sizeof(STAGES) / sizeof(STAGES[0]), "VRFY",
                             bytes_buf(&canonical), parsed->path, &permitted);
        if (r == 0 && permitted) {
            (void)buf_append_printable(&shown, command->argument, ENVELOPE_ADDRESS_MAX, true);
            r = receive_reply(session, 252, "2.0.0", "%s", buf_str(&shown));
        }
    }
    buf_free(&canonical);
    buf_free(&shown);
    return r;
}

int
receive_help(struct receive_session *session, const struct smtp_command *command)
{
    (void)command;
    return receive_reply(session, 214, "2.0.0", "https://www.rfc-editor.org/rfc/rfc5321");
}

int
receive_auth(struct receive_session *session, const struct smtp_command *command)
{
    (void)command;
    return receive_reply_error(session, 503, "5.5.1", "Error: authentication not enabled");
}

int
receive_quit(struct receive_session *session, const struct smtp_command *command)
{
    (void)command;
    int r = receive_reply(session, 221, "2.0.0", "Bye");

    session->quit = true;
    return r == 0 ? stream_flush(session->stream) : r;
}

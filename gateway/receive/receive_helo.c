/*
 * receive_helo - HELO and EHLO: who the client says it is, and what we offer.
 *
 * Before: receive_command.c; after: MAIL. A new greeting forgets the message under way (RFC 5321
 * section 4.1.4).
 */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "receive/receive_reply.h"

/* What EHLO offers, in Postfix's order; each line is there when its test says so. */
static bool
is_offered(const struct receive_session *session, enum ehlo_keyword keyword)
{
    const struct receive_port *port = session->port;

    if ((port->ehlo_discard & keyword) != 0) {
        return false;
    }
    switch (keyword) {
    case EHLO_VRFY:
        return !port->disable_vrfy;
    case EHLO_STARTTLS:
        return port->tls != NULL && !stream_is_tls(session->stream);
    case EHLO_SMTPUTF8:
        return port->smtputf8;
    case EHLO_XCLIENT:
        return port->xclient_hosts != NULL &&
               match_list_client(port->xclient_hosts, NULL, &session->peer) == 1;
    case EHLO_XFORWARD:
        return port->xforward_hosts != NULL &&
               match_list_client(port->xforward_hosts, NULL, &session->peer) == 1;
    case EHLO_ETRN:
        return false;
    default:
        return true;
    }
}

static const struct {
    enum ehlo_keyword keyword;
    const char *line;
} LINES[] = {
    {EHLO_PIPELINING, "PIPELINING"},
    {EHLO_SIZE, "SIZE"},
    {EHLO_VRFY, "VRFY"},
    {EHLO_ETRN, "ETRN"},
    {EHLO_STARTTLS, "STARTTLS"},
    {EHLO_XCLIENT, "XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT"},
    {EHLO_XFORWARD, "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT"},
    {EHLO_ENHANCEDSTATUSCODES, "ENHANCEDSTATUSCODES"},
    {EHLO_8BITMIME, "8BITMIME"},
    {EHLO_DSN, "DSN"},
    {EHLO_SMTPUTF8, "SMTPUTF8"},
    {EHLO_CHUNKING, "CHUNKING"},
};

static int
reply_extensions(struct receive_session *session)
{
    const char *held = session->port->myhostname; /* a line is written when the next one is known */
    char size[48];
    int r = 0;

    for (size_t i = 0; i < sizeof(LINES) / sizeof(LINES[0]) && r == 0; i++) {
        if (!is_offered(session, LINES[i].keyword)) {
            continue;
        }
        r = stream_printf(session->stream, "250-%s\r\n", held);
        held = LINES[i].line;
        if (LINES[i].keyword == EHLO_SIZE && session->port->message_size_limit > 0) {
            (void)snprintf(size, sizeof(size), "SIZE %lld", (long long)session->port->message_size_limit);
            held = size;
        }
    }
    session->last_code = 250;
    return r == 0 ? receive_reply(session, 250, NULL, "%s", held) : r;
}

static int
greet(struct receive_session *session, const struct smtp_command *command, bool extended)
{
    struct session_facts *facts = &session->facts;
    struct buf name;
    bool permitted;
    int r;

    if (command->argument.n == 0) {
        return receive_reply_error(session, 501, NULL,
                                   extended ? "Syntax: EHLO hostname" : "Syntax: HELO hostname");
    }
    if (session->has_sender || session->xforwarded) {
        receive_session_reset_message(
            session); /* the facts of an XFORWARD as well: the new name is the client's own */
    }
    buf_init(&name, SESSION_HELO_MAX);
    (void)buf_append_printable(&name, command->argument, SESSION_HELO_MAX - 1, true);
    (void)snprintf(facts->helo, sizeof(facts->helo), "%s", buf_str(&name));
    buf_free(&name);
    (void)snprintf(facts->protocol, sizeof(facts->protocol), "%s%s", extended ? "ESMTP" : "SMTP",
                   extended && facts->tls_protocol[0] != '\0' ? "S" : "");
    session->extended = extended;
    if ((r = receive_restrict_early(session, STAGE_HELO, extended ? "EHLO" : "HELO", &permitted)) != 0 ||
        !permitted) {
        facts->helo[0] = '\0';
        return r;
    }
    session->state = RECEIVE_READY;
    return extended ? reply_extensions(session)
                    : receive_reply(session, 250, NULL, "%s", session->port->myhostname);
}

int
receive_helo(struct receive_session *session, const struct smtp_command *command)
{
    return greet(session, command, false);
}

int
receive_ehlo(struct receive_session *session, const struct smtp_command *command)
{
    return greet(session, command, true);
}

/*
 * receive_starttls - STARTTLS (RFC 3207): the handshake inside the session, and what it agreed on.
 *
 * Before: receive_command.c; after: the client starts again with EHLO. Everything said in plaintext is
 * forgotten, and bytes that came before the handshake are thrown away by the stream, so nothing can be
 * slipped in ahead of it. A failed handshake ends the session: what comes next on the line is not SMTP.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/tls.h"
#include "receive/receive_reply.h"

static void
note_tls(struct receive_session *session)
{
    struct session_facts *facts = &session->facts;
    struct tls_summary summary;
    char client[NET_HOST_MAX + NET_ADDR_TEXT_MAX + 3];

    stream_tls_summary(session->stream, &summary);
    (void)snprintf(facts->tls_protocol, sizeof(facts->tls_protocol), "%s", summary.protocol);
    (void)snprintf(facts->tls_cipher, sizeof(facts->tls_cipher), "%s", summary.cipher);
    facts->tls_bits = (uint16_t)summary.bits_used;
    if (session->port->tls_loglevel >= 1) {
        log_info("smtpd", "%s TLS connection established from %s: %s with cipher %s (%d/%d bits)",
                 summary.peer_trusted           ? "Trusted"
                 : summary.peer_name[0] != '\0' ? "Untrusted"
                                                : "Anonymous",
                 receive_session_client(session, client, sizeof(client)), summary.protocol, summary.cipher,
                 summary.bits_used, summary.bits_total);
    }
}

int
receive_starttls(struct receive_session *session, const struct smtp_command *command)
{
    char client[NET_HOST_MAX + NET_ADDR_TEXT_MAX + 3];
    int r;

    if (command->argument.n > 0) {
        return receive_reply_error(session, 501, "5.5.4", "Syntax: STARTTLS");
    }
    if (session->port->tls_unavailable) {
        return receive_reply_error(session, 454, "4.7.0", "TLS not available due to local problem");
    }
    if (session->port->tls == NULL) {
        return receive_reply_error(session, 502, "5.5.1", "Error: command not implemented");
    }
    if (stream_is_tls(session->stream)) {
        return receive_reply_error(session, 554, "5.5.1", "Error: TLS already active");
    }
    if (session->has_sender) {
        return receive_reply_error(session, 503, "5.5.1", "Error: MAIL transaction in progress");
    }
    if ((r = receive_reply(session, 220, "2.0.0", "Ready to start TLS")) != 0 ||
        (r = stream_flush(session->stream)) != 0) {
        return r;
    }
    stream_set_deadline(session->stream, clock_monotonic_ms() + session->port->starttls_timeout_ms);
    if ((r = stream_start_tls_server(session->stream, session->port->tls)) != 0) {
        log_info("smtpd", "SSL_accept error from %s: %s",
                 receive_session_client(session, client, sizeof(client)),
                 r == GW_ERR_TLS ? stream_tls_error(session->stream) : gw_strerror(r));
        return r;
    }
    /* RFC 3207 section 4.2: knowledge from before the handshake is discarded. */
    session->facts.helo[0] = '\0';
    session->extended = false;
    receive_session_reset_message(session);
    note_tls(session);
    return 0;
}

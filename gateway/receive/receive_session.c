/*
 * receive_session - see the header. Before: receive_service.c (a connection); after: receive_command.c, verb
 * by verb.
 *
 * The whole of a session reads from top to bottom in receive_session_run(). Whatever way it ends, the
 * counters, the disconnect line, the notice and the evidence are written, and the tools are clean for the
 * next client.
 */
#include "receive/receive_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "receive/receive_content.h"
#include "receive/receive_reply.h"

enum {
    EVIDENCE_SEND_RETRIES = 1,
    MESSAGE_ARENA_MAX = 8 * 1024 * 1024,
    SCRATCH_MAX = 256 * 1024,
};

int
receive_tools_init(struct receive_tools *tools, struct receive_shared *shared)
{
    *tools = (struct receive_tools){.shared = shared};
    tools->stream = stream_new(-1);
    tools->dns = dns_client_new(ROLE_RECEIVE);
    tools->servers = restriction_servers_new();
    tools->door = reinjection_new(ROLE_RECEIVE);
    tools->envelope = envelope_new();
    tools->arena = arena_new(MESSAGE_ARENA_MAX);
    tools->spool = malloc(RECEIVE_SPOOL_BUFFER);
    buf_init(&tools->scratch, SCRATCH_MAX);
    if (tools->stream == NULL || tools->dns == NULL || tools->servers == NULL || tools->door == NULL ||
        tools->envelope == NULL || tools->arena == NULL || tools->spool == NULL) {
        receive_tools_free(tools);
        return GW_ERR_NOMEM;
    }
    return 0;
}

void
receive_tools_free(struct receive_tools *tools)
{
    stream_free(&tools->stream);
    dns_client_free(&tools->dns);
    ipc_channel_free(&tools->policy);
    restriction_servers_free(&tools->servers);
    reinjection_free(&tools->door);
    envelope_free(&tools->envelope);
    arena_free(&tools->arena);
    free(tools->spool);
    tools->spool = NULL;
    buf_free(&tools->scratch);
    evidence_free(&tools->evidence);
}

const char *
receive_session_client(const struct receive_session *session, char *out, size_t size)
{
    char address[NET_ADDR_TEXT_MAX];

    net_addr_format(&session->facts.client, address);
    (void)snprintf(out, size, "%s[%s]", session->facts.name, address);
    return out;
}

void
receive_session_reset_message(struct receive_session *session)
{
    if (session->content_fd != -1) {
        (void)close(session->content_fd);
        session->content_fd = -1;
    }
    receive_content_free(&session->content);
    if (session->has_sender) {
        /* Only a message that had begun left something behind: a plain HELO or QUIT skips the work. */
        envelope_reset(session->envelope);
        restriction_effects_free(&session->effects);
    }
    if (session->pending.if_permit || session->pending.if_reject) {
        session->pending = session->session_pending; /* what the sender list asked for goes with the sender */
    }
    session->envelope->queue_id[0] = '\0';
    session->has_sender = false;
    session->sender_given = (struct bytes){0};
    session->accepted_recipients = session->rejected_recipients = session->overshot_recipients = 0;
    session->content_size = 0;
    session->declared_size = 0;
    if (session->xforwarded) {
        session->facts = session->own_facts;
        session->xforwarded = false;
    }
    session->state = session->facts.helo[0] != '\0' ? RECEIVE_READY : RECEIVE_WANT_HELO;
}

/* A notice class that may want the transcript: anything but resource alone costs a copy of the dialogue. */
static bool
wants_transcript(const struct config *view)
{
    const char *classes = config_str(view, P_notify_classes);

    return strstr(classes, "policy") != NULL || strstr(classes, "protocol") != NULL;
}

static void
begin_session(struct receive_session *session, struct receive_tools *tools, const struct receive_port *port,
              const struct net_addr *client, const struct wire_handover *handover)
{
    *session = (struct receive_session){.tools = tools,
                                        .port = port,
                                        .stream = tools->stream,
                                        .envelope = tools->envelope,
                                        .content_fd = -1,
                                        .last_verb = "CONNECT"};
    struct session_facts *facts = &session->facts;

    session->peer = *client;
    restriction_effects_init(&session->effects);
    facts->client = *client;
    (void)snprintf(facts->name, sizeof(facts->name), "unknown");
    (void)snprintf(facts->reverse_name, sizeof(facts->reverse_name), "unknown");
    (void)snprintf(facts->service, sizeof(facts->service), "%s", port->service);
    (void)snprintf(facts->protocol, sizeof(facts->protocol), "SMTP");
    queue_id_make(facts->ident, clock_wall_us(),
                  (atomic_fetch_add(&tools->shared->sequence, 1) << 22) | tools->shared->slot);
    session->keep_transcript = wants_transcript(port->view);
    buf_init(&session->transcript, RECEIVE_TRANSCRIPT_MAX);
    (void)evidence_begin(&tools->evidence, facts->ident, "receive");
    if (handover != NULL && handover->evidence.n > 0) {
        (void)buf_append_bytes(&tools->evidence.record, handover->evidence);
    }
    envelope_reset(session->envelope);
}

/* Our end of the connection: policy servers and permit_inet_interfaces ask for it. */
static void
note_server(struct receive_session *session)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);

    if (getsockname(stream_fd(session->stream), (struct sockaddr *)&address, &length) == 0) {
        net_addr_from_sockaddr((const struct sockaddr *)&address, &session->facts.server);
    }
}

static void
log_disconnect(struct receive_session *session)
{
    struct buf line;
    char client[NET_HOST_MAX + NET_ADDR_TEXT_MAX + 3];
    unsigned commands = 0, ok = 0;

    buf_init(&line, RECEIVE_REPLY_MAX);
    (void)buf_printf(&line, "disconnect from %s", receive_session_client(session, client, sizeof(client)));
    for (size_t verb = 0; verb < SMTP_VERB_COUNT; verb++) {
        unsigned all = session->all_counts[verb];

        if (all == 0) {
            continue;
        }
        commands += all;
        ok += session->ok_counts[verb];
        if (all == session->ok_counts[verb]) {
            (void)buf_printf(&line, " %s=%u", smtp_verb_log_name((enum smtp_verb)verb), all);
        } else {
            (void)buf_printf(&line, " %s=%u/%u", smtp_verb_log_name((enum smtp_verb)verb),
                             session->ok_counts[verb], all);
        }
    }
    if (ok == commands) {
        (void)buf_printf(&line, " commands=%u", commands);
    } else {
        (void)buf_printf(&line, " commands=%u/%u", ok, commands);
    }
    log_info("smtpd", "%s", buf_str(&line));
    buf_free(&line);
}

/* The evidence of a session goes to the policy role in one packet; nobody waits for it, and mail never fails
 * for it. */
static void
send_evidence(struct receive_session *session)
{
    struct receive_tools *tools = session->tools;

    for (int attempt = 0; attempt <= EVIDENCE_SEND_RETRIES; attempt++) {
        struct ipc_channel *policy = receive_policy_channel(tools);

        if (policy == NULL ||
            ipc_send(policy, WIRE_EVIDENCE, 0, bytes_buf(&tools->evidence.record), NULL, 0) == 0) {
            break;
        }
        ipc_channel_free(&tools->policy); /* the policy role was restarted: connect again, once */
    }
}

/* How the loop ended, as Postfix words it in "lost connection after DATA from ..." and "timeout after ...".
 */
static void
log_end(struct receive_session *session, int error, enum smtp_verb last)
{
    char client[NET_HOST_MAX + NET_ADDR_TEXT_MAX + 3];
    const char *what = error == GW_ERR_TIMEOUT ? "timeout" : "lost connection";

    if (session->quit || error == 0 || error == GW_ERR_DENIED) {
        return;
    }
    log_info("smtpd", "%s after %s from %s", what, last == SMTP_VERB_COUNT ? "CONNECT" : smtp_verb_name(last),
             receive_session_client(session, client, sizeof(client)));
    session->protocol_event = true;
    if (error == GW_ERR_TIMEOUT) {
        /* Postfix's last words to a client that stalled; it may well be gone, so nobody waits for the send.
         */
        stream_set_deadline(session->stream, clock_monotonic_ms() + 1000);
        (void)receive_reply(session, 421, "4.4.2", "%s Error: timeout exceeded", session->port->myhostname);
        (void)stream_flush(session->stream);
    }
}

static void
end_session(struct receive_session *session)
{
    struct receive_tools *tools = session->tools;

    receive_session_reset_message(session);
    log_disconnect(session);
    if (session->counted) {
        rates_disconnect(tools->shared->rates, &session->peer);
    }
    receive_notify(session);
    send_evidence(session);
    evidence_free(&tools->evidence);
    buf_free(&session->transcript);
    stream_detach_close(session->stream);
}

/* Counts the client; a refusal is said once and ends the session before the greeting. */
static int
check_rates(struct receive_session *session)
{
    const struct receive_port *port = session->port;
    struct rates *rates = session->tools->shared->rates;
    char client[NET_HOST_MAX + NET_ADDR_TEXT_MAX + 3], address[NET_ADDR_TEXT_MAX];

    if (!rates_is_needed(&port->rates) ||
        match_list_client(port->event_limit_exceptions, session->facts.name, &session->facts.client) == 1) {
        return 0;
    }
    session->counted = true;
    net_addr_format(&session->facts.client, address);
    if (!rates_connect(rates, &port->rates, &session->facts.client)) {
        log_warning("smtpd", "Connection concurrency limit exceeded: %s for service %s",
                    receive_session_client(session, client, sizeof(client)), port->service);
        (void)receive_reply(session, 421, "4.7.0", "%s Error: too many connections from %s", port->myhostname,
                            address);
        (void)stream_flush(session->stream);
        return GW_ERR_DENIED;
    }
    if (!rates_count(rates, &port->rates, &session->facts.client, RATES_CONNECTION)) {
        log_warning("smtpd", "Connection rate limit exceeded: %s for service %s",
                    receive_session_client(session, client, sizeof(client)), port->service);
        (void)receive_reply(session, 421, "4.7.0", "%s Error: too many connections from %s", port->myhostname,
                            address);
        (void)stream_flush(session->stream);
        return GW_ERR_DENIED;
    }
    return 0;
}

void
receive_session_note_client(struct receive_session *session)
{
    char client[NET_HOST_MAX + NET_ADDR_TEXT_MAX + 3];

    receive_session_client(session, client, sizeof(client));
    evidence_add(&session->tools->evidence, EV_CONNECT, bytes_str(client), (struct bytes){0},
                 (struct bytes){0}, bytes_str(session->port->service), session->facts.client.port);
}

static void
log_connect(const struct receive_session *session)
{
    char client[NET_HOST_MAX + NET_ADDR_TEXT_MAX + 3];

    log_info("smtpd", "connect from %s", receive_session_client(session, client, sizeof(client)));
}

/* At connect, and again after XCLIENT: the client that was named there is served as if it had connected
 * itself. */
int
receive_session_greet(struct receive_session *session)
{
    bool permitted = true;
    int r = receive_restrict_early(session, STAGE_CLIENT, "CONNECT", &permitted);

    session->access_denied = !permitted;
    /* After screen's teaser "220-..." this is the last line of that reply. */
    return r == 0 && permitted ? receive_reply(session, 220, NULL, "%s", session->port->banner) : r;
}

void
receive_session_run(struct receive_tools *tools, const struct receive_port *port, int fd,
                    const struct net_addr *client, const struct wire_handover *handover)
{
    struct receive_session session;
    enum smtp_verb last = SMTP_VERB_COUNT;
    int r;

    if (handover != NULL) {
        stream_attach(tools->stream, fd);
    } else {
        stream_attach_accepted(tools->stream, fd);
    }
    stream_set_deadline(tools->stream, clock_monotonic_ms() + port->timeout_ms);
    begin_session(&session, tools, port, client, handover);
    note_server(&session);
    if (port->peername_lookup) {
        receive_client_name(&session);
    }
    int trusted = match_list_client(port->mynetworks, session.facts.name, &session.facts.client);
    session.trusted_client = trusted == 1;
    session.trust_unknown = trusted < 0;
    receive_session_note_client(&session);
    log_connect(&session);
    if ((r = check_rates(&session)) == 0) {
        r = receive_session_greet(&session);
    }
    while (r == 0 && !session.quit) {
        r = receive_command_next(&session, &last);
    }
    if (session.quit) {
        (void)stream_flush(session.stream); /* the last words of whoever ended it: 221, 421, 521 */
    }
    log_end(&session, r, last);
    end_session(&session);
}

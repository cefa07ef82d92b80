/*
 * receive_mail - MAIL FROM: begins a message.
 *
 * Before: receive_command.c; after: RCPT. Parameters of SIZE, 8BITMIME, SMTPUTF8 and DSN (RFC 1870, 6152,
 * 6531, 3461).
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "message/address.h"
#include "receive/receive_reply.h"

enum { ENVID_MAX = 100 };

/* A refusal of a parameter: written to the client, counted as a mistake. 0 is "go on". */
struct parameter_error {
    int code;
    const char *dsn;
    const char *text;
};

static struct parameter_error
take_size(struct receive_session *session, struct bytes value)
{
    uint64_t size;

    if (bytes_to_u64(value, &size) != 0) {
        return (struct parameter_error){501, "5.5.4", "Bad message size syntax"};
    }
    if (session->port->message_size_limit > 0 && size > (uint64_t)session->port->message_size_limit) {
        return (struct parameter_error){552, "5.3.4", "Message size exceeds fixed limit"};
    }
    session->declared_size = size;
    return (struct parameter_error){0};
}

static struct parameter_error
take_body(struct receive_session *session, struct bytes value)
{
    if (bytes_equal_nocase(value, BYTES_LIT("8BITMIME"))) {
        session->envelope->body = BODY_8BITMIME;
    } else if (!bytes_equal_nocase(value, BYTES_LIT("7BIT"))) {
        return (struct parameter_error){501, "5.5.4", "Bad BODY parameter value"};
    }
    return (struct parameter_error){0};
}

static struct parameter_error
take_smtputf8(struct receive_session *session, struct bytes value)
{
    (void)value;
    if (!session->port->smtputf8) {
        return (struct parameter_error){555, "5.5.4", "Unsupported option: SMTPUTF8"};
    }
    session->envelope->smtputf8 = true;
    return (struct parameter_error){0};
}

static struct parameter_error
take_ret(struct receive_session *session, struct bytes value)
{
    bool full = bytes_equal_nocase(value, BYTES_LIT("FULL"));

    if (!full && !bytes_equal_nocase(value, BYTES_LIT("HDRS"))) {
        return (struct parameter_error){501, "5.5.4", "Bad RET parameter syntax"};
    }
    session->envelope->dsn_ret = full ? 'F' : 'H';
    return (struct parameter_error){0};
}

static struct parameter_error
take_envid(struct receive_session *session, struct bytes value)
{
    uint8_t decoded[ENVID_MAX];
    size_t n;

    if (xtext_decode(value, decoded, sizeof(decoded), &n) != 0) {
        return (struct parameter_error){501, "5.5.4", "Bad ENVID parameter syntax"};
    }
    session->envelope->dsn_envid = arena_dup(session->envelope->arena, value);
    return (struct parameter_error){0};
}

/* AUTH=<...> from a client we do not authenticate means nothing, and is no mistake (RFC 4954 section 5). */
static struct parameter_error
take_auth(struct receive_session *session, struct bytes value)
{
    (void)session;
    (void)value;
    return (struct parameter_error){0};
}

static const struct {
    const char *name;
    struct parameter_error (*take)(struct receive_session *session, struct bytes value);
} PARAMETERS[] = {
    {"SIZE", take_size}, {"BODY", take_body},   {"SMTPUTF8", take_smtputf8},
    {"RET", take_ret},   {"ENVID", take_envid}, {"AUTH", take_auth},
};

static struct parameter_error
take_parameters(struct receive_session *session, const struct smtp_command *command)
{
    for (size_t i = 0; i < command->parameter_count; i++) {
        struct parameter_error error = {555, "5.5.4", "Unsupported option"};

        for (size_t k = 0; k < sizeof(PARAMETERS) / sizeof(PARAMETERS[0]); k++) {
            if (bytes_equal_nocase(command->parameters[i].name, bytes_str(PARAMETERS[k].name))) {
                error = PARAMETERS[k].take(session, command->parameters[i].value);
            }
        }
        if (error.code != 0) {
            return error;
        }
    }
    return (struct parameter_error){0};
}

/* What must hold before MAIL is looked at. 0 with *go_on_r, or the reply was given. */
static int
check_state(struct receive_session *session, bool *go_on_r)
{
    char address[NET_ADDR_TEXT_MAX], client[NET_HOST_MAX + NET_ADDR_TEXT_MAX + 3];

    *go_on_r = false;
    if (session->port->helo_required && session->facts.helo[0] == '\0') {
        return receive_reply_error(session, 503, "5.5.1", "Error: send HELO/EHLO first");
    }
    if (session->has_sender) {
        return receive_reply_error(session, 503, "5.5.1",
                                   session->state == RECEIVE_BDAT ? "Error: MAIL after BDAT"
                                                                  : "Error: nested MAIL command");
    }
    if (session->counted &&
        !rates_count(session->tools->shared->rates, &session->port->rates, &session->peer, RATES_MESSAGE)) {
        net_addr_format(&session->peer, address);
        log_warning("smtpd", "Message delivery request rate limit exceeded: %s for service %s",
                    receive_session_client(session, client, sizeof(client)), session->port->service);
        session->errors++;
        return receive_reply(session, 450, "4.7.1", "Error: too much mail from %s", address);
    }
    if (!receive_room_is_there(&session->tools->shared->room, (uint64_t)session->port->queue_minfree,
                               (uint64_t)session->port->message_size_limit)) {
        return receive_reply(session, 452, "4.3.1", "Insufficient system storage");
    }
    *go_on_r = true;
    return 0;
}

int
receive_mail(struct receive_session *session, const struct smtp_command *command)
{
    struct smtp_command *parsed = &session->tools->command;
    struct envelope *envelope = session->envelope;
    bool go_on;
    int r = check_state(session, &go_on);

    if (r != 0 || !go_on) {
        return r;
    }
    if (!bytes_has_prefix_nocase(command->argument, BYTES_LIT("FROM:"))) {
        return receive_reply_error(session, 501, "5.5.4", "Syntax: MAIL FROM:<address>");
    }
    r = smtp_command_path(parsed, BYTES_LIT("FROM:"), session->port->strict_envelopes);
    if (r != 0 || parsed->path.n > ENVELOPE_ADDRESS_MAX ||
        !router_accepts(session->port->router, parsed->path)) {
        return receive_reply_error(session, 501, "5.1.7", "Bad sender address syntax");
    }
    envelope_reset(envelope);
    envelope->session = session->facts;
    session->has_sender = true; /* from here on a reset has something to undo */
    struct parameter_error error = take_parameters(session, parsed);
    if (error.code == 0 && envelope_set_sender(envelope, parsed->path) != 0) {
        error = (struct parameter_error){451, "4.3.0", "Error: internal error"};
    }
    if (error.code != 0) {
        receive_session_reset_message(session);
        return receive_reply_error(session, error.code, error.dsn, error.text);
    }
    session->sender_given = envelope->sender;
    if ((r = receive_restrict_early(session, STAGE_SENDER, "MAIL", &go_on)) != 0 || !go_on) {
        receive_session_reset_message(session);
        return r;
    }
    session->state = RECEIVE_MAIL;
    evidence_add(&session->tools->evidence, EV_COMMAND, BYTES_LIT("MAIL"), envelope->sender, BYTES_LIT("250"),
                 (struct bytes){0}, 250);
    return receive_reply(session, 250, "2.1.0", "Ok");
}

/*
 * receive_xclient - XCLIENT and XFORWARD: a trusted neighbour says who the client really is.
 *
 * Before: receive_command.c; after: everything that looks at the session's facts. XCLIENT changes who we
 * serve: the session begins anew with the greeting. XFORWARD is for logging one message and grants nothing.
 * Only hosts in smtpd_authorized_xclient_hosts and smtpd_authorized_xforward_hosts may (Postfix
 * XCLIENT_README, XFORWARD_README).
 */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "message/address.h"
#include "receive/receive_reply.h"

enum { VALUE_MAX = 512 };

/* One decoded value. "[UNAVAILABLE]" is definite, "[TEMPUNAVAIL]" is not. */
struct value {
    struct bytes bytes;
    bool unavailable, temporary;
    char text[VALUE_MAX];
};

static int
decode(struct bytes raw, struct value *value)
{
    size_t n;

    *value = (struct value){0};
    value->unavailable = bytes_equal_nocase(raw, BYTES_LIT("[UNAVAILABLE]"));
    value->temporary = bytes_equal_nocase(raw, BYTES_LIT("[TEMPUNAVAIL]"));
    if (value->unavailable || value->temporary) {
        return 0;
    }
    if (raw.n == 0 || xtext_decode(raw, (uint8_t *)value->text, sizeof(value->text) - 1, &n) != 0 ||
        memchr(value->text, '\0', n) != NULL) {
        return GW_ERR_SYNTAX;
    }
    value->text[n] = '\0';
    value->bytes = bytes_of(value->text, n);
    return 0;
}

static enum client_name_state
state_of(const struct value *value)
{
    return value->temporary ? CLIENT_NAME_TEMP : value->unavailable ? CLIENT_NAME_NONE : CLIENT_NAME_OK;
}

static int
take_host(char *out, size_t size, const struct value *value)
{
    if (value->bytes.n > 0 && (!address_is_hostname(value->bytes) || value->bytes.n >= size)) {
        return GW_ERR_SYNTAX;
    }
    struct bytes name = value->bytes.n > 0 ? value->bytes : BYTES_LIT("unknown");
    (void)snprintf(out, size, "%.*s", BYTES_FMT(name));
    return 0;
}

static int
take_name(struct session_facts *facts, const struct value *value)
{
    facts->name_state = state_of(value);
    /* Without REVERSE_NAME both are the same; a REVERSE_NAME that follows says better. */
    facts->reverse_state = facts->name_state;
    return take_host(facts->name, sizeof(facts->name), value) != 0
               ? GW_ERR_SYNTAX
               : take_host(facts->reverse_name, sizeof(facts->reverse_name), value);
}

static int
take_reverse_name(struct session_facts *facts, const struct value *value)
{
    facts->reverse_state = state_of(value);
    return take_host(facts->reverse_name, sizeof(facts->reverse_name), value);
}

static int
take_address(struct net_addr *addr, const struct value *value)
{
    struct bytes text = value->bytes;
    struct bytes prefix = BYTES_LIT("IPV6:");
    struct net_addr parsed;

    if (text.n == 0) {
        *addr = (struct net_addr){.port = addr->port};
        return 0;
    }
    if (bytes_has_prefix_nocase(text, prefix)) {
        text = bytes_sub(text, prefix.n, text.n);
    }
    if (net_addr_parse(text, &parsed) != 0) {
        return GW_ERR_SYNTAX;
    }
    parsed.port = addr->port;
    *addr = parsed;
    return 0;
}

static int
take_addr(struct session_facts *facts, const struct value *value)
{
    return take_address(&facts->client, value);
}

static int
take_destaddr(struct session_facts *facts, const struct value *value)
{
    return take_address(&facts->server, value);
}

static int
take_port_number(uint16_t *port, const struct value *value)
{
    uint64_t number = 0;

    if (value->bytes.n > 0 && (bytes_to_u64(value->bytes, &number) != 0 || number > UINT16_MAX)) {
        return GW_ERR_SYNTAX;
    }
    *port = (uint16_t)number;
    return 0;
}

static int
take_port(struct session_facts *facts, const struct value *value)
{
    return take_port_number(&facts->client.port, value);
}

static int
take_destport(struct session_facts *facts, const struct value *value)
{
    return take_port_number(&facts->server.port, value);
}

static int
take_helo(struct session_facts *facts, const struct value *value)
{
    struct buf name;

    buf_init(&name, SESSION_HELO_MAX);
    (void)buf_append_printable(&name, value->bytes, SESSION_HELO_MAX - 1, true);
    (void)snprintf(facts->helo, sizeof(facts->helo), "%s", buf_str(&name));
    buf_free(&name);
    return 0;
}

static int
take_proto(struct session_facts *facts, const struct value *value)
{
    if (value->bytes.n > 0 && !bytes_equal_nocase(value->bytes, BYTES_LIT("SMTP")) &&
        !bytes_equal_nocase(value->bytes, BYTES_LIT("ESMTP"))) {
        return GW_ERR_SYNTAX;
    }
    bool extended = bytes_equal_nocase(value->bytes, BYTES_LIT("ESMTP"));
    (void)snprintf(facts->protocol, sizeof(facts->protocol), "%s", extended ? "ESMTP" : "SMTP");
    return 0;
}

static int
take_login(struct session_facts *facts, const struct value *value)
{
    (void)snprintf(facts->sasl_user, sizeof(facts->sasl_user), "%.*s", (int)sizeof(facts->sasl_user) - 1,
                   value->text);
    (void)snprintf(facts->sasl_method, sizeof(facts->sasl_method), "%s",
                   value->text[0] != '\0' ? "XCLIENT" : "");
    return 0;
}

static int
take_nothing(struct session_facts *facts, const struct value *value)
{
    (void)facts;
    (void)value;
    return 0;
}

struct attribute {
    const char *name;
    int (*take)(struct session_facts *facts, const struct value *value);
};

static const struct attribute XCLIENT_ATTRIBUTES[] = {
    {"NAME", take_name},         {"REVERSE_NAME", take_reverse_name},
    {"ADDR", take_addr},         {"PORT", take_port},
    {"HELO", take_helo},         {"PROTO", take_proto},
    {"LOGIN", take_login},       {"DESTADDR", take_destaddr},
    {"DESTPORT", take_destport}, {NULL, NULL},
};

static const struct attribute XFORWARD_ATTRIBUTES[] = {
    {"NAME", take_name},   {"ADDR", take_addr},     {"PORT", take_port},      {"HELO", take_helo},
    {"PROTO", take_proto}, {"IDENT", take_nothing}, {"SOURCE", take_nothing}, {NULL, NULL},
};

/* Applies all attributes to a copy; the copy counts only when all were good. */
static int
take_attributes(struct smtp_command *command, const struct attribute *table, struct session_facts *facts)
{
    struct session_facts changed = *facts;
    struct value value;

    if (smtp_command_attributes(command) != 0 || command->parameter_count == 0) {
        return GW_ERR_SYNTAX;
    }
    for (size_t i = 0; i < command->parameter_count; i++) {
        const struct attribute *row = table;

        while (row->name != NULL && !bytes_equal_nocase(command->parameters[i].name, bytes_str(row->name))) {
            row++;
        }
        if (row->name == NULL || command->parameters[i].value.p == NULL ||
            decode(command->parameters[i].value, &value) != 0 || row->take(&changed, &value) != 0) {
            return GW_ERR_SYNTAX;
        }
    }
    *facts = changed;
    return 0;
}

int
receive_xclient(struct receive_session *session, const struct smtp_command *command)
{
    const struct receive_port *port = session->port;

    (void)command;
    if (session->has_sender) {
        return receive_reply_error(session, 503, "5.5.1", "Error: MAIL transaction in progress");
    }
    if (port->xclient_hosts == NULL || match_list_client(port->xclient_hosts, NULL, &session->peer) != 1) {
        return receive_reply_error(session, 550, "5.7.0", "Error: insufficient authorization");
    }
    session->facts.helo[0] = '\0';
    session->facts.sasl_user[0] = session->facts.sasl_method[0] = '\0';
    if (take_attributes(&session->tools->command, XCLIENT_ATTRIBUTES, &session->facts) != 0) {
        return receive_reply_error(session, 501, "5.5.4", "Syntax: XCLIENT attribute=value...");
    }
    int trusted = match_list_client(port->mynetworks, session->facts.name, &session->facts.client);
    session->trusted_client = trusted == 1;
    session->trust_unknown = trusted < 0;
    session->extended = false;
    session->session_pending = (struct restriction_pending){0};
    receive_session_reset_message(session);
    receive_session_note_client(session);
    return receive_session_greet(session);
}

int
receive_xforward(struct receive_session *session, const struct smtp_command *command)
{
    const struct receive_port *port = session->port;
    struct session_facts facts = session->facts;

    (void)command;
    if (session->has_sender) {
        return receive_reply_error(session, 503, "5.5.1", "Error: MAIL transaction in progress");
    }
    if (port->xforward_hosts == NULL || match_list_client(port->xforward_hosts, NULL, &session->peer) != 1) {
        return receive_reply_error(session, 550, "5.7.0", "Error: insufficient authorization");
    }
    if (take_attributes(&session->tools->command, XFORWARD_ATTRIBUTES, &facts) != 0) {
        return receive_reply_error(session, 501, "5.5.4", "Syntax: XFORWARD attribute=value...");
    }
    if (!session->xforwarded) {
        session->own_facts = session->facts;
        session->xforwarded = true;
    }
    session->facts = facts;
    return receive_reply(session, 250, "2.0.0", "Ok");
}

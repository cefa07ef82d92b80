/*
 * receive_rcpt - RCPT TO: may this client send to this recipient, and where does the address lead.
 *
 * Before: MAIL; after: DATA. All delayed restriction lists run here. An accepted recipient is rewritten and
 * expanded as Postfix's cleanup does (canonical, virtual alias), so the queue gets final addresses. The queue
 * id is given out at the first accepted recipient, and logged with the client.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "message/address.h"
#include "receive/receive_reply.h"

enum { ORCPT_MAX = 500, ADDRESS_BUF = 2 * ENVELOPE_ADDRESS_MAX };

/* The lists that are run at RCPT, with the relay list last or last but one. */
static const enum restriction_stage DELAYED[2][5] = {
    {STAGE_CLIENT, STAGE_HELO, STAGE_SENDER, STAGE_RECIPIENT, STAGE_RELAY},
    {STAGE_CLIENT, STAGE_HELO, STAGE_SENDER, STAGE_RELAY, STAGE_RECIPIENT},
};

static int
parse_notify(struct bytes value, uint8_t *notify_r)
{
    static const struct {
        const char *word;
        uint8_t bit;
    } WORDS[] = {{"NEVER", NOTIFY_NEVER},
                 {"SUCCESS", NOTIFY_SUCCESS},
                 {"FAILURE", NOTIFY_FAILURE},
                 {"DELAY", NOTIFY_DELAY}};
    struct bytes rest = value, word;

    *notify_r = NOTIFY_DEFAULT;
    while (bytes_next_token(&rest, ",", &word)) {
        bool known = false;

        for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++) {
            if (bytes_equal_nocase(word, bytes_str(WORDS[i].word))) {
                *notify_r |= WORDS[i].bit;
                known = true;
            }
        }
        if (!known) {
            return GW_ERR_SYNTAX;
        }
    }
    /* NEVER stands alone (RFC 3461 section 4.1). */
    return *notify_r == 0 || ((*notify_r & NOTIFY_NEVER) != 0 && *notify_r != NOTIFY_NEVER) ? GW_ERR_SYNTAX
                                                                                            : 0;
}

/* NOTIFY and ORCPT. NULL, or the mistake in words. */
static const char *
take_parameters(const struct smtp_command *command, uint8_t *notify_r, struct bytes *orcpt_r)
{
    *notify_r = NOTIFY_DEFAULT;
    *orcpt_r = (struct bytes){0};
    for (size_t i = 0; i < command->parameter_count; i++) {
        const struct smtp_parameter *parameter = &command->parameters[i];

        if (bytes_equal_nocase(parameter->name, BYTES_LIT("NOTIFY"))) {
            if (parse_notify(parameter->value, notify_r) != 0) {
                return "Error: Bad NOTIFY parameter syntax";
            }
        } else if (bytes_equal_nocase(parameter->name, BYTES_LIT("ORCPT"))) {
            if (bytes_index(parameter->value, ';') <= 0 || parameter->value.n > ORCPT_MAX) {
                return "Error: Bad ORCPT parameter syntax";
            }
            *orcpt_r = parameter->value;
        } else {
            return "Unsupported option";
        }
    }
    return NULL;
}

struct expansion {
    const struct router *router;
    struct envelope *envelope;
    struct recipient recipient; /* the address changes */
};

static int
add_expanded(void *context, struct bytes address)
{
    struct expansion *expansion = context;

    expansion->recipient.address = address;
    return router_add_recipient(expansion->router, expansion->envelope, &expansion->recipient);
}

static void
give_queue_id(struct receive_session *session)
{
    struct receive_shared *shared = session->tools->shared;
    struct envelope *envelope = session->envelope;
    char client[NET_HOST_MAX + NET_ADDR_TEXT_MAX + 3];

    if (envelope->queue_id[0] != '\0') {
        return;
    }
    envelope->arrival_us = clock_wall_us();
    queue_id_make(envelope->queue_id, envelope->arrival_us,
                  (atomic_fetch_add(&shared->sequence, 1) << 22) | shared->slot);
    log_info("smtpd", "%s: client=%s", envelope->queue_id,
             receive_session_client(session, client, sizeof(client)));
}

/* The recipients that the canonical address leads to, into the envelope. */
static int
add_recipient(struct receive_session *session, struct bytes canonical, struct bytes given, uint8_t notify,
              struct bytes orcpt)
{
    struct expansion expansion = {
        session->port->router,
        session->envelope,
        {.original = given, .dsn_orcpt = orcpt, .notify = notify},
    };
    size_t before = session->envelope->recipient_count;
    int r = router_recipients(session->port->router, canonical, add_expanded, &expansion);

    if (r != 0) {
        session->envelope->recipient_count = before;
    }
    return r;
}

static int
check_limits(struct receive_session *session, bool *go_on_r)
{
    char address[NET_ADDR_TEXT_MAX];

    *go_on_r = false;
    if (!session->has_sender) {
        return receive_reply_error(session, 503, "5.5.1", "Error: need MAIL command");
    }
    if (session->state == RECEIVE_BDAT) {
        return receive_reply_error(session, 503, "5.5.1", "Error: RCPT after BDAT");
    }
    if ((int64_t)session->accepted_recipients >= session->port->recipient_limit) {
        /* A long list is no mistake: so many more are told to come again before each counts as an error. */
        session->errors +=
            (int64_t)session->overshot_recipients++ >= session->port->recipient_overshoot_limit;
        return receive_reply(session, 452, "4.5.3", "Error: too many recipients");
    }
    if (session->counted &&
        !rates_count(session->tools->shared->rates, &session->port->rates, &session->peer, RATES_RECIPIENT)) {
        net_addr_format(&session->peer, address);
        session->errors++;
        return receive_reply(session, 450, "4.7.1", "Error: too many recipients from %s", address);
    }
    *go_on_r = true;
    return 0;
}

/* Why a recipient whom the lists let through cannot be taken. */
static const struct {
    int error; /* 0: all others */
    int code;
    const char *dsn, *text;
} FAILURES[] = {
    {GW_ERR_EXISTS, 550, "5.4.6",
     "Recipient address rejected: virtual_alias_maps lead from this address back to it"},
    {GW_ERR_LIMIT, 451, "4.6.0", "Alias expansion error"},
    {0, 451, "4.3.0", "Temporary lookup failure"},
};

static int
refuse_recipient(struct receive_session *session, int error)
{
    struct buf text;
    size_t i = 0;

    if (error == GW_ERR_FULL) {
        session->errors++;
        return receive_reply(session, 452, "4.5.3", "Error: too many recipients");
    }
    while (FAILURES[i].error != 0 && FAILURES[i].error != error) {
        i++;
    }
    buf_init(&text, RECEIVE_REPLY_MAX);
    (void)buf_append_byte(&text, '<');
    (void)buf_append_printable(&text, session->tools->command.path, ENVELOPE_ADDRESS_MAX, true);
    (void)buf_printf(&text, ">: %s", FAILURES[i].text);
    int r = receive_reject(session, "RCPT", session->tools->command.path, FAILURES[i].code, FAILURES[i].dsn,
                           bytes_buf(&text));
    buf_free(&text);
    return r;
}

static int
accept_recipient(struct receive_session *session, struct bytes canonical, uint8_t notify, struct bytes orcpt)
{
    int r = add_recipient(session, canonical, session->tools->command.path, notify, orcpt);

    if (r != 0) {
        return refuse_recipient(session, r);
    }
    give_queue_id(session);
    session->accepted_recipients++;
    session->state = RECEIVE_RCPT;
    evidence_add(&session->tools->evidence, EV_COMMAND, BYTES_LIT("RCPT"), session->tools->command.path,
                 BYTES_LIT("250"), canonical, 250);
    return receive_reply(session, 250, "2.1.5", "Ok");
}

int
receive_rcpt(struct receive_session *session, const struct smtp_command *command)
{
    struct smtp_command *parsed = &session->tools->command;
    uint8_t notify;
    struct bytes orcpt;
    const char *mistake;
    struct buf canonical;
    bool go_on;
    int r = check_limits(session, &go_on);

    if (r != 0 || !go_on) {
        return r;
    }
    if (!bytes_has_prefix_nocase(command->argument, BYTES_LIT("TO:"))) {
        return receive_reply_error(session, 501, "5.5.4", "Syntax: RCPT TO:<address>");
    }
    r = smtp_command_path(parsed, BYTES_LIT("TO:"), session->port->strict_envelopes);
    if (r != 0 || parsed->path.n == 0 || parsed->path.n > ENVELOPE_ADDRESS_MAX ||
        !router_accepts(session->port->router, parsed->path)) {
        return receive_reply_error(session, 501, "5.1.3", "Bad recipient address syntax");
    }
    if ((mistake = take_parameters(parsed, &notify, &orcpt)) != NULL) {
        bool unknown = strncmp(mistake, "Unsupported", 11) == 0;
        return receive_reply_error(session, unknown ? 555 : 501, "5.5.4", mistake);
    }
    buf_init(&canonical, ADDRESS_BUF);
    r = router_canonical_form(session->port->router, parsed->path, &canonical);
    if (r != 0) {
        r = receive_reply_error(session, 501, "5.1.3", "Bad recipient address syntax");
        goto out;
    }
    const enum restriction_stage *stages = DELAYED[session->port->relay_before_recipient];
    size_t first = session->port->delay_reject ? 0 : 3;
    r = receive_restrict(session, stages + first, sizeof(DELAYED[0]) / sizeof(DELAYED[0][0]) - first, "RCPT",
                         bytes_buf(&canonical), parsed->path, &go_on);
    if (r == 0 && go_on) {
        r = accept_recipient(session, bytes_buf(&canonical), notify, orcpt);
    } else if (r == 0) {
        session->rejected_recipients++;
    }
out:
    buf_free(&canonical);
    return r;
}

/*
 * relay_transaction - see the header. Before: relay_session.c; after: relay_content.c for the content, then
 * relay_delivery.c, which looks at what is still pending.
 *
 * Where the server takes PIPELINING the whole envelope and DATA go out in one write (RFC 2920); otherwise the
 * same steps go one by one. The steps: RSET and XFORWARD (each only when wanted), MAIL, one RCPT per offered
 * recipient, DATA. LMTP differs only in having one reply per accepted recipient after the dot (RFC 2033).
 */
#include "relay/relay_transaction.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "message/address.h"
#include "base/log.h"
#include "base/stream.h"
#include "relay/relay_content.h"
#include "relay/relay_xforward.h"

/* Commands in flight: replies to them must fit the peer's send window, or both sides would wait for each
 * other. */
enum { FLIGHT_MAX = 100, CLASS_OK = 2, CODE_GO_ON = 354 };

enum step { STEP_RSET, STEP_XFORWARD, STEP_MAIL, STEP_RCPT, STEP_DATA, STEPS };

static const struct {
    const char *stage; /* "... while <stage>" */
    const char *reply; /* "(in reply to <reply>)" */
    size_t timeout;    /* offset of the time limit in struct relay_settings */
} STEP_TEXTS[STEPS + 1] = {
    [STEP_RSET] = {"sending RSET", "RSET command", offsetof(struct relay_settings, rset_ms)},
    [STEP_XFORWARD] = {"sending XFORWARD name/address", "XFORWARD command",
                       offsetof(struct relay_settings, xforward_ms)},
    [STEP_MAIL] = {"sending MAIL FROM", "MAIL FROM command", offsetof(struct relay_settings, mail_ms)},
    [STEP_RCPT] = {"sending RCPT TO", "RCPT TO command", offsetof(struct relay_settings, rcpt_ms)},
    [STEP_DATA] = {"sending DATA command", "DATA command", offsetof(struct relay_settings, data_init_ms)},
    [STEPS] = {"sending message body", "message body", offsetof(struct relay_settings, data_xfer_ms)},
};

static const char END_STAGE[] = "sending end of data -- message may be sent more than once";
static const char END_COMMAND[] = "end of DATA command";

/* A place in the sequence of commands; one cursor sends, another reads the replies behind it. */
struct place {
    enum step step;
    size_t index; /* of the recipient, for STEP_RCPT */
};

struct transaction {
    struct relay_session *session;
    struct relay_task *task;
    struct place at; /* the next reply */
    size_t accepted; /* recipients */
    bool mail_ok;
    bool data_ok;       /* 354 came and recipients wait for it */
    bool data_unwanted; /* 354 came although nobody was accepted: an empty message ends it */
};

static size_t
next_offered(const struct relay_task *task, size_t index)
{
    while (index < task->count && !task->recipients[index].offered) {
        index++;
    }
    return index;
}

/* False behind the last command. */
static bool
advance(const struct transaction *t, struct place *place)
{
    if (place->step == STEP_RCPT) {
        place->index = next_offered(t->task, place->index + 1);
        if (place->index < t->task->count) {
            return true;
        }
    }
    place->step++;
    if (place->step == STEP_XFORWARD && !(t->session->settings->send_xforward && t->session->xforward != 0)) {
        place->step++;
    }
    if (place->step == STEP_RCPT) {
        place->index = next_offered(t->task, 0);
    }
    return place->step < STEPS;
}

static int
append_mail(struct buf *out, const struct relay_session *session, const struct envelope *envelope)
{
    int r;

    (void)buf_append_str(out, "MAIL FROM:<");
    if ((r = address_append_quoted(out, envelope->sender)) != 0) {
        return r;
    }
    (void)buf_append_byte(out, '>');
    if (session->features & RELAY_FEATURE_SIZE) {
        (void)buf_printf(out, " SIZE=%llu", (unsigned long long)envelope->size);
    }
    /* Without 8BITMIME the content goes as it is: nothing here converts it, and refusing it would lose mail
     * that practically every server takes. */
    if (envelope->body != BODY_7BIT && (session->features & RELAY_FEATURE_8BITMIME)) {
        (void)buf_append_str(out, " BODY=8BITMIME");
    }
    if (envelope->smtputf8 && (session->features & RELAY_FEATURE_SMTPUTF8)) {
        (void)buf_append_str(out, " SMTPUTF8");
    }
    if (session->features & RELAY_FEATURE_DSN) {
        if (envelope->dsn_ret != 0) {
            (void)buf_append_str(out, envelope->dsn_ret == 'F' ? " RET=FULL" : " RET=HDRS");
        }
        if (envelope->dsn_envid.n > 0) {
            (void)buf_append_str(out, " ENVID=");
            (void)buf_append_bytes(out, envelope->dsn_envid);
        }
    }
    return buf_append_str(out, "\r\n");
}

static void
append_notify(struct buf *out, uint8_t notify)
{
    static const struct {
        uint8_t bit;
        const char *word;
    } WORDS[] = {{NOTIFY_NEVER, "NEVER"},
                 {NOTIFY_SUCCESS, "SUCCESS"},
                 {NOTIFY_FAILURE, "FAILURE"},
                 {NOTIFY_DELAY, "DELAY"}};
    const char *separator = " NOTIFY=";

    for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++) {
        if (notify & WORDS[i].bit) {
            (void)buf_append_str(out, separator);
            (void)buf_append_str(out, WORDS[i].word);
            separator = ",";
        }
    }
}

static int
append_rcpt(struct buf *out, const struct relay_session *session, const struct recipient *recipient)
{
    int r;

    (void)buf_append_str(out, "RCPT TO:<");
    if ((r = address_append_quoted(out, recipient->address)) != 0) {
        return r;
    }
    (void)buf_append_byte(out, '>');
    if (session->features & RELAY_FEATURE_DSN) {
        append_notify(out, recipient->notify);
        if (recipient->dsn_orcpt.n > 0) {
            (void)buf_append_str(out, " ORCPT=");
            (void)buf_append_bytes(out, recipient->dsn_orcpt);
        } else if (recipient->original.n > 0) {
            (void)buf_append_str(out, " ORCPT=rfc822;");
            (void)relay_xforward_xtext(out, recipient->original);
        }
    }
    return buf_append_str(out, "\r\n");
}

/* Puts one command into the stream's buffer. */
static int
write_command(struct transaction *t, const struct place *place)
{
    struct buf *out = t->task->command;
    const struct envelope *envelope = t->task->job->envelope;
    int r = GW_ERR_INTERNAL;

    buf_clear(out);
    switch (place->step) {
    case STEP_RSET:
        r = buf_append_str(out, "RSET\r\n");
        break;
    case STEP_XFORWARD:
        r = relay_xforward_append(out, t->session->xforward, envelope);
        break;
    case STEP_MAIL:
        r = append_mail(out, t->session, envelope);
        break;
    case STEP_RCPT:
        r = append_rcpt(out, t->session, &envelope->recipients[place->index]);
        break;
    case STEP_DATA:
        r = buf_append_str(out, "DATA\r\n");
        break;
    case STEPS:
        break;
    }
    return r != 0 ? r : stream_write(t->session->stream, bytes_buf(out));
}

static struct relay_trouble
describe_reply(const struct transaction *t, enum relay_scope scope, const char *command)
{
    const struct relay_reply *reply = &t->session->reply;
    struct relay_trouble trouble;

    relay_outcome_said(&trouble, scope, t->session->name, reply->code, reply->dsn, bytes_buf(&reply->text),
                       command);
    return trouble;
}

static void
take_mail_reply(struct transaction *t, bool ok)
{
    t->mail_ok = ok;
    if (!ok) {
        struct relay_trouble trouble = describe_reply(t, RELAY_SCOPE_MESSAGE, STEP_TEXTS[STEP_MAIL].reply);

        relay_task_fail_all(t->task, &trouble, t->session->host.name);
    }
}

static void
take_rcpt_reply(struct transaction *t, bool ok)
{
    if (!t->mail_ok) {
        return; /* whatever it says, MAIL was refused */
    }
    if (ok) {
        t->task->recipients[t->at.index].accepted = true;
        t->accepted++;
        return;
    }
    struct relay_trouble trouble = describe_reply(t, RELAY_SCOPE_RECIPIENT, STEP_TEXTS[STEP_RCPT].reply);

    relay_task_fail(t->task, t->at.index, &trouble, t->session->host.name);
}

static void
take_data_reply(struct transaction *t)
{
    if (t->session->reply.code == CODE_GO_ON) {
        t->data_ok = t->accepted > 0;
        t->data_unwanted = !t->data_ok;
    } else if (t->accepted > 0) {
        struct relay_trouble trouble = describe_reply(t, RELAY_SCOPE_MESSAGE, STEP_TEXTS[STEP_DATA].reply);

        relay_task_fail_accepted(t->task, &trouble, t->session->host.name);
    }
}

/* What the reply to the current step means. An error: the session is of no use any more. */
static int
take_reply(struct transaction *t)
{
    bool ok = t->session->reply.code / 100 == CLASS_OK;

    switch (t->at.step) {
    case STEP_RSET:
        return ok ? 0 : GW_ERR_PEER;
    case STEP_XFORWARD:
        if (!ok) {
            log_warning(t->session->settings->program, "host %s said: %s (in reply to XFORWARD command)",
                        t->session->name, buf_str(&t->session->reply.text));
        }
        return 0;
    case STEP_MAIL:
        take_mail_reply(t, ok);
        return 0;
    case STEP_RCPT:
        take_rcpt_reply(t, ok);
        return 0;
    case STEP_DATA:
        take_data_reply(t);
        return 0;
    case STEPS:
        break;
    }
    return GW_ERR_INTERNAL;
}

static void
set_step_timeout(const struct transaction *t)
{
    const char *settings = (const char *)t->session->settings;

    relay_session_set_timeout(t->session,
                              *(const int64_t *)(const void *)(settings + STEP_TEXTS[t->at.step].timeout));
}

static int
read_step(struct transaction *t)
{
    struct relay_session *session = t->session;

    set_step_timeout(t);
    int r = relay_session_read(session, NULL, NULL);
    if (r != 0) {
        return r;
    }
    if (session->closing && !session->answered && session->uses > 0) {
        return GW_ERR_EOF; /* "421 idle for too long" was waiting for us: as good as closed */
    }
    session->answered = true;
    return take_reply(t);
}

/* With all replies read, whether the next command makes sense: not after MAIL was refused, no DATA for
 * nobody. */
static bool
makes_sense(const struct transaction *t, const struct place *next)
{
    return !t->session->closing && (next->step != STEP_RCPT || t->mail_ok) &&
           (next->step != STEP_DATA || t->accepted > 0);
}

/* Sends the envelope in flights of as many commands as the server allows, and reads the replies. */
static int
send_envelope(struct transaction *t)
{
    size_t window = (t->session->features & RELAY_FEATURE_PIPELINING) ? FLIGHT_MAX : 1;
    struct place next = t->at;
    bool more = true;
    int r;

    while (more && makes_sense(t, &next)) {
        size_t in_flight = 0;

        set_step_timeout(t);
        while (more && in_flight < window) {
            if ((r = write_command(t, &next)) != 0) {
                return r;
            }
            in_flight++;
            more = advance(t, &next);
        }
        if ((r = stream_flush(t->session->stream)) != 0) {
            return r;
        }
        for (; in_flight > 0; in_flight--) {
            if ((r = read_step(t)) != 0) {
                return r;
            }
            (void)advance(t, &t->at);
        }
    }
    return 0;
}

/* The host took the message for one recipient. */
static void
deliver(struct transaction *t, size_t index)
{
    const struct relay_reply *reply = &t->session->reply;
    bool owes_notice = (t->task->job->envelope->recipients[index].notify & NOTIFY_SUCCESS) != 0;
    bool passed_on = !owes_notice || (t->session->features & RELAY_FEATURE_DSN) != 0;

    /* RFC 3461 section 5.2.2: a next hop without DSN cannot promise the notice, so the queue sends "relayed".
     */
    relay_task_deliver(t->task, index, passed_on ? DELIVERY_SENT : DELIVERY_RELAYED, reply->dsn,
                       bytes_buf(&reply->text), t->session->host.name);
}

static int
lose_end(struct transaction *t, int error)
{
    struct relay_trouble trouble;

    relay_outcome_broken(&trouble, RELAY_SCOPE_END, t->session->name, error, END_STAGE);
    relay_task_fail_accepted(t->task, &trouble, t->session->host.name);
    return error;
}

/* The replies after the dot: one for all in SMTP, one for each accepted recipient in LMTP. */
static int
take_end(struct transaction *t)
{
    struct relay_session *session = t->session;
    bool have_reply = false;
    int r;

    for (size_t i = 0; i < t->task->count; i++) {
        if (!t->task->recipients[i].accepted || !t->task->recipients[i].pending) {
            continue;
        }
        if (!have_reply || session->settings->lmtp) {
            relay_session_set_timeout(session, session->settings->data_done_ms);
            if ((r = relay_session_read(session, NULL, NULL)) != 0) {
                return lose_end(t, r);
            }
            have_reply = true;
        }
        if (session->reply.code / 100 == CLASS_OK) {
            deliver(t, i);
        } else {
            struct relay_trouble trouble = describe_reply(t, RELAY_SCOPE_END, END_COMMAND);

            relay_task_fail(t->task, i, &trouble, session->host.name);
        }
        t->task->recipients[i].accepted = false;
    }
    session->needs_rset = false;
    return 0;
}

static int
send_content(struct transaction *t)
{
    struct relay_trouble trouble;
    bool read_failed = false;
    int r = relay_content_send(t->session->stream, t->task->content_fd, t->task->job->envelope->size,
                               t->task->room, t->session->settings->data_xfer_ms, &read_failed);

    if (r == 0) {
        return take_end(t);
    }
    if (read_failed) {
        relay_outcome_set(&trouble, RELAY_SCOPE_END, RELAY_KIND_BROKEN, "4.3.0",
                          "message content is not readable");
        log_warning(t->session->settings->program, "%s: message content is not readable",
                    t->session->queue_id);
    } else {
        relay_outcome_broken(&trouble, RELAY_SCOPE_MESSAGE, t->session->name, r, STEP_TEXTS[STEPS].stage);
    }
    relay_task_fail_accepted(t->task, &trouble, t->session->host.name);
    return r;
}

/* The server said 354 with nobody to deliver to (it may, RFC 2920 section 3.1): an empty message, whatever it
 * says. */
static int
send_nothing(struct transaction *t)
{
    int r;

    relay_session_set_timeout(t->session, t->session->settings->data_done_ms);
    if ((r = stream_write(t->session->stream, BYTES_LIT(".\r\n"))) == 0 &&
        (r = stream_flush(t->session->stream)) == 0 &&
        (r = relay_session_read(t->session, NULL, NULL)) == 0) {
        t->session->needs_rset = false;
    }
    return r;
}

static bool
has_control(struct bytes v)
{
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < 32 || v.p[i] == 127) {
            return true;
        }
    }
    return false;
}

static bool
has_8bit(struct bytes v)
{
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] >= 128) {
            return true;
        }
    }
    return false;
}

/* Whether the message cannot go without SMTPUTF8 (RFC 6531 section 3.2): 8-bit addresses or headers. */
static bool
needs_smtputf8(const struct transaction *t)
{
    const struct envelope *envelope = t->task->job->envelope;
    bool header = false;
    bool needs = has_8bit(envelope->sender);

    for (size_t i = 0; i < envelope->recipient_count && !needs; i++) {
        needs = has_8bit(envelope->recipients[i].address);
    }
    if (!needs && envelope->smtputf8) {
        (void)relay_content_has_8bit_header(t->task->content_fd, envelope->size, t->task->room, &header);
    }
    return needs || header;
}

/* What can be refused without asking. False: everything pending was settled. */
static bool
check_limits(struct transaction *t)
{
    const struct relay_session *session = t->session;
    const struct envelope *envelope = t->task->job->envelope;
    struct relay_trouble trouble;
    bool bad = has_control(envelope->sender);

    for (size_t i = 0; i < envelope->recipient_count; i++) {
        bad = bad || has_control(envelope->recipients[i].address);
    }
    if (bad) {
        relay_outcome_set(&trouble, RELAY_SCOPE_MESSAGE, RELAY_KIND_HARD, "5.1.3", "bad address syntax");
    } else if ((session->features & RELAY_FEATURE_SIZE) && session->size_limit > 0 &&
               envelope->size > session->size_limit) {
        relay_outcome_set(&trouble, RELAY_SCOPE_MESSAGE, RELAY_KIND_HARD, "5.3.4",
                          "message size %llu exceeds size limit %llu of server %s",
                          (unsigned long long)envelope->size, (unsigned long long)session->size_limit,
                          session->name);
    } else if (!(session->features & RELAY_FEATURE_SMTPUTF8) && needs_smtputf8(t)) {
        relay_outcome_set(&trouble, RELAY_SCOPE_MESSAGE, RELAY_KIND_HARD, "5.6.7",
                          "SMTPUTF8 is required, but was not offered by host %s", session->name);
    } else {
        return true;
    }
    relay_task_fail_all(t->task, &trouble, session->host.name);
    return false;
}

/* The envelope failed: records why, unless a kept connection just turned out dead. */
static int
lose_envelope(struct transaction *t, int error)
{
    struct relay_session *session = t->session;
    struct relay_trouble trouble;

    if (!session->answered && session->uses > 0) {
        return error;
    }
    relay_outcome_broken(&trouble, RELAY_SCOPE_MESSAGE, session->name, error, STEP_TEXTS[t->at.step].stage);
    relay_task_fail_all(t->task, &trouble, session->host.name);
    return error;
}

int
relay_transaction_run(struct relay_session *session, struct relay_task *task)
{
    struct transaction t = {.session = session, .task = task, .at = {.step = STEP_RSET}};
    int r;

    session->answered = false;
    if (!check_limits(&t)) {
        session->answered = true;
        return 0;
    }
    for (size_t i = 0; i < task->count; i++) {
        task->recipients[i].offered = task->recipients[i].pending;
        task->recipients[i].accepted = false;
    }
    if (!session->needs_rset) {
        (void)advance(&t, &t.at);
    }
    if ((r = send_envelope(&t)) != 0) {
        return lose_envelope(&t, r);
    }
    session->needs_rset = t.mail_ok;
    session->uses++;
    if (t.data_ok) {
        return send_content(&t);
    }
    if (session->closing && t.accepted > 0) {
        struct relay_trouble trouble = describe_reply(&t, RELAY_SCOPE_MESSAGE, "session");

        relay_task_fail_accepted(task, &trouble, session->host.name);
    }
    return t.data_unwanted ? send_nothing(&t) : 0;
}

/*
 * receive_restrict - runs restriction lists for a command and says what came of it.
 *
 * Before: the verbs; after: policy/restriction.c decides, receive_reply.c tells. With smtpd_delay_reject (the
 * default) all lists up to the recipient's run at RCPT, so that the log names sender and recipient.
 */
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "receive/receive_reply.h"

struct log_context {
    struct receive_session *session;
    const char *verb;
    struct bytes recipient;
};

/* WARN, HOLD, reject_warning ...: the line of a refusal without the refusal. */
static void
log_action(void *context, const char *action, struct bytes text)
{
    const struct log_context *log = context;

    receive_log_action(log->session, action, log->verb, log->recipient, text);
}

static int
refuse(struct receive_session *session, const char *verb, struct bytes recipient,
       const struct restriction_answer *answer)
{
    if (answer->outcome == RESTRICTION_DISCONNECT) {
        session->quit = true;
    }
    return receive_reject(session, verb, recipient, answer->code, answer->dsn, bytes_buf(&answer->text));
}

/* What has to be known of a recipient beyond the lists: it exists, and its triplet has waited. */
static void
check_recipient(struct receive_session *session, const struct restriction_facts *facts,
                struct restriction_answer *answer)
{
    if (session->port->reject_unlisted_recipient) {
        restriction_answer_free(answer);
        (void)restriction_check_recipient_exists(session->port->restrictions, facts, answer);
        if (answer->outcome != RESTRICTION_PERMIT) {
            return;
        }
    }
    restriction_answer_free(answer);
    (void)restriction_greylist(facts, answer);
}

int
receive_restrict(struct receive_session *session, const enum restriction_stage *stages, size_t count,
                 const char *verb, struct bytes recipient, struct bytes recipient_given, bool *permitted_r)
{
    struct log_context log = {session, verb, recipient_given};
    struct restriction_pending pending = session->pending;
    struct restriction_facts facts = {
        .config = session->port->view,
        /* XFORWARD is for logs and scanners; what a client may do hangs on who it is. */
        .session = session->xforwarded ? &session->own_facts : &session->facts,
        .envelope = session->envelope,
        .has_sender = session->has_sender,
        .sender = session->sender_given,
        .has_recipient = recipient.p != NULL,
        .recipient = recipient,
        .recipient_given = recipient_given,
        .trusted_client = session->trusted_client,
        .trust_unknown = session->trust_unknown,
        .pipelining_violation = session->pipelining_violation,
        .size = session->content_size > 0 ? session->content_size : session->declared_size,
        .dns = session->tools->dns,
        .policy = &session->tools->policy,
        .servers = session->tools->servers,
        .evidence = &session->tools->evidence,
        .pending = &pending,
        .log = log_action,
        .log_context = &log,
    };
    struct restriction_answer answer;
    int r = 0;

    restriction_answer_init(&answer);
    answer.outcome = RESTRICTION_PERMIT;
    for (size_t i = 0; i < count && answer.outcome == RESTRICTION_PERMIT; i++) {
        restriction_answer_free(&answer);
        r = restriction_run(session->port->restrictions, stages[i],
                            i + 1 == count && stages[i] > STAGE_SENDER, &facts, &session->effects, &answer);
        if (r != 0) {
            restriction_answer_init(&answer); /* 451 */
            break;
        }
        if (answer.outcome == RESTRICTION_PERMIT && stages[i] == STAGE_RECIPIENT) {
            check_recipient(session, &facts, &answer);
        }
    }
    *permitted_r = answer.outcome == RESTRICTION_PERMIT;
    if (*permitted_r && stages[count - 1] <= STAGE_SENDER) {
        session->pending = pending; /* told at RCPT */
        if (stages[count - 1] < STAGE_SENDER) {
            session->session_pending = pending;
        }
    }
    r = *permitted_r ? 0 : refuse(session, verb, recipient_given, &answer);
    restriction_answer_free(&answer);
    return r;
}

int
receive_restrict_early(struct receive_session *session, enum restriction_stage stage, const char *verb,
                       bool *permitted_r)
{
    *permitted_r = true;
    if (session->port->delay_reject) {
        return 0;
    }
    return receive_restrict(session, &stage, 1, verb, (struct bytes){0}, (struct bytes){0}, permitted_r);
}

/*
 * receive_disposition - the content is complete: scan it, decide, hand it on, and only then answer the
 * client.
 *
 * Before: receive_data.c (the sealed content); after: the scan role for the report, policy/verdict.c for the
 * decision, policy/reinjection.c into the queue or the policy role's quarantine. A scan worker that is lost
 * is tried once more in another; without a report the verdict is "not scanned", never clean. 250 goes out
 * only when the message is durable where it belongs.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/pack.h"
#include "policy/verdict.h"
#include "receive/receive_content.h"
#include "receive/receive_reply.h"

enum {
    SCAN_ATTEMPTS = 2,
    SCAN_GRACE_MS = 5000, /* over the pipeline's own budget: its answer is on the way */
    SUBMIT_TIME_MS = 60000,
    QUARANTINE_TIME_MS = 60000,
    PAYLOAD_MAX = 16 * 1024 * 1024,
};

/* One question to the scan role. A connection per message: whichever worker is free accepts it. */
static int
scan_once(struct receive_session *session, struct bytes request, struct scan_report *report_r)
{
    struct ipc_channel *channel = NULL;
    struct ipc_message answer = {0};
    int r;

    if ((r = ipc_connect(ROLE_RECEIVE, ROLE_SCAN, &channel)) != 0) {
        return r;
    }
    r = ipc_call(channel, WIRE_SCAN, request, &session->content_fd, 1,
                 clock_monotonic_ms() + session->port->scan_time_ms + SCAN_GRACE_MS, &answer);
    if (r == 0) {
        r = answer.type == WIRE_REPORT ? scan_report_unpack(session->tools->arena, answer.payload, report_r)
                                       : GW_ERR_PEER;
        ipc_message_free(&answer);
    }
    ipc_channel_free(&channel);
    return r;
}

/* 0 with a report, or why there is none. */
static int
scan(struct receive_session *session, struct scan_report *report_r)
{
    struct wire_scan request = {.envelope = session->envelope,
                                .trusted = session->trusted_client || session->facts.sasl_user[0] != '\0',
                                .budget_ms = session->port->scan_time_ms};
    struct buf payload;
    int r;

    buf_init(&payload, PAYLOAD_MAX);
    r = wire_scan_pack(&payload, &request);
    for (int attempt = 0; r == 0 && attempt < SCAN_ATTEMPTS; attempt++) {
        r = scan_once(session, bytes_buf(&payload), report_r);
        if (r != GW_ERR_EOF && r != GW_ERR_SYS) {
            break;
        }
        log_warning("smtpd", "%s: the scan worker was lost (%s); %s", session->envelope->queue_id,
                    gw_strerror(r), attempt + 1 < SCAN_ATTEMPTS ? "trying another" : "giving up");
        r = attempt + 1 < SCAN_ATTEMPTS ? 0 : r;
    }
    buf_free(&payload);
    return r;
}

static void
note_report(struct receive_session *session, const struct scan_report *report)
{
    static const char *const STATUS[] = {"not scanned", "clean", "found", "tempfail", "skipped"};

    for (size_t i = 0; i < report->count; i++) {
        const struct scan_result *result = &report->results[i];
        const struct scanner *scanner = SCANNERS[result->scanner];

        evidence_add(&session->tools->evidence, EV_SCAN, bytes_str(scanner != NULL ? scanner->name : "?"),
                     result->auth != AUTH_NONE ? bytes_str(auth_result_word(result->auth)) : result->table,
                     bytes_str(STATUS[result->status]), result->found.n > 0 ? result->found : result->detail,
                     result->elapsed_us);
    }
}

/* The lines of access actions and of the verdict go in front; nothing else of the message changes. */
static int
prepend_headers(struct receive_session *session, const struct buf *headers)
{
    struct receive_tools *tools = session->tools;
    size_t before = session->effects.prepend.n + headers->n;
    int r = GW_ERR_SYS;

    if (before == 0) {
        return 0;
    }
    int fd = memfd_create("content", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd == -1) {
        return r;
    }
    if ((r = receive_content_write(fd, bytes_buf(headers))) != 0 ||
        (r = receive_content_write(fd, bytes_buf(&session->effects.prepend))) != 0 ||
        (r = receive_content_copy(fd, session->content_fd, 0, session->content_size, tools->spool)) != 0 ||
        (r = receive_content_seal(fd)) != 0) {
        (void)close(fd);
        return r;
    }
    (void)close(session->content_fd);
    session->content_fd = fd;
    session->content_size += before;
    session->envelope->size = session->content_size;
    return 0;
}

static int
reply_queued(struct receive_session *session)
{
    session->errors = session->junk = 0; /* Postfix: a delivered message is forgiven */
    return receive_reply(session, 250, "2.0.0", "Ok: queued as %s", session->envelope->queue_id);
}

static int
refuse_for_now(struct receive_session *session, int error)
{
    session->resource_event = true;
    log_warning("smtpd", "%s: the message could not be stored: %s", session->envelope->queue_id,
                gw_strerror(error));
    evidence_add(&session->tools->evidence, EV_QUEUE, bytes_str(session->envelope->queue_id),
                 (struct bytes){0}, bytes_str("failed"), bytes_str(gw_strerror(error)), error);
    if (error == GW_ERR_FULL) {
        return receive_reply(session, 452, "4.3.1", "Insufficient system storage");
    }
    return receive_reply(session, 451, "4.3.0", "Error: queue file write error");
}

static int
queue_message(struct receive_session *session, const struct verdict *verdict)
{
    struct envelope *envelope = session->envelope;
    int r;

    if ((r = router_finish_envelope(session->port->router, envelope)) != 0) {
        return refuse_for_now(session, r);
    }
    envelope->hold = envelope->hold || (verdict != NULL && verdict->action == VERDICT_HOLD);
    if (verdict != NULL && verdict->redirect.n > 0) {
        *(verdict->redirect_is_filter ? &envelope->content_filter : &envelope->redirect) =
            arena_dup(envelope->arena, verdict->redirect);
    }
    if (envelope->redirect.n > 0) {
        /* REDIRECT: this one instead of all others (access(5), header_checks(5)). */
        envelope->recipient_count = 0;
        if ((r = envelope_add_recipient(envelope, envelope->redirect, envelope->redirect, NOTIFY_DEFAULT,
                                        (struct bytes){0})) != 0) {
            return refuse_for_now(session, r);
        }
    }
    if ((r = prepend_headers(session, verdict != NULL ? &verdict->headers : &(struct buf){0})) != 0) {
        return refuse_for_now(session, r);
    }
    r = reinjection_submit(session->tools->door, envelope, session->content_fd,
                           clock_monotonic_ms() + SUBMIT_TIME_MS);
    if (r != 0) {
        return refuse_for_now(session, r);
    }
    evidence_add(&session->tools->evidence, EV_QUEUE, bytes_str(envelope->queue_id), envelope->message_id,
                 envelope->sender,
                 envelope->recipient_count > 0 ? envelope->recipients[0].address : (struct bytes){0},
                 (int64_t)envelope->size);
    return reply_queued(session);
}

static int
quarantine_once(struct receive_session *session, struct bytes payload, char id_r[WIRE_DETAIL_MAX])
{
    struct ipc_channel *policy = receive_policy_channel(session->tools);
    struct ipc_message answer = {0};
    struct wire_status status;
    int r;

    if (policy == NULL) {
        return GW_ERR_TEMP;
    }
    r = ipc_call(policy, WIRE_QUARANTINE, payload, &session->content_fd, 1,
                 clock_monotonic_ms() + QUARANTINE_TIME_MS, &answer);
    if (r == 0) {
        r = answer.type == WIRE_QUARANTINED ? wire_status_unpack(answer.payload, &status) : GW_ERR_PEER;
        ipc_message_free(&answer);
    }
    if (r != 0) {
        ipc_channel_free(&session->tools->policy);
        return r;
    }
    (void)snprintf(id_r, WIRE_DETAIL_MAX, "%s", status.detail);
    return status.code;
}

/* Kept byte for byte with its report; the client hears 250 because the message is accounted for. */
static int
quarantine_message(struct receive_session *session, const struct verdict *verdict,
                   const struct scan_report *report)
{
    struct buf payload, part;
    char id[WIRE_DETAIL_MAX] = "";
    int r;

    buf_init(&payload, PAYLOAD_MAX);
    buf_init(&part, PAYLOAD_MAX);
    if ((r = envelope_pack(&part, session->envelope)) == 0 &&
        (r = pack_bytes(&payload, bytes_buf(&part))) == 0) {
        buf_clear(&part);
        if ((r = scan_report_pack(&part, report)) == 0 && (r = pack_bytes(&payload, bytes_buf(&part))) == 0) {
            r = pack_str(&payload, verdict->reason);
        }
    }
    if (r == 0) {
        r = quarantine_once(session, bytes_buf(&payload), id);
        if (r != 0 && r != GW_ERR_FULL) {
            r = quarantine_once(session, bytes_buf(&payload), id); /* the policy role was restarted */
        }
    }
    buf_free(&payload);
    buf_free(&part);
    if (r != 0) {
        return refuse_for_now(session, r);
    }
    log_info("cleanup", "%s: quarantine: id=%s: %s", session->envelope->queue_id, id, verdict->reason);
    evidence_add(&session->tools->evidence, EV_QUARANTINE, bytes_str(id),
                 bytes_str(session->envelope->queue_id), bytes_str("stored"), bytes_str(verdict->reason), 0);
    return reply_queued(session);
}

static int
refuse(struct receive_session *session, const struct verdict *verdict)
{
    log_info("cleanup", "%s: scan: %s: %s", session->envelope->queue_id, verdict_action_name(verdict->action),
             verdict->reason);
    return receive_reject(session, "END-OF-MESSAGE", session->envelope->recipients[0].original, verdict->code,
                          verdict->dsn, bytes_str(verdict->text));
}

static int
act(struct receive_session *session, const struct verdict *verdict, const struct scan_report *report)
{
    evidence_add(&session->tools->evidence, EV_VERDICT, bytes_str(verdict_action_name(verdict->action)),
                 bytes_str(session->envelope->queue_id), bytes_str(verdict->text), bytes_str(verdict->reason),
                 verdict->code);
    session->policy_event = session->policy_event || verdict->notify_policy;
    switch (verdict->action) {
    case VERDICT_ACCEPT:
    case VERDICT_HOLD:
        return queue_message(session, verdict);
    case VERDICT_QUARANTINE:
        return quarantine_message(session, verdict, report);
    case VERDICT_DISCARD:
        log_info("cleanup", "%s: discard: %s", session->envelope->queue_id, verdict->reason);
        return reply_queued(session);
    case VERDICT_REJECT:
    case VERDICT_TEMPFAIL:
        break;
    }
    return refuse(session, verdict);
}

static int
scan_and_act(struct receive_session *session)
{
    struct scan_report report = {0};
    struct verdict verdict;
    int scanned = scan(session, &report);
    int r;

    if (scanned != 0) {
        log_warning("smtpd", "%s: not scanned: %s", session->envelope->queue_id, gw_strerror(scanned));
    } else {
        note_report(session, &report);
    }
    r = verdict_decide(session->port->view, session->envelope, scanned == 0 ? &report : NULL, &verdict);
    if (r != 0) {
        return receive_reply(session, 451, "4.3.0", "Error: internal error");
    }
    r = act(session, &verdict, &report);
    verdict_free(&verdict);
    return r;
}

void
receive_apply_effects(struct receive_session *session)
{
    struct restriction_effects *effects = &session->effects;
    struct envelope *envelope = session->envelope;
    struct bytes rest = bytes_buf(&effects->bcc);

    envelope->hold = envelope->hold || effects->hold;
    envelope->content_filter = bytes_str(session->port->content_filter);
    if (effects->filter.n > 0) {
        envelope->content_filter = arena_dup(envelope->arena, bytes_buf(&effects->filter));
    }
    if (effects->redirect.n > 0) {
        envelope->redirect = arena_dup(envelope->arena, bytes_buf(&effects->redirect));
    }
    while (rest.n > 0) {
        ptrdiff_t end = bytes_index(rest, '\0');
        size_t n = end < 0 ? rest.n : (size_t)end;

        (void)envelope_add_recipient(envelope, bytes_sub(rest, 0, n), bytes_sub(rest, 0, n), NOTIFY_NEVER,
                                     (struct bytes){0});
        rest = bytes_sub(rest, n + 1, rest.n);
    }
}

int
receive_disposition(struct receive_session *session)
{
    int r;

    if (session->effects.discard) {
        log_info("cleanup", "%s: discard: by an access action", session->envelope->queue_id);
        r = reply_queued(session);
    } else if (session->port->scan) {
        r = scan_and_act(session);
    } else {
        r = queue_message(session, NULL);
    }
    arena_reset(session->tools->arena);
    return r;
}

/*
 * queue_bounce - who is told of a failure, a delay or a success, and the notification as a message of our
 * own.
 *
 * Before: queue_finish.c at the end of an attempt. After: the notification is committed in the transaction
 * that settles the recipients it tells about (queue_commit.c), so a crash gives neither none nor two. Mail
 * with a null sender never bounces (RFC 5321 section 4.5.5): the postmaster gets a notice when notify_classes
 * has 2bounce, and the failure of that ends there. NOTIFY (RFC 3461) decides per recipient.
 */
#include "queue/queue_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "queue/queue_dsn.h"

enum {
    HEADERS_MAX = 65536,         /* of the returned message, when only those go back */
    NOTICE_RECIPIENTS_MAX = 500, /* in one notification; more make several */
    NOTICE_SPACE = 8 * 1024 * 1024,
};

static const struct kind {
    uint8_t status;  /* of the recipients it tells about */
    uint8_t notify;  /* bit of NOTIFY that asks for it */
    bool by_default; /* without NOTIFY */
    const char *log_words;
} KINDS[QUEUE_NOTICES] = {
    [QUEUE_NOTICE_BOUNCE] = {QUEUE_BOUNCED, NOTIFY_FAILURE, true, "sender non-delivery notification"},
    [QUEUE_NOTICE_DELAY] = {QUEUE_DEFERRED, NOTIFY_DELAY, true, "sender delay notification"},
    [QUEUE_NOTICE_SUCCESS] = {QUEUE_SENT, NOTIFY_SUCCESS, false, "sender delivery status notification"},
};

static bool
is_asked(const struct kind *kind, uint8_t notify)
{
    return notify == NOTIFY_DEFAULT ? kind->by_default : (notify & kind->notify) != 0;
}

static const char *
action_of(enum queue_notice notice, const struct queue_recipient *recipient)
{
    switch (notice) {
    case QUEUE_NOTICE_BOUNCE:
        return "failed";
    case QUEUE_NOTICE_DELAY:
        return "delayed";
    default:
        return recipient->is_delivered ? "delivered" : "relayed";
    }
}

/* The status of a failure begins with 5 even when the last answer was a 4xx and time ran out (RFC 3464). */
static const char *
status_of(enum queue_notice notice, const struct queue_recipient *recipient)
{
    const char *dsn = recipient->dsn[0] != '\0' ? recipient->dsn : "5.0.0";

    return notice == QUEUE_NOTICE_BOUNCE && dsn[0] != '5' && dsn[0] != '4' ? "5.0.0" : dsn;
}

static bool
is_mute(const struct queue *queue, const struct envelope *envelope)
{
    return envelope->sender.n == 0 ||
           bytes_equal_nocase(envelope->sender, bytes_str(queue->settings.double_bounce));
}

/* The next recipients to tell about, from *from on. `always`: NOTIFY is not asked (the postmaster is told).
 */
static size_t
collect(const struct queue_message *message, enum queue_notice notice, struct queue_dsn_recipient *told,
        size_t *from, bool always)
{
    const struct kind *kind = &KINDS[notice];
    size_t count = 0;

    for (; *from < message->envelope->recipient_count && count < NOTICE_RECIPIENTS_MAX; (*from)++) {
        size_t i = *from;
        const struct queue_recipient *recipient = &message->recipients[i];

        if (recipient->status == kind->status &&
            (always || is_asked(kind, message->envelope->recipients[i].notify))) {
            told[count++] = (struct queue_dsn_recipient){
                .recipient = &message->envelope->recipients[i],
                .action = action_of(notice, recipient),
                .dsn = status_of(notice, recipient),
                .reply = recipient->reply,
                .remote_mta = recipient->remote_mta,
            };
        }
    }
    return count;
}

/* The whole message, or what stands before the first empty line. */
static int
read_content(struct queue *queue, struct queue_message *message, bool whole, struct buf *out)
{
    uint64_t size = message->envelope->size;
    size_t n = whole || size < HEADERS_MAX ? (size_t)size : HEADERS_MAX;
    bool is_kept = true;
    int fd = queue_message_body(queue, message, &is_kept),
        r = fd != -1 ? buf_reserve(out, n + 1) : GW_ERR_SYS;

    while (r == 0 && out->n < n) {
        ssize_t got = pread(fd, out->p + out->n, n - out->n, (off_t)out->n);

        if (got == -1 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            r = GW_ERR_SYS;
            break;
        }
        out->n += (size_t)got;
    }
    if (!is_kept && fd != -1) {
        (void)close(fd);
    }
    if (r == 0) {
        out->p[out->n] = '\0';
        ptrdiff_t end = bytes_find(bytes_buf(out), BYTES_LIT("\r\n\r\n"));
        buf_truncate(out, !whole && end >= 0 ? (size_t)end + 2 : out->n);
    }
    return r;
}

/* Envelope and content of a message of our own to `to`. */
static int
make_submission(struct queue *queue, const struct queue_message *about, struct queue_dsn *dsn,
                struct queue_submission **submission_r)
{
    struct queue_submission *submission = calloc(1, sizeof(*submission));
    struct buf text;
    int r = GW_ERR_NOMEM;

    *submission_r = NULL;
    buf_init(&text, NOTICE_SPACE + dsn->content.n * 2);
    if (submission == NULL) {
        goto out;
    }
    submission->fd = -1;
    buf_init(&submission->packed, IPC_PAYLOAD_MAX);
    if ((submission->envelope = envelope_new()) == NULL) {
        goto out;
    }
    struct envelope *envelope = submission->envelope;
    queue_id_make(envelope->queue_id, clock_wall_us(), queue->unique++);
    dsn->queue_id = envelope->queue_id;
    envelope->arrival_us = clock_wall_us();
    envelope->body = about->envelope->body;
    envelope->smtputf8 = about->envelope->smtputf8;
    envelope->local_origin = true;
    (void)snprintf(envelope->session.name, sizeof(envelope->session.name), "localhost");
    (void)snprintf(envelope->session.ident, sizeof(envelope->session.ident), "%s", envelope->queue_id);
    struct bytes to = bytes_str(dsn->to);
    if ((r = envelope_add_recipient(envelope, to, to, NOTIFY_NEVER, (struct bytes){0})) != 0 ||
        (r = queue_dsn_write(&text, dsn)) != 0) {
        goto out;
    }
    envelope->size = text.n;
    submission->fd = ipc_sealed_memfd("notification", bytes_buf(&text));
    if (submission->fd == -1) {
        r = GW_ERR_SYS;
        goto out;
    }
    if ((r = envelope_pack(&submission->packed, envelope)) == 0) {
        *submission_r = submission;
        submission = NULL; /* transferred */
    }
out:
    queue_submission_free(&submission);
    buf_free(&text);
    return r;
}

/* Mail that cannot be returned: to nobody, or to the double-bounce address. The postmaster may be told. */
static int
tell_postmaster(struct queue *queue, const struct queue_message *message, const struct queue_dsn *dsn)
{
    const struct envelope *envelope = message->envelope;
    struct buf text;

    if (bytes_equal_nocase(envelope->sender, bytes_str(queue->settings.double_bounce))) {
        log_warning("qmgr", "%s: undeliverable postmaster notification discarded", envelope->queue_id);
        return 0;
    }
    log_info("bounce", "%s: undeliverable mail with a null sender discarded", envelope->queue_id);
    if (!queue->settings.notify_2bounce) {
        return 0;
    }
    buf_init(&text, WIRE_DETAIL_MAX);
    for (size_t i = 0; i < dsn->count && text.n < WIRE_DETAIL_MAX / 2; i++) {
        (void)buf_printf(&text, "%s: <", envelope->queue_id);
        (void)buf_append_printable(&text, dsn->recipients[i].recipient->address, 256, true);
        (void)buf_append_str(&text, ">: ");
        (void)buf_append_printable(&text, dsn->recipients[i].reply, 512, true);
        (void)buf_append_str(&text, "\n");
    }
    queue_log_notice(queue, NOTICE_2BOUNCE, "double bounce", buf_str(&text));
    buf_free(&text);
    return 0;
}

static void
tell_copy(struct queue *queue, const struct queue_message *message, enum queue_notice notice)
{
    char text[ENVELOPE_ADDRESS_MAX + 128];

    if ((notice == QUEUE_NOTICE_BOUNCE && queue->settings.notify_bounce) ||
        (notice == QUEUE_NOTICE_DELAY && queue->settings.notify_delay)) {
        (void)snprintf(text, sizeof(text), "%s: %s, from=<%.*s>", message->envelope->queue_id,
                       KINDS[notice].log_words, BYTES_FMT(message->envelope->sender));
        queue_log_notice(queue, notice == QUEUE_NOTICE_BOUNCE ? NOTICE_BOUNCE : NOTICE_DELAY,
                         KINDS[notice].log_words, text);
    }
}

static int
notify_sender(struct queue *queue, struct queue_message *message, enum queue_notice notice,
              struct queue_dsn *dsn)
{
    const struct envelope *envelope = message->envelope;
    struct queue_submission *submission = NULL;
    struct buf content;
    int r = GW_ERR_INTERNAL;

    dsn->is_whole = notice == QUEUE_NOTICE_BOUNCE && envelope->dsn_ret != 'H' &&
                    envelope->size <= (uint64_t)queue->settings.bounce_size_limit;
    buf_init(&content, (size_t)envelope->size + HEADERS_MAX);
    char *to = arena_strdup(envelope->arena, envelope->sender);
    if (to == NULL) {
        r = GW_ERR_NOMEM;
        goto out;
    }
    dsn->to = to;
    if ((r = read_content(queue, message, dsn->is_whole, &content)) != 0) {
        goto out;
    }
    dsn->content = bytes_buf(&content);
    if ((r = make_submission(queue, message, dsn, &submission)) == 0) {
        log_info("bounce", "%s: %s: %s", envelope->queue_id, KINDS[notice].log_words,
                 submission->envelope->queue_id);
        tell_copy(queue, message, notice);
        submission->next = message->notices;
        message->notices = submission; /* transferred */
    }
out:
    buf_free(&content);
    return r;
}

int
queue_bounce_notify(struct queue *queue, struct queue_message *message, enum queue_notice notice)
{
    const struct envelope *envelope = message->envelope;
    struct queue_dsn_recipient *told = calloc(NOTICE_RECIPIENTS_MAX, sizeof(*told));
    struct queue_dsn dsn = {
        .kind = notice,
        .original = envelope,
        .myhostname = queue->settings.myhostname,
        .mail_name = queue->settings.mail_name,
        .now_s = clock_wall_s(),
        .give_up_s = envelope->arrival_us / 1000000 + queue->settings.retry.maximal_lifetime_s,
        .recipients = told,
    };
    int r = 0;

    if (told == NULL) {
        return GW_ERR_NOMEM;
    }
    bool mute = is_mute(queue, envelope);
    for (size_t from = 0; r == 0 && (dsn.count = collect(message, notice, told, &from, mute)) > 0;) {
        if (!mute) {
            r = notify_sender(queue, message, notice, &dsn);
        } else if (notice == QUEUE_NOTICE_BOUNCE) {
            r = tell_postmaster(queue, message, &dsn);
        }
    }
    free(told);
    if (r != 0) {
        log_warning("bounce", "%s: cannot make the %s: %s", envelope->queue_id, KINDS[notice].log_words,
                    gw_strerror(r));
    }
    return r;
}

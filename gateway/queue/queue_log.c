/*
 * queue_log - what the queue tells: log lines in Postfix's form, evidence and notices to the policy role.
 *
 * Before: every file of the folder. The lines are what pflogsumm and fail2ban read, so their form is fixed:
 *   QID: from=<s>, size=N, nrcpt=N (queue active)
 *   QID: to=<r>, orig_to=<o>, relay=h[a]:p, delay=D, delays=a/b/c/d, dsn=2.0.0, status=sent (text)
 * Mail never waits for the policy role: its channel does not block, and what it cannot take is dropped and
 * counted.
 */
#include "queue/queue_private.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

enum { POLICY_RETRY_MS = 1000, LOG_ADDRESS_MAX = 512, LOG_REPLY_MAX = 1000, DELAY_MAX = 24 };

void
queue_log_delay(int64_t us, char *out, size_t size)
{
    static const struct {
        int64_t below_us, unit_us; /* two digits, and not below hundredths */
    } STEPS[] = {{1000000, 10000}, {10000000, 100000}, {INT64_MAX, 1000000}};
    size_t step = 0;

    us = us > 0 ? us : 0;
    while (us >= STEPS[step].below_us) {
        step++;
    }
    int64_t unit_us = STEPS[step].unit_us;
    int64_t rounded_us = (us + unit_us / 2) / unit_us * unit_us;
    int64_t hundredths = rounded_us % 1000000 / 10000;
    if (hundredths == 0) {
        (void)snprintf(out, size, "%lld", (long long)(rounded_us / 1000000));
    } else if (hundredths % 10 == 0) {
        (void)snprintf(out, size, "%lld.%lld", (long long)(rounded_us / 1000000),
                       (long long)(hundredths / 10));
    } else {
        (void)snprintf(out, size, "%lld.%02lld", (long long)(rounded_us / 1000000), (long long)hundredths);
    }
}

void
queue_log_active(const struct queue *queue, const struct queue_message *message)
{
    const struct envelope *envelope = message->envelope;

    (void)queue;
    log_info("qmgr", "%s: from=<%.*s>, size=%llu, nrcpt=%zu (queue active)", envelope->queue_id,
             BYTES_FMT(envelope->sender), (unsigned long long)envelope->size, envelope->recipient_count);
}

static void
append_delays(struct buf *line, const struct envelope *envelope, int64_t active_us,
              const struct queue_delivery *delivery)
{
    int64_t now_us = clock_wall_us();
    int64_t until_sent_us = delivery->sent_us != 0 ? delivery->sent_us : now_us;
    const int64_t parts[] = {now_us - envelope->arrival_us, active_us - envelope->arrival_us,
                             until_sent_us - active_us, delivery->connect_us, delivery->transfer_us};
    char text[5][DELAY_MAX];

    for (size_t i = 0; i < 5; i++) {
        queue_log_delay(parts[i], text[i], sizeof(text[i]));
    }
    (void)buf_printf(line, ", delay=%s, delays=%s/%s/%s/%s", text[0], text[1], text[2], text[3], text[4]);
}

void
queue_log_delivery(struct queue *queue, const struct queue_message *message, uint16_t number, const char *dsn,
                   const char *status, struct bytes reply, const struct queue_delivery *delivery)
{
    const struct envelope *envelope = message->envelope;
    const struct recipient *recipient = &envelope->recipients[number];
    struct buf *line = &queue->log_text;

    buf_clear(line);
    (void)buf_printf(line, "%s: to=<", envelope->queue_id);
    (void)buf_append_printable(line, recipient->address, LOG_ADDRESS_MAX, true);
    if (recipient->original.n > 0 && !bytes_equal_nocase(recipient->original, recipient->address)) {
        (void)buf_append_str(line, ">, orig_to=<");
        (void)buf_append_printable(line, recipient->original, LOG_ADDRESS_MAX, true);
    }
    (void)buf_printf(line, ">, relay=%s", delivery->relay[0] != '\0' ? delivery->relay : "none");
    append_delays(line, envelope, message->active_us, delivery);
    (void)buf_printf(line, ", dsn=%s, status=%s (", dsn, status);
    (void)buf_append_printable(line, reply, LOG_REPLY_MAX, true);
    (void)buf_append_str(line, ")");
    log_info(delivery->program, "%s", buf_str(line));
}

/* ------------------------------------------------------------------ policy */

void
queue_log_policy_close(struct queue *queue)
{
    if (queue->policy_watch != NULL) {
        loop_watch_remove(queue->loop, &queue->policy_watch);
    }
    ipc_channel_free(&queue->policy);
    queue->policy_retry_ms = clock_monotonic_ms() + POLICY_RETRY_MS;
}

static void
policy_ready(void *context, uint32_t events)
{
    struct queue *queue = context;
    int r = GW_ERR_EOF;

    if ((events & (EPOLLHUP | EPOLLERR)) == 0 && (events & EPOLLOUT) != 0) {
        r = ipc_flush(queue->policy);
        if (r == 0) {
            loop_watch_change(queue->loop, queue->policy_watch, EPOLLIN);
        }
    }
    if (r != 0 && r != GW_ERR_AGAIN) {
        queue_log_policy_close(queue); /* it never sends us anything: readable means gone */
    }
}

/* The listening socket belongs to master, so connecting does not wait for the policy role. */
void
queue_log_policy_connect(struct queue *queue)
{
    struct ipc_channel *blocking = NULL;
    int fd = -1;

    if (queue->policy != NULL || clock_monotonic_ms() < queue->policy_retry_ms) {
        return;
    }
    queue->policy_retry_ms = clock_monotonic_ms() + POLICY_RETRY_MS;
    if (ipc_connect(ROLE_QUEUE, ROLE_POLICY, &blocking) == 0) {
        fd = fcntl(ipc_channel_fd(blocking), F_DUPFD_CLOEXEC, 3);
    }
    ipc_channel_free(&blocking);
    if (fd == -1) {
        return;
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags == -1 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1 ||
        (queue->policy = ipc_channel_new(fd, ROLE_QUEUE, ROLE_POLICY)) == NULL) {
        (void)close(fd);
        return;
    }
    queue->policy_watch = loop_watch_add(queue->loop, fd, EPOLLIN, policy_ready, queue);
    if (queue->policy_watch == NULL) {
        ipc_channel_free(&queue->policy);
    }
}

static void
send_to_policy(struct queue *queue, uint16_t type, struct bytes payload)
{
    queue_log_policy_connect(queue);
    if (queue->policy == NULL) {
        queue->dropped_records++;
        return;
    }
    int r = ipc_send(queue->policy, type, 0, payload, NULL, 0);
    if (r == 0 && ipc_has_backlog(queue->policy)) {
        loop_watch_change(queue->loop, queue->policy_watch, EPOLLIN | EPOLLOUT);
    }
    if (r != 0) {
        queue->dropped_records++;
    }
    if (r != 0 && r != GW_ERR_FULL && r != GW_ERR_DENIED) {
        queue_log_policy_close(queue);
    }
}

void
queue_log_evidence(struct queue *queue, struct queue_message *message, uint16_t number, const char *relay,
                   const char *status, struct bytes reply)
{
    const struct envelope *envelope = message->envelope;

    (void)queue;
    if (!message->has_evidence) {
        if (evidence_begin(&message->evidence, envelope->session.ident, "queue") != 0) {
            return;
        }
        message->has_evidence = true;
        evidence_add(&message->evidence, EV_QUEUE, bytes_str(envelope->queue_id), envelope->message_id,
                     envelope->sender, (struct bytes){0}, (int64_t)envelope->recipient_count);
    }
    evidence_add(&message->evidence, EV_DELIVERY, envelope->recipients[number].address, bytes_str(relay),
                 bytes_str(status), reply, clock_wall_us() - envelope->arrival_us);
}

void
queue_log_flush(struct queue *queue)
{
    loop_timer_cancel(queue->loop, &queue->record_timer);
    for (size_t i = 0; i < queue->record_count; i++) {
        send_to_policy(queue, WIRE_EVIDENCE, bytes_buf(&queue->records[i]));
        buf_free(&queue->records[i]);
    }
    queue->record_count = 0;
}

static void
records_have_waited(void *context)
{
    struct queue *queue = context;

    queue->record_timer = NULL;
    queue_log_flush(queue);
}

void
queue_log_send_evidence(struct queue *queue, struct queue_message *message)
{
    if (!message->has_evidence) {
        return;
    }
    queue->records[queue->record_count++] = message->evidence.record;
    buf_init(&message->evidence.record, 0); /* transferred */
    evidence_free(&message->evidence);
    message->has_evidence = false;
    if (queue->record_timer == NULL) {
        queue->record_timer =
            loop_timer_add(queue->loop, clock_monotonic_ms() + QUEUE_RECORDS_MS, records_have_waited, queue);
    }
    if (queue->record_count == QUEUE_RECORDS_MAX || queue->record_timer == NULL) {
        queue_log_flush(queue);
    }
}

void
queue_log_notice(struct queue *queue, enum notice_class class, const char *key, const char *text)
{
    struct wire_notice notice = {.class = (uint8_t) class, .text = bytes_str(text)};
    struct buf packed;

    (void)snprintf(notice.key, sizeof(notice.key), "%s", key);
    buf_init(&packed, sizeof(notice) + WIRE_DETAIL_MAX);
    if (wire_notice_pack(&packed, &notice) == 0) {
        send_to_policy(queue, WIRE_NOTICE, bytes_buf(&packed));
    }
    buf_free(&packed);
}

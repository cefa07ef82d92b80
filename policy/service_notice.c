/*
 * service_notice - mail to the postmaster: built from a due notice and handed to the queue.
 *
 * Before: notice.c decides what is mailed when. After: policy/reinjection.h. The sender is
 * $double_bounce_sender, so a notice that cannot be delivered makes no further mail (Postfix's bounce(8)).
 * The queue is asked with a short deadline, because this process has one thread; when it cannot take the mail
 * now, the mail waits here for a bounded time in a bounded list.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "policy/service_private.h"

enum { SUBMIT_MS = 2000, RETRY_MS = 15000, CONTENT_MAX = 512 * 1024 };

static const enum param RECIPIENTS[NOTICE_CLASSES] = {
    [NOTICE_POLICY] = P_error_notice_recipient,   [NOTICE_SOFTWARE] = P_error_notice_recipient,
    [NOTICE_RESOURCE] = P_error_notice_recipient, [NOTICE_PROTOCOL] = P_error_notice_recipient,
    [NOTICE_BOUNCE] = P_bounce_notice_recipient,  [NOTICE_2BOUNCE] = P_2bounce_notice_recipient,
    [NOTICE_DELAY] = P_delay_notice_recipient,    [NOTICE_ALARM] = P_error_notice_recipient,
};

/* "postmaster" becomes postmaster@$myorigin. */
static char *
qualify(const struct config *config, const char *address)
{
    char *full = NULL;
    int n = strchr(address, '@') != NULL ? asprintf(&full, "%s", address)
                                         : asprintf(&full, "%s@%s", address, config_str(config, P_myorigin));

    return n == -1 ? NULL : full;
}

int
service_notice_open(struct service *service)
{
    const struct config *config = service->config;
    struct notice_settings settings = {.classes = notice_classes(config_str(config, P_notify_classes)),
                                       .interval_s = config_int(config, P_postmaster_notice_interval),
                                       .mail_name = config_str(config, P_mail_name)};

    for (size_t i = 0; i < NOTICE_CLASSES; i++) {
        service->notice_recipients[i] = qualify(config, config_str(config, RECIPIENTS[i]));
        settings.recipients[i] = service->notice_recipients[i];
        if (settings.recipients[i] == NULL) {
            return GW_ERR_NOMEM;
        }
    }
    service->notice_sender = qualify(config, config_str(config, P_double_bounce_sender));
    service->notices = notices_new(&settings);
    service->door = reinjection_new(ROLE_POLICY);
    return service->notice_sender == NULL || service->notices == NULL || service->door == NULL ? GW_ERR_NOMEM
                                                                                               : 0;
}

void
service_notice_close(struct service *service)
{
    if (service->mail_count > 0) {
        log_warning("policy", "%zu notices to the postmaster could not be sent", service->mail_count);
    }
    for (size_t i = 0; i < service->mail_count; i++) {
        notice_mail_free(&service->mails[i]);
    }
    service->mail_count = 0;
    for (size_t i = 0; i < NOTICE_CLASSES; i++) {
        free(service->notice_recipients[i]);
        service->notice_recipients[i] = NULL;
    }
    free(service->notice_sender);
    service->notice_sender = NULL;
    notices_free(&service->notices);
    reinjection_free(&service->door);
}

static int
write_content(struct service *service, const struct envelope *envelope, const struct notice_mail *mail,
              struct buf *out)
{
    const char *name = config_str(service->config, P_mail_name),
               *host = config_str(service->config, P_myhostname);
    char date[80];
    int r;

    clock_rfc5322(envelope->arrival_us / 1000000, date, sizeof(date));
    r = buf_printf(out, "Received: by %s (%s)\r\n\tid %s; %s\r\n", host, name, envelope->queue_id, date);
    r = r == 0 ? buf_printf(out, "Date: %s\r\nFrom: MAILER-DAEMON@%s (Mail Delivery System)\r\n", date,
                            config_str(service->config, P_myorigin))
               : r;
    r = r == 0 ? buf_printf(out, "To: %s (Postmaster)\r\nSubject: ", mail->recipient) : r;
    r = r == 0 ? buf_append_bytes(out, bytes_buf(&mail->subject)) : r;
    r = r == 0
            ? buf_printf(out,
                         "\r\nMessage-Id: <%s@%s>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
                         "Content-Type: text/plain; charset=us-ascii\r\n\r\n",
                         envelope->queue_id, host)
            : r;
    return r == 0 ? buf_append_bytes(out, bytes_buf(&mail->body)) : r;
}

static int
fill_envelope(struct service *service, const struct notice_mail *mail, struct envelope *envelope)
{
    int r = envelope_set_sender(envelope, bytes_str(service->notice_sender));

    queue_id_make(envelope->queue_id, clock_wall_us(), service->unique++);
    envelope->arrival_us = clock_wall_us();
    envelope->local_origin = true;
    envelope->message_id = (struct bytes){0};
    (void)snprintf(envelope->session.name, sizeof(envelope->session.name), "localhost");
    return r == 0 ? envelope_add_recipient(envelope, bytes_str(mail->recipient), bytes_str(mail->recipient),
                                           NOTIFY_NEVER, (struct bytes){0})
                  : r;
}

static int
submit(struct service *service, const struct notice_mail *mail)
{
    struct envelope *envelope = envelope_new();
    struct buf content;
    int fd = -1, r = GW_ERR_NOMEM;

    buf_init(&content, CONTENT_MAX);
    if (envelope == NULL || (r = fill_envelope(service, mail, envelope)) != 0 ||
        (r = write_content(service, envelope, mail, &content)) != 0) {
        goto out;
    }
    envelope->size = content.n;
    if ((fd = ipc_sealed_memfd("notice", bytes_buf(&content))) == -1) {
        r = GW_ERR_SYS;
        goto out;
    }
    r = reinjection_submit(service->door, envelope, fd, clock_monotonic_ms() + SUBMIT_MS);
    if (r == 0) {
        log_info("policy", "%s: notice to %s: %s", envelope->queue_id, mail->recipient,
                 buf_str(&mail->subject));
    }
out:
    if (fd != -1) {
        (void)close(fd);
    }
    buf_free(&content);
    envelope_free(&envelope);
    return r;
}

static void notice_time(void *context);

/* One timer for what is due next, and for another try. */
static void
arm(struct service *service)
{
    int64_t now_us = clock_wall_us(), due_us = notices_due_us(service->notices, now_us);
    int64_t at_ms = CLOCK_NEVER;

    if (due_us != INT64_MAX && service->mail_count < SERVICE_MAILS_MAX) {
        at_ms = clock_monotonic_ms() + (due_us <= now_us ? 0 : (due_us - now_us) / 1000 + 1);
    }
    if (service->mail_count > 0 && service->mail_retry_ms < at_ms) {
        at_ms = service->mail_retry_ms;
    }
    if (at_ms == CLOCK_NEVER) {
        loop_timer_cancel(service->loop, &service->notice_timer);
    } else if (service->notice_timer != NULL) {
        loop_timer_move(service->loop, service->notice_timer, at_ms);
    } else {
        service->notice_timer = loop_timer_add(service->loop, at_ms, notice_time, service);
    }
}

static void
send_waiting(struct service *service)
{
    while (service->mail_count > 0 && clock_monotonic_ms() >= service->mail_retry_ms) {
        int r = submit(service, &service->mails[0]);

        if (r != 0) {
            service->mail_retry_ms = clock_monotonic_ms() + RETRY_MS;
            log_warning("policy", "cannot send a notice to the postmaster: %s", gw_strerror(r));
            return;
        }
        notice_mail_free(&service->mails[0]);
        service->mail_count--;
        memmove(&service->mails[0], &service->mails[1], service->mail_count * sizeof(service->mails[0]));
    }
}

static void
notice_time(void *context)
{
    struct service *service = context;
    struct notice_mail mail;

    service->notice_timer = NULL;
    while (service->mail_count < SERVICE_MAILS_MAX &&
           notices_take(service->notices, clock_wall_us(), &mail) == 1) {
        service->mails[service->mail_count++] = mail; /* transferred */
    }
    send_waiting(service);
    arm(service);
}

void
service_notice_add(struct service *service, const struct wire_notice *notice)
{
    notices_add(service->notices, notice, clock_wall_us());
    arm(service);
}

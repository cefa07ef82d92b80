/*
 * queue_dsn - the text of a delivery status notification (RFC 3464, RFC 6522): failed, delayed, delivered.
 *
 * Pure: from the envelope, the recipients told about and the returned content to the bytes of a message.
 * Lines end in CRLF; what came from a peer is made printable and folded, so it can neither add a header nor
 * end a part.
 */
#ifndef QUEUE_QUEUE_DSN_H
#define QUEUE_QUEUE_DSN_H

#include "message/envelope.h"

enum queue_notice { QUEUE_NOTICE_BOUNCE, QUEUE_NOTICE_DELAY, QUEUE_NOTICE_SUCCESS, QUEUE_NOTICES };

struct queue_dsn_recipient {
    const struct recipient *recipient;
    const char *action; /* "failed", "delayed", "delivered", "relayed" */
    const char *dsn;    /* "5.1.1" */
    struct bytes reply, remote_mta;
};

struct queue_dsn {
    enum queue_notice kind;
    const struct envelope *original;
    const char *queue_id; /* of the notification */
    const char *to;       /* where it goes: the sender, or the postmaster */
    const char *myhostname, *mail_name;
    int64_t now_s;     /* wall clock */
    int64_t give_up_s; /* delay: until when delivery is tried; wall clock */
    const struct queue_dsn_recipient *recipients;
    size_t count;
    struct bytes content; /* what is returned of the message */
    bool is_whole;        /* content is the message, not only its header */
};

int queue_dsn_write(struct buf *out, const struct queue_dsn *dsn);

#endif

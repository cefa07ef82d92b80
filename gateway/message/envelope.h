/*
 * envelope - sender, recipients and attributes of one message, as the queue stores them and ipc carries them.
 *
 * The content is never in here: it travels as a sealed memfd and lies in the queue as chunks. All strings
 * belong to the envelope's arena.
 */
#ifndef MESSAGE_ENVELOPE_H
#define MESSAGE_ENVELOPE_H

#include "base/arena.h"
#include "message/session.h"

enum {
    ENVELOPE_ADDRESS_MAX = 1024, /* bytes of one address */
    ENVELOPE_RECIPIENTS_MAX = 50000,
    QUEUE_ID_MAX = 32, /* with its NUL */
};

enum body_type { BODY_7BIT, BODY_8BITMIME, BODY_BINARYMIME };

/* DSN NOTIFY (RFC 3461 section 4.1) */
enum notify {
    NOTIFY_DEFAULT = 0,
    NOTIFY_NEVER = 1,
    NOTIFY_SUCCESS = 2,
    NOTIFY_FAILURE = 4,
    NOTIFY_DELAY = 8
};

struct recipient {
    struct bytes address;   /* after rewriting and expansion */
    struct bytes original;  /* as the client gave it (RCPT TO, or ORCPT value) */
    struct bytes dsn_orcpt; /* ORCPT=rfc822;... as given; empty when none */
    uint8_t notify;
};

struct envelope {
    struct arena *arena;
    char queue_id[QUEUE_ID_MAX];
    struct bytes sender; /* empty: null sender <> */
    struct recipient *recipients;
    size_t recipient_count;
    uint64_t size;      /* bytes of content */
    int64_t arrival_us; /* wall clock */
    uint8_t body;       /* enum body_type */
    bool smtputf8;
    bool local_origin; /* from mynetworks, 10026, sendmail or ourselves: may be bounced to its sender */
    bool hold;
    char dsn_ret; /* 'F', 'H' or 0 */
    struct bytes dsn_envid;
    struct bytes content_filter; /* transport:nexthop of an external filter; empty when none */
    struct bytes redirect;       /* FILTER/REDIRECT results; empty when none */
    struct bytes message_id;     /* for the log and `estafeta why`; empty when none */
    struct session_facts session;
};

/* An empty envelope in a new arena. NULL when out of memory. */
struct envelope *envelope_new(void);
void envelope_free(struct envelope **envelope);
void envelope_reset(struct envelope *envelope); /* keeps session, empties the rest */
/* Copies the strings. GW_ERR_LIMIT, GW_ERR_NOMEM. */
int envelope_set_sender(struct envelope *envelope, struct bytes sender);
int envelope_add_recipient(struct envelope *envelope, struct bytes address, struct bytes original,
                           uint8_t notify, struct bytes dsn_orcpt);

int envelope_pack(struct buf *buf, const struct envelope *envelope);
int envelope_unpack(struct bytes packed, struct envelope **envelope_r);

/* A new id that sorts by time and is unique for this process (slot: a number no other live process has). The
 * form is Postfix's long queue id: base 52 seconds and microseconds, 'z', base 51 counter. Thread-safe
 * counter is the caller's. */
void queue_id_make(char out[QUEUE_ID_MAX], int64_t wall_us, uint64_t unique);

#endif

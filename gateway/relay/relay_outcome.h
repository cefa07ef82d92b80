/*
 * relay_outcome - the whole failure policy of the client in one table: what a failure means for the
 * recipients.
 *
 * A failure has a scope (how much it concerns: the host, the message, one recipient), and a kind (what
 * happened). The table says whether another host may be asked and what becomes of the recipient when there is
 * none. Texts are Postfix's, since operators search for them.
 */
#ifndef RELAY_RELAY_OUTCOME_H
#define RELAY_RELAY_OUTCOME_H

#include "relay/relay_address.h"

enum relay_scope {
    RELAY_SCOPE_CONNECT,   /* no connection at all */
    RELAY_SCOPE_SITE,      /* greeting, EHLO, TLS: the host serves nobody */
    RELAY_SCOPE_MESSAGE,   /* MAIL FROM, DATA: this message */
    RELAY_SCOPE_RECIPIENT, /* RCPT TO, LMTP's reply per recipient */
    RELAY_SCOPE_END,       /* the dot was sent: the host may have taken the message */
    RELAY_SCOPES
};

enum relay_kind {
    RELAY_KIND_SOFT,   /* a 4xx reply, or one that makes no sense */
    RELAY_KIND_HARD,   /* a 5xx reply */
    RELAY_KIND_BROKEN, /* connection lost, timeout, TLS failure */
    RELAY_KINDS
};

struct relay_rule {
    bool next_host;              /* the recipients stay for the next host of the list */
    enum delivery_status status; /* when there is no other host */
    bool site;                   /* the destination as a whole is in trouble: back off for it */
};

/* A failure while it travels from where it happened to the recipients it concerns. */
struct relay_trouble {
    enum relay_scope scope;
    enum relay_kind kind;
    struct relay_failure failure; /* status is set by relay_outcome_apply */
};

const struct relay_rule *relay_outcome_rule(enum relay_scope scope, enum relay_kind kind);
/* 2xx and 3xx where they are not expected are SOFT: we wait rather than lose mail. */
enum relay_kind relay_outcome_kind(int code);

/* "host mx[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)". dsn: as the host gave it
 * or "". */
void relay_outcome_said(struct relay_trouble *trouble, enum relay_scope scope, const char *host, int code,
                        const char *dsn, struct bytes reply, const char *command);
/* "host mx[192.0.2.1] refused to talk to me: 554 go away" */
void relay_outcome_refused(struct relay_trouble *trouble, const char *host, int code, const char *dsn,
                           struct bytes reply);
/* "lost connection with ... while ...", "conversation with ... timed out while ..."; error: enum gw_error. */
void relay_outcome_broken(struct relay_trouble *trouble, enum relay_scope scope, const char *host, int error,
                          const char *stage);
/* Anything else, with the status code that tells it. */
void relay_outcome_set(struct relay_trouble *trouble, enum relay_scope scope, enum relay_kind kind,
                       const char *dsn, const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif

/*
 * receive_session - one client's session: its state, its thread's tools, and the loop from greeting to
 * disconnect.
 *
 * Private to receive/. A thread owns one struct receive_tools for its life and runs sessions in it one after
 * another, so that a session allocates nothing of its own. Verbs are one file each (receive_helo.c,
 * receive_mail.c, receive_rcpt.c, receive_data.c ...) behind the table in receive_command.c.
 */
#ifndef RECEIVE_RECEIVE_SESSION_H
#define RECEIVE_RECEIVE_SESSION_H

#include <stdatomic.h>

#include "base/dns.h"
#include "base/stream.h"
#include "message/envelope.h"
#include "message/smtp_command.h"
#include "message/wire.h"
#include "policy/evidence.h"
#include "policy/reinjection.h"
#include "receive/receive_port.h"
#include "receive/receive_room.h"

enum {
    RECEIVE_REPLY_MAX = 2048,      /* bytes of one reply text */
    RECEIVE_SPOOL_BUFFER = 131072, /* content is collected here before it goes to the memfd */
    RECEIVE_VERBS = SMTP_VERB_COUNT,
    RECEIVE_TRANSCRIPT_MAX = 16384, /* of a session, for a notice to the postmaster */
};

/* What all threads share; lives as long as the process. */
struct receive_shared {
    const struct config *config;
    struct rates *rates;
    struct receive_room room;      /* on the queue's disk */
    atomic_int draining;           /* finish the session under way and go */
    atomic_uint_fast64_t sequence; /* for queue and session ids */
    unsigned slot;                 /* tells this process from others alive, in ids */
};

/* One thread's tools. */
struct receive_tools {
    struct receive_shared *shared;
    struct stream *stream;
    struct dns_client *dns;
    struct ipc_channel *policy; /* NULL until needed */
    struct restriction_servers *servers;
    struct reinjection *door;
    struct envelope *envelope;
    struct arena *arena; /* of one message's scan report */
    uint8_t *spool;      /* RECEIVE_SPOOL_BUFFER bytes */
    struct evidence evidence;
    struct buf scratch;
    struct smtp_command command; /* under way */
};

enum receive_state { RECEIVE_WANT_HELO, RECEIVE_READY, RECEIVE_MAIL, RECEIVE_RCPT, RECEIVE_BDAT };

struct receive_session {
    struct receive_tools *tools;
    const struct receive_port *port;
    struct stream *stream;
    struct session_facts facts;
    struct net_addr peer; /* who is really connected, whatever XCLIENT says */
    struct envelope *envelope;
    struct restriction_effects effects;

    enum receive_state state;
    bool extended;                  /* EHLO, not HELO */
    bool trusted_client;            /* in mynetworks */
    bool trust_unknown;             /* a table of mynetworks could not tell */
    bool xforwarded;                /* XFORWARD set the facts of this message */
    struct session_facts own_facts; /* restored after an XFORWARD message */
    bool pipelining_violation;
    bool quit;
    bool access_denied; /* refused at connect with smtpd_delay_reject = no: only QUIT is left */
    bool counted;       /* rates_connect() was called */
    struct restriction_pending session_pending; /* of client and helo lists alone: outlives a message */
    struct restriction_pending pending; /* of client, helo and sender lists when smtpd_delay_reject = no */
    unsigned errors, junk;
    unsigned ok_counts[SMTP_VERB_COUNT], all_counts[SMTP_VERB_COUNT];
    int last_code;
    const char *last_verb; /* for logs; "CONNECT" at first */

    bool policy_event, protocol_event, resource_event; /* for notify_classes */
    struct buf transcript; /* In:/Out: lines, kept only when a notice class may want it */
    bool keep_transcript;

    /* the message under way */
    bool has_sender;
    struct bytes sender_given; /* as in MAIL FROM, in the envelope's arena */
    unsigned accepted_recipients, rejected_recipients, overshot_recipients;
    int content_fd;
    uint64_t content_size;
    uint64_t declared_size;
    struct content *content; /* spooling state, receive_content.h */
};

/* Evidence of who the client is (now). */
void receive_session_note_client(struct receive_session *session);
/* The client's own restriction list when it is not delayed, and the greeting. */
int receive_session_greet(struct receive_session *session);
/* Runs a whole session; closes fd. handover NULL: the port accepted the connection itself. */
void receive_session_run(struct receive_tools *tools, const struct receive_port *port, int fd,
                         const struct net_addr *client, const struct wire_handover *handover);

int receive_tools_init(struct receive_tools *tools, struct receive_shared *shared);
void receive_tools_free(struct receive_tools *tools);

/* Forgets the message under way (RSET, new HELO, after a message). */
void receive_session_reset_message(struct receive_session *session);
/* "name[addr]" for logs. */
const char *receive_session_client(const struct receive_session *session, char *out, size_t size);

/* The transaction's handlers: one verb each; the reply is queued by the handler itself. */
typedef int receive_verb(struct receive_session *session, const struct smtp_command *command);
receive_verb receive_helo, receive_ehlo, receive_mail, receive_rcpt, receive_data, receive_bdat, receive_rset,
    receive_noop, receive_vrfy, receive_quit, receive_starttls, receive_help, receive_auth, receive_xclient,
    receive_xforward;

/* receive_command.c: reads one command line and runs it; *last_r is its verb. 0 goes on; an error ends the
 * session: GW_ERR_DENIED when we said 421 ourselves. */
int receive_command_next(struct receive_session *session, enum smtp_verb *last_r);
/* receive_restrict.c: runs the lists of one command; replies itself when one refuses. *permitted_r tells. */
int receive_restrict(struct receive_session *session, const enum restriction_stage *stages, size_t count,
                     const char *verb, struct bytes recipient, struct bytes recipient_given,
                     bool *permitted_r);
/* The same for a single list that stands before RCPT, which only runs when smtpd_delay_reject = no. */
int receive_restrict_early(struct receive_session *session, enum restriction_stage stage, const char *verb,
                           bool *permitted_r);
/* receive_client_name.c: PTR and forward check; fills name, reverse_name and their states. */
void receive_client_name(struct receive_session *session);
/* receive_disposition.c: content complete and sealed: scan, verdict, reinjection or quarantine, reply. */
int receive_disposition(struct receive_session *session);
/* What access actions asked for goes into the envelope: HOLD, FILTER, REDIRECT, BCC. */
void receive_apply_effects(struct receive_session *session);

#endif

/*
 * restriction - smtpd_*_restrictions: the words of the lists, compiled once, evaluated at RCPT (or earlier).
 *
 * Postfix's model: lists client, helo, sender, relay, recipient, data, end-of-data run in order; in a list the first
 * permit or reject ends that list; a reject of any list is the answer. Words that need what is not known yet are
 * skipped. A word that asks DNS or a table which cannot answer gives 4xx, never permit. Unknown words refuse the
 * configuration at load.
 */
#ifndef POLICY_RESTRICTION_H
#define POLICY_RESTRICTION_H

#include "config/config.h"
#include "config/table.h"
#include "message/envelope.h"
#include "policy/evidence.h"

enum restriction_stage { STAGE_CLIENT, STAGE_HELO, STAGE_SENDER, STAGE_RELAY, STAGE_RECIPIENT, STAGE_DATA,
                         STAGE_END_OF_DATA, STAGE_ETRN, STAGE_VRFY, STAGE_COUNT };

struct dns_client;
struct ipc_channel;
struct router;
struct restriction_set; /* all lists of one service view, compiled */

/* What a session knows when a list runs. */
struct restriction_facts {
    const struct config *config;
    const struct session_facts *session;
    const struct envelope *envelope;  /* sender and recipients so far */
    bool has_sender;
    struct bytes sender;              /* MAIL FROM, valid when has_sender */
    bool has_recipient;
    struct bytes recipient;           /* the RCPT TO under test, canonical form user@domain */
    struct bytes recipient_given;     /* as the client wrote it, for "<...>" in replies */
    bool pipelining_violation;        /* the client spoke ahead without right */
    uint64_t size;
    struct dns_client *dns;
    struct ipc_channel **policy;      /* lazily connected channel to the policy role (greylist) */
    struct evidence *evidence;
};

enum restriction_outcome { RESTRICTION_DEFER = 0, RESTRICTION_PERMIT, RESTRICTION_REJECT, RESTRICTION_DISCONNECT };

/* What access actions besides permit and reject asked for. */
struct restriction_effects {
    bool hold, discard;
    struct buf filter, redirect; /* FILTER, REDIRECT targets; empty when none */
    struct buf prepend;          /* PREPEND header lines with CRLF */
    struct buf bcc;              /* BCC addresses separated by NUL */
};

struct restriction_answer {
    enum restriction_outcome outcome;
    int code;           /* 450, 554 ... */
    char dsn[12];
    struct buf text;    /* reply text after code and dsn, as Postfix writes it: "<x@y>: Relay access denied" */
    const char *class;  /* "Client host", "Helo command", "Sender address", "Recipient address", for the log */
    bool greylisted;
};

/* Compiles the lists of one view. error_r: "main.cf: smtpd_client_restrictions: unknown restriction reject_foo". */
/* router: of the same view; borrowed, must outlive the set. */
int restriction_set_new(const struct config *view, struct router *router, struct restriction_set **set_r,
                        struct buf *error_r);
void restriction_set_free(struct restriction_set **set);
int restriction_run(struct restriction_set *set, enum restriction_stage stage, const struct restriction_facts *facts,
                    struct restriction_effects *effects, struct restriction_answer *answer_r);
/* The address-class check of the recipient: "User unknown in ... table" (smtpd_reject_unlisted_recipient). */
int restriction_check_recipient_exists(struct restriction_set *set, const struct restriction_facts *facts,
                                       struct restriction_answer *answer_r);
void restriction_answer_free(struct restriction_answer *answer);
void restriction_effects_free(struct restriction_effects *effects);

#endif

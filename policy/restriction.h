/*
 * restriction - smtpd_*_restrictions: the words of the lists, compiled once, evaluated at RCPT (or earlier).
 *
 * Postfix's model: lists client, helo, sender, relay, recipient, data, end-of-data run in order; in a list
 * the first permit or reject ends that list; a reject of any list is the answer. Words that need what is not
 * known yet are skipped. A word that asks DNS or a table which cannot answer gives 4xx, never permit. Unknown
 * words refuse the configuration at load.
 */
#ifndef POLICY_RESTRICTION_H
#define POLICY_RESTRICTION_H

#include "config/config.h"
#include "config/table.h"
#include "message/envelope.h"
#include "policy/evidence.h"

enum { RESTRICTION_TEXT_MAX = 1024 };

enum restriction_stage {
    STAGE_CLIENT,
    STAGE_HELO,
    STAGE_SENDER,
    STAGE_RELAY,
    STAGE_RECIPIENT,
    STAGE_DATA,
    STAGE_END_OF_DATA,
    STAGE_ETRN,
    STAGE_VRFY,
    STAGE_COUNT
};

struct restriction_servers; /* connections to policy servers */
struct wire_triplet;
struct wire_greylist_answer;
struct dns_client;
struct ipc_channel;
struct router;
struct restriction_set; /* all lists of one service view, compiled */

/* A refusal that a list asked for only in case the command is permitted in the end (DEFER_IF_PERMIT, a DNS
 * lookup that could not be answered), or rejected (DEFER_IF_REJECT). Carried from list to list of one
 * command. */
struct restriction_pending {
    bool if_permit, if_reject;
    int code;
    char dsn[12];
    char text[RESTRICTION_TEXT_MAX];
};

/* What a session knows when a list runs. */
struct restriction_facts {
    const struct config *config; /* the view the set was made of */
    const struct session_facts *session;
    const struct envelope *envelope; /* sender and recipients so far */
    bool has_sender;
    struct bytes sender; /* MAIL FROM as given, without <>; valid when has_sender */
    bool has_recipient;
    struct bytes recipient;       /* the RCPT TO under test, canonical form user@domain; ETRN's argument */
    struct bytes recipient_given; /* as the client wrote it, without <>, for "<...>" in replies */
    bool trusted_client;          /* in mynetworks */
    bool trust_unknown;           /* a table of mynetworks could not tell */
    bool pipelining_violation;    /* the client spoke ahead without right */
    uint64_t size;
    struct dns_client *dns;
    struct ipc_channel **policy;         /* lazily connected channel to the policy role (greylist) */
    struct restriction_servers *servers; /* of this thread; NULL: connections are not kept */
    struct evidence *evidence;
    struct restriction_pending *pending;
    /* Writes "NOQUEUE: action: RCPT from client: text; from=<> ..." for WARN, HOLD, reject_warning and the
     * like. */
    void (*log)(void *context, const char *action, struct bytes text);
    void *log_context;
};

enum restriction_outcome {
    RESTRICTION_DEFER = 0,
    RESTRICTION_PERMIT,
    RESTRICTION_REJECT,
    RESTRICTION_DISCONNECT
};

/* What access actions besides permit and reject asked for. */
struct restriction_effects {
    bool hold, discard;
    struct buf filter, redirect; /* FILTER, REDIRECT targets; empty when none */
    struct buf prepend;          /* PREPEND header lines with CRLF */
    struct buf bcc;              /* BCC addresses separated by NUL */
};

struct restriction_answer {
    enum restriction_outcome outcome;
    int code; /* 450, 554 ... */
    char dsn[12];
    struct buf text; /* reply text after code and dsn, as Postfix writes it: "<x@y>: Relay access denied" */
    bool greylisted;
};

/* Compiles the lists of one view. error_r: "main.cf: smtpd_client_restrictions: unknown restriction
 * reject_foo". */
/* router: of the same view; borrowed, must outlive the set. */
int restriction_set_new(const struct config *view, struct router *router, struct restriction_set **set_r,
                        struct buf *error_r);
void restriction_set_free(struct restriction_set **set);
struct restriction_servers *restriction_servers_new(void); /* for one thread; NULL: out of memory */
void restriction_servers_free(struct restriction_servers **servers);
/* Runs one list. answer_r starts as a deferral and is a permit when no word objected. facts->pending collects
 * and is applied when `last` (the last list of this command). Always 0 or GW_ERR_NOMEM; the outcome is in the
 * answer. */
int restriction_run(struct restriction_set *set, enum restriction_stage stage, bool last,
                    const struct restriction_facts *facts, struct restriction_effects *effects,
                    struct restriction_answer *answer_r);
/* The built-in greylister (greylist = suspicious | yes), after the recipient lists permitted. */
int restriction_greylist(const struct restriction_facts *facts, struct restriction_answer *answer_r);
/* What the policy role says of a triplet; for the greylist server too. 0 or why it cannot be asked. */
int restriction_greylist_ask(struct ipc_channel **policy, const struct wire_triplet *triplet,
                             struct wire_greylist_answer *answer_r);
/* The address-class check of the recipient: "User unknown in ... table" (smtpd_reject_unlisted_recipient). */
int restriction_check_recipient_exists(struct restriction_set *set, const struct restriction_facts *facts,
                                       struct restriction_answer *answer_r);
void restriction_answer_init(struct restriction_answer *answer); /* 451, no text */
void restriction_answer_free(struct restriction_answer *answer);
void restriction_effects_init(struct restriction_effects *effects);
void restriction_effects_free(struct restriction_effects *effects); /* leaves it ready for use again */

#endif

/*
 * restriction_internal - what the restriction*.c files share: compiled lists, the word table, one run.
 *
 * Private to policy/restriction*.c. A list is an array of items; an item is a word of RESTRICTION_WORDS and
 * its argument, opened. Lists that access tables name at run time are compiled then, without tables of their
 * own.
 */
#ifndef POLICY_RESTRICTION_INTERNAL_H
#define POLICY_RESTRICTION_INTERNAL_H

#include "policy/dnsbl.h"
#include "policy/restriction.h"
#include "policy/route.h"

enum {
    RESTRICTION_ITEMS_MAX = 512, /* words of one list */
    RESTRICTION_CLASSES_MAX = 64,
    RESTRICTION_DEPTH_MAX = 16, /* lists inside lists */
    RESTRICTION_DNS_MS = 20000, /* budget of one word's lookups */
};

/* What a word looks at, and what the reply names. */
enum restriction_subject {
    SUBJECT_LIST, /* the subject of the list the word stands in */
    SUBJECT_CLIENT,
    SUBJECT_HELO,
    SUBJECT_SENDER,
    SUBJECT_RECIPIENT,
    SUBJECT_REVERSE_CLIENT,
    SUBJECT_DATA,
    SUBJECT_END_OF_DATA,
    SUBJECT_ETRN,
};

enum restriction_argument {
    ARGUMENT_NONE,
    ARGUMENT_TABLE,
    ARGUMENT_ZONE,
    ARGUMENT_SECONDS,
    ARGUMENT_SERVICE, /* policy server */
};

/* What a word said. */
enum restriction_step { STEP_DUNNO, STEP_PERMIT, STEP_REFUSE };

struct restriction_run;
struct restriction_item;
typedef enum restriction_step restriction_check(struct restriction_run *run,
                                                const struct restriction_item *item);

struct restriction_word {
    const char *name;
    restriction_check *check;
    enum restriction_argument argument;
    enum restriction_subject subject;
    enum { WORD_PLAIN, WORD_TERMINAL = 1, WORD_STOPS_RELAY = 2 } kind; /* bits */
    const char *advice; /* historical names: what to write instead; NULL otherwise */
};

/* The table, ending with a NULL name (restriction_words.c). */
extern const struct restriction_word RESTRICTION_WORDS[];

struct restriction_list {
    struct restriction_item *items;
    size_t count;
};

struct restriction_item {
    const struct restriction_word *word; /* NULL: a restriction class, `nested` */
    char *argument;
    struct table *table;
    struct dnsbl_site *site;
    const struct restriction_list *nested; /* owned by the set's classes */
};

struct restriction_class {
    char *name;
    struct restriction_list list;
};

struct restriction_set {
    const struct config *view;
    struct router *router;
    struct restriction_list lists[STAGE_COUNT];
    struct restriction_class classes[RESTRICTION_CLASSES_MAX];
    size_t class_count;
    struct match_list *backup_networks; /* permit_mx_backup_networks; NULL: any */
};

struct restriction_run {
    struct restriction_set *set;
    const struct config *view;
    enum restriction_stage stage;
    const struct restriction_facts *facts;
    struct restriction_effects *effects;
    struct restriction_answer *answer;
    bool warn_only; /* warn_if_reject stood before */
    unsigned depth;
};

/* Compiles the words of `text`. tables: whether words may open tables (false at run time, inside the jail).
 * GW_ERR_CONFIG with the reason in error_r. */
int restriction_compile(struct restriction_set *set, const char *where, struct bytes text, bool tables,
                        struct restriction_list *list_r, struct buf *error_r);
void restriction_list_clear(struct restriction_list *list);
enum restriction_step restriction_run_list(struct restriction_run *run, const struct restriction_list *list);

/* The value a reply names in <>, and whether it is known by now. */
struct bytes restriction_subject_value(const struct restriction_run *run, enum restriction_subject subject);
void restriction_append_subject(const struct restriction_run *run, enum restriction_subject subject,
                                struct buf *out);
bool restriction_subject_known(const struct restriction_run *run, enum restriction_subject subject);
const char *restriction_subject_class(enum restriction_subject subject); /* "Client host" ... */
enum restriction_subject restriction_subject_of(const struct restriction_run *run,
                                                const struct restriction_item *item);

/* Refuses with exactly this text. dsn's first digit follows the code. Under warn_if_reject it only logs:
 * DUNNO. */
enum restriction_step restriction_refuse_text(struct restriction_run *run, int code, const char *dsn,
                                              const char *text);
/* "<value>: Class rejected: reason". */
enum restriction_step restriction_refuse(struct restriction_run *run, enum restriction_subject subject,
                                         int code, const char *dsn, const char *reason);
/* The same, but only if the command is permitted in the end. */
enum restriction_step restriction_defer_if_permit(struct restriction_run *run,
                                                  enum restriction_subject subject, int code, const char *dsn,
                                                  const char *reason);
/* Makes a refusal that comes later in the command "not now"; says nothing itself. */
enum restriction_step restriction_defer_if_reject(struct restriction_run *run,
                                                  enum restriction_subject subject, int code, const char *dsn,
                                                  const char *reason);
void restriction_pend(struct restriction_run *run, bool if_permit, int code, const char *dsn,
                      const char *text);

/* restriction_access.c: what a table's right-hand side asks for (access(5)). */
enum restriction_step restriction_act(struct restriction_run *run, enum restriction_subject subject,
                                      const char *table, struct bytes action);
/* restriction_dns.c. found_r: whether mail for the domain could be delivered. 0, GW_ERR_TEMP. */
enum restriction_domain { DOMAIN_UNKNOWN, DOMAIN_KNOWN, DOMAIN_NULL_MX };
int restriction_find_domain(struct restriction_run *run, struct bytes domain,
                            enum restriction_domain *found_r);
struct bytes restriction_domain_of(struct bytes address); /* behind the last @; empty when none */

restriction_check restriction_permit, restriction_reject, restriction_defer, restriction_word_defer_if_permit,
    restriction_word_defer_if_reject, restriction_warn_if_reject, restriction_permit_mynetworks,
    restriction_permit_sasl, restriction_permit_inet_interfaces, restriction_plaintext_session,
    restriction_unauth_pipelining, restriction_multi_recipient_bounce, restriction_sleep,
    restriction_not_available, restriction_naked_ip;
restriction_check restriction_access;
restriction_check restriction_unknown_client, restriction_unknown_reverse_client,
    restriction_unknown_forward_client, restriction_unknown_helo, restriction_unknown_domain,
    restriction_rbl_client, restriction_rhsbl, restriction_maps_rbl, restriction_dnswl_client;
restriction_check restriction_invalid_helo, restriction_non_fqdn;
restriction_check restriction_unauth_destination, restriction_defer_unauth_destination,
    restriction_auth_destination, restriction_check_relay_domains, restriction_mx_backup,
    restriction_unlisted_recipient, restriction_unlisted_sender;
restriction_check restriction_greylist_word;
restriction_check restriction_policy_service;

#endif

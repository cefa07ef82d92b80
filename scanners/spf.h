/*
 * spf - Sender Policy Framework (RFC 7208): parse a record, expand macros, evaluate check_host().
 *
 * Before: spf.c (a message) asks; DNS is reached through a function, so that tests bring their own.
 * spf_record.c parses whole records before anything is evaluated, as section 4.6 wants; spf_macro.c expands;
 * spf_eval.c decides within the limits of section 4.6.4. Errors become results (temperror, permerror), never
 * a pass.
 */
#ifndef SCANNERS_SPF_H
#define SCANNERS_SPF_H

#include "base/arena.h"
#include "base/dns.h"
#include "scanners/scanner.h"

enum {
    SPF_LOOKUPS_MAX = 10, /* terms that ask DNS (section 4.6.4) */
    SPF_VOID_MAX = 2,     /* of those, how many may find nothing */
    SPF_NAMES_MAX = 10,   /* MX hosts of one mx, PTR names of one ptr */
    SPF_TERMS_MAX = 512,
    SPF_RECORD_MAX = 16384,
    SPF_EXPANDED_MAX = 8192,
    SPF_NAME_MAX = 253,
    SPF_DEPTH_MAX = 11, /* include and redirect; the lookup limit ends it before */
};

enum spf_mechanism {
    SPF_ALL,
    SPF_INCLUDE,
    SPF_A,
    SPF_MX,
    SPF_PTR,
    SPF_IP4,
    SPF_IP6,
    SPF_EXISTS,
};

struct spf_term {
    enum spf_mechanism mechanism;
    uint8_t qualifier;         /* enum auth_result when it matches */
    struct bytes domain;       /* domain-spec, unexpanded; empty: the current domain */
    struct net_prefix network; /* ip4, ip6 */
    uint8_t bits4, bits6;      /* of a and mx */
};

struct spf_record {
    struct spf_term *terms; /* mechanisms in order, modifiers apart */
    size_t count;
    struct bytes redirect, explanation; /* domain-specs; p NULL when absent */
};

/* Whether a TXT record is an SPF record: "v=spf1" and then a blank or the end. */
bool spf_record_is_one(struct bytes text);
/* Views point into text. GW_ERR_SYNTAX is permerror; problem_r gets the term in words. */
int spf_record_parse(struct arena *arena, struct bytes text, struct spf_record *record_r,
                     const char **problem_r);

/* Answers from DNS. 0 with an answer or an error, as dns_query(). */
typedef int spf_lookup(void *context, const char *name, enum dns_type type, struct dns_answer **answer_r);

struct spf_request {
    const struct net_addr *client;
    struct bytes sender; /* MAIL FROM; empty: postmaster@helo is checked */
    struct bytes helo;
    const char *receiver; /* our name, for %{r} */
    spf_lookup *lookup;
    void *lookup_context;
    struct arena *arena;
};

struct spf_outcome {
    enum auth_result result;
    struct bytes domain;      /* that was checked */
    struct bytes explanation; /* of the domain's owner on fail; empty when none */
    struct bytes problem;     /* why temperror or permerror */
    unsigned lookups;
};

void spf_check(const struct spf_request *request, struct spf_outcome *outcome_r);

/* What macros stand for (section 7.2). */
struct spf_macros {
    const struct spf_request *request;
    struct bytes sender_local, sender_domain; /* "postmaster" when there was no local part */
    struct bytes domain;                      /* <domain> of the current check_host() */
    /* Answers %{p}; asked at most once. */
    struct bytes (*validated_name)(void *context);
    void *validated_context;
};
/* Checks a macro-string without expanding it. exp: c, r and t are allowed and blanks too. GW_ERR_SYNTAX. */
int spf_macro_check(struct bytes text, bool exp);
/* GW_ERR_SYNTAX, GW_ERR_LIMIT. */
int spf_macro_expand(const struct spf_macros *macros, struct bytes text, bool exp, struct buf *out);

extern const struct scanner SCANNER_SPF_ROW;

#endif

/*
 * restriction_words - the table of restriction words, and the words that need no lookup.
 *
 * Before: restriction.c. The words that ask tables, DNS, the router or other servers are in
 * restriction_access.c, restriction_dns.c, restriction_relay.c, restriction_greylist.c. Names, reply codes
 * and texts are Postfix's (SMTPD_ACCESS_README, postconf(5)); historical and misspelt names of old guides are
 * rows with an advice.
 */
#include "policy/restriction_internal.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"

enum { SLEEP_MAX_S = 60 };

#define PLAIN(n, f)                                         \
    {                                                       \
        n, f, ARGUMENT_NONE, SUBJECT_LIST, WORD_PLAIN, NULL \
    }
#define ABOUT(n, f, s)                           \
    {                                            \
        n, f, ARGUMENT_NONE, s, WORD_PLAIN, NULL \
    }
#define TABLE(n, s)                                                \
    {                                                              \
        n, restriction_access, ARGUMENT_TABLE, s, WORD_PLAIN, NULL \
    }
#define OLD(n, f, a, s, k, advice) \
    {                              \
        n, f, a, s, k, advice      \
    }

const struct restriction_word RESTRICTION_WORDS[] = {
    /* any list */
    {"permit", restriction_permit, ARGUMENT_NONE, SUBJECT_LIST, WORD_TERMINAL, NULL},
    {"reject", restriction_reject, ARGUMENT_NONE, SUBJECT_LIST, WORD_TERMINAL | WORD_STOPS_RELAY, NULL},
    {"defer", restriction_defer, ARGUMENT_NONE, SUBJECT_LIST, WORD_TERMINAL | WORD_STOPS_RELAY, NULL},
    {"defer_if_permit", restriction_word_defer_if_permit, ARGUMENT_NONE, SUBJECT_LIST, WORD_STOPS_RELAY,
     NULL},
    PLAIN("defer_if_reject", restriction_word_defer_if_reject),
    PLAIN("warn_if_reject", restriction_warn_if_reject),
    PLAIN("permit_mynetworks", restriction_permit_mynetworks),
    PLAIN("permit_sasl_authenticated", restriction_permit_sasl),
    PLAIN("permit_inet_interfaces", restriction_permit_inet_interfaces),
    PLAIN("permit_tls_clientcerts", restriction_not_available),
    PLAIN("permit_tls_all_clientcerts", restriction_not_available),
    PLAIN("reject_plaintext_session", restriction_plaintext_session),
    PLAIN("reject_unauth_pipelining", restriction_unauth_pipelining),
    PLAIN("reject_multi_recipient_bounce", restriction_multi_recipient_bounce),
    {"sleep", restriction_sleep, ARGUMENT_SECONDS, SUBJECT_LIST, WORD_PLAIN, NULL},
    {"check_policy_service", restriction_policy_service, ARGUMENT_SERVICE, SUBJECT_LIST, WORD_PLAIN, NULL},
    PLAIN("check_greylist", restriction_greylist_word),

    /* client */
    {"check_table_access", restriction_access, ARGUMENT_TABLE, SUBJECT_LIST, WORD_PLAIN, NULL},
    TABLE("check_client_access", SUBJECT_CLIENT),
    TABLE("check_reverse_client_hostname_access", SUBJECT_REVERSE_CLIENT),
    {"reject_rbl_client", restriction_rbl_client, ARGUMENT_ZONE, SUBJECT_CLIENT, WORD_PLAIN, NULL},
    {"reject_rhsbl_client", restriction_rhsbl, ARGUMENT_ZONE, SUBJECT_CLIENT, WORD_PLAIN, NULL},
    {"reject_rhsbl_reverse_client", restriction_rhsbl, ARGUMENT_ZONE, SUBJECT_REVERSE_CLIENT, WORD_PLAIN,
     NULL},
    {"permit_dnswl_client", restriction_dnswl_client, ARGUMENT_ZONE, SUBJECT_CLIENT, WORD_PLAIN, NULL},
    ABOUT("reject_unknown_client_hostname", restriction_unknown_client, SUBJECT_CLIENT),
    ABOUT("reject_unknown_reverse_client_hostname", restriction_unknown_reverse_client, SUBJECT_CLIENT),
    ABOUT("reject_unknown_forward_client_hostname", restriction_unknown_forward_client, SUBJECT_CLIENT),
    ABOUT("reject_unknown_client", restriction_unknown_client, SUBJECT_CLIENT),
    OLD("reject_maps_rbl", restriction_maps_rbl, ARGUMENT_NONE, SUBJECT_CLIENT, WORD_PLAIN,
        "use reject_rbl_client with each zone of maps_rbl_domains"),
    OLD("permit_naked_ip_address", restriction_naked_ip, ARGUMENT_NONE, SUBJECT_HELO, WORD_PLAIN,
        "use permit_mynetworks or permit_sasl_authenticated"),

    /* helo */
    TABLE("check_helo_access", SUBJECT_HELO),
    ABOUT("reject_invalid_helo_hostname", restriction_invalid_helo, SUBJECT_HELO),
    ABOUT("reject_invalid_hostname", restriction_invalid_helo, SUBJECT_HELO),
    ABOUT("reject_non_fqdn_helo_hostname", restriction_non_fqdn, SUBJECT_HELO),
    ABOUT("reject_non_fqdn_hostname", restriction_non_fqdn, SUBJECT_HELO),
    ABOUT("reject_unknown_helo_hostname", restriction_unknown_helo, SUBJECT_HELO),
    ABOUT("reject_unknown_hostname", restriction_unknown_helo, SUBJECT_HELO),
    {"reject_rhsbl_helo", restriction_rhsbl, ARGUMENT_ZONE, SUBJECT_HELO, WORD_PLAIN, NULL},

    /* sender */
    TABLE("check_sender_access", SUBJECT_SENDER),
    ABOUT("reject_non_fqdn_sender", restriction_non_fqdn, SUBJECT_SENDER),
    OLD("reject_non_fqnd_sender", restriction_non_fqdn, ARGUMENT_NONE, SUBJECT_SENDER, WORD_PLAIN,
        "write reject_non_fqdn_sender"),
    ABOUT("reject_unknown_sender_domain", restriction_unknown_domain, SUBJECT_SENDER),
    {"reject_rhsbl_sender", restriction_rhsbl, ARGUMENT_ZONE, SUBJECT_SENDER, WORD_PLAIN, NULL},
    ABOUT("reject_unlisted_sender", restriction_unlisted_sender, SUBJECT_SENDER),
    ABOUT("reject_unverified_sender", restriction_not_available, SUBJECT_SENDER),
    ABOUT("reject_sender_login_mismatch", restriction_not_available, SUBJECT_SENDER),
    ABOUT("reject_authenticated_sender_login_mismatch", restriction_not_available, SUBJECT_SENDER),
    ABOUT("reject_unauthenticated_sender_login_mismatch", restriction_not_available, SUBJECT_SENDER),

    /* recipient */
    TABLE("check_recipient_access", SUBJECT_RECIPIENT),
    OLD("check_recipient_address", restriction_access, ARGUMENT_TABLE, SUBJECT_RECIPIENT, WORD_PLAIN,
        "write check_recipient_access"),
    {"reject_unauth_destination", restriction_unauth_destination, ARGUMENT_NONE, SUBJECT_RECIPIENT,
     WORD_STOPS_RELAY, NULL},
    {"defer_unauth_destination", restriction_defer_unauth_destination, ARGUMENT_NONE, SUBJECT_RECIPIENT,
     WORD_STOPS_RELAY, NULL},
    ABOUT("permit_auth_destination", restriction_auth_destination, SUBJECT_RECIPIENT),
    ABOUT("permit_mx_backup", restriction_mx_backup, SUBJECT_RECIPIENT),
    OLD("check_relay_domains", restriction_check_relay_domains, ARGUMENT_NONE, SUBJECT_RECIPIENT,
        WORD_STOPS_RELAY, "use reject_unauth_destination"),
    ABOUT("reject_non_fqdn_recipient", restriction_non_fqdn, SUBJECT_RECIPIENT),
    OLD("reject_non_fqnd_recipient", restriction_non_fqdn, ARGUMENT_NONE, SUBJECT_RECIPIENT, WORD_PLAIN,
        "write reject_non_fqdn_recipient"),
    ABOUT("reject_unknown_recipient_domain", restriction_unknown_domain, SUBJECT_RECIPIENT),
    {"reject_rhsbl_recipient", restriction_rhsbl, ARGUMENT_ZONE, SUBJECT_RECIPIENT, WORD_PLAIN, NULL},
    ABOUT("reject_unlisted_recipient", restriction_unlisted_recipient, SUBJECT_RECIPIENT),
    ABOUT("reject_unverified_recipient", restriction_not_available, SUBJECT_RECIPIENT),

    /* etrn */
    TABLE("check_etrn_access", SUBJECT_ETRN),
    {NULL, NULL, ARGUMENT_NONE, SUBJECT_LIST, WORD_PLAIN, NULL},
};

enum restriction_step
restriction_permit(struct restriction_run *run, const struct restriction_item *item)
{
    (void)run;
    (void)item;
    return STEP_PERMIT;
}

enum restriction_step
restriction_reject(struct restriction_run *run, const struct restriction_item *item)
{
    return restriction_refuse(run, restriction_subject_of(run, item),
                              (int)config_int(run->view, P_reject_code), "5.7.1", "Access denied");
}

enum restriction_step
restriction_defer(struct restriction_run *run, const struct restriction_item *item)
{
    return restriction_refuse(run, restriction_subject_of(run, item),
                              (int)config_int(run->view, P_defer_code), "4.3.2", "Try again later");
}

enum restriction_step
restriction_word_defer_if_permit(struct restriction_run *run, const struct restriction_item *item)
{
    return restriction_defer_if_permit(run, restriction_subject_of(run, item), 450, "4.3.2",
                                       "defer_if_permit requested");
}

enum restriction_step
restriction_word_defer_if_reject(struct restriction_run *run, const struct restriction_item *item)
{
    return restriction_defer_if_reject(run, restriction_subject_of(run, item), 450, "4.3.2",
                                       "defer_if_reject requested");
}

enum restriction_step
restriction_warn_if_reject(struct restriction_run *run, const struct restriction_item *item)
{
    (void)item;
    run->warn_only = true;
    return STEP_DUNNO;
}

enum restriction_step
restriction_permit_mynetworks(struct restriction_run *run, const struct restriction_item *item)
{
    (void)item;
    if (run->facts->trust_unknown) { /* perhaps one of ours: not refused for good */
        return restriction_refuse(run, SUBJECT_CLIENT, 451, "4.3.0", "Temporary lookup failure");
    }
    return run->facts->trusted_client ? STEP_PERMIT : STEP_DUNNO;
}

enum restriction_step
restriction_permit_sasl(struct restriction_run *run, const struct restriction_item *item)
{
    (void)item;
    return run->facts->session->sasl_user[0] != '\0' ? STEP_PERMIT : STEP_DUNNO;
}

/* A client that is one of our own addresses. */
enum restriction_step
restriction_permit_inet_interfaces(struct restriction_run *run, const struct restriction_item *item)
{
    const struct session_facts *session = run->facts->session;

    (void)item;
    return session->server.family != 0 && net_addr_equal(&session->server, &session->client) ? STEP_PERMIT
                                                                                             : STEP_DUNNO;
}

enum restriction_step
restriction_plaintext_session(struct restriction_run *run, const struct restriction_item *item)
{
    (void)item;
    if (run->facts->session->tls_protocol[0] != '\0') {
        return STEP_DUNNO;
    }
    return restriction_refuse_text(run, (int)config_int(run->view, P_plaintext_reject_code), "4.7.1",
                                   "Session encryption is required");
}

enum restriction_step
restriction_unauth_pipelining(struct restriction_run *run, const struct restriction_item *item)
{
    if (!run->facts->pipelining_violation) {
        return STEP_DUNNO;
    }
    return restriction_refuse(run, restriction_subject_of(run, item), 503, "5.5.0",
                              "Improper use of SMTP command pipelining");
}

enum restriction_step
restriction_multi_recipient_bounce(struct restriction_run *run, const struct restriction_item *item)
{
    if (!run->facts->has_sender || run->facts->sender.n > 0 || run->facts->envelope->recipient_count < 2) {
        return STEP_DUNNO;
    }
    return restriction_refuse(run, restriction_subject_of(run, item),
                              (int)config_int(run->view, P_multi_recipient_bounce_reject_code), "5.5.3",
                              "Multi-recipient bounce");
}

enum restriction_step
restriction_sleep(struct restriction_run *run, const struct restriction_item *item)
{
    uint64_t seconds;

    if (bytes_to_u64(bytes_str(item->argument), &seconds) != 0 || seconds > SLEEP_MAX_S) {
        return restriction_refuse(run, restriction_subject_of(run, item), 451, "4.3.5",
                                  "Server configuration error");
    }
    (void)poll(NULL, 0, (int)seconds * 1000);
    return STEP_DUNNO;
}

/* A word of Postfix that is not built yet: a permit_ word permits nobody, any other refuses for now. Never
 * skipped in silence. */
enum restriction_step
restriction_not_available(struct restriction_run *run, const struct restriction_item *item)
{
    if (strncmp(item->word->name, "permit_", 7) == 0) {
        return STEP_DUNNO;
    }
    log_warning("smtpd", "restriction %s is not available yet; mail is deferred", item->word->name);
    return restriction_refuse(run, restriction_subject_of(run, item), 451, "4.3.5",
                              "Server configuration error");
}

/* Postfix 1 and 2: permit a HELO that is an address without brackets. */
enum restriction_step
restriction_naked_ip(struct restriction_run *run, const struct restriction_item *item)
{
    struct net_addr addr;

    (void)item;
    return net_addr_parse(bytes_str(run->facts->session->helo), &addr) == 0 ? STEP_PERMIT : STEP_DUNNO;
}

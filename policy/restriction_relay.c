/*
 * restriction_relay - words about the recipient's destination: is it ours, may this client relay, does the
 * user exist.
 *
 * Before: restriction.c; asks the router (policy/route.h). Unauthorised relaying is refused here. A table
 * that cannot answer defers with 451 4.3.0, never permits.
 */
#include "policy/restriction_internal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "message/address.h"

enum destination { DESTINATION_FOREIGN, DESTINATION_OURS, DESTINATION_CANNOT_TELL };

/* Whose the recipient's domain is. user%other@ours and its kin ask for a way around relay checks: they are
 * foreign, unless allow_untrusted_routing lets the domain behind count. */
static enum destination
find_destination(struct restriction_run *run)
{
    struct bytes recipient = run->facts->recipient, local, domain;
    struct router *router = run->set->router;
    enum destination destination = DESTINATION_OURS;
    enum address_class class = CLASS_LOCAL;
    struct buf straight;

    buf_init(&straight, RESTRICTION_TEXT_MAX);
    if (router_is_routed(router, recipient)) {
        if (!config_bool(run->view, P_allow_untrusted_routing)) {
            destination = DESTINATION_FOREIGN;
            goto out;
        }
        if (router_unroute(router, recipient, &straight) != 0) {
            destination = DESTINATION_CANNOT_TELL;
            goto out;
        }
        recipient = bytes_buf(&straight);
    }
    address_split(recipient, &local, &domain);
    if (domain.n > 0 && router_class(router, domain, &class) != 0) { /* a bare name is a local user */
        destination = DESTINATION_CANNOT_TELL;
    } else if (class == CLASS_DEFAULT) {
        destination = DESTINATION_FOREIGN;
    }
out:
    buf_free(&straight);
    return destination;
}

static enum restriction_step
refuse_relay(struct restriction_run *run, int code, const char *dsn)
{
    struct buf text;

    buf_init(&text, RESTRICTION_TEXT_MAX);
    (void)buf_append_byte(&text, '<');
    (void)buf_append_printable(&text, run->facts->recipient_given, RESTRICTION_TEXT_MAX / 2, true);
    (void)buf_append_str(&text, ">: Relay access denied");
    enum restriction_step step = restriction_refuse_text(run, code, dsn, buf_str(&text));
    buf_free(&text);
    return step;
}

static enum restriction_step
refuse_lookup(struct restriction_run *run)
{
    struct buf text;

    buf_init(&text, RESTRICTION_TEXT_MAX);
    (void)buf_append_byte(&text, '<');
    (void)buf_append_printable(&text, run->facts->recipient_given, RESTRICTION_TEXT_MAX / 2, true);
    (void)buf_append_str(&text, ">: Temporary lookup failure");
    enum restriction_step step = restriction_refuse_text(run, 451, "4.3.0", buf_str(&text));
    buf_free(&text);
    return step;
}

static enum restriction_step
check_destination(struct restriction_run *run, int code, const char *dsn)
{
    if (!run->facts->has_recipient) {
        return STEP_DUNNO;
    }
    switch (find_destination(run)) {
    case DESTINATION_OURS:
        return STEP_DUNNO;
    case DESTINATION_FOREIGN:
        return refuse_relay(run, code, dsn);
    case DESTINATION_CANNOT_TELL:
        break;
    }
    return refuse_lookup(run);
}

enum restriction_step
restriction_unauth_destination(struct restriction_run *run, const struct restriction_item *item)
{
    (void)item;
    return check_destination(run, (int)config_int(run->view, P_relay_domains_reject_code), "5.7.1");
}

enum restriction_step
restriction_defer_unauth_destination(struct restriction_run *run, const struct restriction_item *item)
{
    (void)item;
    return check_destination(run, 454, "4.7.1");
}

enum restriction_step
restriction_auth_destination(struct restriction_run *run, const struct restriction_item *item)
{
    (void)item;
    if (!run->facts->has_recipient) {
        return STEP_DUNNO;
    }
    switch (find_destination(run)) {
    case DESTINATION_OURS:
        return STEP_PERMIT;
    case DESTINATION_FOREIGN:
        return STEP_DUNNO;
    case DESTINATION_CANNOT_TELL:
        break;
    }
    return refuse_lookup(run);
}

/* Postfix 1 and 2: permit when the client's name or the destination is in relay_domains, refuse otherwise. */
enum restriction_step
restriction_check_relay_domains(struct restriction_run *run, const struct restriction_item *item)
{
    const struct session_facts *session = run->facts->session;
    enum address_class class;

    (void)item;
    if (!run->facts->has_recipient) {
        return STEP_DUNNO;
    }
    if (session->name_state == CLIENT_NAME_OK &&
        router_class(run->set->router, bytes_str(session->name), &class) == 0 && class == CLASS_RELAY) {
        return STEP_PERMIT;
    }
    switch (find_destination(run)) {
    case DESTINATION_OURS:
        return STEP_PERMIT;
    case DESTINATION_FOREIGN: /* in other words than reject_unauth_destination says it */
        return restriction_refuse(run, SUBJECT_RECIPIENT,
                                  (int)config_int(run->view, P_relay_domains_reject_code), "5.7.1",
                                  "Relay access denied");
    case DESTINATION_CANNOT_TELL:
        break;
    }
    return refuse_lookup(run);
}

/* Whether an address of the host is in permit_mx_backup_networks. */
static enum destination
is_in_backup_networks(struct restriction_run *run, const char *host)
{
    static const struct {
        enum dns_type type;
        uint8_t family;
        size_t length;
    } KINDS[] = {{DNS_A, AF_INET, 4}, {DNS_AAAA, AF_INET6, 16}};
    enum destination result = DESTINATION_FOREIGN;

    for (size_t t = 0; t < sizeof(KINDS) / sizeof(KINDS[0]) && result != DESTINATION_OURS; t++) {
        struct dns_answer *answer = NULL;

        if (dns_query(run->facts->dns, host, KINDS[t].type, clock_monotonic_ms() + RESTRICTION_DNS_MS,
                      &answer) != 0 ||
            answer->status == DNS_TEMPFAIL) {
            result = DESTINATION_CANNOT_TELL;
        }
        for (size_t i = 0; answer != NULL && i < answer->record_count; i++) {
            struct net_addr addr = {.family = KINDS[t].family};
            int r = 0;

            if (answer->records[i].data.n == KINDS[t].length) {
                memcpy(addr.ip, answer->records[i].data.p, KINDS[t].length);
                r = match_list_client(run->set->backup_networks, NULL, &addr);
            }
            if (r != 0) {
                result = r == 1 ? DESTINATION_OURS : DESTINATION_CANNOT_TELL;
                break;
            }
        }
        dns_answer_free(&answer);
    }
    return result;
}

/* permit_mx_backup_networks: the best MX hosts must be in them, or any spammer could make us his backup. */
static enum destination
check_primary(struct restriction_run *run, const struct dns_answer *answer)
{
    enum destination result = DESTINATION_FOREIGN;
    unsigned best = UINT_MAX;

    if (run->set->backup_networks == NULL) {
        return DESTINATION_OURS;
    }
    for (size_t i = 0; i < answer->record_count; i++) {
        best = answer->records[i].preference < best ? answer->records[i].preference : best;
    }
    for (size_t i = 0; i < answer->record_count && result != DESTINATION_OURS; i++) {
        if (answer->records[i].name != NULL && answer->records[i].preference == best) {
            enum destination one = is_in_backup_networks(run, answer->records[i].name);

            result = one != DESTINATION_FOREIGN ? one : result;
        }
    }
    return result;
}

/* Is one of the domain's MX hosts this gateway? */
static enum destination
find_backup(struct restriction_run *run, const char *domain)
{
    char ascii[ADDRESS_HOSTNAME_MAX + 1];
    struct dns_answer *answer = NULL;
    enum destination result = DESTINATION_FOREIGN;
    enum address_class class;

    if (dns_query(run->facts->dns, address_dns_name(domain, ascii), DNS_MX,
                  clock_monotonic_ms() + RESTRICTION_DNS_MS, &answer) != 0) {
        return DESTINATION_FOREIGN;
    }
    if (answer->status == DNS_TEMPFAIL) {
        result = DESTINATION_CANNOT_TELL;
    }
    for (size_t i = 0; i < answer->record_count && result == DESTINATION_FOREIGN; i++) {
        const char *host = answer->records[i].name;

        if (host != NULL &&
            (strcasecmp(host, config_str(run->view, P_myhostname)) == 0 ||
             (router_class(run->set->router, bytes_str(host), &class) == 0 && class == CLASS_LOCAL))) {
            result = check_primary(run, answer);
            break;
        }
    }
    dns_answer_free(&answer);
    return result;
}

enum restriction_step
restriction_mx_backup(struct restriction_run *run, const struct restriction_item *item)
{
    struct bytes recipient = run->facts->recipient;
    ptrdiff_t at = bytes_rindex(recipient, '@');
    enum destination destination;

    (void)item;
    if (!run->facts->has_recipient || at < 0) {
        return STEP_DUNNO;
    }
    if (router_is_routed(run->set->router, recipient)) {
        return STEP_DUNNO;
    }
    destination = find_destination(run);
    if (destination == DESTINATION_FOREIGN) {
        char *domain = bytes_dup_str(bytes_sub(recipient, (size_t)at + 1, recipient.n));

        destination = domain != NULL ? find_backup(run, domain) : DESTINATION_FOREIGN;
        free(domain);
        if (destination == DESTINATION_CANNOT_TELL) {
            return restriction_defer_if_reject(run, SUBJECT_RECIPIENT, 450, "4.4.4",
                                               "Unable to look up mail exchanger information");
        }
    }
    return destination == DESTINATION_OURS ? STEP_PERMIT : STEP_DUNNO;
}

static const struct {
    enum address_class class;
    enum param code;
    const char *table;
} UNKNOWN_USERS[] = {
    {CLASS_LOCAL, P_unknown_local_recipient_reject_code, "local recipient table"},
    {CLASS_VIRTUAL_ALIAS, P_unknown_virtual_alias_reject_code, "virtual alias table"},
    {CLASS_VIRTUAL_MAILBOX, P_unknown_virtual_mailbox_reject_code, "virtual mailbox table"},
    {CLASS_RELAY, P_unknown_relay_recipient_reject_code, "relay recipient table"},
};

/* relocated_maps and "error:" in transport_maps say why, with or without a status in front. */
static enum restriction_step
refuse_returned(struct restriction_run *run, enum restriction_subject subject, struct bytes text)
{
    char dsn[12] = "5.0.0", reason[RESTRICTION_TEXT_MAX / 2];
    ptrdiff_t blank = bytes_index(text, ' ');
    bool has_dsn = blank >= 5 && (size_t)blank < sizeof(dsn) && (text.p[0] == '4' || text.p[0] == '5') &&
                   text.p[1] == '.';

    if (has_dsn) {
        (void)snprintf(dsn, sizeof(dsn), "%.*s", (int)blank, (const char *)text.p);
        text = bytes_sub(text, (size_t)blank + 1, text.n);
    }
    (void)snprintf(reason, sizeof(reason), "%.*s", BYTES_FMT(text));
    return restriction_refuse(run, subject, dsn[0] == '4' ? 450 : 550, dsn, reason);
}

/* Whether the user exists in the table of the domain's class. */
static enum restriction_step
check_user(struct restriction_run *run, enum restriction_subject subject, struct bytes address)
{
    struct bytes domain = restriction_domain_of(address);
    enum address_class class = CLASS_LOCAL;
    char reason[64];
    int exists;

    if (domain.n > 0 && router_class(run->set->router, domain, &class) != 0) {
        return refuse_lookup(run);
    }
    exists = router_recipient_exists(run->set->router, address, class);
    if (exists != 0) {
        return exists == 1 ? STEP_DUNNO : refuse_lookup(run);
    }
    for (size_t i = 0; i < sizeof(UNKNOWN_USERS) / sizeof(UNKNOWN_USERS[0]); i++) {
        if (UNKNOWN_USERS[i].class == class) {
            bool named = config_bool(run->view, P_show_user_unknown_table_name);

            (void)snprintf(reason, sizeof(reason), "User unknown%s%s", named ? " in " : "",
                           named ? UNKNOWN_USERS[i].table : "");
            return restriction_refuse(run, subject, (int)config_int(run->view, UNKNOWN_USERS[i].code),
                                      subject == SUBJECT_SENDER ? "5.1.0" : "5.1.1", reason);
        }
    }
    return STEP_DUNNO;
}

static enum restriction_step
check_listed(struct restriction_run *run, enum restriction_subject subject, struct bytes address)
{
    struct router *router = run->set->router;
    enum restriction_step step;
    struct buf straight, text;
    int r = 0;

    buf_init(&straight, RESTRICTION_TEXT_MAX);
    buf_init(&text, RESTRICTION_TEXT_MAX);
    if (router_is_routed(router, address) && (r = router_unroute(router, address, &straight)) == 0) {
        address = bytes_buf(&straight);
    }
    r = r == 0 ? router_is_returned(router, run->facts->sender, address, &text) : r;
    step = r < 0    ? refuse_lookup(run)
           : r == 1 ? refuse_returned(run, subject, bytes_buf(&text))
                    : check_user(run, subject, address);
    buf_free(&straight);
    buf_free(&text);
    return step;
}

enum restriction_step
restriction_unlisted_recipient(struct restriction_run *run, const struct restriction_item *item)
{
    (void)item;
    return run->facts->has_recipient ? check_listed(run, SUBJECT_RECIPIENT, run->facts->recipient)
                                     : STEP_DUNNO;
}

enum restriction_step
restriction_unlisted_sender(struct restriction_run *run, const struct restriction_item *item)
{
    (void)item;
    return run->facts->has_sender && run->facts->sender.n > 0
               ? check_listed(run, SUBJECT_SENDER, run->facts->sender)
               : STEP_DUNNO;
}

int
restriction_check_recipient_exists(struct restriction_set *set, const struct restriction_facts *facts,
                                   struct restriction_answer *answer_r)
{
    struct restriction_run run = {
        .set = set, .view = set->view, .stage = STAGE_RECIPIENT, .facts = facts, .answer = answer_r};

    restriction_answer_init(answer_r);
    if (restriction_unlisted_recipient(&run, NULL) != STEP_REFUSE) {
        answer_r->outcome = RESTRICTION_PERMIT;
    }
    return 0;
}

/* HELO names: syntax (RFC 1123, literals) and whether they are full. */
enum restriction_step
restriction_invalid_helo(struct restriction_run *run, const struct restriction_item *item)
{
    struct bytes helo = bytes_str(run->facts->session->helo);

    (void)item;
    if (helo.n == 0 || address_is_hostname(helo) || address_is_literal(helo)) {
        return STEP_DUNNO;
    }
    return restriction_refuse(run, SUBJECT_HELO, (int)config_int(run->view, P_invalid_hostname_reject_code),
                              "5.5.2", "Invalid name");
}

/* reject_non_fqdn_helo_hostname, _sender, _recipient: a dot must be inside the name; an address needs a
 * domain. */
enum restriction_step
restriction_non_fqdn(struct restriction_run *run, const struct restriction_item *item)
{
    enum restriction_subject subject = item->word->subject;
    struct bytes value = restriction_subject_value(run, subject), name = value;
    int code = (int)config_int(run->view, P_non_fqdn_reject_code);

    if (!restriction_subject_known(run, subject)) {
        return STEP_DUNNO;
    }
    if (subject != SUBJECT_HELO) {
        if (value.n == 0 ||
            (subject == SUBJECT_RECIPIENT && bytes_equal_nocase(value, BYTES_LIT("postmaster")))) {
            return STEP_DUNNO; /* the null sender; postmaster without a domain (RFC 5321 section 4.5.1) */
        }
        name = restriction_domain_of(value);
    }
    if (name.n > 0 && name.p[name.n - 1] == '.') {
        name.n--;
    }
    ptrdiff_t dot = bytes_index(name, '.');
    if (address_is_literal(name) || (address_is_hostname(name) && dot > 0)) {
        return STEP_DUNNO;
    }
    return restriction_refuse(run, subject, code, "5.5.2",
                              subject == SUBJECT_HELO ? "need fully-qualified hostname"
                                                      : "need fully-qualified address");
}

/*
 * restriction_dns - words that ask DNS: client and HELO names, sender and recipient domains, block and allow
 * lists.
 *
 * Before: restriction.c; asks the resolver role through the thread's own client. An answer that cannot be had
 * now is a deferral where the word would have refused (unknown_*_tempfail_action is defer_if_permit), and no
 * listing for a block list, as in Postfix.
 */
#include "policy/restriction_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "message/address.h"

static int
ask(struct restriction_run *run, const char *name, enum dns_type type, struct dns_answer **answer_r)
{
    char ascii[ADDRESS_HOSTNAME_MAX + 1];
    int r = dns_query(run->facts->dns, address_dns_name(name, ascii), type,
                      clock_monotonic_ms() + RESTRICTION_DNS_MS, answer_r);

    if (run->facts->evidence != NULL) {
        static const char *const WORDS[] = {"tempfail", "found", "nodata", "nxdomain"};

        evidence_add(run->facts->evidence, EV_DNS, bytes_str(name),
                     bytes_str(type == DNS_MX     ? "MX"
                               : type == DNS_TXT  ? "TXT"
                               : type == DNS_AAAA ? "AAAA"
                                                  : "A"),
                     bytes_str(r == 0 ? WORDS[(*answer_r)->status] : "error"), (struct bytes){0}, 0);
    }
    return r;
}

struct bytes
restriction_domain_of(struct bytes address)
{
    ptrdiff_t at = bytes_rindex(address, '@');

    return at < 0 ? (struct bytes){0} : bytes_sub(address, (size_t)at + 1, address.n);
}

/* A name that can be asked for: copied into out, lower case is not needed. */
static bool
name_of(struct bytes domain, char out[DNS_NAME_MAX + 1])
{
    if (domain.n == 0 || domain.n > DNS_NAME_MAX || memchr(domain.p, '\0', domain.n) != NULL) {
        return false;
    }
    memcpy(out, domain.p, domain.n);
    out[domain.n] = '\0';
    return true;
}

static bool
is_null_mx(const struct dns_answer *answer)
{
    return answer->record_count == 1 && answer->records[0].name != NULL && answer->records[0].name[0] == '\0';
}

int
restriction_find_domain(struct restriction_run *run, struct bytes domain, enum restriction_domain *found_r)
{
    static const enum dns_type TYPES[] = {DNS_MX, DNS_A, DNS_AAAA};
    char name[DNS_NAME_MAX + 1];

    *found_r = DOMAIN_UNKNOWN;
    if (!name_of(domain, name)) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(TYPES) / sizeof(TYPES[0]); i++) {
        struct dns_answer *answer = NULL;
        int r = ask(run, name, TYPES[i], &answer);

        if (r == GW_ERR_SYNTAX) {
            return 0; /* not a domain name: nobody can answer to it */
        }
        if (r != 0 || answer->status == DNS_TEMPFAIL) {
            dns_answer_free(&answer);
            return GW_ERR_TEMP;
        }
        if (answer->status == DNS_FOUND) {
            *found_r = TYPES[i] == DNS_MX && is_null_mx(answer) ? DOMAIN_NULL_MX : DOMAIN_KNOWN;
        }
        bool done = answer->status == DNS_FOUND || answer->status == DNS_NXDOMAIN;
        dns_answer_free(&answer);
        if (done) {
            return 0;
        }
    }
    return 0;
}

/* The three words about the client's name share their form. */
static enum restriction_step
refuse_client(struct restriction_run *run, enum client_name_state state, const char *what)
{
    char text[RESTRICTION_TEXT_MAX], address[NET_ADDR_TEXT_MAX];
    int code = state == CLIENT_NAME_TEMP ? 450 : (int)config_int(run->view, P_unknown_client_reject_code);

    net_addr_format(&run->facts->session->client, address);
    (void)snprintf(text, sizeof(text), "Client host rejected: cannot find your %s, [%s]", what, address);
    return restriction_refuse_text(run, code, "4.7.25", text);
}

enum restriction_step
restriction_unknown_client(struct restriction_run *run, const struct restriction_item *item)
{
    (void)item;
    enum client_name_state state = run->facts->session->name_state;
    return state == CLIENT_NAME_OK ? STEP_DUNNO : refuse_client(run, state, "hostname");
}

enum restriction_step
restriction_unknown_reverse_client(struct restriction_run *run, const struct restriction_item *item)
{
    (void)item;
    enum client_name_state state = run->facts->session->reverse_state;
    return state == CLIENT_NAME_OK ? STEP_DUNNO : refuse_client(run, state, "reverse hostname");
}

/* Only the forward step is in question: a client without PTR is not this word's business. */
enum restriction_step
restriction_unknown_forward_client(struct restriction_run *run, const struct restriction_item *item)
{
    const struct session_facts *session = run->facts->session;

    (void)item;
    if (session->reverse_state != CLIENT_NAME_OK || session->name_state == CLIENT_NAME_OK) {
        return STEP_DUNNO;
    }
    return refuse_client(run, session->name_state, "forward hostname");
}

/* "[192.0.2.1]" and "[IPv6:...]": an address literal is not looked up. */
static bool
is_literal(struct bytes name)
{
    return name.n > 2 && name.p[0] == '[' && name.p[name.n - 1] == ']';
}

enum restriction_step
restriction_unknown_helo(struct restriction_run *run, const struct restriction_item *item)
{
    struct bytes helo = bytes_str(run->facts->session->helo);
    enum restriction_domain found;

    (void)item;
    if (helo.n == 0 || is_literal(helo)) {
        return STEP_DUNNO;
    }
    if (restriction_find_domain(run, helo, &found) != 0) {
        return restriction_defer_if_permit(run, SUBJECT_HELO, 450, "4.7.1", "Host not found");
    }
    return found != DOMAIN_UNKNOWN
               ? STEP_DUNNO
               : restriction_refuse(run, SUBJECT_HELO,
                                    (int)config_int(run->view, P_unknown_hostname_reject_code), "4.7.1",
                                    "Host not found");
}

/* reject_unknown_sender_domain, reject_unknown_recipient_domain: not for domains of ours. */
enum restriction_step
restriction_unknown_domain(struct restriction_run *run, const struct restriction_item *item)
{
    bool sender = item->word->subject == SUBJECT_SENDER;
    struct bytes address = sender ? run->facts->sender : run->facts->recipient;
    struct bytes domain = restriction_domain_of(address);
    const char *status = sender ? "4.1.8" : "4.1.2";
    enum address_class class;
    enum restriction_domain found;

    if (!restriction_subject_known(run, item->word->subject) || domain.n == 0 || is_literal(domain)) {
        return STEP_DUNNO;
    }
    if (router_class(run->set->router, domain, &class) != 0) {
        return restriction_refuse(run, item->word->subject, 451, "4.3.0", "Temporary lookup failure");
    }
    if (class != CLASS_DEFAULT) {
        return STEP_DUNNO;
    }
    if (restriction_find_domain(run, domain, &found) != 0) {
        return restriction_defer_if_permit(run, item->word->subject, 450, status, "Domain not found");
    }
    if (found == DOMAIN_NULL_MX) {
        char reason[RESTRICTION_TEXT_MAX];

        (void)snprintf(reason, sizeof(reason), "Domain %.*s does not accept mail (nullMX)",
                       BYTES_FMT(domain));
        return restriction_refuse(run, item->word->subject, sender ? 550 : 556, sender ? "5.7.27" : "5.1.10",
                                  reason);
    }
    return found == DOMAIN_KNOWN
               ? STEP_DUNNO
               : restriction_refuse(run, item->word->subject,
                                    (int)config_int(run->view, P_unknown_address_reject_code), status,
                                    "Domain not found");
}

/* Does the list have what no list has? Then it says nothing about the one we asked for. */
static bool
lists_everything(struct restriction_run *run, const struct dnsbl_site *site, const struct net_addr *like)
{
    struct dns_answer *answer = NULL;
    char name[2 * DNS_NAME_MAX];

    if (!config_bool(run->view, P_dnsbl_control) ||
        dnsbl_control_name(site->zone, like, name, sizeof(name)) != 0 ||
        ask(run, name, DNS_A, &answer) != 0) {
        return false;
    }
    bool listed = dnsbl_site_is_listed(site, answer);
    dns_answer_free(&answer);
    if (listed) {
        log_warning("smtpd", "%s is listed as well: %s lists everything and is not believed", name,
                    site->zone);
    }
    return listed;
}

/* Asks one list for "name.zone". like: whose address that is; NULL for a name. True when it is listed;
 * reason_r gets the list's TXT. */
static bool
ask_list(struct restriction_run *run, const struct dnsbl_site *site, const struct net_addr *like,
         const char *query, struct buf *reason_r)
{
    struct dns_answer *answer = NULL;
    bool listed = false;

    if (ask(run, query, DNS_A, &answer) != 0) {
        return false;
    }
    if (answer->status == DNS_TEMPFAIL) {
        log_warning("smtpd", "%s: RBL lookup error: cannot tell now", query);
    }
    listed = dnsbl_site_is_listed(site, answer);
    dns_answer_free(&answer);
    listed = listed && !lists_everything(run, site, like);
    if (listed && reason_r != NULL && ask(run, query, DNS_TXT, &answer) == 0) {
        if (answer->status == DNS_FOUND && answer->record_count > 0) {
            (void)buf_append_printable(reason_r, answer->records[0].data, RESTRICTION_TEXT_MAX / 2, true);
        }
        dns_answer_free(&answer);
    }
    return listed;
}

/* Expands default_rbl_reply's macros: $name, ${name}, ${name?text}. One level, which is what the default
 * needs. */
static void
expand_reply(const char *template, const char *const (*macros)[2], size_t count, struct buf *out)
{
    for (const char *p = template; *p != '\0'; p++) {
        if (*p != '$') {
            (void)buf_append_byte(out, (uint8_t)*p);
            continue;
        }
        bool brace = p[1] == '{';
        const char *name = p + (brace ? 2 : 1);
        size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz_");
        const char *value = "";

        for (size_t i = 0; i < count; i++) {
            if (strlen(macros[i][0]) == n && strncmp(macros[i][0], name, n) == 0) {
                value = macros[i][1];
            }
        }
        const char *end = brace ? strchr(name + n, '}') : name + n - 1;
        if (end == NULL) {
            return;
        }
        if (brace && name[n] == '?') {
            if (value[0] != '\0') {
                char inner[RESTRICTION_TEXT_MAX];

                (void)snprintf(inner, sizeof(inner), "%.*s", (int)(end - name - (ptrdiff_t)n - 1),
                               name + n + 1);
                expand_reply(inner, macros, count, out);
            }
        } else {
            (void)buf_append_str(out, value);
        }
        p = end;
    }
}

static enum restriction_step
refuse_listed(struct restriction_run *run, enum restriction_subject subject, const char *what,
              const struct dnsbl_site *site, const char *reason)
{
    char code_text[8];
    int code = (int)config_int(run->view, P_maps_rbl_reject_code);
    struct buf text;

    (void)snprintf(code_text, sizeof(code_text), "%d", code);
    const char *const macros[][2] = {
        {"rbl_code", code_text},
        {"rbl_class", restriction_subject_class(subject)},
        {"rbl_what", what},
        {"rbl_domain", site->zone},
        {"rbl_reason", reason},
        {"client", run->facts->session->name},
        {"helo_name", run->facts->session->helo},
    };
    buf_init(&text, 2 * RESTRICTION_TEXT_MAX);
    expand_reply(config_str(run->view, P_default_rbl_reply), macros, sizeof(macros) / sizeof(macros[0]),
                 &text);
    /* The template begins with the code and may hold its own status; what follows is the text. */
    struct bytes rest = bytes_buf(&text), word;
    char dsn[12] = "5.7.1";
    uint64_t number;

    if (bytes_next_token(&rest, " ", &word) && bytes_to_u64(word, &number) == 0 && number >= 400 &&
        number < 600) {
        code = (int)number;
        rest = bytes_trim(rest);
    } else {
        rest = bytes_buf(&text);
    }
    char *line = bytes_dup_str(rest);
    enum restriction_step step =
        restriction_refuse_text(run, code, dsn, line != NULL ? line : "Service unavailable");
    free(line);
    buf_free(&text);
    return step;
}

static enum restriction_step
check_client_zone(struct restriction_run *run, const struct dnsbl_site *site)
{
    char query[2 * DNS_NAME_MAX], what[NET_ADDR_TEXT_MAX];
    enum restriction_step step = STEP_DUNNO;
    struct buf reason;

    if (net_addr_reversed(&run->facts->session->client, site->zone, query, sizeof(query)) != 0) {
        return STEP_DUNNO;
    }
    buf_init(&reason, RESTRICTION_TEXT_MAX);
    if (ask_list(run, site, &run->facts->session->client, query, &reason)) {
        net_addr_format(&run->facts->session->client, what);
        step = refuse_listed(run, SUBJECT_CLIENT, what, site, buf_str(&reason));
    }
    buf_free(&reason);
    return step;
}

enum restriction_step
restriction_rbl_client(struct restriction_run *run, const struct restriction_item *item)
{
    return check_client_zone(run, item->site);
}

/* Historical: every zone of maps_rbl_domains. */
enum restriction_step
restriction_maps_rbl(struct restriction_run *run, const struct restriction_item *item)
{
    struct bytes rest = bytes_str(config_str(run->view, P_maps_rbl_domains)), zone;
    enum restriction_step step = STEP_DUNNO;

    (void)item;
    while (step == STEP_DUNNO && bytes_next_token(&rest, ", \t\r\n", &zone)) {
        struct dnsbl_site site;

        if (dnsbl_site_parse(zone, &site) == 0) {
            step = check_client_zone(run, &site);
        }
    }
    return step;
}

enum restriction_step
restriction_dnswl_client(struct restriction_run *run, const struct restriction_item *item)
{
    char query[2 * DNS_NAME_MAX];

    if (net_addr_reversed(&run->facts->session->client, item->site->zone, query, sizeof(query)) != 0) {
        return STEP_DUNNO;
    }
    return ask_list(run, item->site, &run->facts->session->client, query, NULL) ? STEP_PERMIT : STEP_DUNNO;
}

/* reject_rhsbl_*: a name instead of an address is looked up in the zone. */
enum restriction_step
restriction_rhsbl(struct restriction_run *run, const struct restriction_item *item)
{
    enum restriction_subject subject = restriction_subject_of(run, item);
    struct bytes name = restriction_subject_value(run, subject), shown = name;
    char query[2 * DNS_NAME_MAX + 2], what[RESTRICTION_TEXT_MAX / 2];
    enum restriction_step step = STEP_DUNNO;
    struct buf reason;

    if (!restriction_subject_known(run, subject)) {
        return STEP_DUNNO;
    }
    if (subject == SUBJECT_SENDER || subject == SUBJECT_RECIPIENT) {
        name = restriction_domain_of(subject == SUBJECT_RECIPIENT ? run->facts->recipient : name);
    }
    if (name.n == 0 || name.n > DNS_NAME_MAX || is_literal(name) ||
        bytes_equal_nocase(name, BYTES_LIT("unknown"))) {
        return STEP_DUNNO;
    }
    (void)snprintf(what, sizeof(what), "%.*s",
                   BYTES_FMT(shown)); /* an address is named whole, as by Postfix */
    (void)snprintf(query, sizeof(query), "%.*s.%s", BYTES_FMT(name), item->site->zone);
    buf_init(&reason, RESTRICTION_TEXT_MAX);
    if (strlen(query) <= DNS_NAME_MAX && ask_list(run, item->site, NULL, query, &reason)) {
        step = refuse_listed(run, subject, what, item->site, buf_str(&reason));
    }
    buf_free(&reason);
    return step;
}

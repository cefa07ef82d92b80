/*
 * ctl_doctor_network - what DNS says of us and of the lists we ask: dead lists, MX that lead elsewhere, names
 * that do not agree.
 *
 * Before: ctl_doctor.c; after: ctl_doctor_dns.c, only with --probe. The lists that are known to have closed
 * are told without asking anybody. A list is asked as RFC 5782 section 5 says: 127.0.0.2 must be listed,
 * 127.0.0.1 must not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ctl/ctl_doctor_private.h"
#include "policy/dnsbl.h"

enum { NAME_ROOM = 512, TYPE_A = 1, TYPE_PTR = 12, TYPE_MX = 15 };

/* Lists that ended, and what they answer now as far as it is known. */
static const struct {
    const char *zone, *fate;
} DEAD[] = {
    {"relays.ordb.org", "closed in December 2006; in March 2008 it listed the whole world"},
    {"ordb.org", "closed in December 2006; in March 2008 it listed the whole world"},
    {"dsbl.org", "closed in 2008"},
    {"opm.blitzed.org", "closed in 2006"},
    {"blitzed.org", "closed in 2006"},
    {"mail-abuse.org", "not open to the public since 2001, and gone since"},
    {"maps.vix.com", "gone, it became mail-abuse.org"},
    {"orbs.org", "closed in 2001"},
    {"osirusoft.com", "closed in August 2003 by listing the whole world"},
    {"njabl.org", "closed in 2013"},
    {"ahbl.org", "closed in 2014; it lists the whole world since 2015"},
    {"five-ten-sg.com", "closed"},
    {"spamcannibal.org", "closed in 2017; it listed the whole world in 2018"},
    {"rfc-ignorant.org", "closed in November 2012"},
    {"sorbs.net", "closed in June 2024"},
    {"abuseat.org", "part of zen.spamhaus.org, closed under this name"},
    {"spamhaus.relays.osirusoft.com", "closed in August 2003 by listing the whole world"},
};

typedef void zone_visitor(struct doctor *doctor, const char *zone, const char *where, bool by_name);

/* --- the zones that the configuration names --- */

struct zones {
    struct doctor *doctor;
    const struct config *view;
    enum param param;
    zone_visitor *visit;
};

static void
take_zone(struct doctor *doctor, const struct config *view, enum param param, struct bytes word, bool by_name,
          zone_visitor *visit)
{
    struct dnsbl_site site;
    char text[NAME_ROOM];

    (void)snprintf(text, sizeof(text), "%.*s", BYTES_FMT(word));
    if (dnsbl_site_parse(word, &site) == 0) {
        char *where = doctor_where(view, param, text);

        visit(doctor, site.zone, where, by_name);
        free(where);
    }
}

static bool
look_at_word(void *context, const struct restriction_explained *word)
{
    struct zones *zones = context;

    if (word->is_zone && word->argument.n > 0 && strncmp(word->word, "permit_", 7) != 0) {
        take_zone(zones->doctor, zones->view, zones->param, word->argument,
                  strstr(word->word, "rhsbl") != NULL, zones->visit);
    }
    return true;
}

static void
take_list(struct doctor *doctor, enum param param, zone_visitor *visit)
{
    struct bytes rest = bytes_str(config_str(doctor->config, param)), word;

    while (config_is_set(doctor->config, param) && bytes_next_token(&rest, ", \t\r\n", &word)) {
        take_zone(doctor, doctor->config, param, word, false, visit);
    }
}

static void
each_zone(struct doctor *doctor, zone_visitor *visit)
{
    static const enum param LISTS[] = {P_smtpd_client_restrictions, P_smtpd_helo_restrictions,
                                       P_smtpd_sender_restrictions, P_smtpd_relay_restrictions,
                                       P_smtpd_recipient_restrictions};
    const char *name, *source;

    for (size_t s = 0; s < config_service_count(doctor->config); s++) {
        if (strcmp(config_service(doctor->config, s)->program, "smtpd") != 0) {
            continue;
        }
        for (size_t i = 0; i < sizeof(LISTS) / sizeof(LISTS[0]); i++) {
            const struct config *view = config_view(doctor->config, s);
            struct zones zones = {doctor, view, LISTS[i], visit};

            restriction_explain(view, config_str(view, LISTS[i]), look_at_word, &zones);
        }
    }
    for (size_t i = 0; config_variable(doctor->config, i, &name, &source); i++) { /* restriction classes */
        struct zones zones = {doctor, doctor->config, P_smtpd_restriction_classes, visit};

        if (doctor_has_word(config_str(doctor->config, P_smtpd_restriction_classes), name)) {
            restriction_explain(doctor->config, config_user(doctor->config, name), look_at_word, &zones);
        }
    }
    take_list(doctor, P_maps_rbl_domains, visit);
    take_list(doctor, P_postscreen_dnsbl_sites, visit);
}

/* --- dead-list: D4 --- */

static void
look_whether_dead(struct doctor *doctor, const char *zone, const char *where, bool by_name)
{
    size_t n = strlen(zone);

    (void)by_name;
    for (size_t i = 0; i < sizeof(DEAD) / sizeof(DEAD[0]); i++) {
        size_t m = strlen(DEAD[i].zone);

        if (n >= m && strcasecmp(zone + n - m, DEAD[i].zone) == 0 && (n == m || zone[n - m - 1] == '.')) {
            doctor_tell(
                doctor, where,
                "the DNS list %s is dead (%s): it finds nothing, slows each session down, and refuses all "
                "mail on the day its zone answers every question",
                zone, DEAD[i].fate);
            return;
        }
    }
}

static void
find_dead_lists(struct doctor *doctor)
{
    each_zone(doctor, look_whether_dead);
}

/* --- sick-list: D4, asked --- */

static void
probe_zone(struct doctor *doctor, const char *zone, const char *where, bool by_name)
{
    struct doctor_dns_answer good, bad;
    char listed[NAME_ROOM], free_name[NAME_ROOM];

    (void)snprintf(listed, sizeof(listed), "%s.%s", by_name ? "test" : "2.0.0.127", zone);
    (void)snprintf(free_name, sizeof(free_name), "%s.%s", by_name ? "invalid" : "1.0.0.127", zone);
    doctor_dns_ask(doctor->dns, free_name, TYPE_A, &bad);
    if (bad.status == DOCTOR_DNS_FOUND) {
        doctor->severity = DOCTOR_ERROR;
        doctor_tell(doctor, where,
                    "the DNS list %s answers %s for %s, which no list may have: it lists the world", zone,
                    bad.text[0], by_name ? "invalid" : "127.0.0.1");
        return;
    }
    doctor_dns_ask(doctor->dns, listed, TYPE_A, &good);
    if (good.status == DOCTOR_DNS_NOTHING) {
        doctor->severity = DOCTOR_WARNING;
        doctor_tell(doctor, where, "the DNS list %s does not have its test entry %s: it lists nothing", zone,
                    by_name ? "test" : "127.0.0.2");
    } else if (good.status == DOCTOR_DNS_UNKNOWN || bad.status == DOCTOR_DNS_UNKNOWN) {
        doctor->severity = DOCTOR_WARNING;
        doctor_tell(doctor, where, "the DNS list %s does not answer", zone);
    }
}

static void
find_sick_lists(struct doctor *doctor)
{
    if (doctor->probe) {
        each_zone(doctor, probe_zone);
    }
}

/* --- mx-elsewhere: DOM4, and mx-is-alias: FWL4 --- */

static bool
is_ours(struct doctor *doctor, const char *host)
{
    struct doctor_dns_answer own, its;

    if (strcasecmp(host, config_str(doctor->config, P_myhostname)) == 0) {
        return true;
    }
    doctor_dns_ask(doctor->dns, config_str(doctor->config, P_myhostname), TYPE_A, &own);
    doctor_dns_ask(doctor->dns, host, TYPE_A, &its);
    if (own.status == DOCTOR_DNS_UNKNOWN || its.status == DOCTOR_DNS_UNKNOWN) {
        return true; /* cannot be told: no finding */
    }
    for (size_t i = 0; i < its.count; i++) {
        for (size_t k = 0; k < own.count; k++) {
            if (strcmp(its.text[i], own.text[k]) == 0) {
                return true;
            }
        }
        if (doctor_has_word(config_str(doctor->config, P_inet_interfaces), its.text[i]) ||
            doctor_has_word(config_str(doctor->config, P_proxy_interfaces), its.text[i])) {
            return true;
        }
    }
    return false;
}

static void
probe_domain(struct doctor *doctor, const char *domain, const char *where)
{
    struct doctor_dns_answer mx, host;
    bool ours = false;

    doctor_dns_ask(doctor->dns, domain, TYPE_MX, &mx);
    if (mx.status == DOCTOR_DNS_UNKNOWN) {
        return;
    }
    for (size_t i = 0; i < mx.count; i++) {
        doctor_dns_ask(doctor->dns, mx.text[i], TYPE_A, &host);
        if (host.by_alias) {
            doctor_tell(doctor, where,
                        "the MX of %s, %s, is an alias (CNAME): servers may refuse to follow it (RFC 2181 "
                        "section 10.3)",
                        domain, mx.text[i]);
        }
        ours = ours || is_ours(doctor, mx.text[i]);
    }
    if (!ours) {
        doctor_tell(doctor, where,
                    "no MX of %s points to this gateway (%s): mail from outside does not come here", domain,
                    mx.count > 0 ? mx.text[0] : "it has none");
    }
}

static void
find_foreign_mx(struct doctor *doctor)
{
    static const enum param LISTS[] = {P_relay_domains, P_virtual_alias_domains, P_virtual_mailbox_domains};
    char word[NAME_ROOM];

    for (size_t i = 0; doctor->probe && i < sizeof(LISTS) / sizeof(LISTS[0]); i++) {
        for (size_t n = 0; config_is_set(doctor->config, LISTS[i]) &&
                           doctor_word(config_str(doctor->config, LISTS[i]), n, word, sizeof(word));
             n++) {
            if (strpbrk(word, ":/!") == NULL && word[0] != '.' && strchr(word, '.') != NULL) {
                char *where = doctor_where(doctor->config, LISTS[i], word);

                probe_domain(doctor, word, where);
                free(where);
            }
        }
    }
}

/* --- own-name: FWL4 --- */

static void
find_own_name(struct doctor *doctor)
{
    const char *name = config_str(doctor->config, P_myhostname);
    struct doctor_dns_answer address, pointer;
    struct net_addr addr;
    char reversed[NAME_ROOM];

    if (!doctor->probe || strchr(name, '.') == NULL) {
        return;
    }
    char *where = doctor_where(doctor->config, P_myhostname, NULL);
    doctor_dns_ask(doctor->dns, name, TYPE_A, &address);
    if (address.status == DOCTOR_DNS_NOTHING) {
        doctor_tell(doctor, where,
                    "myhostname %s has no address in DNS: servers that check HELO names refuse us", name);
    }
    for (size_t i = 0; i < address.count; i++) {
        if (net_addr_parse(bytes_str(address.text[i]), &addr) != 0 ||
            net_addr_reversed(&addr, "in-addr.arpa", reversed, sizeof(reversed)) != 0) {
            continue;
        }
        doctor_dns_ask(doctor->dns, reversed, TYPE_PTR, &pointer);
        if (pointer.status == DOCTOR_DNS_NOTHING ||
            (pointer.status == DOCTOR_DNS_FOUND && strcasecmp(pointer.text[0], name) != 0)) {
            doctor_tell(doctor, where,
                        "%s is %s, and the PTR record of that address says %s: many servers refuse mail "
                        "from such a host",
                        name, address.text[i], pointer.count > 0 ? pointer.text[0] : "nothing");
        }
    }
    free(where);
}

const struct doctor_rule DOCTOR_NETWORK[] = {
    {"dead-list", DOCTOR_ERROR, "D4", "A DNS list that has closed", find_dead_lists,
     "remove it; a list that is maintained is zen.spamhaus.org (read its terms)", false},
    {"sick-list", DOCTOR_ERROR, "D4", "A DNS list that lists everything, or nothing (--probe)",
     find_sick_lists, "remove it until it answers as RFC 5782 says", false},
    {"mx-elsewhere", DOCTOR_WARNING, "DOM4 FWL4", "The MX of a domain does not lead here (--probe)",
     find_foreign_mx, "correct the MX records, or take the domain out of the list", false},
    {"own-name", DOCTOR_WARNING, "FWL4", "myhostname, its address and its PTR do not agree (--probe)",
     find_own_name, "make A and PTR records agree with myhostname", false},
    {NULL, DOCTOR_NOTE, NULL, NULL, NULL, NULL, false},
};

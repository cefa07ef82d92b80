/*
 * ctl_doctor_relay - who may send through us to anywhere: proofs, not guesses.
 *
 * Before: ctl_doctor.c; after: policy/restriction.c. For each port a stranger can reach, the very engine that
 * answers RCPT is asked about a stranger's mail to a foreign address, with all that a stranger may choose:
 * sender and HELO name. Words that ask DNS or another server are silent for it (restriction_set_blind), so
 * that the answer holds whatever those say.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dns.h"
#include "base/error.h"
#include "base/ipc.h"
#include "base/role.h"
#include "ctl/ctl_doctor_private.h"

enum { WHY_MAX = 4096, NAME_ROOM = 512, CANDIDATES_MAX = 200 };

/* Documentation networks (RFC 5737): whoever trusts one of them by accident does not trust all three. */
static const char *const STRANGERS[] = {"192.0.2.1", "198.51.100.1", "203.0.113.1"};
static const char VICTIM[] = "somebody@elsewhere.example";
static const char SENDER[] = "anybody@stranger.example";
static const char HELO[] = "mail.stranger.example";

/* One port's lists, and the word that let the last recipient pass. */
struct proof {
    const struct config *view;
    struct router *router;
    struct restriction_set *set;
    struct match_list *mynetworks;
    struct envelope *envelope;
    struct dns_client *dns;
    struct ipc_channel *policy;
    char word[NAME_ROOM]; /* with its argument; "" when nothing refused */
    char spot[NAME_ROOM]; /* what of it is found in the file */
    enum param param;     /* the list it stands in */
};

static void
end_proof(struct proof *proof)
{
    restriction_set_free(&proof->set);
    router_free(&proof->router);
    match_list_free(&proof->mynetworks);
    envelope_free(&proof->envelope);
    dns_client_free(&proof->dns);
}

static bool
begin_proof(const struct config *view, struct proof *proof)
{
    struct buf why;
    bool ok;

    *proof = (struct proof){.view = view};
    buf_init(&why, WHY_MAX);
    proof->envelope = envelope_new();
    proof->dns = dns_client_new(ROLE_RECEIVE); /* finds no resolver here: for words inside tables */
    ok =
        proof->envelope != NULL && proof->dns != NULL && router_new(view, &proof->router, &why) == 0 &&
        restriction_set_new(view, proof->router, &proof->set, &why) == 0 &&
        match_list_open(view, config_str(view, P_mynetworks), MATCH_ADDRESSES, &proof->mynetworks, &why) == 0;
    if (ok) {
        restriction_set_blind(proof->set);
    }
    buf_free(&why);
    return ok;
}

/* The word that permitted, out of the record the engine keeps. */
static void
note_permit(struct proof *proof, struct evidence *evidence, enum param param)
{
    struct bytes rest = bytes_buf(&evidence->record);
    struct evidence_head head;
    struct evidence_event event;

    if (evidence_read_head(&rest, &head) != 0) {
        return;
    }
    while (evidence_read_event(&rest, &event) == 1) {
        if (event.kind != EV_RESTRICTION || !bytes_equal(event.value, BYTES_LIT("permit"))) {
            continue;
        }
        proof->param = param;
        (void)snprintf(proof->word, sizeof(proof->word), "%.*s%s%.*s", BYTES_FMT(event.subject),
                       event.key.n > 0 ? " " : "", BYTES_FMT(event.key));
        (void)snprintf(proof->spot, sizeof(proof->spot), "%.*s",
                       BYTES_FMT(event.key.n > 0 ? event.key : event.subject));
    }
}

static bool
run_stages(struct proof *proof, struct restriction_facts *facts)
{
    static const struct {
        enum restriction_stage stage;
        enum param param;
    } STAGES[] = {
        {STAGE_CLIENT, P_smtpd_client_restrictions},       {STAGE_HELO, P_smtpd_helo_restrictions},
        {STAGE_SENDER, P_smtpd_sender_restrictions},       {STAGE_RELAY, P_smtpd_relay_restrictions},
        {STAGE_RECIPIENT, P_smtpd_recipient_restrictions},
    };
    struct restriction_effects effects;
    bool permitted = true;

    restriction_effects_init(&effects);
    for (size_t i = 0; i < sizeof(STAGES) / sizeof(STAGES[0]) && permitted; i++) {
        struct restriction_answer answer;
        struct evidence evidence = {0};

        (void)evidence_begin(&evidence, "doctor", "ctl");
        facts->evidence = &evidence;
        (void)restriction_run(proof->set, STAGES[i].stage, STAGES[i].stage == STAGE_RECIPIENT, facts,
                              &effects, &answer);
        permitted = answer.outcome == RESTRICTION_PERMIT;
        if (permitted && STAGES[i].stage >= STAGE_RELAY) {
            note_permit(proof, &evidence, STAGES[i].param);
        }
        restriction_answer_free(&answer);
        evidence_free(&evidence);
    }
    permitted = permitted && !effects.discard && !effects.hold;
    restriction_effects_free(&effects);
    return permitted;
}

/* Whether a stranger who says this is let through to the recipient. */
static bool
is_permitted(struct proof *proof, const char *client, const char *helo, struct bytes sender,
             const char *recipient)
{
    struct session_facts session = {.name_state = CLIENT_NAME_OK,
                                    .reverse_state = CLIENT_NAME_OK,
                                    .protocol = "ESMTPS",
                                    .tls_protocol = "TLSv1.3"};
    struct restriction_pending pending = {0};

    (void)net_addr_parse(bytes_str(client), &session.client);
    (void)snprintf(session.name, sizeof(session.name), "%s", HELO);
    (void)snprintf(session.reverse_name, sizeof(session.reverse_name), "%s", HELO);
    (void)snprintf(session.helo, sizeof(session.helo), "%s", helo);
    struct restriction_facts facts = {
        .config = proof->view,
        .session = &session,
        .envelope = proof->envelope,
        .has_sender = true,
        .sender = sender,
        .has_recipient = true,
        .recipient = bytes_str(recipient),
        .recipient_given = bytes_str(recipient),
        .trusted_client = match_list_client(proof->mynetworks, session.name, &session.client) == 1,
        .size = 1000,
        .dns = proof->dns,
        .policy = &proof->policy,
        .pending = &pending,
    };
    proof->word[0] = proof->spot[0] = '\0';
    proof->param = P_smtpd_relay_restrictions;
    return run_stages(proof, &facts);
}

static bool
is_open(struct proof *proof, const char *helo, struct bytes sender)
{
    for (size_t i = 0; i < sizeof(STRANGERS) / sizeof(STRANGERS[0]); i++) {
        if (!is_permitted(proof, STRANGERS[i], helo, sender, VICTIM)) {
            return false;
        }
    }
    return true;
}

/* --- open-relay --- */

static void
prove_open(struct doctor *doctor, const struct config *view, const struct config_service *service)
{
    struct proof proof;

    if (doctor_is_loopback(view, service->name) || strcmp(service->type, "unix") == 0) {
        return;
    }
    if (begin_proof(view, &proof) && is_open(&proof, HELO, bytes_str(SENDER))) {
        char *where = doctor_where(view, proof.param, proof.spot[0] != '\0' ? proof.spot : NULL);

        doctor_tell(doctor, where,
                    "port %s relays for everybody: of a stranger's mail to a foreign address %s %s%s%s",
                    service->name, PARAMS[proof.param].name,
                    proof.word[0] != '\0' ? "says \"" : "refuses nothing", proof.word,
                    proof.word[0] != '\0' ? "\", and no other list refuses it" : "");
        free(where);
    }
    end_proof(&proof);
}

static void
find_open_relay(struct doctor *doctor)
{
    doctor_views(doctor, "smtpd", prove_open);
}

/* --- forgeable-relay --- */

struct candidates {
    struct doctor *doctor;
    const struct config *view;
    const struct config_service *service;
    const struct doctor_table *table;
    struct proof *proof;
    size_t tried, passed;
    char first[NAME_ROOM];
    int line;
};

/* What a stranger can say to match this key: as a sender, and as a HELO name. */
static bool
is_key_open(struct candidates *candidates, struct bytes key)
{
    char sender[NAME_ROOM], helo[NAME_ROOM];
    bool has_at = bytes_index(key, '@') >= 0;

    if (key.n == 0 || key.n > 200) {
        return false;
    }
    if (has_at) {
        bool is_user = key.p[key.n - 1] == '@';
        (void)snprintf(sender, sizeof(sender), "%s%.*s%s", key.p[0] == '@' ? "x" : "", BYTES_FMT(key),
                       is_user ? "stranger.example" : "");
        return is_open(candidates->proof, HELO, bytes_str(sender));
    }
    struct bytes name = key.p[0] == '.' ? bytes_sub(key, 1, key.n) : key;
    (void)snprintf(sender, sizeof(sender), "x@%.*s", BYTES_FMT(name));
    (void)snprintf(helo, sizeof(helo), "%.*s", BYTES_FMT(name));
    return is_open(candidates->proof, HELO, bytes_str(sender)) ||
           is_open(candidates->proof, helo, bytes_str(SENDER));
}

static bool
try_key(void *context, struct bytes key, struct bytes value, int line)
{
    struct candidates *candidates = context;

    (void)value;
    if (is_key_open(candidates, key)) {
        if (candidates->passed++ == 0) {
            (void)snprintf(candidates->first, sizeof(candidates->first), "%.*s", BYTES_FMT(key));
            candidates->line = line;
        }
    }
    return ++candidates->tried < CANDIDATES_MAX;
}

static void
try_table(struct candidates *candidates)
{
    const struct doctor_table *table = candidates->table;

    candidates->tried = candidates->passed = 0;
    doctor_entries(table->path, try_key, candidates);
    if (candidates->passed == 0) {
        return;
    }
    doctor_tell(candidates->doctor, table->where,
                "forgeable open relay: whoever says %s relays through port %s to anywhere, from any address "
                "(%s:%d, and %zu more keys): %s permits, and what a client says of itself proves nothing",
                candidates->first, candidates->service->name, table->path, candidates->line,
                candidates->passed - 1, table->setting);
}

/* Our own names are what a forger tries first. */
static void
try_own_names(struct candidates *candidates)
{
    const struct config *view = candidates->view;
    const char *const names[] = {config_str(view, P_myhostname), config_str(view, P_mydomain),
                                 config_str(view, P_myorigin), "localhost"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (is_key_open(candidates, bytes_str(names[i]))) {
            char *where = doctor_where(view, candidates->proof->param, NULL);

            doctor_tell(candidates->doctor, where,
                        "forgeable open relay: whoever says %s as sender or HELO name relays through port %s "
                        "to anywhere: \"%s\" permits",
                        names[i], candidates->service->name, candidates->proof->word);
            free(where);
            return;
        }
    }
}

static void
prove_forgeable(struct doctor *doctor, const struct config *view, const struct config_service *service)
{
    struct proof proof;
    struct candidates candidates = {.doctor = doctor, .view = view, .service = service, .proof = &proof};

    if (doctor_is_loopback(view, service->name) || strcmp(service->type, "unix") == 0) {
        return;
    }
    if (begin_proof(view, &proof) &&
        !is_open(&proof, HELO, bytes_str(SENDER))) { /* the rule above tells that */
        for (size_t i = 0; i < doctor->table_count; i++) {
            candidates.table = &doctor->tables[i];
            const char *setting = candidates.table->setting;

            if (doctor_is_keyed(candidates.table) &&
                (strstr(setting, "_restrictions") != NULL || candidates.table->param < 0)) {
                try_table(&candidates);
            }
        }
        try_own_names(&candidates);
    }
    end_proof(&proof);
}

static void
find_forgeable_relay(struct doctor *doctor)
{
    doctor_views(doctor, "smtpd", prove_forgeable);
}

/* --- wide-mynetworks --- */

static bool
is_private(const struct net_addr *addr)
{
    static const char *const PRIVATE[] = {"10.0.0.0/8",     "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8",
                                          "169.254.0.0/16", "100.64.0.0/10", "fc00::/7",       "fe80::/10"};
    struct net_prefix prefix;

    for (size_t i = 0; i < sizeof(PRIVATE) / sizeof(PRIVATE[0]); i++) {
        if (net_prefix_parse(bytes_str(PRIVATE[i]), &prefix) == 0 && net_prefix_has(&prefix, addr)) {
            return true;
        }
    }
    return false;
}

static void
look_at_networks(struct doctor *doctor, const struct config *view, const struct config_service *service)
{
    enum { WIDE_V4 = 16, WIDE_V6 = 32 };
    char word[NAME_ROOM];

    (void)service;
    for (size_t i = 0; doctor_word(config_str(view, P_mynetworks), i, word, sizeof(word)); i++) {
        struct net_prefix prefix;

        if (net_prefix_parse(bytes_str(word), &prefix) != 0 || is_private(&prefix.base)) {
            continue;
        }
        if (prefix.bits >= (prefix.base.family == AF_INET ? WIDE_V4 : WIDE_V6)) {
            continue;
        }
        char *where = doctor_where(view, P_mynetworks, word);
        doctor->severity = prefix.bits == 0 ? DOCTOR_ERROR : DOCTOR_WARNING;
        doctor_tell(doctor, where, "mynetworks trusts %s: %s may send to anywhere through this gateway", word,
                    prefix.bits == 0 ? "the whole internet" : "a large part of the internet");
        free(where);
    }
}

static void
find_wide_networks(struct doctor *doctor)
{
    doctor_views(doctor, "smtpd", look_at_networks);
}

/* --- auth-without-tls --- */

static void
look_at_auth(struct doctor *doctor, const struct config *view, const struct config_service *service)
{
    const char *level = config_str(view, P_smtpd_tls_security_level);
    bool tls =
        strcmp(level, "may") == 0 || strcmp(level, "encrypt") == 0 ||
        (level[0] == '\0' && (config_bool(view, P_smtpd_use_tls) || config_bool(view, P_smtpd_enforce_tls)));

    if (!config_bool(view, P_smtpd_sasl_auth_enable) || doctor_is_loopback(view, service->name) ||
        config_bool(view, P_smtpd_tls_auth_only) || strcmp(level, "encrypt") == 0 ||
        (level[0] == '\0' && config_bool(view, P_smtpd_enforce_tls))) {
        return;
    }
    char *where = doctor_where(view, P_smtpd_sasl_auth_enable, NULL);
    doctor_tell(doctor, where, "port %s takes passwords in the clear: %s", service->name,
                tls ? "STARTTLS is offered, and AUTH without it works as well"
                    : "it offers AUTH and no encryption");
    free(where);
}

static void
find_clear_passwords(struct doctor *doctor)
{
    doctor_views(doctor, "smtpd", look_at_auth);
}

/* --- open-reinjection --- */

/* An address that the port's own lists take mail for; false when there is none. */
static bool
find_own_address(struct proof *proof, char out[NAME_ROOM])
{
    static const enum param LISTS[] = {P_mydestination, P_relay_domains, P_virtual_mailbox_domains,
                                       P_virtual_alias_domains, P_myorigin};
    enum address_class class;
    char word[NAME_ROOM / 2];

    for (size_t i = 0; i < sizeof(LISTS) / sizeof(LISTS[0]); i++) {
        for (size_t n = 0; doctor_word(config_str(proof->view, LISTS[i]), n, word, sizeof(word)); n++) {
            if (router_class(proof->router, bytes_str(word), &class) == 0 && class != CLASS_DEFAULT) {
                (void)snprintf(out, NAME_ROOM, "postmaster@%s", word);
                return true;
            }
        }
    }
    return false;
}

/* A port without the filter that main.cf asks for is a way around it for whoever reaches it and is let in. */
static void
look_at_reinjection(struct doctor *doctor, const struct config *view, const struct config_service *service)
{
    const char *filter = config_str(doctor->config, P_content_filter);
    char recipient[NAME_ROOM];
    struct proof proof;

    if (strcmp(service->type, "inet") != 0 || view == doctor->config || filter[0] == '\0' ||
        config_str(view, P_content_filter)[0] != '\0' || doctor_is_loopback(view, service->name)) {
        return;
    }
    bool open = begin_proof(view, &proof) && find_own_address(&proof, recipient) &&
                is_permitted(&proof, STRANGERS[0], HELO, bytes_str(SENDER), recipient);
    end_proof(&proof);
    if (!open) {
        return;
    }
    char *where = doctor_where_service(doctor, service);
    doctor_tell(
        doctor, where,
        "port %s listens on every interface and takes mail that %s never sees: anyone who connects to it "
        "gets around the filter",
        service->name, filter);
    free(where);
}

static void
find_open_reinjection(struct doctor *doctor)
{
    doctor_views(doctor, "smtpd", look_at_reinjection);
}

/* --- untrusted-routing --- */

static void
look_at_routing(struct doctor *doctor, const struct config *view, const struct config_service *service)
{
    if (config_bool(view, P_allow_untrusted_routing)) {
        char *where = doctor_where(view, P_allow_untrusted_routing, NULL);

        doctor_tell(doctor, where,
                    "port %s takes user%%elsewhere@ours from strangers: the server behind us may send it on",
                    service->name);
        free(where);
    }
}

static void
find_untrusted_routing(struct doctor *doctor)
{
    doctor_views(doctor, "smtpd", look_at_routing);
}

const struct doctor_rule DOCTOR_RELAY[] = {
    {"open-relay", DOCTOR_ERROR, "", "A stranger's mail to a foreign address is accepted", find_open_relay,
     "put reject_unauth_destination behind permit_mynetworks in smtpd_relay_restrictions", false},
    {"forgeable-relay", DOCTOR_ERROR, "D6 SCE13", "What a client says of itself lets it relay",
     find_forgeable_relay,
     "put check_sender_access and the like behind reject_unauth_destination; let users authenticate "
     "(permit_sasl_authenticated)",
     false},
    {"wide-mynetworks", DOCTOR_ERROR, "", "mynetworks trusts networks of others", find_wide_networks,
     "name the networks of your own machines, such as 192.168.0.0/16, and nothing else", false},
    {"auth-without-tls", DOCTOR_WARNING, "", "Passwords travel unencrypted", find_clear_passwords,
     "set smtpd_tls_auth_only = yes and smtpd_tls_security_level = may with a certificate", false},
    {"open-reinjection", DOCTOR_ERROR, "D18 MSL4 FIL10", "A port without the filter is open to all",
     find_open_reinjection, "write localhost:PORT, or 127.0.0.1:PORT, in the first column of the row", false},
    {"untrusted-routing", DOCTOR_WARNING, "", "Strangers may route through our addresses",
     find_untrusted_routing, "set allow_untrusted_routing = no", false},
    {NULL, DOCTOR_NOTE, NULL, NULL, NULL, NULL, false},
};

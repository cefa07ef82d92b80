/*
 * ctl_doctor_lists - the words of smtpd_*_restrictions: those never reached, those that changed, DNS lists
 * that died.
 *
 * Before: ctl_doctor.c; after: policy/restriction_explain.c reads the lists as the engine does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl_doctor_private.h"

enum { NAME_ROOM = 300 };

static const enum param LISTS[] = {
    P_smtpd_client_restrictions,      P_smtpd_helo_restrictions,      P_smtpd_sender_restrictions,
    P_smtpd_relay_restrictions,       P_smtpd_recipient_restrictions, P_smtpd_data_restrictions,
    P_smtpd_end_of_data_restrictions, P_smtpd_etrn_restrictions,
};

/* One list of one view, word by word. */
struct walk {
    struct doctor *doctor;
    const struct config *view;
    const struct config_service *service;
    enum param param;
    char ended[NAME_ROOM]; /* the word behind which nothing is reached */
    bool past_relay_check; /* behind reject_unauth_destination */
    bool only_warns;
    size_t words;
};

static bool
is_word(const struct restriction_explained *word, const char *name)
{
    return word->word != NULL && strcmp(word->word, name) == 0;
}

static char *
where_of(const struct walk *walk, struct bytes word)
{
    char text[NAME_ROOM];

    (void)snprintf(text, sizeof(text), "%.*s", BYTES_FMT(word));
    return doctor_where(walk->view, walk->param, text);
}

static void
walk_view(struct doctor *doctor, const struct config *view, const struct config_service *service,
          restriction_explain_visitor *visit)
{
    for (size_t i = 0; i < sizeof(LISTS) / sizeof(LISTS[0]); i++) {
        struct walk walk = {.doctor = doctor, .view = view, .service = service, .param = LISTS[i]};

        restriction_explain(view, config_str(view, LISTS[i]), visit, &walk);
    }
}

/* --- unreachable-word --- */

static bool
look_for_end(void *context, const struct restriction_explained *word)
{
    struct walk *walk = context;

    if (walk->ended[0] != '\0') {
        char *where = where_of(walk, word->name);

        doctor_tell(walk->doctor, where, "%s: \"%.*s\" is never reached: \"%s\" before it ends the list",
                    PARAMS[walk->param].name, BYTES_FMT(word->name), walk->ended);
        free(where);
        return true;
    }
    if (word->ends_list && !walk->only_warns) {
        (void)snprintf(walk->ended, sizeof(walk->ended), "%.*s", BYTES_FMT(word->name));
    }
    walk->only_warns = is_word(word, "warn_if_reject"); /* a refusal behind it refuses nothing */
    return true;
}

static void
find_ends(struct doctor *doctor, const struct config *view, const struct config_service *service)
{
    walk_view(doctor, view, service, look_for_end);
}

static void
find_unreachable(struct doctor *doctor)
{
    doctor_views(doctor, "smtpd", find_ends);
}

/* --- idle-word: reached, and decides nothing --- */

static bool
look_for_idle(void *context, const struct restriction_explained *word)
{
    struct walk *walk = context;
    bool idle = is_word(word, "reject_unauth_destination") || is_word(word, "defer_unauth_destination") ||
                is_word(word, "permit_auth_destination") || is_word(word, "permit_mx_backup");

    if (walk->past_relay_check && idle) {
        char *where = where_of(walk, word->name);

        doctor_tell(
            walk->doctor, where,
            "%s: \"%.*s\" decides nothing about relaying: \"reject_unauth_destination\" before it has "
            "refused every foreign destination%s",
            PARAMS[walk->param].name, BYTES_FMT(word->name),
            word->word[0] == 'p' ? ", so it permits all that is left and ends the list" : "");
        free(where);
    }
    walk->past_relay_check = walk->past_relay_check || is_word(word, "reject_unauth_destination");
    return true;
}

static void
find_idle_words(struct doctor *doctor, const struct config *view, const struct config_service *service)
{
    walk_view(doctor, view, service, look_for_idle);
}

static void
find_idle(struct doctor *doctor)
{
    doctor_views(doctor, "smtpd", find_idle_words);
}

/* --- removed-word --- */

static bool
look_for_removed(void *context, const struct restriction_explained *word)
{
    struct walk *walk = context;
    static const char *const REMOVED[] = {"check_relay_domains", "reject_maps_rbl",
                                          "permit_naked_ip_address"};

    for (size_t i = 0; i < sizeof(REMOVED) / sizeof(REMOVED[0]); i++) {
        if (is_word(word, REMOVED[i])) {
            char *where = where_of(walk, word->name);

            doctor_tell(walk->doctor, where,
                        "%s: %s keeps its old meaning here; Postfix 3.9 and later answer 451 to every "
                        "recipient that reaches it: %s",
                        PARAMS[walk->param].name, REMOVED[i],
                        word->advice != NULL ? word->advice : "replace it");
            free(where);
        }
    }
    return true;
}

static void
find_removed_words(struct doctor *doctor, const struct config *view, const struct config_service *service)
{
    walk_view(doctor, view, service, look_for_removed);
}

static void
find_removed(struct doctor *doctor)
{
    doctor_views(doctor, "smtpd", find_removed_words);
}

/* --- misspelt-word --- */

static bool
look_for_misspelt(void *context, const struct restriction_explained *word)
{
    struct walk *walk = context;

    if (word->advice != NULL && strncmp(word->advice, "write ", 6) == 0) {
        char *where = where_of(walk, word->name);

        doctor_tell(walk->doctor, where, "%s: \"%.*s\" is no restriction of Postfix; it works here as %s",
                    PARAMS[walk->param].name, BYTES_FMT(word->name), word->advice + 6);
        free(where);
    }
    return true;
}

static void
find_misspelt_words(struct doctor *doctor, const struct config *view, const struct config_service *service)
{
    walk_view(doctor, view, service, look_for_misspelt);
}

static void
find_misspelt(struct doctor *doctor)
{
    doctor_views(doctor, "smtpd", find_misspelt_words);
}

/* --- early-greylist --- */

static bool
look_for_greylist(void *context, const struct restriction_explained *word)
{
    struct walk *walk = context;
    bool asks = is_word(word, "check_policy_service") || is_word(word, "check_greylist");

    if (asks && !walk->past_relay_check) {
        char *where = where_of(walk, word->name);

        doctor_tell(walk->doctor, where,
                    "%s: %.*s is asked before reject_unauth_destination: relay attempts fill its store, and "
                    "an OK of it would relay",
                    PARAMS[walk->param].name, BYTES_FMT(word->name));
        free(where);
    }
    walk->past_relay_check = walk->past_relay_check || word->stops_relay;
    return true;
}

static void
find_early_words(struct doctor *doctor, const struct config *view, const struct config_service *service)
{
    struct walk walk = {.doctor = doctor,
                        .view = view,
                        .service = service,
                        .param = P_smtpd_recipient_restrictions,
                        .past_relay_check = strstr(config_str(view, P_smtpd_relay_restrictions),
                                                   "unauth_destination") != NULL};

    restriction_explain(view, config_str(view, walk.param), look_for_greylist, &walk);
}

static void
find_early_greylist(struct doctor *doctor)
{
    doctor_views(doctor, "smtpd", find_early_words);
}

/* --- helo-may-be-left-out --- */

static bool
look_for_refusal(void *context, const struct restriction_explained *word)
{
    struct walk *walk = context;

    walk->words += word->word != NULL && strncmp(word->word, "reject", 6) == 0;
    return true;
}

static void
look_at_helo(struct doctor *doctor, const struct config *view, const struct config_service *service)
{
    struct walk walk = {.doctor = doctor, .view = view, .service = service};

    restriction_explain(view, config_str(view, P_smtpd_helo_restrictions), look_for_refusal, &walk);
    if (walk.words > 0 && !config_bool(view, P_smtpd_helo_required)) {
        char *where = doctor_where(view, P_smtpd_helo_restrictions, NULL);

        doctor_tell(doctor, where,
                    "a client that says no HELO at all gets around smtpd_helo_restrictions (port %s)",
                    service->name);
        free(where);
    }
}

static void
find_optional_helo(struct doctor *doctor)
{
    doctor_views(doctor, "smtpd", look_at_helo);
}

/* --- misread-word: what a widely copied guide says of a word is not what it does --- */

static bool
look_for_misread(void *context, const struct restriction_explained *word)
{
    struct walk *walk = context;

    if (walk->param == P_smtpd_client_restrictions &&
        (is_word(word, "reject_unknown_hostname") || is_word(word, "reject_unknown_helo_hostname") ||
         is_word(word, "reject_invalid_hostname") || is_word(word, "reject_invalid_helo_hostname"))) {
        char *where = where_of(walk, word->name);

        doctor_tell(walk->doctor, where,
                    "smtpd_client_restrictions: %.*s looks at the HELO name, not at the client's; for that "
                    "write reject_unknown_client_hostname",
                    BYTES_FMT(word->name));
        free(where);
    }
    return true;
}

static void
find_misread_words(struct doctor *doctor, const struct config *view, const struct config_service *service)
{
    walk_view(doctor, view, service, look_for_misread);
}

static void
find_misread(struct doctor *doctor)
{
    doctor_views(doctor, "smtpd", find_misread_words);
}

const struct doctor_rule DOCTOR_LISTS[] = {
    {"unreachable-word", DOCTOR_WARNING, "RES32", "A restriction behind the end of its list",
     find_unreachable, "move it before the word that ends the list, or remove it", false},
    {"idle-word", DOCTOR_NOTE, "", "A restriction that decides nothing", find_idle, "remove it", false},
    {"removed-word", DOCTOR_WARNING, "D3 RES6", "A restriction that newer Postfix has dropped", find_removed,
     "reject_unauth_destination for check_relay_domains, reject_rbl_client ZONE for reject_maps_rbl", false},
    {"misspelt-word", DOCTOR_WARNING, "D7 CFG6", "A misspelt restriction", find_misspelt,
     "correct the word: elsewhere it would answer 451 or do nothing", false},
    {"early-greylist", DOCTOR_WARNING, "GRY7", "Greylisting before the relay check", find_early_greylist,
     "put it behind reject_unauth_destination", false},
    {"optional-helo", DOCTOR_NOTE, "", "HELO checks that a client can skip", find_optional_helo,
     "set smtpd_helo_required = yes", false},
    {"misread-word", DOCTOR_NOTE, "D12", "A restriction that looks at something else", find_misread,
     "see the manual of the word in postconf(5)", false},
    {NULL, DOCTOR_NOTE, NULL, NULL, NULL, NULL, false},
};

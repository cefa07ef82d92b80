/*
 * ctl_doctor_limits - numbers that are fine alone and do not fit together, and lists of words with a wrong
 * one.
 *
 * Before: ctl_doctor.c; after: values of the configuration.
 */
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ctl/ctl_doctor_private.h"

enum { WORD_ROOM = 128 };

/* --- error-limits: D16 --- */

static void
look_at_errors(struct doctor *doctor, const struct config *view, const struct config_service *service)
{
    int64_t soft = config_int(view, P_smtpd_soft_error_limit),
            hard = config_int(view, P_smtpd_hard_error_limit);

    if (soft <= hard) {
        return;
    }
    char *where = doctor_where(view, P_smtpd_soft_error_limit, NULL);
    doctor->severity = config_int(view, P_smtpd_error_sleep_time) == 0 ? DOCTOR_NOTE : DOCTOR_WARNING;
    doctor_tell(doctor, where,
                "port %s: smtpd_soft_error_limit %lld is above smtpd_hard_error_limit %lld: clients that err "
                "are never "
                "slowed down, they are cut off",
                service->name, (long long)soft, (long long)hard);
    free(where);
}

static void
find_error_limits(struct doctor *doctor)
{
    doctor_views(doctor, "smtpd", look_at_errors);
}

/* --- mailbox-limit: D17 --- */

static void
find_mailbox_limit(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    int64_t message = config_int(config, P_message_size_limit),
            box = config_int(config, P_mailbox_size_limit);

    if (config_str(config, P_mydestination)[0] == '\0' || box == 0 ||
        config_is_set(config, P_mailbox_size_limit) || (message != 0 && message <= box)) {
        return; /* when both are set, the start is refused */
    }
    char *where = doctor_where(config, P_message_size_limit, NULL);
    doctor_tell(doctor, where,
                "message_size_limit %lld lets in what no mailbox can hold: mailbox_size_limit is %lld, so "
                "the largest "
                "messages are returned, and Postfix would not deliver at all",
                (long long)message, (long long)box);
    free(where);
}

/* --- scan-limit --- */

static void
tell_scan(struct doctor *doctor, enum param param, int64_t limit, const char *what)
{
    int64_t message = config_int(doctor->config, P_message_size_limit);

    if (limit == 0 || (message != 0 && message <= limit)) {
        return;
    }
    char *where = doctor_where(doctor->config,
                               config_is_set(doctor->config, param) ? param : P_message_size_limit, NULL);
    doctor_tell(doctor, where, "messages of more than %lld bytes (%s) are accepted and not fully scanned: %s",
                (long long)limit, PARAMS[param].name, what);
    free(where);
}

static void
find_scan_limits(struct doctor *doctor)
{
    const struct config *config = doctor->config;

    if (strcmp(config_str(config, P_content_filter), "scan:") != 0) {
        return;
    }
    tell_scan(doctor, P_scan_size_limit, config_int(config, P_scan_size_limit),
              "the costly scanners skip them");
    if (doctor_has_word(config_str(config, P_scan_pipeline), "clamav")) {
        tell_scan(doctor, P_clamav_max_scansize, config_int(config, P_clamav_max_scansize),
                  "ClamAV stops there, and clamav_limit_action decides");
    }
}

/* --- free-space: PAR47 --- */

static void
find_free_space(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    int64_t minfree = config_int(config, P_queue_minfree), message = config_int(config, P_message_size_limit);

    if (!config_is_set(config, P_queue_minfree) || minfree == 0 || message == 0 ||
        minfree >= message + message / 2) {
        return;
    }
    char *where = doctor_where(config, P_queue_minfree, NULL);
    doctor_tell(doctor, where,
                "queue_minfree %lld is below one and a half messages of message_size_limit %lld: the disk "
                "can fill up "
                "while messages arrive",
                (long long)minfree, (long long)message);
    free(where);
}

/* --- notify-class: NOT7 --- */

static void
find_notify_classes(struct doctor *doctor)
{
    static const char *const CLASSES[] = {"bounce", "2bounce",  "data",     "delay",
                                          "policy", "protocol", "resource", "software"};
    /* The labels of a guide in Spanish. */
    static const struct {
        const char *label, *name;
    } LABELS[] = {
        {"rebotar", "bounce"},     {"rebote", "bounce"},    {"2rebotar", "2bounce"},  {"datos", "data"},
        {"retrasar", "delay"},     {"retraso", "delay"},    {"política", "policy"},   {"politica", "policy"},
        {"protocolo", "protocol"}, {"recurso", "resource"}, {"recursos", "resource"},
    };
    char word[WORD_ROOM];

    for (size_t n = 0; doctor_word(config_str(doctor->config, P_notify_classes), n, word, sizeof(word));
         n++) {
        const char *meant = NULL;
        bool known = false;

        for (size_t i = 0; i < sizeof(CLASSES) / sizeof(CLASSES[0]); i++) {
            known = known || strcmp(word, CLASSES[i]) == 0;
            meant = doctor_distance(word, CLASSES[i], 2) <= 2 ? CLASSES[i] : meant;
        }
        for (size_t i = 0; i < sizeof(LABELS) / sizeof(LABELS[0]); i++) {
            meant = strcasecmp(word, LABELS[i].label) == 0 ? LABELS[i].name : meant;
        }
        if (!known) {
            char *where = doctor_where(doctor->config, P_notify_classes, word);

            doctor_tell(doctor, where, "notify_classes: there is no class \"%s\"%s%s: nobody is told of it",
                        word, meant != NULL ? "; it is called " : "", meant != NULL ? meant : "");
            free(where);
        }
    }
}

/* --- unknown-group: D16 --- */

static void
find_unknown_group(struct doctor *doctor)
{
    const char *group = config_str(doctor->config, P_setgid_group);

    if (config_is_set(doctor->config, P_setgid_group) && group[0] != '\0' && getgrnam(group) == NULL) {
        char *where = doctor_where(doctor->config, P_setgid_group, NULL);

        doctor_tell(doctor, where,
                    "setgid_group: there is no group %s; guides of other times and systems write "
                    "maildrop or postdrop",
                    group);
        free(where);
    }
}

const struct doctor_rule DOCTOR_LIMITS[] = {
    {"error-limits", DOCTOR_WARNING, "D16", "The soft error limit is above the hard one", find_error_limits,
     "set smtpd_soft_error_limit below smtpd_hard_error_limit, or remove both", false},
    {"mailbox-limit", DOCTOR_WARNING, "D17", "Messages may be larger than mailboxes", find_mailbox_limit,
     "set mailbox_size_limit to at least message_size_limit, or to 0", false},
    {"scan-limit", DOCTOR_WARNING, "", "Messages may be larger than what is scanned", find_scan_limits,
     "raise the scan limit, or lower message_size_limit", false},
    {"free-space", DOCTOR_WARNING, "PAR47", "Too little disk is kept free", find_free_space,
     "set queue_minfree to 10 to 20 times message_size_limit", false},
    {"notify-class", DOCTOR_WARNING, "NOT7", "A notification class that does not exist", find_notify_classes,
     "use bounce, 2bounce, data, delay, policy, protocol, resource, software", false},
    {"unknown-group", DOCTOR_WARNING, "D16", "setgid_group names a group that does not exist",
     find_unknown_group, "name the group that exists (getent group postdrop), or create it", false},
    {NULL, DOCTOR_NOTE, NULL, NULL, NULL, NULL, false},
};

/*
 * config_warn - settings that are accepted but deserve the operator's eye: blanks where a value must be,
 * names that nothing reads, comments behind values, defaults of another age.
 *
 * Before: config_load() has everything; after: master prints the lines. Nothing here makes loading fail.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "config/config_internal.h"

enum { NEAR_MAX = 2, NAME_BYTES = 128 };

/* Names as printed in widely copied guides, which Postfix would leave without effect. */
static const struct {
    const char *wrong, *right;
} MISSPELT[] = {
    {"smtpd_client_restriction", "smtpd_client_restrictions"},
    {"smtpd_helo_restriction", "smtpd_helo_restrictions"},
    {"smtpd_sender_restriction", "smtpd_sender_restrictions"},
    {"smtpd_recipient_restriction", "smtpd_recipient_restrictions"},
    {"deliver_lock_attemps", "deliver_lock_attempts"},
    {"fork_attemps", "fork_attempts"},
    {"queue_message_active_limit", "qmgr_message_active_limit"},
    {"command_line_limit", "command_time_limit"},
    {"program_directory", "daemon_directory"}, /* its name before Postfix 1.0 */
};

/* What a transport's name may stand before. */
static const char *const PER_TRANSPORT[] = {
    "_delivery_slot_cost",
    "_delivery_slot_discount",
    "_delivery_slot_loan",
    "_destination_concurrency_failed_cohort_limit",
    "_destination_concurrency_limit",
    "_destination_concurrency_negative_feedback",
    "_destination_concurrency_positive_feedback",
    "_destination_rate_delay",
    "_destination_recipient_limit",
    "_extra_recipient_limit",
    "_initial_destination_concurrency",
    "_minimum_delivery_slots",
    "_recipient_limit",
    "_recipient_refill_delay",
    "_recipient_refill_limit",
    "_time_limit",
    "_transport_rate_delay",
};

/* Defaults that were others once, and the level from which on they are today's. */
static const struct {
    enum param param;
    long level;
} HISTORICAL[] = {{P_append_dot_mydomain, 1},
                  {P_smtpd_relay_restrictions, 1},
                  {P_mynetworks_style, 2},
                  {P_relay_domains, 2}};

bool
config_needs_value(int index)
{
    enum param_type type = PARAMS[index].type;

    return index == P_myhostname || index == P_mydomain || type == PARAM_BOOL || type == PARAM_INT ||
           type == PARAM_TIME || type == PARAM_SIZE;
}

const char *
config_right_name(struct bytes name)
{
    for (size_t i = 0; i < sizeof(MISSPELT) / sizeof(MISSPELT[0]); i++) {
        if (bytes_equal(name, bytes_str(MISSPELT[i].wrong))) {
            return MISSPELT[i].right;
        }
    }
    return NULL;
}

/* "$name", "${name...", "$(name..." */
static bool
refers_to(const char *text, const char *name)
{
    size_t n = strlen(name);

    for (const char *at = text; text != NULL && (at = strstr(at, name)) != NULL; at++) {
        bool begins = at > text && (at[-1] == '$' ||
                                    (at - text >= 2 && at[-2] == '$' && (at[-1] == '{' || at[-1] == '(')));
        char next = at[n];
        bool ends = !((next >= 'a' && next <= 'z') || (next >= 'A' && next <= 'Z') ||
                      (next >= '0' && next <= '9') || next == '_');

        if (begins && ends) {
            return true;
        }
    }
    return false;
}

static bool
is_word_of(const char *list, const char *name)
{
    struct bytes rest = bytes_str(list), word;

    while (bytes_next_token(&rest, ", \t\r\n", &word)) {
        if (bytes_equal(word, bytes_str(name))) {
            return true;
        }
    }
    return false;
}

static bool
is_per_transport(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->service_count; i++) {
        size_t n = strlen(config->services[i].name);

        if (strncmp(name, config->services[i].name, n) != 0) {
            continue;
        }
        for (size_t k = 0; k < sizeof(PER_TRANSPORT) / sizeof(PER_TRANSPORT[0]); k++) {
            if (strcmp(name + n, PER_TRANSPORT[k]) == 0) {
                return true;
            }
        }
    }
    return false;
}

static bool
service_refers_to(const struct config_service *service, const char *name)
{
    for (size_t i = 0; i < service->override_count; i++) {
        if (refers_to(service->overrides[i].value, name) ||
            (strcmp(service->overrides[i].name, "smtpd_restriction_classes") == 0 &&
             is_word_of(service->overrides[i].value, name))) {
            return true;
        }
    }
    for (size_t i = 0; service->arguments != NULL && service->arguments[i] != NULL; i++) {
        if (refers_to(service->arguments[i], name)) {
            return true;
        }
    }
    return false;
}

bool
config_variable_is_used(const struct config *config, const char *name)
{
    for (size_t i = 0; i < PARAM_COUNT; i++) {
        if (refers_to(config_source(config, (enum param)i), name)) { /* defaults too: $virtual_maps */
            return true;
        }
    }
    for (size_t i = 0; i < config->variable_count; i++) {
        if (refers_to(config->variables[i].raw, name)) {
            return true;
        }
    }
    for (size_t i = 0; i < config->service_count; i++) {
        if (service_refers_to(&config->services[i], name)) {
            return true;
        }
    }
    const char *classes = config->raw[P_smtpd_restriction_classes];
    if (strcmp(name, "nombre_servicio_time_limit") == 0) {
        return true; /* config_spread_time_limit() has told */
    }
    return (classes != NULL && is_word_of(classes, name)) || is_per_transport(config, name);
}

/* Levenshtein's distance, as far as NEAR_MAX tells. */
static size_t
distance(const char *a, const char *b)
{
    size_t row[NAME_BYTES], n = strlen(a), m = strlen(b);

    if (m + 1 > NAME_BYTES || n > m + NEAR_MAX || m > n + NEAR_MAX) {
        return NEAR_MAX + 1;
    }
    for (size_t k = 0; k <= m; k++) {
        row[k] = k;
    }
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t k = 1; k <= m; k++) {
            size_t change = diagonal + (a[i - 1] != b[k - 1]);

            diagonal = row[k];
            change = row[k] + 1 < change ? row[k] + 1 : change;
            row[k] = row[k - 1] + 1 < change ? row[k - 1] + 1 : change;
        }
    }
    return row[m];
}

static const char *
find_near(const char *name)
{
    const char *best = NULL;
    size_t least = NEAR_MAX + 1;

    for (size_t i = 0; i < PARAM_COUNT; i++) {
        size_t d = distance(name, PARAMS[i].name);

        if (d < least) {
            least = d;
            best = PARAMS[i].name;
        }
    }
    return best;
}

static void
warn_of_values(const struct config *config, const char *path, struct buf *why_r)
{
    for (int i = 0; i < PARAM_COUNT; i++) {
        const char *raw = config->raw[i];

        if (raw == NULL) {
            continue;
        }
        if (raw[0] == '\0' && config_needs_value(i)) {
            (void)buf_printf(why_r, "%s:%d: warning: %s is blank; its default %s is used\n", path,
                             config->line[i], PARAMS[i].name, config->text[i]);
        }
    }
}

static void
warn_of_variables(const struct config *config, const char *path, struct buf *why_r)
{
    for (size_t i = 0; i < config->variable_count; i++) {
        const struct config_variable *variable = &config->variables[i];

        if (config_variable_is_used(config, variable->name)) {
            continue;
        }
        const char *near = find_near(variable->name);
        (void)buf_printf(why_r, "%s:%d: warning: unused parameter: %s=%s%s%s%s\n", path, variable->line,
                         variable->name, variable->raw, near != NULL ? "; did you mean " : "",
                         near != NULL ? near : "", near != NULL ? "?" : "");
    }
}

/* What somebody may rely on to keep mail out, or in secret: each gets a line of its own when it is set and
 * nothing follows from it. */
static const enum param GUARDS[] = {P_smtpd_milters,
                                    P_smtpd_milter_maps,
                                    P_non_smtpd_milters,
                                    P_smtpd_proxy_filter,
                                    P_smtpd_command_filter,
                                    P_smtpd_reject_unlisted_sender,
                                    P_smtpd_sender_login_maps,
                                    P_smtpd_tls_auth_only,
                                    P_smtpd_tls_req_ccert,
                                    P_relay_clientcerts,
                                    P_smtp_tls_policy_maps,
                                    P_smtp_tls_per_site,
                                    P_smtp_tls_exclude_ciphers,
                                    P_smtp_tls_mandatory_exclude_ciphers,
                                    P_lmtp_tls_policy_maps,
                                    P_smtp_header_checks,
                                    P_smtp_body_checks,
                                    P_milter_header_checks};

static bool
is_guard(enum param param)
{
    size_t i = 0;

    while (i < sizeof(GUARDS) / sizeof(GUARDS[0]) && GUARDS[i] != param) {
        i++;
    }
    return i < sizeof(GUARDS) / sizeof(GUARDS[0]);
}

static void
warn_of_guards(const struct config *config, struct buf *why_r)
{
    for (size_t i = 0; i < sizeof(GUARDS) / sizeof(GUARDS[0]); i++) {
        const struct param_row *row = &PARAMS[GUARDS[i]];
        const char *text = config->text[GUARDS[i]];

        if (row->status == PARAM_IDLE && config->raw[GUARDS[i]] != NULL && text != NULL && text[0] != '\0' &&
            strcmp(text, "no") != 0) {
            config_locate(config, GUARDS[i], why_r);
            (void)buf_printf(why_r, ": warning: %s protects nothing here, it is %s\n", row->name,
                             row->description);
        }
    }
}

/* Accepted so that a Postfix configuration loads; said, so that nobody relies on it. */
static void
warn_of_idle(const struct config *config, const char *path, struct buf *why_r)
{
    bool any = false;

    for (int i = 0; i < PARAM_COUNT; i++) {
        if (config->raw[i] != NULL && PARAMS[i].status == PARAM_IDLE && !is_guard((enum param)i)) {
            (void)(any ? 0
                       : buf_printf(why_r, "%s: warning: accepted without effect in this version:", path));
            (void)buf_printf(why_r, " %s", PARAMS[i].name);
            any = true;
        }
    }
    if (any) {
        (void)buf_append_byte(why_r, '\n');
    }
}

/* The defaults of another age that nobody chose, in one line. */
static void
warn_of_level(const struct config *config, const char *path, struct buf *why_r)
{
    const char *raw = config->raw[P_compatibility_level];
    long level = strtol(config->text[P_compatibility_level], NULL, 10);
    bool any = false;

    for (size_t i = 0; i < sizeof(HISTORICAL) / sizeof(HISTORICAL[0]); i++) {
        enum param param = HISTORICAL[i].param;

        if (config->raw[param] != NULL || level >= HISTORICAL[i].level) {
            continue;
        }
        if (!any) {
            (void)buf_printf(
                why_r, "%s: warning: %s%s: running with backwards-compatible default settings:", path,
                raw != NULL ? "compatibility_level = " : "no compatibility_level", raw != NULL ? raw : "");
        }
        (void)buf_printf(why_r, " %s=%s", PARAMS[param].name, config->text[param]);
        any = true;
    }
    if (any) {
        (void)buf_append_str(why_r, "; set those that you want to keep, then compatibility_level = 3.6\n");
    }
}

void
config_warn(const struct config *config, const char *path, struct buf *why_r)
{
    warn_of_values(config, path, why_r);
    warn_of_variables(config, path, why_r);
    warn_of_guards(config, why_r);
    warn_of_idle(config, path, why_r);
    warn_of_level(config, path, why_r);
}

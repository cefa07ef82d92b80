/*
 * queue_settings - the parameters of the queue, and the transports of master.cf with their limits.
 *
 * Before: queue_service.c at start. Names are Postfix's: default_destination_..., and
 * <transport>_destination_... for one transport, which are in the parameter table for Postfix's own
 * transports and are user variables for others.
 */
#include "queue/queue_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"

enum { NAME_MAX_LENGTH = 200 };
/* Which role serves a program of master.cf, and so which rows are transports. */
static const struct {
    const char *program;
    enum role role;
} PROGRAMS[] = {
    {"smtp", ROLE_RELAY},      {"lmtp", ROLE_RELAY},      {"local", ROLE_DELIVER},
    {"virtual", ROLE_DELIVER}, {"pipe", ROLE_DELIVER},    {"error", ROLE_DELIVER},
    {"retry", ROLE_DELIVER},   {"discard", ROLE_DELIVER}, {"spawn", ROLE_DELIVER},
};

/* notify_classes and the like: whether the list of words has this one. */
static bool
has_word(const char *list, const char *word)
{
    struct bytes rest = bytes_str(list), token;

    while (bytes_next_token(&rest, ", \t\r\n", &token)) {
        if (bytes_equal_nocase(token, bytes_str(word))) {
            return true;
        }
    }
    return false;
}

/* What filters the mail of this machine: content_filter, or that of the pickup row's -o. The built-in scan
 * answers SMTP sessions; a local user's own mail goes past it, as past postscreen. */
static const char *
find_pickup_filter(const struct config *config)
{
    const struct config *view = config;

    for (size_t i = 0; i < config_service_count(config); i++) {
        if (strcmp(config_service(config, i)->program, "pickup") == 0) {
            view = config_view(config, i);
        }
    }
    const char *filter = config_str(view, P_content_filter);
    return strcmp(filter, "scan:") == 0 ? "" : filter;
}

int
queue_settings_load(const struct config *config, struct queue_settings *settings_r)
{
    const char *classes = config_str(config, P_notify_classes);

    *settings_r = (struct queue_settings){
        .retry =
            {
                .minimal_backoff_s = config_int(config, P_minimal_backoff_time),
                .maximal_backoff_s = config_int(config, P_maximal_backoff_time),
                .maximal_lifetime_s = config_int(config, P_maximal_queue_lifetime),
                .bounce_lifetime_s = config_int(config, P_bounce_queue_lifetime),
                .delay_warning_s = config_int(config, P_delay_warning_time),
            },
        .active_limit = (size_t)config_int(config, P_qmgr_message_active_limit),
        .min_free = (uint64_t)config_int(config, P_queue_minfree),
        .store_limit = (uint64_t)config_int(config, P_queue_size_limit),
        .bounce_size_limit = config_int(config, P_bounce_size_limit),
        .notify_2bounce = has_word(classes, "2bounce"),
        .notify_bounce = has_word(classes, "bounce"),
        .notify_delay = has_word(classes, "delay"),
        .notify_resource = has_word(classes, "resource"),
        .myhostname = config_str(config, P_myhostname),
        .mail_name = config_str(config, P_mail_name),
        .size_limit = config_int(config, P_message_size_limit),
        .pickup_filter = find_pickup_filter(config),
    };
    if (settings_r->active_limit == 0) {
        settings_r->active_limit = 1;
    }
    int n = snprintf(settings_r->double_bounce, sizeof(settings_r->double_bounce), "%s@%s",
                     config_str(config, P_double_bounce_sender), config_str(config, P_myorigin));
    return n > 0 && (size_t)n < sizeof(settings_r->double_bounce) ? 0 : GW_ERR_LIMIT;
}

/* The text of <transport><suffix>, or of default<suffix>. */
static const char *
limit_text(const struct config *config, const char *transport, const char *suffix,
           char default_r[NAME_MAX_LENGTH])
{
    char name[NAME_MAX_LENGTH];

    (void)snprintf(name, sizeof(name), "%s%s", transport, suffix);
    int known = param_by_name(name);
    if (known >= 0 && PARAMS[known].type == PARAM_STR) {
        return config_str(config, (enum param)known);
    }
    if (known >= 0 && PARAMS[known].type == PARAM_INT) {
        (void)snprintf(default_r, NAME_MAX_LENGTH, "%lld", (long long)config_int(config, (enum param)known));
        return default_r;
    }
    const char *text = config_user(config, name);
    if (text != NULL && text[0] != '\0' && text[0] != '$') {
        return text;
    }
    return strcmp(transport, "default") != 0 ? limit_text(config, "default", suffix, default_r) : "";
}

static int
limit_number(const struct config *config, const char *transport, const char *suffix)
{
    char room[NAME_MAX_LENGTH];
    const char *text = limit_text(config, transport, suffix, room);
    uint64_t value = 0;

    if (bytes_to_u64(bytes_str(text), &value) != 0 || value > 1000000) {
        log_warning("qmgr", "bad value for %s%s: \"%s\"; using 1", transport, suffix, text);
        return 1;
    }
    return (int)value;
}

static void
limit_feedback(const struct config *config, const char *transport, const char *suffix,
               struct queue_feedback *feedback_r)
{
    char room[NAME_MAX_LENGTH];
    const char *text = limit_text(config, transport, suffix, room);

    if (queue_feedback_parse(text, feedback_r) != 0) {
        log_warning("qmgr", "bad value for %s%s: \"%s\"; using 1", transport, suffix, text);
    }
}

static void
find_limits(const struct config *config, const struct config_service *service, struct queue_limits *limits_r)
{
    const char *name = service->name;

    *limits_r = (struct queue_limits){
        .initial_concurrency = (int)config_int(config, P_initial_destination_concurrency),
        .concurrency = limit_number(config, name, "_destination_concurrency_limit"),
        .recipients = limit_number(config, name, "_destination_recipient_limit"),
        .processes = service->max_processes >= 0 ? service->max_processes
                                                 : (int)config_int(config, P_default_process_limit),
        .failed_cohorts = limit_number(config, name, "_destination_concurrency_failed_cohort_limit"),
        .dead_ms = config_int(config, P_minimal_backoff_time) * 1000,
    };
    limit_feedback(config, name, "_destination_concurrency_positive_feedback", &limits_r->positive);
    limit_feedback(config, name, "_destination_concurrency_negative_feedback", &limits_r->negative);
}

/* What stands behind "postfix/" in this transport's log lines: the program, or what its row's syslog_name
 * adds. */
static void
log_program(const struct config *config, size_t index, const char *program, char *out, size_t size)
{
    const char *ours = config_str(config, P_syslog_name);
    const char *theirs = config_str(config_view(config, index), P_syslog_name);
    size_t n = strlen(ours);

    if (strncmp(theirs, ours, n) == 0 && theirs[n] == '/') {
        (void)snprintf(out, size, "%s/%s", theirs + n + 1, program);
    } else {
        (void)snprintf(out, size, "%s", program);
    }
}

int
queue_settings_transports(const struct config *config, struct queue_schedule *schedule)
{
    for (size_t i = 0; i < config_service_count(config); i++) {
        const struct config_service *service = config_service(config, i);
        enum role role = ROLE_NONE;
        struct queue_limits limits;
        char program[QUEUE_TRANSPORT_MAX];
        int r;

        for (size_t j = 0; j < sizeof(PROGRAMS) / sizeof(PROGRAMS[0]); j++) {
            role = strcmp(PROGRAMS[j].program, service->program) == 0 ? PROGRAMS[j].role : role;
        }
        if (role == ROLE_NONE || strcmp(service->type, "unix") != 0) {
            continue;
        }
        find_limits(config, service, &limits);
        log_program(config, i, service->program, program, sizeof(program));
        if ((r = queue_schedule_add_transport(schedule, service->name, role, program, &limits)) != 0) {
            log_error("qmgr", "master.cf:%d: cannot use transport %s: %s", service->line, service->name,
                      gw_strerror(r));
            return r;
        }
    }
    return 0;
}

/*
 * ctl_doctor_master - rows of master.cf: filters that go round, programs that are none, rights that do not
 * fit.
 *
 * Before: ctl_doctor.c; after: the services of the configuration. A script that a row runs is read as text,
 * as far as it is one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl_doctor_private.h"

enum { SCRIPT_MAX = 65536 };

static const char *
base_name(const char *program)
{
    const char *slash = strrchr(program, '/');

    return slash != NULL ? slash + 1 : program;
}

static const struct config_service *
find_service(const struct doctor *doctor, struct bytes name)
{
    for (size_t i = 0; i < config_service_count(doctor->config); i++) {
        const struct config_service *service = config_service(doctor->config, i);

        if (bytes_equal(name, bytes_str(service->name)) && strcmp(service->type, "inet") != 0) {
            return service;
        }
    }
    return NULL;
}

/* "NAME=value" among the arguments of pipe and spawn; NULL: not there. */
static const char *
find_argument(const struct config_service *service, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; service->arguments != NULL && service->arguments[i] != NULL; i++) {
        if (strncmp(service->arguments[i], name, n) == 0 && service->arguments[i][n] == '=') {
            return service->arguments[i] + n + 1;
        }
    }
    return NULL;
}

static bool
mentions(const struct config_service *service, const char *text)
{
    for (size_t i = 0; service->arguments != NULL && service->arguments[i] != NULL; i++) {
        if (strstr(service->arguments[i], text) != NULL) {
            return true;
        }
    }
    return false;
}

/* --- filters --- */

/* The effective filter of a service, "" when none or the built-in one. */
static const char *
filter_of(const struct config *view)
{
    const char *filter = config_str(view, P_content_filter);

    return strcmp(filter, "scan:") == 0 ? "" : filter;
}

static struct bytes
transport_of(const char *filter)
{
    struct bytes text = bytes_str(filter);
    ptrdiff_t colon = bytes_index(text, ':');

    return colon > 0 ? bytes_sub(text, 0, (size_t)colon) : text;
}

static bool
is_entry(const struct config_service *service)
{
    const char *program = base_name(service->program);

    return strcmp(program, "smtpd") == 0 || strcmp(program, "pickup") == 0;
}

/* Calls visit for each entry of mail that has an external filter. */
static void
each_filter(struct doctor *doctor, void (*visit)(struct doctor *doctor, const struct config *view,
                                                 const struct config_service *service, const char *filter))
{
    for (size_t i = 0; i < config_service_count(doctor->config); i++) {
        const struct config *view = config_view(doctor->config, i);
        const struct config_service *service = config_service(doctor->config, i);

        if (is_entry(service) && filter_of(view)[0] != '\0') {
            visit(doctor, view, service, filter_of(view));
        }
    }
}

static bool
has_unfiltered(const struct doctor *doctor, const char *program)
{
    for (size_t i = 0; i < config_service_count(doctor->config); i++) {
        const struct config_service *service = config_service(doctor->config, i);

        if (strcmp(base_name(service->program), program) == 0 &&
            filter_of(config_view(doctor->config, i))[0] == '\0') {
            return true;
        }
    }
    return false;
}

/* A filter that hands mail to the very port it is called from, or that has no way back but through itself. */
static void
look_for_loop(struct doctor *doctor, const struct config *view, const struct config_service *service,
              const char *filter)
{
    char *where = doctor_where(view, P_content_filter, NULL);
    const char *colon = strrchr(filter, ':');
    unsigned port = colon != NULL && colon[1] != '\0' ? doctor_port(colon) : 0;

    if (!has_unfiltered(doctor, "smtpd") && !has_unfiltered(doctor, "pickup")) {
        doctor_tell(
            doctor, where,
            "mail from %s goes round for ever: every smtpd and pickup has a filter, so what it returns is "
            "filtered again",
            filter);
    }
    for (size_t i = 0; port != 0 && i < config_service_count(doctor->config); i++) {
        const struct config_service *target = config_service(doctor->config, i);

        if (strcmp(target->program, "smtpd") == 0 && strcmp(target->type, "inet") == 0 &&
            doctor_port(target->name) == port && filter_of(config_view(doctor->config, i))[0] != '\0') {
            doctor_tell(doctor, where,
                        "mail of service %s goes round for ever: %s is our own port %s, which has the "
                        "filter as well",
                        service->name, filter, target->name);
        }
    }
    free(where);
}

static void
find_loops(struct doctor *doctor)
{
    each_filter(doctor, look_for_loop);
}

static void
look_at_transport(struct doctor *doctor, const struct config *view, const struct config_service *service,
                  const char *filter)
{
    struct bytes name = transport_of(filter);

    (void)service;
    if (find_service(doctor, name) == NULL) {
        char *where = doctor_where(view, P_content_filter, NULL);

        doctor_tell(doctor, where,
                    "content_filter = %s: master.cf has no service \"%.*s\": all mail waits in the queue",
                    filter, BYTES_FMT(name));
        free(where);
    }
}

static bool
look_at_route(void *context, struct bytes key, struct bytes value, int line)
{
    struct doctor *doctor = context;
    ptrdiff_t colon = bytes_index(value, ':');

    if (colon > 0 && find_service(doctor, bytes_sub(value, 0, (size_t)colon)) == NULL) {
        /* the table being walked is the one that has this key in this line */
        for (size_t i = 0; i < doctor->table_count; i++) {
            const struct doctor_table *table = &doctor->tables[i];

            if (table->param == P_transport_maps && doctor_find_key(table->path, key, NULL) == line) {
                char *where = doctor_where_line(table->path, line);

                doctor_tell(doctor, where,
                            "master.cf has no service \"%.*s\": mail for %.*s waits in the queue", (int)colon,
                            (const char *)value.p, BYTES_FMT(key));
                free(where);
            }
        }
    }
    return true;
}

static void
find_missing_transports(struct doctor *doctor)
{
    each_filter(doctor, look_at_transport);
    for (size_t i = 0; i < doctor->table_count; i++) {
        if (doctor->tables[i].param == P_transport_maps && doctor_is_keyed(&doctor->tables[i])) {
            doctor_entries(doctor->tables[i].path, look_at_route, doctor);
        }
    }
}

/* --- null-sender: D15 --- */

static bool
is_filter(const struct doctor *doctor, const struct config_service *service)
{
    for (size_t i = 0; i < config_service_count(doctor->config); i++) {
        if (bytes_equal(transport_of(filter_of(config_view(doctor->config, i))), bytes_str(service->name))) {
            return true;
        }
    }
    return false;
}

static void
find_null_senders(struct doctor *doctor)
{
    for (size_t i = 0; i < config_service_count(doctor->config); i++) {
        const struct config_service *service = config_service(doctor->config, i);

        if (strcmp(base_name(service->program), "pipe") != 0 ||
            find_argument(service, "null_sender") != NULL ||
            (!mentions(service, "${sender}") && !mentions(service, "$sender"))) {
            continue;
        }
        bool filter = is_filter(doctor, service);
        char *where = doctor_where_service(doctor, service);
        doctor->severity = filter ? DOCTOR_WARNING : DOCTOR_NOTE;
        doctor_tell(
            doctor, where, "service %s: a bounce, whose sender is <>, reaches the command as MAILER-DAEMON%s",
            service->name,
            filter ? ", and what the filter puts back with that sender can be bounced again; what it refuses "
                     "(exit 69) is returned to senders that are forged"
                   : "");
        free(where);
    }
}

/* --- shared-directory: FIL7 --- */

static size_t
read_script(const char *path, char text[SCRIPT_MAX])
{
    FILE *file = fopen(path, "re");
    size_t n = 0;

    if (file != NULL) {
        n = fread(text, 1, SCRIPT_MAX - 1, file);
        (void)fclose(file);
    }
    text[n] = '\0';
    return n >= 2 && text[0] == '#' && text[1] == '!' ? n : 0;
}

/* A line that removes something whose name is the same in every run. */
static int
find_shared_removal(char *text)
{
    int number = 0;
    char *rest = text, *line;

    while ((line = strsep(&rest, "\n")) != NULL) {
        number++;
        const char *removal = line[0] == '#' ? NULL : strstr(line, "rm -");
        if (removal == NULL) {
            continue;
        }
        char *word = strchr(removal + 4, ' ');
        while (word != NULL && *word != '\0') {
            size_t n;

            word += strspn(word, " ");
            n = strcspn(word, " \";'&|");
            bool own = memmem(word, n, "$$", 2) != NULL || memmem(word, n, "mktemp", 6) != NULL;
            if (n > 0 && !own && memmem(word, n, "tmp", 3) != NULL) {
                return number;
            }
            if (n == 0 || word[n] != ' ') {
                break;
            }
            word += n;
        }
    }
    return 0;
}

static void
look_at_script(struct doctor *doctor, const struct config_service *service)
{
    const char *argv = find_argument(service, "argv");
    char *text = argv != NULL && argv[0] == '/' && service->max_processes != 1 ? malloc(SCRIPT_MAX) : NULL;

    if (text != NULL && read_script(argv, text) > 0) {
        int line = find_shared_removal(text);

        if (line > 0) {
            char *where = doctor_where_line(argv, line);

            doctor_tell(
                doctor, where,
                "several runs of service %s share one temporary name, and each removes it under the others: "
                "a message may pass with its parts unseen",
                service->name);
            free(where);
        }
    }
    free(text);
}

static void
find_shared_directories(struct doctor *doctor)
{
    for (size_t i = 0; i < config_service_count(doctor->config); i++) {
        const struct config_service *service = config_service(doctor->config, i);
        const char *program = base_name(service->program);

        if (strcmp(program, "pipe") == 0 || strcmp(program, "spawn") == 0) {
            look_at_script(doctor, service);
        }
    }
}

const struct doctor_rule DOCTOR_MASTER[] = {
    {"filter-loop", DOCTOR_ERROR, "FIL9", "Filtered mail is filtered again", find_loops,
     "put -o content_filter= on the smtpd row, or the pickup row, by which the filter returns mail", false},
    {"missing-transport", DOCTOR_ERROR, "", "A transport that master.cf does not have",
     find_missing_transports, "add the row to master.cf, or correct the name before the colon", false},
    {"null-sender", DOCTOR_WARNING, "D15 FIL6", "Bounces reach a command with a made-up sender",
     find_null_senders,
     "add null_sender= to the row; a filter before 250 (content_filter = scan:) refuses instead of returning "
     "mail",
     false},
    {"shared-directory", DOCTOR_WARNING, "FIL7", "Runs of a filter script share a temporary name",
     find_shared_directories, "name temporary files with $$ or mktemp, or write 1 in the column maxproc",
     false},
    {NULL, DOCTOR_NOTE, NULL, NULL, NULL, NULL, false},
};

/*
 * estafeta - the one program: which command or which role this process is.
 *
 * Called as postconf, postmap, mailq ... (links in bin/) it is that command; as `estafeta WORD` or `postfix
 * WORD` the command of that name; master calls it with --role=NAME. A command is a row in COMMANDS, a role a
 * row in ROLES.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/role.h"
#include "config/config.h"
#include "config/pid_file.h"
#include "ctl/ctl_check.h"
#include "ctl/ctl_control.h"
#include "ctl/ctl_manual.h"
#include "ctl/ctl_import.h"
#include "ctl/ctl_postconf.h"
#include "ctl/ctl_postlog.h"
#include "ctl/ctl_postmap.h"
#include "ctl/ctl_quarantine.h"
#include "ctl/ctl_queue.h"
#include "ctl/ctl_route.h"
#include "ctl/ctl_why.h"
#include "deliver/deliver_service.h"
#include "deliver/deliver_transport.h"
#include "master/master.h"
#include "master/master_listen.h"
#include "master/master_tree.h"
#include "policy/service.h"
#include "queue/queue_service.h"
#include "receive/receive_service.h"
#include "relay/relay_service.h"
#include "resolver/resolver_service.h"
#include "scanners/scanner.h"
#include "screen/screen_service.h"
#include "screen/screen_settings.h"

typedef int command_main(int argc, char **argv);

enum { STATUS_USAGE = 64, ARGUMENTS_MAX = 1024 };

static command_main start, check, reload, flush, print_version;

static const struct {
    enum role role;
    command_main *run;
} ROLES[] = {
    {ROLE_SCREEN, screen_main},   {ROLE_RECEIVE, receive_main},   {ROLE_SCAN, scan_main},
    {ROLE_POLICY, policy_main},   {ROLE_QUEUE, queue_main},       {ROLE_RELAY, relay_main},
    {ROLE_DELIVER, deliver_main}, {ROLE_RESOLVER, resolver_main}, {ROLE_NONE, NULL},
};

static const struct {
    const char *word;
    command_main *run;
} COMMANDS[] = {
    {"start", start},
    {"start-fg", start},
    {"stop", ctl_control},
    {"abort", ctl_control},
    {"reload", reload},
    {"check", check},
    {"import", ctl_import},
    {"status", ctl_control},
    {"logrotate", ctl_control},
    {"set-permissions", master_set_permissions},
    {"version", print_version},
    {"postlog", ctl_postlog},
    {"postconf", ctl_postconf},
    {"postmap", ctl_postmap},
    {"postalias", ctl_postmap},
    {"newaliases", ctl_postmap},
    {"flush", flush},
    {"mailq", ctl_mailq},
    {"postqueue", ctl_postqueue},
    {"postsuper", ctl_postsuper},
    {"postcat", ctl_postcat},
    {"sendmail", ctl_sendmail},
    {"why", ctl_why},
    {"route", ctl_route},
    {"manual", ctl_manual},
    {"quarantine", ctl_quarantine},
};

static void
blame_row(const struct config *config, size_t index, size_t from, struct buf *why)
{
    const struct config_service *row = config_service(config, index);
    char *said = bytes_dup_str(bytes_sub(bytes_buf(why), from, why->n));
    bool located = said != NULL && strstr(said, ".cf:") != NULL;

    buf_truncate(why, from);
    if (!located) {
        (void)buf_printf(why, "%s/master.cf:%d: service %s: ", config_directory(config), row->line,
                         row->name);
    }
    (void)buf_printf(why, "%s\n", said != NULL && said[0] != '\0' ? said : "its settings cannot be used");
    free(said);
}

/* "name: text" gets the place of the setting before it; what names a file has its place. */
static void
blame_setting(const struct config *config, size_t from, struct buf *why)
{
    char *said = bytes_dup_str(bytes_trim(bytes_sub(bytes_buf(why), from, why->n)));
    size_t n = said != NULL ? strcspn(said, ":") : 0;
    int param = -1;

    buf_truncate(why, from);
    if (said != NULL && said[n] == ':') {
        said[n] = '\0';
        param = param_by_name(said);
        said[n] = ':';
    }
    if (param >= 0) {
        config_locate(config, (enum param)param, why);
        (void)buf_append_str(why, ": ");
    }
    (void)buf_printf(why, "%s\n", said != NULL ? said : "out of memory");
    free(said);
}

/* Opens what the role of one row would open. */
static int
check_row(const struct config *config, size_t index, struct buf *why)
{
    const char *program = config_service(config, index)->program;
    struct screen_settings *screen = NULL;
    struct deliver_transport *transport = NULL;
    size_t from = why->n;
    int r = 0;

    if (strcmp(program, "postscreen") == 0) {
        r = screen_settings_new(config, index, &screen, why);
        screen_settings_free(&screen);
    } else if (deliver_transport_agent(program) != NULL) {
        r = deliver_transport_new(config, index, &transport, why);
        deliver_transport_free(&transport);
    }
    if (r != 0) {
        blame_row(config, index, from, why);
    }
    return r;
}

/* What parses may still not open: ports, tables, restrictions, lists, scan rules, certificates. */
static int
check_services(const struct config *config, struct buf *why)
{
    struct master_listeners *plan = calloc(1, sizeof(*plan));
    struct pipeline *pipeline = NULL;
    int worst = plan == NULL ? GW_ERR_NOMEM : master_listen_plan(config, plan, why), r;

    free(plan);
    r = master_tree_check(config, why);
    worst = r != 0 ? r : worst;
    r = receive_check(config, why);
    worst = r != 0 ? r : worst;
    for (size_t i = 0; i < config_service_count(config); i++) {
        r = check_row(config, i, why);
        worst = r != 0 ? r : worst;
    }
    if (scan_need(config) != SCAN_NEED_NONE) {
        size_t from = why->n;

        r = pipeline_load(config, &pipeline, why);
        if (r != 0) {
            blame_setting(config, from, why);
            worst = r;
        }
        pipeline_free(&pipeline);
    }
    return worst;
}

static int
check(int argc, char **argv)
{
    return ctl_check(argc, argv, check_services);
}

/* The options are left for the command itself. */
static int
check_beforehand(int argc, char **argv)
{
    char *words[ARGUMENTS_MAX];
    int count = argc;
    const char *directory;

    memcpy(words, argv, sizeof(argv[0]) * (size_t)argc);
    words[argc] = NULL;
    return pid_file_directory(&count, words, &directory) == 0 && count == 1
               ? ctl_check_quietly(directory, check_services)
               : 0; /* the command says how it is used */
}

/* The one who typed reload is told what is wrong; the gateway is not bothered with it. */
static int
reload(int argc, char **argv)
{
    int status = check_beforehand(argc, argv);

    return status != 0 ? status : ctl_control(argc, argv);
}

/* All that is wrong is told at once, before anything is made or bound. */
static int
start(int argc, char **argv)
{
    int status = check_beforehand(argc, argv);
    unsigned built = 0;

    for (size_t i = 0; ROLES[i].run != NULL; i++) {
        built |= 1U << ROLES[i].role;
    }
    return status != 0 ? status : master_start(argc, argv, built);
}

static int
print_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    (void)puts("estafeta " ESTAFETA_VERSION);
    return 0;
}

/* `estafeta flush` is postqueue -f. */
static int
flush(int argc, char **argv)
{
    static char name[] = "postqueue", option[] = "-f";
    char *words[ARGUMENTS_MAX] = {name};
    int count = 1;

    for (int i = 1; i < argc && count + 2 < ARGUMENTS_MAX; i++) {
        words[count++] = argv[i];
    }
    words[count++] = option;
    return ctl_postqueue(count, words);
}

static command_main *
find_command(const char *word)
{
    for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(COMMANDS[0]); i++) {
        if (strcmp(word, COMMANDS[i].word) == 0) {
            return COMMANDS[i].run;
        }
    }
    return NULL;
}

static int
run_role(int argc, char **argv)
{
    enum role role = role_by_name(argv[1] + strlen("--role="));

    for (size_t i = 0; ROLES[i].run != NULL; i++) {
        if (ROLES[i].role == role && role != ROLE_NONE) {
            return ROLES[i].run(argc, argv);
        }
    }
    (void)fprintf(stderr, "estafeta: fatal: no such role: %s\n", argv[1]);
    return STATUS_USAGE;
}

static int
print_usage(void)
{
    (void)fputs("estafeta: fatal: usage: estafeta COMMAND [-c DIR] [arguments]; the commands:\n", stderr);
    for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(COMMANDS[0]); i++) {
        (void)fprintf(stderr, "    %s\n", COMMANDS[i].word);
    }
    return STATUS_USAGE;
}

int
main(int argc, char **argv)
{
    char *words[ARGUMENTS_MAX];
    int first = 1, count = 0;

    if (argc < 1 || argc >= ARGUMENTS_MAX) {
        return print_usage();
    }
    if (argc >= 2 && strncmp(argv[1], "--role=", 7) == 0) {
        return run_role(argc, argv);
    }
    const char *slash = strrchr(argv[0], '/');
    command_main *run = find_command(slash != NULL ? slash + 1 : argv[0]);
    if (run != NULL) {
        return run(argc, argv);
    }
    /* `postfix -c DIR start` and `estafeta start -c DIR` are the same. */
    while (first < argc && argv[first][0] == '-') {
        first += strcmp(argv[first], "-c") == 0 ? 2 : 1;
    }
    if (first >= argc || (run = find_command(argv[first])) == NULL) {
        return print_usage();
    }
    words[count++] = argv[first];
    for (int i = 1; i < argc; i++) {
        if (i != first) {
            words[count++] = argv[i];
        }
    }
    words[count] = NULL;
    return run(count, words);
}

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
#include "base/role.h"
#include "config/config.h"
#include "config/pid_file.h"
#include "ctl/ctl_control.h"
#include "ctl/ctl_postconf.h"
#include "ctl/ctl_postlog.h"
#include "ctl/ctl_postmap.h"
#include "ctl/ctl_quarantine.h"
#include "ctl/ctl_queue.h"
#include "ctl/ctl_route.h"
#include "ctl/ctl_why.h"
#include "deliver/deliver_service.h"
#include "master/master.h"
#include "policy/service.h"
#include "queue/queue_service.h"
#include "receive/receive_service.h"
#include "relay/relay_service.h"
#include "resolver/resolver_service.h"
#include "scanners/scanner.h"
#include "screen/screen_service.h"

typedef int command_main(int argc, char **argv);

enum { STATUS_USAGE = 64, STATUS_CONFIG = 78, ARGUMENTS_MAX = 1024, WHY_MAX = 65536 };

static command_main start, check, flush, print_version;

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
    {"reload", ctl_control},
    {"check", check},
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
    {"quarantine", ctl_quarantine},
};

static int
start(int argc, char **argv)
{
    unsigned built = 0;

    for (size_t i = 0; ROLES[i].run != NULL; i++) {
        built |= 1U << ROLES[i].role;
    }
    return master_start(argc, argv, built);
}

/* What parses may still not open: tables, restrictions, lists, certificates. The directory is what -c said.
 */
static int
check_services(const char *directory)
{
    int status = 0;
    struct config *config = NULL;
    struct buf why, what;

    buf_init(&why, WHY_MAX);
    buf_init(&what, WHY_MAX);
    if (config_load(directory, &config, &why) != 0 || receive_check(config, &what) != 0) {
        struct bytes rest = bytes_buf(&what), line;

        while (bytes_next_line(&rest, &line)) {
            (void)fprintf(stderr, "estafeta: fatal: %.*s\n", BYTES_FMT(line));
        }
        status = STATUS_CONFIG;
    }
    config_free(&config);
    buf_free(&why);
    buf_free(&what);
    return status;
}

static int
check(int argc, char **argv)
{
    char *words[ARGUMENTS_MAX];
    int count = argc, status;
    const char *directory;

    memcpy(words, argv, sizeof(argv[0]) * (size_t)argc); /* ctl_control() takes the options off */
    words[argc] = NULL;
    if ((status = ctl_control(argc, argv)) != 0 || pid_file_directory(&count, words, &directory) != 0) {
        return status;
    }
    return check_services(directory);
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

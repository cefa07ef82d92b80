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
#include "ctl/ctl_postlog.h"
#include "master/master.h"

/* Rows of folders under construction are left out until their files are there. */
#if __has_include("screen/screen_service.c")
#include "screen/screen_service.h"
#define HAS_SCREEN
#endif
#if __has_include("receive/receive_service.c")
#include "receive/receive_service.h"
#define HAS_RECEIVE
#endif
#if __has_include("scanners/scan_service.c")
#include "scanners/scanner.h"
#define HAS_SCAN
#endif
#if __has_include("policy/service.c")
#include "policy/service.h"
#define HAS_POLICY
#endif
#if __has_include("queue/queue_service.c")
#include "queue/queue_service.h"
#define HAS_QUEUE
#endif
#if __has_include("relay/relay_service.c")
#include "relay/relay_service.h"
#define HAS_RELAY
#endif
#if __has_include("deliver/deliver_service.c")
#include "deliver/deliver_service.h"
#define HAS_DELIVER
#endif
#if __has_include("resolver/resolver_service.c")
#include "resolver/resolver_service.h"
#define HAS_RESOLVER
#endif
#if __has_include("ctl/ctl_postconf.c")
#include "ctl/ctl_postconf.h"
#define HAS_POSTCONF
#endif
#if __has_include("ctl/ctl_postmap.c")
#include "ctl/ctl_postmap.h"
#define HAS_POSTMAP
#endif
#if __has_include("ctl/ctl_queue.c")
#include "ctl/ctl_queue.h"
#define HAS_CTL_QUEUE
#endif
#if __has_include("ctl/ctl_why.c")
#include "ctl/ctl_why.h"
#define HAS_WHY
#endif
#if __has_include("ctl/ctl_quarantine.c")
#include "ctl/ctl_quarantine.h"
#define HAS_QUARANTINE
#endif

typedef int command_main(int argc, char **argv);

enum { STATUS_USAGE = 64, STATUS_CONFIG = 78, ARGUMENTS_MAX = 1024, WHY_MAX = 65536 };

static command_main start, check, print_version;
#ifdef HAS_CTL_QUEUE
static command_main flush;
#endif

static const struct {
    enum role role;
    command_main *run;
} ROLES[] = {
#ifdef HAS_SCREEN
    {ROLE_SCREEN, screen_main},
#endif
#ifdef HAS_RECEIVE
    {ROLE_RECEIVE, receive_main},
#endif
#ifdef HAS_SCAN
    {ROLE_SCAN, scan_main},
#endif
#ifdef HAS_POLICY
    {ROLE_POLICY, policy_main},
#endif
#ifdef HAS_QUEUE
    {ROLE_QUEUE, queue_main},
#endif
#ifdef HAS_RELAY
    {ROLE_RELAY, relay_main},
#endif
#ifdef HAS_DELIVER
    {ROLE_DELIVER, deliver_main},
#endif
#ifdef HAS_RESOLVER
    {ROLE_RESOLVER, resolver_main},
#endif
    {ROLE_NONE, NULL},
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
    {"version", print_version},
    {"postlog", ctl_postlog},
#ifdef HAS_POSTCONF
    {"postconf", ctl_postconf},
#endif
#ifdef HAS_POSTMAP
    {"postmap", ctl_postmap},
    {"postalias", ctl_postmap},
    {"newaliases", ctl_postmap},
#endif
#ifdef HAS_CTL_QUEUE
    {"flush", flush},
    {"mailq", ctl_mailq},
    {"postqueue", ctl_postqueue},
    {"postsuper", ctl_postsuper},
    {"postcat", ctl_postcat},
    {"sendmail", ctl_sendmail},
#endif
#ifdef HAS_WHY
    {"why", ctl_why},
#endif
#ifdef HAS_QUARANTINE
    {"quarantine", ctl_quarantine},
#endif
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
#ifdef HAS_RECEIVE
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
#else
    (void)directory;
#endif
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

#ifdef HAS_CTL_QUEUE
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
#endif

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

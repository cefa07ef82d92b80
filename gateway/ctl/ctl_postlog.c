/*
 * ctl_postlog - see the header. Before: estafeta.c; after: base/log, with the names that main.cf gives.
 *
 * As Postfix's, a line goes to the log and to standard error when that is a terminal. Priorities are info,
 * warn, error, fatal and panic; the last two are words in the line here, they end nothing.
 */
#include "ctl/ctl_postlog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "config/pid_file.h"

enum { STATUS_USAGE = 64, STATUS_OSERR = 71, STATUS_CONFIG = 78, TEXT_MAX = 8192, WHY_MAX = 65536 };

static const struct {
    const char *word;
    enum log_level level;
} PRIORITIES[] = {
    {"info", LOG_LEVEL_INFO},   {"warn", LOG_LEVEL_WARNING}, {"warning", LOG_LEVEL_WARNING},
    {"error", LOG_LEVEL_ERROR}, {"fatal", LOG_LEVEL_FATAL},  {"panic", LOG_LEVEL_PANIC},
};

static int
parse_priority(const char *word, enum log_level *level_r)
{
    for (size_t i = 0; i < sizeof(PRIORITIES) / sizeof(PRIORITIES[0]); i++) {
        if (strcmp(word, PRIORITIES[i].word) == 0) {
            *level_r = PRIORITIES[i].level;
            return 0;
        }
    }
    (void)fprintf(stderr, "postlog: fatal: invalid severity: %s; use info, warn, error, fatal or panic\n",
                  word);
    return STATUS_USAGE;
}

static void
log_words(enum log_level level, const char *tag, char **words)
{
    struct buf text;

    buf_init(&text, TEXT_MAX);
    for (; *words != NULL; words++) {
        if ((text.n > 0 && buf_append_byte(&text, ' ') != 0) || buf_append_str(&text, *words) != 0) {
            break; /* longer than a line of the log may be */
        }
    }
    log_write(level, tag, "%s", buf_str(&text));
    buf_free(&text);
}

static void
log_input(enum log_level level, const char *tag)
{
    char line[TEXT_MAX];

    while (fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        log_write(level, tag, "%s", line);
    }
}

static int
open_log(const char *directory)
{
    struct config *config = NULL;
    struct buf why;
    int status = STATUS_CONFIG;

    buf_init(&why, WHY_MAX);
    if (config_load(directory, &config, &why) != 0) {
        (void)fprintf(stderr, "postlog: fatal: %s", buf_str(&why));
    } else {
        struct log_target target = {.syslog_name = config_str(config, P_syslog_name),
                                    .facility = config_str(config, P_syslog_facility),
                                    .file = config_str(config, P_maillog_file),
                                    .fd = -1,
                                    .also_stderr = isatty(STDERR_FILENO) == 1};

        status = log_open(&target) == 0 ? 0 : STATUS_OSERR;
        if (status != 0) {
            (void)fprintf(stderr, "postlog: fatal: open %s: %m\n", target.file);
        }
    }
    config_free(&config);
    buf_free(&why);
    return status;
}

int
ctl_postlog(int argc, char **argv)
{
    enum log_level level = LOG_LEVEL_INFO;
    const char *directory, *tag = "postlog";
    int option, status = 0;

    if (pid_file_directory(&argc, argv, &directory) != 0) {
        status = STATUS_USAGE;
    }
    while (status == 0 && (option = getopt(argc, argv, "+ip:t:")) != -1) {
        switch (option) {
        case 'i': /* the process id is always there */
            break;
        case 'p':
            status = parse_priority(optarg, &level);
            break;
        case 't':
            tag = strncmp(optarg, "postfix/", 8) == 0 ? optarg + 8 : optarg;
            break;
        default:
            status = STATUS_USAGE;
        }
    }
    if (status != 0) {
        (void)fputs("postlog: fatal: usage: postlog [-i] [-c DIR] [-p priority] [-t tag] [text ...]\n",
                    stderr);
        return status;
    }
    if ((status = open_log(directory)) != 0) {
        return status;
    }
    if (argv[optind] != NULL) {
        log_words(level, tag, argv + optind);
    } else {
        log_input(level, tag);
    }
    return 0;
}

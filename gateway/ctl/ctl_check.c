/*
 * ctl_check - see the header. Before: estafeta.c; after: config_load(), the roles' own openers, and
 * ctl_doctor.c.
 *
 * Mistakes are fatal lines with file and line, and the exit status is 78; warnings are lines too and change
 * nothing. With --doctor both are findings among the others, on standard output.
 */
#include "ctl/ctl_check.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "config/pid_file.h"
#include "ctl/ctl_doctor.h"

enum { STATUS_USAGE = 64, STATUS_CONFIG = 78, WHY_MAX = 262144 };

/* Which word stands before a line: what config_load() calls an error is a row that is left out, the rest
 * runs. */
static const struct {
    const char *mark, *word;
} KINDS[] = {{": warning: ", "warning"}, {": error: ", "error"}};
enum { KIND_COUNT = sizeof(KINDS) / sizeof(KINDS[0]) };

/* Several ports may have the same mistake. */
static bool
is_repeated(struct bytes all, struct bytes line)
{
    struct bytes earlier;

    while (bytes_next_line(&all, &earlier) && earlier.p != line.p) {
        if (bytes_equal(earlier, line)) {
            return true;
        }
    }
    return false;
}

static void
print_lines(struct bytes all, bool survived)
{
    struct bytes lines = all, line;

    while (bytes_next_line(&lines, &line)) {
        size_t kind = 0;

        if (is_repeated(all, line)) {
            continue;
        }

        while (kind < KIND_COUNT && bytes_find(line, bytes_str(KINDS[kind].mark)) < 0) {
            kind++;
        }
        if (line.n > 0 && (survived || kind == KIND_COUNT)) {
            (void)fprintf(stderr, "estafeta: %s: %.*s\n", kind == KIND_COUNT ? "fatal" : KINDS[kind].word,
                          BYTES_FMT(line));
        }
    }
}

static void
complain(const struct config *config, enum param param, const char *what, struct buf *why)
{
    config_locate(config, param, why);
    (void)buf_printf(why, ": %s = %s: %s\n", PARAMS[param].name, config_str(config, param), what);
}

/* A directory of ours: its place, what lies there, who may write. What is not there is made at the start. */
static int
check_directory(const struct config *config, enum param param, struct buf *why)
{
    const char *path = config_str(config, param);
    struct stat status;

    if (path[0] != '/') {
        complain(config, param, "must be an absolute path; write it from /", why);
        return GW_ERR_CONFIG;
    }
    if (stat(path, &status) == -1) {
        return 0;
    }
    if (!S_ISDIR(status.st_mode)) {
        complain(config, param, "is no directory; name another place", why);
        return GW_ERR_CONFIG;
    }
    if ((status.st_mode & S_IWOTH) != 0) {
        complain(config, param, "every user of this machine can write there; chmod o-w", why);
        return GW_ERR_CONFIG;
    }
    if (geteuid() != 0 && access(path, W_OK) == -1) {
        complain(config, param, strerror(errno), why);
        return GW_ERR_CONFIG;
    }
    return 0;
}

static int
check_places(const struct config *config, struct buf *why)
{
    static const enum param DIRECTORIES[] = {P_queue_directory, P_data_directory};
    int r = 0;

    for (size_t i = 0; i < sizeof(DIRECTORIES) / sizeof(DIRECTORIES[0]); i++) {
        int one = check_directory(config, DIRECTORIES[i], why);

        r = one != 0 ? one : r;
    }
    if (geteuid() == 0 && getpwnam(config_str(config, P_mail_owner)) == NULL) {
        complain(config, P_mail_owner, "there is no such user; create it, or name the one that is there",
                 why);
        r = GW_ERR_CONFIG;
    }
    return r;
}

/* 0 or an error; said_r: the lines of loading, why_r: the mistakes behind it. *config_r is there unless
 * loading failed.
 */
static int
examine(const char *directory, ctl_check_services *services, struct config **config_r, struct buf *said_r,
        struct buf *why_r)
{
    int r = config_load(directory, config_r, said_r);

    if (r == 0) {
        int places = check_places(*config_r, why_r);

        r = services(*config_r, why_r);
        r = r == 0 ? places : r;
    }
    return r;
}

int
ctl_check_quietly(const char *directory, ctl_check_services *services)
{
    struct config *config = NULL;
    struct buf said, why;
    int r;

    buf_init(&said, WHY_MAX);
    buf_init(&why, WHY_MAX);
    r = examine(directory, services, &config, &said, &why);
    if (r != 0) {
        print_lines(bytes_buf(&said), false);
        print_lines(bytes_buf(&why), false);
    }
    config_free(&config);
    buf_free(&said);
    buf_free(&why);
    return r == 0 ? 0 : STATUS_CONFIG;
}

struct options {
    bool doctor, rules;
    struct ctl_doctor_options with;
};

static bool
take_options(int argc, char **argv, struct options *options)
{
    for (int i = 1; i < argc; i++) {
        bool *const flag = strcmp(argv[i], "--doctor") == 0    ? &options->doctor
                           : strcmp(argv[i], "--json") == 0    ? &options->with.json
                           : strcmp(argv[i], "--probe") == 0   ? &options->with.probe
                           : strcmp(argv[i], "--outside") == 0 ? &options->with.outside
                           : strcmp(argv[i], "--rules") == 0   ? &options->rules
                                                               : NULL;
        if (flag == NULL) {
            return false;
        }
        *flag = true;
    }
    return options->doctor || (!options->with.json && !options->with.probe && !options->with.outside);
}

int
ctl_check(int argc, char **argv, ctl_check_services *services)
{
    struct options options = {0};
    struct config *config = NULL;
    struct buf said, why;
    const char *directory;

    if (pid_file_directory(&argc, argv, &directory) != 0 || !take_options(argc, argv, &options)) {
        (void)fprintf(stderr, "estafeta: fatal: usage: estafeta check [-c DIR] [--doctor [--json] [--probe] "
                              "[--outside]] [--rules]\n");
        return STATUS_USAGE;
    }
    if (options.rules) {
        ctl_doctor_list();
        return 0;
    }
    buf_init(&said, WHY_MAX);
    buf_init(&why, WHY_MAX);
    int status = examine(directory, services, &config, &said, &why) == 0 ? 0 : STATUS_CONFIG;
    if (options.doctor) {
        int found = ctl_doctor(directory, config, bytes_buf(&said), bytes_buf(&why), &options.with);

        status = status != 0 ? status : found;
    } else {
        print_lines(bytes_buf(&said), true);
        print_lines(bytes_buf(&why), true);
        if (bytes_find(bytes_buf(&said), BYTES_LIT(": missing '='")) >= 0) {
            (void)fprintf(stderr, "estafeta: for lines that a document broke: estafeta import --repair %s\n",
                          directory);
        }
    }
    config_free(&config);
    buf_free(&said);
    buf_free(&why);
    return status;
}

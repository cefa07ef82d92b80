/*
 * master_cf_check - the rows of master.cf against what this program has: unknown programs, doubled rows,
 * columns that a program cannot have.
 *
 * Before: config_load() has both files; after: roles look for the rows they serve. A row whose program is
 * unknown is told with its line and left out, so that a damaged line does not end the others; nothing here
 * makes loading fail.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "config/config_internal.h"

enum { NEAR_MAX = 2, PROGRAM_MAX = 64 };

enum { SINGLE = 1, ROOT = 2, WORDS = 4 }; /* one process; needs root and no chroot; arguments of its own */

/* Every daemon of Postfix 3.7 and our own, whether its work is done by one of its name or by another role. */
static const struct {
    const char *name;
    unsigned flags;
    const char *now; /* the name it has had since */
} PROGRAMS[] = {
    {"anvil", SINGLE, NULL},
    {"bounce", 0, NULL},
    {"cleanup", 0, NULL},
    {"discard", 0, NULL},
    {"dnsblog", 0, NULL},
    {"error", 0, NULL},
    {"flush", 0, NULL},
    {"greylist", 0, NULL}, /* ours: what postgrey does */
    {"lmtp", 0, NULL},
    {"local", ROOT, NULL},
    {"nqmgr", SINGLE, "qmgr"},
    {"oqmgr", SINGLE, "qmgr"},
    {"pickup", SINGLE, NULL},
    {"pipe", ROOT | WORDS, NULL},
    {"postlogd", SINGLE, NULL},
    {"postscreen", SINGLE, NULL},
    {"proxymap", 0, NULL},
    {"qmgr", SINGLE, NULL},
    {"qmqpd", 0, NULL},
    {"scache", SINGLE, NULL},
    {"showq", 0, NULL},
    {"smtp", 0, NULL},
    {"smtpd", 0, NULL},
    {"spawn", ROOT | WORDS, NULL},
    {"tlsmgr", SINGLE, NULL},
    {"tlsproxy", 0, NULL},
    {"trivial-rewrite", 0, NULL},
    {"verify", SINGLE, NULL},
    {"virtual", ROOT, NULL},
};
enum { PROGRAM_COUNT = sizeof(PROGRAMS) / sizeof(PROGRAMS[0]) };

static ptrdiff_t
find_program(const char *name)
{
    for (size_t i = 0; i < PROGRAM_COUNT; i++) {
        if (strcmp(name, PROGRAMS[i].name) == 0) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

/* Levenshtein's distance of short names. */
static size_t
distance(const char *a, const char *b)
{
    size_t row[PROGRAM_MAX + 1], n = strlen(b);

    if (n > PROGRAM_MAX || strlen(a) > PROGRAM_MAX) {
        return PROGRAM_MAX;
    }
    for (size_t j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            size_t best = row[j] < row[j - 1] ? row[j] : row[j - 1];

            diagonal = row[j];
            row[j] = change < best + 1 ? change : best + 1;
        }
    }
    return row[n];
}

static const char *
find_near(const char *name)
{
    const char *near = NULL;
    size_t best = NEAR_MAX + 1;

    for (size_t i = 0; i < PROGRAM_COUNT; i++) {
        size_t d = distance(name, PROGRAMS[i].name);

        if (d < best) {
            best = d;
            near = PROGRAMS[i].name;
        }
    }
    return near;
}

static void
say(struct buf *why, const char *path, const struct config_service *row, const char *kind, const char *what)
{
    (void)buf_printf(why, "%s:%d: %s: service %s: %s\n", path, row->line, kind, row->name, what);
}

/* False: the row is to be left out. */
static bool
check_program(struct config_service *row, const char *path, struct buf *why)
{
    const char *slash = strrchr(row->program, '/');
    ptrdiff_t index = find_program(slash != NULL ? slash + 1 : row->program);
    char text[256];

    if (index < 0) {
        const char *near = find_near(row->program);

        (void)snprintf(text, sizeof(text), "unknown program \"%.60s\"%s%s%s; the row is left out",
                       row->program, near != NULL ? "; did you mean " : "", near != NULL ? near : "",
                       near != NULL ? "?" : "");
        say(why, path, row, "error", text);
        return false;
    }
    if (slash != NULL) { /* daemon_directory may be anything: the programs are built in */
        memmove(row->program, slash + 1, strlen(slash + 1) + 1);
    }
    if (PROGRAMS[index].now != NULL) {
        (void)snprintf(text, sizeof(text), "program %s is called %s now", row->program, PROGRAMS[index].now);
        say(why, path, row, "warning", text);
    }
    if ((PROGRAMS[index].flags & SINGLE) != 0 && row->max_processes != 1) {
        if (row->max_processes != -1) {
            (void)snprintf(text, sizeof(text),
                           "program %s must be a single process: maxproc %d is taken for 1", row->program,
                           row->max_processes);
            say(why, path, row, "warning", text);
        }
        row->max_processes = 1;
    }
    if ((PROGRAMS[index].flags & ROOT) != 0 && row->chroot && !row->chroot_is_default) {
        (void)snprintf(text, sizeof(text),
                       "program %s cannot run chrooted: the column is not followed; write n", row->program);
        say(why, path, row, "warning", text);
    }
    if ((PROGRAMS[index].flags & ROOT) != 0 && row->unprivileged && strcmp(row->program, "spawn") != 0) {
        (void)snprintf(
            text, sizeof(text),
            "program %s acts as the recipient or as user=: the unprivileged column is not followed; "
            "write n",
            row->program);
        say(why, path, row, "warning", text);
    }
    for (size_t i = 0; (PROGRAMS[index].flags & WORDS) == 0 && row->arguments[i] != NULL; i++) {
        if (row->arguments[i][0] != '-') {
            (void)snprintf(text, sizeof(text), "unexpected command-line argument \"%.60s\"; it is not used",
                           row->arguments[i]);
            say(why, path, row, "warning", text);
        }
    }
    return true;
}

/* The last row of a name and type counts, as in Postfix. */
static bool
is_repeated_later(const struct config *config, size_t index, const char *path, struct buf *why)
{
    const struct config_service *row = &config->services[index];

    for (size_t i = index + 1; i < config->service_count; i++) {
        const struct config_service *later = &config->services[i];

        if (strcmp(row->name, later->name) == 0 && strcmp(row->type, later->type) == 0) {
            (void)buf_printf(why,
                             "%s:%d: warning: service %s/%s: row at line %d again; the later one counts\n",
                             path, row->line, row->name, row->type, later->line);
            return true;
        }
    }
    return false;
}

void
config_check_master(struct config *config, const char *path, struct buf *why)
{
    size_t kept = 0;

    for (size_t i = 0; i < config->service_count; i++) {
        struct config_service row = config->services[i];

        if (is_repeated_later(config, i, path, why) || !check_program(&row, path, why)) {
            config_clear_service(&row);
        } else {
            config->services[kept++] = row;
        }
    }
    config->service_count = kept;
}

void
config_default_chroot(struct config *config, const char *path, struct buf *why)
{
    struct bytes level = bytes_str(config->text[P_compatibility_level]), rest = level, major;
    const char *before = "using backwards-compatible default setting chroot=y: lines";
    uint64_t number = 0;
    bool any = false;

    (void)bytes_next_token(&rest, ".", &major);
    if (bytes_to_u64(major, &number) != 0 || number >= 1) {
        return;
    }
    for (size_t i = 0; i < config->service_count; i++) {
        struct config_service *row = &config->services[i];

        if (row->chroot_is_default) {
            row->chroot = true;
            (void)(any ? buf_printf(why, " %d", row->line)
                       : buf_printf(why, "%s: warning: %s %d", path, before, row->line));
            any = true;
        }
    }
    if (any) {
        (void)buf_append_byte(why, '\n');
    }
}

/*
 * body_checks - body_checks line by line over the parts' bodies (header_checks(5), body_checks_size_limit).
 *
 * Before: pipeline.c. Part headers are not body, since Postfix 2.0; rule files of older guides look for
 * "filename=" there all the same. body_checks_mime_headers = auto applies the tables to part headers when a
 * rule file has such a pattern.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "message/mime_walk.h"
#include "scanners/content_checks.h"

enum { RULE_FILE_MAX = 1024 * 1024, PATH_MAX_BYTES = 4096 };

extern const struct scanner SCANNER_BODY_ROW;

struct body_checks {
    struct table_list *tables;
    bool part_headers;
    int64_t size_limit, nesting_limit, line_limit;
};

/* Does a rule file look for names of attachments? */
static bool
file_has_name_pattern(const struct config *config, struct bytes name)
{
    char path[PATH_MAX_BYTES];
    char *text = malloc(RULE_FILE_MAX + 1);
    bool found = false;
    int fd = -1;

    if (text != NULL) {
        (void)snprintf(path, sizeof(path), "%s%s%.*s",
                       name.n > 0 && name.p[0] == '/' ? "" : config_directory(config),
                       name.n > 0 && name.p[0] == '/' ? "" : "/", BYTES_FMT(name));
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd != -1) {
        ssize_t n = read(fd, text, RULE_FILE_MAX);

        text[n > 0 ? n : 0] = '\0';
        found = strcasestr(text, "name=") != NULL || strcasestr(text, "name)=") != NULL ||
                strcasestr(text, "name\\=") != NULL || strcasestr(text, "name)\\=") != NULL;
        (void)close(fd);
    }
    free(text);
    return found;
}

static bool
wants_part_headers(const struct config *config)
{
    const char *mode = config_str(config, P_body_checks_mime_headers);
    struct bytes rest = bytes_str(config_str(config, P_body_checks)), spec;
    bool wanted = strcmp(mode, "yes") == 0;

    while (!wanted && strcmp(mode, "auto") == 0 && bytes_next_token(&rest, ", \t", &spec)) {
        ptrdiff_t colon = bytes_index(spec, ':');

        wanted = colon > 0 && file_has_name_pattern(config, bytes_sub(spec, (size_t)colon + 1, spec.n));
    }
    return wanted;
}

static void
unload(void **shared)
{
    struct body_checks *checks = *shared;

    if (checks != NULL) {
        table_list_free(&checks->tables);
        free(checks);
        *shared = NULL;
    }
}

static int
load(const struct config *config, void **shared_r, struct buf *error_r)
{
    struct body_checks *checks = calloc(1, sizeof(*checks));

    *shared_r = NULL;
    if (checks == NULL) {
        return GW_ERR_NOMEM;
    }
    checks->size_limit = config_int(config, P_body_checks_size_limit);
    checks->nesting_limit = config_int(config, P_mime_nesting_limit);
    checks->line_limit = config_int(config, P_line_length_limit);
    checks->part_headers = wants_part_headers(config);
    int r = table_list_open(config, config_str(config, P_body_checks), 0, &checks->tables, error_r);
    if (r != 0) {
        free(checks);
        return r;
    }
    *shared_r = checks;
    return 0;
}

struct visit {
    const struct body_checks *checks;
    const struct scan_input *input;
    struct scan_report *report;
};

/* Over-long lines are looked at in pieces of line_length_limit, as Postfix stores them. Empty lines are not
 * looked up. */
static int
check_lines(struct visit *visit, struct bytes text)
{
    struct bytes rest = bytes_sub(text, 0, (size_t)visit->checks->size_limit), line;
    int r = 0;

    while (r == 0 && bytes_next_line(&rest, &line)) {
        while (r == 0 && line.n > 0) {
            struct bytes piece = bytes_sub(line, 0, (size_t)visit->checks->line_limit);

            r = content_checks_line(visit->input, visit->checks->tables, SCANNER_BODY_REGEXP, "body", piece,
                                    visit->report);
            line = bytes_sub(line, piece.n, line.n);
        }
    }
    return r;
}

static int
visit_part(void *context, const struct mime_part *part)
{
    struct visit *visit = context;
    int r = visit->checks->part_headers && part->depth > 0 ? check_lines(visit, part->header) : 0;

    return r == 0 && !part->is_multipart ? check_lines(visit, part->body) : r;
}

static int
scan(void *shared, void *thread, const struct scan_input *input, struct scan_report *report)
{
    struct visit visit = {.checks = shared, .input = input, .report = report};
    size_t before = report->count;
    int r = 0;

    (void)thread;
    if (!table_list_is_empty(visit.checks->tables)) {
        r = mime_walk(input->content, (unsigned)visit.checks->nesting_limit, visit_part, &visit);
    }
    if (r < 0 && r != GW_ERR_LIMIT) {
        return r;
    }
    content_checks_finish(report, before, SCANNER_BODY_REGEXP);
    return 0;
}

const struct scanner SCANNER_BODY_ROW = {
    .id = SCANNER_BODY_REGEXP, .name = "body", .load = load, .unload = unload, .scan = scan};

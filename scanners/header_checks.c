/*
 * header_checks - header_checks, mime_header_checks and nested_header_checks (header_checks(5)).
 *
 * Before: pipeline.c. Each logical header is one lookup, with its folding as line breaks, as in Postfix: the
 * message's own header through header_checks, fields of MIME anywhere and all fields of parts through
 * mime_header_checks, the other fields of attached messages through nested_header_checks. REPLACE, IGNORE and
 * STRIP would change what was signed: they are not applied.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "message/mime_walk.h"
#include "scanners/content_checks.h"

extern const struct scanner SCANNER_HEADER_ROW;

struct header_checks {
    struct table_list *header, *mime, *nested;
    int64_t size_limit, nesting_limit;
};

static void
unload(void **shared)
{
    struct header_checks *checks = *shared;

    if (checks != NULL) {
        table_list_free(&checks->header);
        table_list_free(&checks->mime);
        table_list_free(&checks->nested);
        free(checks);
        *shared = NULL;
    }
}

static int
load(const struct config *config, void **shared_r, struct buf *error_r)
{
    struct header_checks *checks = calloc(1, sizeof(*checks));
    void *shared = checks;
    int r = GW_ERR_NOMEM;

    *shared_r = NULL;
    if (checks == NULL) {
        return r;
    }
    checks->size_limit = config_int(config, P_header_size_limit);
    checks->nesting_limit = config_int(config, P_mime_nesting_limit);
    if ((r = table_list_open(config, config_str(config, P_header_checks), 0, &checks->header, error_r)) ==
            0 &&
        (r = table_list_open(config, config_str(config, P_mime_header_checks), 0, &checks->mime, error_r)) ==
            0) {
        r = table_list_open(config, config_str(config, P_nested_header_checks), 0, &checks->nested, error_r);
    }
    if (r == 0) {
        *shared_r = shared;
        shared = NULL; /* transferred */
    }
    unload(&shared);
    return r;
}

struct visit {
    const struct header_checks *checks;
    const struct scan_input *input;
    struct scan_report *report;
    struct buf text;
};

static bool
is_mime_field(struct bytes name)
{
    static const char *const NAMES[] = {"Content-Description", "Content-Disposition",       "Content-ID",
                                        "Content-Type",        "Content-Transfer-Encoding", "MIME-Version"};

    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        if (bytes_equal_nocase(name, bytes_str(NAMES[i]))) {
            return true;
        }
    }
    return false;
}

static struct table_list *
choose_tables(const struct header_checks *checks, const struct mime_part *part, struct bytes name)
{
    if (is_mime_field(name)) {
        return checks->mime;
    }
    return part->nested_message ? checks->nested : part->depth > 0 ? checks->mime : checks->header;
}

/* The field as the tables see it: line ends inside are LF. */
static struct bytes
as_text(struct visit *visit, struct bytes field)
{
    if (bytes_index(field, '\r') < 0) {
        return field;
    }
    buf_clear(&visit->text);
    for (size_t i = 0; i < field.n; i++) {
        if (field.p[i] != '\r' || i + 1 >= field.n || field.p[i + 1] != '\n') {
            (void)buf_append_byte(&visit->text, field.p[i]);
        }
    }
    return bytes_buf(&visit->text);
}

static int
visit_part(void *context, const struct mime_part *part)
{
    struct visit *visit = context;
    struct bytes rest = part->header, field, name, value;
    int r = 0;

    while (r == 0 && mime_next_field(&rest, &field, &name, &value)) {
        struct table_list *tables = choose_tables(visit->checks, part, name);

        if (!table_list_is_empty(tables)) {
            struct bytes text = as_text(visit, bytes_sub(field, 0, (size_t)visit->checks->size_limit));

            r = content_checks_line(visit->input, tables, SCANNER_HEADER_REGEXP, "header", text,
                                    visit->report);
        }
    }
    return r;
}

static int
scan(void *shared, void *thread, const struct scan_input *input, struct scan_report *report)
{
    struct visit visit = {.checks = shared, .input = input, .report = report};
    size_t before = report->count;
    int r = 0;

    (void)thread;
    if (!table_list_is_empty(visit.checks->header) || !table_list_is_empty(visit.checks->mime) ||
        !table_list_is_empty(visit.checks->nested)) {
        buf_init(&visit.text, (size_t)visit.checks->size_limit + 1);
        r = mime_walk(input->content, (unsigned)visit.checks->nesting_limit, visit_part, &visit);
        buf_free(&visit.text);
    }
    /* Too deeply nested: what is inside is body to Postfix too (mime_nesting_limit). */
    if (r < 0 && r != GW_ERR_LIMIT) {
        return r;
    }
    content_checks_finish(report, before, SCANNER_HEADER_REGEXP);
    return 0;
}

const struct scanner SCANNER_HEADER_ROW = {
    .id = SCANNER_HEADER_REGEXP, .name = "header", .load = load, .unload = unload, .scan = scan};

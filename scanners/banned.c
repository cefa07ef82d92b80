/*
 * banned - names and types of attachments that are not let in (banned_name_checks).
 *
 * Before: pipeline.c; after: banned_action. The tables are asked for every name a mail reader could show for
 * a part, however it is encoded, and for its type as "type/subtype". Any answer but OK and DUNNO bans. Parts
 * nested too deeply to be named cannot be cleared: "could not finish".
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "message/mime_walk.h"
#include "config/table.h"
#include "scanners/scanner.h"

extern const struct scanner SCANNER_BANNED_ROW;

struct banned {
    struct table_list *tables;
    int64_t nesting_limit;
};

static void
unload(void **shared)
{
    struct banned *banned = *shared;

    if (banned != NULL) {
        table_list_free(&banned->tables);
        free(banned);
        *shared = NULL;
    }
}

static int
load(const struct config *config, void **shared_r, struct buf *error_r)
{
    struct banned *banned = calloc(1, sizeof(*banned));

    *shared_r = NULL;
    if (banned == NULL) {
        return GW_ERR_NOMEM;
    }
    banned->nesting_limit = config_int(config, P_mime_nesting_limit);
    int r = table_list_open(config, config_str(config, P_banned_name_checks), TABLE_FOLD, &banned->tables,
                            error_r);
    if (r != 0) {
        free(banned);
        return r;
    }
    *shared_r = banned;
    return 0;
}

struct visit {
    const struct banned *banned;
    const struct scan_input *input;
    struct scan_report *report;
};

/* 1: banned, and in the report. */
static int
check_name(struct visit *visit, struct bytes name)
{
    struct table_hit hit = {0};
    int r;

    buf_init(&hit.value, TABLE_VALUE_MAX);
    r = table_list_find(visit->banned->tables, name, &hit);
    if (r == 0) {
        struct bytes rest = bytes_buf(&hit.value), word = {0};

        (void)bytes_next_token(&rest, " \t", &word);
        if (!bytes_equal_nocase(word, BYTES_LIT("OK")) && !bytes_equal_nocase(word, BYTES_LIT("DUNNO"))) {
            struct scan_result *result = scan_report_add(visit->report, SCANNER_BANNED);
            struct buf printable;

            buf_init(&printable, SCAN_FOUND_MAX);
            (void)buf_append_printable(&printable, name, SCAN_FOUND_MAX - 1, true);
            if (result != NULL) {
                result->status = SCAN_FOUND;
                result->found = arena_dup(visit->input->arena, bytes_buf(&printable));
                result->table = arena_dup(visit->input->arena, bytes_str(hit.table));
                result->line = hit.line;
            }
            buf_free(&printable);
            r = 1;
        }
    }
    buf_free(&hit.value);
    return r == GW_ERR_NOTFOUND ? 0 : r;
}

static int
visit_part(void *context, const struct mime_part *part)
{
    struct visit *visit = context;
    struct bytes names[MIME_NAMES_MAX];
    bool complete;
    size_t count = mime_part_names(visit->input->arena, part, names, &complete);
    int r = part->type.n > 0 ? check_name(visit, part->type) : 0;

    for (size_t i = 0; i < count && r == 0; i++) {
        r = check_name(visit, names[i]);
    }
    return r == 0 && !complete ? GW_ERR_LIMIT : r;
}

static int
scan(void *shared, void *thread, const struct scan_input *input, struct scan_report *report)
{
    struct visit visit = {.banned = shared, .input = input, .report = report};
    int r = 0;

    (void)thread;
    if (!table_list_is_empty(visit.banned->tables)) {
        r = mime_walk(input->content, (unsigned)visit.banned->nesting_limit, visit_part, &visit);
    }
    if (r == 1) {
        return 0;
    }
    struct scan_result *result = r < 0 && r != GW_ERR_LIMIT ? NULL : scan_report_add(report, SCANNER_BANNED);
    if (result == NULL) {
        return r < 0 ? r : GW_ERR_LIMIT;
    }
    result->status = r == 0 ? SCAN_CLEAN : SCAN_TEMPFAIL;
    result->detail =
        r == 0 ? (struct bytes){0} : BYTES_LIT("parts nested too deeply or too many (mime_nesting_limit)");
    return 0;
}

const struct scanner SCANNER_BANNED_ROW = {
    .id = SCANNER_BANNED, .name = "banned", .load = load, .unload = unload, .scan = scan};

/*
 * scanner - the table of scanners, and the form of a report.
 *
 * Before: pipeline.c fills reports in the sandbox; after: receive reads them outside. What arrives from a
 * worker is believed only as far as it decodes completely.
 */
#include "scanners/scanner.h"

#include <string.h>

#include "base/error.h"
#include "base/pack.h"

extern const struct scanner SCANNER_HEADER_ROW, SCANNER_BODY_ROW, SCANNER_BANNED_ROW, SCANNER_CLAMAV_ROW,
    SCANNER_SPF_ROW, SCANNER_DKIM_ROW, SCANNER_SPAMASSASSIN_ROW;

const struct scanner *const SCANNERS[SCANNER_COUNT] = {
    [SCANNER_HEADER_REGEXP] = &SCANNER_HEADER_ROW,
    [SCANNER_BODY_REGEXP] = &SCANNER_BODY_ROW,
    [SCANNER_BANNED] = &SCANNER_BANNED_ROW,
    [SCANNER_CLAMAV] = &SCANNER_CLAMAV_ROW,
    [SCANNER_SPF] = &SCANNER_SPF_ROW,
    [SCANNER_DKIM] = &SCANNER_DKIM_ROW,
    [SCANNER_SPAMASSASSIN] = &SCANNER_SPAMASSASSIN_ROW,
};

static const char *const AUTH_WORDS[] = {"none",    "pass",   "fail",      "softfail",
                                         "neutral", "policy", "temperror", "permerror"};

const char *
auth_result_word(enum auth_result result)
{
    return (unsigned)result < sizeof(AUTH_WORDS) / sizeof(AUTH_WORDS[0]) ? AUTH_WORDS[result] : "temperror";
}

const struct scanner *
scanner_by_name(struct bytes name)
{
    for (size_t i = 0; i < SCANNER_COUNT; i++) {
        if (bytes_equal(name, bytes_str(SCANNERS[i]->name))) {
            return SCANNERS[i];
        }
    }
    return NULL;
}

static bool
has_rules(const struct config *view)
{
    static const enum param TABLES[] = {P_header_checks, P_body_checks, P_mime_header_checks,
                                        P_nested_header_checks};
    struct bytes rest = bytes_str(config_str(view, P_receive_override_options)), word;

    while (bytes_next_token(&rest, ", \t", &word)) {
        if (bytes_equal(word, BYTES_LIT("no_header_body_checks"))) {
            return false;
        }
    }
    for (size_t i = 0; i < sizeof(TABLES) / sizeof(TABLES[0]); i++) {
        if (config_str(view, TABLES[i])[0] != '\0') {
            return true;
        }
    }
    return false;
}

enum scan_need
scan_need(const struct config *config)
{
    enum scan_need need = SCAN_NEED_NONE;

    for (size_t i = 0; i < config_service_count(config); i++) {
        const struct config *view = config_view(config, i);

        if (strcmp(config_service(config, i)->program, "smtpd") != 0) {
            continue;
        }
        if (strcmp(config_str(view, P_content_filter), "scan:") == 0) {
            return SCAN_NEED_ALL;
        }
        need = has_rules(view) ? SCAN_NEED_RULES : need;
    }
    return need;
}

const char *
scan_steps(const struct config *view, enum scan_need need)
{
    if (need == SCAN_NEED_ALL) {
        return strcmp(config_str(view, P_content_filter), "scan:") == 0 ? config_str(view, P_scan_pipeline)
                                                                        : "";
    }
    return need == SCAN_NEED_RULES && has_rules(view) ? "header body" : "";
}

struct scan_result *
scan_report_add(struct scan_report *report, enum scanner_id scanner)
{
    if (report->count >= SCAN_RESULTS_MAX) {
        return NULL;
    }
    struct scan_result *result = &report->results[report->count++];
    *result = (struct scan_result){.scanner = scanner, .status = SCAN_NOT_SCANNED};
    return result;
}

static int
pack_result(struct buf *buf, const struct scan_result *result)
{
    const struct bytes texts[] = {result->found,  result->detail,   result->action,        result->table,
                                  result->domain, result->selector, result->second_opinion};
    int r = pack_u8(buf, (uint8_t)result->scanner);

    r = r == 0 ? pack_u8(buf, (uint8_t)result->status) : r;
    r = r == 0 ? pack_i64(buf, result->elapsed_us) : r;
    r = r == 0 ? pack_u32(buf, result->line) : r;
    r = r == 0 ? pack_u8(buf, result->auth) : r;
    r = r == 0 ? pack_u32(buf, (uint32_t)result->score_milli) : r;
    r = r == 0 ? pack_u32(buf, (uint32_t)result->threshold_milli) : r;
    for (size_t i = 0; r == 0 && i < sizeof(texts) / sizeof(texts[0]); i++) {
        r = pack_bytes(buf, bytes_sub(texts[i], 0, SCAN_DETAIL_MAX));
    }
    return r;
}

int
scan_report_pack(struct buf *buf, const struct scan_report *report)
{
    int r = pack_i64(buf, report->elapsed_us);

    r = r == 0 ? pack_u32(buf, (uint32_t)report->count) : r;
    for (size_t i = 0; r == 0 && i < report->count; i++) {
        r = pack_result(buf, &report->results[i]);
    }
    return r;
}

static int
unpack_result(struct arena *arena, struct unpack *u, struct scan_result *result)
{
    struct bytes *const texts[] = {&result->found,  &result->detail,   &result->action,        &result->table,
                                   &result->domain, &result->selector, &result->second_opinion};
    uint8_t scanner = unpack_u8(u), status = unpack_u8(u);

    if (scanner >= SCANNER_COUNT || status > SCAN_SKIPPED) {
        return GW_ERR_SYNTAX;
    }
    result->scanner = (enum scanner_id)scanner;
    result->status = (enum scan_status)status;
    result->elapsed_us = unpack_i64(u);
    result->line = unpack_u32(u);
    result->auth = unpack_u8(u);
    result->score_milli = (int32_t)unpack_u32(u);
    result->threshold_milli = (int32_t)unpack_u32(u);
    if (result->auth > AUTH_PERMERROR) {
        return GW_ERR_SYNTAX;
    }
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        *texts[i] = arena_dup(arena, unpack_bytes(u, SCAN_DETAIL_MAX));
        if (texts[i]->p == NULL) {
            return GW_ERR_NOMEM;
        }
    }
    return u->error;
}

int
scan_report_unpack(struct arena *arena, struct bytes payload, struct scan_report *report_r)
{
    struct unpack u;
    int r;

    *report_r = (struct scan_report){0};
    unpack_begin(&u, payload);
    report_r->elapsed_us = unpack_i64(&u);
    uint32_t count = unpack_u32(&u);
    if (u.error != 0 || count > SCAN_RESULTS_MAX) {
        return GW_ERR_SYNTAX;
    }
    for (uint32_t i = 0; i < count; i++) {
        if ((r = unpack_result(arena, &u, &report_r->results[i])) != 0) {
            return r;
        }
    }
    report_r->count = count;
    return unpack_end(&u);
}

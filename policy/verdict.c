/*
 * verdict - see the header: from the report to what is done, worst first.
 *
 * Before: receive_disposition.c; after: its reply and the headers. Every scanner of scan_steps() must have
 * spoken; a report without one of them, or with "not scanned" or "could not finish", is scan_failure_action
 * (451 by default). Each finding proposes an action, and the heaviest wins: reject, then tempfail, discard,
 * quarantine, hold, accept.
 */
#include "policy/verdict.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "policy/verdict_headers.h"

enum { HEADERS_MAX = 65536 };

static const char *const NAMES[] = {"tempfail", "accept", "reject", "quarantine", "discard", "hold"};
/* How heavy each action is; by enum verdict_action. */
static const int WEIGHTS[] = {4, 0, 5, 2, 3, 1};

const char *
verdict_action_name(enum verdict_action action)
{
    return (unsigned)action < sizeof(NAMES) / sizeof(NAMES[0]) ? NAMES[action] : "tempfail";
}

void
verdict_free(struct verdict *verdict)
{
    buf_free(&verdict->headers);
}

/* Proposes an action; it stands when it is heavier than what stood so far. */
static void
propose(struct verdict *verdict, enum verdict_action action, int code, const char *dsn, const char *text,
        const char *scanner, struct bytes found)
{
    struct buf reason;

    if (WEIGHTS[action] < WEIGHTS[verdict->action] ||
        (verdict->action == action && verdict->reason[0] != '\0')) {
        return;
    }
    verdict->action = action;
    verdict->code = code;
    (void)snprintf(verdict->dsn, sizeof(verdict->dsn), "%s", dsn);
    (void)snprintf(verdict->text, sizeof(verdict->text), "%s", text);
    buf_init(&reason, sizeof(verdict->reason) - 1);
    (void)buf_printf(&reason, "%s: ", scanner);
    (void)buf_append_printable(&reason, found, sizeof(verdict->reason) - reason.n - 2, true);
    (void)snprintf(verdict->reason, sizeof(verdict->reason), "%s", buf_str(&reason));
    buf_free(&reason);
}

/* The words of *_action parameters. An unknown word is the careful one. */
static void
propose_word(struct verdict *verdict, const char *word, int code, const char *dsn, const char *text,
             const char *scanner, struct bytes found)
{
    if (strcmp(word, "none") == 0 || strcmp(word, "tag") == 0 || strcmp(word, "accept") == 0) {
        return;
    }
    if (strcmp(word, "quarantine") == 0) {
        propose(verdict, VERDICT_QUARANTINE, 250, "2.0.0", "Ok", scanner, found);
    } else if (strcmp(word, "discard") == 0) {
        propose(verdict, VERDICT_DISCARD, 250, "2.0.0", "Ok", scanner, found);
    } else if (strcmp(word, "hold") == 0) {
        propose(verdict, VERDICT_HOLD, 250, "2.0.0", "Ok", scanner, found);
    } else if (strcmp(word, "tempfail") == 0) {
        propose(verdict, VERDICT_TEMPFAIL, 451, "4.7.1", "Service unavailable - try again later", scanner,
                found);
    } else {
        propose(verdict, VERDICT_REJECT, code, dsn, text, scanner, found);
    }
}

static void
fail(const struct config *config, struct verdict *verdict, const char *scanner, struct bytes why)
{
    const char *word = config_str(config, P_scan_failure_action);

    if (strcmp(word, "accept") == 0) {
        (void)buf_printf(&verdict->headers, "X-Estafeta-Unscanned: %s\r\n", scanner);
        return;
    }
    propose_word(verdict, strcmp(word, "hold") == 0 ? "hold" : "tempfail", 451, "4.7.1",
                 "Service unavailable - try again later", scanner, why);
}

/* PREPEND: one field, whatever $1 brought along of a folded one. Lines end in CRLF, later ones begin with a
 * blank, none is empty. */
static void
prepend_field(struct bytes field, struct buf *headers)
{
    struct bytes line;
    bool first = true;

    while (bytes_next_token(&field, "\r\n", &line)) {
        if (!first && line.p[0] != ' ' && line.p[0] != '\t') {
            (void)buf_append_byte(headers, ' ');
        }
        (void)buf_append_bytes(headers, line);
        (void)buf_append_str(headers, "\r\n");
        first = false;
    }
}

/* "REJECT text", "HOLD", "REDIRECT x@y" ... of header_checks and body_checks. */
static void
judge_action(const struct scan_result *result, struct verdict *verdict, const char *scanner)
{
    struct bytes rest = result->action, word;
    char text[sizeof(verdict->text)], dsn[12] = "5.7.1";

    if (!bytes_next_token(&rest, " \t", &word)) {
        return;
    }
    rest = bytes_trim(rest);
    struct bytes given = rest, status;
    struct bytes peek = rest;
    if (bytes_next_token(&peek, " \t", &status) && status.n >= 5 && status.n < sizeof(dsn) &&
        (status.p[0] == '4' || status.p[0] == '5') && status.p[1] == '.' && bytes_rindex(status, '.') > 2) {
        (void)snprintf(dsn, sizeof(dsn), "%.*s", BYTES_FMT(status));
        given = bytes_trim(peek);
    }
    struct buf printable;
    buf_init(&printable, sizeof(text) - 1);
    (void)buf_append_printable(&printable, given, sizeof(text) - 1, true);
    (void)snprintf(text, sizeof(text), "%s",
                   printable.n > 0 ? buf_str(&printable) : "message content rejected");
    buf_free(&printable);
    if (bytes_equal_nocase(word, BYTES_LIT("REJECT"))) {
        bool soft = dsn[0] == '4';
        propose(verdict, soft ? VERDICT_TEMPFAIL : VERDICT_REJECT, soft ? 450 : 550, dsn, text, scanner,
                result->found);
    } else if (bytes_equal_nocase(word, BYTES_LIT("DISCARD"))) {
        propose_word(verdict, "discard", 250, "2.0.0", "Ok", scanner, result->found);
    } else if (bytes_equal_nocase(word, BYTES_LIT("HOLD"))) {
        propose_word(verdict, "hold", 250, "2.0.0", "Ok", scanner, result->found);
    } else if (bytes_equal_nocase(word, BYTES_LIT("REDIRECT")) ||
               bytes_equal_nocase(word, BYTES_LIT("FILTER"))) {
        verdict->redirect = rest;
        verdict->redirect_is_filter = bytes_equal_nocase(word, BYTES_LIT("FILTER"));
    } else if (bytes_equal_nocase(word, BYTES_LIT("PREPEND"))) {
        prepend_field(rest, &verdict->headers);
    }
}

static void
judge_spam(const struct config *config, const struct scan_result *result, struct verdict *verdict)
{
    int32_t level;

    if (verdict_parse_points(config_str(config, P_spam_reject_level), &level) &&
        result->score_milli >= level) {
        propose(verdict, VERDICT_REJECT, 550, "5.7.1", "Message content rejected as spam", "spamassassin",
                result->found);
    } else if (verdict_parse_points(config_str(config, P_spam_quarantine_level), &level) &&
               result->score_milli >= level) {
        propose_word(verdict, "quarantine", 250, "2.0.0", "Ok", "spamassassin", result->found);
    }
}

static void
judge_found(const struct config *config, const struct scan_result *result, struct verdict *verdict)
{
    switch (result->scanner) {
    case SCANNER_HEADER_REGEXP:
        judge_action(result, verdict, "header");
        break;
    case SCANNER_BODY_REGEXP:
        judge_action(result, verdict, "body");
        break;
    case SCANNER_BANNED:
        propose_word(verdict, config_str(config, P_banned_action), 550, "5.7.1",
                     "Message content rejected: attachment not allowed", "banned", result->found);
        break;
    case SCANNER_CLAMAV:
        propose_word(verdict, config_str(config, P_virus_action), 550, "5.7.1",
                     "Message content rejected: virus found", "clamav", result->found);
        break;
    case SCANNER_SPF:
        propose_word(verdict, config_str(config, P_spf_action), 550, "5.7.23", "SPF validation failed", "spf",
                     result->domain);
        break;
    case SCANNER_DKIM:
        propose_word(verdict, config_str(config, P_dkim_action), 550, "5.7.20",
                     "DKIM signature did not verify", "dkim", result->domain);
        break;
    case SCANNER_SPAMASSASSIN:
    case SCANNER_COUNT:
        break;
    }
}

static void
judge_result(const struct config *config, const struct scan_result *result, struct verdict *verdict)
{
    const struct scanner *scanner = SCANNERS[result->scanner];
    const char *name = scanner != NULL ? scanner->name : "scanner";

    switch (result->status) {
    case SCAN_CLEAN:
    case SCAN_SKIPPED:
        break;
    case SCAN_FOUND:
        judge_found(config, result, verdict);
        break;
    case SCAN_NOT_SCANNED:
    case SCAN_TEMPFAIL:
        fail(config, verdict, name, result->detail.n > 0 ? result->detail : BYTES_LIT("not scanned"));
        break;
    }
    if (result->scanner == SCANNER_SPAMASSASSIN &&
        (result->status == SCAN_CLEAN || result->status == SCAN_FOUND)) {
        judge_spam(config, result, verdict);
    }
}

/* Every scanner that the service's mail passes needs a result. */
static void
check_complete(const struct config *config, const struct scan_report *report, struct verdict *verdict)
{
    bool is_full = strcmp(config_str(config, P_content_filter), "scan:") == 0;
    struct bytes rest = bytes_str(scan_steps(config, is_full ? SCAN_NEED_ALL : SCAN_NEED_RULES)), name;

    while (bytes_next_token(&rest, ", \t", &name)) {
        const struct scanner *scanner = scanner_by_name(name);
        bool present = false;

        for (size_t i = 0; scanner != NULL && report != NULL && i < report->count; i++) {
            present = present || report->results[i].scanner == scanner->id;
        }
        if (!present) {
            char word[64];

            (void)snprintf(word, sizeof(word), "%.*s", (int)(name.n < 60 ? name.n : 60), name.p);
            fail(config, verdict, word, BYTES_LIT("not scanned"));
        }
    }
}

int
verdict_decide(const struct config *config, const struct envelope *envelope, const struct scan_report *report,
               struct verdict *verdict_r)
{
    *verdict_r = (struct verdict){.action = VERDICT_ACCEPT, .code = 250, .dsn = "2.0.0", .text = "Ok"};
    buf_init(&verdict_r->headers, HEADERS_MAX);
    check_complete(config, report, verdict_r);
    for (size_t i = 0; report != NULL && i < report->count; i++) {
        judge_result(config, &report->results[i], verdict_r);
    }
    verdict_r->notify_policy = verdict_r->action == VERDICT_REJECT || verdict_r->action == VERDICT_QUARANTINE;
    int r = report == NULL ? 0 : verdict_append_headers(config, envelope, report, &verdict_r->headers);
    if (r != 0) {
        verdict_free(verdict_r);
        *verdict_r = (struct verdict){.action = VERDICT_TEMPFAIL, .code = 451, .dsn = "4.3.0"};
    }
    return r;
}

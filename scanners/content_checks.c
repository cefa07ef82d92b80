/*
 * content_checks - see the header. Before: header_checks.c and body_checks.c; after: policy/verdict.c acts.
 */
#include "scanners/content_checks.h"

#include <string.h>

#include "base/error.h"
#include "base/log.h"

enum { LOG_LINE_MAX = 200, LOG_ADDRESS_MAX = 200 };

static const struct {
    const char *word, *log;
    bool result, decides;
} ACTIONS[] = {
    {"REJECT", "reject", true, true},  {"DISCARD", "discard", true, true},
    {"HOLD", "hold", true, false},     {"REDIRECT", "redirect", true, false},
    {"FILTER", "filter", true, false}, {"PREPEND", "prepend", true, false},
    {"BCC", "bcc", true, false},       {"WARN", "warning", false, false},
    {"INFO", "info", false, false},
};

/* "QID: reject: header Subject: x from name[addr]; from=<> to=<> proto=ESMTP helo=<>: 5.7.1 text" */
static void
log_hit(const struct scan_input *input, const char *action, const char *what, struct bytes line,
        struct bytes text)
{
    const struct envelope *envelope = input->request->envelope;
    const struct session_facts *session = &envelope->session;
    char client[NET_ADDR_TEXT_MAX];
    struct buf out;

    net_addr_format(&session->client, client);
    buf_init(&out, 4096);
    (void)buf_printf(&out, "%s: %s: %s ", envelope->queue_id, action, what);
    (void)buf_append_printable(&out, line, LOG_LINE_MAX, true);
    (void)buf_printf(&out, " from %s[%s]; from=<", session->name, client);
    (void)buf_append_printable(&out, envelope->sender, LOG_ADDRESS_MAX, true);
    (void)buf_append_str(&out, "> to=<");
    if (envelope->recipient_count > 0) {
        (void)buf_append_printable(&out, envelope->recipients[0].address, LOG_ADDRESS_MAX, true);
    }
    (void)buf_printf(&out, "> proto=%s helo=<", session->protocol);
    (void)buf_append_printable(&out, bytes_str(session->helo), LOG_ADDRESS_MAX, true);
    (void)buf_append_str(&out, ">");
    if (text.n > 0) {
        (void)buf_append_str(&out, ": ");
        (void)buf_append_printable(&out, text, LOG_LINE_MAX, true);
    }
    log_info("cleanup", "%s", buf_str(&out));
    buf_free(&out);
}

static int
add_result(const struct scan_input *input, enum scanner_id scanner, struct bytes line,
           const struct table_hit *hit, struct scan_report *report)
{
    struct scan_result *result = scan_report_add(report, scanner);

    if (result == NULL) {
        return GW_ERR_FULL; /* not GW_ERR_LIMIT, which is the MIME walk's and harmless here */
    }
    struct buf printable;
    buf_init(&printable, SCAN_FOUND_MAX);
    (void)buf_append_printable(&printable, line, SCAN_FOUND_MAX - 1, true);
    result->status = SCAN_FOUND;
    result->action = arena_dup(input->arena, bytes_sub(bytes_buf(&hit->value), 0, SCAN_DETAIL_MAX));
    result->table = arena_dup(input->arena, bytes_str(hit->table));
    result->line = hit->line;
    result->found = arena_dup(input->arena, bytes_buf(&printable));
    buf_free(&printable);
    return 0;
}

int
content_checks_line(const struct scan_input *input, struct table_list *tables, enum scanner_id scanner,
                    const char *what, struct bytes line, struct scan_report *report)
{
    struct table_hit hit = {0};
    int r;

    buf_init(&hit.value, TABLE_VALUE_MAX);
    r = table_list_find(tables, line, &hit);
    if (r == GW_ERR_NOTFOUND) {
        r = 0;
    } else if (r == 0) {
        struct bytes rest = bytes_buf(&hit.value), word = {0};

        (void)bytes_next_token(&rest, " \t", &word);
        for (size_t i = 0; i < sizeof(ACTIONS) / sizeof(ACTIONS[0]); i++) {
            if (!bytes_equal_nocase(word, bytes_str(ACTIONS[i].word))) {
                continue;
            }
            log_hit(input, ACTIONS[i].log, what, line, bytes_trim(rest));
            r = ACTIONS[i].result ? add_result(input, scanner, line, &hit, report) : 0;
            r = r == 0 && ACTIONS[i].decides ? 1 : r;
            break;
        }
    }
    buf_free(&hit.value);
    return r;
}

void
content_checks_finish(struct scan_report *report, size_t before, enum scanner_id scanner)
{
    struct scan_result *result = report->count == before ? scan_report_add(report, scanner) : NULL;

    if (result != NULL) {
        result->status = SCAN_CLEAN;
    }
}

/*
 * verdict_headers - see the header. Before: verdict.c; after: they stand on top of the message, above our
 * Received.
 */
#include "policy/verdict_headers.h"

#include <string.h>

#include "base/error.h"

enum { STARS_MAX = 50, SYMBOLS_MAX = 800, VALUE_MAX = 300, POINTS_MAX = 1000000 };

bool
verdict_parse_points(const char *text, int32_t *milli_r)
{
    const char *p = text + (text[0] == '-');
    int32_t whole = 0, fraction = 0;
    bool digits = false;

    *milli_r = 0;
    for (; *p >= '0' && *p <= '9'; p++, digits = true) {
        whole = whole < POINTS_MAX ? whole * 10 + (*p - '0') : whole;
    }
    if (*p == '.') {
        int32_t unit = 100;

        for (p++; *p >= '0' && *p <= '9'; p++, unit /= 10, digits = true) {
            fraction += (*p - '0') * unit;
        }
    }
    if (!digits) {
        return false;
    }
    int32_t milli = whole < POINTS_MAX ? whole * 1000 + fraction : POINTS_MAX * 1000;
    *milli_r = text[0] == '-' ? -milli : milli;
    return true;
}

static const struct scan_result *
find(const struct scan_report *report, enum scanner_id scanner)
{
    for (size_t i = 0; i < report->count; i++) {
        if (report->results[i].scanner == scanner &&
            (report->results[i].status == SCAN_CLEAN || report->results[i].status == SCAN_FOUND)) {
            return &report->results[i];
        }
    }
    return NULL;
}

/* A value of a field: bare when it is a token, in quotes otherwise. */
static int
append_value(struct buf *out, struct bytes v)
{
    bool token = v.n > 0;
    int r = 0;

    v = bytes_sub(v, 0, VALUE_MAX);
    for (size_t i = 0; i < v.n; i++) {
        token = token && v.p[i] > 0x20 && v.p[i] < 0x7f && strchr("()<>@,;:\\\"/[]?=", v.p[i]) == NULL;
    }
    if (token) {
        return buf_append_bytes(out, v);
    }
    r = buf_append_byte(out, '"');
    for (size_t i = 0; r == 0 && i < v.n; i++) {
        uint8_t c = v.p[i];

        if (c == '"' || c == '\\') {
            r = buf_append_byte(out, '\\');
        }
        r = r == 0 ? buf_append_byte(out, c >= 0x20 && c != 0x7f ? c : '?') : r;
    }
    return r == 0 ? buf_append_byte(out, '"') : r;
}

static int
append_received_spf(const struct config *config, const struct envelope *envelope,
                    const struct scan_result *spf, struct buf *out)
{
    char client[NET_ADDR_TEXT_MAX];
    bool from_helo = envelope->sender.n == 0;
    int r;

    net_addr_format(&envelope->session.client, client);
    r = buf_printf(out, "Received-SPF: %s (%s: ", auth_result_word((enum auth_result)spf->auth),
                   config_str(config, P_myhostname));
    size_t comment = out->n;
    r = r == 0 ? buf_append_printable(out,
                                      spf->detail.n > 0 ? bytes_sub(spf->detail, 0, VALUE_MAX) : spf->domain,
                                      VALUE_MAX, false)
               : r;
    for (size_t i = comment; r == 0 && i < out->n; i++) {
        if (out->p[i] == '(' || out->p[i] == ')' || out->p[i] == '\\') {
            out->p[i] = '_'; /* a comment must not end early */
        }
    }
    r = r == 0 ? buf_printf(out, ")\r\n\tclient-ip=%s; envelope-from=", client) : r;
    r = r == 0 ? append_value(out, envelope->sender) : r;
    r = r == 0 ? buf_append_str(out, "; helo=") : r;
    r = r == 0 ? append_value(out, bytes_str(envelope->session.helo)) : r;
    return r == 0 ? buf_printf(out, ";\r\n\tidentity=%s; receiver=%s\r\n", from_helo ? "helo" : "mailfrom",
                               config_str(config, P_myhostname))
                  : r;
}

static int
append_spf_result(const struct envelope *envelope, const struct scan_result *spf, struct buf *out)
{
    bool from_helo = envelope->sender.n == 0;
    int r = buf_printf(out, ";\r\n\tspf=%s smtp.%s=", auth_result_word((enum auth_result)spf->auth),
                       from_helo ? "helo" : "mailfrom");

    return r == 0 ? append_value(out, from_helo ? bytes_str(envelope->session.helo) : envelope->sender) : r;
}

static int
append_dkim_result(const struct scan_result *dkim, struct buf *out)
{
    int r = buf_printf(out, ";\r\n\tdkim=%s", auth_result_word((enum auth_result)dkim->auth));

    if (r == 0 && dkim->detail.n > 0 && dkim->auth != AUTH_PASS) {
        r = buf_append_str(out, " reason=");
        r = r == 0 ? append_value(out, dkim->detail) : r;
    }
    if (r == 0 && dkim->domain.n > 0) {
        r = buf_append_str(out, " header.d=");
        r = r == 0 ? append_value(out, dkim->domain) : r;
        r = r == 0 ? buf_append_str(out, " header.s=") : r;
        r = r == 0 ? append_value(out, dkim->selector) : r;
    }
    return r;
}

static int
append_authentication_results(const struct config *config, const struct envelope *envelope,
                              const struct scan_report *report, struct buf *out)
{
    const struct scan_result *spf = find(report, SCANNER_SPF);
    int r;

    if (spf == NULL && find(report, SCANNER_DKIM) == NULL) {
        return 0;
    }
    r = buf_printf(out, "Authentication-Results: %s", config_str(config, P_myhostname));
    r = r == 0 && spf != NULL ? append_spf_result(envelope, spf, out) : r;
    for (size_t i = 0; r == 0 && i < report->count; i++) {
        const struct scan_result *result = &report->results[i];

        if (result->scanner == SCANNER_DKIM &&
            (result->status == SCAN_CLEAN || result->status == SCAN_FOUND)) {
            r = append_dkim_result(result, out);
        }
    }
    return r == 0 ? buf_append_str(out, "\r\n") : r;
}

static int
append_points(struct buf *out, int32_t milli)
{
    int32_t tenths = (milli >= 0 ? milli + 50 : milli - 50) / 100;

    return buf_printf(out, "%s%d.%d", tenths < 0 ? "-" : "", tenths < 0 ? -tenths / 10 : tenths / 10,
                      tenths < 0 ? -tenths % 10 : tenths % 10);
}

/* spam_tag_level in thousandths, or the server's own threshold. */
static int32_t
tag_level(const struct config *config, const struct scan_result *spam)
{
    int32_t level;

    return verdict_parse_points(config_str(config, P_spam_tag_level), &level) ? level : spam->threshold_milli;
}

static int
append_spam(const struct config *config, const struct scan_report *report, struct buf *out)
{
    const struct scan_result *spam = find(report, SCANNER_SPAMASSASSIN);
    int r = 0;

    if (spam == NULL) {
        return 0;
    }
    int32_t level = tag_level(config, spam);
    bool tagged = spam->score_milli >= level;
    if (tagged) {
        r = buf_append_str(out, "X-Spam-Flag: YES\r\nX-Spam-Level: ");
        for (int32_t i = 0; r == 0 && i < spam->score_milli / 1000 && i < STARS_MAX; i++) {
            r = buf_append_byte(out, '*');
        }
        r = r == 0 ? buf_append_str(out, "\r\n") : r;
    }
    r = r == 0 ? buf_printf(out, "X-Spam-Status: %s, score=", tagged ? "Yes" : "No") : r;
    r = r == 0 ? append_points(out, spam->score_milli) : r;
    r = r == 0 ? buf_append_str(out, " required=") : r;
    r = r == 0 ? append_points(out, level) : r;
    r = r == 0 ? buf_append_str(out, "\r\n\ttests=") : r;
    r = r == 0 ? buf_append_printable(out, spam->found, SYMBOLS_MAX, false) : r;
    return r == 0 ? buf_append_str(out, "\r\n") : r;
}

static int
append_virus(const struct scan_report *report, struct buf *out)
{
    const struct scan_result *clamav = find(report, SCANNER_CLAMAV);
    int r = 0;

    if (clamav != NULL && clamav->status == SCAN_FOUND) {
        r = buf_append_str(out, "X-Virus-Status: infected (");
        r = r == 0 ? buf_append_printable(out, clamav->found, VALUE_MAX, false) : r;
        return r == 0 ? buf_append_str(out, ")\r\n") : r;
    }
    return clamav != NULL ? buf_append_str(out, "X-Virus-Scanned: ClamAV by Estafeta\r\n") : 0;
}

int
verdict_append_headers(const struct config *config, const struct envelope *envelope,
                       const struct scan_report *report, struct buf *out)
{
    const struct scan_result *spf = find(report, SCANNER_SPF);
    int r = append_authentication_results(config, envelope, report, out);

    r = r == 0 && spf != NULL ? append_received_spf(config, envelope, spf, out) : r;
    r = r == 0 ? append_spam(config, report, out) : r;
    return r == 0 ? append_virus(report, out) : r;
}

/*
 * ctl_json - see the header. Before: the commands with --json.
 */
#include "ctl/ctl_json.h"

#include <time.h>

enum { ESCAPED_MAX = 64 * 1024 * 1024 };

void
ctl_json_begin(struct ctl_json *json, FILE *out)
{
    *json = (struct ctl_json){.out = out};
}

/* Length of the UTF-8 sequence at p, or 0 when it is none (RFC 3629 section 4: no overlong forms, no
 * surrogates). */
static size_t
utf8_length(const uint8_t *p, size_t n)
{
    static const struct {
        uint8_t first, last, second_first, second_last;
        size_t length;
    } FORMS[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    if (p[0] < 0x80) {
        return 1;
    }
    for (size_t i = 0; i < sizeof(FORMS) / sizeof(FORMS[0]); i++) {
        if (p[0] < FORMS[i].first || p[0] > FORMS[i].last) {
            continue;
        }
        if (n < FORMS[i].length || p[1] < FORMS[i].second_first || p[1] > FORMS[i].second_last) {
            return 0;
        }
        for (size_t k = 2; k < FORMS[i].length; k++) {
            if ((p[k] & 0xc0) != 0x80) {
                return 0;
            }
        }
        return FORMS[i].length;
    }
    return 0;
}

static int
escape_ascii(uint8_t c, struct buf *out)
{
    switch (c) {
    case '"':
        return buf_append_str(out, "\\\"");
    case '\\':
        return buf_append_str(out, "\\\\");
    case '\n':
        return buf_append_str(out, "\\n");
    case '\r':
        return buf_append_str(out, "\\r");
    case '\t':
        return buf_append_str(out, "\\t");
    default:
        return c < 0x20 || c == 0x7f ? buf_printf(out, "\\u%04x", c) : buf_append_byte(out, c);
    }
}

int
ctl_json_escape(struct bytes value, struct buf *out)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < value.n;) {
        size_t n = utf8_length(value.p + i, value.n - i);

        if (n == 1) {
            r = escape_ascii(value.p[i], out);
        } else {
            r = n == 0 ? buf_append_str(out, "\\ufffd") : buf_append(out, value.p + i, n);
        }
        i += n == 0 ? 1 : n;
    }
    return r;
}

static void
begin_member(struct ctl_json *json, const char *name)
{
    if (json->has_member[json->depth]) {
        (void)fputc(',', json->out);
    }
    json->has_member[json->depth] = true;
    if (name != NULL) {
        (void)fprintf(json->out, "\"%s\":", name); /* names are ours */
    }
}

void
ctl_json_open(struct ctl_json *json, const char *name, char bracket)
{
    begin_member(json, name);
    (void)fputc(bracket, json->out);
    if (json->depth + 1 < CTL_JSON_DEPTH_MAX) {
        json->depth++;
    }
    json->has_member[json->depth] = false;
}

void
ctl_json_close(struct ctl_json *json, char bracket)
{
    (void)fputc(bracket, json->out);
    if (json->depth > 0) {
        json->depth--;
    }
    if (json->depth == 0) {
        (void)fputc('\n', json->out);
    }
}

void
ctl_json_text(struct ctl_json *json, const char *name, struct bytes value)
{
    struct buf escaped;

    buf_init(&escaped, ESCAPED_MAX);
    begin_member(json, name);
    (void)ctl_json_escape(value, &escaped);
    (void)fprintf(json->out, "\"%s\"", buf_str(&escaped));
    buf_free(&escaped);
}

void
ctl_json_number(struct ctl_json *json, const char *name, int64_t value)
{
    begin_member(json, name);
    (void)fprintf(json->out, "%lld", (long long)value);
}

void
ctl_json_bool(struct ctl_json *json, const char *name, bool value)
{
    begin_member(json, name);
    (void)fputs(value ? "true" : "false", json->out);
}

void
ctl_json_time(struct ctl_json *json, const char *name, int64_t wall_us)
{
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm = {0};
    char text[40];

    (void)gmtime_r(&seconds, &tm);
    size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    begin_member(json, name);
    (void)fprintf(json->out, "\"%.*s.%06lldZ\"", (int)n, text, (long long)(wall_us % 1000000));
}

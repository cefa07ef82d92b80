/*
 * relay_reply - see the header. Before: the stream to the next hop; after: relay_session.c,
 * relay_transaction.c.
 *
 * A server that answers anything but three digits and text is cut off (GW_ERR_PEER), never guessed at. All
 * lines of a reply must carry the same code; the text is made printable here, once, before it reaches a log
 * or a bounce.
 */
#include "relay/relay_reply.h"

#include <ctype.h>
#include <string.h>

#include "base/error.h"
#include "base/stream.h"

void
relay_reply_init(struct relay_reply *reply)
{
    memset(reply, 0, sizeof(*reply));
    buf_init(&reply->text, RELAY_REPLY_TEXT_MAX);
}

void
relay_reply_free(struct relay_reply *reply)
{
    buf_free(&reply->text);
}

static bool
is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

int
relay_reply_parse_line(struct bytes line, int *code_r, bool *last_r, struct bytes *text_r)
{
    *code_r = 0;
    *last_r = false;
    *text_r = bytes_of(NULL, 0);
    if (line.n < 3 || line.p[0] < '2' || line.p[0] > '5' || !is_digit(line.p[1]) || !is_digit(line.p[2]) ||
        (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-')) {
        return GW_ERR_SYNTAX;
    }
    *code_r = (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0');
    *last_r = line.n == 3 || line.p[3] == ' ';
    *text_r = bytes_sub(line, 4, line.n);
    return 0;
}

void
relay_reply_parse_dsn(struct bytes text, char dsn_r[12])
{
    size_t at = 1;

    dsn_r[0] = '\0';
    if (text.n < 5 || (text.p[0] != '2' && text.p[0] != '4' && text.p[0] != '5')) {
        return;
    }
    for (int part = 0; part < 2; part++) {
        size_t digits = 0;

        if (at >= text.n || text.p[at] != '.') {
            return;
        }
        for (at++; at < text.n && is_digit(text.p[at]); at++) {
            digits++;
        }
        if (digits == 0 || digits > 3) {
            return;
        }
    }
    if (at < text.n && text.p[at] != ' ' && text.p[at] != '\t') {
        return;
    }
    memcpy(dsn_r, text.p, at);
    dsn_r[at] = '\0';
}

int
relay_reply_read(struct stream *stream, struct relay_reply *reply, relay_reply_line *line, void *context)
{
    reply->code = 0;
    reply->dsn[0] = '\0';
    buf_clear(&reply->text);
    for (int i = 0; i < RELAY_REPLY_LINES_MAX; i++) {
        struct bytes raw, text;
        char dsn[12];
        int code;
        bool last;
        int r = stream_read_line(stream, RELAY_REPLY_LINE_MAX, &raw);

        if (r != 0) {
            return r == GW_ERR_LIMIT ? GW_ERR_PEER : r;
        }
        if (relay_reply_parse_line(raw, &code, &last, &text) != 0 || (i > 0 && code != reply->code)) {
            return GW_ERR_PEER;
        }
        reply->code = code;
        if (i > 0) {
            (void)buf_append_byte(&reply->text, ' ');
        }
        (void)buf_append_printable(&reply->text, raw, RELAY_REPLY_TEXT_MAX - reply->text.n, true);
        relay_reply_parse_dsn(text, dsn);
        if (dsn[0] != '\0' && dsn[0] == '0' + code / 100) {
            memcpy(reply->dsn, dsn, sizeof(dsn));
        }
        if (line != NULL) {
            line(context, text);
        }
        if (last) {
            return 0;
        }
    }
    return GW_ERR_PEER;
}

/*
 * table_tcp - tcp:host:port, a lookup server with one line for question and answer (Postfix's tcp_table(5)).
 *
 * Before: table_find(), in the keeper when a role asks; after: table_network.c. "get KEY" is answered by
 * "200 VALUE", "500 why not" or "400 why not now", bytes as %XX where need be. Whatever is not of that form
 * is "cannot tell".
 */
#include "config/table_tcp.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "config/table_network.h"
#include "config/table_type.h"

enum { ANSWER_MAX = 4096 /* with the line's end */, WHY_MAX = 512, SHOWN_MAX = 100, STATUS_DIGITS = 3 };

static int
hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

int
table_tcp_encode(struct bytes key, struct buf *out)
{
    static const char HEX[] = "0123456789ABCDEF";
    int r = 0;

    for (size_t i = 0; r == 0 && i < key.n; i++) {
        uint8_t c = key.p[i];

        if (c != '%' && c > ' ' && c < 0x7f) {
            r = buf_append_byte(out, c);
        } else {
            const char code[3] = {'%', HEX[c >> 4], HEX[c & 15]};

            r = buf_append(out, code, sizeof(code));
        }
    }
    return r;
}

static int
decode(struct bytes text, struct buf *out)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < text.n; i++) {
        int c = text.p[i];

        if (c == '%') {
            int high = i + 2 < text.n ? hex_digit(text.p[i + 1]) : -1;
            int low = i + 2 < text.n ? hex_digit(text.p[i + 2]) : -1;

            c = high < 0 || low < 0 ? 0 : high * 16 + low;
            i += 2;
            if (c == 0) {
                return GW_ERR_SYNTAX; /* values are text: no NUL, whoever sends it */
            }
        }
        r = c == 0 ? GW_ERR_SYNTAX : buf_append_byte(out, (uint8_t)c);
    }
    return r;
}

int
table_tcp_read(struct bytes come, size_t *used_r, struct table_tcp_answer *answer)
{
    ptrdiff_t end = bytes_index(come, '\n');

    *used_r = 0;
    if (end < 0) {
        return come.n >= ANSWER_MAX ? GW_ERR_LIMIT : 0;
    }
    if ((size_t)end >= ANSWER_MAX) {
        return GW_ERR_LIMIT;
    }
    struct bytes line = bytes_sub(come, 0, (size_t)end);
    if (line.n > 0 && line.p[line.n - 1] == '\r') {
        line.n--;
    }
    if (line.n <= STATUS_DIGITS || (line.p[STATUS_DIGITS] != ' ' && line.p[STATUS_DIGITS] != '\t')) {
        return GW_ERR_SYNTAX;
    }
    struct bytes status = bytes_sub(line, 0, STATUS_DIGITS);
    buf_clear(&answer->text);
    int r = decode(bytes_sub(line, STATUS_DIGITS + 1, line.n), &answer->text);
    if (r != 0) {
        return r;
    }
    if (bytes_equal(status, BYTES_LIT("200"))) {
        answer->result = 0;
    } else if (bytes_equal(status, BYTES_LIT("500"))) {
        answer->result = GW_ERR_NOTFOUND;
    } else if (bytes_equal(status, BYTES_LIT("400"))) {
        answer->result = GW_ERR_TEMP;
    } else {
        return GW_ERR_SYNTAX;
    }
    *used_r = (size_t)end + 1;
    return 1;
}

static int
read_answer(void *context, struct bytes come, size_t *used_r)
{
    return table_tcp_read(come, used_r, context);
}

struct tcp_table {
    struct table_server *server;
    char *name;
};

static void
close_tcp(void *state)
{
    struct tcp_table *table = state;

    table_server_free(&table->server);
    free(table->name);
    free(table);
}

static int
open_tcp(const struct config *config, const char *name, unsigned flags, void **state_r, struct buf *error_r)
{
    struct tcp_table *table = calloc(1, sizeof(*table));
    int r = GW_ERR_NOMEM;

    (void)config;
    (void)flags;
    *state_r = NULL;
    if (table == NULL) {
        return r;
    }
    if ((table->name = bytes_dup_str(bytes_str(name))) != NULL) {
        r = table_server_new(bytes_str(name), ANSWER_MAX, &table->server, error_r);
    }
    if (r != 0) {
        close_tcp(table);
        return r;
    }
    *state_r = table;
    return 0;
}

static int
find_tcp(void *state, struct bytes key, struct table_hit *hit)
{
    struct tcp_table *table = state;
    struct table_tcp_answer answer = {.result = GW_ERR_TEMP};
    struct buf question, why;
    int r;

    buf_init(&question, 3 * TABLE_KEY_MAX + 8);
    buf_init(&answer.text, ANSWER_MAX);
    buf_init(&why, WHY_MAX);
    r = buf_append_str(&question, "get ");
    r = r == 0 ? table_tcp_encode(key, &question) : r;
    r = r == 0 ? buf_append_byte(&question, '\n') : r;
    r = r == 0 ? table_server_ask(table->server, bytes_buf(&question), read_answer, &answer, &why) : r;
    if (r == 0 && answer.result == GW_ERR_TEMP) {
        (void)buf_append_printable(&why, bytes_buf(&answer.text), SHOWN_MAX, false);
    }
    r = r == 0 ? answer.result : GW_ERR_TEMP;
    if (r == GW_ERR_TEMP) {
        log_warning("table", "tcp:%s: lookup problem: %s", table->name, buf_str(&why));
    }
    if (r == 0) {
        r = buf_append_bytes(&hit->value, bytes_buf(&answer.text));
    }
    buf_free(&question);
    buf_free(&answer.text);
    buf_free(&why);
    return r;
}

/* The server sees whole keys only (tcp_table(5), "PROTOCOL DESCRIPTION"). */
const struct table_type TABLE_TCP = {"tcp", true, open_tcp, close_tcp, find_tcp};

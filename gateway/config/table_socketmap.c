/*
 * table_socketmap - socketmap:inet:host:port:name and socketmap:unix:path:name, Sendmail's lookup protocol
 * (Postfix's socketmap_table(5)).
 *
 * Before: table_find(), in the keeper when a role asks, so that a Unix socket can be reached at all; after:
 * table_network.c. Questions and answers are netstrings: "name key" is answered by "OK value", "NOTFOUND " or
 * a word for trouble. Whatever is not of that form is "cannot tell".
 */
#include "config/table_socketmap.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "config/table_network.h"
#include "config/table_type.h"

enum { LENGTH_DIGITS_MAX = 6, FRAME_MAX = LENGTH_DIGITS_MAX + 2, WHY_MAX = 512, SHOWN_MAX = 100 };

/* The whole netstring: its content. 1, 0, GW_ERR_*. */
static int
read_netstring(struct bytes come, struct bytes *content_r, size_t *used_r)
{
    size_t digits = 0, length = 0;

    while (digits < come.n && come.p[digits] >= '0' && come.p[digits] <= '9') {
        if (digits == LENGTH_DIGITS_MAX) {
            return GW_ERR_LIMIT;
        }
        length = length * 10 + (size_t)(come.p[digits++] - '0');
    }
    if (length > SOCKETMAP_ANSWER_MAX) {
        return GW_ERR_LIMIT;
    }
    if (digits == come.n) {
        return 0;
    }
    if (digits == 0 || come.p[digits] != ':') {
        return GW_ERR_SYNTAX;
    }
    if (come.n < digits + 1 + length + 1) {
        return 0;
    }
    if (come.p[digits + 1 + length] != ',') {
        return GW_ERR_SYNTAX;
    }
    *content_r = bytes_sub(come, digits + 1, length);
    *used_r = digits + 1 + length + 1;
    return 1;
}

int
table_socketmap_read(struct bytes come, size_t *used_r, struct table_socketmap_answer *answer)
{
    struct bytes content;
    int r;

    *used_r = 0;
    if ((r = read_netstring(come, &content, used_r)) != 1) {
        return r;
    }
    ptrdiff_t blank = bytes_index(content, ' ');
    answer->word = bytes_sub(content, 0, blank < 0 ? content.n : (size_t)blank);
    answer->text = blank < 0 ? (struct bytes){0} : bytes_sub(content, (size_t)blank + 1, content.n);
    answer->result = GW_ERR_TEMP;
    if (bytes_equal(answer->word, BYTES_LIT("OK"))) {
        /* Values are text: one with a NUL is no answer. "OK" alone is none either, as in Postfix. */
        answer->result = bytes_index(answer->text, '\0') >= 0 ? GW_ERR_TEMP : blank < 0 ? GW_ERR_NOTFOUND : 0;
    } else if (bytes_equal(answer->word, BYTES_LIT("NOTFOUND"))) {
        answer->result = GW_ERR_NOTFOUND;
    }
    return 1;
}

struct reading {
    struct table_hit *hit;
    struct buf *why;
    int result;
};

/* The answer lies in the connection's buffer, so it is used here. */
static int
read_answer(void *context, struct bytes come, size_t *used_r)
{
    struct reading *reading = context;
    struct table_socketmap_answer answer;
    int r = table_socketmap_read(come, used_r, &answer);

    if (r == 1) {
        reading->result = answer.result;
        if (answer.result == 0) {
            reading->result = buf_append_bytes(&reading->hit->value, answer.text);
        } else if (answer.result == GW_ERR_TEMP) {
            (void)buf_append_str(reading->why, "the server says ");
            (void)buf_append_printable(reading->why, answer.word, SHOWN_MAX, false);
            (void)buf_append_byte(reading->why, ' ');
            (void)buf_append_printable(reading->why, answer.text, SHOWN_MAX, false);
        }
    }
    return r;
}

struct socketmap {
    struct table_server *server;
    char *spec;
    const char *name; /* in spec */
};

static void
close_socketmap(void *state)
{
    struct socketmap *map = state;

    table_server_free(&map->server);
    free(map->spec);
    free(map);
}

/* A path that is relative is below the queue directory, where Postfix's processes have their working
 * directory. */
static int
open_server(struct socketmap *map, const struct config *config, struct bytes endpoint, struct buf *error_r)
{
    struct bytes path = bytes_sub(endpoint, strlen("unix:"), endpoint.n);
    struct buf whole;
    int r;

    if (config == NULL || path.n == 0 || path.p[0] == '/' ||
        !bytes_has_prefix_nocase(endpoint, BYTES_LIT("unix:"))) {
        return table_server_new(endpoint, SOCKETMAP_ANSWER_MAX + FRAME_MAX, &map->server, error_r);
    }
    buf_init(&whole, TABLE_PATH_MAX);
    r = buf_printf(&whole, "unix:%s/%.*s", config_str(config, P_queue_directory), BYTES_FMT(path));
    r = r == 0 ? table_server_new(bytes_buf(&whole), SOCKETMAP_ANSWER_MAX + FRAME_MAX, &map->server, error_r)
               : r;
    buf_free(&whole);
    return r;
}

static int
open_socketmap(const struct config *config, const char *name, unsigned flags, void **state_r,
               struct buf *error_r)
{
    struct socketmap *map = calloc(1, sizeof(*map));
    struct bytes text = bytes_str(name);
    ptrdiff_t colon = bytes_rindex(text, ':');
    int r = GW_ERR_NOMEM;

    (void)flags;
    *state_r = NULL;
    if (map == NULL || (map->spec = bytes_dup_str(text)) == NULL) {
        goto out;
    }
    /* Two colons at least: the endpoint has one of its own. */
    if (colon <= 0 || (size_t)colon + 1 == text.n ||
        bytes_index(bytes_sub(text, 0, (size_t)colon), ':') < 0) {
        (void)buf_printf(error_r,
                         "socketmap requires server:socketmap argument: \"%s\"; need inet:host:port:name or "
                         "unix:pathname:name",
                         name);
        r = GW_ERR_CONFIG;
        goto out;
    }
    map->name = map->spec + colon + 1;
    r = open_server(map, config, bytes_sub(text, 0, (size_t)colon), error_r);
out:
    if (r != 0) {
        if (map != NULL) {
            close_socketmap(map);
        }
        return r;
    }
    *state_r = map;
    return 0;
}

static int
find_socketmap(void *state, struct bytes key, struct table_hit *hit)
{
    struct socketmap *map = state;
    struct buf question, why;
    struct reading reading = {.hit = hit, .why = &why, .result = GW_ERR_TEMP};
    size_t length = strlen(map->name) + 1 + key.n;
    int r;

    buf_init(&question, TABLE_NAME_MAX + TABLE_KEY_MAX + 32);
    buf_init(&why, WHY_MAX);
    r = buf_printf(&question, "%zu:%s ", length, map->name);
    r = r == 0 ? buf_append_bytes(&question, key) : r;
    r = r == 0 ? buf_append_byte(&question, ',') : r;
    r = r == 0 ? table_server_ask(map->server, bytes_buf(&question), read_answer, &reading, &why) : r;
    r = r == 0 ? reading.result : GW_ERR_TEMP;
    if (r != 0 && r != GW_ERR_NOTFOUND) {
        log_warning("table", "socketmap:%s: lookup problem: %s", map->spec, buf_str(&why));
        r = GW_ERR_TEMP;
    }
    buf_free(&question);
    buf_free(&why);
    return r;
}

/* The server sees whole keys only, as with tcp. */
const struct table_type TABLE_SOCKETMAP = {"socketmap", true, open_socketmap, close_socketmap,
                                           find_socketmap};

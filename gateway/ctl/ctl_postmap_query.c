/*
 * ctl_postmap_query - postmap -q: keys of the command line, of standard input, or of a message there, through
 * the tables in order.
 *
 * A table is opened when it is asked for the first time, so that one that is not needed need not be there.
 * The first that has the key answers. Before: ctl_postmap.c; after: config/table.c finds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/error.h"
#include "config/table.h"
#include "ctl/ctl_postmap_private.h"

enum { MESSAGE_BYTES_MAX = 256 * 1024 * 1024 };

struct question {
    struct postmap *job;
    char *const *words;
    struct table **tables;
    size_t count;
    bool with_key, found;
    struct buf value;
};

bool
postmap_split(const struct postmap *job, const char *word, char type[POSTMAP_NAME_BYTES], const char **name_r)
{
    const char *colon = strchr(word, ':');
    const char *fallback = job->config == NULL ? "hash" : config_str(job->config, P_default_database_type);
    int n = colon == NULL ? snprintf(type, POSTMAP_NAME_BYTES, "%s", fallback)
                          : snprintf(type, POSTMAP_NAME_BYTES, "%.*s", (int)(colon - word), word);

    *name_r = colon == NULL ? word : colon + 1;
    return n > 0 && n < POSTMAP_NAME_BYTES;
}

/* File names are as the operator's shell means them: below the working directory. */
static int
open_table(struct question *question, size_t index)
{
    struct postmap *job = question->job;
    const char *word = question->words[index], *name;
    char type[POSTMAP_NAME_BYTES];
    struct buf spec, why;
    int r = GW_ERR_LIMIT;

    buf_init(&spec, 2 * POSTMAP_NAME_BYTES);
    buf_init(&why, 2 * POSTMAP_NAME_BYTES);
    if (postmap_split(job, word, type, &name)) {
        r = buf_printf(&spec, "%s:%s", type, name);
    }
    r = r == 0 ? table_open(NULL, bytes_buf(&spec), (job->exact_case ? 0 : TABLE_FOLD) | TABLE_SKIP_BROKEN,
                            &question->tables[index], &why)
               : r;
    if (r != 0) {
        postmap_tell(job, "fatal", "%s", why.n > 0 ? buf_str(&why) : gw_strerror(r));
    }
    buf_free(&spec);
    buf_free(&why);
    return r;
}

/* -F: the value is base64 of a file. */
static int
decode(struct question *question, struct bytes key, const char *spec)
{
    struct buf *value = &question->value;
    size_t padding = 0;

    while (padding < 2 && padding < value->n && value->p[value->n - 1 - padding] == '=') {
        padding++;
    }
    uint8_t *plain = malloc(value->n + 1);
    int n = plain == NULL || value->n % 4 != 0 ? -1 : EVP_DecodeBlock(plain, value->p, (int)value->n);
    if (n >= 0) {
        buf_clear(value);
        n = buf_append(value, plain, (size_t)n - padding) == 0 ? n : -1;
    } else {
        postmap_tell(question->job, "warning", "table %s: key %.*s: malformed BASE64 value: %.*s", spec,
                     BYTES_FMT(key), (int)value->n, (const char *)value->p);
    }
    free(plain);
    return n < 0 ? GW_ERR_SYNTAX : 0;
}

static int
look_up(struct question *question, size_t index, struct bytes key)
{
    struct table_hit hit;
    int r = question->tables[index] == NULL ? open_table(question, index) : 0;

    if (r != 0) {
        return r;
    }
    buf_init(&hit.value, TABLE_VALUE_MAX);
    r = table_find(question->tables[index], key, &hit);
    const char *spec = table_spec(question->tables[index]);
    buf_clear(&question->value);
    r = r == 0 ? buf_append_bytes(&question->value, bytes_buf(&hit.value)) : r;
    buf_free(&hit.value);
    if (r == 0 && question->job->is_content) {
        r = decode(question, key, spec);
    } else if (r == 0 && question->job->checks_utf8 && !postmap_is_utf8(bytes_buf(&question->value))) {
        postmap_tell(question->job, "warning",
                     "%s: key \"%.*s\": non-UTF-8 value \"%.*s\": malformed UTF-8 or invalid codepoint", spec,
                     BYTES_FMT(key), BYTES_FMT(bytes_buf(&question->value)));
        r = GW_ERR_SYNTAX;
    }
    if (r != 0 && r != GW_ERR_NOTFOUND) {
        postmap_tell(question->job, "fatal", "table %s: query error: %s", spec, gw_strerror(r));
    }
    return r;
}

/* The first table that has the key answers. */
static int
answer(void *context, struct bytes key)
{
    struct question *question = context;
    int r = GW_ERR_NOTFOUND;

    if (question->job->checks_utf8 && !postmap_is_utf8(key)) {
        postmap_tell(question->job, "warning",
                     "%s: non-UTF-8 key \"%.*s\": malformed UTF-8 or invalid codepoint", question->words[0],
                     BYTES_FMT(key));
        return 0;
    }
    for (size_t i = 0; i < question->count && r == GW_ERR_NOTFOUND; i++) {
        r = look_up(question, i, key);
    }
    if (r == 0) {
        question->found = true;
        if (question->with_key) {
            postmap_put(key);
            (void)fputs(question->job->is_alias ? ":\t" : "\t", stdout);
        }
        postmap_put(bytes_buf(&question->value));
        (void)fputc('\n', stdout);
    }
    return r == GW_ERR_NOTFOUND ? 0 : r;
}

static int
answer_lines(struct question *question)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    int r = 0;

    while (r == 0 && (n = getline(&line, &room, stdin)) > 0) {
        n -= line[n - 1] == '\n';
        r = answer(question, bytes_of(line, (size_t)n));
    }
    free(line);
    return r;
}

static int
answer_message(struct question *question)
{
    struct buf message;
    int r;

    buf_init(&message, MESSAGE_BYTES_MAX);
    r = postmap_read(STDIN_FILENO, &message);
    if (r != 0) {
        postmap_tell(question->job, "fatal", "standard input: %s", gw_strerror(r));
    } else {
        r = postmap_visit_message(question->job, bytes_buf(&message), answer, question);
    }
    buf_free(&message);
    return r;
}

int
postmap_query(struct postmap *job, char *const *tables, size_t count)
{
    struct question question = {.job = job, .words = tables, .count = count};
    bool from_input = strcmp(job->query, "-") == 0;
    int r = GW_ERR_NOMEM;

    question.tables = calloc(count, sizeof(*question.tables));
    if (question.tables == NULL) {
        return POSTMAP_FAILED;
    }
    buf_init(&question.value, TABLE_VALUE_MAX);
    question.with_key = from_input;
    if (!from_input) {
        r = answer(&question, bytes_str(job->query));
    } else if (job->body || job->header) {
        r = answer_message(&question);
    } else {
        r = answer_lines(&question);
    }
    for (size_t i = 0; i < count; i++) {
        table_free(&question.tables[i]);
    }
    free(question.tables);
    buf_free(&question.value);
    return r == 0 && question.found ? 0 : POSTMAP_FAILED;
}

/*
 * ctl_postmap_build - postmap and postalias: a table from its source or from standard input, removing and
 * listing its entries.
 *
 * A line that is not understood is told and skipped; the rest of the table is built. Before: ctl_postmap.c;
 * after: config/table_build.c writes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/error.h"
#include "config/main_cf.h"
#include "config/table.h"
#include "config/table_build.h"
#include "config/table_text.h"
#include "ctl/ctl_postmap_private.h"

struct building {
    struct postmap *job;
    const char *source;
    const char *target; /* as messages name it */
    struct table_build *build;
    struct buf name, content; /* of the line at hand */
};

/* Stored is the base64 of what the files hold, with a line end between them. */
static int
read_content(struct building *b, struct bytes names, int number, struct buf *encoded)
{
    struct bytes word, rest = names;
    struct buf plain;
    char path[POSTMAP_NAME_BYTES];
    bool any = false;
    int r = 0;

    buf_init(&plain, TABLE_VALUE_MAX / 4 * 3 - 4);
    while (r == 0 && bytes_next_token(&rest, ", \t\r\n", &word)) {
        int n = snprintf(path, sizeof(path), "%.*s", BYTES_FMT(word));
        int fd = n > 0 && n < (int)sizeof(path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;

        r = fd == -1 ? GW_ERR_SYS : any ? buf_append_byte(&plain, '\n') : 0;
        r = r == 0 ? postmap_read(fd, &plain) : r;
        if (r != 0) {
            postmap_tell(b->job, "warning", "%s, line %d: open %s: %s: skipping this entry", b->source,
                         number, path, r == GW_ERR_SYS ? strerror(errno) : gw_strerror(r));
        }
        if (fd != -1) {
            (void)close(fd);
        }
        any = true;
    }
    if (r == 0 && (r = buf_reserve(encoded, (plain.n + 2) / 3 * 4 + 1)) == 0) {
        encoded->n += (size_t)EVP_EncodeBlock(encoded->p + encoded->n, plain.p, (int)plain.n);
    }
    buf_free(&plain);
    return r;
}

static int
put_entry(struct building *b, struct bytes key, struct bytes value, int number)
{
    struct postmap *job = b->job;
    char folded[TABLE_BUILD_KEY_MAX];

    if (key.n > sizeof(folded)) {
        postmap_tell(job, "warning", "%s, line %d: key is longer than %d bytes; skipped", b->source, number,
                     TABLE_BUILD_KEY_MAX);
        return 0;
    }
    if (key.n > 0) {
        memcpy(folded, key.p, key.n);
    }
    if (!job->exact_case) {
        ascii_lower((uint8_t *)folded, key.n);
    }
    key = bytes_of(folded, key.n);
    if (job->is_content) {
        buf_clear(&b->content);
        if (read_content(b, value, number, &b->content) != 0) {
            return 0;
        }
        value = bytes_buf(&b->content);
    }
    int r = table_build_put(b->build, key, value, job->replace);
    if (r == GW_ERR_EXISTS) {
        if (!job->quiet) {
            postmap_tell(job, "warning", "%s: duplicate entry: \"%.*s\"", b->target, BYTES_FMT(key));
        }
        r = 0;
    }
    if (r != 0) {
        postmap_tell(job, "fatal", "%s: write error: %s", table_build_path(b->build),
                     r == GW_ERR_SYS ? strerror(errno) : gw_strerror(r));
    }
    return r;
}

/* A key may be in quotes, with blanks and colons inside; the quotes are not part of an alias's name. */
static bool
take_alias_name(struct bytes *line, struct buf *name)
{
    bool quoted = line->n > 0 && line->p[0] == '"';
    size_t i = quoted ? 1 : 0;

    for (; i < line->n && line->p[i] != (quoted ? '"' : ':'); i++) {
        if (quoted && line->p[i] == '\\' && i + 1 < line->n) {
            i++;
        }
        if (buf_append_byte(name, line->p[i]) != 0) {
            return false;
        }
    }
    if (i >= line->n) {
        return false;
    }
    *line = bytes_trim(bytes_sub(*line, i + (quoted ? 1 : 0), line->n));
    if (line->n < 2 || line->p[0] != ':') {
        return false;
    }
    *line = bytes_trim(bytes_sub(*line, 1, line->n));
    return bytes_trim(bytes_buf(name)).n > 0;
}

static int
take_alias(struct building *b, struct bytes line, int number)
{
    bool quoted = line.n > 0 && line.p[0] == '"';

    buf_clear(&b->name);
    if (!take_alias_name(&line, &b->name)) {
        postmap_tell(b->job, "warning", "%s, line %d: need name:value pair", b->source, number);
        return 0;
    }
    struct bytes name = bytes_trim(bytes_buf(&b->name));
    if (!quoted && bytes_index(name, '@') >= 0) {
        postmap_tell(b->job, "warning", "%s, line %d: name must be local", b->source, number);
        return 0;
    }
    return put_entry(b, name, line, number);
}

static int
take_entry(struct building *b, struct bytes line, int number)
{
    struct bytes key, value;

    switch (table_text_split(line, &key, &value)) {
    case TABLE_TEXT_UNBALANCED:
        postmap_tell(b->job, "warning", "%s, line %d: unbalanced '\"' in '%.*s' -- ignoring this line",
                     b->source, number, BYTES_FMT(key));
        return 0;
    case TABLE_TEXT_NO_VALUE:
        postmap_tell(b->job, "warning", "%s, line %d: expected format: key whitespace value", b->source,
                     number);
        return 0;
    case TABLE_TEXT_ALIAS:
        postmap_tell(b->job, "warning",
                     "%s, line %d: record is in \"key: value\" format; is this an alias file?", b->source,
                     number);
        break;
    case TABLE_TEXT_GOOD:
        break;
    }
    return put_entry(b, key, value, number);
}

static int
take_line(void *context, struct bytes line, int number)
{
    struct building *b = context;

    if (b->job->checks_utf8 && !postmap_is_utf8(line)) {
        postmap_tell(b->job, "warning", "%s, line %d: non-UTF-8 input \"%.*s\" -- ignoring this line",
                     b->source, number, BYTES_FMT(line));
        return 0;
    }
    return b->job->is_alias ? take_alias(b, line, number) : take_entry(b, line, number);
}

static int
begin(struct building *b, struct table_build_options *options, struct buf *why)
{
    int r = table_build_begin(options, &b->build, why);

    if (r != 0 && options->keep && errno == ENOENT) {
        buf_clear(why); /* -i of a table that is not there yet */
        options->keep = false;
        r = table_build_begin(options, &b->build, why);
    }
    return r;
}

int
postmap_build(struct postmap *job, const char *type, const char *name)
{
    struct table_build_options options = {.type = type, .name = name, .keep = job->add, .mode = 0644};
    struct building b = {.job = job, .source = job->add ? "stdin" : name};
    struct stat status = {.st_mode = S_IFREG | 0644, .st_uid = geteuid(), .st_gid = getegid()};
    char target[POSTMAP_NAME_BYTES];
    struct buf why;
    int r = GW_ERR_SYS;

    buf_init(&why, POSTMAP_NAME_BYTES);
    buf_init(&b.name, TABLE_KEY_MAX);
    buf_init(&b.content, TABLE_VALUE_MAX);
    errno = 0; /* stays 0 for what is there and no file */
    if (!job->add && (stat(name, &status) == -1 || !S_ISREG(status.st_mode))) {
        (void)buf_printf(&why, "open %s: %s", name, errno != 0 ? strerror(errno) : "not a regular file");
        goto out;
    }
    if (!table_build_is_possible(type)) {
        (void)buf_printf(&why, "unsupported dictionary type: %s does not support bulk-mode creation.", type);
        goto out;
    }
    options.mode = job->default_mode ? 0644 : status.st_mode & 0666;
    options.owner = status.st_uid;
    options.group = status.st_gid;
    if ((r = begin(&b, &options, &why)) != 0) {
        goto out;
    }
    (void)snprintf(target, sizeof(target), "lmdb:%s", name);
    b.target = strcmp(type, "lmdb") == 0 ? target : table_build_path(b.build);
    r = config_read_lines(job->add ? "/dev/stdin" : name, take_line, &b, &why);
    if (r != 0) {
        table_build_abort(&b.build);
    } else if ((r = table_build_commit(&b.build)) != 0) {
        (void)buf_printf(&why, "%s:%s: %s", type, name, strerror(errno));
    }
out:
    if (r != 0 && why.n > 0) {
        postmap_tell(job, "fatal", "%s", buf_str(&why));
    }
    buf_free(&b.name);
    buf_free(&b.content);
    buf_free(&why);
    return r == 0 ? 0 : POSTMAP_FAILED;
}

static int
remove_key(struct building *b, struct bytes key)
{
    char folded[TABLE_BUILD_KEY_MAX];

    if (key.n == 0 || key.n > sizeof(folded)) {
        return GW_ERR_NOTFOUND;
    }
    memcpy(folded, key.p, key.n);
    if (!b->job->exact_case) {
        ascii_lower((uint8_t *)folded, key.n);
    }
    return table_build_delete(b->build, bytes_of(folded, key.n));
}

static int
remove_lines(struct building *b, struct bytes lines, bool *found)
{
    struct bytes line;
    int r = 0;

    while (r == 0 && bytes_next_line(&lines, &line)) {
        r = remove_key(b, line);
        *found |= r == 0;
        r = r == GW_ERR_NOTFOUND ? 0 : r;
    }
    return r;
}

int
postmap_remove(struct postmap *job, const char *type, const char *name, bool *found)
{
    struct table_build_options options = {.type = type, .name = name, .keep = true, .mode = 0644};
    struct building b = {.job = job};
    struct buf why;
    int r;

    if (!table_build_is_possible(type)) {
        postmap_tell(job, "fatal", "%s:%s map requires O_RDONLY access mode", type, name);
        return POSTMAP_FAILED;
    }
    buf_init(&why, POSTMAP_NAME_BYTES);
    r = table_build_begin(&options, &b.build, &why);
    if (r == 0) {
        r = remove_lines(&b, bytes_str(job->remove), found);
        int committed = table_build_commit(&b.build);
        r = r == 0 ? committed : r;
    }
    if (r != 0) {
        postmap_tell(job, "fatal", "%s", why.n > 0 ? buf_str(&why) : gw_strerror(r));
    }
    buf_free(&why);
    return r == 0 ? 0 : POSTMAP_FAILED;
}

/* Other programs store the NUL behind a key and a value, too (DB_File of Perl, Postfix on some systems). */
static struct bytes
before_nul(struct bytes text)
{
    ptrdiff_t nul = bytes_index(text, '\0');

    return nul < 0 ? text : bytes_sub(text, 0, (size_t)nul);
}

static int
print_entry(void *context, struct bytes key, struct bytes value)
{
    const struct postmap *job = context;
    uint8_t *plain = NULL;

    key = before_nul(key);
    value = before_nul(value);
    if (job->is_content && value.n % 4 == 0 && (plain = malloc(value.n + 1)) != NULL) {
        size_t padding =
            value.n < 2 ? 0 : (size_t)(value.p[value.n - 1] == '=') + (value.p[value.n - 2] == '=');
        int n = EVP_DecodeBlock(plain, value.p, (int)value.n);

        value = n >= 0 ? bytes_of(plain, (size_t)n - padding) : value;
    }
    postmap_put(key);
    (void)fputs(job->is_alias ? ":\t" : "\t", stdout);
    postmap_put(value);
    (void)fputc('\n', stdout);
    free(plain);
    return 0;
}

int
postmap_list(struct postmap *job, const char *type, const char *name)
{
    struct buf why;
    int r;

    if (!table_build_is_possible(type)) {
        postmap_tell(job, "fatal", "table %s:%s: sequence operation is not supported", type, name);
        return POSTMAP_FAILED;
    }
    buf_init(&why, POSTMAP_NAME_BYTES);
    r = table_build_list(type, name, print_entry, job, &why);
    if (r != 0) {
        postmap_tell(job, "fatal", "%s", why.n > 0 ? buf_str(&why) : gw_strerror(r));
    }
    buf_free(&why);
    return r == 0 ? 0 : POSTMAP_FAILED;
}

/*
 * ctl_postmap - see the header. Before: the operator; after: table_build.c writes, table.c answers -q.
 *
 * Options are Postfix's: -q KEY|-, -d KEY|-, -i (add from standard input), -r (replace), -s (list), -w (no
 * warning for duplicates), -f (keys as they are written), -n/-N/-o/-p/-F/-u/-U/-v (accepted). Exit 0; 1 when
 * a key is not there or anything failed. A line that is not understood is told and skipped; the rest of the
 * table is built.
 */
#include "ctl/ctl_postmap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "config/config.h"
#include "config/main_cf.h"
#include "config/pid_file.h"
#include "config/table.h"
#include "config/table_build.h"
#include "config/table_text.h"

enum { STATUS_FAILED = 1, NAME_BYTES = 4096 };

struct job {
    const char *program;
    bool is_alias;         /* "name: value" lines */
    struct config *config; /* NULL: none was found; everything has a default then */
    const char *query, *remove;
    bool list, add, replace, quiet, exact_case;
    const char *source; /* while a file is read */
    struct table_build *build;
    bool failed;
};

static void
tell(const struct job *job, const char *level, const char *text)
{
    (void)fprintf(stderr, "%s: %s: %s\n", job->program, level, text);
}

static int
print_entry(void *context, struct bytes key, struct bytes value)
{
    const struct job *job = context;

    (void)printf("%.*s%s\t%.*s\n", BYTES_FMT(key), job->is_alias ? ":" : "", BYTES_FMT(value));
    return 0;
}

/* "type:name" with the default type when there is none. */
static bool
split_name(const struct job *job, const char *word, char type[NAME_BYTES], const char **name_r)
{
    const char *colon = strchr(word, ':');
    const char *fallback = job->config == NULL ? "hash" : config_str(job->config, P_default_database_type);
    int n = colon == NULL ? snprintf(type, NAME_BYTES, "%s", fallback)
                          : snprintf(type, NAME_BYTES, "%.*s", (int)(colon - word), word);

    *name_r = colon == NULL ? word : colon + 1;
    return n > 0 && n < NAME_BYTES;
}

static int
put_entry(struct job *job, struct bytes key, struct bytes value, int number)
{
    char folded[TABLE_BUILD_KEY_MAX];

    if (key.n > sizeof(folded)) {
        (void)fprintf(stderr, "%s: warning: %s, line %d: key is longer than %d bytes; skipped\n",
                      job->program, job->source, number, TABLE_BUILD_KEY_MAX);
        return 0;
    }
    memcpy(folded, key.p, key.n);
    if (!job->exact_case) {
        ascii_lower((uint8_t *)folded, key.n);
    }
    key = bytes_of(folded, key.n);
    int r = table_build_put(job->build, key, value, job->replace);
    if (r == GW_ERR_EXISTS) {
        if (!job->quiet) {
            (void)fprintf(stderr, "%s: warning: %s, line %d: duplicate entry: \"%.*s\"\n", job->program,
                          job->source, number, BYTES_FMT(key));
        }
        r = 0;
    }
    if (r != 0) {
        (void)fprintf(stderr, "%s: fatal: %s: write error: %s\n", job->program, table_build_path(job->build),
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
take_alias(void *context, struct bytes line, int number)
{
    struct job *job = context;
    struct buf name;
    int r = 0;

    buf_init(&name, TABLE_KEY_MAX);
    if (take_alias_name(&line, &name)) {
        r = put_entry(job, bytes_trim(bytes_buf(&name)), line, number);
    } else {
        (void)fprintf(stderr, "%s: warning: %s, line %d: need name:value pair\n", job->program, job->source,
                      number);
    }
    buf_free(&name);
    return r;
}

static int
take_entry(void *context, struct bytes line, int number)
{
    struct job *job = context;
    struct bytes key, value;

    switch (table_text_split(line, &key, &value)) {
    case TABLE_TEXT_UNBALANCED:
        (void)fprintf(stderr, "%s: warning: %s, line %d: unbalanced '\"' in '%.*s' -- ignoring this line\n",
                      job->program, job->source, number, BYTES_FMT(key));
        return 0;
    case TABLE_TEXT_NO_VALUE:
        (void)fprintf(stderr, "%s: warning: %s, line %d: expected format: key whitespace value\n",
                      job->program, job->source, number);
        return 0;
    case TABLE_TEXT_ALIAS:
        if (!job->quiet) {
            (void)fprintf(
                stderr,
                "%s: warning: %s, line %d: record is in \"key: value\" format; is this an alias file?\n",
                job->program, job->source, number);
        }
        break;
    case TABLE_TEXT_GOOD:
        break;
    }
    return put_entry(job, key, value, number);
}

/* The table from its source, or (-i) from standard input on top of what is there. */
static int
build_table(struct job *job, const char *type, const char *name)
{
    struct table_build_options options = {.type = type, .name = name, .keep = job->add, .mode = 0644};
    const char *path = job->add ? "/dev/stdin" : name;
    struct stat status;
    struct buf why;
    int r = GW_ERR_SYS;

    buf_init(&why, NAME_BYTES);
    errno = 0; /* stays 0 for what is there and no file */
    if (stat(path, &status) == -1 || (!job->add && !S_ISREG(status.st_mode))) {
        (void)buf_printf(&why, "open %s: %s", path, errno != 0 ? strerror(errno) : "not a regular file");
        goto out;
    }
    if (!job->add) {
        options.mode = status.st_mode & 0666;
        options.owner = status.st_uid;
        options.group = status.st_gid;
    }
    if ((r = table_build_begin(&options, &job->build, &why)) != 0) {
        goto out;
    }
    job->source = path;
    r = config_read_lines(path, job->is_alias ? take_alias : take_entry, job, &why);
    if (r != 0) {
        table_build_abort(&job->build);
    } else if ((r = table_build_commit(&job->build)) != 0) {
        (void)buf_printf(&why, "%s.db: %s", name, strerror(errno));
    }
out:
    if (r != 0 && why.n > 0) {
        tell(job, "fatal", buf_str(&why));
    }
    buf_free(&why);
    return r == 0 ? 0 : STATUS_FAILED;
}

/* The lines of standard input when the key is "-", else the key itself. visit gives 0 (done), NOTFOUND or an
 * error. */
static int
each_key(const char *key, int (*visit)(void *context, struct bytes key, bool from_input), void *context)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    int r = GW_ERR_NOTFOUND;

    if (strcmp(key, "-") != 0) {
        return visit(context, bytes_str(key), false);
    }
    while ((n = getline(&line, &room, stdin)) > 0) {
        n -= line[n - 1] == '\n';
        int one = visit(context, bytes_of(line, (size_t)n), true);

        if (one != 0 && one != GW_ERR_NOTFOUND) {
            r = one;
            break;
        }
        r = one == 0 ? 0 : r;
    }
    free(line);
    return r;
}

struct question {
    struct job *job;
    struct table *table;
};

static int
answer(void *context, struct bytes key, bool from_input)
{
    struct question *question = context;
    struct table_hit hit;

    buf_init(&hit.value, TABLE_VALUE_MAX);
    int r = table_find(question->table, key, &hit);
    if (r == 0 && from_input) {
        (void)printf("%.*s\t%s\n", BYTES_FMT(key), buf_str(&hit.value));
    } else if (r == 0) {
        (void)printf("%s\n", buf_str(&hit.value));
    } else if (r != GW_ERR_NOTFOUND) {
        (void)fprintf(stderr, "%s: fatal: table %s: query error: %s\n", question->job->program,
                      table_spec(question->table), gw_strerror(r));
    }
    buf_free(&hit.value);
    return r;
}

static int
query_table(struct job *job, const char *word, const char *type, const char *name)
{
    struct question question = {.job = job};
    struct buf spec, why;
    int r;

    buf_init(&spec, NAME_BYTES);
    buf_init(&why, NAME_BYTES);
    /* File names are as the operator's shell means them: below the working directory. */
    r = strchr(word, ':') != NULL ? buf_append_str(&spec, word) : buf_printf(&spec, "%s:%s", type, name);
    r = r == 0 ? table_open(NULL, bytes_buf(&spec), job->exact_case ? 0 : TABLE_FOLD, &question.table, &why)
               : r;
    if (r != 0) {
        tell(job, "fatal", why.n > 0 ? buf_str(&why) : gw_strerror(r));
    } else {
        r = each_key(job->query, answer, &question);
    }
    table_free(&question.table);
    buf_free(&spec);
    buf_free(&why);
    return r == 0 ? 0 : STATUS_FAILED;
}

static int
remove_key(void *context, struct bytes key, bool from_input)
{
    struct job *job = context;
    char folded[TABLE_BUILD_KEY_MAX];

    (void)from_input;
    if (key.n == 0 || key.n > sizeof(folded)) {
        return GW_ERR_NOTFOUND;
    }
    memcpy(folded, key.p, key.n);
    if (!job->exact_case) {
        ascii_lower((uint8_t *)folded, key.n);
    }
    return table_build_delete(job->build, bytes_of(folded, key.n));
}

static int
remove_keys(struct job *job, const char *type, const char *name)
{
    struct table_build_options options = {.type = type, .name = name, .keep = true, .mode = 0644};
    struct buf why;
    int found = GW_ERR_SYS, r;

    buf_init(&why, NAME_BYTES);
    r = table_build_begin(&options, &job->build, &why);
    if (r == 0) {
        found = each_key(job->remove, remove_key, job);
        r = table_build_commit(&job->build);
    }
    if (r != 0) {
        tell(job, "fatal", why.n > 0 ? buf_str(&why) : gw_strerror(r));
    }
    buf_free(&why);
    return r == 0 && found == 0 ? 0 : STATUS_FAILED;
}

static int
list_table(struct job *job, const char *type, const char *name)
{
    struct buf why;
    int r;

    buf_init(&why, NAME_BYTES);
    r = table_build_list(type, name, print_entry, job, &why);
    if (r != 0) {
        tell(job, "fatal", why.n > 0 ? buf_str(&why) : gw_strerror(r));
    }
    buf_free(&why);
    return r == 0 ? 0 : STATUS_FAILED;
}

static int
do_table(struct job *job, const char *word)
{
    char type[NAME_BYTES];
    const char *name;

    if (!split_name(job, word, type, &name)) {
        tell(job, "fatal", "a table's name is too long");
        return STATUS_FAILED;
    }
    if (job->query != NULL) {
        return query_table(job, word, type, name);
    }
    if (!table_build_is_possible(type)) {
        (void)fprintf(stderr,
                      "%s: fatal: unsupported dictionary type: %s does not support bulk-mode creation.\n",
                      job->program, type);
        return STATUS_FAILED;
    }
    if (job->remove != NULL) {
        return remove_keys(job, type, name);
    }
    return job->list ? list_table(job, type, name) : build_table(job, type, name);
}

/* newaliases: every table that alias_database names. */
static int
do_alias_databases(struct job *job)
{
    struct bytes rest = bytes_str(job->config == NULL ? "" : config_str(job->config, P_alias_database)), word;
    int status = 0;

    while (bytes_next_token(&rest, ", \t", &word)) {
        char *text = bytes_dup_str(word);

        if (text == NULL || do_table(job, text) != 0) {
            status = STATUS_FAILED;
        }
        free(text);
    }
    return status;
}

static bool
take_option(struct job *job, int option)
{
    switch (option) {
    case 'q':
        job->query = optarg;
        return true;
    case 'd':
        job->remove = optarg;
        return true;
    case 's':
        job->list = true;
        return true;
    case 'i':
        job->add = true;
        return true;
    case 'r':
        job->replace = true;
        return true;
    case 'w':
        job->quiet = true;
        return true;
    case 'f':
        job->exact_case = true;
        return true;
    default:
        return option != '?' && option != ':';
    }
}

static int
print_usage(const struct job *job)
{
    (void)fprintf(
        stderr, "%s: fatal: usage: %s [-finNoprsuUvw] [-c config_dir] [-d key] [-q key] [map_type:]file...\n",
        job->program, job->program);
    return STATUS_FAILED;
}

int
ctl_postmap(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/'), *directory;
    struct job job = {.program = slash != NULL ? slash + 1 : argv[0]};
    struct buf why;
    int option, status = 0;

    job.is_alias = strcmp(job.program, "postmap") != 0;
    if (pid_file_directory(&argc, argv, &directory) != 0) {
        return print_usage(&job);
    }
    optind = 1;
    while ((option = getopt(argc, argv, "+:d:fFinNopq:rsuUvw")) != -1) {
        if (!take_option(&job, option)) {
            return print_usage(&job);
        }
    }
    bool databases = strcmp(job.program, "newaliases") == 0;
    if ((optind >= argc && !databases) ||
        (job.query != NULL) + (job.remove != NULL) + job.list + job.add > 1) {
        return print_usage(&job);
    }
    buf_init(&why, CONFIG_LINE_MAX);
    if (config_load(directory, &job.config, &why) != 0 && databases) {
        (void)fprintf(stderr, "%s: fatal: %s", job.program, buf_str(&why));
        status = STATUS_FAILED;
    }
    buf_free(&why);
    if (status == 0 && databases && optind >= argc) {
        status = do_alias_databases(&job);
    }
    for (int i = optind; i < argc && status == 0; i++) {
        status = do_table(&job, argv[i]);
    }
    config_free(&job.config);
    if (fflush(stdout) != 0) {
        status = STATUS_FAILED;
    }
    return status;
}

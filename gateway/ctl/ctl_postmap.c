/*
 * ctl_postmap - see the header. Before: the operator; after: ctl_postmap_build.c writes and lists,
 * ctl_postmap_query.c asks.
 *
 * Options, texts and exit codes are Postfix's (postmap(1), postalias(1)): -q KEY|-, with -b, -h and -m of a
 * message, -d KEY|-, -i (add from standard input), -r (replace), -s (list), -w (no word of duplicates), -f
 * (keys as they are written), -F (values are files), -p, -u, -U; -n, -N, -o, -v are accepted. Exit 0; 1 when
 * a key is not there or anything failed.
 */
#include "ctl/ctl_postmap.h"

#include <stdarg.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "config/pid_file.h"
#include "config/table.h"
#include "ctl/ctl_postmap_private.h"

enum { READ_PIECE = 65536, INPUT_BYTES_MAX = 64 * 1024 * 1024 };

/* How many bytes the sequence that begins here has; 0: it is none (RFC 3629). */
static size_t
sequence_length(struct bytes text)
{
    static const struct {
        uint8_t mask, lead;
        size_t n;
        uint32_t least;
    } FORMS[] = {{0x80, 0x00, 1, 0}, {0xe0, 0xc0, 2, 0x80}, {0xf0, 0xe0, 3, 0x800}, {0xf8, 0xf0, 4, 0x10000}};

    for (size_t i = 0; i < sizeof(FORMS) / sizeof(FORMS[0]); i++) {
        if ((text.p[0] & FORMS[i].mask) != FORMS[i].lead || text.n < FORMS[i].n) {
            continue;
        }
        uint32_t code = text.p[0] & (uint8_t)~FORMS[i].mask;
        for (size_t k = 1; k < FORMS[i].n; k++) {
            if ((text.p[k] & 0xc0) != 0x80) {
                return 0;
            }
            code = code << 6 | (text.p[k] & 0x3f);
        }
        bool surrogate = code >= 0xd800 && code <= 0xdfff;
        return code < FORMS[i].least || code > 0x10ffff || surrogate ? 0 : FORMS[i].n;
    }
    return 0;
}

/* Control bytes and what is no UTF-8 become "?", all but ASCII when nobody speaks UTF-8. */
static void
make_printable(struct buf *text, bool utf8)
{
    for (size_t i = 0; i < text->n;) {
        size_t n = sequence_length(bytes_of(text->p + i, text->n - i));

        n = n > 1 && !utf8 ? 0 : n;
        if (n == 0 || text->p[i] < 0x20 || text->p[i] == 0x7f) {
            text->p[i] = '?';
        }
        i += n == 0 ? 1 : n;
    }
}

void
postmap_tell(const struct postmap *job, const char *level, const char *format, ...)
{
    struct buf text;
    va_list args;

    buf_init(&text, 4 * TABLE_VALUE_MAX);
    va_start(args, format);
    (void)buf_vprintf(&text, format, args);
    va_end(args);
    make_printable(&text, job->checks_utf8);
    (void)fflush(stdout);
    (void)fprintf(stderr, "%s: %s: %s\n",
                  strcmp(job->program, "newaliases") == 0 ? "postalias" : job->program, level,
                  buf_str(&text));
    buf_free(&text);
}

bool
postmap_is_utf8(struct bytes text)
{
    while (text.n > 0) {
        size_t n = sequence_length(text);

        if (n == 0) {
            return false;
        }
        text = bytes_sub(text, n, text.n);
    }
    return true;
}

void
postmap_put(struct bytes text)
{
    if (text.n > 0) { /* the empty view has no pointer */
        (void)fwrite(text.p, 1, text.n, stdout);
    }
}

int
postmap_read(int fd, struct buf *out)
{
    for (;;) {
        int r = buf_reserve(out, 1);

        if (r != 0) {
            return r;
        }
        size_t room = out->limit - out->n;
        room = room < READ_PIECE ? room : READ_PIECE;
        if ((r = buf_reserve(out, room)) != 0) {
            return r;
        }
        ssize_t n = read(fd, out->p + out->n, room);
        if (n == 0) {
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return GW_ERR_SYS;
        }
        out->n += n > 0 ? (size_t)n : 0;
        out->p[out->n] = '\0';
    }
}

static int
do_table(struct postmap *job, const char *word, bool *found)
{
    char type[POSTMAP_NAME_BYTES];
    const char *name;

    if (!postmap_split(job, word, type, &name)) {
        postmap_tell(job, "fatal", "a table's name is too long");
        return POSTMAP_FAILED;
    }
    if (job->remove != NULL) {
        return postmap_remove(job, type, name, found);
    }
    return job->list ? postmap_list(job, type, name) : postmap_build(job, type, name);
}

/* newaliases: every table that alias_database names. */
static int
do_alias_databases(struct postmap *job)
{
    struct bytes rest = bytes_str(job->config == NULL ? "" : config_str(job->config, P_alias_database)), word;
    int status = 0;
    bool found;

    while (bytes_next_token(&rest, ", \t", &word)) {
        char *text = bytes_dup_str(word);

        if (text == NULL || do_table(job, text, &found) != 0) {
            status = POSTMAP_FAILED;
        }
        free(text);
    }
    return status;
}

static bool
take_option(struct postmap *job, int option)
{
    const struct {
        char letter;
        bool *flag;
    } FLAGS[] = {{'s', &job->list},       {'i', &job->add},        {'r', &job->replace},
                 {'w', &job->quiet},      {'f', &job->exact_case}, {'p', &job->default_mode},
                 {'F', &job->is_content}, {'b', &job->body},       {'h', &job->header},
                 {'m', &job->mime},       {'u', &job->no_utf8},    {'U', &job->always_utf8}};

    for (size_t i = 0; i < sizeof(FLAGS) / sizeof(FLAGS[0]); i++) {
        if (option == FLAGS[i].letter) {
            *FLAGS[i].flag = true;
            return true;
        }
    }
    if (option == 'q') {
        job->query = optarg;
    } else if (option == 'd') {
        job->remove = optarg;
    }
    return option != '?';
}

static int
print_usage(const struct postmap *job)
{
    postmap_tell(job, "fatal", "usage: %s [-%s] [-c config_dir] [-d key] [-q key] [map_type:]file...",
                 job->program, job->is_alias ? "Nfinoprsuvw" : "bfFhimnNoprsuUvw");
    return POSTMAP_FAILED;
}

/* What does not go together; the word of it, or NULL. */
static const char *
find_conflict(const struct postmap *job)
{
    bool message = job->body || job->header || job->mime;

    if ((job->query != NULL) + (job->remove != NULL) + job->list > 1) {
        return "specify only one of -s -q or -d";
    }
    if (message && (job->query == NULL || strcmp(job->query, "-") != 0)) {
        return "specify -b -h or -m only with \"-q -\"";
    }
    return NULL;
}

/* Keys of standard input are read once, for all tables. */
static int
read_keys(struct postmap *job, struct buf *keys)
{
    if (job->remove == NULL || strcmp(job->remove, "-") != 0) {
        return 0;
    }
    int r = postmap_read(STDIN_FILENO, keys);
    job->remove = buf_str(keys);
    return r;
}

static int
run(struct postmap *job, char *const *tables, size_t count)
{
    struct buf keys;
    bool found = false;
    int status = 0;

    if (job->query != NULL) {
        return postmap_query(job, tables, count);
    }
    buf_init(&keys, INPUT_BYTES_MAX);
    if (read_keys(job, &keys) != 0) {
        postmap_tell(job, "fatal", "standard input cannot be read");
        status = POSTMAP_FAILED;
    }
    if (status == 0 && count == 0) {
        status = do_alias_databases(job);
    }
    for (size_t i = 0; i < count && status == 0; i++) {
        status = do_table(job, tables[i], &found);
    }
    buf_free(&keys);
    return job->remove != NULL && !found ? POSTMAP_FAILED : status;
}

static bool
load_config(struct postmap *job, const char *directory, bool required)
{
    struct buf why;
    bool loaded;

    buf_init(&why, CONFIG_LINE_MAX);
    loaded = config_load(directory, &job->config, &why) == 0;
    if (!loaded && required) {
        postmap_tell(job, "fatal", "%s", buf_str(&why));
    }
    buf_free(&why);
    job->checks_utf8 = loaded && config_bool(job->config, P_smtputf8_enable) && !job->no_utf8 &&
                       (job->always_utf8 || !(job->body || job->header));
    return loaded || !required;
}

int
ctl_postmap(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/'), *directory, *conflict;
    struct postmap job = {.program = slash != NULL ? slash + 1 : argv[0]};
    int option, status = POSTMAP_FAILED;

    job.is_alias = strcmp(job.program, "postmap") != 0;
    bool databases = strcmp(job.program, "newaliases") == 0;
    log_command(databases ? "postalias" : job.program);
    if (pid_file_directory(&argc, argv, &directory) != 0) {
        return print_usage(&job);
    }
    optind = 1;
    while ((option = getopt(argc, argv, job.is_alias ? "+d:finNopq:rsuvw" : "+bd:fFhimnNopq:rsuUvw")) != -1) {
        if (!take_option(&job, option)) {
            return print_usage(&job);
        }
    }
    if ((conflict = find_conflict(&job)) != NULL) {
        postmap_tell(&job, "fatal", "%s", conflict);
        return POSTMAP_FAILED;
    }
    if (optind >= argc && !databases) {
        return print_usage(&job);
    }
    if (job.mime && !job.body && !job.header) {
        postmap_tell(&job, "warning", "ignoring -m option without -b or -h");
    }
    if (load_config(&job, directory, databases)) {
        status = run(&job, argv + optind, (size_t)(argc - optind));
    }
    config_free(&job.config);
    return fflush(stdout) == 0 ? status : POSTMAP_FAILED;
}

/*
 * ctl_postconf_master - the rows of master.cf for postconf: reading them as they are written, and what -M, -F
 * and -P print of them.
 *
 * Before: ctl_postconf.c; after: ctl_postconf_param.c registers what the rows bring, ctl_postconf_edit.c
 * changes them. A row that Postfix could not read ends the run.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "config/config_mend.h"
#include "config/main_cf.h"
#include "ctl/ctl_postconf_private.h"

enum { PATH_BYTES = 4096 };

static const char BLANKS[] = " \t\r\n";

static const char *const FIELDS[POSTCONF_FIELDS] = {"service", "type",   "private",       "unprivileged",
                                                    "chroot",  "wakeup", "process_limit", "command"};

enum { FIELD_TYPE = 1, FIELD_PRIVATE = 2, FIELD_CHROOT = 4, FIELD_WAKEUP = 5, FIELD_LIMIT = 6 };

int
postconf_field(struct bytes name)
{
    for (int i = 0; i < POSTCONF_FIELDS; i++) {
        if (bytes_equal(name, bytes_str(FIELDS[i]))) {
            return i;
        }
    }
    return -1;
}

static bool
is_type(const char *word)
{
    static const char *const TYPES[] = {"unix", "fifo", "inet", "pass", "unix-dgram"};

    for (size_t i = 0; i < sizeof(TYPES) / sizeof(TYPES[0]); i++) {
        if (strcmp(word, TYPES[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool
is_valid(size_t field, const char *value)
{
    size_t digits = strspn(value, "0123456789");

    if (field == FIELD_TYPE) {
        return is_type(value);
    }
    if (field >= FIELD_PRIVATE && field <= FIELD_CHROOT) {
        return strlen(value) == 1 && strchr("yn-", value[0]) != NULL;
    }
    if (field == FIELD_WAKEUP || field == FIELD_LIMIT) {
        return strcmp(value, "-") == 0 || value[digits] == '\0' ||
               (field == FIELD_WAKEUP && strcmp(value + digits, "?") == 0);
    }
    return value[0] != '\0';
}

void
postconf_check_field(size_t field, const char *value, const char *line)
{
    if (!is_valid(field, value)) {
        postconf_fatal("invalid %s field \"%s\" in \"%s\"", FIELDS[field], value, line);
    }
}

/* The next word; what stands in braces belongs to one. */
static bool
next_word(struct bytes *rest, struct bytes *word_r)
{
    size_t i = 0, depth = 0;

    while (rest->n > 0 && strchr(BLANKS, rest->p[0]) != NULL) {
        *rest = bytes_sub(*rest, 1, rest->n);
    }
    for (; i < rest->n && (depth > 0 || strchr(BLANKS, rest->p[i]) == NULL); i++) {
        depth += rest->p[i] == '{';
        depth -= rest->p[i] == '}' && depth > 0;
    }
    *word_r = bytes_sub(*rest, 0, i);
    *rest = bytes_sub(*rest, i, rest->n);
    return i > 0;
}

/* "{ text }" without its braces; mistakes are told and what can be had is taken. */
static struct bytes
strip_braces(struct bytes word)
{
    size_t i = 0, depth = 0;

    for (; i < word.n; i++) {
        depth += word.p[i] == '{';
        depth -= word.p[i] == '}';
        if (depth == 0) {
            break;
        }
    }
    if (depth > 0) {
        postconf_warn("master.cf: missing '}' in \"%.*s\"", BYTES_FMT(word));
        return bytes_trim(bytes_sub(word, 1, word.n));
    }
    if (i + 1 < word.n) {
        postconf_warn("master.cf: syntax error after '}' in \"%.*s\"", BYTES_FMT(word));
    }
    return bytes_trim(bytes_sub(word, 1, i - 1));
}

static void
add_argument(struct arena *arena, struct postconf_row *row, size_t *room, char *text)
{
    row->argument = postconf_grow(arena, row->argument, room, row->argument_count, sizeof(char *));
    row->argument[row->argument_count++] = text;
}

/* The value of "-o" in braces has no blanks around its "=". */
static char *
normal_setting(struct arena *arena, struct bytes text)
{
    struct bytes name, value;

    if (text.n > 0 && config_split_setting(text, &name, &value) == 0) {
        char *out = arena_printf(arena, "%.*s=%.*s", BYTES_FMT(name), BYTES_FMT(value));

        if (out == NULL) {
            postconf_fatal("out of memory");
        }
        return out;
    }
    postconf_warn("master.cf: %s: \"%.*s\"",
                  text.n == 0 || text.p[0] == '=' ? "missing attribute name"
                                                  : "missing '=' after attribute name",
                  BYTES_FMT(text));
    return postconf_copy(arena, text);
}

/* "-vo x" and "-ox" are "-v -o x" and "-o x". True when the next word is the value of a "-o". */
static bool
add_option(struct arena *arena, struct postconf_row *row, size_t *room, struct bytes word)
{
    ptrdiff_t o = bytes_index(word, 'o');

    if (o < 0) {
        add_argument(arena, row, room, postconf_copy(arena, word));
        return false;
    }
    if (o > 1) {
        add_argument(arena, row, room, postconf_copy(arena, bytes_sub(word, 0, (size_t)o)));
    }
    add_argument(arena, row, room, postconf_copy(arena, BYTES_LIT("-o")));
    if ((size_t)o + 1 < word.n) {
        add_argument(arena, row, room, postconf_copy(arena, bytes_sub(word, (size_t)o + 1, word.n)));
        return false;
    }
    return true;
}

static void
take_arguments(struct arena *arena, struct bytes rest, struct postconf_row *row)
{
    bool options = true, value = false;
    size_t room = 0;
    struct bytes word;

    row->argument = NULL;
    row->argument_count = 0;
    while (next_word(&rest, &word)) {
        bool braced = word.p[0] == '{';

        if (braced) {
            word = strip_braces(word);
        }
        if (value) {
            add_argument(arena, row, &room,
                         braced ? normal_setting(arena, word) : postconf_copy(arena, word));
            value = false;
            continue;
        }
        options = options && word.n > 1 && word.p[0] == '-' && !bytes_equal(word, BYTES_LIT("--"));
        if (options) {
            value = add_option(arena, row, &room, word);
        } else {
            add_argument(arena, row, &room, postconf_copy(arena, word));
        }
    }
    add_argument(arena, row, &room, NULL);
    row->argument_count--;
}

void
postconf_take_options(struct arena *arena, struct postconf_row *row)
{
    struct bytes name, value;

    row->own = row->read_only = (struct postconf_settings){0};
    for (size_t i = 0; i + 1 < row->argument_count && row->argument[i][0] == '-' &&
                       row->argument[i][1] != '\0' && strcmp(row->argument[i], "--") != 0;
         i++) {
        if (strcmp(row->argument[i], "-o") == 0 &&
            config_split_setting(bytes_str(row->argument[++i]), &name, &value) == 0) {
            postconf_settings_put(arena, config_is_read_only(name) ? &row->read_only : &row->own, name,
                                  value);
        }
    }
}

const char *
postconf_parse_row(struct arena *arena, struct bytes line, struct postconf_row *row)
{
    struct bytes rest = line, word;
    char *text;

    memset(row, 0, sizeof(*row));
    for (size_t i = 0; i < POSTCONF_FIELDS; i++) {
        bool found = i < POSTCONF_COMMAND ? bytes_next_token(&rest, BLANKS, &word) : next_word(&rest, &word);

        if (!found) {
            return "bad field count";
        }
        row->field[i] = postconf_copy(arena, word);
    }
    text = postconf_copy(arena, line);
    for (size_t i = FIELD_TYPE; i < POSTCONF_COMMAND; i++) {
        postconf_check_field(i, row->field[i], text);
    }
    take_arguments(arena, rest, row);
    postconf_take_options(arena, row);
    return NULL;
}

static int
take_line(void *context, struct bytes line, int number)
{
    struct postconf *pc = context;
    struct postconf_rows *rows = &pc->rows;

    rows->list = postconf_grow(pc->arena, rows->list, &rows->room, rows->count, sizeof(*rows->list));
    const char *bad = postconf_parse_row(pc->arena, line, &rows->list[rows->count]);
    if (bad != NULL) {
        postconf_fatal("file %s/master.cf: line %d: %s", pc->directory, number, bad);
    }
    rows->count++;
    return 0;
}

void
postconf_read_master(struct postconf *pc, bool required)
{
    char path[PATH_BYTES];
    struct buf why;

    buf_init(&why, CONFIG_LINE_MAX);
    (void)snprintf(path, sizeof(path), "%s/master.cf", pc->directory);
    if (access(path, R_OK) != 0) {
        if (required) {
            postconf_fatal("open %s: %m", path);
        }
        postconf_warn("open %s: %m", path);
    } else if (config_read_lines(path, take_line, pc, &why) != 0) {
        postconf_fatal("%s", buf_str(&why));
    }
    buf_free(&why);
}

bool
postconf_request_parse(const char *text, size_t most, struct postconf_request *request)
{
    struct bytes rest = bytes_str(text);

    memset(request, 0, sizeof(*request));
    request->text = text;
    for (bool more = true; more;) {
        ptrdiff_t slash = bytes_index(rest, '/');

        if (request->parts == most) {
            return false;
        }
        more = slash >= 0;
        request->part[request->parts++] = more ? bytes_sub(rest, 0, (size_t)slash) : rest;
        rest = more ? bytes_sub(rest, (size_t)slash + 1, rest.n) : rest;
    }
    return true;
}

bool
postconf_request_part(const struct postconf_request *request, size_t part, const char *text)
{
    return part >= request->parts || bytes_equal(request->part[part], BYTES_LIT("*")) ||
           bytes_equal(request->part[part], bytes_str(text));
}

bool
postconf_request_row(const struct postconf_request *request, const struct postconf_row *row)
{
    return postconf_request_part(request, 0, row->field[0]) &&
           postconf_request_part(request, 1, row->field[1]);
}

/* Writing of words with a wish where lines end. */
struct writer {
    FILE *out;
    bool fold;
    bool fresh; /* nothing but blanks stands on the line */
    size_t at;
};

/* n: of the word without braces, which Postfix does not count. */
static void
put_word(struct writer *writer, const struct buf *word, size_t n, bool new_line)
{
    if (writer->at > 0 && !writer->fresh) {
        if (writer->fold && (new_line || writer->at + n + 1 >= POSTCONF_LINE_LIMIT)) {
            (void)fprintf(writer->out, "\n%*s", POSTCONF_INDENT, "");
            writer->at = POSTCONF_INDENT;
            writer->fresh = true;
        } else {
            (void)fputc(' ', writer->out);
            writer->at++;
        }
    }
    (void)fwrite(buf_str(word), 1, word->n, writer->out);
    writer->at += word->n;
    writer->fresh = writer->fresh && word->n == 0;
}

static void
append_argument(struct buf *out, const char *argument)
{
    bool braces = strpbrk(argument, BLANKS) != NULL;

    if (buf_printf(out, braces ? "{%s}" : "%s", argument) != 0) {
        postconf_fatal("out of memory");
    }
}

/* The words behind the fields; a setting has a line of its own when lines are folded. */
static void
put_arguments(struct postconf *pc, struct writer *writer, unsigned show, const struct postconf_row *row)
{
    bool options = true, new_line = false;
    struct buf word, value;

    buf_init(&word, CONFIG_LINE_MAX);
    buf_init(&value, CONFIG_LINE_MAX);
    for (size_t i = 0; i < row->argument_count; i++) {
        const char *argument = row->argument[i], *setting = NULL;

        buf_clear(&word);
        buf_clear(&value);
        options = options && argument[0] == '-' && argument[1] != '\0' && strcmp(argument, "--") != 0;
        append_argument(&word, argument);
        if (options && strcmp(argument, "-o") == 0 && i + 1 < row->argument_count) {
            setting = row->argument[++i];
            if ((show & SHOW_EXPANDED) != 0) {
                postconf_expand(pc, setting, &row->own, &value);
                setting = buf_str(&value);
            }
            if (buf_append_byte(&word, ' ') != 0) {
                postconf_fatal("out of memory");
            }
            append_argument(&word, setting);
        }
        put_word(writer, &word, strlen(argument), setting != NULL || new_line);
        new_line = setting != NULL;
    }
    buf_free(&word);
    buf_free(&value);
}

void
postconf_print_row(struct postconf *pc, FILE *out, unsigned show, const struct postconf_row *row)
{
    static const size_t STOPS[POSTCONF_COMMAND] = {11, 17, 25, 33, 41, 49, 57};
    struct writer writer = {.out = out, .fold = (show & FOLD_LINES) != 0};

    /* Columns stand where Postfix puts them; a long one pushes the next only as far as it must. */
    for (size_t i = 0; i < POSTCONF_COMMAND; i++) {
        writer.at += strlen(row->field[i]);
        size_t pad = writer.at < STOPS[i] ? STOPS[i] - writer.at : 1;

        (void)fprintf(out, "%s%*s", row->field[i], (int)pad, "");
        writer.at += pad;
    }
    writer.at += (size_t)fprintf(out, "%s", row->field[POSTCONF_COMMAND]);
    put_arguments(pc, &writer, show, row);
    (void)fputc('\n', out);
}

/* The requests of a command line; without any, one that matches all. */
static struct postconf_request *
parse_requests(char *const *names, size_t most, const char *remedy, size_t *count_r)
{
    static const char *const ALL[] = {"*", NULL};
    size_t count = 0;

    while (names[count] != NULL) {
        count++;
    }
    bool all = count == 0;
    struct postconf_request *requests = calloc(all ? 1 : count, sizeof(*requests));
    if (requests == NULL) {
        postconf_fatal("out of memory");
    }
    *count_r = all ? 1 : count;
    for (size_t i = 0; i < *count_r; i++) {
        if (!postconf_request_parse(all ? ALL[i] : names[i], most, &requests[i])) {
            postconf_fatal("%s", remedy);
        }
        requests[i].matched = all;
    }
    return requests;
}

static void
finish_requests(struct postconf_request *requests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!requests[i].matched) {
            postconf_warn("unmatched request: \"%s\"", requests[i].text);
        }
    }
    free(requests);
}

void
postconf_show_rows(struct postconf *pc, char *const *names)
{
    size_t count;
    struct postconf_request *requests =
        parse_requests(names, 2, "-M option requires service_name[/type]", &count);

    for (size_t i = 0; i < pc->rows.count; i++) {
        for (size_t k = 0; k < count; k++) { /* what is asked for twice is told twice, as in Postfix */
            if (postconf_request_row(&requests[k], &pc->rows.list[i])) {
                requests[k].matched = true;
                postconf_print_row(pc, stdout, pc->show, &pc->rows.list[i]);
            }
        }
    }
    finish_requests(requests, count);
}

static void
print_field(struct postconf *pc, const struct postconf_row *row, size_t field)
{
    struct writer writer = {.out = stdout, .fold = (pc->show & FOLD_LINES) != 0};
    const char *value = row->field[field];

    if ((pc->show & HIDE_NAMES) == 0) {
        writer.at += (size_t)printf("%s/%s/%s%s", row->field[0], row->field[1], FIELDS[field],
                                    (pc->show & HIDE_VALUES) != 0 ? "" : " = ");
    }
    if ((pc->show & HIDE_VALUES) == 0) {
        if (writer.at > 0 && writer.at + strlen(value) > POSTCONF_LINE_LIMIT) {
            (void)printf("\n%*s", POSTCONF_INDENT, "");
            writer.at = POSTCONF_INDENT;
        }
        writer.at += (size_t)printf("%s", value);
        if (field == POSTCONF_COMMAND) {
            put_arguments(pc, &writer, pc->show, row);
        }
    }
    (void)putchar('\n');
}

void
postconf_show_fields(struct postconf *pc, char *const *names)
{
    size_t count;
    struct postconf_request *requests =
        parse_requests(names, 3, "-F option requires service_name[/type[/field]]", &count);

    for (size_t k = 0; k < count; k++) {
        const struct bytes *field = &requests[k].part[2];

        if (requests[k].parts == 3 && !bytes_equal(*field, BYTES_LIT("*")) && postconf_field(*field) < 0) {
            postconf_fatal("invalid service attribute name: \"%.*s\"", BYTES_FMT(*field));
        }
    }
    for (size_t i = 0; i < pc->rows.count; i++) {
        for (size_t k = 0; k < count; k++) {
            for (size_t field = 0; field < POSTCONF_FIELDS; field++) {
                if (postconf_request_row(&requests[k], &pc->rows.list[i]) &&
                    postconf_request_part(&requests[k], 2, FIELDS[field])) {
                    requests[k].matched = true;
                    print_field(pc, &pc->rows.list[i], field);
                }
            }
        }
    }
    finish_requests(requests, count);
}

static void
print_option(struct postconf *pc, const struct postconf_row *row, const struct postconf_setting *setting)
{
    struct buf value;

    buf_init(&value, CONFIG_LINE_MAX);
    if ((pc->show & SHOW_EXPANDED) != 0) {
        postconf_expand(pc, setting->value, &row->own, &value);
    } else if (buf_append_str(&value, setting->value) != 0) {
        postconf_fatal("out of memory");
    }
    if ((pc->show & HIDE_NAMES) != 0) {
        postconf_print(stdout, pc->show, "%s", buf_str(&value));
    } else if ((pc->show & HIDE_VALUES) != 0) {
        postconf_print(stdout, pc->show, "%s/%s/%s", row->field[0], row->field[1], setting->name);
    } else {
        postconf_print(stdout, pc->show, "%s/%s/%s = %s", row->field[0], row->field[1], setting->name,
                       buf_str(&value));
    }
    buf_free(&value);
}

static int
compare_settings(const void *a, const void *b)
{
    return strcmp(((const struct postconf_setting *)a)->name, ((const struct postconf_setting *)b)->name);
}

void
postconf_show_options(struct postconf *pc, char *const *names)
{
    size_t count;
    struct postconf_request *requests =
        parse_requests(names, 3, "-P option requires service_name[/type[/parameter]]", &count);

    for (size_t i = 0; i < pc->rows.count; i++) {
        struct postconf_row *row = &pc->rows.list[i];

        if (row->own.count > 0) {
            qsort(row->own.list, row->own.count, sizeof(*row->own.list), compare_settings);
        }
        for (size_t k = 0; k < count; k++) {
            for (size_t option = 0; option < row->own.count; option++) {
                if (postconf_request_row(&requests[k], row) &&
                    postconf_request_part(&requests[k], 2, row->own.list[option].name)) {
                    requests[k].matched = true;
                    print_option(pc, row, &row->own.list[option]);
                }
            }
        }
    }
    finish_requests(requests, count);
}

/*
 * ctl_postconf_edit - postconf -Me -MX -M# -Fe -Pe -PX: changing master.cf.
 *
 * Rows that are not named stay as they are written, and no comment is lost. A row that is replaced as a whole
 * takes the place of the old one; one that is changed in a part comes behind the comments that follow it, as
 * Postfix writes it. Before: ctl_postconf.c; after: ctl_edit.c puts the new file in place.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "config/main_cf.h"
#include "ctl/ctl_edit.h"
#include "ctl/ctl_postconf_private.h"

enum { PATH_BYTES = 4096 };

struct change {
    struct postconf_request request;
    struct bytes value;      /* -e: what stands behind "=" */
    struct postconf_row row; /* -Me */
    int field;               /* -Fe */
};

struct edit {
    struct postconf *pc;
    int mode, how;
    struct change *changes;
    size_t count;
    FILE *out;
    struct buf logical; /* the lines of the row that is being read, without comments */
    bool open;          /* there is one */
    bool held;          /* it is printed when the next one begins */
    bool dropped;       /* its lines are not copied */
    bool commented;
};

static void
need_parts(const struct edit *edit, const struct change *change)
{
    static const struct {
        int mode;
        size_t parts;
        const char *remedy;
    } NEEDS[] = {{'M', 2, "-Me, -MX or -M# requires service_name/type"},
                 {'F', 3, "-Fe or -FX requires service_name/type/field_name"},
                 {'P', 3, "-Pe or -PX requires service_name/type/parameter"}};

    for (size_t i = 0; i < sizeof(NEEDS) / sizeof(NEEDS[0]); i++) {
        if (NEEDS[i].mode == edit->mode && change->request.parts != NEEDS[i].parts) {
            postconf_fatal("%s", NEEDS[i].remedy);
        }
    }
}

static bool
has_blank(struct bytes text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == ' ' || (text.p[i] >= '\t' && text.p[i] <= '\r')) {
            return true;
        }
    }
    return false;
}

/* Fatal unless the new value can stand in a row. */
static void
check_value(const struct edit *edit, struct change *change, const char *word)
{
    const char *bad;

    if (edit->mode == 'M' &&
        (bad = postconf_parse_row(edit->pc->arena, change->value, &change->row)) != NULL) {
        postconf_fatal("%s: \"%s\"", bad, word);
    }
    if (edit->mode == 'P' && has_blank(change->value)) {
        postconf_fatal("-Pe does not accept whitespace in parameter value");
    }
    if (edit->mode != 'F') {
        return;
    }
    change->field = postconf_field(change->request.part[2]);
    if (change->field < 0) {
        postconf_fatal("invalid service attribute name: \"%.*s\"", BYTES_FMT(change->request.part[2]));
    }
    if (change->field != POSTCONF_COMMAND) {
        if (has_blank(change->value)) {
            postconf_fatal("-Fe does not accept whitespace in non-command field");
        }
    } else if (bytes_trim(change->value).n == 0) {
        postconf_fatal("-Fe requires a command: \"%s\"", word);
    }
}

static void
take_word(const struct edit *edit, const char *word, struct change *change)
{
    struct bytes name = bytes_trim(bytes_str(word));

    if (bytes_index(name, '\n') >= 0) {
        postconf_fatal("-e, -X, or -# accepts no multi-line input");
    }
    if (edit->how == 'e' && config_split_setting(bytes_str(word), &name, &change->value) != 0) {
        postconf_fatal("%s: \"%s\"",
                       name.n > 0 && name.p[0] == '=' ? "missing attribute name"
                                                      : "missing '=' after attribute name",
                       word);
    }
    char *text = postconf_copy(edit->pc->arena, name);
    if (!postconf_request_parse(text, 3, &change->request)) {
        change->request.parts = 0; /* none of the forms */
    }
    change->request.text = word;
    need_parts(edit, change);
    if (edit->mode == 'P' && bytes_equal(change->request.part[2], BYTES_LIT("*"))) {
        postconf_fatal("-Pe does not accept wild-card parameter name");
    }
    if (edit->how == 'e') {
        check_value(edit, change, word);
    }
}

static void
set_field(struct arena *arena, struct postconf_row *row, const struct change *change)
{
    if (change->field != POSTCONF_COMMAND) {
        char *value = postconf_copy(arena, change->value);

        postconf_check_field((size_t)change->field, value, value);
        row->field[change->field] = value;
        return;
    }
    /* The command with its words is parsed as the end of a row. */
    struct postconf_row parsed;
    struct buf line;

    buf_init(&line, CONFIG_LINE_MAX);
    if (buf_printf(&line, "x unix - - - - - %.*s", BYTES_FMT(change->value)) != 0 ||
        postconf_parse_row(arena, bytes_buf(&line), &parsed) != NULL) {
        postconf_fatal("bad command: \"%.*s\"", BYTES_FMT(change->value));
    }
    row->field[POSTCONF_COMMAND] = parsed.field[POSTCONF_COMMAND];
    row->argument = parsed.argument;
    row->argument_count = parsed.argument_count;
    buf_free(&line);
}

static char *
setting_text(struct arena *arena, struct bytes name, struct bytes value)
{
    char *text = arena_printf(arena, "%.*s=%.*s", BYTES_FMT(name), BYTES_FMT(value));

    if (text == NULL) {
        postconf_fatal("out of memory");
    }
    return text;
}

/* Sets or (remove) takes away the "-o" settings of that name among the words. */
static void
set_option(struct arena *arena, struct postconf_row *row, const struct change *change, bool remove)
{
    struct bytes wanted = change->request.part[2], name, value;
    char **words = arena_alloc(arena, (row->argument_count + 3) * sizeof(char *));
    size_t count = 0, i = 0;
    bool done = remove;

    if (words == NULL) {
        postconf_fatal("out of memory");
    }
    for (; i < row->argument_count && row->argument[i][0] == '-' && row->argument[i][1] != '\0' &&
           strcmp(row->argument[i], "--") != 0;
         i++) {
        bool option = strcmp(row->argument[i], "-o") == 0 && i + 1 < row->argument_count;

        if (option && config_split_setting(bytes_str(row->argument[i + 1]), &name, &value) == 0 &&
            bytes_equal(name, wanted)) {
            i++;
            if (!remove) {
                words[count++] = row->argument[i - 1];
                words[count++] = setting_text(arena, wanted, change->value);
                done = true;
            }
            continue;
        }
        words[count++] = row->argument[i];
        if (option) {
            words[count++] = row->argument[++i];
        }
    }
    if (!done) {
        words[count++] = postconf_copy(arena, BYTES_LIT("-o"));
        words[count++] = setting_text(arena, wanted, change->value);
    }
    for (; i < row->argument_count; i++) {
        words[count++] = row->argument[i];
    }
    row->argument = words;
    row->argument_count = count;
    postconf_take_options(arena, row);
}

static void
print_changed(struct edit *edit, struct postconf_row *row)
{
    for (size_t i = 0; i < edit->count; i++) {
        struct change *change = &edit->changes[i];

        if (postconf_request_row(&change->request, row)) {
            change->request.matched = true;
            if (edit->mode == 'F') {
                set_field(edit->pc->arena, row, change);
            } else {
                set_option(edit->pc->arena, row, change, edit->how == 'X');
            }
        }
    }
    postconf_print_row(edit->pc, edit->out, FOLD_LINES, row);
}

/* The row has been read to its end. */
static void
finish_row(struct edit *edit)
{
    struct postconf_row row;

    if (edit->open && edit->held &&
        postconf_parse_row(edit->pc->arena, bytes_buf(&edit->logical), &row) == NULL) {
        print_changed(edit, &row);
    }
    edit->open = edit->held = edit->dropped = edit->commented = false;
    buf_clear(&edit->logical);
}

/* A row gives way to a new one of its name and type, too. */
static bool
is_meant(const struct edit *edit, const struct change *change, const struct postconf_row *row)
{
    return postconf_request_row(&change->request, row) ||
           (edit->mode == 'M' && edit->how == 'e' && strcmp(change->row.field[0], row->field[0]) == 0 &&
            strcmp(change->row.field[1], row->field[1]) == 0);
}

/* The first line of a row decides what becomes of it: name and type stand in it. */
static void
start_row(struct edit *edit, struct bytes line)
{
    struct postconf_row row = {0};
    struct bytes rest = line, word;
    struct change *hit = NULL;

    edit->open = true;
    for (size_t i = 0; i < 2 && bytes_next_token(&rest, " \t\r\n", &word); i++) {
        row.field[i] = postconf_copy(edit->pc->arena, word);
    }
    for (size_t i = 0; row.field[1] != NULL && i < edit->count; i++) {
        if (is_meant(edit, &edit->changes[i], &row)) {
            hit = &edit->changes[i];
            edit->dropped = true;
            edit->held = edit->mode != 'M';
            edit->commented = edit->how == '#';
            if (hit->request.matched && edit->how == 'e' && edit->mode == 'M') {
                hit = NULL; /* the new row is there already */
            } else {
                hit->request.matched = true;
            }
        }
    }
    if (hit != NULL && edit->mode == 'M' && edit->how == 'e') {
        postconf_print_row(edit->pc, edit->out, FOLD_LINES, &hit->row);
    }
}

static void
edit_line(struct edit *edit, struct bytes line)
{
    struct bytes text = bytes_trim(line);
    bool comment = text.n == 0 || text.p[0] == '#';
    bool continues = line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t');

    if (!comment && !continues) {
        finish_row(edit);
        start_row(edit, line);
    }
    if (!comment && edit->dropped && edit->commented) {
        (void)fputc('#', edit->out);
    } else if (!comment && edit->dropped) {
        if (buf_append_bytes(&edit->logical, line) != 0) {
            postconf_fatal("a row of master.cf is too long");
        }
        return;
    }
    (void)fwrite(line.p, 1, line.n, edit->out);
    (void)fputc('\n', edit->out);
}

static void
write_unmatched(struct edit *edit)
{
    for (size_t i = 0; i < edit->count; i++) {
        const struct change *change = &edit->changes[i];

        if (change->request.matched || (edit->mode == 'M' && edit->how != 'e')) {
            continue;
        }
        if (edit->mode == 'M') {
            postconf_print_row(edit->pc, edit->out, FOLD_LINES, &change->row);
        } else {
            postconf_warn("unmatched service_name/type: \"%s\"", change->request.text);
        }
    }
}

void
postconf_edit_master(struct postconf *pc, int mode, int how, char *const *words)
{
    struct edit edit = {.pc = pc, .mode = mode, .how = how};
    struct ctl_edit_file file;
    struct buf text;
    struct bytes rest, line;
    char path[PATH_BYTES], *memory = NULL;
    size_t size = 0;

    while (words[edit.count] != NULL) {
        edit.count++;
    }
    if (edit.count == 0) {
        postconf_fatal("%s", how == 'e' ? "-e requires name=value argument" : "missing service argument");
    }
    edit.changes = calloc(edit.count, sizeof(*edit.changes));
    edit.out = open_memstream(&memory, &size);
    if (edit.changes == NULL || edit.out == NULL) {
        postconf_fatal("out of memory");
    }
    for (size_t i = 0; i < edit.count; i++) {
        take_word(&edit, words[i], &edit.changes[i]);
    }
    buf_init(&edit.logical, CONFIG_LINE_MAX);
    buf_init(&text, CTL_EDIT_FILE_MAX);
    (void)snprintf(path, sizeof(path), "%s/master.cf", pc->directory);
    if (ctl_edit_open(path, &file) != 0) {
        postconf_fatal("open %s: %m", path);
    }
    rest = bytes_buf(&file.content);
    while (bytes_next_line(&rest, &line)) {
        edit_line(&edit, line);
    }
    finish_row(&edit);
    write_unmatched(&edit);
    if (fclose(edit.out) != 0 || buf_append(&text, memory, size) != 0) {
        postconf_fatal("out of memory");
    }
    if (ctl_edit_replace(path, &file, &text) != 0) {
        postconf_fatal("%s: %m", path);
    }
    ctl_edit_close(&file);
    buf_free(&text);
    buf_free(&edit.logical);
    free(memory);
    free(edit.changes);
}

/*
 * ctl_postconf - see the header. Before: the operator and scripts; after: main.cf is read again at the next
 * reload.
 *
 *   postconf [-dhHnox] [name...]   values: all; -d defaults, -n those of main.cf, -x expanded, -h without
 * names, -H without values, -o name=value on top postconf -e name=value... | -X name... | -# name...    set,
 * remove, comment out postconf -M|-F|-P [name/type]  master.cf: rows, columns, -o pairs;   postconf -m table
 * types Warnings go to standard error and do not change the exit status; an unknown name is a warning, as in
 * Postfix.
 */
#include "ctl/ctl_postconf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "config/config.h"
#include "config/expand.h"
#include "config/pid_file.h"
#include "config/table.h"
#include "ctl/ctl_edit.h"

enum { STATUS_FAILED = 1, PATH_BYTES = 4096, OVERRIDES_MAX = 100, DEPTH_MAX = 32, NUMBER_BYTES = 16 };

struct view {
    struct config *config;
    bool defaults, only_set, expand, no_names, no_values;
    struct bytes override_names[OVERRIDES_MAX], override_values[OVERRIDES_MAX];
    size_t override_count;
    unsigned depth;
};

struct row {
    const char *name, *source;
    bool is_param;
};

static const char *
find_override(const struct view *view, const char *name)
{
    for (size_t i = view->override_count; i-- > 0;) {
        if (bytes_equal(bytes_str(name), view->override_names[i])) {
            return (const char *)view->override_values[i].p;
        }
    }
    return NULL;
}

/* The text of a name before expansion; NULL: there is none. */
static const char *
find_source(const struct view *view, const char *name)
{
    const char *source = view->defaults ? NULL : find_override(view, name), *variable;
    int index = param_by_name(name);

    if (source != NULL) {
        return source;
    }
    if (index >= 0) {
        return view->defaults ? config_default(view->config, (enum param)index)
                              : config_source(view->config, (enum param)index);
    }
    for (size_t i = 0; !view->defaults && config_variable(view->config, i, &variable, &source); i++) {
        if (strcmp(variable, name) == 0) {
            return source;
        }
    }
    return NULL;
}

static int
lookup(void *context, struct bytes name, struct buf *out)
{
    struct view *view = context;
    char *text = bytes_dup_str(name);
    const char *source = text == NULL ? NULL : find_source(view, text);
    int r = GW_ERR_NOTFOUND;

    if (source != NULL) {
        r = GW_ERR_LIMIT; /* a value that refers to itself */
        if (view->depth < DEPTH_MAX) {
            view->depth++;
            r = expand_value(bytes_str(source), lookup, view, out, NULL);
            view->depth--;
        }
    }
    free(text);
    return r;
}

/* Runs of blanks, as continued lines leave them, are one. */
static void
print_text(const char *text)
{
    struct bytes rest = bytes_str(text), word;

    for (bool first = true; bytes_next_token(&rest, " \t\r\n", &word); first = false) {
        (void)printf("%s%.*s", first ? "" : " ", BYTES_FMT(word));
    }
}

static void
print_row(struct view *view, const char *name, const char *source)
{
    struct buf expanded;
    int index = param_by_name(name);
    bool is_raw =
        index >= 0 && PARAMS[index].type == PARAM_RAW; /* its names mean something at run time only */

    buf_init(&expanded, CONFIG_LINE_MAX);
    if (view->expand && !is_raw && expand_value(bytes_str(source), lookup, view, &expanded, NULL) == 0) {
        source = buf_str(&expanded);
    }
    if (!view->no_names) {
        (void)printf("%s%s%s", name, view->no_values ? "" : " =",
                     view->no_values || source[0] == '\0' ? "" : " ");
    }
    if (!view->no_values) {
        print_text(source);
    }
    (void)putchar('\n');
    buf_free(&expanded);
}

static int
compare_rows(const void *a, const void *b)
{
    return strcmp(((const struct row *)a)->name, ((const struct row *)b)->name);
}

static int
print_all(struct view *view)
{
    const char *name, *source;
    size_t variables = 0, count = 0;

    while (config_variable(view->config, variables, &name, &source)) {
        variables++;
    }
    struct row *rows = calloc(PARAM_COUNT + variables, sizeof(*rows));
    if (rows == NULL) {
        return STATUS_FAILED;
    }
    for (int i = 0; i < PARAM_COUNT; i++) {
        bool named =
            config_is_set(view->config, (enum param)i) || find_override(view, PARAMS[i].name) != NULL;

        if (!view->only_set || named || i == P_config_directory) {
            rows[count++] = (struct row){.name = PARAMS[i].name, .source = find_source(view, PARAMS[i].name)};
        }
    }
    for (size_t i = 0; i < variables && !view->defaults; i++) {
        (void)config_variable(view->config, i, &name, &source);
        if (config_variable_is_used(view->config, name)) {
            rows[count++] = (struct row){.name = name, .source = source};
        } else {
            (void)fprintf(stderr, "postconf: warning: %s/main.cf: unused parameter: %s=%s\n",
                          config_directory(view->config), name, source);
        }
    }
    qsort(rows, count, sizeof(*rows), compare_rows);
    for (size_t i = 0; i < count; i++) {
        print_row(view, rows[i].name, rows[i].source);
    }
    free(rows);
    return 0;
}

static int
print_named(struct view *view, char *const *names)
{
    for (; *names != NULL; names++) {
        const char *source = find_source(view, *names);

        if (source == NULL) {
            (void)fprintf(stderr, "postconf: warning: %s: unknown parameter\n", *names);
        } else {
            print_row(view, *names, source);
        }
    }
    return 0;
}

static void
print_word(const char *word, bool last)
{
    bool braces = strpbrk(word, " \t") != NULL || word[0] == '\0';

    (void)printf("%s%s%s%s", braces ? "{ " : "", word, braces ? " }" : "", last ? "\n" : " ");
}

static const char *
number_text(int value, int fallback, char out[NUMBER_BYTES])
{
    (void)snprintf(out, NUMBER_BYTES, "%d", value);
    return value == fallback ? "-" : out;
}

/* Columns stand where Postfix puts them; a long one pushes the next only as far as it must. */
static void
print_service(const struct config_service *service)
{
    static const size_t STOPS[] = {11, 17, 25, 33, 41, 49, 57};
    char wakeup[NUMBER_BYTES], limit[NUMBER_BYTES];
    /* A column that holds the default is shown as "-", whichever way it was written. */
    const char *columns[] = {service->name,
                             service->type,
                             service->is_private ? "-" : "n",
                             service->unprivileged ? "-" : "n",
                             service->chroot ? "y" : "n",
                             number_text(service->wakeup_s, 0, wakeup),
                             number_text(service->max_processes, -1, limit)};
    size_t at = 0, arguments = 0;

    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
        at += strlen(columns[i]);
        size_t pad = at < STOPS[i] ? STOPS[i] - at : 1;
        (void)printf("%s%*s", columns[i], (int)pad, "");
        at += pad;
    }
    while (service->arguments != NULL && service->arguments[arguments] != NULL) {
        arguments++;
    }
    print_word(service->program, arguments + service->override_count == 0);
    for (size_t i = 0; i < service->override_count; i++) {
        bool braces = strpbrk(service->overrides[i].value, " \t") != NULL;

        (void)printf(braces ? "-o {%s=%s}%s" : "-o %s=%s%s", service->overrides[i].name,
                     service->overrides[i].value,
                     i + 1 == service->override_count && arguments == 0 ? "\n" : " ");
    }
    for (size_t i = 0; i < arguments; i++) {
        print_word(service->arguments[i], i + 1 == arguments);
    }
}

static void
print_columns(const struct config_service *service)
{
    const struct {
        const char *name, *value;
    } columns[] = {
        {"service", service->name},
        {"type", service->type},
        {"private", service->is_private ? "-" : "n"},
        {"unprivileged", service->unprivileged ? "-" : "n"},
        {"chroot", service->chroot ? "y" : "n"},
    };
    char number[NUMBER_BYTES];

    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
        (void)printf("%s/%s/%s = %s\n", service->name, service->type, columns[i].name, columns[i].value);
    }
    (void)printf("%s/%s/wakeup = %s\n", service->name, service->type,
                 number_text(service->wakeup_s, 0, number));
    (void)printf("%s/%s/process_limit = %s\n", service->name, service->type,
                 number_text(service->max_processes, -1, number));
    (void)printf("%s/%s/command = %s\n", service->name, service->type, service->program);
}

static void
print_overrides(const struct config_service *service)
{
    for (size_t i = 0; i < service->override_count; i++) {
        (void)printf("%s/%s/%s =%s%s\n", service->name, service->type, service->overrides[i].name,
                     service->overrides[i].value[0] != '\0' ? " " : "", service->overrides[i].value);
    }
}

/* "name", "name/type", "name.type" */
static bool
is_asked(const struct config_service *service, char *const *names)
{
    size_t n = strlen(service->name);

    if (*names == NULL) {
        return true;
    }
    for (; *names != NULL; names++) {
        const char *rest = *names + n;

        if (strncmp(*names, service->name, n) == 0 &&
            (*rest == '\0' || ((*rest == '/' || *rest == '.') && strcmp(rest + 1, service->type) == 0))) {
            return true;
        }
    }
    return false;
}

static int
print_services(const struct view *view, int what, char *const *names)
{
    size_t shown = 0;

    for (size_t i = 0; i < config_service_count(view->config); i++) {
        const struct config_service *service = config_service(view->config, i);

        if (!is_asked(service, names)) {
            continue;
        }
        shown++;
        if (what == 'M') {
            print_service(service);
        } else if (what == 'F') {
            print_columns(service);
        } else {
            print_overrides(service);
        }
    }
    if (shown == 0 && *names != NULL) {
        (void)fprintf(stderr, "postconf: warning: unmatched request: \"%s\"\n", *names);
    }
    return 0;
}

static int
print_types(void)
{
    const char *name;

    for (size_t i = 0; (name = table_type_name(i)) != NULL; i++) {
        (void)printf("%s\n", name);
    }
    return 0;
}

static int
print_usage(void)
{
    (void)fputs(
        "postconf: fatal: usage: postconf [-c config_dir] [-dhHnx] [-o name=value] [name...]"
        " | -e name=value... | -X name... | -# name... | -M [service/type] | -F [...] | -P [...] | -m\n",
        stderr);
    return STATUS_FAILED;
}

/* mode_r: 0, e, X, #, M, F, P or m. */
static bool
take_options(struct view *view, int argc, char **argv, int *mode_r)
{
    int option;

    *mode_r = 0;
    optind = 1;
    while ((option = getopt(argc, argv, "+dehHmMnFPpxX#o:fv")) != -1) {
        switch (option) {
        case 'd':
            view->defaults = true;
            break;
        case 'n':
            view->only_set = true;
            break;
        case 'x':
            view->expand = true;
            break;
        case 'h':
            view->no_names = true;
            break;
        case 'H':
            view->no_values = true;
            break;
        case 'o':
            if (view->override_count >= OVERRIDES_MAX || strchr(optarg, '=') == NULL) {
                return false;
            }
            view->override_names[view->override_count] = bytes_of(optarg, strcspn(optarg, "="));
            view->override_values[view->override_count++] = bytes_str(strchr(optarg, '=') + 1);
            break;
        case 'f':
        case 'p':
        case 'v':
            break; /* folding of long lines, the default mode, more words: nothing to do */
        case '?':
            return false;
        default:
            if (*mode_r != 0 && !(*mode_r == 'e' || option == 'e')) {
                return false;
            }
            *mode_r = *mode_r == 0 ? option : 'E'; /* editing of master.cf */
        }
    }
    return !(view->defaults && view->only_set);
}

static int
edit(const char *directory, int mode, char **words, size_t count)
{
    enum ctl_edit_kind kind = mode == 'X' ? CTL_EDIT_REMOVE : mode == '#' ? CTL_EDIT_COMMENT : CTL_EDIT_SET;
    char path[PATH_BYTES];
    struct buf why;

    buf_init(&why, CONFIG_LINE_MAX);
    (void)snprintf(path, sizeof(path), "%s/main.cf", directory);
    int r = ctl_edit_main_cf(path, kind, words, count, &why);
    if (r != 0) {
        (void)fprintf(stderr, "postconf: fatal: %s\n", why.n > 0 ? buf_str(&why) : gw_strerror(r));
    }
    buf_free(&why);
    return r == 0 ? 0 : STATUS_FAILED;
}

static int
show(struct view *view, const char *directory, int mode, char **words)
{
    struct bytes rest, line;
    struct buf why;
    int r, status = STATUS_FAILED;

    buf_init(&why, CONFIG_LINE_MAX);
    r = view->defaults ? config_read_defaults(directory, &view->config)
                       : config_read(directory, &view->config, &why);
    rest = bytes_buf(&why);
    while (bytes_next_line(&rest, &line)) {
        (void)fprintf(stderr, "postconf: %s%.*s\n", r == 0 ? "" : "fatal: ", BYTES_FMT(line));
    }
    if (r == 0) {
        status = mode != 0          ? print_services(view, mode, words)
                 : words[0] != NULL ? print_named(view, words)
                                    : print_all(view);
    }
    config_free(&view->config);
    buf_free(&why);
    return status;
}

int
ctl_postconf(int argc, char **argv)
{
    struct view *view = calloc(1, sizeof(*view));
    const char *directory;
    int mode, status = STATUS_FAILED;

    if (view == NULL || pid_file_directory(&argc, argv, &directory) != 0 ||
        !take_options(view, argc, argv, &mode)) {
        free(view);
        return print_usage();
    }
    char **words = argv + optind;
    if (mode == 'E') {
        (void)fputs("postconf: fatal: editing of master.cf is not built; edit the file\n", stderr);
    } else if (mode == 'm') {
        status = print_types();
    } else if (mode == 'e' || mode == 'X' || mode == '#') {
        status = edit(directory, mode, words, (size_t)(argc - optind));
    } else if (mode == 0 && words[0] != NULL && strchr(words[0], '=') != NULL) {
        status = edit(directory, 'e', words, (size_t)(argc - optind)); /* -e may be left out */
    } else {
        status = show(view, directory, mode, words);
    }
    free(view);
    return fflush(stdout) == 0 ? status : STATUS_FAILED;
}

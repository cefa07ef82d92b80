/*
 * config - see the header. Before: master loads, roles unpack; after: everybody reads values by index.
 *
 * Loading is all or nothing: every mistake is collected as a line for the operator, and one mistake is enough
 * to return nothing.
 */
#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "config/config_internal.h"
#include "config/config_mend.h"
#include "config/main_cf.h"

enum { PATH_BYTES_MAX = 4096, LINE_SHOWN = 80 };

struct config *
config_alloc(const char *directory)
{
    struct config *config = calloc(1, sizeof(*config));

    if (config != NULL && (config->directory = strdup(directory)) == NULL) {
        free(config);
        config = NULL;
    }
    return config;
}

void
config_clear_service(struct config_service *service)
{
    free(service->name);
    free(service->type);
    free(service->program);
    for (size_t i = 0; service->arguments != NULL && service->arguments[i] != NULL; i++) {
        free(service->arguments[i]);
    }
    free(service->arguments);
    for (size_t i = 0; i < service->override_count; i++) {
        free(service->overrides[i].name);
        free(service->overrides[i].value);
    }
    free(service->overrides);
}

void
config_free(struct config **config_p)
{
    struct config *config = *config_p;

    if (config == NULL) {
        return;
    }
    for (size_t i = 0; config->views != NULL && i < config->service_count; i++) {
        if (config->views[i] != config) {
            config_free(&config->views[i]);
        }
    }
    free(config->views);
    for (size_t i = 0; i < config->service_count; i++) {
        config_clear_service(&config->services[i]);
    }
    free(config->services);
    for (size_t i = 0; i < PARAM_COUNT; i++) {
        free(config->raw[i]);
        free(config->computed[i]);
        free(config->text[i]);
    }
    for (size_t i = 0; i < config->variable_count; i++) {
        free(config->variables[i].name);
        free(config->variables[i].raw);
        free(config->variables[i].value);
    }
    free(config->variables);
    free(config->directory);
    free(config);
    *config_p = NULL;
}

static int
replace(char **place, struct bytes value)
{
    char *copy = bytes_dup_str(value);

    if (copy == NULL) {
        return GW_ERR_NOMEM;
    }
    free(*place);
    *place = copy;
    return 0;
}

static struct config_variable *
find_variable(const struct config *config, struct bytes name)
{
    for (size_t i = 0; i < config->variable_count; i++) {
        if (bytes_equal(name, bytes_str(config->variables[i].name))) {
            return &config->variables[i];
        }
    }
    return NULL;
}

int
config_set(struct config *config, struct bytes name, struct bytes value, int line)
{
    char *text = bytes_dup_str(name);
    int index = text == NULL ? -1 : param_by_name(text);

    if (text == NULL) {
        return GW_ERR_NOMEM;
    }
    if (index >= 0) {
        free(text);
        config->line[index] = line;
        return replace(&config->raw[index], value);
    }
    struct config_variable *variable = find_variable(config, name);
    if (variable == NULL) {
        struct config_variable *grown =
            config->variable_count >= CONFIG_VARIABLES_MAX
                ? NULL
                : realloc(config->variables, (config->variable_count + 1) * sizeof(*grown));
        if (grown == NULL) {
            free(text);
            return GW_ERR_LIMIT;
        }
        config->variables = grown;
        variable = &grown[config->variable_count++];
        *variable = (struct config_variable){.name = text};
        text = NULL; /* transferred */
    }
    free(text);
    variable->line = line;
    return replace(&variable->raw, value);
}

struct reading {
    struct config *config;
    const char *path;
    struct buf *why;
    bool collects; /* a bad line does not end the reading: all of them are told */
    int worst;
};

static void
warn_of_duplicate(const struct reading *reading, struct bytes name, struct bytes value, int number)
{
    const struct config_variable *variable = find_variable(reading->config, name);
    char *text = bytes_dup_str(name);
    int index = text == NULL ? -1 : param_by_name(text);
    const char *earlier = index >= 0 ? reading->config->raw[index] : variable != NULL ? variable->raw : NULL;

    if (earlier != NULL && !bytes_equal(bytes_str(earlier), value)) {
        (void)buf_printf(reading->why, "%s:%d: warning: overriding earlier entry: %.*s=%s\n", reading->path,
                         number, BYTES_FMT(name), earlier);
    }
    free(text);
}

static int
complain_of_line(const struct reading *reading, const struct config_setting *setting)
{
    struct bytes line = bytes_sub(setting->line, 0, LINE_SHOWN);
    bool stray = config_line_is_stray(setting->line);

    (void)buf_printf(reading->why, "%s:%d: %s%s: \"%.*s\"; %s\n", reading->path, setting->number,
                     stray ? "warning: " : "", setting->bad, BYTES_FMT(line),
                     stray ? "it is left out" : "write name = value");
    return stray ? 0 : GW_ERR_CONFIG;
}

static void
warn_of_mended(const struct reading *reading, const struct config_setting *setting)
{
    if (setting->written.n > 0) {
        (void)buf_printf(reading->why, "%s:%d: warning: unused parameter: %.*s; taken as %.*s\n",
                         reading->path, setting->number, BYTES_FMT(setting->written),
                         BYTES_FMT(setting->name));
    }
    if (setting->comment_cut || setting->comment_kept) {
        (void)buf_printf(
            reading->why,
            "%s:%d: warning: %.*s: #comment after other text is not allowed; it is %s; move it to "
            "a line of its own\n",
            reading->path, setting->number, BYTES_FMT(setting->name),
            setting->comment_cut ? "left out" : "part of the value");
    }
    if (setting->blank_cut) {
        (void)buf_printf(reading->why, "%s:%d: warning: %.*s: a blank between $ and a name is left out\n",
                         reading->path, setting->number, BYTES_FMT(setting->name));
    }
}

static int
take_setting(void *context, const struct config_setting *setting)
{
    struct reading *reading = context;

    if (setting->bad != NULL) {
        int r = complain_of_line(reading, setting);

        reading->worst = r != 0 ? r : reading->worst;
        return reading->collects ? 0 : r;
    }
    if (config_is_read_only(setting->name)) {
        (void)buf_printf(reading->why, "%s:%d: warning: read-only parameter assignment: %.*s=%.*s\n",
                         reading->path, setting->number, BYTES_FMT(setting->name), BYTES_FMT(setting->value));
        return 0;
    }
    warn_of_mended(reading, setting);
    warn_of_duplicate(reading, setting->name, setting->value, setting->number);
    return config_set(reading->config, setting->name, setting->value, setting->number);
}

void
config_locate(const struct config *config, enum param param, struct buf *out)
{
    const struct config *base = config->base != NULL ? config->base : config;
    const char *raw = config->raw[param], *main_raw = base->raw[param];
    bool overridden = base != config && raw != NULL && (main_raw == NULL || strcmp(raw, main_raw) != 0);
    int line = overridden ? config->line[param] : base->line[param];

    (void)buf_printf(out, "%s/%s", config->directory, overridden ? "master.cf" : "main.cf");
    if (line > 0 && raw != NULL) {
        (void)buf_printf(out, ":%d", line);
    }
}

/* What is wrong with two values together. A relay that only raises message_size_limit has no mailboxes to
 * speak of: the box must be set, too. */
static int
check_pairs(const struct config *config, struct buf *why_r)
{
    static const enum param BOXES[] = {P_mailbox_size_limit, P_virtual_mailbox_limit};
    int64_t message = config->number[P_message_size_limit];
    int r = 0;

    for (size_t i = 0; i < sizeof(BOXES) / sizeof(BOXES[0]); i++) {
        int64_t box = config->number[BOXES[i]];

        if (config->raw[BOXES[i]] != NULL && box != 0 && (message == 0 || box < message)) {
            config_locate(config, BOXES[i], why_r);
            (void)buf_printf(
                why_r,
                ": main.cf configuration error: %s is smaller than message_size_limit; raise it, or "
                "write 0 for no limit\n",
                PARAMS[BOXES[i]].name);
            r = GW_ERR_CONFIG;
        }
    }
    return r;
}

int
config_load(const char *directory, struct config **config_r, struct buf *why_r)
{
    struct config *config = config_alloc(directory);
    char path[PATH_BYTES_MAX], master[PATH_BYTES_MAX];
    struct reading reading = {.config = config, .path = path, .why = why_r, .collects = true};
    int r = GW_ERR_NOMEM, rows;

    *config_r = NULL;
    if (config == NULL) {
        return r;
    }
    (void)snprintf(path, sizeof(path), "%s/main.cf", directory);
    (void)snprintf(master, sizeof(master), "%s/master.cf", directory);
    r = config_read_settings(path, take_setting, &reading, why_r);
    rows = config_read_master(config, why_r); /* its mistakes, too, are told at once */
    if (r != 0 || (r = reading.worst) != 0 || (r = rows) != 0 ||
        (r = config_spread_time_limit(config, path, why_r)) != 0 ||
        (r = config_compute_defaults(config)) != 0 || (r = config_evaluate(config, path, why_r)) != 0 ||
        (r = check_pairs(config, why_r)) != 0) {
        goto out;
    }
    config_check_master(config, master, why_r);
    if ((r = config_make_views(config, why_r)) != 0) {
        goto out;
    }
    config_warn(config, path, why_r);
    config_default_chroot(config, master, why_r);
    *config_r = config;
    config = NULL; /* transferred */
out:
    config_free(&config);
    return r;
}

int
config_read_defaults(const char *directory, const char *const *pairs, struct config **config_r)
{
    struct config *config = config_alloc(directory);
    int r = config == NULL ? GW_ERR_NOMEM : 0;

    *config_r = NULL;
    for (size_t i = 0; r == 0 && pairs[i] != NULL; i += 2) {
        r = config_set(config, bytes_str(pairs[i]), bytes_str(pairs[i + 1]), 0);
    }
    r = r == 0 ? config_compute_defaults(config) : r;
    if (r == 0) {
        *config_r = config;
        config = NULL; /* transferred */
    }
    config_free(&config);
    return r;
}

/* A service with -o has everything of main.cf and its own on top. */
static int
make_view(struct config *config, const struct config_service *service, struct config **view_r,
          struct buf *why_r)
{
    struct config *view = config_alloc(config->directory);
    char where[PATH_BYTES_MAX];
    int r = view == NULL ? GW_ERR_NOMEM : 0;

    for (size_t i = 0; r == 0 && i < PARAM_COUNT; i++) {
        if (config->raw[i] != NULL) {
            r = replace(&view->raw[i], bytes_str(config->raw[i]));
        }
        if (r == 0 && config->computed[i] != NULL) {
            r = replace(&view->computed[i], bytes_str(config->computed[i]));
        }
    }
    for (size_t i = 0; r == 0 && i < config->variable_count; i++) {
        r = config_set(view, bytes_str(config->variables[i].name), bytes_str(config->variables[i].raw), 0);
    }
    for (size_t i = 0; r == 0 && i < service->override_count; i++) {
        if (config_is_read_only(bytes_str(service->overrides[i].name))) {
            continue;
        }
        r = config_set(view, bytes_str(service->overrides[i].name), bytes_str(service->overrides[i].value),
                       service->line);
    }
    r = r == 0 ? replace(&view->computed[P_service_name], bytes_str(service->name)) : r;
    (void)snprintf(where, sizeof(where), "%s/master.cf", config->directory);
    for (size_t i = 0; r == 0 && i < PARAM_COUNT; i++) {
        view->line[i] =
            service->line; /* what fails here and not in main.cf alone fails because of this row */
    }
    r = r == 0 ? config_evaluate(view, where, why_r) : r;
    if (r == 0) {
        view->base = config;
        *view_r = view;
        view = NULL; /* transferred */
    }
    config_free(&view);
    return r;
}

int
config_make_views(struct config *config, struct buf *why_r)
{
    int r = 0;

    config->views = calloc(config->service_count + 1, sizeof(struct config *));
    if (config->views == NULL) {
        return GW_ERR_NOMEM;
    }
    for (size_t i = 0; i < config->service_count; i++) {
        config->views[i] = config;
    }
    for (size_t i = 0; r == 0 && i < config->service_count; i++) {
        if (config->services[i].override_count > 0) {
            r = make_view(config, &config->services[i], &config->views[i], why_r);
        }
    }
    return r;
}

const char *
config_directory(const struct config *config)
{
    return config->directory;
}

size_t
config_service_count(const struct config *config)
{
    return config->base != NULL ? config->base->service_count : config->service_count;
}

const struct config_service *
config_service(const struct config *config, size_t index)
{
    return &(config->base != NULL ? config->base : config)->services[index];
}

const struct config *
config_view(const struct config *config, size_t service_index)
{
    const struct config *base = config->base != NULL ? config->base : config;

    return service_index < base->service_count ? base->views[service_index] : base;
}

static void
want_type(enum param param, bool ok)
{
    if (!ok) {
        log_panic("config", "parameter %s is read as another type than it has", PARAMS[param].name);
    }
}

const char *
config_str(const struct config *config, enum param param)
{
    return config->text[param];
}

int64_t
config_int(const struct config *config, enum param param)
{
    enum param_type type = PARAMS[param].type;

    want_type(param, type == PARAM_INT || type == PARAM_TIME || type == PARAM_SIZE);
    return config->number[param];
}

bool
config_bool(const struct config *config, enum param param)
{
    want_type(param, PARAMS[param].type == PARAM_BOOL);
    return config->number[param] != 0;
}

bool
config_is_set(const struct config *config, enum param param)
{
    return config->raw[param] != NULL;
}

const char *
config_user(const struct config *config, const char *name)
{
    const struct config_variable *variable = find_variable(config, bytes_str(name));

    return variable != NULL ? variable->value : NULL;
}

const char *
config_default(const struct config *config, enum param param)
{
    return config->computed[param] != NULL ? config->computed[param] : PARAMS[param].value;
}

const char *
config_source(const struct config *config, enum param param)
{
    return config->raw[param] != NULL ? config->raw[param] : config_default(config, param);
}

bool
config_variable(const struct config *config, size_t index, const char **name_r, const char **source_r)
{
    if (index >= config->variable_count) {
        return false;
    }
    *name_r = config->variables[index].name;
    *source_r = config->variables[index].raw;
    return true;
}

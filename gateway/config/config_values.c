/*
 * config_values - from raw values to text and numbers: expansion, types, bounds; defaults of the machine.
 *
 * Before: config.c has read the files; after: config_str() and its kin are array reads. A value that refers
 * to itself is found by marking what is being expanded.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "config/config_internal.h"
#include "config/expand.h"

enum { HOST_BYTES_MAX = 256, NETWORKS_MAX = 4096, TOLD_BYTES_MAX = 4096 };

struct evaluation {
    struct config *config;
    const char *where;
    struct buf *why;
    bool under_way[PARAM_COUNT];
    unsigned depth; /* of variables in variables */
};

static expand_lookup lookup;
static int evaluate_param(struct evaluation *e, int index);

static const char *
source_of(const struct config *config, int index)
{
    const char *raw = config->raw[index];

    if (raw != NULL && raw[0] == '\0' && config_needs_value(index)) {
        raw = NULL;
    }
    return raw != NULL ? raw : config_default(config, (enum param)index);
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

/* A variable may refer to others; the depth limit ends a circle. */
static int
expand_variable(struct evaluation *e, const struct config_variable *variable, struct buf *out)
{
    if (e->depth >= CONFIG_EXPAND_DEPTH_MAX) {
        return GW_ERR_LIMIT;
    }
    e->depth++;
    int r = expand_value(bytes_str(variable->raw), lookup, e, out, NULL);
    e->depth--;
    return r;
}

static int
lookup(void *context, struct bytes name, struct buf *out)
{
    struct evaluation *e = context;
    const char *right = config_right_name(name);
    char *text = bytes_dup_str(name);
    int index, r;

    if (text == NULL) {
        return GW_ERR_NOMEM;
    }
    index = param_by_name(right != NULL ? right : text);
    free(text);
    const struct config_variable *variable = index >= 0 ? NULL : find_variable(e->config, name);
    if (index < 0 && variable == NULL) {
        return GW_ERR_NOTFOUND;
    }
    if (out == NULL) {
        const char *source = index >= 0 ? source_of(e->config, index) : variable->raw;

        return source[0] != '\0' ? 0 : GW_ERR_NOTFOUND;
    }
    if (index < 0) {
        return expand_variable(e, variable, out);
    }
    r = evaluate_param(e, index);
    return r == 0 ? buf_append_str(out, e->config->text[index]) : r;
}

static int
complain(const struct evaluation *e, int index, const char *value, const char *what)
{
    (void)buf_printf(e->why, "%s:%d: %s = %s: %s\n", e->where, e->config->line[index], PARAMS[index].name,
                     value, what);
    return GW_ERR_CONFIG;
}

/* Seconds in a unit; 0: none. */
static int64_t
unit_seconds(char unit)
{
    switch (unit) {
    case 's':
        return 1;
    case 'm':
        return 60;
    case 'h':
        return 3600;
    case 'd':
        return 86400;
    case 'w':
        return 604800;
    default:
        return 0;
    }
}

/* A time without a unit has the unit of the default, as in Postfix: "5" days for maximal_queue_lifetime. */
static int
parse_time(const char *text, const char *fallback, int64_t *value_r)
{
    char *end;
    long long value = strtoll(text, &end, 10);
    size_t length = strlen(fallback);
    char unit = *end != '\0' ? *end : length > 0 ? fallback[length - 1] : 's';
    int64_t seconds = unit_seconds(unit);

    if (seconds == 0 && *end == '\0') {
        seconds = 1;
    }
    if (end == text || seconds == 0 || (*end != '\0' && end[1] != '\0') || value < 0 ||
        value > INT64_MAX / 1000 / seconds) {
        return GW_ERR_SYNTAX;
    }
    *value_r = value * seconds;
    return 0;
}

static int
parse_int(const char *text, int64_t *value_r)
{
    char *end;
    long long value = strtoll(text, &end, 10);

    *value_r = value;
    return end == text || *end != '\0' ? GW_ERR_SYNTAX : 0;
}

static int
convert(const struct evaluation *e, int index)
{
    const struct param_row *row = &PARAMS[index];
    const char *text = e->config->text[index];
    int64_t *value = &e->config->number[index];

    switch (row->type) {
    case PARAM_BOOL:
        *value = strcasecmp(text, "yes") == 0;
        if (*value == 0 && strcasecmp(text, "no") != 0) {
            return complain(e, index, text, "not a yes or no; write yes or no");
        }
        return 0;
    case PARAM_TIME:
        if (parse_time(text, row->value, value) != 0) {
            return complain(e, index, text, "not a time; write a number, with s, m, h, d or w behind it");
        }
        break;
    case PARAM_INT:
    case PARAM_SIZE:
        if (parse_int(text, value) != 0) {
            return complain(e, index, text, "not a number; write digits only");
        }
        break;
    default:
        return 0;
    }
    if (*value < row->min || (row->max != 0 && *value > row->max)) {
        char bounds[96];

        if (row->max != 0) {
            (void)snprintf(bounds, sizeof(bounds), "out of bounds; write a value from %lld to %lld",
                           (long long)row->min, (long long)row->max);
        } else {
            (void)snprintf(bounds, sizeof(bounds), "out of bounds; write %lld or more", (long long)row->min);
        }
        return complain(e, index, text, bounds);
    }
    return 0;
}

static int
evaluate_param(struct evaluation *e, int index)
{
    const char *source = source_of(e->config, index);
    struct buf out, told;
    int r;

    if (e->config->text[index] != NULL) {
        return 0;
    }
    if (e->under_way[index]) {
        return complain(e, index, source, "refers to itself; break the circle");
    }
    e->under_way[index] = true;
    buf_init(&out, CONFIG_LINE_MAX);
    buf_init(&told, TOLD_BYTES_MAX);
    r = PARAMS[index].type == PARAM_RAW ? buf_append_str(&out, source)
                                        : expand_value(bytes_str(source), lookup, e, &out, &told);
    if (r == GW_ERR_SYNTAX) {
        (void)buf_append_str(&told, "; close every brace, write $$ for a $");
        r = complain(e, index, source, buf_str(&told));
    }
    if (r == 0) {
        e->config->text[index] = strdup(buf_str(&out));
        r = e->config->text[index] == NULL ? GW_ERR_NOMEM : convert(e, index);
    }
    buf_free(&out);
    buf_free(&told);
    e->under_way[index] = false;
    return r;
}

static int
evaluate_variables(struct evaluation *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < e->config->variable_count; i++) {
        struct config_variable *variable = &e->config->variables[i];
        struct buf out;

        buf_init(&out, CONFIG_LINE_MAX);
        r = expand_value(bytes_str(variable->raw), lookup, e, &out, NULL);
        if (r == 0) {
            free(variable->value);
            variable->value = strdup(buf_str(&out));
            r = variable->value == NULL ? GW_ERR_NOMEM : 0;
        } else if (r != GW_ERR_NOMEM && r != GW_ERR_CONFIG) {
            (void)buf_printf(e->why, "%s:%d: %s = %s: cannot be expanded (%s)\n", e->where, variable->line,
                             variable->name, variable->raw, gw_strerror(r));
            r = GW_ERR_CONFIG;
        }
        buf_free(&out);
    }
    return r;
}

int
config_evaluate(struct config *config, const char *where, struct buf *why_r)
{
    struct evaluation e = {.config = config, .where = where, .why = why_r};
    int r = 0;

    for (int i = 0; i < PARAM_COUNT; i++) {
        int one = evaluate_param(&e, i);

        r = r == 0 ? one : r; /* every mistake is told, the first decides */
    }
    int variables = evaluate_variables(&e);
    return r == 0 ? variables : r;
}

static int
set_computed(struct config *config, enum param param, const char *text)
{
    free(config->computed[param]);
    config->computed[param] = strdup(text);
    return config->computed[param] == NULL ? GW_ERR_NOMEM : 0;
}

/* One value ahead of the others, for defaults that hang on it; "" when it cannot be had. Freed with the rest.
 */
static const char *
evaluate_early(struct config *config, enum param param)
{
    struct buf why;

    buf_init(&why, NETWORKS_MAX);
    struct evaluation e = {.config = config, .where = "main.cf", .why = &why};
    int r = evaluate_param(&e, (int)param);
    buf_free(&why);
    return r == 0 && config->text[param] != NULL ? config->text[param] : "";
}

static void
forget_early(struct config *config)
{
    for (size_t i = 0; i < PARAM_COUNT; i++) {
        free(config->text[i]);
        config->text[i] = NULL;
    }
}

/* The host's own name with a domain behind it, as Postfix makes it. */
static void
find_host_name(struct config *config, char host[HOST_BYTES_MAX])
{
    const char *raw = config->raw[P_mydomain];
    const char *domain = raw != NULL && raw[0] != '\0' ? evaluate_early(config, P_mydomain) : "";

    if (gethostname(host, HOST_BYTES_MAX - 16) != 0) {
        (void)snprintf(host, HOST_BYTES_MAX, "localhost");
    }
    if (domain[0] == '\0') {
        domain = "localdomain";
    }
    size_t n = strlen(host);
    if (strchr(host, '.') == NULL && n + strlen(domain) + 2 < HOST_BYTES_MAX) {
        (void)snprintf(host + n, HOST_BYTES_MAX - n, ".%s", domain);
    }
    forget_early(config);
}

int
config_compute_defaults(struct config *config)
{
    char host[HOST_BYTES_MAX] = "localhost";
    struct buf networks;
    int r;

    find_host_name(config, host);
    if ((r = set_computed(config, P_myhostname, host)) != 0 ||
        (r = set_computed(config, P_mydomain, "localdomain")) != 0 ||
        (r = set_computed(config, P_config_directory, config->directory)) != 0) {
        return r;
    }
    buf_init(&networks, NETWORKS_MAX);
    const char *dot = strchr(evaluate_early(config, P_myhostname), '.');
    r = dot != NULL ? set_computed(config, P_mydomain, dot + 1) : 0;
    forget_early(config);
    r = r == 0 ? config_append_networks(evaluate_early(config, P_mynetworks_style),
                                        evaluate_early(config, P_inet_interfaces),
                                        evaluate_early(config, P_inet_protocols), &networks)
               : r;
    r = r == 0 ? set_computed(config, P_mynetworks, buf_str(&networks)) : r;
    forget_early(config);
    buf_free(&networks);
    return r;
}

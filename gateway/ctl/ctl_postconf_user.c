/*
 * ctl_postconf_user - names of one's own in main.cf and master.cf that serve a purpose: another value refers
 * to them, they are restriction classes, or they describe a table ("mysql:name").
 *
 * Before: ctl_postconf_param.c knows the built-in names; after: what is left is flagged as unused.
 */
#include <string.h>

#include "base/error.h"
#include "config/expand.h"
#include "ctl/ctl_postconf_private.h"

enum { NAME_BYTES = 512 };

/* The settings of a table whose definition stands in main.cf, behind "name_" (ldap_table(5) and its kin). */
static const char *const LDAP[] = {"bind",
                                   "bind_dn",
                                   "bind_pw",
                                   "cache",
                                   "cache_expiry",
                                   "cache_size",
                                   "chase_referrals",
                                   "debuglevel",
                                   "dereference",
                                   "domain",
                                   "expansion_limit",
                                   "leaf_result_attribute",
                                   "query_filter",
                                   "recursion_limit",
                                   "result_attribute",
                                   "result_filter",
                                   "result_format",
                                   "sasl_authz_id",
                                   "sasl_mechs",
                                   "sasl_minssf",
                                   "sasl_realm",
                                   "scope",
                                   "search_base",
                                   "server_host",
                                   "server_port",
                                   "size_limit",
                                   "special_result_attribute",
                                   "start_tls",
                                   "terminal_result_attribute",
                                   "timeout",
                                   "tls_ca_cert_dir",
                                   "tls_ca_cert_file",
                                   "tls_cert",
                                   "tls_cipher_suite",
                                   "tls_key",
                                   "tls_random_file",
                                   "tls_require_cert",
                                   "version",
                                   NULL},
                         *const MYSQL[] = {"additional_conditions",
                                           "dbname",
                                           "domain",
                                           "expansion_limit",
                                           "hosts",
                                           "option_file",
                                           "option_group",
                                           "password",
                                           "query",
                                           "require_result_set",
                                           "result_format",
                                           "select_field",
                                           "table",
                                           "tls_CAfile",
                                           "tls_CApath",
                                           "tls_cert_file",
                                           "tls_ciphers",
                                           "tls_key_file",
                                           "tls_verify_cert",
                                           "user",
                                           "where_field",
                                           NULL},
                         *const PGSQL[] = {"additional_conditions",
                                           "dbname",
                                           "domain",
                                           "expansion_limit",
                                           "hosts",
                                           "password",
                                           "query",
                                           "result_format",
                                           "select_field",
                                           "select_function",
                                           "table",
                                           "user",
                                           "where_field",
                                           NULL},
                         *const SQLITE[] =
                             {"additional_conditions", "dbpath",       "domain", "expansion_limit", "query",
                              "result_format",         "select_field", "table",  "where_field",     NULL},
                         *const MEMCACHE[] = {"backup",      "data_size_limit", "domain",  "flags",
                                              "key_format",  "line_size_limit", "max_try", "memcache",
                                              "retry_pause", "timeout",         "ttl",     NULL};

static const struct {
    const char *type;
    const char *const *suffixes;
} TABLES[] = {
    {"ldap", LDAP}, {"mysql", MYSQL}, {"pgsql", PGSQL}, {"sqlite", SQLITE}, {"memcache", MEMCACHE},
};

struct scan {
    struct postconf *pc;
    struct postconf_settings *own; /* of a row, or NULL */
    bool is_default;               /* a name that nobody sets is no mistake */
};

static bool
mark_used(struct postconf_settings *own, struct bytes name)
{
    for (size_t i = 0; i < own->count; i++) {
        if (bytes_equal(name, bytes_str(own->list[i].name))) {
            own->list[i].used = true;
            return true;
        }
    }
    return false;
}

/* A name that has a use; false: nobody sets it. A value of main.cf may mean what a row sets for its service.
 */
static bool
use_name(struct scan *scan, struct bytes name)
{
    struct postconf_rows *rows = &scan->pc->rows;
    bool found = false;

    if (postconf_find_param(scan->pc, name) != NULL || (scan->own != NULL && mark_used(scan->own, name))) {
        return true;
    }
    if (postconf_settings_find(&scan->pc->main, name) != NULL) {
        postconf_add_param(scan->pc, postconf_copy(scan->pc->arena, name), CLASS_USER, NULL);
        return true;
    }
    for (size_t i = 0; scan->own == NULL && i < rows->count; i++) {
        found |= mark_used(&rows->list[i].own, name);
    }
    return found;
}

static void
warn_undefined(const struct scan *scan, struct bytes name)
{
    postconf_warn("%s/%s: undefined parameter: %.*s", scan->pc->directory,
                  scan->own != NULL ? "master.cf" : "main.cf", BYTES_FMT(name));
}

static int
visit_name(void *context, struct bytes name, struct buf *out)
{
    struct scan *scan = context;

    (void)out;
    if (!use_name(scan, name) && !scan->is_default) {
        warn_undefined(scan, name);
    }
    return 0;
}

static void
scan_value(struct scan *scan, const char *value)
{
    struct bytes rest, line;
    struct buf why;

    buf_init(&why, CONFIG_LINE_MAX);
    (void)expand_scan(bytes_str(value), visit_name, scan, &why); /* what it cannot read it tells */
    rest = bytes_buf(&why);
    while (bytes_next_line(&rest, &line)) {
        postconf_warn("%.*s", BYTES_FMT(line));
    }
    buf_free(&why);
}

static void
use_settings_of_table(struct scan *scan, struct bytes name, const char *const *suffixes)
{
    char text[NAME_BYTES];

    for (; *suffixes != NULL; suffixes++) {
        int n = snprintf(text, sizeof(text), "%.*s_%s", BYTES_FMT(name), *suffixes);

        if (n > 0 && n < NAME_BYTES) {
            (void)use_name(scan, bytes_of(text, (size_t)n));
        }
    }
}

static void
scan_tables(struct scan *scan, const char *value)
{
    struct bytes rest = bytes_str(value), word;

    while (bytes_next_token(&rest, ", \t\r\n{}", &word)) {
        if (bytes_has_prefix_nocase(word, BYTES_LIT("proxy:"))) {
            word = bytes_sub(word, 6, word.n);
        }
        ptrdiff_t colon = bytes_index(word, ':');
        struct bytes name = bytes_sub(word, (size_t)(colon + 1), word.n);

        if (colon <= 0 || name.n == 0 || name.p[0] == '/' || name.p[0] == '.') {
            continue;
        }
        for (size_t i = 0; i < sizeof(TABLES) / sizeof(TABLES[0]); i++) {
            if (bytes_equal(bytes_sub(word, 0, (size_t)colon), bytes_str(TABLES[i].type))) {
                use_settings_of_table(scan, name, TABLES[i].suffixes);
            }
        }
    }
}

static void
scan_classes(struct scan *scan, const struct postconf_settings *settings)
{
    const char *classes = postconf_settings_find(settings, BYTES_LIT("smtpd_restriction_classes"));
    struct bytes rest, word;
    struct buf value;

    if (classes == NULL) {
        return;
    }
    buf_init(&value, CONFIG_LINE_MAX);
    postconf_expand_set(scan->pc, classes, scan->own, &value);
    rest = bytes_buf(&value);
    while (bytes_next_token(&rest, ", \t\r\n", &word)) {
        if (!use_name(scan, word)) {
            warn_undefined(scan, word);
        }
    }
    buf_free(&value);
}

/* Names in the values of some parameters mean something at run time only. */
static bool
is_raw(const char *name)
{
    int index = param_by_name(name);

    return index >= 0 && PARAMS[index].type == PARAM_RAW;
}

static void
scan_settings(struct scan *scan, const struct postconf_settings *settings)
{
    scan_classes(scan, settings);
    for (size_t i = 0; i < settings->count; i++) {
        if (!is_raw(settings->list[i].name)) {
            scan_value(scan, settings->list[i].value);
        }
    }
}

/* Tables that the expanded values of parameters with a meaning of their own name. */
static void
scan_for_tables(struct scan *scan, const struct postconf_settings *settings)
{
    struct buf value;

    buf_init(&value, CONFIG_LINE_MAX);
    for (size_t i = 0; i < settings->count; i++) {
        const struct postconf_setting *setting = &settings->list[i];

        const struct postconf_param *param = postconf_find_param(scan->pc, bytes_str(setting->name));

        if (param != NULL && param->class != CLASS_USER && !is_raw(setting->name)) {
            buf_clear(&value);
            postconf_expand(scan->pc, setting->value, scan->own, &value);
            scan_tables(scan, buf_str(&value));
        }
    }
    buf_free(&value);
}

/* Former names live on in defaults: virtual_alias_maps = $virtual_maps. */
static void
scan_defaults(struct scan *scan)
{
    scan->is_default = true;
    for (int i = 0; i < PARAM_COUNT; i++) {
        if (PARAMS[i].type != PARAM_RAW &&
            postconf_settings_find(&scan->pc->main, bytes_str(PARAMS[i].name)) == NULL) {
            scan_value(scan, config_default(scan->pc->defaults, (enum param)i));
        }
    }
    scan->is_default = false;
}

void
postconf_register_user(struct postconf *pc)
{
    struct scan scan = {.pc = pc};

    scan_settings(&scan, &pc->main);
    scan_defaults(&scan);
    for (size_t i = 0; i < pc->rows.count; i++) {
        scan.own = &pc->rows.list[i].own;
        scan_settings(&scan, scan.own);
    }
    scan.own = NULL;
    scan_for_tables(&scan, &pc->main);
    for (size_t i = 0; i < pc->rows.count; i++) {
        scan.own = &pc->rows.list[i].own;
        scan_for_tables(&scan, scan.own);
    }
}

/*
 * table_sql - sqlite:, pgsql: and mysql: tables (Postfix's sqlite_table(5), pgsql_table(5), mysql_table(5)).
 *
 * Before: table_find(), in the keeper when a role asks; after: a connection of table_pool.c, through the
 * driver of the type's module. The key is put into the query escaped by the client library for its
 * connection; the rows become one value, joined by commas. What fails is "cannot tell", said in one log line.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "config/modules/table_driver.h"
#include "config/table_format.h"
#include "config/table_module.h"
#include "config/table_pool.h"
#include "config/table_settings.h"
#include "config/table_type.h"

enum { QUERY_MAX = 256 * 1024, WHY_MAX = 1024 };

/* How the three differ. */
struct sql_kind {
    const char *type;
    const char *host_setting;  /* of the word, or words, to connect to */
    const char *host_fallback; /* NULL: it must be there */
    bool host_is_path;         /* one file name, which may hold blanks */
    bool first_column_only;
    bool has_function; /* select_function */
};

struct sql_table {
    const struct sql_kind *kind;
    const struct table_sql_driver *driver;
    struct table_pool_driver pool_driver;
    struct table_pool *pool;
    struct table_settings *settings;
    struct table_formats *formats;
    char *name, *query;
    const char *result_format; /* in settings, or a literal */
    int expansion_limit;
    bool require_set;
};

static void
close_sql(void *state)
{
    struct sql_table *table = state;

    table_pool_free(&table->pool);
    table_formats_free(&table->formats);
    table_settings_free(&table->settings);
    free(table->name);
    free(table->query);
    free(table);
}

static int
need(struct sql_table *table, const char *name, const char **value_r, struct buf *error_r)
{
    const char *value = table_settings_str(table->settings, name);

    *value_r = value;
    if (value == NULL || value[0] == '\0') {
        (void)buf_printf(error_r, "%s:%s: bad string length 0 < 1: %s =; write it in the table's file",
                         table->kind->type, table->name, name);
        return GW_ERR_CONFIG;
    }
    return 0;
}

/* The words of before Postfix 2.2. */
static int
make_old_query(struct sql_table *table, struct buf *query, struct buf *error_r)
{
    const char *field, *from, *where, *more = table_settings_str(table->settings, "additional_conditions");
    const char *function =
        table->kind->has_function ? table_settings_str(table->settings, "select_function") : NULL;
    int r;

    if (function != NULL) {
        return buf_printf(query, "SELECT %s('%%s')", function);
    }
    if ((r = need(table, "select_field", &field, error_r)) != 0 ||
        (r = need(table, "table", &from, error_r)) != 0 ||
        (r = need(table, "where_field", &where, error_r)) != 0) {
        return r;
    }
    return buf_printf(query, "SELECT %s FROM %s WHERE %s = '%%s' %s", field, from, where,
                      more == NULL ? "" : more);
}

static int
read_formats(struct sql_table *table, const struct config *config, struct buf *error_r)
{
    const char *query = table_settings_str(table->settings, "query");
    const char *format = table_settings_str(table->settings, "result_format");
    struct buf made;
    int r = 0;

    buf_init(&made, QUERY_MAX);
    if (query == NULL) {
        r = make_old_query(table, &made, error_r);
        query = buf_str(&made);
    }
    table->result_format = format == NULL ? "%s" : format;
    if (r == 0 && ((table->query = bytes_dup_str(bytes_str(query))) == NULL ||
                   (table->formats = table_formats_new()) == NULL)) {
        r = GW_ERR_NOMEM;
    }
    buf_free(&made);
    r = r == 0 ? table_formats_add(table->formats, table->query, true, error_r) : r;
    r = r == 0 ? table_formats_add(table->formats, table->result_format, false, error_r) : r;
    return r == 0 ? table_formats_limit(table->formats, config, table_settings_str(table->settings, "domain"),
                                        error_r)
                  : r;
}

/* The main.cf form shows a driver only what was asked for: all names that a driver knows. */
static void
name_settings(struct table_settings *settings)
{
    static const char *const NAMES[] = {
        "user",        "password",        "dbname",        "encoding",     "charset",
        "option_file", "option_group",    "tls_cert_file", "tls_key_file", "tls_CAfile",
        "tls_CApath",  "tls_verify_cert", "tls_ciphers",
    };

    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        (void)table_settings_str(settings, NAMES[i]);
    }
}

static int
open_pool(struct sql_table *table, struct buf *error_r)
{
    const char *hosts = table_settings_str(table->settings, table->kind->host_setting);
    int r = 0;

    if (hosts == NULL || hosts[0] == '\0') {
        hosts = table->kind->host_fallback;
        r = hosts == NULL ? need(table, table->kind->host_setting, &hosts, error_r) : 0;
    }
    name_settings(table->settings);
    if (r != 0) {
        return r;
    }
    table->pool_driver = (struct table_pool_driver){.connect = table->driver->connect,
                                                    .disconnect = table->driver->disconnect};
    return table_pool_new(&table->pool_driver, table_settings_all(table->settings), bytes_str(hosts),
                          table->kind->host_is_path ? "" : ", \t\r\n", TABLE_POOL_CONNECT_S, &table->pool);
}

static int
open_sql(const struct sql_kind *kind, const struct config *config, const char *name, void **state_r,
         struct buf *error_r)
{
    const struct table_driver *driver = table_module_find(config, kind->type);
    struct sql_table *table = driver == NULL || driver->sql == NULL ? NULL : calloc(1, sizeof(*table));
    int r;

    *state_r = NULL;
    if (table == NULL) {
        return driver == NULL || driver->sql == NULL ? GW_ERR_CONFIG : GW_ERR_NOMEM;
    }
    table->kind = kind;
    table->driver = driver->sql;
    table->name = bytes_dup_str(bytes_str(name));
    r = table->name == NULL ? GW_ERR_NOMEM : table_settings_open(config, name, &table->settings, error_r);
    r = r == 0 ? read_formats(table, config, error_r) : r;
    r = r == 0
            ? table_settings_int(table->settings, "expansion_limit", 0, 0, &table->expansion_limit, error_r)
            : r;
    r = r == 0
            ? table_settings_bool(table->settings, "require_result_set", true, &table->require_set, error_r)
            : r;
    r = r == 0 ? open_pool(table, error_r) : r;
    if (r != 0) {
        close_sql(table);
        return r;
    }
    *state_r = table;
    return 0;
}

/* One question on its way. */
struct asking {
    struct sql_table *table;
    struct bytes key;
    struct table_hit *hit;
    void *connection; /* for quoting */
    struct buf statement;
    int values;
    int error; /* GW_ERR_* of ours, which ended it */
};

static int
quote_part(void *context, struct bytes text, struct buf *out)
{
    struct asking *asking = context;
    int r = buf_reserve(out, 2 * text.n + 1);

    if (r == 0) {
        size_t n = asking->table->driver->quote(asking->connection, (const char *)text.p, text.n,
                                                (char *)out->p + out->n);

        if (n > 2 * text.n) {
            return GW_ERR_SYNTAX;
        }
        out->n += n;
        out->p[out->n] = '\0';
    }
    return r;
}

static int
take_row(void *context, size_t columns, const char *const *values, const size_t *lengths)
{
    struct asking *asking = context;
    const struct sql_table *table = asking->table;
    size_t count = table->kind->first_column_only && columns > 1 ? 1 : columns;

    for (size_t i = 0; i < count; i++) {
        struct bytes value = values[i] == NULL ? (struct bytes){0} : bytes_of(values[i], lengths[i]);
        int r = bytes_index(value, '\0') >= 0 ? GW_ERR_SYNTAX
                                              : table_formats_result(table->formats, table->result_format,
                                                                     asking->key, value, &asking->hit->value);

        asking->values += r == 1;
        if (r >= 0 && table->expansion_limit > 0 && asking->values > table->expansion_limit) {
            r = GW_ERR_LIMIT;
        }
        if (r < 0) {
            asking->error = r;
            return -1;
        }
    }
    return 0;
}

static enum table_driver_result
ask(void *context, void *connection, char *why)
{
    struct asking *asking = context;
    struct sql_table *table = asking->table;

    asking->connection = connection;
    asking->values = 0;
    buf_clear(&asking->hit->value);
    buf_clear(&asking->statement);
    int r = table_formats_query(table->formats, table->query, asking->key, quote_part, asking,
                                &asking->statement);
    if (r != 1) {
        asking->error = r == 0 ? GW_ERR_INTERNAL : r;
        return DRIVER_OK;
    }
    enum table_driver_result result =
        table->driver->query(connection, buf_str(&asking->statement), take_row, asking, why);
    return result == DRIVER_NO_SET && !table->require_set ? DRIVER_OK : result;
}

static int
judge(struct asking *asking, enum table_driver_result result, struct buf *why)
{
    if (result != DRIVER_OK || asking->error != 0) {
        struct sql_table *table = asking->table;

        log_warning(
            "table", "%s:%s: lookup problem: %s", table->kind->type, table->name,
            result != DRIVER_OK              ? buf_str(why)
            : asking->error == GW_ERR_LIMIT  ? "more values than expansion_limit, or than a value can hold"
            : asking->error == GW_ERR_SYNTAX ? "bytes that the client library refuses, or a NUL in a value"
                                             : gw_strerror(asking->error));
        return GW_ERR_TEMP;
    }
    return asking->values > 0 ? 0 : GW_ERR_NOTFOUND;
}

static int
find_sql(void *state, struct bytes key, struct table_hit *hit)
{
    struct sql_table *table = state;
    struct asking asking = {.table = table, .key = key, .hit = hit};
    struct buf why;
    int r = bytes_index(key, '\0') >= 0 ? 0 : table_formats_allow(table->formats, key);

    if (r != 1) {
        return r == 0 ? GW_ERR_NOTFOUND : r;
    }
    buf_init(&asking.statement, QUERY_MAX);
    buf_init(&why, WHY_MAX);
    r = judge(&asking, table_pool_run(table->pool, ask, &asking, &why), &why);
    buf_free(&asking.statement);
    buf_free(&why);
    return r;
}

static const struct sql_kind SQLITE = {
    .type = "sqlite", .host_setting = "dbpath", .host_is_path = true, .first_column_only = true};
static const struct sql_kind PGSQL = {
    .type = "pgsql", .host_setting = "hosts", .host_fallback = "localhost", .has_function = true};
static const struct sql_kind MYSQL = {.type = "mysql", .host_setting = "hosts", .host_fallback = "localhost"};

static int
open_sqlite(const struct config *config, const char *name, unsigned flags, void **state_r,
            struct buf *error_r)
{
    (void)flags;
    return open_sql(&SQLITE, config, name, state_r, error_r);
}

static int
open_pgsql(const struct config *config, const char *name, unsigned flags, void **state_r, struct buf *error_r)
{
    (void)flags;
    return open_sql(&PGSQL, config, name, state_r, error_r);
}

static int
open_mysql(const struct config *config, const char *name, unsigned flags, void **state_r, struct buf *error_r)
{
    (void)flags;
    return open_sql(&MYSQL, config, name, state_r, error_r);
}

const struct table_type TABLE_SQLITE = {"sqlite", false, open_sqlite, close_sql, find_sql};
const struct table_type TABLE_PGSQL = {"pgsql", false, open_pgsql, close_sql, find_sql};
const struct table_type TABLE_MYSQL = {"mysql", false, open_mysql, close_sql, find_sql};

/*
 * table_mysql - the module of mysql: tables, over libmariadb.
 *
 * Before: table_sql.c. Limits of time are the library's own, for connecting, reading and writing.
 */
#include <mysql.h>
#include <errmsg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/modules/table_driver.h"

enum { COLUMNS_MAX = 64, HOST_BYTES = 512 };

static void
disconnect(void *state)
{
    mysql_close(state);
}

/* "unix:/socket", "inet:host:port", "host", "host:port". */
static unsigned
split_host(const char *text, char host[HOST_BYTES], bool *is_socket_r)
{
    *is_socket_r = strncmp(text, "unix:", 5) == 0 || text[0] == '/';
    if (strncmp(text, "inet:", 5) == 0 || strncmp(text, "unix:", 5) == 0) {
        text += 5;
    }
    (void)snprintf(host, HOST_BYTES, "%s", text);
    char *colon = *is_socket_r ? NULL : strrchr(host, ':');
    if (colon == NULL || strchr(host, ':') != colon) {
        return 0;
    }
    *colon = '\0';
    unsigned long port = strtoul(colon + 1, NULL, 10);
    return port <= 65535 ? (unsigned)port : 0;
}

static void
set_options(MYSQL *mysql, const struct table_driver_login *login)
{
    unsigned timeout = (unsigned)login->timeout_s;
    const char *file = table_driver_setting(login, "option_file", "");
    const char *group = table_driver_setting(login, "option_group", "client");
    const char *key = table_driver_setting(login, "tls_key_file", NULL);
    const char *cert = table_driver_setting(login, "tls_cert_file", NULL);
    const char *ca_file = table_driver_setting(login, "tls_CAfile", NULL);
    const char *ca_path = table_driver_setting(login, "tls_CApath", NULL);
    const char *ciphers = table_driver_setting(login, "tls_ciphers", NULL);
    unsigned no = 0;

    /* Else a server may ask for any file that we can read. */
    (void)mysql_options(mysql, MYSQL_OPT_LOCAL_INFILE, &no);
    (void)mysql_options(mysql, MYSQL_OPT_CONNECT_TIMEOUT, &timeout);
    (void)mysql_options(mysql, MYSQL_OPT_READ_TIMEOUT, &timeout);
    (void)mysql_options(mysql, MYSQL_OPT_WRITE_TIMEOUT, &timeout);
    (void)mysql_options(mysql, MYSQL_SET_CHARSET_NAME, table_driver_setting(login, "charset", "utf8mb4"));
    if (file[0] != '\0') {
        (void)mysql_options(mysql, MYSQL_READ_DEFAULT_FILE, file);
    }
    if (group[0] != '\0') {
        (void)mysql_options(mysql, MYSQL_READ_DEFAULT_GROUP, group);
    }
    if (key != NULL || cert != NULL || ca_file != NULL || ca_path != NULL || ciphers != NULL) {
        (void)mysql_ssl_set(mysql, key, cert, ca_file, ca_path, ciphers);
    }
    if (strcmp(table_driver_setting(login, "tls_verify_cert", "no"), "yes") == 0) {
        my_bool yes = 1;

        (void)mysql_options(mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &yes);
    }
}

static enum table_driver_result
connect_server(const struct table_driver_login *login, void **connection_r, char *why)
{
    MYSQL *mysql = mysql_init(NULL);
    char host[HOST_BYTES];
    bool is_socket;
    unsigned port = split_host(login->host, host, &is_socket);

    *connection_r = NULL;
    if (mysql == NULL) {
        return DRIVER_BROKEN;
    }
    set_options(mysql, login);
    if (mysql_real_connect(mysql, is_socket ? NULL : host, table_driver_setting(login, "user", NULL),
                           table_driver_setting(login, "password", NULL),
                           table_driver_setting(login, "dbname", NULL), port, is_socket ? host : NULL,
                           CLIENT_MULTI_RESULTS) == NULL) {
        (void)snprintf(why, TABLE_DRIVER_WHY_MAX, "connect to %s: %s", login->host, mysql_error(mysql));
        mysql_close(mysql);
        return DRIVER_BROKEN;
    }
    *connection_r = mysql;
    return DRIVER_OK;
}

static size_t
quote(void *connection, const char *text, size_t n, char *out)
{
    unsigned long written = mysql_real_escape_string(connection, out, text, n);

    return written == (unsigned long)-1 ? SIZE_MAX : written;
}

static bool
is_lost(unsigned error)
{
    return error == CR_SERVER_GONE_ERROR || error == CR_SERVER_LOST || error == CR_COMMANDS_OUT_OF_SYNC ||
           error == CR_CONNECTION_ERROR || error == CR_CONN_HOST_ERROR || error == CR_UNKNOWN_ERROR ||
           error == CR_MALFORMED_PACKET;
}

static enum table_driver_result
fail(MYSQL *mysql, char *why)
{
    (void)snprintf(why, TABLE_DRIVER_WHY_MAX, "%s", mysql_error(mysql));
    return is_lost(mysql_errno(mysql)) ? DRIVER_BROKEN : DRIVER_FAILED;
}

static void
give_rows(MYSQL_RES *result, table_driver_row *row, void *context)
{
    size_t lengths[COLUMNS_MAX];
    unsigned columns = mysql_num_fields(result) < COLUMNS_MAX ? mysql_num_fields(result) : COLUMNS_MAX;
    MYSQL_ROW values;

    while ((values = mysql_fetch_row(result)) != NULL) {
        const unsigned long *sizes = mysql_fetch_lengths(result);

        for (unsigned i = 0; i < columns; i++) {
            lengths[i] = sizes[i];
        }
        if (row(context, columns, (const char *const *)values, lengths) != 0) {
            return;
        }
    }
}

/* A CALL gives what its SELECT gave and then its own status; a second set of rows is one too many. */
static enum table_driver_result
query(void *state, const char *statement, table_driver_row *row, void *context, char *why)
{
    MYSQL *mysql = state;
    int sets = 0, more;

    if (mysql_real_query(mysql, statement, strlen(statement)) != 0) {
        return fail(mysql, why);
    }
    do {
        MYSQL_RES *result = mysql_store_result(mysql);

        if (result == NULL && mysql_field_count(mysql) != 0) {
            return fail(mysql, why);
        }
        if (result != NULL && sets++ == 0) {
            give_rows(result, row, context);
        }
        mysql_free_result(result); /* NULL is fine */
        more = mysql_next_result(mysql);
    } while (more == 0);
    if (more > 0) {
        return fail(mysql, why);
    }
    if (sets == 1) {
        return DRIVER_OK;
    }
    (void)snprintf(why, TABLE_DRIVER_WHY_MAX, "%s",
                   sets == 0 ? "the query gives no rows; see require_result_set"
                             : "the query gives several sets of rows");
    return sets == 0 ? DRIVER_NO_SET : DRIVER_FAILED;
}

static const struct table_sql_driver SQL = {
    .connect = connect_server, .disconnect = disconnect, .quote = quote, .query = query};

const struct table_driver estafeta_table_driver = {
    .version = TABLE_DRIVER_VERSION, .type = "mysql", .sql = &SQL};

/*
 * table_pgsql - the module of pgsql: tables, over libpq.
 *
 * Before: table_sql.c. Connecting has libpq's own time limit; questions are sent without blocking and waited
 * for with ours, because libpq has none.
 */
#include <libpq-fe.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "config/modules/table_driver.h"

enum { COLUMNS_MAX = 64, PORT_BYTES = 32, HOST_BYTES = 512, TIMEOUT_BYTES = 16 };

struct connection {
    PGconn *pg;
    int timeout_s;
};

static void
disconnect(void *state)
{
    struct connection *connection = state;

    PQfinish(connection->pg);
    free(connection);
}

/* "unix:/directory", "inet:host:port", "host", "host:port", "[::1]:port". */
static void
split_host(const char *text, char host[HOST_BYTES], char port[PORT_BYTES])
{
    if (strncmp(text, "inet:", 5) == 0 || strncmp(text, "unix:", 5) == 0) {
        text += 5;
    }
    (void)snprintf(host, HOST_BYTES, "%s", text);
    port[0] = '\0';
    char *colon = host[0] == '/' ? NULL : strrchr(host, ':');
    if (colon != NULL && (strchr(host, ':') == colon || (colon > host && colon[-1] == ']'))) {
        (void)snprintf(port, PORT_BYTES, "%s", colon + 1);
        *colon = '\0';
    }
    size_t n = strlen(host);
    if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = '\0';
        memmove(host, host + 1, n - 1);
    }
}

static PGconn *
connect_host(const struct table_driver_login *login)
{
    char host[HOST_BYTES], port[PORT_BYTES], timeout[TIMEOUT_BYTES];
    bool is_uri =
        strncmp(login->host, "postgresql://", 13) == 0 || strncmp(login->host, "postgres://", 11) == 0;
    const char *names[8] = {NULL}, *values[8] = {NULL};
    size_t count = 0;

    split_host(login->host, host, port);
    (void)snprintf(timeout, sizeof(timeout), "%d", login->timeout_s);
    const struct {
        const char *name, *value;
    } all[] = {
        {"dbname", is_uri ? login->host : table_driver_setting(login, "dbname", "")},
        {"host", is_uri ? "" : host},
        {"port", is_uri ? "" : port},
        {"user", is_uri ? "" : table_driver_setting(login, "user", "")},
        {"password", is_uri ? "" : table_driver_setting(login, "password", "")},
        {"connect_timeout", timeout},
        {"client_encoding", table_driver_setting(login, "encoding", "UTF8")},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i].value[0] != '\0') {
            names[count] = all[i].name;
            values[count++] = all[i].value;
        }
    }
    return PQconnectdbParams(names, values, is_uri);
}

static void
drop_notice(void *context, const char *message)
{
    (void)context;
    (void)message;
}

static enum table_driver_result
connect_server(const struct table_driver_login *login, void **connection_r, char *why)
{
    struct connection *connection = calloc(1, sizeof(*connection));

    *connection_r = NULL;
    if (connection == NULL) {
        return DRIVER_BROKEN;
    }
    connection->timeout_s = login->timeout_s;
    connection->pg = connect_host(login);
    if (PQstatus(connection->pg) != CONNECTION_OK || PQsetnonblocking(connection->pg, 1) != 0) {
        (void)snprintf(why, TABLE_DRIVER_WHY_MAX, "%s",
                       connection->pg != NULL ? PQerrorMessage(connection->pg) : "out of memory");
        disconnect(connection);
        return DRIVER_BROKEN;
    }
    (void)PQsetNoticeProcessor(connection->pg, drop_notice, NULL);
    *connection_r = connection;
    return DRIVER_OK;
}

static size_t
quote(void *state, const char *text, size_t n, char *out)
{
    struct connection *connection = state;
    int error = 0;
    size_t written = PQescapeStringConn(connection->pg, out, text, n, &error);

    return error != 0 ? SIZE_MAX : written;
}

static long
now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until a whole result is there, or flushing is done. 0 or -1. */
static int
wait_result(PGconn *pg, long until_ms)
{
    for (;;) {
        int unsent = PQflush(pg);

        if (unsent < 0 || (unsent == 0 && PQisBusy(pg) == 0)) {
            return unsent < 0 ? -1 : 0;
        }
        struct pollfd one = {.fd = PQsocket(pg), .events = (short)(POLLIN | (unsent > 0 ? POLLOUT : 0))};
        long left = until_ms - now_ms();
        if (left <= 0 || poll(&one, 1, (int)left) == 0) {
            return -1;
        }
        if ((one.revents & ~POLLOUT) != 0 && PQconsumeInput(pg) == 0) {
            return -1;
        }
    }
}

static int
give_rows(const PGresult *result, table_driver_row *row, void *context)
{
    const char *values[COLUMNS_MAX];
    size_t lengths[COLUMNS_MAX];
    int columns = PQnfields(result) < COLUMNS_MAX ? PQnfields(result) : COLUMNS_MAX;

    for (int i = 0; i < PQntuples(result); i++) {
        for (int j = 0; j < columns; j++) {
            values[j] = PQgetisnull(result, i, j) ? NULL : PQgetvalue(result, i, j);
            lengths[j] = (size_t)PQgetlength(result, i, j);
        }
        if (row(context, (size_t)columns, values, lengths) != 0) {
            return -1;
        }
    }
    return 0;
}

static enum table_driver_result
query(void *state, const char *statement, table_driver_row *row, void *context, char *why)
{
    struct connection *connection = state;
    PGconn *pg = connection->pg;
    long until_ms = now_ms() + connection->timeout_s * 1000L;
    enum table_driver_result verdict = DRIVER_OK;
    bool stopped = false;
    PGresult *result;

    if (PQsendQuery(pg, statement) == 0) {
        (void)snprintf(why, TABLE_DRIVER_WHY_MAX, "%s", PQerrorMessage(pg));
        return DRIVER_BROKEN;
    }
    for (;;) {
        if (wait_result(pg, until_ms) != 0) {
            (void)snprintf(why, TABLE_DRIVER_WHY_MAX, "no answer within %d s %s", connection->timeout_s,
                           PQerrorMessage(pg));
            return DRIVER_BROKEN;
        }
        if ((result = PQgetResult(pg)) == NULL) {
            return PQstatus(pg) != CONNECTION_OK ? DRIVER_BROKEN : verdict;
        }
        ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_COPY_OUT || status == PGRES_COPY_IN || status == PGRES_COPY_BOTH) {
            /* libpq would give this result again and again until somebody copies. */
            (void)snprintf(why, TABLE_DRIVER_WHY_MAX, "the query copies instead of giving rows");
            PQclear(result);
            return DRIVER_BROKEN;
        }
        if (status == PGRES_TUPLES_OK) {
            stopped = stopped || give_rows(result, row, context) != 0;
        } else {
            (void)snprintf(why, TABLE_DRIVER_WHY_MAX, "%s",
                           status == PGRES_COMMAND_OK ? "the query gives no rows"
                                                      : PQresultErrorMessage(result));
            verdict = DRIVER_FAILED;
        }
        PQclear(result);
    }
}

static const struct table_sql_driver SQL = {
    .connect = connect_server, .disconnect = disconnect, .quote = quote, .query = query};

const struct table_driver estafeta_table_driver = {
    .version = TABLE_DRIVER_VERSION, .type = "pgsql", .sql = &SQL};

/*
 * table_sqlite - the module of sqlite: tables, over libsqlite3.
 *
 * Before: table_sql.c. The file is opened for reading only. A file that was replaced (renamed over) since is
 * seen by its inode and opened anew; one that another program writes to at the moment is waited for a little.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "config/modules/table_driver.h"

enum { BUSY_MS = 2000, COLUMNS_MAX = 64 };

struct connection {
    sqlite3 *db;
    char *path;
    dev_t device;
    ino_t inode;
};

static void
say(char *why, const char *what, const char *more)
{
    (void)snprintf(why, TABLE_DRIVER_WHY_MAX, "%s: %s", what, more);
}

static void
disconnect(void *state)
{
    struct connection *connection = state;

    (void)sqlite3_close(connection->db); /* NULL is fine */
    free(connection->path);
    free(connection);
}

static enum table_driver_result
connect_file(const struct table_driver_login *login, void **connection_r, char *why)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    struct stat st;

    *connection_r = NULL;
    if (connection == NULL || (connection->path = strdup(login->host)) == NULL ||
        stat(login->host, &st) == -1) {
        say(why, login->host, "no such file, or it cannot be reached");
        goto broken;
    }
    connection->device = st.st_dev;
    connection->inode = st.st_ino;
    if (sqlite3_open_v2(login->host, &connection->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK) {
        say(why, login->host, connection->db != NULL ? sqlite3_errmsg(connection->db) : "out of memory");
        goto broken;
    }
    (void)sqlite3_busy_timeout(connection->db, BUSY_MS);
    *connection_r = connection;
    return DRIVER_OK;
broken:
    if (connection != NULL) {
        disconnect(connection);
    }
    return DRIVER_BROKEN;
}

static size_t
quote(void *connection, const char *text, size_t n, char *out)
{
    size_t at = 0;

    (void)connection;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\'') {
            out[at++] = '\'';
        }
        out[at++] = text[i];
    }
    out[at] = '\0';
    return at;
}

/* What cannot be cured by asking again on another connection is a failure of the question. */
static enum table_driver_result
judge(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_IOERR:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CANTOPEN:
    case SQLITE_SCHEMA:
        return DRIVER_BROKEN;
    default:
        return DRIVER_FAILED;
    }
}

static int
give_row(sqlite3_stmt *prepared, table_driver_row *row, void *context)
{
    const char *values[COLUMNS_MAX];
    size_t lengths[COLUMNS_MAX];
    int count = sqlite3_column_count(prepared);

    count = count < COLUMNS_MAX ? count : COLUMNS_MAX;
    for (int i = 0; i < count; i++) {
        values[i] = (const char *)sqlite3_column_text(prepared, i);
        lengths[i] = (size_t)sqlite3_column_bytes(prepared, i);
    }
    return row(context, (size_t)count, values, lengths);
}

static enum table_driver_result
query(void *state, const char *statement, table_driver_row *row, void *context, char *why)
{
    struct connection *connection = state;
    sqlite3_stmt *prepared = NULL;
    struct stat st;

    if (stat(connection->path, &st) == -1 || st.st_ino != connection->inode ||
        st.st_dev != connection->device) {
        say(why, connection->path, "is not there any more");
        return DRIVER_BROKEN;
    }
    int rc = sqlite3_prepare_v2(connection->db, statement, -1, &prepared, NULL);
    if (rc == SQLITE_OK && prepared == NULL) {
        say(why, connection->path, "the query is empty");
        return DRIVER_FAILED;
    }
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(prepared);
        if (rc == SQLITE_ROW && give_row(prepared, row, context) != 0) {
            rc = SQLITE_DONE;
        }
    }
    if (rc != SQLITE_DONE) {
        say(why, connection->path, sqlite3_errmsg(connection->db));
    }
    (void)sqlite3_finalize(prepared);
    return rc == SQLITE_DONE ? DRIVER_OK : judge(rc);
}

static const struct table_sql_driver SQL = {
    .connect = connect_file, .disconnect = disconnect, .quote = quote, .query = query};

const struct table_driver estafeta_table_driver = {
    .version = TABLE_DRIVER_VERSION, .type = "sqlite", .sql = &SQL};

/*
 * table_driver - what a separately built table module (estafeta-table-TYPE.so) gives to the gateway: a thin
 * layer over one database client library.
 *
 * A module is this file and its library, nothing else of the gateway: files, formats, retries and limits are
 * the gateway's (table_sql.c, table_ldap.c), so a module has no way to differ in them. A connection is used
 * by one thread at a time. Strings end in NUL. `why` gets the library's words, cut to fit.
 */
#ifndef CONFIG_MODULES_TABLE_DRIVER_H
#define CONFIG_MODULES_TABLE_DRIVER_H

#include <stddef.h>
#include <string.h>

enum { TABLE_DRIVER_VERSION = 1, TABLE_DRIVER_WHY_MAX = 512 };

/* What a driver's functions return. */
enum table_driver_result {
    DRIVER_OK = 0,
    DRIVER_BROKEN = -1, /* the connection is of no use any more; another may be */
    DRIVER_FAILED = -2, /* the server refused this question; the connection is fine */
    DRIVER_NO_SET = -3, /* the statement gives no rows by its nature (mysql: CALL without SELECT) */
    DRIVER_NO_BASE = -4 /* ldap: the entry to search below is not there */
};

/* The table's configuration file, as it stands there; ends with a NULL name. */
struct table_setting {
    const char *name;
    const char *value;
};

struct table_driver_login {
    const struct table_setting *settings;
    const char *host; /* of hosts, as written; of sqlite the path of the file */
    int timeout_s;    /* for connecting and for each answer */
};

/* Columns that are NULL are NULL. Nonzero: no more rows, please. */
typedef int table_driver_row(void *context, size_t columns, const char *const *values, const size_t *lengths);

struct table_sql_driver {
    enum table_driver_result (*connect)(const struct table_driver_login *login, void **connection_r,
                                        char *why);
    void (*disconnect)(void *connection);
    /* Writes text, escaped for a quoted literal, and a NUL to out, which has room for 2 * n + 1 bytes. Its
     * length, or SIZE_MAX when the library refuses it (bytes that are not of the connection's encoding). */
    size_t (*quote)(void *connection, const char *text, size_t n, char *out);
    enum table_driver_result (*query)(void *connection, const char *statement, table_driver_row *row,
                                      void *context, char *why);
};

/* One value of an entry; a NULL attribute announces the next entry. Nonzero: no more, please. */
typedef int table_driver_value(void *context, const char *attribute, const char *value, size_t n);

struct table_ldap_search {
    const char *base;
    const char *scope; /* "sub", "base", "one" */
    const char *filter;
    const char *const *attributes; /* ends with NULL */
    int size_limit;                /* entries; 0: none */
};

struct table_ldap_driver {
    enum table_driver_result (*connect)(const struct table_driver_login *login, void **connection_r,
                                        char *why);
    void (*disconnect)(void *connection);
    enum table_driver_result (*search)(void *connection, const struct table_ldap_search *search,
                                       table_driver_value *value, void *context, char *why);
    /* Splits an LDAP URL into base, scope, filter and attributes, which live until the URL is freed; NULL
     * when it is none. */
    void *(*url_parse)(const char *url, struct table_ldap_search *search_r);
    void (*url_free)(void *parsed);
};

struct table_driver {
    unsigned version;
    const char *type;
    const struct table_sql_driver *sql; /* one of the two */
    const struct table_ldap_driver *ldap;
};

/* The one symbol of a module. */
#define TABLE_DRIVER_SYMBOL "estafeta_table_driver"
extern const struct table_driver estafeta_table_driver;

/* For drivers: a setting's value, or `fallback` when it is not there. */
static inline const char *
table_driver_setting(const struct table_driver_login *login, const char *name, const char *fallback)
{
    for (const struct table_setting *at = login->settings; at->name != NULL; at++) {
        if (strcmp(at->name, name) == 0) {
            return at->value;
        }
    }
    return fallback;
}

#endif

/*
 * table_ldap - the module of ldap: tables, over libldap.
 *
 * Before: gateway/config/table_ldap.c, which makes the filters and follows references. Limits of time are the
 * library's own; a search that found more than the limit of entries is a failure, never a part of the answer.
 */
#include <ldap.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

#include "config/modules/table_driver.h"

struct connection {
    LDAP *ldap;
    int timeout_s;
};

struct parsed_url {
    LDAPURLDesc *url;
};

static void
disconnect(void *state)
{
    struct connection *connection = state;

    if (connection->ldap != NULL) {
        (void)ldap_unbind_ext_s(connection->ldap, NULL, NULL);
    }
    free(connection);
}

static int
number(const struct table_driver_login *login, const char *name, int fallback)
{
    const char *text = table_driver_setting(login, name, NULL);

    return text == NULL ? fallback : (int)strtol(text, NULL, 10);
}

static int
set_limits(LDAP *ldap, const struct table_driver_login *login)
{
    struct timeval limit = {.tv_sec = login->timeout_s};
    int version = number(login, "version", LDAP_VERSION3), alias = number(login, "dereference", 0);
    bool chase = number(login, "chase_referrals", 0) != 0;

    return ldap_set_option(ldap, LDAP_OPT_NETWORK_TIMEOUT, &limit) == LDAP_OPT_SUCCESS &&
                   ldap_set_option(ldap, LDAP_OPT_TIMEOUT, &limit) == LDAP_OPT_SUCCESS &&
                   ldap_set_option(ldap, LDAP_OPT_PROTOCOL_VERSION, &version) == LDAP_OPT_SUCCESS &&
                   ldap_set_option(ldap, LDAP_OPT_DEREF, &alias) == LDAP_OPT_SUCCESS &&
                   ldap_set_option(ldap, LDAP_OPT_REFERRALS, chase ? LDAP_OPT_ON : LDAP_OPT_OFF) ==
                       LDAP_OPT_SUCCESS
               ? 0
               : -1;
}

static int
set_tls(LDAP *ldap, const struct table_driver_login *login)
{
    static const struct {
        const char *setting;
        int option;
    } FILES[] = {
        {"tls_ca_cert_file", LDAP_OPT_X_TLS_CACERTFILE},
        {"tls_ca_cert_dir", LDAP_OPT_X_TLS_CACERTDIR},
        {"tls_cert", LDAP_OPT_X_TLS_CERTFILE},
        {"tls_key", LDAP_OPT_X_TLS_KEYFILE},
        {"tls_cipher_suite", LDAP_OPT_X_TLS_CIPHER_SUITE},
    };
    int require = strcmp(table_driver_setting(login, "tls_require_cert", "no"), "yes") == 0
                      ? LDAP_OPT_X_TLS_DEMAND
                      : LDAP_OPT_X_TLS_NEVER;
    int client = 0;

    for (size_t i = 0; i < sizeof(FILES) / sizeof(FILES[0]); i++) {
        const char *value = table_driver_setting(login, FILES[i].setting, "");

        if (value[0] != '\0' && ldap_set_option(ldap, FILES[i].option, value) != LDAP_OPT_SUCCESS) {
            return -1;
        }
    }
    return ldap_set_option(ldap, LDAP_OPT_X_TLS_REQUIRE_CERT, &require) == LDAP_OPT_SUCCESS &&
                   ldap_set_option(ldap, LDAP_OPT_X_TLS_NEWCTX, &client) == LDAP_OPT_SUCCESS
               ? 0
               : -1;
}

static int
bind_user(LDAP *ldap, const struct table_driver_login *login)
{
    const char *how = table_driver_setting(login, "bind", "yes");
    const char *dn = table_driver_setting(login, "bind_dn", ""),
               *password = table_driver_setting(login, "bind_pw", "");
    struct berval secret = {.bv_len = strlen(password), .bv_val = (char *)(uintptr_t)password};

    if (strcmp(how, "no") == 0 || strcmp(how, "none") == 0) {
        return LDAP_SUCCESS;
    }
    return ldap_sasl_bind_s(ldap, dn, LDAP_SASL_SIMPLE, &secret, NULL, NULL, NULL);
}

static enum table_driver_result
connect_server(const struct table_driver_login *login, void **connection_r, char *why)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    const char *step = "initialize";
    int rc;

    *connection_r = NULL;
    if (connection == NULL) {
        return DRIVER_BROKEN;
    }
    connection->timeout_s = login->timeout_s;
    rc = ldap_initialize(&connection->ldap, login->host);
    if (rc == LDAP_SUCCESS) {
        step = "options";
        rc = set_limits(connection->ldap, login) == 0 && set_tls(connection->ldap, login) == 0
                 ? LDAP_SUCCESS
                 : LDAP_PARAM_ERROR;
    }
    if (rc == LDAP_SUCCESS && strcmp(table_driver_setting(login, "start_tls", "no"), "yes") == 0) {
        step = "STARTTLS";
        rc = ldap_start_tls_s(connection->ldap, NULL, NULL);
    }
    if (rc == LDAP_SUCCESS) {
        step = "bind";
        rc = bind_user(connection->ldap, login);
    }
    if (rc != LDAP_SUCCESS) {
        (void)snprintf(why, TABLE_DRIVER_WHY_MAX, "%s: %s: %s", login->host, step, ldap_err2string(rc));
        disconnect(connection);
        return DRIVER_BROKEN;
    }
    *connection_r = connection;
    return DRIVER_OK;
}

static int
give_values(LDAP *ldap, LDAPMessage *entry, const char *attribute, table_driver_value *value, void *context)
{
    struct berval **values = ldap_get_values_len(ldap, entry, attribute);
    int stop = 0;

    for (size_t i = 0; values != NULL && values[i] != NULL && stop == 0; i++) {
        stop = value(context, attribute, values[i]->bv_val, values[i]->bv_len);
    }
    ldap_value_free_len(values); /* NULL is fine */
    return stop;
}

static int
give_entry(LDAP *ldap, LDAPMessage *entry, table_driver_value *value, void *context)
{
    BerElement *place = NULL;
    char *attribute = ldap_first_attribute(ldap, entry, &place);
    int stop = value(context, NULL, NULL, 0);

    while (attribute != NULL && stop == 0) {
        stop = give_values(ldap, entry, attribute, value, context);
        ldap_memfree(attribute);
        attribute = ldap_next_attribute(ldap, entry, place);
    }
    ldap_memfree(attribute);
    ber_free(place, 0); /* NULL is fine */
    return stop;
}

static enum table_driver_result
judge(int rc)
{
    switch (rc) {
    case LDAP_SUCCESS:
        return DRIVER_OK;
    case LDAP_NO_SUCH_OBJECT:
        return DRIVER_NO_BASE;
    case LDAP_SERVER_DOWN:
    case LDAP_TIMEOUT:
    case LDAP_CONNECT_ERROR:
    case LDAP_UNAVAILABLE:
    case LDAP_BUSY:
    case LDAP_OTHER:
    case LDAP_PROTOCOL_ERROR:
    case LDAP_DECODING_ERROR:
        return DRIVER_BROKEN;
    default:
        return DRIVER_FAILED;
    }
}

static int
scope_number(const char *scope)
{
    return strcmp(scope, "base") == 0  ? LDAP_SCOPE_BASE
           : strcmp(scope, "one") == 0 ? LDAP_SCOPE_ONELEVEL
                                       : LDAP_SCOPE_SUBTREE;
}

static enum table_driver_result
search_entries(void *state, const struct table_ldap_search *search, table_driver_value *value, void *context,
               char *why)
{
    struct connection *connection = state;
    struct timeval limit = {.tv_sec = connection->timeout_s};
    LDAPMessage *found = NULL;
    int stop = 0;
    int rc = ldap_search_ext_s(connection->ldap, search->base, scope_number(search->scope), search->filter,
                               (char **)(uintptr_t)search->attributes, 0, NULL, NULL, &limit,
                               search->size_limit, &found);

    if (rc == LDAP_SUCCESS) {
        for (LDAPMessage *entry = ldap_first_entry(connection->ldap, found); entry != NULL && stop == 0;
             entry = ldap_next_entry(connection->ldap, entry)) {
            stop = give_entry(connection->ldap, entry, value, context);
        }
    } else {
        (void)snprintf(why, TABLE_DRIVER_WHY_MAX, "search below \"%s\": %s", search->base,
                       ldap_err2string(rc));
    }
    (void)ldap_msgfree(found); /* NULL is fine */
    return judge(rc);
}

static void
url_free(void *state)
{
    struct parsed_url *parsed = state;

    ldap_free_urldesc(parsed->url);
    free(parsed);
}

static void *
url_parse(const char *text, struct table_ldap_search *search_r)
{
    struct parsed_url *parsed = ldap_is_ldap_url(text) ? calloc(1, sizeof(*parsed)) : NULL;

    if (parsed == NULL) {
        return NULL;
    }
    if (ldap_url_parse(text, &parsed->url) != LDAP_URL_SUCCESS) {
        free(parsed);
        return NULL;
    }
    *search_r = (struct table_ldap_search){
        .base = parsed->url->lud_dn == NULL ? "" : parsed->url->lud_dn,
        .scope = parsed->url->lud_scope == LDAP_SCOPE_SUBTREE    ? "sub"
                 : parsed->url->lud_scope == LDAP_SCOPE_ONELEVEL ? "one"
                                                                 : "base",
        .filter = parsed->url->lud_filter == NULL ? "(objectclass=*)" : parsed->url->lud_filter,
        .attributes = (const char *const *)parsed->url->lud_attrs,
    };
    return parsed;
}

static const struct table_ldap_driver DRIVER = {.connect = connect_server,
                                                .disconnect = disconnect,
                                                .search = search_entries,
                                                .url_parse = url_parse,
                                                .url_free = url_free};

const struct table_driver estafeta_table_driver = {
    .version = TABLE_DRIVER_VERSION, .type = "ldap", .ldap = &DRIVER};

/*
 * table_ldap - ldap: tables (Postfix's ldap_table(5)).
 *
 * Before: table_find(), in the keeper when a role asks; after: a connection of table_pool.c, through the
 * driver of the ldap module. The key goes into query_filter escaped by RFC 4515 and into search_base by RFC
 * 4514. Of an entry, terminal attributes replace all others; special attributes hold names or URLs of entries
 * to look at in turn, and then leaf attributes of this one do not count. What fails is "cannot tell", said in
 * one log line.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/log.h"
#include "config/modules/table_driver.h"
#include "config/table_format.h"
#include "config/table_ldap.h"
#include "config/table_module.h"
#include "config/table_pool.h"
#include "config/table_settings.h"
#include "config/table_type.h"

enum {
    FILTER_MAX = 64 * 1024,
    WHY_MAX = 1024,
    ATTRIBUTES_MAX = 64,
    DEPTH_DEFAULT = 1000,
    DEPTH_MAX = 1000,
    SEARCHES_MAX = 10000, /* of one lookup: references may form circles */
    TIMEOUT_DEFAULT_S = 10,
    TIMEOUT_MAX_S = 20,
};

enum attribute_kind { RESULT, TERMINAL, LEAF, SPECIAL, KINDS };

static const char *const KIND_SETTINGS[KINDS] = {
    [RESULT] = "result_attribute",
    [TERMINAL] = "terminal_result_attribute",
    [LEAF] = "leaf_result_attribute",
    [SPECIAL] = "special_result_attribute",
};

struct ldap_table {
    const struct table_ldap_driver *driver;
    struct table_pool_driver pool_driver;
    struct table_pool *pool;
    struct table_settings *settings;
    struct table_formats *formats;
    char *name;
    const char *base, *filter, *scope, *result_format; /* in settings, or literals */
    bool base_has_key;
    char *attributes[ATTRIBUTES_MAX + 1]; /* ends with NULL */
    enum attribute_kind kinds[ATTRIBUTES_MAX];
    size_t attribute_count;
    int expansion_limit, size_limit, depth_limit;
};

static void
close_ldap(void *state)
{
    struct ldap_table *table = state;

    table_pool_free(&table->pool);
    table_formats_free(&table->formats);
    table_settings_free(&table->settings);
    for (size_t i = 0; i < table->attribute_count; i++) {
        free(table->attributes[i]);
    }
    free(table->name);
    free(table);
}

static const char *
setting(struct ldap_table *table, const char *name, const char *fallback)
{
    const char *value = table_settings_str(table->settings, name);

    return value == NULL ? fallback : value;
}

static int
refuse(const struct ldap_table *table, const char *what, struct buf *error_r)
{
    (void)buf_printf(error_r, "ldap:%s: %s", table->name, what);
    return GW_ERR_CONFIG;
}

static int
read_attributes(struct ldap_table *table, struct buf *error_r)
{
    for (int kind = RESULT; kind < KINDS; kind++) {
        struct bytes rest = bytes_str(setting(table, KIND_SETTINGS[kind], kind == RESULT ? "maildrop" : "")),
                     word;

        while (bytes_next_token(&rest, ", \t\r\n", &word)) {
            if (word.n == 0) {
                continue;
            }
            if (table->attribute_count == ATTRIBUTES_MAX) {
                return refuse(table, "too many result attributes", error_r);
            }
            char *name = bytes_dup_str(word);
            if (name == NULL) {
                return GW_ERR_NOMEM;
            }
            table->kinds[table->attribute_count] = (enum attribute_kind)kind;
            table->attributes[table->attribute_count++] = name;
        }
    }
    return 0;
}

static int
read_formats(struct ldap_table *table, const struct config *config, struct buf *error_r)
{
    int r;

    table->base = setting(table, "search_base", "");
    table->filter = setting(table, "query_filter", "(mailacceptinggeneralid=%s)");
    table->result_format = setting(table, "result_format", setting(table, "result_filter", "%s"));
    table->scope = setting(table, "scope", "sub");
    table->base_has_key = strchr(table->base, '%') != NULL;
    if (strcmp(table->scope, "sub") != 0 && strcmp(table->scope, "base") != 0 &&
        strcmp(table->scope, "one") != 0) {
        return refuse(table, "scope is none of sub, base, one", error_r);
    }
    if ((table->formats = table_formats_new()) == NULL) {
        return GW_ERR_NOMEM;
    }
    r = table_formats_add(table->formats, table->base, true, error_r);
    r = r == 0 ? table_formats_add(table->formats, table->filter, true, error_r) : r;
    r = r == 0 ? table_formats_add(table->formats, table->result_format, false, error_r) : r;
    return r == 0 ? table_formats_limit(table->formats, config, setting(table, "domain", ""), error_r) : r;
}

static int
read_limits(struct ldap_table *table, int *timeout_s_r, struct buf *error_r)
{
    struct table_settings *settings = table->settings;
    const char *bind = setting(table, "bind", "yes");
    int r = table_settings_int(settings, "expansion_limit", 0, 0, &table->expansion_limit, error_r);

    r = r == 0 ? table_settings_int(settings, "size_limit", table->expansion_limit, 0, &table->size_limit,
                                    error_r)
               : r;
    r = r == 0
            ? table_settings_int(settings, "recursion_limit", DEPTH_DEFAULT, 1, &table->depth_limit, error_r)
            : r;
    r = r == 0 ? table_settings_int(settings, "timeout", TIMEOUT_DEFAULT_S, 1, timeout_s_r, error_r) : r;
    table->depth_limit = table->depth_limit < DEPTH_MAX ? table->depth_limit : DEPTH_MAX;
    *timeout_s_r = *timeout_s_r < TIMEOUT_MAX_S ? *timeout_s_r : TIMEOUT_MAX_S;
    if (r == 0 && strcasecmp(bind, "sasl") == 0) {
        return refuse(table, "bind = sasl is not built; use simple, or no", error_r);
    }
    return r;
}

/* The words of server_host as one list of URLs. */
static int
make_urls(struct ldap_table *table, struct buf *urls)
{
    struct bytes rest = bytes_str(setting(table, "server_host", "localhost")), word;
    const char *port = setting(table, "server_port", "389");
    int r = 0;

    while (r == 0 && bytes_next_token(&rest, ", \t\r\n", &word)) {
        if (word.n == 0) {
            continue;
        }
        r = urls->n > 0 ? buf_append_byte(urls, ' ') : 0;
        if (r == 0 && bytes_find(word, BYTES_LIT("://")) >= 0) {
            r = buf_append_bytes(urls, word);
        } else if (r == 0) {
            bool has_port = bytes_rindex(word, ':') > bytes_rindex(word, ']');

            r = buf_printf(urls, "ldap://%.*s%s%s", BYTES_FMT(word), has_port ? "" : ":",
                           has_port ? "" : port);
        }
    }
    return r;
}

static int
open_pool(struct ldap_table *table, int timeout_s)
{
    static const char *const NAMES[] = {
        "bind",
        "bind_dn",
        "bind_pw",
        "version",
        "dereference",
        "chase_referrals",
        "start_tls",
        "tls_ca_cert_file",
        "tls_ca_cert_dir",
        "tls_cert",
        "tls_key",
        "tls_require_cert",
        "tls_cipher_suite",
    };
    struct buf urls;
    int r;

    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        (void)table_settings_str(table->settings, NAMES[i]); /* a driver sees of main.cf what was asked for */
    }
    buf_init(&urls, FILTER_MAX);
    r = make_urls(table, &urls);
    table->pool_driver = (struct table_pool_driver){.connect = table->driver->connect,
                                                    .disconnect = table->driver->disconnect};
    r = r == 0 ? table_pool_new(&table->pool_driver, table_settings_all(table->settings), bytes_buf(&urls),
                                "", timeout_s, &table->pool)
               : r;
    buf_free(&urls);
    return r;
}

static int
open_ldap(const struct config *config, const char *name, unsigned flags, void **state_r, struct buf *error_r)
{
    const struct table_driver *driver = table_module_find(config, "ldap");
    struct ldap_table *table = driver == NULL || driver->ldap == NULL ? NULL : calloc(1, sizeof(*table));
    int timeout_s = TIMEOUT_DEFAULT_S, r;

    (void)flags;
    *state_r = NULL;
    if (table == NULL) {
        return driver == NULL || driver->ldap == NULL ? GW_ERR_CONFIG : GW_ERR_NOMEM;
    }
    table->driver = driver->ldap;
    table->name = bytes_dup_str(bytes_str(name));
    r = table->name == NULL ? GW_ERR_NOMEM : table_settings_open(config, name, &table->settings, error_r);
    r = r == 0 ? read_formats(table, config, error_r) : r;
    r = r == 0 ? read_attributes(table, error_r) : r;
    r = r == 0 ? read_limits(table, &timeout_s, error_r) : r;
    r = r == 0 ? open_pool(table, timeout_s) : r;
    if (r != 0) {
        close_ldap(table);
        return r;
    }
    *state_r = table;
    return 0;
}

/* RFC 4515 section 3: these, and bytes that are not UTF-8, which some keys hold. */
int
table_ldap_quote_filter(void *context, struct bytes text, struct buf *out)
{
    int r = 0;

    (void)context;
    for (size_t i = 0; r == 0 && i < text.n; i++) {
        uint8_t c = text.p[i];

        r = c == '*' || c == '(' || c == ')' || c == '\\' || c == '\0' || c >= 0x80
                ? buf_printf(out, "\\%02x", c)
                : buf_append_byte(out, c);
    }
    return r;
}

/* RFC 4514 section 2.4. */
int
table_ldap_quote_dn(void *context, struct bytes text, struct buf *out)
{
    int r = 0;

    (void)context;
    for (size_t i = 0; r == 0 && i < text.n; i++) {
        uint8_t c = text.p[i];
        bool at_end = i == 0 || i + 1 == text.n;

        if (c < ' ' || c >= 0x7f || strchr("\"+,;<>\\=", c) != NULL || (c == '#' && i == 0) ||
            (c == ' ' && at_end)) {
            r = buf_printf(out, "\\%02x", c);
        } else {
            r = buf_append_byte(out, c);
        }
    }
    return r;
}

/* One lookup on its way; an entry's values are kept until all its attributes are known. */
struct asking {
    struct ldap_table *table;
    void *connection;
    struct bytes key;
    struct table_hit *hit;
    char *why;
    int values, searches, depth, error;
    enum table_driver_result result;
};

struct entry_value {
    struct entry_value *next;
    enum attribute_kind kind;
    size_t n;
    char text[];
};

struct entries {
    struct asking *asking;
    struct entry_value *first, **last;
    struct entry_value *references, **last_reference; /* of all entries of this search */
    bool has[KINDS];
};

static void
free_values(struct entry_value **values)
{
    while (*values != NULL) {
        struct entry_value *next = (*values)->next;

        free(*values);
        *values = next;
    }
}

static int
put_value(struct asking *asking, const struct entry_value *value)
{
    const struct ldap_table *table = asking->table;
    struct bytes text = bytes_of(value->text, value->n);
    int r = bytes_index(text, '\0') >= 0 ? GW_ERR_SYNTAX
                                         : table_formats_result(table->formats, table->result_format,
                                                                asking->key, text, &asking->hit->value);

    asking->values += r == 1;
    if (r >= 0 && table->expansion_limit > 0 && asking->values > table->expansion_limit) {
        r = GW_ERR_LIMIT;
    }
    asking->error = r < 0 ? r : asking->error;
    return r < 0 ? -1 : 0;
}

/* What counts of an entry whose attributes are all here. References wait: a search within this one's results.
 */
static int
end_entry(struct entries *entries)
{
    int stop = 0;

    while (entries->first != NULL && stop == 0) {
        struct entry_value *value = entries->first;
        bool counts = entries->has[TERMINAL]  ? value->kind == TERMINAL
                      : entries->has[SPECIAL] ? value->kind == RESULT
                                              : value->kind == RESULT || value->kind == LEAF;

        entries->first = value->next;
        if (value->kind == SPECIAL && !entries->has[TERMINAL]) {
            value->next = NULL;
            *entries->last_reference = value;
            entries->last_reference = &value->next;
            continue;
        }
        stop = counts ? put_value(entries->asking, value) : 0;
        free(value);
    }
    free_values(&entries->first);
    entries->last = &entries->first;
    memset(entries->has, 0, sizeof(entries->has));
    return stop;
}

/* "mail;lang-es" is a "mail". */
static int
kind_of(const struct ldap_table *table, const char *attribute, enum attribute_kind *kind_r)
{
    for (size_t i = 0; i < table->attribute_count; i++) {
        size_t n = strlen(table->attributes[i]);

        if (strncasecmp(table->attributes[i], attribute, n) == 0 &&
            (attribute[n] == '\0' || attribute[n] == ';')) {
            *kind_r = table->kinds[i];
            return 0;
        }
    }
    return GW_ERR_NOTFOUND;
}

static int
take_value(void *context, const char *attribute, const char *text, size_t n)
{
    struct entries *entries = context;
    enum attribute_kind kind;

    if (attribute == NULL) {
        return end_entry(entries);
    }
    if (kind_of(entries->asking->table, attribute, &kind) != 0) {
        return 0;
    }
    struct entry_value *value = n > TABLE_VALUE_MAX ? NULL : malloc(sizeof(*value) + n + 1);
    if (value == NULL) {
        entries->asking->error = n > TABLE_VALUE_MAX ? GW_ERR_LIMIT : GW_ERR_NOMEM;
        return -1;
    }
    value->next = NULL;
    value->kind = kind;
    value->n = n;
    if (n > 0) {
        memcpy(value->text, text, n);
    }
    value->text[n] = '\0';
    entries->has[kind] = true;
    *entries->last = value;
    entries->last = &value->next;
    return 0;
}

static void run_search(struct asking *asking, const struct table_ldap_search *search);

/* An LDAP URL names its own attributes: only those that are also ours are asked for. */
static void
follow_url(struct asking *asking, const struct table_ldap_search *url)
{
    const struct ldap_table *table = asking->table;
    const char *wanted[ATTRIBUTES_MAX + 1];
    size_t count = 0;

    for (size_t i = 0; i < table->attribute_count; i++) {
        bool named = url->attributes == NULL || url->attributes[0] == NULL;

        for (size_t j = 0; !named && url->attributes[j] != NULL; j++) {
            named = strcasecmp(url->attributes[j], table->attributes[i]) == 0 ||
                    strcmp(url->attributes[j], "*") == 0;
        }
        if (named) {
            wanted[count++] = table->attributes[i];
        }
    }
    wanted[count] = NULL;
    if (count > 0) {
        struct table_ldap_search search = *url;

        search.attributes = wanted;
        search.size_limit = table->size_limit;
        run_search(asking, &search);
    }
}

static void
follow(struct asking *asking, const char *reference)
{
    const struct ldap_table *table = asking->table;
    struct table_ldap_search search;
    void *url = table->driver->url_parse(reference, &search);

    if (url != NULL) {
        follow_url(asking, &search);
        table->driver->url_free(url);
        return;
    }
    search = (struct table_ldap_search){.base = reference,
                                        .scope = "base",
                                        .filter = "(objectclass=*)",
                                        .attributes = (const char *const *)table->attributes,
                                        .size_limit = table->size_limit};
    run_search(asking, &search);
    if (asking->result == DRIVER_NO_BASE) {
        asking->result = DRIVER_OK; /* a member that is gone has no address */
    }
}

static void
run_search(struct asking *asking, const struct table_ldap_search *search)
{
    struct entries entries = {.asking = asking};

    entries.last = &entries.first;
    entries.last_reference = &entries.references;
    if (asking->searches++ >= SEARCHES_MAX || asking->depth >= asking->table->depth_limit) {
        asking->error = GW_ERR_LIMIT;
        return;
    }
    asking->result =
        asking->table->driver->search(asking->connection, search, take_value, &entries, asking->why);
    if (asking->result == DRIVER_OK && asking->error == 0) {
        (void)end_entry(&entries);
    }
    asking->depth++;
    for (struct entry_value *at = entries.references;
         at != NULL && asking->result == DRIVER_OK && asking->error == 0; at = at->next) {
        follow(asking, at->text);
    }
    asking->depth--;
    free_values(&entries.first);
    free_values(&entries.references);
}

static enum table_driver_result
ask(void *context, void *connection, char *why)
{
    struct asking *asking = context;
    struct ldap_table *table = asking->table;
    struct buf base, filter;

    asking->connection = connection;
    asking->why = why;
    asking->values = asking->searches = 0;
    asking->result = DRIVER_OK;
    buf_clear(&asking->hit->value);
    buf_init(&base, FILTER_MAX);
    buf_init(&filter, FILTER_MAX);
    int r = table_formats_query(table->formats, table->base, asking->key, table_ldap_quote_dn, NULL, &base);
    r = r == 1 ? table_formats_query(table->formats, table->filter, asking->key, table_ldap_quote_filter,
                                     NULL, &filter)
               : r;
    if (r == 1) {
        struct table_ldap_search search = {.base = buf_str(&base),
                                           .scope = table->scope,
                                           .filter = buf_str(&filter),
                                           .attributes = (const char *const *)table->attributes,
                                           .size_limit = table->size_limit};
        run_search(asking, &search);
    } else {
        asking->error = r == 0 ? GW_ERR_INTERNAL : r;
    }
    buf_free(&base);
    buf_free(&filter);
    return asking->result;
}

static int
find_ldap(void *state, struct bytes key, struct table_hit *hit)
{
    struct ldap_table *table = state;
    struct asking asking = {.table = table, .key = key, .hit = hit};
    struct buf why;
    int r = bytes_index(key, '\0') >= 0 ? 0 : table_formats_allow(table->formats, key);

    if (r != 1) {
        return r == 0 ? GW_ERR_NOTFOUND : r;
    }
    buf_init(&why, WHY_MAX);
    enum table_driver_result result = table_pool_run(table->pool, ask, &asking, &why);
    if (result == DRIVER_NO_BASE && table->base_has_key) {
        r = GW_ERR_NOTFOUND; /* the base is made of the key: there is no such key */
    } else if (result != DRIVER_OK || asking.error != 0) {
        log_warning("table", "ldap:%s: lookup problem: %s", table->name,
                    result != DRIVER_OK ? buf_str(&why)
                    : asking.error == GW_ERR_LIMIT
                        ? "more values than expansion_limit or than a value can hold, or too "
                          "many references"
                        : gw_strerror(asking.error));
        r = GW_ERR_TEMP;
    } else {
        r = asking.values > 0 ? 0 : GW_ERR_NOTFOUND;
    }
    buf_free(&why);
    return r;
}

const struct table_type TABLE_LDAP = {"ldap", false, open_ldap, close_ldap, find_ldap};

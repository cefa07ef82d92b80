/*
 * ctl_doctor_reference - the lookup tables that a configuration names, with the texts they are made of.
 *
 * Before: ctl_doctor.c; after: the rules about tables, patterns, routes. Values are looked at as they are
 * after expansion, of main.cf and of each row with -o; the same table of the same setting and line counts
 * once. Settings that nobody set are left out, but for the aliases, which everybody has.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "config/table_type.h"
#include "ctl/ctl_doctor_private.h"

/* Types whose name is that of a text, directly or with postmap between. */
static const char *const KEYED[] = {"hash", "btree", "lmdb", "dbm", "sdbm", "cdb", "texthash"};
static const char *const PATTERN[] = {"regexp", "pcre"};
static const char *const OTHER_FILES[] = {"cidr", "mysql", "pgsql", "ldap", "sqlite"};

static bool
is_one_of(const char *const *words, size_t count, const char *type)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(words[i], type) == 0) {
            return true;
        }
    }
    return false;
}

#define IS_ONE_OF(words, type) is_one_of(words, sizeof(words) / sizeof(words[0]), type)

bool
doctor_is_pattern(const struct doctor_table *table)
{
    return IS_ONE_OF(PATTERN, table->type);
}

bool
doctor_is_keyed(const struct doctor_table *table)
{
    return IS_ONE_OF(KEYED, table->type);
}

static bool
is_known(const struct doctor *doctor, const struct doctor_table *table)
{
    for (size_t i = 0; i < doctor->table_count; i++) {
        const struct doctor_table *other = &doctor->tables[i];

        if (strcmp(other->setting, table->setting) == 0 && strcmp(other->type, table->type) == 0 &&
            strcmp(other->name, table->name) == 0 && strcmp(other->where, table->where) == 0) {
            return true;
        }
    }
    return false;
}

static void
free_table(struct doctor_table *table)
{
    free(table->type);
    free(table->name);
    free(table->path);
    free(table->where);
}

static int
add_table(struct doctor *doctor, struct doctor_table *table, struct bytes type, struct bytes name)
{
    char path[TABLE_PATH_MAX];
    int r = GW_ERR_NOMEM;

    table->type = bytes_dup_str(type);
    table->name = bytes_dup_str(name);
    if (table->type == NULL || table->name == NULL) {
        goto out;
    }
    if (name.n > 0 && name.p[0] != '{' &&
        (IS_ONE_OF(KEYED, table->type) || IS_ONE_OF(PATTERN, table->type) ||
         IS_ONE_OF(OTHER_FILES, table->type)) &&
        table_path(doctor->config, table->name, path) == 0) {
        table->path = strdup(path);
    }
    table->where =
        table->param >= 0 ? doctor_where(table->view, (enum param)table->param, table->name) : NULL;
    if (table->where == NULL && asprintf(&table->where, "%s/main.cf", config_directory(doctor->config)) < 0) {
        table->where = NULL;
        goto out;
    }
    r = GW_ERR_LIMIT;
    if (doctor->table_count < DOCTOR_TABLES_MAX && !is_known(doctor, table)) {
        doctor->tables[doctor->table_count++] = *table;
        *table = (struct doctor_table){0}; /* transferred */
    }
    r = 0;
out:
    free_table(table);
    return r;
}

static bool
is_type_word(struct bytes word)
{
    for (size_t i = 0; i < word.n; i++) {
        if (word.p[i] < 'a' || word.p[i] > 'z') {
            return false;
        }
    }
    return word.n > 1;
}

/* Takes "type:name" out of a value, also behind "!" and "proxy:"; words that merely hold a colon name no
 * type. */
static int
find_in_value(struct doctor *doctor, const struct config *view, int param, const char *setting,
              const char *value)
{
    struct bytes rest = bytes_str(value), word;
    size_t order = 0;
    int r = 0;

    while (r == 0 && table_next_word(&rest, &word)) {
        if (word.n > 0 && word.p[0] == '!') {
            word = bytes_sub(word, 1, word.n);
        }
        if (bytes_has_prefix_nocase(word, BYTES_LIT("proxy:"))) {
            word = bytes_sub(word, 6, word.n);
        }
        ptrdiff_t colon = bytes_index(word, ':');
        if (colon < 2 || !is_type_word(bytes_sub(word, 0, (size_t)colon))) {
            continue;
        }
        char type[32];
        (void)snprintf(type, sizeof(type), "%.*s", (int)(colon < 31 ? colon : 31), (const char *)word.p);
        if (!IS_ONE_OF(KEYED, type) && !IS_ONE_OF(PATTERN, type) && !IS_ONE_OF(OTHER_FILES, type) &&
            strcmp(type, "inline") != 0 && strcmp(type, "static") != 0) {
            continue;
        }
        struct doctor_table table = {.view = view, .param = param, .setting = setting, .order = order++};
        r = add_table(doctor, &table, bytes_str(type), bytes_sub(word, (size_t)colon + 1, word.n));
    }
    return r;
}

/* What nobody reads names no table of ours; passwords are somebody's all the same. */
static bool
is_of_interest(const struct config *view, int param)
{
    const char *name = PARAMS[param].name;

    return PARAMS[param].type == PARAM_STR &&
           (PARAMS[param].status == PARAM_LIVE || strstr(name, "password_maps") != NULL) &&
           (config_is_set(view, (enum param)param) || param == P_alias_maps) &&
           strstr(name, "_cache") == NULL;
}

static int
find_in_view(struct doctor *doctor, const struct config *view)
{
    int r = 0;

    for (int i = 0; i < PARAM_COUNT && r == 0; i++) {
        if (is_of_interest(view, i)) {
            r = find_in_value(doctor, view, i, PARAMS[i].name, config_str(view, (enum param)i));
        }
    }
    return r;
}

int
doctor_find_tables(struct doctor *doctor)
{
    const char *name, *source;
    int r;

    doctor->tables = calloc(DOCTOR_TABLES_MAX, sizeof(*doctor->tables));
    if (doctor->tables == NULL) {
        return GW_ERR_NOMEM;
    }
    r = find_in_view(doctor, doctor->config);
    for (size_t i = 0; i < config_service_count(doctor->config) && r == 0; i++) {
        const struct config *view = config_view(doctor->config, i);

        if (view != doctor->config) {
            r = find_in_view(doctor, view);
        }
    }
    for (size_t i = 0; r == 0 && config_variable(doctor->config, i, &name, &source); i++) {
        const char *value = config_user(doctor->config, name);

        if (value != NULL && config_variable_is_used(doctor->config, name)) {
            r = find_in_value(doctor, doctor->config, -1, name, value);
        }
    }
    return r;
}

void
doctor_free_tables(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->table_count; i++) {
        free_table(&doctor->tables[i]);
    }
    free(doctor->tables);
    doctor->tables = NULL;
    doctor->table_count = 0;
}

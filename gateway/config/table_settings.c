/*
 * table_settings - see the header. Before: table_sql.c, table_ldap.c.
 *
 * The file is read once, when the table is opened: before root is given up, so it can be private to root
 * although it holds a password. Values are taken as they stand, without $ and without comments behind them.
 */
#include "config/table_settings.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "config/main_cf.h"
#include "config/modules/table_driver.h"
#include "config/table_type.h"

struct table_settings {
    const struct config *config; /* of main.cf parameters; else NULL */
    char *name;
    struct table_setting entries[TABLE_SETTINGS_MAX + 1]; /* owned strings */
    size_t count;
    struct buf *error; /* while the file is read */
};

void
table_settings_free(struct table_settings **settings)
{
    if (*settings != NULL) {
        for (size_t i = 0; i < (*settings)->count; i++) {
            free((void *)(uintptr_t)(*settings)->entries[i].name);
            free((void *)(uintptr_t)(*settings)->entries[i].value);
        }
        free((*settings)->name);
        free(*settings);
        *settings = NULL;
    }
}

static struct table_setting *
find_entry(struct table_settings *settings, struct bytes name)
{
    for (size_t i = 0; i < settings->count; i++) {
        if (bytes_equal(bytes_str(settings->entries[i].name), name)) {
            return &settings->entries[i];
        }
    }
    return NULL;
}

/* The last of equal names stands, as in main.cf. */
static int
put_entry(struct table_settings *settings, struct bytes name, struct bytes value)
{
    struct table_setting *entry = find_entry(settings, name);
    char *text = bytes_dup_str(value);

    if (text == NULL) {
        return bytes_index(value, '\0') >= 0 ? GW_ERR_SYNTAX : GW_ERR_NOMEM;
    }
    if (entry == NULL) {
        char *word = settings->count < TABLE_SETTINGS_MAX ? bytes_dup_str(name) : NULL;

        if (word == NULL) {
            free(text);
            return settings->count < TABLE_SETTINGS_MAX ? GW_ERR_SYNTAX : GW_ERR_LIMIT;
        }
        entry = &settings->entries[settings->count++];
        entry->name = word;
    }
    free((void *)(uintptr_t)entry->value);
    entry->value = text;
    return 0;
}

static int
take_line(void *context, struct bytes line, int number)
{
    struct table_settings *settings = context;
    struct bytes name, value;
    int r = config_split_setting(line, &name, &value);

    r = r == 0 ? put_entry(settings, name, value) : r;
    if (r == GW_ERR_SYNTAX) {
        (void)buf_printf(settings->error, "%s, line %d: missing '=' after attribute name; write name = value",
                         settings->name, number);
        return GW_ERR_CONFIG;
    }
    if (r == GW_ERR_LIMIT) {
        (void)buf_printf(settings->error, "%s: more than %d settings", settings->name, TABLE_SETTINGS_MAX);
        return GW_ERR_CONFIG;
    }
    return r;
}

int
table_settings_open(const struct config *config, const char *name, struct table_settings **settings_r,
                    struct buf *error_r)
{
    struct table_settings *settings = calloc(1, sizeof(*settings));
    char path[TABLE_PATH_MAX];
    int r = GW_ERR_NOMEM;

    *settings_r = NULL;
    if (settings == NULL || (settings->name = bytes_dup_str(bytes_str(name))) == NULL) {
        goto out;
    }
    settings->error = error_r;
    r = 0;
    if (name[0] == '/' || name[0] == '.') {
        r = table_path(config, name, path);
        r = r == 0 ? config_read_lines(path, take_line, settings, error_r) : r;
    } else {
        settings->config = config;
    }
    settings->error = NULL;
    if (r == 0) {
        *settings_r = settings;
        settings = NULL; /* transferred */
    }
out:
    table_settings_free(&settings);
    return r;
}

const char *
table_settings_str(struct table_settings *settings, const char *name)
{
    const struct table_setting *entry = find_entry(settings, bytes_str(name));
    struct buf whole;

    if (entry != NULL || settings->config == NULL) {
        return entry == NULL ? NULL : entry->value;
    }
    buf_init(&whole, TABLE_NAME_MAX);
    const char *value = buf_printf(&whole, "%s_%s", settings->name, name) == 0
                            ? config_user(settings->config, buf_str(&whole))
                            : NULL;
    buf_free(&whole);
    if (value == NULL || put_entry(settings, bytes_str(name), bytes_str(value)) != 0) {
        return NULL;
    }
    return find_entry(settings, bytes_str(name))->value;
}

int
table_settings_int(struct table_settings *settings, const char *name, int fallback, int least, int *value_r,
                   struct buf *error_r)
{
    const char *text = table_settings_str(settings, name);
    uint64_t value;

    *value_r = fallback;
    if (text == NULL) {
        return 0;
    }
    if (bytes_to_u64(bytes_str(text), &value) != 0 || value > INT32_MAX || (int)value < least) {
        (void)buf_printf(error_r, "%s: bad numeric configuration: %s = %s; write a number from %d on",
                         settings->name, name, text, least);
        return GW_ERR_CONFIG;
    }
    *value_r = (int)value;
    return 0;
}

int
table_settings_bool(struct table_settings *settings, const char *name, bool fallback, bool *value_r,
                    struct buf *error_r)
{
    const char *text = table_settings_str(settings, name);
    bool is_yes = text != NULL && bytes_equal_nocase(bytes_str(text), BYTES_LIT("yes"));

    *value_r = text == NULL ? fallback : is_yes;
    if (text != NULL && !is_yes && !bytes_equal_nocase(bytes_str(text), BYTES_LIT("no"))) {
        (void)buf_printf(error_r, "%s: bad boolean configuration: %s = %s; write yes or no", settings->name,
                         name, text);
        return GW_ERR_CONFIG;
    }
    return 0;
}

const struct table_setting *
table_settings_all(const struct table_settings *settings)
{
    return settings->entries;
}

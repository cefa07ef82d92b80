/*
 * ctl_doctor_tables - lookup tables and the files around them: what is doubled, hidden, stale, or readable by
 * others.
 *
 * Before: ctl_doctor.c; after: the sources of tables (ctl_doctor_source.c). Whether a table opens at all is
 * the check's business, not the doctor's.
 */
#include <dirent.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/ctl_doctor_private.h"

enum { KEY_ROOM = 256, MANY = 20 }; /* findings of one table before the rest is left out */

static bool
is_first_of_path(const struct doctor *doctor, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (doctor->tables[i].path != NULL &&
            strcmp(doctor->tables[i].path, doctor->tables[index].path) == 0) {
            return false;
        }
    }
    return true;
}

/* --- duplicate-key --- */

struct key {
    char *text;
    int line;
};

struct keys {
    struct key *items;
    size_t count;
};

static bool
collect_key(void *context, struct bytes key, struct bytes value, int line)
{
    struct keys *keys = context;
    struct key *grown;

    (void)value;
    if ((keys->count & (keys->count - 1)) == 0) { /* doubles at powers of two */
        grown = realloc(keys->items, (keys->count == 0 ? 1 : keys->count * 2) * sizeof(*grown));
        if (grown == NULL) {
            return false;
        }
        keys->items = grown;
    }
    char *text = bytes_dup_str(key);
    if (text == NULL) {
        return true; /* with a NUL inside: nobody asks for it */
    }
    ascii_lower((uint8_t *)text, key.n);
    keys->items[keys->count++] = (struct key){text, line};
    return true;
}

static int
compare_keys(const void *left, const void *right)
{
    const struct key *a = left, *b = right;
    int order = strcmp(a->text, b->text);

    return order != 0 ? order : a->line - b->line;
}

static void
collect(const struct doctor_table *table, struct keys *keys)
{
    doctor_entries(table->path, collect_key, keys);
    if (keys->count > 0) {
        qsort(keys->items, keys->count, sizeof(*keys->items), compare_keys);
    }
}

static void
free_keys(struct keys *keys)
{
    for (size_t i = 0; i < keys->count; i++) {
        free(keys->items[i].text);
    }
    free(keys->items);
    *keys = (struct keys){0};
}

static void
find_duplicates(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->table_count; i++) {
        const struct doctor_table *table = &doctor->tables[i];
        struct keys keys = {0};
        size_t told = 0;

        if (!doctor_is_keyed(table) || table->path == NULL || !is_first_of_path(doctor, i)) {
            continue;
        }
        collect(table, &keys);
        for (size_t k = 1; k < keys.count && told < MANY; k++) {
            if (strcmp(keys.items[k].text, keys.items[k - 1].text) == 0) {
                char *where = doctor_where_line(table->path, keys.items[k].line);

                doctor_tell(doctor, where, "\"%s\" stands in line %d already; %s", keys.items[k].text,
                            keys.items[k - 1].line,
                            strcmp(table->type, "texthash") == 0 ? "the last line counts"
                                                                 : "the first line counts");
                free(where);
                told++;
            }
        }
        free_keys(&keys);
    }
}

/* --- shadowed-key --- */

static const char *
find_collected(const struct keys *keys, const char *text, int *line_r)
{
    size_t low = 0, high = keys->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(keys->items[middle].text, text);

        if (order == 0) {
            *line_r = keys->items[middle].line;
            return keys->items[middle].text;
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return NULL;
}

static void
compare_tables(struct doctor *doctor, const struct doctor_table *first, const struct doctor_table *second)
{
    struct keys earlier = {0}, later = {0};
    size_t told = 0;
    int line;

    collect(first, &earlier);
    collect(second, &later);
    for (size_t k = 0; k < later.count && told < MANY; k++) {
        if (find_collected(&earlier, later.items[k].text, &line) != NULL) {
            char *where = doctor_where_line(second->path, later.items[k].line);

            doctor_tell(doctor, where,
                        "\"%s\" is never found here: %s asks %s:%s first, which has it in line %d",
                        later.items[k].text, second->setting, first->type, first->name, line);
            free(where);
            told++;
        }
    }
    free_keys(&earlier);
    free_keys(&later);
}

/* In "a_maps = hash:x, hash:y" what x has hides what y has. Restriction lists ask their tables about
 * different things. */
static void
find_shadowed(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->table_count; i++) {
        for (size_t k = 0; k < i; k++) {
            const struct doctor_table *later = &doctor->tables[i], *earlier = &doctor->tables[k];

            if (later->view == earlier->view && later->param >= 0 && later->param == earlier->param &&
                strstr(later->setting, "_maps") != NULL && earlier->order < later->order &&
                doctor_is_keyed(later) && doctor_is_keyed(earlier) && later->path != NULL &&
                earlier->path != NULL && strcmp(later->path, earlier->path) != 0) {
                compare_tables(doctor, earlier, later);
            }
        }
    }
}

/* --- stale-table --- */

static void
find_stale(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->table_count; i++) {
        const struct doctor_table *table = &doctor->tables[i];
        char path[DOCTOR_PATH_MAX];
        struct stat text, built;

        if (!doctor_is_keyed(table) || strcmp(table->type, "texthash") == 0 || table->path == NULL ||
            !is_first_of_path(doctor, i) || stat(table->path, &text) == -1) {
            continue;
        }
        (void)snprintf(path, sizeof(path), "%s%s", table->path,
                       strcmp(table->type, "lmdb") == 0 ? ".lmdb" : ".db");
        if (stat(path, &built) == -1) {
            (void)snprintf(path, sizeof(path), "%s.db", table->path);
            if (stat(path, &built) == -1) {
                continue; /* the check tells that it does not open */
            }
        }
        if (text.st_mtim.tv_sec > built.st_mtim.tv_sec) {
            bool aliases = table->param == P_alias_maps;

            doctor_tell(doctor, table->path, "changed after %s was made of it: the old entries answer%s",
                        path, aliases ? " (newaliases makes it)" : "");
        }
    }
}

/* --- writable-file, readable-secret --- */

static void
look_at_writers(struct doctor *doctor, const char *path)
{
    struct stat status;

    if (stat(path, &status) == -1) {
        return;
    }
    if ((status.st_mode & S_IWOTH) != 0 && (status.st_mode & S_ISVTX) == 0) {
        doctor->severity = DOCTOR_ERROR;
        doctor_tell(doctor, path, "every user of this machine can change it (mode %03o)",
                    (unsigned)status.st_mode & 0777U);
    } else if ((status.st_mode & S_IWGRP) != 0 && status.st_gid != 0 && status.st_uid == 0) {
        doctor->severity = DOCTOR_WARNING;
        doctor_tell(doctor, path, "a group other than root's can change it (mode %03o)",
                    (unsigned)status.st_mode & 0777U);
    } else if (status.st_uid != 0 && geteuid() == 0) {
        doctor->severity = DOCTOR_WARNING;
        doctor_tell(doctor, path, "it belongs to user %u, who decides what this gateway does",
                    (unsigned)status.st_uid);
    }
}

static void
find_writable(struct doctor *doctor)
{
    static const char *const FILES[] = {"", "/main.cf", "/master.cf"};
    char path[DOCTOR_PATH_MAX];

    for (size_t i = 0; i < sizeof(FILES) / sizeof(FILES[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s%s", config_directory(doctor->config), FILES[i]);
        look_at_writers(doctor, path);
    }
    for (size_t i = 0; i < doctor->table_count; i++) {
        if (doctor->tables[i].path != NULL && is_first_of_path(doctor, i)) {
            look_at_writers(doctor, doctor->tables[i].path);
        }
    }
}

static void
look_at_readers(struct doctor *doctor, const char *path, const char *what)
{
    struct stat status;

    if (path[0] == '/' && stat(path, &status) == 0 && S_ISREG(status.st_mode) &&
        (status.st_mode & S_IROTH) != 0) {
        doctor_tell(doctor, path, "every user of this machine can read %s (mode %03o)", what,
                    (unsigned)status.st_mode & 0777U);
    }
}

static void
find_readable(struct doctor *doctor)
{
    static const enum param KEYS[] = {P_smtpd_tls_key_file, P_smtp_tls_key_file, P_lmtp_tls_key_file};
    char path[DOCTOR_PATH_MAX];

    for (size_t i = 0; i < doctor->table_count; i++) {
        const struct doctor_table *table = &doctor->tables[i];
        bool passwords = strstr(table->setting, "password_maps") != NULL;
        bool server = strcmp(table->type, "mysql") == 0 || strcmp(table->type, "pgsql") == 0 ||
                      strcmp(table->type, "ldap") == 0;

        if (table->path == NULL || (!passwords && !server)) {
            continue;
        }
        look_at_readers(doctor, table->path,
                        passwords ? "the passwords in it" : "the password of the database in it");
        (void)snprintf(path, sizeof(path), "%s.db", table->path);
        look_at_readers(doctor, path, "the passwords in it");
    }
    for (size_t i = 0; i < sizeof(KEYS) / sizeof(KEYS[0]); i++) {
        if (config_is_set(doctor->config, KEYS[i])) {
            look_at_readers(doctor, config_str(doctor->config, KEYS[i]), "the private key in it");
        }
    }
}

/* --- near-file: a file of almost that name is there --- */

static void
look_for_near(struct doctor *doctor, const struct doctor_table *table)
{
    char directory[DOCTOR_PATH_MAX], base[DOCTOR_PATH_MAX], near[KEY_ROOM] = "";
    size_t least = 3;
    const struct dirent *entry;

    (void)snprintf(directory, sizeof(directory), "%s", table->path);
    (void)snprintf(base, sizeof(base), "%s", table->path);
    const char *parent = dirname(directory), *name = basename(base);
    DIR *dir = opendir(parent);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        size_t distance = doctor_distance(name, entry->d_name, 2);

        if (distance > 0 && distance < least) {
            least = distance;
            (void)snprintf(near, sizeof(near), "%s", entry->d_name);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    if (near[0] != '\0') {
        doctor_tell(doctor, table->where, "%s: %s is not there; did you mean %s/%s?", table->setting,
                    table->path, parent, near);
    }
}

static void
find_near(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->table_count; i++) {
        const struct doctor_table *table = &doctor->tables[i];
        char built[DOCTOR_PATH_MAX];

        if (table->path == NULL || access(table->path, F_OK) == 0) {
            continue;
        }
        (void)snprintf(built, sizeof(built), "%s.db", table->path);
        if (!doctor_is_keyed(table) || access(built, F_OK) != 0) {
            look_for_near(doctor, table);
        }
    }
}

/* --- addresses-in-destination: D10 --- */

struct addresses {
    size_t count;
    int line;
    char first[KEY_ROOM], value[KEY_ROOM];
};

static bool
look_for_address(void *context, struct bytes key, struct bytes value, int line)
{
    struct addresses *addresses = context;

    if (bytes_index(key, '@') > 0 && addresses->count++ == 0) {
        addresses->line = line;
        (void)snprintf(addresses->first, sizeof(addresses->first), "%.*s", BYTES_FMT(key));
        (void)snprintf(addresses->value, sizeof(addresses->value), "%.*s", BYTES_FMT(value));
    }
    return true;
}

static bool
is_alias_table(const struct doctor *doctor, const char *path)
{
    for (size_t i = 0; i < doctor->table_count; i++) {
        const struct doctor_table *table = &doctor->tables[i];

        if (table->path != NULL && strcmp(table->path, path) == 0 &&
            (table->param == P_virtual_alias_maps || strcmp(table->setting, "virtual_maps") == 0)) {
            return true;
        }
    }
    return false;
}

static void
find_unused_addresses(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->table_count; i++) {
        const struct doctor_table *table = &doctor->tables[i];
        struct addresses addresses = {0};

        if ((table->param != P_mydestination && table->param != P_relay_domains) || table->path == NULL ||
            !doctor_is_keyed(table) || is_alias_table(doctor, table->path)) {
            continue;
        }
        doctor_entries(table->path, look_for_address, &addresses);
        if (addresses.count > 0) {
            doctor_tell(doctor, table->where,
                        "%s asks %s about domains only: its %zu lines with addresses are never used, so mail "
                        "for %s goes to a local user of that name, not to %s (%s:%d)",
                        table->setting, table->path, addresses.count, addresses.first, addresses.value,
                        table->path, addresses.line);
        }
    }
}

const struct doctor_rule DOCTOR_TABLES[] = {
    {"duplicate-key", DOCTOR_WARNING, "", "A key stands twice in a table", find_duplicates,
     "remove one of the lines", false},
    {"shadowed-key", DOCTOR_WARNING, "", "An earlier table of the list has the key", find_shadowed,
     "remove one of the entries, or turn the tables around", false},
    {"stale-table", DOCTOR_WARNING, "", "A table's text is newer than what postmap made of it", find_stale,
     "run postmap (newaliases for aliases)", false},
    {"writable-file", DOCTOR_ERROR, "CHR5", "Others can change the configuration", find_writable,
     "chown root, chmod go-w", false},
    {"readable-secret", DOCTOR_WARNING, "TAB14 TLS6", "Others can read passwords or keys", find_readable,
     "chown root, chmod 600", false},
    {"near-file", DOCTOR_WARNING, "CFG9 D16", "A table is missing, and there is one of almost its name",
     find_near, "correct the name in the setting, or rename the file", false},
    {"addresses-in-destination", DOCTOR_WARNING, "D10 SCE15", "A list of domains names a table of addresses",
     find_unused_addresses,
     "take it out of the list; write virtual_alias_domains for the domains and virtual_alias_maps for the "
     "table",
     false},
    {NULL, DOCTOR_NOTE, NULL, NULL, NULL, NULL, false},
};

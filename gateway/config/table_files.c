/*
 * table_files - see the header. Looks for "type:name" in the words of every value, without opening anything.
 *
 * Before: master_watch, which notices a file that was replaced. A word that only looks like a table costs one
 * stat(2) more; a table inside a table (restriction names in access files) cannot name tables of its own.
 */
#include "config/table_files.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "config/table_build.h"
#include "config/table_type.h"

struct walk {
    const struct config *config;
    table_files_visitor *visit;
    void *context;
    size_t calls;
};

static const char PROXY[] = "proxy:";
static const char ROLES_OF_VARIABLES[] = "receive"; /* restriction classes */

/* "hash:/etc/postfix/access", perhaps behind "proxy:" or inside braces of a combined table. */
static int
visit_word(struct walk *walk, struct bytes word, const char *roles)
{
    static const char *const SUFFIXES[] = {".db", ".lmdb"};
    char type[32], name[TABLE_PATH_MAX], base[TABLE_PATH_MAX], path[TABLE_PATH_MAX + 8];
    struct bytes rest = word;
    int r = 0;

    if (bytes_equal(bytes_sub(rest, 0, strlen(PROXY)), bytes_str(PROXY))) {
        rest = bytes_sub(rest, strlen(PROXY), rest.n);
    }
    const uint8_t *colon = rest.n > 0 ? memchr(rest.p, ':', rest.n) : NULL;
    size_t at = colon != NULL ? (size_t)(colon - rest.p) : 0;
    if (at == 0 || at >= sizeof(type) || rest.n - at - 1 == 0 || rest.n - at - 1 >= sizeof(name)) {
        return 0;
    }
    (void)snprintf(type, sizeof(type), "%.*s", (int)at, (const char *)rest.p);
    (void)snprintf(name, sizeof(name), "%.*s", (int)(rest.n - at - 1), (const char *)rest.p + at + 1);
    if (!table_build_is_possible(type) || table_path(walk->config, name, base) != 0) {
        return 0;
    }
    for (size_t i = 0; r == 0 && i < sizeof(SUFFIXES) / sizeof(SUFFIXES[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s%s", base, SUFFIXES[i]);
        r = ++walk->calls > TABLE_FILES_MAX ? GW_ERR_LIMIT : walk->visit(walk->context, path, roles);
    }
    return r;
}

static int
visit_value(struct walk *walk, const char *value, const char *roles)
{
    static const char SEPARATORS[] = " \t\r\n,{}";
    int r = 0;

    for (const char *at = value; r == 0 && *(at += strspn(at, SEPARATORS)) != '\0';) {
        size_t n = strcspn(at, SEPARATORS);

        r = visit_word(walk, bytes_of(at, n), roles);
        at += n;
    }
    return r;
}

static int
visit_view(struct walk *walk, const struct config *view)
{
    int r = 0;

    for (int i = 0; r == 0 && i < PARAM_COUNT; i++) {
        if (PARAMS[i].type == PARAM_STR && PARAMS[i].status == PARAM_LIVE) {
            r = visit_value(walk, config_str(view, (enum param)i), PARAMS[i].roles);
        }
    }
    return r;
}

int
table_files_walk(const struct config *config, table_files_visitor *visit, void *context)
{
    struct walk walk = {.config = config, .visit = visit, .context = context};
    const char *name, *source;
    int r = visit_view(&walk, config);

    for (size_t i = 0; r == 0 && config_variable(config, i, &name, &source); i++) {
        const char *value = config_user(config, name);

        r = visit_value(&walk, value != NULL ? value : "", ROLES_OF_VARIABLES);
    }
    for (size_t i = 0; r == 0 && i < config_service_count(config); i++) {
        const struct config *view = config_view(config, i);

        r = view != config ? visit_view(&walk, view) : 0;
    }
    return r;
}

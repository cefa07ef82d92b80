/*
 * table_module - see the header. Before: table.c, table_sql.c, table_ldap.c; after: dlopen(3).
 *
 * A module is code that runs with the gateway's rights, so it is taken only from shlib_directory when main.cf
 * sets it, from beside the program itself, from lib/estafeta beside that directory, and from the system's
 * place: never from a path in the environment or a working directory. A file that does not load or is of
 * another version is as good as absent; why is logged.
 */
#include "config/table_module.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "config/config.h"
#include "config/modules/table_driver.h"

enum { PATH_BYTES = 4096 };

#define SYSTEM_DIRECTORY "/usr/lib/estafeta"

const char *
table_module_directory(void)
{
    return "shlib_directory, the directory of the program, its ../lib/estafeta or " SYSTEM_DIRECTORY;
}

static bool
own_directory(char out[PATH_BYTES])
{
    ssize_t n = readlink("/proc/self/exe", out, PATH_BYTES - 1);

    if (n <= 0) {
        return false;
    }
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    if (slash == NULL) {
        return false;
    }
    *slash = '\0';
    return true;
}

static const struct table_driver *
load(const char *path, const char *type)
{
    if (access(path, R_OK) == -1) {
        return NULL;
    }
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    const struct table_driver *driver = module == NULL ? NULL : dlsym(module, TABLE_DRIVER_SYMBOL);

    if (driver == NULL) {
        log_warning("table", "%s: %s", path, dlerror());
        return NULL;
    }
    if (driver->version != TABLE_DRIVER_VERSION || strcmp(driver->type, type) != 0) {
        log_warning("table", "%s: is of another version than this program", path);
        return NULL;
    }
    return driver;
}

static const struct table_driver *
load_from(const char *directory, const char *below, const char *type)
{
    char path[PATH_BYTES + 64];
    int n = snprintf(path, sizeof(path), "%s%s/estafeta-table-%s.so", directory, below, type);

    return n > 0 && (size_t)n < sizeof(path) ? load(path, type) : NULL;
}

const struct table_driver *
table_module_find(const struct config *config, const char *type)
{
    char own[PATH_BYTES];
    const struct table_driver *driver = NULL;

    if (config != NULL && config_is_set(config, P_shlib_directory)) {
        driver = load_from(config_str(config, P_shlib_directory), "", type);
    }
    if (driver == NULL && own_directory(own)) {
        driver = load_from(own, "", type);
        driver = driver != NULL ? driver : load_from(own, "/../lib/estafeta", type);
    }
    return driver != NULL ? driver : load_from(SYSTEM_DIRECTORY, "", type);
}

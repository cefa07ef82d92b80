/*
 * table_environ - environ:, the environment of the process: a variable's name gives its value.
 *
 * Before: table_find(). What a role sees is what master leaves it of its own environment.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "config/table_type.h"

enum { VARIABLE_BYTES_MAX = 1024 };

static int
open_environ(const struct config *config, const char *name, unsigned flags, void **state_r,
             struct buf *error_r)
{
    static char nothing; /* the address is all: a type without state */

    (void)config;
    (void)name;
    (void)flags;
    (void)error_r;
    *state_r = &nothing;
    return 0;
}

static void
close_environ(void *state)
{
    (void)state;
}

static int
find_variable(void *state, struct bytes key, struct table_hit *hit)
{
    char name[VARIABLE_BYTES_MAX];

    (void)state;
    if (key.n == 0 || key.n >= sizeof(name) || bytes_index(key, '\0') >= 0) {
        return GW_ERR_NOTFOUND;
    }
    memcpy(name, key.p, key.n);
    name[key.n] = '\0';
    const char *value = getenv(name);
    return value == NULL ? GW_ERR_NOTFOUND : buf_append_str(&hit->value, value);
}

const struct table_type TABLE_ENVIRON = {"environ", false, open_environ, close_environ, find_variable};

/*
 * params - the table that params.def makes, and finding a row by name.
 */
#include "config/params.h"

#include <stdlib.h>
#include <string.h>

#define STR PARAM_STR
#define RAW PARAM_RAW
#define INT PARAM_INT
#define BOOL PARAM_BOOL
#define TIME PARAM_TIME
#define SIZE PARAM_SIZE
#define LIVE PARAM_LIVE
#define IDLE PARAM_IDLE
#define OLD PARAM_OLD

const struct param_row PARAMS[PARAM_COUNT] = {
#define P(name, type, value, min, max, roles, status, description) \
    [P_##name] = {#name, type, value, min, max, roles, status, description},
#include "config/params.def"
#undef P
};

int
param_by_name(const char *name)
{
    for (int i = 0; i < PARAM_COUNT; i++) {
        if (strcmp(PARAMS[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

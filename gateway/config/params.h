/*
 * params - the one table of parameters: name, type, default, bounds, who reads it, what it does.
 *
 * params.def holds a row per parameter; this header turns the rows into enum param, params.c into the table
 * that the parser, postconf, the man page and the checks read. Adding a parameter is adding a row.
 *
 * Row: P(name, TYPE, "default", min, max, roles, status, "description")
 *   TYPE    STR (text), RAW (text, not expanded), INT, BOOL, TIME (seconds; "default" may carry s m h d w),
 * SIZE min,max bounds for INT, TIME, SIZE; 0, 0 for none status  LIVE (has its effect), IDLE (accepted; why
 * is in the description), OLD (historical name)
 */
#ifndef CONFIG_PARAMS_H
#define CONFIG_PARAMS_H

#include <stdint.h>

enum param_type { PARAM_STR, PARAM_RAW, PARAM_INT, PARAM_BOOL, PARAM_TIME, PARAM_SIZE };
enum param_status { PARAM_LIVE, PARAM_IDLE, PARAM_OLD };

enum param {
#define P(name, type, value, min, max, roles, status, description) P_##name,
#include "config/params.def"
#undef P
    PARAM_COUNT
};

struct param_row {
    const char *name;
    enum param_type type;
    const char *value; /* the default, unexpanded */
    int64_t min, max;
    const char *roles; /* "receive screen": who reads it */
    enum param_status status;
    const char *description;
};

extern const struct param_row PARAMS[PARAM_COUNT];

/* The parameter of that name, or -1. */
int param_by_name(const char *name);

#endif

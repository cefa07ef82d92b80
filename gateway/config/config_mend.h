/*
 * config_mend - the settings of main.cf as they were meant: what printed guides write and Postfix would not
 * understand is mended, and told.
 *
 * Private to config/ and postconf. Mended are misspelt and former names, a comment behind a value, and a
 * blank between "$" and a name. A comment is found on its own physical line: what the value goes on with on
 * the next line is kept, so that no restriction is lost.
 */
#ifndef CONFIG_CONFIG_MEND_H
#define CONFIG_CONFIG_MEND_H

#include "base/bytes.h"

struct config;

struct config_setting {
    struct bytes name;  /* the right one when it is misspelt */
    struct bytes value; /* mended, physical lines joined as Postfix joins them */
    struct bytes line;  /* the logical line as it is written, without "\n" between its parts */
    int number;
    const char *bad;      /* what is wrong with the line, in Postfix's words: name and value are empty */
    struct bytes written; /* the misspelt name; empty when it is right */
    bool comment_cut;     /* a comment stood behind the value */
    bool comment_kept;    /* "#" is in a text that is shown to people: it may be part of it */
    bool blank_cut;       /* "$ name" */
};

/* 0 or an error that ends the reading. Views are valid during the call. */
typedef int config_setting_visitor(void *context, const struct config_setting *setting);

/* Every logical line of a main.cf in order; lines that set nothing come with `bad`. GW_ERR_SYS, GW_ERR_CONFIG
 * with why_r: the file cannot be read. */
int config_read_settings(const char *path, config_setting_visitor *visit, void *context, struct buf *why_r);
/* The right name of a parameter that is misspelt in widely copied examples; NULL when it is not one of those.
 */
const char *config_right_name(struct bytes name);
/* service_name and its kin are what the process is; setting them has no effect. */
bool config_is_read_only(struct bytes name);
/* "nombre_servicio_time_limit" is how a guide prints "<service>_time_limit": the value goes to every pipe and
 * spawn service without one of its own. Before the views are made. GW_ERR_NOMEM, GW_ERR_LIMIT. */
int config_spread_time_limit(struct config *config, const char *path, struct buf *why_r);

#endif

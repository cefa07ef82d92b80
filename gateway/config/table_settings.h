/*
 * table_settings - the configuration of one database table: the file that pgsql:/etc/postfix/x.cf names, or
 * the parameters x_hosts, x_query ... of main.cf that pgsql:x names. Private to config/table*.c.
 */
#ifndef CONFIG_TABLE_SETTINGS_H
#define CONFIG_TABLE_SETTINGS_H

#include "config/config.h"

struct table_setting;
struct table_settings;

enum { TABLE_SETTINGS_MAX = 256 };

/* name: "/file", "./file" or the prefix of main.cf parameters. GW_ERR_CONFIG, GW_ERR_SYS with the reason. */
int table_settings_open(const struct config *config, const char *name, struct table_settings **settings_r,
                        struct buf *error_r);
void table_settings_free(struct table_settings **settings);
/* NULL when it is not there; else it lives as long as the settings. */
const char *table_settings_str(struct table_settings *settings, const char *name);
/* 0 with the fallback when it is not there; GW_ERR_CONFIG when it is no number of that range. */
int table_settings_int(struct table_settings *settings, const char *name, int fallback, int least,
                       int *value_r, struct buf *error_r);
/* yes or no. */
int table_settings_bool(struct table_settings *settings, const char *name, bool fallback, bool *value_r,
                        struct buf *error_r);
/* For a driver; ends with a NULL name. Of main.cf parameters those that were asked for by now. */
const struct table_setting *table_settings_all(const struct table_settings *settings);

#endif

/*
 * table_format - the formats of database tables: %s %u %d %1..%9 %S %U %D in query and result_format, and the
 * domain list. Private to config/table*.c.
 */
#ifndef CONFIG_TABLE_FORMAT_H
#define CONFIG_TABLE_FORMAT_H

#include "config/config.h"

struct table_formats;
struct table_settings;

/* What both kinds of formats need to know of each other: a result_format with %D asks for a domain in each
 * key. */
struct table_formats *table_formats_new(void);
void table_formats_free(struct table_formats **formats);
/* Notes a format of questions (is_query) or of results. GW_ERR_CONFIG: a % that is none of ours. */
int table_formats_add(struct table_formats *formats, const char *format, bool is_query, struct buf *error_r);
/* The domain list, when there is one. */
int table_formats_limit(struct table_formats *formats, const struct config *config, const char *domains,
                        struct buf *error_r);

/* Appends a part of a key, escaped as the place needs it. 0 or an error. */
typedef int table_format_quote(void *context, struct bytes text, struct buf *out);

/* 1: the key may be asked for; 0: it is never there (domain list, missing parts); GW_ERR_TEMP. */
int table_formats_allow(const struct table_formats *formats, struct bytes key);
/* The question for a key. quote NULL: as it is. 1 appended, 0 nothing to ask, or an error. */
int table_formats_query(const struct table_formats *formats, const char *format, struct bytes key,
                        table_format_quote *quote, void *context, struct buf *out);
/* One value of the result, behind a comma when out is not empty. 1 appended, 0 skipped, or an error. */
int table_formats_result(const struct table_formats *formats, const char *format, struct bytes key,
                         struct bytes value, struct buf *out);

#endif

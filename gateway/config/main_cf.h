/*
 * main_cf - the form of main.cf: logical lines, "name = value" (postconf(5)).
 *
 * Private to config/. Calls back for each setting in order, later ones win. Lines that begin with blanks
 * continue the line before, also over comments and empty lines, as in Postfix.
 */
#ifndef CONFIG_MAIN_CF_H
#define CONFIG_MAIN_CF_H

#include "base/bytes.h"

/* 0 or an error that ends the reading. Views are valid during the call. */
typedef int config_line_visitor(void *context, struct bytes line, int number);

/* Reads a file's logical lines. why_r: "file: reason". GW_ERR_CONFIG, GW_ERR_SYS. */
int config_read_lines(const char *path, config_line_visitor *visit, void *context, struct buf *why_r);
/* The same with the physical lines as they are: "\n" stands between them, blanks at the start are kept. */
int config_read_lines_raw(const char *path, config_line_visitor *visit, void *context, struct buf *why_r);
/* Whether a logical line begins with a blank: it continues nothing and sets nothing. Only the first can. */
bool config_line_is_stray(struct bytes line);
/* Splits "name = value". GW_ERR_SYNTAX when there is no "=" or no name. */
int config_split_setting(struct bytes line, struct bytes *name_r, struct bytes *value_r);

#endif

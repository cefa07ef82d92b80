/*
 * table_text - the source of tables: lines of key, blanks, value, as texthash: and postmap read them.
 */
#ifndef CONFIG_TABLE_TEXT_H
#define CONFIG_TABLE_TEXT_H

#include "base/bytes.h"

enum table_text_fault {
    TABLE_TEXT_GOOD,
    TABLE_TEXT_UNBALANCED, /* a quote without its partner; key_r is the line */
    TABLE_TEXT_NO_VALUE,
    TABLE_TEXT_ALIAS /* good, but the key ends in ":", as in files of aliases */
};

/* A logical line (config_read_lines) into its two parts, views of it. Blanks inside double quotes and behind
 * a backslash are part of the key; quotes and backslashes stay in it. */
enum table_text_fault table_text_split(struct bytes line, struct bytes *key_r, struct bytes *value_r);

#endif

/*
 * table_type - what a type of lookup table is: a row with its functions. Private to config/table*.c.
 */
#ifndef CONFIG_TABLE_TYPE_H
#define CONFIG_TABLE_TYPE_H

#include "config/config.h"
#include "config/table.h"

enum { TABLE_PATH_MAX = 4096, TABLE_LINE_MAX = 1024 * 1024, TABLE_ENTRIES_MAX = 4 * 1024 * 1024 };

struct table_type {
    const char *name;
    bool pattern; /* matches the whole key: no partial lookups */
    /* state_r: the type's own. error_r: the reason. */
    int (*open)(const struct config *config, const char *name, unsigned flags, void **state_r,
                struct buf *error_r);
    void (*close)(void *state);
    /* 0, GW_ERR_NOTFOUND, GW_ERR_TEMP. Thread-safe. */
    int (*find)(void *state, struct bytes key, struct table_hit *hit);
};

extern const struct table_type TABLE_HASH, TABLE_LMDB, TABLE_TEXTHASH, TABLE_INLINE, TABLE_STATIC, TABLE_FAIL,
    TABLE_REGEXP, TABLE_PCRE, TABLE_CIDR, TABLE_UNIX, TABLE_ENVIRON, TABLE_UNION, TABLE_PIPE, TABLE_RANDOM,
    TABLE_TCP, TABLE_SOCKETMAP, TABLE_SQLITE, TABLE_PGSQL, TABLE_MYSQL, TABLE_LDAP;

/* Of a unionmap or pipemap: whether it wants whole keys only. */
bool table_composition_is_pattern(const void *state);

/* Words are separated by commas and blanks, but not inside braces: "inline:{ a=b, c=d }" is one. */
bool table_next_word(struct bytes *rest, struct bytes *word_r);
/* What is inside "{...}" when the first brace's partner is the last byte; else false. */
bool table_strip_braces(struct bytes text, struct bytes *inner_r);

/* table_find() in this process, whatever the keeper is for: the keeper's own way. The key is folded already.
 */
int table_find_here(struct table *table, struct bytes key, struct table_hit *hit);

/* name, or name below the configuration's directory when it is relative. */
int table_path(const struct config *config, const char *name, char out[TABLE_PATH_MAX]);

#endif

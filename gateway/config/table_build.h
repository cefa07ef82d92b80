/*
 * table_build - writing indexed tables (postmap, postalias): the other side of table_hash.c.
 *
 * A new file is built beside and renamed; an existing one is rewritten in one transaction, in place, so that
 * running roles see the new content at their next lookup and never half of it. One writer at a time (flock).
 */
#ifndef CONFIG_TABLE_BUILD_H
#define CONFIG_TABLE_BUILD_H

#include <sys/types.h>

#include "base/bytes.h"

enum { TABLE_BUILD_KEY_MAX = 511 };

struct table_build;

struct table_build_options {
    const char *type; /* "hash", "lmdb" ... */
    const char *name; /* without ".db" */
    mode_t mode;      /* of a new file */
    uid_t owner;      /* of a new file, when root makes it */
    gid_t group;
    bool keep; /* incremental: what is there stays; the file must be there to delete from it */
};

/* True for types that postmap writes. */
bool table_build_is_possible(const char *type);
/* 0; GW_ERR_CONFIG, GW_ERR_SYS, GW_ERR_NOMEM with the reason in error_r. */
int table_build_begin(const struct table_build_options *options, struct table_build **build_r,
                      struct buf *error_r);
/* 0, GW_ERR_EXISTS (unless replace), GW_ERR_LIMIT (key empty or over TABLE_BUILD_KEY_MAX), GW_ERR_SYS. */
int table_build_put(struct table_build *build, struct bytes key, struct bytes value, bool replace);
int table_build_delete(struct table_build *build, struct bytes key); /* 0, GW_ERR_NOTFOUND, GW_ERR_SYS */
const char *table_build_path(const struct table_build *build);
/* Makes it durable and visible. 0, GW_ERR_SYS; frees the build either way. */
int table_build_commit(struct table_build **build);
void table_build_abort(struct table_build **build);

/* Every entry in key order. An error of visit ends it and is returned. */
typedef int table_build_visitor(void *context, struct bytes key, struct bytes value);
int table_build_list(const char *type, const char *name, table_build_visitor *visit, void *context,
                     struct buf *error_r);

#endif

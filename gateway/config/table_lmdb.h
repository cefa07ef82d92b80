/*
 * table_lmdb - a reader of LMDB files: what our postmap and Debian's postmap lmdb: write. Private to
 * config/table*.c.
 *
 * Not liblmdb, which believes its file: a table that is cut off or overwritten by an administrator's mistake
 * would end the role with SIGBUS or an assertion. Here every offset is checked against the size the caller
 * has just asked for, and every number against its page, so that such a file is GW_ERR_TEMP. Format: data
 * version 1 of LMDB 0.9 for this machine's word size and byte order; one unnamed database without duplicates.
 *
 * A lookup works on the newest snapshot. Writers of LMDB give a snapshot's pages into use again in the second
 * commit behind it at the earliest, so a lookup during which two commits ended is done again. No locks.
 */
#ifndef CONFIG_TABLE_LMDB_H
#define CONFIG_TABLE_LMDB_H

#include "base/bytes.h"

enum {
    TABLE_LMDB_DEPTH_MAX = 32,
    TABLE_LMDB_TRIES_MAX = 8, /* of a lookup that commits overtake */
    TABLE_LMDB_META_BYTES = 152
};

struct table_lmdb;

/* Maps the file, whatever is in it now, with room to grow. The descriptor may be closed afterwards. 0,
 * GW_ERR_SYS, GW_ERR_NOMEM. */
int table_lmdb_new(int fd, struct table_lmdb **map_r);
void table_lmdb_free(struct table_lmdb **map);
/* size: of the file, from fstat() just before each of these calls. */
bool table_lmdb_is(const struct table_lmdb *map, uint64_t size);
/* 0, GW_ERR_CONFIG with the reason. */
int table_lmdb_check(const struct table_lmdb *map, uint64_t size, struct buf *error_r);
/* The value of the key, or else of the key with a NUL behind it (as other programs may write them), appended.
 * 0, GW_ERR_NOTFOUND, GW_ERR_TEMP, GW_ERR_NOMEM, GW_ERR_LIMIT. */
int table_lmdb_find(const struct table_lmdb *map, uint64_t size, struct bytes key, struct buf *value);
/* Every entry in the order of keys. visit's errors end it; else as table_lmdb_find(). */
typedef int table_lmdb_visitor(void *context, struct bytes key, struct bytes value);
int table_lmdb_each(const struct table_lmdb *map, uint64_t size, table_lmdb_visitor *visit, void *context);

#endif

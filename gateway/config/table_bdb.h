/*
 * table_bdb - a reader of Berkeley DB files, hash and btree, of other programs' making: what pop-before-smtp
 * (Perl's DB_File) and Debian's postmap leave. Private to config/table*.c.
 *
 * Written from the published page format (Berkeley DB 3.1 to 5.3 and 6: hash versions 7 to 10, btree versions
 * 8 to 10), both byte orders, all page sizes, overflow items, duplicates (the first stands). Nothing in the
 * file is believed: each number is checked against the page, and a lookup reads at most TABLE_BDB_PAGES_MAX
 * pages. The file is read with pread() from a descriptor the caller holds, never mapped: whoever shortens it
 * causes a short read, not a signal. A reader keeps nothing between calls, so that any thread may look up at
 * any time and sees the file as it is now.
 */
#ifndef CONFIG_TABLE_BDB_H
#define CONFIG_TABLE_BDB_H

#include "base/bytes.h"

enum {
    TABLE_BDB_META_BYTES = 512,           /* of the smallest page: holds all of the metadata that is used */
    TABLE_BDB_PAGES_MAX = 4096,           /* read for one lookup: chains and loops end here */
    TABLE_BDB_DEPTH_MAX = 32,             /* of a tree */
    TABLE_BDB_ITEM_MAX = 16 * 1024 * 1024 /* bytes of a key or value that a listing takes */
};

/* True when the first bytes of a file are the metadata of a hash or btree. */
bool table_bdb_is(const uint8_t *start, size_t n);
/* Can this file be read? 0; GW_ERR_CONFIG with the reason in error_r, GW_ERR_SYS, GW_ERR_NOMEM. */
int table_bdb_check(int fd, struct buf *error_r);
/* The value of exactly these bytes, appended. 0, GW_ERR_NOTFOUND; GW_ERR_TEMP for a file that contradicts
 * itself or ends too early, GW_ERR_NOMEM, GW_ERR_LIMIT (value full). */
int table_bdb_find(int fd, struct bytes key, struct buf *value);
/* Every entry in the file's order, each duplicate too. visit's errors end it; else as table_bdb_find(). */
typedef int table_bdb_visitor(void *context, struct bytes key, struct bytes value);
int table_bdb_each(int fd, table_bdb_visitor *visit, void *context);

#endif

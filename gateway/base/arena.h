/*
 * arena - memory that lives exactly as long as one message, session or query.
 *
 * Allocations are never freed one by one; arena_reset() drops all and keeps the first block for the next use.
 * An arena has a limit: beyond it arena_alloc() returns NULL, which callers pass on as GW_ERR_NOMEM.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/bytes.h"

struct arena;

struct arena *arena_new(size_t limit); /* NULL when out of memory */
void arena_free(struct arena **arena);
void arena_reset(struct arena *arena);
void *arena_alloc(struct arena *arena, size_t n);            /* zeroed, aligned for any type */
char *arena_strdup(struct arena *arena, struct bytes v);     /* a NUL is added; NULs inside are kept */
struct bytes arena_dup(struct arena *arena, struct bytes v); /* .p is NULL when out of memory */
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif

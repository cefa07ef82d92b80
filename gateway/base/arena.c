/*
 * arena - see the header. A chain of blocks; the first is kept over resets, so that a thread that handles one
 * message after another allocates only for the unusual ones.
 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_BLOCK = 8192 };

struct block {
    struct block *next;
    size_t used, size;
    alignas(max_align_t) uint8_t data[];
};

struct arena {
    struct block *first, *current;
    size_t total, limit;
};

static struct block *
add_block(struct arena *arena, size_t n)
{
    size_t size = n > ARENA_BLOCK ? n : ARENA_BLOCK;

    if (size > arena->limit || arena->total > arena->limit - size) {
        return NULL;
    }
    struct block *block = malloc(sizeof(*block) + size);
    if (block == NULL) {
        return NULL;
    }
    *block = (struct block){.size = size};
    arena->total += size;
    if (arena->current != NULL) {
        arena->current->next = block;
    } else {
        arena->first = block;
    }
    arena->current = block;
    return block;
}

struct arena *
arena_new(size_t limit)
{
    struct arena *arena = calloc(1, sizeof(*arena));

    if (arena != NULL) {
        arena->limit = limit;
    }
    return arena;
}

static void
free_blocks(struct block *block)
{
    while (block != NULL) {
        struct block *next = block->next;

        free(block);
        block = next;
    }
}

void
arena_free(struct arena **arena)
{
    if (*arena != NULL) {
        free_blocks((*arena)->first);
        free(*arena);
        *arena = NULL;
    }
}

void
arena_reset(struct arena *arena)
{
    struct block *first = arena->first;

    if (first == NULL) {
        return;
    }
    free_blocks(first->next);
    first->next = NULL;
    first->used = 0;
    arena->current = first;
    arena->total = first->size;
}

void *
arena_alloc(struct arena *arena, size_t n)
{
    size_t need = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    struct block *block = arena->current;

    if (need < n) {
        return NULL;
    }
    if ((block == NULL || block->size - block->used < need) && (block = add_block(arena, need)) == NULL) {
        return NULL;
    }
    void *p = block->data + block->used;
    block->used += need;
    memset(p, 0, need);
    return p;
}

char *
arena_strdup(struct arena *arena, struct bytes v)
{
    char *copy = v.n < SIZE_MAX ? arena_alloc(arena, v.n + 1) : NULL;

    if (copy != NULL && v.n > 0) {
        memcpy(copy, v.p, v.n);
    }
    return copy;
}

struct bytes
arena_dup(struct arena *arena, struct bytes v)
{
    char *copy = arena_strdup(arena, v);

    return copy == NULL ? (struct bytes){0} : bytes_of(copy, v.n);
}

char *
arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args, again;

    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    char *text = n < 0 ? NULL : arena_alloc(arena, (size_t)n + 1);
    if (text != NULL) {
        (void)vsnprintf(text, (size_t)n + 1, format, again);
    }
    va_end(again);
    va_end(args);
    return text;
}

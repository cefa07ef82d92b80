/*
 * queue_waiting - see the header. A binary heap. Before: queue_recover.c, queue_commit.c; after:
 * queue_active.c.
 */
#include "queue/queue_waiting.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static bool
is_before(const struct queue_waiting_entry *a, const struct queue_waiting_entry *b)
{
    return a->next_us != b->next_us ? a->next_us < b->next_us : strcmp(a->id, b->id) < 0;
}

int
queue_waiting_add(struct queue_waiting *waiting, const char *id, int64_t next_us)
{
    struct queue_waiting_entry entry = {.next_us = next_us};

    if (waiting->count == waiting->size) {
        size_t size = waiting->size == 0 ? 256 : waiting->size * 2;
        struct queue_waiting_entry *heap = realloc(waiting->heap, size * sizeof(*heap));

        if (heap == NULL) {
            return GW_ERR_NOMEM;
        }
        waiting->heap = heap;
        waiting->size = size;
    }
    (void)snprintf(entry.id, sizeof(entry.id), "%s", id);
    size_t slot = waiting->count++;
    while (slot > 0 && is_before(&entry, &waiting->heap[(slot - 1) / 2])) {
        waiting->heap[slot] = waiting->heap[(slot - 1) / 2];
        slot = (slot - 1) / 2;
    }
    waiting->heap[slot] = entry;
    return 0;
}

const struct queue_waiting_entry *
queue_waiting_first(const struct queue_waiting *waiting)
{
    return waiting->count > 0 ? &waiting->heap[0] : NULL;
}

void
queue_waiting_take(struct queue_waiting *waiting, struct queue_waiting_entry *entry_r)
{
    *entry_r = waiting->heap[0];
    struct queue_waiting_entry last = waiting->heap[--waiting->count];
    size_t slot = 0;

    for (;;) {
        size_t child = 2 * slot + 1;

        if (child >= waiting->count) {
            break;
        }
        if (child + 1 < waiting->count && is_before(&waiting->heap[child + 1], &waiting->heap[child])) {
            child++;
        }
        if (!is_before(&waiting->heap[child], &last)) {
            break;
        }
        waiting->heap[slot] = waiting->heap[child];
        slot = child;
    }
    waiting->heap[slot] = last;
}

void
queue_waiting_free(struct queue_waiting *waiting)
{
    free(waiting->heap);
    *waiting = (struct queue_waiting){0};
}

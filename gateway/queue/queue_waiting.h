/*
 * queue_waiting - the messages that are on disk and not in memory: id and time of the next attempt, nothing
 * more.
 *
 * A million deferred messages are 40 MB here. An entry is a hint: the store's status row decides, so an entry
 * that the operator's commands have made stale is harmless (queue_active.c drops it when the times differ).
 */
#ifndef QUEUE_QUEUE_WAITING_H
#define QUEUE_QUEUE_WAITING_H

#include <stddef.h>
#include <stdint.h>

#include "message/envelope.h"

struct queue_waiting_entry {
    int64_t next_us; /* wall clock; 0: at once, whatever the status row says */
    char id[QUEUE_ID_MAX];
};

struct queue_waiting {
    struct queue_waiting_entry *heap;
    size_t count, size;
};

int queue_waiting_add(struct queue_waiting *waiting, const char *id, int64_t next_us); /* 0, GW_ERR_NOMEM */
/* The earliest, NULL when empty; valid until the next change. Equal times come in order of ids. */
const struct queue_waiting_entry *queue_waiting_first(const struct queue_waiting *waiting);
void queue_waiting_take(struct queue_waiting *waiting,
                        struct queue_waiting_entry *entry_r); /* not when empty */
void queue_waiting_free(struct queue_waiting *waiting);

#endif

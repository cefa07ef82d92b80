/*
 * deliver_mbox - one message at the end of a mailbox file, under the locks other programs use.
 */
#ifndef DELIVER_DELIVER_MBOX_H
#define DELIVER_DELIVER_MBOX_H

#include <sys/types.h>

#include "deliver/deliver_writer.h"

struct deliver_mbox {
    const struct deliver_message *message;
    const char *path;
    bool dotlock, fcntl_lock; /* mailbox_delivery_lock, virtual_mailbox_lock */
    int64_t size_limit;       /* bytes; 0: none */
    int lock_attempts;        /* deliver_lock_attempts */
    int64_t lock_delay_ms;    /* deliver_lock_delay */
    int64_t stale_s;          /* stale_lock_time */
    bool strict_owner;        /* strict_mailbox_ownership: the file must belong to `owner` */
    uid_t owner;
    bool is_file; /* named by an alias: a device like /dev/null will do, and a lock file is made only where
                   * that is allowed */
};

/* A deliver_action; context is a struct deliver_mbox. */
void deliver_mbox_store(void *context, struct deliver_outcome *outcome);

#endif

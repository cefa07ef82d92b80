/*
 * receive_room - whether the queue's disk has room for one more message: queue_minfree, as Postfix's smtpd
 * sees it.
 *
 * Asked at MAIL, so that a full disk costs a client no transfer. The queue itself refuses what does not fit
 * whatever is said here. One per process, shared by its threads.
 */
#ifndef RECEIVE_RECEIVE_ROOM_H
#define RECEIVE_RECEIVE_ROOM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct receive_room {
    int directory_fd; /* queue_directory; -1: not known, and the queue alone decides */
    atomic_int_fast64_t asked_ms;
    atomic_uint_fast64_t free_bytes;
};

/* Before the jail. */
void receive_room_open(struct receive_room *room, const char *queue_directory);
/* False, with a warning in the log, when no more than `minfree` bytes are free or less than 1.5 times
 * message_size_limit (0: unlimited, not looked at). The disk is asked once a second at most. */
bool receive_room_is_there(struct receive_room *room, uint64_t minfree, uint64_t message_size_limit);

#endif

/*
 * receive_room - see the header. Before: receive_mail.c; after: statfs(2) of a directory that was opened
 * before the jail. A disk that cannot be asked counts as roomy: the queue decides when the message is there.
 */
#include "receive/receive_room.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/vfs.h>

#include "base/clock.h"
#include "base/log.h"

enum { ASK_EVERY_MS = 1000 };

void
receive_room_open(struct receive_room *room, const char *queue_directory)
{
    room->directory_fd = open(queue_directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    atomic_init(&room->asked_ms, -ASK_EVERY_MS);
    atomic_init(&room->free_bytes, UINT64_MAX);
}

/* True when this call asked the disk: its caller tells what is wrong, once for all threads. */
static bool
ask(struct receive_room *room)
{
    int_fast64_t now_ms = clock_monotonic_ms(), last_ms = atomic_load(&room->asked_ms);
    struct statfs disk;

    if (room->directory_fd == -1 || now_ms - last_ms < ASK_EVERY_MS ||
        !atomic_compare_exchange_strong(&room->asked_ms, &last_ms, now_ms) ||
        fstatfs(room->directory_fd, &disk) != 0) {
        return false;
    }
    atomic_store(&room->free_bytes, (uint64_t)disk.f_bavail * (uint64_t)disk.f_bsize);
    return true;
}

bool
receive_room_is_there(struct receive_room *room, uint64_t minfree, uint64_t message_size_limit)
{
    bool asked = ask(room);
    uint64_t free_bytes = atomic_load(&room->free_bytes);

    if (minfree > 0 && free_bytes <= minfree) {
        if (asked) {
            log_warning("smtpd",
                        "not enough free space in mail queue: %" PRIu64 " bytes, queue_minfree = %" PRIu64,
                        free_bytes, minfree);
        }
        return false;
    }
    if (free_bytes / 3 * 2 < message_size_limit) {
        if (asked) {
            log_warning("smtpd",
                        "not enough free space in mail queue: %" PRIu64 " bytes < 1.5*message size limit",
                        free_bytes);
        }
        return false;
    }
    return true;
}

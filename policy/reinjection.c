/*
 * reinjection - see the header. One blocking connection to the queue per thread, made when it is first
 * needed.
 */
#include "policy/reinjection.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

enum { ENVELOPE_BYTES_MAX = 64 * 1024 * 1024, ATTEMPTS = 2 };

struct reinjection {
    enum role self;
    struct ipc_channel *queue;
    struct buf payload;
};

struct reinjection *
reinjection_new(enum role self)
{
    struct reinjection *door = calloc(1, sizeof(*door));

    if (door != NULL) {
        door->self = self;
        buf_init(&door->payload, ENVELOPE_BYTES_MAX);
    }
    return door;
}

void
reinjection_free(struct reinjection **door)
{
    if (*door != NULL) {
        ipc_channel_free(&(*door)->queue);
        buf_free(&(*door)->payload);
        free(*door);
        *door = NULL;
    }
}

/* One attempt. GW_ERR_EOF and GW_ERR_SYS: the queue was not reached or went away before it answered. */
static int
submit_once(struct reinjection *door, int content_fd, int64_t deadline_ms)
{
    struct ipc_message answer;
    struct wire_status status;
    int r;

    if (door->queue == NULL && (r = ipc_connect(door->self, ROLE_QUEUE, &door->queue)) != 0) {
        return r;
    }
    r = ipc_call(door->queue, WIRE_SUBMIT, bytes_buf(&door->payload), &content_fd, 1, deadline_ms, &answer);
    if (r == 0) {
        r = answer.type == WIRE_SUBMITTED ? wire_status_unpack(answer.payload, &status) : GW_ERR_PEER;
        ipc_message_free(&answer);
    }
    if (r != 0) {
        /* A late answer would belong to another message: this connection is of no use any more. */
        ipc_channel_free(&door->queue);
        return r;
    }
    if (status.code != 0 && status.code != GW_ERR_EXISTS) {
        log_warning("cleanup", "the queue refused a message: %s", status.detail);
    }
    return status.code;
}

/* What the header promises; all else, from a lost connection to an answer that is none, is "not now". */
static bool
is_for_the_caller(int r)
{
    return r == GW_ERR_FULL || r == GW_ERR_TIMEOUT || r == GW_ERR_LIMIT || r == GW_ERR_NOMEM;
}

int
reinjection_submit(struct reinjection *door, const struct envelope *envelope, int content_fd,
                   int64_t deadline_ms)
{
    int r;

    buf_clear(&door->payload);
    if ((r = envelope_pack(&door->payload, envelope)) != 0) {
        return r;
    }
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        r = submit_once(door, content_fd, deadline_ms);
        if ((r != GW_ERR_EOF && r != GW_ERR_SYS) || clock_left_ms(deadline_ms) == 0) {
            break;
        }
    }
    /* The first attempt may have been committed although its answer was lost: the same id twice is one
     * message. */
    return r == 0 || r == GW_ERR_EXISTS ? 0 : is_for_the_caller(r) ? r : GW_ERR_TEMP;
}

/*
 * relay_reply_fuzz - whatever a server may send: no crash, and what is kept is bounded and printable.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/stream.h"
#include "relay/relay_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 60000 }; /* fits the socket's buffer, so one thread is enough */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct relay_reply reply;
    int ends[2];

    if (size > INPUT_MAX || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == -1) {
        return 0;
    }
    if (size > 0 && send(ends[1], data, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size) {
        (void)close(ends[0]);
        (void)close(ends[1]);
        return 0;
    }
    (void)close(ends[1]);
    struct stream *stream = stream_new(ends[0]);
    relay_reply_init(&reply);
    stream_set_deadline(stream, clock_monotonic_ms() + 1000);
    while (relay_reply_read(stream, &reply, NULL, NULL) == 0) {
        if (reply.code < 200 || reply.code > 599 || reply.text.n > RELAY_REPLY_TEXT_MAX) {
            abort();
        }
        for (size_t i = 0; i < reply.text.n; i++) {
            if (reply.text.p[i] < 32 || reply.text.p[i] == 127) {
                abort();
            }
        }
    }
    relay_reply_free(&reply);
    stream_free(&stream);
    return 0;
}

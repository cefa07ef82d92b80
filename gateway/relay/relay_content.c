/*
 * relay_content - see the header. Before: relay_transaction.c, after a 354; after: the stream.
 *
 * A chunk is written in as few pieces as it has leading dots, so an ordinary message is one write. A dot is
 * doubled after every LF, also one without CR before it: a host that takes a bare LF for a line end must not
 * find the end of DATA in the middle of a message (CVE-2023-51764 and its kin).
 */
#include "relay/relay_content.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/stream.h"

enum { CONTENT_PIECE = 65536 };

void
relay_content_begin(struct relay_content *content, relay_content_write *write, void *context)
{
    *content = (struct relay_content){.write = write, .context = context, .last = {'\r', '\n'}};
}

int
relay_content_put(struct relay_content *content, struct bytes chunk)
{
    const uint8_t *from = chunk.p;
    const uint8_t *end = chunk.p + chunk.n;
    const uint8_t *at = chunk.p;
    int r;

    if (chunk.n == 0) {
        return 0;
    }
    if (content->last[1] == '\n' && *at == '.' &&
        (r = content->write(content->context, BYTES_LIT("."))) != 0) {
        return r;
    }
    while ((at = memchr(at, '\n', (size_t)(end - at))) != NULL && ++at < end) {
        if (*at != '.') {
            continue;
        }
        /* Up to and with the dot; the dot itself begins the next piece and so is written twice. */
        if ((r = content->write(content->context, bytes_of(from, (size_t)(at + 1 - from)))) != 0) {
            return r;
        }
        from = at;
    }
    if ((r = content->write(content->context, bytes_of(from, (size_t)(end - from)))) != 0) {
        return r;
    }
    content->last[0] = chunk.n > 1 ? end[-2] : content->last[1];
    content->last[1] = end[-1];
    return 0;
}

int
relay_content_end(struct relay_content *content)
{
    bool complete = content->last[0] == '\r' && content->last[1] == '\n';

    return content->write(content->context, complete ? BYTES_LIT(".\r\n") : BYTES_LIT("\r\n.\r\n"));
}

static int
write_stream(void *context, struct bytes v)
{
    return stream_write(context, v);
}

/* One piece of the content into room. */
static int
read_piece(int fd, uint64_t offset, uint64_t left, struct buf *room)
{
    size_t want = left < CONTENT_PIECE ? (size_t)left : CONTENT_PIECE;
    ssize_t n;

    buf_clear(room);
    int r = buf_reserve(room, want);
    if (r != 0) {
        return r;
    }
    do {
        n = pread(fd, room->p, want, (off_t)offset);
    } while (n == -1 && errno == EINTR);
    if (n <= 0) {
        return GW_ERR_SYS; /* shorter than the queue said: never send a part as the whole */
    }
    room->n = (size_t)n;
    return 0;
}

int
relay_content_send(struct stream *stream, int fd, uint64_t size, struct buf *room, int64_t timeout_ms,
                   bool *read_failed_r)
{
    struct relay_content content;
    int r = 0;

    *read_failed_r = false;
    relay_content_begin(&content, write_stream, stream);
    for (uint64_t offset = 0; offset < size; offset += room->n) {
        if ((r = read_piece(fd, offset, size - offset, room)) != 0) {
            *read_failed_r = true;
            return r;
        }
        stream_set_deadline(stream, clock_monotonic_ms() + timeout_ms);
        if ((r = relay_content_put(&content, bytes_buf(room))) != 0) {
            return r;
        }
    }
    if ((r = relay_content_end(&content)) != 0) {
        return r;
    }
    return stream_flush(stream);
}

int
relay_content_has_8bit_header(int fd, uint64_t size, struct buf *room, bool *has_r)
{
    size_t newlines = 1; /* an empty line is two line ends with nothing (but CR) between */

    *has_r = false;
    for (uint64_t offset = 0; offset < size; offset += room->n) {
        int r = read_piece(fd, offset, size - offset, room);

        if (r != 0) {
            return r;
        }
        for (size_t i = 0; i < room->n; i++) {
            uint8_t c = room->p[i];

            if (c >= 0x80) {
                *has_r = true;
                return 0;
            }
            newlines = c == '\n' ? newlines + 1 : c == '\r' ? newlines : 0;
            if (newlines == 2) {
                return 0;
            }
        }
    }
    return 0;
}

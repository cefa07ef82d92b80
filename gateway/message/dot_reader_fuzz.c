/*
 * dot_reader_fuzz - any bytes after DATA (the first two choose policy and piece size): the reader gives the
 * same as a plain machine that goes byte by byte, however the input is cut.
 */
#include "message/dot_reader.h"

#include <stdlib.h>
#include <string.h>

#include "base/ipc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
collect(void *context, struct bytes piece)
{
    return buf_append_bytes(context, piece);
}

/* The rules of RFC 5321 section 4.5.2 on a whole input. Returns how much is consumed; *ended_r: the end is in
 * it. What is held back at the end of the input (a dot, a CR) is not given out. */
static size_t
read_plainly(struct bytes in, bool normalize, struct buf *out, bool *ended_r)
{
    bool line_start = true;
    size_t i = 0;

    *ended_r = false;
    while (i < in.n) {
        struct bytes rest = bytes_sub(in, i, in.n);

        if (line_start && rest.p[0] == '.') {
            if (rest.n < 3 && memcmp(rest.p, ".\r\n", rest.n) == 0) {
                return in.n;
            }
            if (rest.n >= 3 && memcmp(rest.p, ".\r\n", 3) == 0) {
                *ended_r = true;
                return i + 3;
            }
            i++;
            line_start = false;
            continue;
        }
        line_start = false;
        if (rest.p[0] == '\r' && rest.n == 1) {
            return in.n;
        }
        if (rest.p[0] == '\r' && rest.p[1] == '\n') {
            (void)buf_append_str(out, "\r\n");
            line_start = true;
            i += 2;
            continue;
        }
        if (rest.p[0] == '\n' && normalize) {
            (void)buf_append_byte(out, '\r');
        }
        (void)buf_append_byte(out, rest.p[0]);
        i++;
    }
    return in.n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dot_reader reader;
    struct buf out, want;
    size_t at = 0, consumed = 0;
    bool ended;
    int r = 0;

    if (IPC_RULES[0].type == 0) { /* links the table of messages, which base needs and message holds */
        abort();
    }
    if (size < 2) {
        return 0;
    }
    struct bytes input = bytes_of(data + 2, size - 2);
    size_t step = data[1] > 0 ? data[1] : 1;
    buf_init(&out, size * 2);
    buf_init(&want, size * 2);
    dot_reader_init(&reader, data[0] & 1, collect, &out);
    while (r == 0 && at < input.n) {
        r = dot_reader_feed(&reader, bytes_sub(input, at, step), &consumed);
        at += consumed;
    }
    size_t end = read_plainly(input, data[0] & 1, &want, &ended);
    if (r < 0 || (r == 1) != ended || at != end || !bytes_equal(bytes_buf(&out), bytes_buf(&want))) {
        abort();
    }
    buf_free(&out);
    buf_free(&want);
    return 0;
}

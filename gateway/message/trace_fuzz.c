/*
 * trace_fuzz - any bytes as a message whose header is summed up, and as what a client says about itself: our
 * Received field stays one field.
 */
#include "message/trace.h"

#include <stdlib.h>
#include <string.h>

#include "base/ipc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each line but the first begins with a tab, and there is no bare line end. */
static bool
is_one_field(struct bytes field)
{
    for (size_t i = 0; i < field.n; i++) {
        if (field.p[i] == '\r' && (i + 1 >= field.n || field.p[i + 1] != '\n')) {
            return false;
        }
        if (field.p[i] == '\n' &&
            (i == 0 || field.p[i - 1] != '\r' || (i + 1 < field.n && field.p[i + 1] != '\t'))) {
            return false;
        }
    }
    return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    struct envelope *envelope = envelope_new();
    struct trace_summary summary;
    struct buf out;

    if (IPC_RULES[0].type == 0) { /* links the table of messages, which base needs and message holds */
        abort();
    }
    trace_summarize(input, &summary);
    if (summary.body_offset > size || summary.hops > size / 9 ||
        (summary.message_id.n > 0 &&
         (summary.message_id.p < data || summary.message_id.p + summary.message_id.n > data + size))) {
        abort();
    }
    if (envelope == NULL) {
        return 0;
    }
    struct bytes helo = bytes_sub(input, 0, sizeof(envelope->session.helo) - 1);
    if (helo.n > 0) {
        memcpy(envelope->session.helo, helo.p, helo.n);
    }
    (void)envelope_add_recipient(envelope, input, input, 0, (struct bytes){0});
    buf_init(&out, 16384);
    if (trace_received(&out, envelope, "gw.example", "Postfix") != 0 || !is_one_field(bytes_buf(&out))) {
        abort();
    }
    buf_free(&out);
    envelope_free(&envelope);
    return 0;
}

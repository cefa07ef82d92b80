/*
 * header_rewrite_fuzz - any bytes as a header, any answer for its addresses. What comes out has the fields
 * that went in but for those that are dropped; done again it changes nothing; and no answer opens a new field
 * or the body.
 */
#include "message/header_rewrite.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/ipc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
map(void *context, unsigned kind, const struct header_address *place, struct bytes address, struct buf *out)
{
    bool *changed = context;

    (void)kind;
    if (place->from > place->to || place->element > place->from || address.n == 0) {
        abort();
    }
    if (address.n > 7 && memcmp(address.p + address.n - 7, "@x.test", 7) == 0) {
        return 0;
    }
    *changed = true;
    return buf_append_bytes(out, address) == 0 && buf_append_str(out, "@x.test") == 0 ? 1 : GW_ERR_LIMIT;
}

static size_t
count_fields(struct bytes header, size_t *bcc_r)
{
    struct bytes rest = header, field, name, value;
    size_t n = 0;

    *bcc_r = 0;
    while (header_field_next(&rest, &field, &name, &value)) {
        n++;
        *bcc_r += header_field_known(name) == FIELD_BCC;
    }
    return rest.n == 0 ? n : SIZE_MAX;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = bytes_of(data, size), field, name, value;
    bool changed = false;
    struct header_rules rules = {
        .map = map, .context = &changed, .drop = HEADER_FIELD_BIT(FIELD_BCC), .field_limit = 100000};
    struct buf out, again;
    size_t bcc, bcc_after;

    if (IPC_RULES[0].type == 0) { /* links the table of messages, which base needs and message holds */
        abort();
    }
    while (header_field_next(&rest, &field, &name, &value)) {
    }
    struct bytes header = bytes_of(data, size - rest.n);
    size_t before = count_fields(header, &bcc);

    buf_init(&out, 1 << 24);
    buf_init(&again, 1 << 24);
    int r = header_rewrite(header, &rules, &out);
    if (r < 0 && r != GW_ERR_LIMIT) {
        abort();
    }
    if (r == 1) {
        if (count_fields(bytes_buf(&out), &bcc_after) != before - bcc || bcc_after != 0) {
            abort();
        }
        r = header_rewrite(bytes_buf(&out), &rules, &again);
        if (r < 0 && r != GW_ERR_LIMIT) {
            abort();
        }
        if (r == 1 && count_fields(bytes_buf(&again), &bcc_after) != before - bcc) {
            abort();
        }
    } else if (r == 0 && (out.n != 0 || bcc != 0)) {
        abort();
    }
    buf_free(&out);
    buf_free(&again);
    return 0;
}

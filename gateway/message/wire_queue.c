/*
 * wire_queue - the forms between the queue and its workers, and the request to the scan role.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/pack.h"
#include "message/wire.h"

enum { NEXTHOP_MAX = 1024, REPLY_MAX = 4096, EXPANDED_MAX = 4 * 1024 * 1024 };

int
wire_worker_pack(struct buf *buf, const struct wire_worker *worker)
{
    return pack_u16(buf, worker->slot);
}

int
wire_worker_unpack(struct bytes payload, struct wire_worker *worker_r)
{
    struct unpack u;

    unpack_begin(&u, payload);
    worker_r->slot = unpack_u16(&u);
    return unpack_end(&u);
}

/* An envelope inside another record: its length is known only after it was written. */
static int
pack_envelope(struct buf *buf, const struct envelope *envelope)
{
    size_t at = buf->n;
    int r = pack_u32(buf, 0);

    if (r == 0 && (r = envelope_pack(buf, envelope)) == 0) {
        uint32_t length = (uint32_t)(buf->n - at - 4);

        for (size_t i = 0; i < 4; i++) {
            buf->p[at + i] = (uint8_t)(length >> (8 * (3 - i)));
        }
    }
    return r;
}

int
wire_job_pack(struct buf *buf, const struct wire_job *job)
{
    int r = pack_str(buf, job->transport);

    r = r == 0 ? pack_bytes(buf, job->nexthop) : r;
    r = r == 0 ? pack_envelope(buf, job->envelope) : r;
    for (size_t i = 0; r == 0 && i < job->envelope->recipient_count; i++) {
        r = pack_u16(buf, job->recipient_numbers[i]);
    }
    return r;
}

int
wire_job_unpack(struct bytes payload, struct wire_job *job_r)
{
    struct unpack u;
    int r;

    *job_r = (struct wire_job){0};
    unpack_begin(&u, payload);
    unpack_str(&u, job_r->transport, sizeof(job_r->transport));
    struct bytes nexthop = unpack_bytes(&u, NEXTHOP_MAX);
    struct bytes packed = unpack_bytes(&u, IPC_PAYLOAD_MAX);
    if (u.error != 0) {
        return u.error;
    }
    if ((r = envelope_unpack(packed, &job_r->envelope)) != 0) {
        return r;
    }
    job_r->nexthop = arena_dup(job_r->envelope->arena, nexthop);
    job_r->recipient_numbers =
        calloc(job_r->envelope->recipient_count + 1, sizeof(*job_r->recipient_numbers));
    if (job_r->nexthop.p == NULL || job_r->recipient_numbers == NULL) {
        wire_job_clear(job_r);
        return GW_ERR_NOMEM;
    }
    for (size_t i = 0; i < job_r->envelope->recipient_count; i++) {
        job_r->recipient_numbers[i] = unpack_u16(&u);
    }
    if ((r = unpack_end(&u)) != 0) {
        wire_job_clear(job_r);
    }
    return r;
}

void
wire_job_clear(struct wire_job *job)
{
    free(job->recipient_numbers);
    envelope_free(&job->envelope);
    *job = (struct wire_job){0};
}

int
wire_result_pack(struct buf *buf, const struct wire_result *result)
{
    int r = pack_str(buf, result->relay);

    r = r == 0 ? pack_str(buf, result->connected_to) : r;
    r = r == 0 ? pack_i64(buf, result->connect_us) : r;
    r = r == 0 ? pack_i64(buf, result->transfer_us) : r;
    r = r == 0 ? pack_u8(buf, result->site_down) : r;
    r = r == 0 ? pack_bytes(buf, result->expanded) : r;
    r = r == 0 ? pack_u32(buf, (uint32_t)result->count) : r;
    for (size_t i = 0; r == 0 && i < result->count; i++) {
        const struct wire_recipient_result *recipient = &result->recipients[i];

        r = pack_u16(buf, recipient->number);
        r = r == 0 ? pack_u8(buf, recipient->status) : r;
        r = r == 0 ? pack_str(buf, recipient->dsn) : r;
        r = r == 0 ? pack_bytes(buf, bytes_sub(recipient->reply, 0, REPLY_MAX)) : r;
        r = r == 0 ? pack_bytes(buf, bytes_sub(recipient->remote_mta, 0, NEXTHOP_MAX)) : r;
    }
    return r;
}

static void
unpack_recipient(struct arena *arena, struct unpack *u, struct wire_recipient_result *recipient)
{
    recipient->number = unpack_u16(u);
    recipient->status = unpack_u8(u);
    unpack_str(u, recipient->dsn, sizeof(recipient->dsn));
    recipient->reply = arena_dup(arena, unpack_bytes(u, REPLY_MAX));
    recipient->remote_mta = arena_dup(arena, unpack_bytes(u, NEXTHOP_MAX));
    if (recipient->status > DELIVERY_EXPANDED) {
        u->error = GW_ERR_SYNTAX;
    }
}

int
wire_result_unpack(struct arena *arena, struct bytes payload, struct wire_result *result_r)
{
    struct unpack u;

    *result_r = (struct wire_result){0};
    unpack_begin(&u, payload);
    unpack_str(&u, result_r->relay, sizeof(result_r->relay));
    unpack_str(&u, result_r->connected_to, sizeof(result_r->connected_to));
    result_r->connect_us = unpack_i64(&u);
    result_r->transfer_us = unpack_i64(&u);
    result_r->site_down = unpack_u8(&u);
    result_r->expanded = arena_dup(arena, unpack_bytes(&u, EXPANDED_MAX));
    uint32_t count = unpack_u32(&u);
    if (u.error != 0 || count > ENVELOPE_RECIPIENTS_MAX) {
        return GW_ERR_SYNTAX;
    }
    result_r->recipients = arena_alloc(arena, (count + 1) * sizeof(*result_r->recipients));
    if (result_r->recipients == NULL) {
        return GW_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < count && u.error == 0; i++) {
        unpack_recipient(arena, &u, &result_r->recipients[i]);
    }
    result_r->count = count;
    return unpack_end(&u);
}

int
wire_scan_pack(struct buf *buf, const struct wire_scan *scan)
{
    int r = pack_u8(buf, scan->trusted ? 1 : 0);

    r = r == 0 ? pack_i64(buf, scan->budget_ms) : r;
    return r == 0 ? pack_envelope(buf, scan->envelope) : r;
}

int
wire_scan_unpack(struct bytes payload, struct wire_scan *scan_r)
{
    struct unpack u;

    *scan_r = (struct wire_scan){0};
    unpack_begin(&u, payload);
    scan_r->trusted = unpack_u8(&u) != 0;
    scan_r->budget_ms = unpack_i64(&u);
    struct bytes packed = unpack_bytes(&u, IPC_PAYLOAD_MAX);
    int r = unpack_end(&u);
    return r == 0 ? envelope_unpack(packed, &scan_r->envelope) : r;
}

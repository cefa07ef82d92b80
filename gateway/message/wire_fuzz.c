/*
 * wire_fuzz - any bytes as the payload of each message between roles (the first byte chooses which): what
 * decodes can be written, and decodes again.
 */
#include "message/wire.h"

#include <stdlib.h>

#include "base/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PACKED_MAX = 64 * 1024 * 1024, ARENA_MAX = 64 * 1024 * 1024 };

/* A form without anything to free. */
#define TRY(form)                                                      \
    static bool try_##form(struct bytes payload, struct buf *packed)   \
    {                                                                  \
        struct wire_##form value;                                      \
                                                                       \
        return wire_##form##_unpack(payload, &value) != 0 ||           \
               (wire_##form##_pack(packed, &value) == 0 &&             \
                wire_##form##_unpack(bytes_buf(packed), &value) == 0); \
    }
TRY(status)
TRY(handover)
TRY(allow)
TRY(triplet)
TRY(greylist_answer)
TRY(notice)
TRY(worker)

static bool
try_envelope(struct bytes payload, struct buf *packed)
{
    struct envelope *envelope, *again;

    if (envelope_unpack(payload, &envelope) != 0) {
        return envelope == NULL;
    }
    bool good = envelope_pack(packed, envelope) == 0 && envelope_unpack(bytes_buf(packed), &again) == 0;
    if (good) {
        good = again->recipient_count == envelope->recipient_count &&
               bytes_equal(again->sender, envelope->sender);
        envelope_free(&again);
    }
    envelope_free(&envelope);
    return good;
}

static bool
try_job(struct bytes payload, struct buf *packed)
{
    struct wire_job job;
    bool good = true;

    if (wire_job_unpack(payload, &job) == 0) {
        good = wire_job_pack(packed, &job) == 0;
        wire_job_clear(&job);
        good = good && wire_job_unpack(bytes_buf(packed), &job) == 0;
        wire_job_clear(&job);
    }
    return good;
}

static bool
try_scan(struct bytes payload, struct buf *packed)
{
    struct wire_scan scan;
    bool good = true;

    if (wire_scan_unpack(payload, &scan) == 0) {
        good = wire_scan_pack(packed, &scan) == 0;
        envelope_free(&scan.envelope);
        good = good && wire_scan_unpack(bytes_buf(packed), &scan) == 0;
    }
    envelope_free(&scan.envelope);
    return good;
}

static bool
try_result(struct bytes payload, struct buf *packed)
{
    struct arena *arena = arena_new(ARENA_MAX);
    struct wire_result result;
    bool good = true;

    if (arena != NULL && wire_result_unpack(arena, payload, &result) == 0) {
        good = wire_result_pack(packed, &result) == 0 &&
               wire_result_unpack(arena, bytes_buf(packed), &result) == 0;
    }
    arena_free(&arena);
    return good;
}

static bool (*const TRIES[])(struct bytes payload, struct buf *packed) = {
    try_status, try_handover, try_allow, try_triplet, try_greylist_answer, try_notice,
    try_worker, try_envelope, try_job,   try_scan,    try_result,
};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf packed;

    if (size == 0) {
        return 0;
    }
    buf_init(&packed, PACKED_MAX);
    if (!TRIES[data[0] % (sizeof(TRIES) / sizeof(TRIES[0]))](bytes_of(data + 1, size - 1), &packed)) {
        abort();
    }
    buf_free(&packed);
    return 0;
}

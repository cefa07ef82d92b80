/*
 * pack - see the header. Before and after: whatever writes and reads typed records.
 */
#include "base/pack.h"

#include <string.h>

#include "base/error.h"

static int
put(struct buf *buf, uint64_t v, size_t width)
{
    uint8_t out[8];

    for (size_t i = 0; i < width; i++) {
        out[i] = (uint8_t)(v >> (8 * (width - 1 - i)));
    }
    return buf_append(buf, out, width);
}

int
pack_u8(struct buf *buf, uint8_t v)
{
    return put(buf, v, 1);
}

int
pack_u16(struct buf *buf, uint16_t v)
{
    return put(buf, v, 2);
}

int
pack_u32(struct buf *buf, uint32_t v)
{
    return put(buf, v, 4);
}

int
pack_u64(struct buf *buf, uint64_t v)
{
    return put(buf, v, 8);
}

int
pack_i64(struct buf *buf, int64_t v)
{
    return put(buf, (uint64_t)v, 8);
}

int
pack_bytes(struct buf *buf, struct bytes v)
{
    int r = v.n > UINT32_MAX ? GW_ERR_LIMIT : pack_u32(buf, (uint32_t)v.n);

    return r == 0 ? buf_append_bytes(buf, v) : r;
}

int
pack_str(struct buf *buf, const char *text)
{
    return pack_bytes(buf, bytes_str(text));
}

void
unpack_begin(struct unpack *u, struct bytes payload)
{
    *u = (struct unpack){.rest = payload};
}

static struct bytes
take(struct unpack *u, size_t n)
{
    if (u->error != 0 || u->rest.n < n) {
        u->error = GW_ERR_SYNTAX;
        return (struct bytes){0};
    }
    struct bytes v = bytes_sub(u->rest, 0, n);
    u->rest = bytes_sub(u->rest, n, u->rest.n);
    return v;
}

static uint64_t
get(struct unpack *u, size_t width)
{
    struct bytes v = take(u, width);
    uint64_t value = 0;

    for (size_t i = 0; i < v.n; i++) {
        value = value << 8 | v.p[i];
    }
    return value;
}

uint8_t
unpack_u8(struct unpack *u)
{
    return (uint8_t)get(u, 1);
}

uint16_t
unpack_u16(struct unpack *u)
{
    return (uint16_t)get(u, 2);
}

uint32_t
unpack_u32(struct unpack *u)
{
    return (uint32_t)get(u, 4);
}

uint64_t
unpack_u64(struct unpack *u)
{
    return get(u, 8);
}

int64_t
unpack_i64(struct unpack *u)
{
    return (int64_t)get(u, 8);
}

struct bytes
unpack_bytes(struct unpack *u, size_t max)
{
    size_t n = unpack_u32(u);

    if (n > max) {
        u->error = GW_ERR_SYNTAX;
        return (struct bytes){0};
    }
    return take(u, n);
}

void
unpack_str(struct unpack *u, char *out, size_t size)
{
    struct bytes v = unpack_bytes(u, size - 1);

    out[0] = '\0';
    if (bytes_index(v, '\0') >= 0) {
        u->error = GW_ERR_SYNTAX;
        return;
    }
    if (v.n > 0) {
        memcpy(out, v.p, v.n);
    }
    out[v.n] = '\0';
}

int
unpack_end(struct unpack *u)
{
    if (u->error == 0 && u->rest.n != 0) {
        u->error = GW_ERR_SYNTAX;
    }
    return u->error;
}

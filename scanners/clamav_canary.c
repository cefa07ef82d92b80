/*
 * clamav_canary - see the header. The member is deflated, so the marker is found only by unpacking.
 */
#include "scanners/clamav_canary.h"

#include <string.h>
#include <zlib.h>

#include "base/error.h"

enum { PACKED_MAX = 4096 };

static const char NAME[] = "canary.txt";
static const char MARKER[] = "estafeta-canary-7f3a9c51e0d84b26b6a1-this-is-not-a-virus-this-is-not-a-virus";

int
clamav_canary_signature(struct buf *out)
{
    int r = buf_append_str(out, CLAMAV_CANARY_NAME ":0:*:");

    for (size_t i = 0; r == 0 && i + 1 < sizeof(MARKER); i++) {
        r = buf_printf(out, "%02x", (unsigned char)MARKER[i]);
    }
    return r == 0 ? buf_append_byte(out, '\n') : r;
}

/* Little-endian, as zip wants it. */
static int
put(struct buf *out, uint32_t value, size_t width)
{
    int r = 0;

    for (size_t i = 0; i < width && r == 0; i++) {
        r = buf_append_byte(out, (uint8_t)(value >> (8 * i)));
    }
    return r;
}

static int
deflate_member(struct bytes text, uint8_t *out, size_t size, size_t *n_r)
{
    z_stream z = {0};

    if (deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        return GW_ERR_NOMEM;
    }
    z.next_in = (Bytef *)(uintptr_t)text.p;
    z.avail_in = (uInt)text.n;
    z.next_out = out;
    z.avail_out = (uInt)size;
    int done = deflate(&z, Z_FINISH);
    *n_r = size - z.avail_out;
    (void)deflateEnd(&z);
    return done == Z_STREAM_END ? 0 : GW_ERR_LIMIT;
}

/* The fields that the local header and the directory entry share: version to modification date, sizes, name
 * length. */
static int
put_member(struct buf *out, struct bytes text, size_t packed)
{
    uint32_t crc = (uint32_t)crc32(0, text.p, (uInt)text.n);
    const struct {
        uint32_t value;
        size_t width;
    } fields[] = {{20, 2},
                  {0, 2},
                  {8, 2},
                  {0, 2},
                  {0x5821, 2},
                  {crc, 4},
                  {(uint32_t)packed, 4},
                  {(uint32_t)text.n, 4},
                  {sizeof(NAME) - 1, 2},
                  {0, 2}};
    int r = 0;

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]) && r == 0; i++) {
        r = put(out, fields[i].value, fields[i].width);
    }
    return r;
}

int
clamav_canary_zip_of(struct bytes text, struct buf *out)
{
    uint8_t packed[PACKED_MAX];
    size_t n;
    int r = deflate_member(text, packed, sizeof(packed), &n);

    r = r == 0 ? buf_append_str(out, "PK\x03\x04") : r;
    r = r == 0 ? put_member(out, text, n) : r;
    r = r == 0 ? buf_append_str(out, NAME) : r;
    r = r == 0 ? buf_append(out, packed, n) : r;
    size_t directory = out->n;
    r = r == 0 ? buf_append_str(out, "PK\x01\x02") : r;
    r = r == 0 ? put(out, 20, 2) : r;
    r = r == 0 ? put_member(out, text, n) : r;
    for (size_t i = 0; r == 0 && i < 14; i++) {
        r = buf_append_byte(out, 0); /* comment, disk, attributes, offset of the local header */
    }
    r = r == 0 ? buf_append_str(out, NAME) : r;
    uint32_t length = (uint32_t)(out->n - directory);
    r = r == 0 ? buf_append_str(out, "PK\x05\x06") : r;
    r = r == 0 ? put(out, 0, 4) : r;
    r = r == 0 ? put(out, 0x00010001, 4) : r;
    r = r == 0 ? put(out, length, 4) : r;
    r = r == 0 ? put(out, (uint32_t)directory, 4) : r;
    return r == 0 ? put(out, 0, 2) : r;
}

int
clamav_canary_zip(struct buf *out)
{
    return clamav_canary_zip_of(bytes_of(MARKER, sizeof(MARKER) - 1), out);
}

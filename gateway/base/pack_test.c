/*
 * pack_test - what is packed comes back; what is short, over-long or left over is an error that sticks.
 */
#include "base/pack.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

static void
fill(struct buf *buf)
{
    CHECK(pack_u8(buf, 0xfe) == 0 && pack_u16(buf, 0x1234) == 0 && pack_u32(buf, 0xdeadbeef) == 0);
    CHECK(pack_u64(buf, UINT64_MAX - 1) == 0 && pack_i64(buf, INT64_MIN) == 0);
    CHECK(pack_bytes(buf, BYTES_LIT("a\0b")) == 0 && pack_str(buf, "text") == 0 && pack_str(buf, NULL) == 0);
}

static int
read_all(struct bytes payload)
{
    struct unpack u;
    char text[5], empty[2];

    unpack_begin(&u, payload);
    bool same = unpack_u8(&u) == 0xfe && unpack_u16(&u) == 0x1234 && unpack_u32(&u) == 0xdeadbeef &&
                unpack_u64(&u) == UINT64_MAX - 1 && unpack_i64(&u) == INT64_MIN &&
                bytes_equal(unpack_bytes(&u, 3), BYTES_LIT("a\0b"));
    unpack_str(&u, text, sizeof(text));
    unpack_str(&u, empty, sizeof(empty));
    int r = unpack_end(&u);
    CHECK(r != 0 || (same && strcmp(text, "text") == 0 && empty[0] == '\0'));
    return r;
}

static void
test_round_trip(void)
{
    struct buf buf;

    buf_init(&buf, 1000);
    fill(&buf);
    CHECK(read_all(bytes_buf(&buf)) == 0);
    for (size_t n = 0; n < buf.n; n++) { /* cut at every byte */
        CHECK(read_all(bytes_of(buf.p, n)) == GW_ERR_SYNTAX);
    }
    CHECK(pack_u8(&buf, 0) == 0);
    CHECK(read_all(bytes_buf(&buf)) == GW_ERR_SYNTAX); /* left over */
    buf_free(&buf);
}

static void
test_errors_stick(void)
{
    struct unpack u;
    char text[4] = "xxx";

    unpack_begin(&u, BYTES_LIT("\0\0\0\4abcd\7"));
    unpack_str(&u, text, sizeof(text)); /* needs 5 bytes */
    CHECK(u.error == GW_ERR_SYNTAX && text[0] == '\0');
    CHECK(unpack_u8(&u) == 0 && unpack_end(&u) == GW_ERR_SYNTAX);

    unpack_begin(&u, BYTES_LIT("\0\0\0\2a\0"));
    unpack_str(&u, text, sizeof(text)); /* a NUL inside */
    CHECK(u.error == GW_ERR_SYNTAX && text[0] == '\0');

    unpack_begin(&u, BYTES_LIT("\xff\xff\xff\xffzz"));
    CHECK(unpack_bytes(&u, SIZE_MAX).n == 0 && unpack_end(&u) == GW_ERR_SYNTAX);

    unpack_begin(&u, BYTES_LIT("\0\0\0\3abc"));
    CHECK(unpack_bytes(&u, 2).n == 0 && unpack_end(&u) == GW_ERR_SYNTAX);
}

static void
test_limit(void)
{
    struct buf buf;

    buf_init(&buf, 6);
    CHECK(pack_u32(&buf, 1) == 0);
    CHECK(pack_u32(&buf, 1) == GW_ERR_LIMIT && buf.n == 4);
    CHECK(pack_bytes(&buf, BYTES_LIT("")) == GW_ERR_LIMIT);
    buf_free(&buf);
}

int
main(void)
{
    test_round_trip();
    test_errors_stick();
    test_limit();
    return failures != 0;
}

/*
 * allowlist - see the header. Before: service.c with WIRE_ALLOW_ASK and WIRE_ALLOW_SET; after: state.c.
 */
#include "policy/allowlist.h"

#include "base/error.h"
#include "base/pack.h"

enum { KEY_SIZE = 17, VALUE_SIZE = 8 * SCREEN_TESTS_COUNT };

static struct bytes
make_key(const struct net_addr *client, uint8_t room[KEY_SIZE])
{
    size_t n = client->family == AF_INET ? 4 : 16;

    room[0] = client->family;
    for (size_t i = 0; i < n; i++) {
        room[1 + i] = client->ip[i];
    }
    return bytes_of(room, 1 + n);
}

static bool
read_value(struct bytes value, int64_t expires_s[SCREEN_TESTS_COUNT])
{
    struct unpack u;

    unpack_begin(&u, value);
    for (size_t i = 0; i < SCREEN_TESTS_COUNT; i++) {
        expires_s[i] = unpack_i64(&u);
    }
    return unpack_end(&u) == 0;
}

int
allowlist_ask(struct state *state, struct wire_allow *allow, int64_t now_s)
{
    uint8_t room[KEY_SIZE];
    int64_t expires_s[SCREEN_TESTS_COUNT] = {0};
    struct bytes value;
    int r = state_get(state, STATE_ALLOWED, make_key(&allow->client, room), &value);
    bool known = r == 0 && read_value(value, expires_s);

    for (size_t i = 0; i < SCREEN_TESTS_COUNT; i++) {
        allow->expires_s[i] = known && expires_s[i] > now_s ? expires_s[i] : 0;
    }
    return r == GW_ERR_NOTFOUND ? 0 : r;
}

int
allowlist_set(struct state *state, const struct wire_allow *allow, int64_t now_s)
{
    struct wire_allow known = {.client = allow->client};
    uint8_t room[KEY_SIZE];
    struct buf value;
    bool changed = false;
    int r = allowlist_ask(state, &known, now_s);

    buf_init(&value, VALUE_SIZE);
    for (size_t i = 0; r == 0 && i < SCREEN_TESTS_COUNT; i++) {
        if (allow->expires_s[i] > known.expires_s[i]) {
            known.expires_s[i] = allow->expires_s[i];
            changed = true;
        }
        r = pack_i64(&value, known.expires_s[i]);
    }
    if (r == 0 && changed) {
        r = state_put(state, STATE_ALLOWED, make_key(&allow->client, room), bytes_buf(&value));
    }
    buf_free(&value);
    return r;
}

static bool
is_over(struct bytes value, int64_t now_s, const void *context)
{
    int64_t expires_s[SCREEN_TESTS_COUNT];

    (void)context;
    if (!read_value(value, expires_s)) {
        return true;
    }
    for (size_t i = 0; i < SCREEN_TESTS_COUNT; i++) {
        if (expires_s[i] > now_s) {
            return false;
        }
    }
    return true;
}

void
allowlist_sweep(struct state *state, size_t max, int64_t now_s)
{
    (void)state_sweep(state, STATE_ALLOWED, max, now_s, is_over, NULL);
}

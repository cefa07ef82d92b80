/*
 * greylist - see the header. Before: service.c with WIRE_GREYLIST; after: state.c.
 *
 * Entries are written as seldom as the rules allow: a triplet that passed is written again only after a
 * sixteenth of its lifetime, so mail from known senders costs lookups only.
 */
#include "policy/greylist.h"

#include <openssl/sha.h>
#include <string.h>

#include "base/error.h"
#include "base/pack.h"

enum {
    KEY_SIZE = 16, /* of the SHA-256: enough that no two triplets meet */
    NORMAL_MAX = 2 * ENVELOPE_ADDRESS_MAX,
    VALUE_SIZE = 1 + 8 + 8 + 4,
    REFRESH_PARTS = 16,
    IPV4_BITS = 24,
    IPV6_BITS = 64,
};

struct entry {
    bool passed;
    int64_t first_s, last_s;
    uint32_t count; /* clients: triplets that passed */
};

static bool
read_entry(struct bytes value, struct entry *entry_r)
{
    struct unpack u;

    unpack_begin(&u, value);
    entry_r->passed = unpack_u8(&u) != 0;
    entry_r->first_s = unpack_i64(&u);
    entry_r->last_s = unpack_i64(&u);
    entry_r->count = unpack_u32(&u);
    return unpack_end(&u) == 0;
}

static int
get_entry(struct state *state, enum state_table table, struct bytes key, struct entry *entry_r)
{
    struct bytes value;
    int r = state_get(state, table, key, &value);

    *entry_r = (struct entry){0};
    if (r == 0 && !read_entry(value, entry_r)) {
        *entry_r = (struct entry){0};
        return GW_ERR_NOTFOUND; /* not of our making: as if it were not there */
    }
    return r;
}

static int
put_entry(struct state *state, enum state_table table, struct bytes key, const struct entry *entry)
{
    struct buf value;
    int r;

    buf_init(&value, VALUE_SIZE);
    r = pack_u8(&value, entry->passed ? 1 : 0);
    r = r == 0 ? pack_i64(&value, entry->first_s) : r;
    r = r == 0 ? pack_i64(&value, entry->last_s) : r;
    r = r == 0 ? pack_u32(&value, entry->count) : r;
    r = r == 0 ? state_put(state, table, key, bytes_buf(&value)) : r;
    buf_free(&value);
    return r;
}

static bool
is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* BATV: "prvs=0123abcdef=user" is user. */
static struct bytes
without_batv(struct bytes local)
{
    if (bytes_has_prefix_nocase(local, BYTES_LIT("prvs="))) {
        struct bytes tail = bytes_sub(local, 5, local.n);
        ptrdiff_t at = bytes_index(tail, '=');

        if (at >= 0) {
            return bytes_sub(tail, (size_t)at + 1, tail.n);
        }
    }
    return local;
}

/* user+anything@domain: the extension is a tag of the sender's own. */
static void
append_address(struct bytes address, bool digits_alike, struct buf *out)
{
    ptrdiff_t at = bytes_rindex(address, '@');
    struct bytes local = at < 0 ? address : bytes_sub(address, 0, (size_t)at);
    struct bytes domain = at < 0 ? (struct bytes){0} : bytes_sub(address, (size_t)at, address.n);
    size_t start = out->n;

    local = without_batv(local);
    ptrdiff_t plus = bytes_index(local, '+');
    if (plus > 0) {
        local = bytes_sub(local, 0, (size_t)plus);
    }
    for (size_t i = 0; i < local.n; i++) {
        if (!digits_alike || !is_digit(local.p[i])) {
            (void)buf_append_byte(out, local.p[i]);
        } else if (i == 0 || !is_digit(local.p[i - 1])) {
            (void)buf_append_byte(out, '#');
        }
    }
    (void)buf_append_bytes(out, domain);
    ascii_lower(out->p + start, out->n - start);
}

/* "d:example.com" or the masked address. */
static int
append_client(const struct wire_triplet *triplet, struct buf *out)
{
    struct net_addr network = triplet->client;

    if (triplet->client_domain[0] != '\0') {
        size_t start = out->n + 2;
        int r = buf_printf(out, "d:%s", triplet->client_domain);

        if (r == 0) {
            ascii_lower(out->p + start, out->n - start);
        }
        return r;
    }
    net_addr_mask(&network, network.family == AF_INET ? IPV4_BITS : IPV6_BITS);
    int r = buf_append_byte(out, network.family);
    return r == 0 ? buf_append(out, network.ip, sizeof(network.ip)) : r;
}

struct keys {
    uint8_t client[KEY_SIZE], triplet[KEY_SIZE];
};

static void
hash_key(const struct buf *text, uint8_t out[KEY_SIZE])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];

    (void)SHA256(text->p, text->n, digest);
    memcpy(out, digest, KEY_SIZE);
}

static int
make_keys(const struct wire_triplet *triplet, struct keys *keys_r)
{
    struct buf text;
    int r;

    buf_init(&text, 3 * NORMAL_MAX);
    if ((r = append_client(triplet, &text)) == 0) {
        hash_key(&text, keys_r->client);
        if ((r = buf_reserve(&text, triplet->sender.n + triplet->recipient.n + 2)) == 0) {
            (void)buf_append_byte(&text, '\0');
            append_address(triplet->sender, true, &text);
            (void)buf_append_byte(&text, '\0');
            append_address(triplet->recipient, false, &text);
            hash_key(&text, keys_r->triplet);
        }
    }
    buf_free(&text);
    return r;
}

static bool
is_stale(const struct entry *entry, const struct greylist_limits *limits, int64_t now_s)
{
    return entry->passed ? now_s - entry->last_s > limits->lifetime_s
                         : now_s - entry->first_s > limits->retry_window_s;
}

/* Known and used: remembered anew, but not with every message. */
static int
touch(struct state *state, enum state_table table, struct bytes key, struct entry *entry,
      const struct greylist_limits *limits, int64_t now_s)
{
    if (now_s - entry->last_s < limits->lifetime_s / REFRESH_PARTS && now_s >= entry->last_s) {
        return 0;
    }
    entry->last_s = now_s;
    return put_entry(state, table, key, entry);
}

/* A triplet passed for the first time: its client is one step nearer to trust. */
static int
count_client(struct state *state, struct bytes key, int64_t now_s)
{
    struct entry client;
    int r = get_entry(state, STATE_CLIENTS, key, &client);

    if (r != 0 && r != GW_ERR_NOTFOUND) {
        return r;
    }
    client.first_s = r == 0 ? client.first_s : now_s;
    client.passed = true;
    client.last_s = now_s;
    client.count += client.count < UINT32_MAX ? 1 : 0;
    return put_entry(state, STATE_CLIENTS, key, &client);
}

int
greylist_check(struct state *state, const struct greylist_limits *limits, const struct wire_triplet *triplet,
               int64_t now_s, struct wire_greylist_answer *answer_r)
{
    struct keys keys;
    struct entry client, entry;
    int r = make_keys(triplet, &keys);

    *answer_r = (struct wire_greylist_answer){.pass = WIRE_GREYLIST_PASS, .first_s = now_s};
    if (r != 0) {
        return r;
    }
    struct bytes client_key = bytes_of(keys.client, KEY_SIZE), key = bytes_of(keys.triplet, KEY_SIZE);
    r = get_entry(state, STATE_CLIENTS, client_key, &client);
    if (r == 0 && client.count >= GREYLIST_TRUSTED_AFTER && !is_stale(&client, limits, now_s)) {
        answer_r->first_s = client.first_s;
        return touch(state, STATE_CLIENTS, client_key, &client, limits, now_s);
    }
    r = get_entry(state, STATE_TRIPLETS, key, &entry);
    if (r != 0 && r != GW_ERR_NOTFOUND) {
        return r;
    }
    if (r == GW_ERR_NOTFOUND || is_stale(&entry, limits, now_s) || entry.first_s > now_s) {
        entry = (struct entry){.first_s = now_s, .last_s = now_s};
        if ((r = put_entry(state, STATE_TRIPLETS, key, &entry)) != 0) {
            return r; /* cannot be remembered: to wait would be to wait for ever */
        }
    }
    answer_r->first_s = entry.first_s;
    if (entry.passed) {
        return touch(state, STATE_TRIPLETS, key, &entry, limits, now_s);
    }
    if (now_s - entry.first_s < limits->delay_s) {
        answer_r->pass = WIRE_GREYLIST_WAIT;
        answer_r->wait_s = limits->delay_s - (now_s - entry.first_s);
        return 0;
    }
    entry.passed = true;
    entry.last_s = now_s;
    answer_r->pass = WIRE_GREYLIST_FIRST_PASS;
    r = put_entry(state, STATE_TRIPLETS, key, &entry);
    return r == 0 ? count_client(state, client_key, now_s) : r;
}

static bool
is_over(struct bytes value, int64_t now_s, const void *context)
{
    struct entry entry;

    return !read_entry(value, &entry) || is_stale(&entry, context, now_s);
}

void
greylist_sweep(struct state *state, const struct greylist_limits *limits, size_t max, int64_t now_s)
{
    (void)state_sweep(state, STATE_TRIPLETS, max, now_s, is_over, limits);
    (void)state_sweep(state, STATE_CLIENTS, max, now_s, is_over, limits);
}

/*
 * envelope - see the header: building, the byte form, queue ids.
 *
 * Before: receive builds one per message; after: ipc, the queue's store and the journal read the byte form.
 * The first byte is the version of the form: a queue written by an older program is still read.
 */
#include "message/envelope.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/pack.h"

enum {
    ENVELOPE_VERSION = 1,
    ENVELOPE_ARENA_MAX = 64 * 1024 * 1024,
    ENVELOPE_TEXT_MAX = 8192, /* envid, filter, message id */
    RECIPIENTS_FIRST = 4,
};

struct envelope *
envelope_new(void)
{
    struct envelope *envelope = calloc(1, sizeof(*envelope));

    if (envelope != NULL && (envelope->arena = arena_new(ENVELOPE_ARENA_MAX)) == NULL) {
        free(envelope);
        envelope = NULL;
    }
    return envelope;
}

void
envelope_free(struct envelope **envelope)
{
    if (*envelope != NULL) {
        arena_free(&(*envelope)->arena);
        free(*envelope);
        *envelope = NULL;
    }
}

void
envelope_reset(struct envelope *envelope)
{
    struct arena *arena = envelope->arena;
    struct session_facts session = envelope->session;

    arena_reset(arena);
    *envelope = (struct envelope){.arena = arena, .session = session};
}

int
envelope_set_sender(struct envelope *envelope, struct bytes sender)
{
    if (sender.n > ENVELOPE_ADDRESS_MAX) {
        return GW_ERR_LIMIT;
    }
    envelope->sender = arena_dup(envelope->arena, sender);
    return envelope->sender.p == NULL ? GW_ERR_NOMEM : 0;
}

/* The array doubles inside the arena: the old halves are wasted until the message is done, which is cheap. */
static int
grow_recipients(struct envelope *envelope)
{
    size_t count = envelope->recipient_count;

    if (count < RECIPIENTS_FIRST ? count != 0 : (count & (count - 1)) != 0) {
        return 0;
    }
    size_t room = count < RECIPIENTS_FIRST ? RECIPIENTS_FIRST : count * 2;
    struct recipient *grown = arena_alloc(envelope->arena, room * sizeof(*grown));
    if (grown == NULL) {
        return GW_ERR_NOMEM;
    }
    if (count > 0) {
        memcpy(grown, envelope->recipients, count * sizeof(*grown));
    }
    envelope->recipients = grown;
    return 0;
}

int
envelope_add_recipient(struct envelope *envelope, struct bytes address, struct bytes original, uint8_t notify,
                       struct bytes dsn_orcpt)
{
    int r;

    if (address.n > ENVELOPE_ADDRESS_MAX || original.n > ENVELOPE_ADDRESS_MAX ||
        dsn_orcpt.n > ENVELOPE_ADDRESS_MAX || envelope->recipient_count >= ENVELOPE_RECIPIENTS_MAX) {
        return GW_ERR_LIMIT;
    }
    if ((r = grow_recipients(envelope)) != 0) {
        return r;
    }
    struct recipient recipient = {.address = arena_dup(envelope->arena, address),
                                  .original = arena_dup(envelope->arena, original),
                                  .notify = notify};
    if (dsn_orcpt.n > 0) {
        recipient.dsn_orcpt = arena_dup(envelope->arena, dsn_orcpt);
    }
    if (recipient.address.p == NULL || recipient.original.p == NULL ||
        (dsn_orcpt.n > 0 && recipient.dsn_orcpt.p == NULL)) {
        return GW_ERR_NOMEM;
    }
    envelope->recipients[envelope->recipient_count++] = recipient;
    return 0;
}

enum { FLAG_SMTPUTF8 = 1, FLAG_LOCAL = 2, FLAG_HOLD = 4 };

static int
pack_head(struct buf *buf, const struct envelope *envelope)
{
    uint8_t flags = (uint8_t)((envelope->smtputf8 ? FLAG_SMTPUTF8 : 0) |
                              (envelope->local_origin ? FLAG_LOCAL : 0) | (envelope->hold ? FLAG_HOLD : 0));
    const struct bytes texts[] = {envelope->sender, envelope->dsn_envid, envelope->content_filter,
                                  envelope->redirect, envelope->message_id};
    int r = pack_u8(buf, ENVELOPE_VERSION);

    r = r == 0 ? pack_str(buf, envelope->queue_id) : r;
    r = r == 0 ? pack_u64(buf, envelope->size) : r;
    r = r == 0 ? pack_i64(buf, envelope->arrival_us) : r;
    r = r == 0 ? pack_u8(buf, envelope->body) : r;
    r = r == 0 ? pack_u8(buf, flags) : r;
    r = r == 0 ? pack_u8(buf, (uint8_t)envelope->dsn_ret) : r;
    for (size_t i = 0; r == 0 && i < sizeof(texts) / sizeof(texts[0]); i++) {
        r = pack_bytes(buf, texts[i]);
    }
    return r == 0 ? session_facts_pack(buf, &envelope->session) : r;
}

int
envelope_pack(struct buf *buf, const struct envelope *envelope)
{
    int r = pack_head(buf, envelope);

    r = r == 0 ? pack_u32(buf, (uint32_t)envelope->recipient_count) : r;
    for (size_t i = 0; r == 0 && i < envelope->recipient_count; i++) {
        const struct recipient *recipient = &envelope->recipients[i];

        r = pack_bytes(buf, recipient->address);
        r = r == 0 ? pack_bytes(buf, recipient->original) : r;
        r = r == 0 ? pack_bytes(buf, recipient->dsn_orcpt) : r;
        r = r == 0 ? pack_u8(buf, recipient->notify) : r;
    }
    return r;
}

static struct bytes
take_text(struct envelope *envelope, struct unpack *u, size_t max)
{
    struct bytes v = unpack_bytes(u, max);

    if (v.n == 0) {
        return (struct bytes){0};
    }
    struct bytes copy = arena_dup(envelope->arena, v);
    if (copy.p == NULL) {
        u->error = GW_ERR_NOMEM;
    }
    return copy;
}

static void
unpack_head(struct unpack *u, struct envelope *envelope)
{
    if (unpack_u8(u) != ENVELOPE_VERSION) {
        u->error = GW_ERR_SYNTAX;
    }
    unpack_str(u, envelope->queue_id, sizeof(envelope->queue_id));
    envelope->size = unpack_u64(u);
    envelope->arrival_us = unpack_i64(u);
    envelope->body = unpack_u8(u);
    uint8_t flags = unpack_u8(u);
    envelope->smtputf8 = (flags & FLAG_SMTPUTF8) != 0;
    envelope->local_origin = (flags & FLAG_LOCAL) != 0;
    envelope->hold = (flags & FLAG_HOLD) != 0;
    envelope->dsn_ret = (char)unpack_u8(u);
    envelope->sender = take_text(envelope, u, ENVELOPE_ADDRESS_MAX);
    envelope->dsn_envid = take_text(envelope, u, ENVELOPE_TEXT_MAX);
    envelope->content_filter = take_text(envelope, u, ENVELOPE_TEXT_MAX);
    envelope->redirect = take_text(envelope, u, ENVELOPE_TEXT_MAX);
    envelope->message_id = take_text(envelope, u, ENVELOPE_TEXT_MAX);
    session_facts_unpack(u, &envelope->session);
}

int
envelope_unpack(struct bytes packed, struct envelope **envelope_r)
{
    struct envelope *envelope = envelope_new();
    struct unpack u;
    int r = GW_ERR_NOMEM;

    *envelope_r = NULL;
    if (envelope == NULL) {
        return r;
    }
    unpack_begin(&u, packed);
    unpack_head(&u, envelope);
    uint32_t count = unpack_u32(&u);
    if (count > ENVELOPE_RECIPIENTS_MAX || envelope->body > BODY_BINARYMIME) {
        u.error = GW_ERR_SYNTAX;
    }
    for (uint32_t i = 0; i < count && u.error == 0; i++) {
        struct bytes address = unpack_bytes(&u, ENVELOPE_ADDRESS_MAX);
        struct bytes original = unpack_bytes(&u, ENVELOPE_ADDRESS_MAX);
        struct bytes orcpt = unpack_bytes(&u, ENVELOPE_ADDRESS_MAX);
        uint8_t notify = unpack_u8(&u);

        if (u.error == 0 && (r = envelope_add_recipient(envelope, address, original, notify, orcpt)) != 0) {
            u.error = r;
        }
    }
    if ((r = unpack_end(&u)) == 0) {
        *envelope_r = envelope;
        envelope = NULL; /* transferred */
    }
    envelope_free(&envelope);
    return r;
}

/* Digits of a number in base 52 or 51 over Postfix's alphabet: no vowels, so that no word is ever spelled. */
static size_t
put_number(char *out, uint64_t value, unsigned base, size_t width)
{
    static const char DIGITS[] = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";
    char reversed[16];
    size_t n = 0;

    do {
        reversed[n++] = DIGITS[value % base];
        value /= base;
    } while (value > 0 && n < sizeof(reversed));
    while (n < width) {
        reversed[n++] = DIGITS[0];
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = reversed[n - 1 - i];
    }
    return n;
}

void
queue_id_make(char out[QUEUE_ID_MAX], int64_t wall_us, uint64_t unique)
{
    size_t n = put_number(out, (uint64_t)wall_us / 1000000, 52, 6);

    n += put_number(out + n, (uint64_t)wall_us % 1000000, 52, 4);
    out[n++] = 'z';
    n += put_number(out + n, unique, 51, 1);
    out[n] = '\0';
}

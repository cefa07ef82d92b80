/*
 * wire_policy - the forms that screen and receive exchange with each other and with the policy role.
 */
#include "base/error.h"
#include "message/wire.h"
#include "message/wire_addr.h"

enum { NOTICE_TEXT_MAX = 120 * 1024, EVIDENCE_MAX = 250 * 1024 };

int
wire_handover_pack(struct buf *buf, const struct wire_handover *handover)
{
    int r = wire_addr_pack(buf, &handover->client);

    r = r == 0 ? wire_addr_pack(buf, &handover->server) : r;
    r = r == 0 ? pack_str(buf, handover->service) : r;
    r = r == 0 ? pack_u32(buf, (uint32_t)handover->dnsbl_score) : r;
    r = r == 0 ? pack_u32(buf, handover->tests_passed) : r;
    r = r == 0 ? pack_u32(buf, handover->tests_pending) : r;
    r = r == 0 ? pack_u8(buf, handover->teaser_sent ? 1 : 0) : r;
    return r == 0 ? pack_bytes(buf, handover->evidence) : r;
}

int
wire_handover_unpack(struct bytes payload, struct wire_handover *handover_r)
{
    struct unpack u;

    *handover_r = (struct wire_handover){0};
    unpack_begin(&u, payload);
    wire_addr_unpack(&u, &handover_r->client);
    wire_addr_unpack(&u, &handover_r->server);
    unpack_str(&u, handover_r->service, sizeof(handover_r->service));
    handover_r->dnsbl_score = (int32_t)unpack_u32(&u);
    handover_r->tests_passed = unpack_u32(&u);
    handover_r->tests_pending = unpack_u32(&u);
    handover_r->teaser_sent = unpack_u8(&u) != 0;
    handover_r->evidence = unpack_bytes(&u, EVIDENCE_MAX);
    return unpack_end(&u);
}

int
wire_allow_pack(struct buf *buf, const struct wire_allow *allow)
{
    int r = wire_addr_pack(buf, &allow->client);

    for (size_t i = 0; r == 0 && i < SCREEN_TESTS_COUNT; i++) {
        r = pack_i64(buf, allow->expires_s[i]);
    }
    return r;
}

int
wire_allow_unpack(struct bytes payload, struct wire_allow *allow_r)
{
    struct unpack u;

    unpack_begin(&u, payload);
    wire_addr_unpack(&u, &allow_r->client);
    for (size_t i = 0; i < SCREEN_TESTS_COUNT; i++) {
        allow_r->expires_s[i] = unpack_i64(&u);
    }
    return unpack_end(&u);
}

int
wire_triplet_pack(struct buf *buf, const struct wire_triplet *triplet)
{
    int r = wire_addr_pack(buf, &triplet->client);

    r = r == 0 ? pack_bytes(buf, triplet->sender) : r;
    r = r == 0 ? pack_bytes(buf, triplet->recipient) : r;
    return r == 0 ? pack_str(buf, triplet->client_domain) : r;
}

int
wire_triplet_unpack(struct bytes payload, struct wire_triplet *triplet_r)
{
    struct unpack u;

    *triplet_r = (struct wire_triplet){0};
    unpack_begin(&u, payload);
    wire_addr_unpack(&u, &triplet_r->client);
    triplet_r->sender = unpack_bytes(&u, ENVELOPE_ADDRESS_MAX);
    triplet_r->recipient = unpack_bytes(&u, ENVELOPE_ADDRESS_MAX);
    unpack_str(&u, triplet_r->client_domain, sizeof(triplet_r->client_domain));
    return unpack_end(&u);
}

int
wire_greylist_answer_pack(struct buf *buf, const struct wire_greylist_answer *answer)
{
    int r = pack_u8(buf, answer->pass);

    r = r == 0 ? pack_i64(buf, answer->wait_s) : r;
    return r == 0 ? pack_i64(buf, answer->first_s) : r;
}

int
wire_greylist_answer_unpack(struct bytes payload, struct wire_greylist_answer *answer_r)
{
    struct unpack u;

    unpack_begin(&u, payload);
    answer_r->pass = unpack_u8(&u);
    answer_r->wait_s = unpack_i64(&u);
    answer_r->first_s = unpack_i64(&u);
    return unpack_end(&u);
}

int
wire_notice_pack(struct buf *buf, const struct wire_notice *notice)
{
    int r = pack_u8(buf, notice->class);

    r = r == 0 ? pack_str(buf, notice->key) : r;
    return r == 0 ? pack_bytes(buf, bytes_sub(notice->text, 0, NOTICE_TEXT_MAX)) : r;
}

int
wire_notice_unpack(struct bytes payload, struct wire_notice *notice_r)
{
    struct unpack u;

    unpack_begin(&u, payload);
    notice_r->class = unpack_u8(&u);
    unpack_str(&u, notice_r->key, sizeof(notice_r->key));
    notice_r->text = unpack_bytes(&u, NOTICE_TEXT_MAX);
    return notice_r->class < NOTICE_CLASSES ? unpack_end(&u) : GW_ERR_SYNTAX;
}

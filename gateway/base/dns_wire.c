/*
 * dns_wire - the byte form of queries and answers between the resolver and everybody else.
 */
#include <stdlib.h>
#include <string.h>

#include "base/dns.h"
#include "base/error.h"
#include "base/pack.h"

enum { BUDGET_MS_MAX = 120000 };

int
dns_wire_put_query(struct buf *buf, const char *name, enum dns_type type, uint32_t budget_ms)
{
    int r = pack_str(buf, name);

    r = r == 0 ? pack_u16(buf, (uint16_t)type) : r;
    return r == 0 ? pack_u32(buf, budget_ms) : r;
}

int
dns_wire_get_query(struct bytes payload, char name_r[DNS_NAME_MAX + 1], enum dns_type *type_r,
                   uint32_t *budget_ms_r)
{
    struct unpack u;

    unpack_begin(&u, payload);
    unpack_str(&u, name_r, DNS_NAME_MAX + 1);
    *type_r = (enum dns_type)unpack_u16(&u);
    *budget_ms_r = unpack_u32(&u);
    if (*budget_ms_r > BUDGET_MS_MAX) {
        *budget_ms_r = BUDGET_MS_MAX;
    }
    return name_r[0] == '\0' ? GW_ERR_SYNTAX : unpack_end(&u);
}

int
dns_wire_put_answer(struct buf *buf, const struct dns_answer *answer)
{
    int r = pack_u8(buf, (uint8_t)answer->status);

    r = r == 0 ? pack_u8(buf, answer->secure ? 1 : 0) : r;
    r = r == 0 ? pack_u32(buf, answer->ttl) : r;
    r = r == 0 ? pack_u8(buf, answer->rcode) : r;
    r = r == 0 ? pack_str(buf, answer->canonical) : r;
    r = r == 0 ? pack_u16(buf, (uint16_t)answer->record_count) : r;
    for (size_t i = 0; r == 0 && i < answer->record_count; i++) {
        const struct dns_record *record = &answer->records[i];

        r = pack_bytes(buf, record->data);
        r = r == 0 ? pack_u16(buf, record->preference) : r;
        r = r == 0 ? pack_u8(buf, record->name != NULL ? 1 : 0) : r;
        r = r == 0 && record->name != NULL ? pack_str(buf, record->name) : r;
    }
    return r;
}

static int
take_record(struct unpack *u, struct dns_record *record)
{
    struct bytes data = unpack_bytes(u, DNS_ANSWER_BYTES_MAX);
    uint8_t *copy = malloc(data.n + 1);

    if (copy == NULL) {
        return GW_ERR_NOMEM;
    }
    if (data.n > 0) {
        memcpy(copy, data.p, data.n);
    }
    copy[data.n] = '\0';
    record->data = bytes_of(copy, data.n);
    record->preference = unpack_u16(u);
    if (unpack_u8(u) != 0) {
        record->name = bytes_dup_str(unpack_bytes(u, DNS_NAME_MAX));
        if (record->name == NULL) {
            return GW_ERR_SYNTAX;
        }
    }
    return u->error;
}

int
dns_wire_get_answer(struct bytes payload, struct dns_answer **answer_r)
{
    struct dns_answer *answer = calloc(1, sizeof(*answer));
    struct unpack u;
    int r = GW_ERR_NOMEM;

    *answer_r = NULL;
    if (answer == NULL) {
        return r;
    }
    unpack_begin(&u, payload);
    uint8_t status = unpack_u8(&u);
    answer->status = status <= DNS_NXDOMAIN ? (enum dns_status)status : DNS_TEMPFAIL;
    answer->secure = unpack_u8(&u) != 0;
    answer->ttl = unpack_u32(&u);
    answer->rcode = unpack_u8(&u);
    unpack_str(&u, answer->canonical, sizeof(answer->canonical));
    size_t count = unpack_u16(&u);
    if (u.error != 0 || count > DNS_RECORDS_MAX) {
        r = GW_ERR_SYNTAX;
        goto out;
    }
    answer->records = calloc(count + 1, sizeof(*answer->records));
    if (answer->records == NULL) {
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        answer->record_count++;
        if ((r = take_record(&u, &answer->records[i])) != 0) {
            goto out;
        }
    }
    if ((r = unpack_end(&u)) == 0) {
        *answer_r = answer;
        answer = NULL; /* transferred */
    }
out:
    dns_answer_free(&answer);
    return r;
}

void
dns_answer_free(struct dns_answer **answer)
{
    if (*answer == NULL) {
        return;
    }
    for (size_t i = 0; i < (*answer)->record_count; i++) {
        free((void *)(uintptr_t)(*answer)->records[i].data.p);
        free((*answer)->records[i].name);
    }
    free((*answer)->records);
    free(*answer);
    *answer = NULL;
}

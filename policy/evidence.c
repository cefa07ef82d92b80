/*
 * evidence - see the header; the byte form is gateway/doc/evidence.md.
 *
 * Before: screen, receive, queue, relay, deliver, one record per session or delivery. After: journal.c keeps
 * the bytes as they are, `estafeta why` reads them. Adding an event is on the path of every message: one
 * reservation and plain copies. A client cannot push the decision about its own mail out of the record by
 * talking a lot: the kinds that decide have a share of the room to themselves. Reading trusts nothing: every
 * length is checked.
 */
#include "policy/evidence.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"

enum {
    FIRST_ROOM = 2048,      /* bytes; what an ordinary session needs */
    DECISION_SHARE = 16384, /* of EVIDENCE_RECORD_MAX, for the kinds that decide */
    VARINT_MAX = 10,        /* bytes of 64 bits in groups of 7 */
    TEXTS = 4,
    SIZE_FIELD = 2,
    DROPPED_AT = 1, /* the u32 behind the version */
    HEAD_FIXED = 1 + 4 + 8,
};

static const struct {
    const char *name;
    bool decides;
} KINDS[EV_KINDS] = {
    [0] = {"none", false},
    [EV_CONNECT] = {"connect", true},
    [EV_SCREEN] = {"screen", true},
    [EV_COMMAND] = {"command", false},
    [EV_LOOKUP] = {"lookup", false},
    [EV_DNS] = {"dns", false},
    [EV_RESTRICTION] = {"restriction", false},
    [EV_GREYLIST] = {"greylist", false},
    [EV_SCAN] = {"scan", true},
    [EV_VERDICT] = {"verdict", true},
    [EV_QUEUE] = {"queue", true},
    [EV_DELIVERY] = {"delivery", true},
    [EV_QUARANTINE] = {"quarantine", true},
    [EV_NOTE] = {"note", false},
};

const char *
evidence_kind_name(uint8_t kind)
{
    return kind < EV_KINDS && KINDS[kind].name != NULL ? KINDS[kind].name : "unknown";
}

static void
put_be(uint8_t *p, uint64_t v, size_t width)
{
    for (size_t i = 0; i < width; i++) {
        p[i] = (uint8_t)(v >> (8 * (width - 1 - i)));
    }
}

static uint8_t *
put_short_text(uint8_t *p, const char *text, size_t max)
{
    size_t n = strnlen(text, max);

    *p++ = (uint8_t)n;
    memcpy(p, text, n);
    return p + n;
}

int
evidence_begin(struct evidence *evidence, const char *ident, const char *role)
{
    const struct evidence_head *limits = NULL; /* for sizeof only */

    *evidence = (struct evidence){.started_us = clock_monotonic_us()};
    buf_init(&evidence->record, EVIDENCE_RECORD_MAX);
    int r = buf_reserve(&evidence->record, FIRST_ROOM);
    if (r != 0) {
        return r; /* no record: every event will be counted as dropped */
    }
    uint8_t *p = evidence->record.p;
    *p++ = EVIDENCE_VERSION;
    put_be(p, 0, 4);
    put_be(p + 4, (uint64_t)clock_wall_us(), 8);
    p = put_short_text(p + 12, ident, sizeof(limits->ident) - 1);
    p = put_short_text(p, role, sizeof(limits->role) - 1);
    evidence->record.n = (size_t)(p - evidence->record.p);
    *p = '\0';
    return 0;
}

void
evidence_free(struct evidence *evidence)
{
    buf_free(&evidence->record);
    evidence->dropped = 0;
}

static uint8_t *
put_varint(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

static uint8_t *
put_text(uint8_t *p, struct bytes v)
{
    p = put_varint(p, v.n);
    if (v.n > 0) {
        memcpy(p, v.p, v.n);
    }
    return p + v.n;
}

/* Small negative numbers stay small: 0, -1, 1, -2 ... become 0, 1, 2, 3 ... */
static uint64_t
zigzag(int64_t v)
{
    return v < 0 ? ((uint64_t)~v << 1) | 1 : (uint64_t)v << 1;
}

static int64_t
unzigzag(uint64_t v)
{
    return (v & 1) != 0 ? ~(int64_t)(v >> 1) : (int64_t)(v >> 1);
}

static void
count_dropped(struct evidence *evidence)
{
    if (evidence->dropped < UINT32_MAX) {
        evidence->dropped++;
    }
    if (evidence->record.n > DROPPED_AT + 4) {
        put_be(evidence->record.p + DROPPED_AT, evidence->dropped, 4);
    }
}

void
evidence_add(struct evidence *evidence, enum evidence_kind kind, struct bytes subject, struct bytes key,
             struct bytes value, struct bytes detail, int64_t number)
{
    struct bytes texts[TEXTS] = {subject, key, value, detail};
    size_t most = SIZE_FIELD + 1 + 2 * VARINT_MAX;

    if (evidence == NULL) {
        return;
    }
    for (size_t i = 0; i < TEXTS; i++) {
        texts[i] = bytes_sub(texts[i], 0, EVIDENCE_TEXT_MAX);
        most += VARINT_MAX + texts[i].n;
    }
    size_t limit = KINDS[kind].decides ? EVIDENCE_RECORD_MAX : EVIDENCE_RECORD_MAX - DECISION_SHARE;
    if (evidence->record.n == 0 || evidence->record.n + most > limit ||
        buf_reserve(&evidence->record, most) != 0) {
        count_dropped(evidence);
        return;
    }
    uint8_t *start = evidence->record.p + evidence->record.n, *p = start + SIZE_FIELD;
    int64_t offset = clock_monotonic_us() - evidence->started_us;
    *p++ = (uint8_t)kind;
    p = put_varint(p, offset > 0 ? (uint64_t)offset : 0);
    p = put_varint(p, zigzag(number));
    for (size_t i = 0; i < TEXTS; i++) {
        p = put_text(p, texts[i]);
    }
    put_be(start, (uint64_t)(p - start - SIZE_FIELD), SIZE_FIELD);
    evidence->record.n += (size_t)(p - start);
    *p = '\0';
}

static uint64_t
get_be(struct bytes v, size_t at, size_t width)
{
    uint64_t value = 0;

    for (size_t i = 0; i < width; i++) {
        value = value << 8 | v.p[at + i];
    }
    return value;
}

static int
get_short_text(struct bytes *rest, char *out, size_t size)
{
    if (rest->n == 0 || rest->p[0] >= size || rest->n - 1 < rest->p[0]) {
        return GW_ERR_SYNTAX;
    }
    struct bytes text = bytes_sub(*rest, 1, rest->p[0]);
    if (bytes_index(text, '\0') >= 0) {
        return GW_ERR_SYNTAX;
    }
    if (text.n > 0) {
        memcpy(out, text.p, text.n);
    }
    out[text.n] = '\0';
    *rest = bytes_sub(*rest, 1 + text.n, rest->n);
    return 0;
}

int
evidence_read_head(struct bytes *rest, struct evidence_head *head_r)
{
    struct evidence_head head = {0};

    *head_r = head;
    if (rest->n < HEAD_FIXED || rest->p[0] != EVIDENCE_VERSION) {
        return GW_ERR_SYNTAX;
    }
    head.version = rest->p[0];
    head.dropped = (uint32_t)get_be(*rest, DROPPED_AT, 4);
    head.wall_us = (int64_t)get_be(*rest, DROPPED_AT + 4, 8);
    struct bytes tail = bytes_sub(*rest, HEAD_FIXED, rest->n);
    int r = get_short_text(&tail, head.ident, sizeof(head.ident));
    if (r == 0) {
        r = get_short_text(&tail, head.role, sizeof(head.role));
    }
    if (r == 0) {
        *rest = tail;
        *head_r = head;
    }
    return r;
}

static int
get_varint(struct bytes *rest, uint64_t *value_r)
{
    uint64_t value = 0;

    for (size_t i = 0; i < rest->n && i < VARINT_MAX; i++) {
        uint64_t group = rest->p[i] & 0x7f;

        if (i == VARINT_MAX - 1 && group > 1) {
            return GW_ERR_SYNTAX; /* more than 64 bits */
        }
        value |= group << (7 * i);
        if ((rest->p[i] & 0x80) == 0) {
            *rest = bytes_sub(*rest, i + 1, rest->n);
            *value_r = value;
            return 0;
        }
    }
    return GW_ERR_SYNTAX;
}

static int
get_text(struct bytes *rest, struct bytes *text_r)
{
    uint64_t n;

    if (get_varint(rest, &n) != 0 || n > rest->n || n > EVIDENCE_TEXT_MAX) {
        return GW_ERR_SYNTAX;
    }
    *text_r = bytes_sub(*rest, 0, (size_t)n);
    *rest = bytes_sub(*rest, (size_t)n, rest->n);
    return 0;
}

int
evidence_read_event(struct bytes *rest, struct evidence_event *event_r)
{
    struct evidence_event event = {0};
    struct bytes *texts[TEXTS] = {&event.subject, &event.key, &event.value, &event.detail};
    uint64_t offset, number;

    *event_r = event;
    if (rest->n == 0) {
        return 0;
    }
    if (rest->n < SIZE_FIELD + 1) {
        return GW_ERR_SYNTAX;
    }
    size_t n = (size_t)get_be(*rest, 0, SIZE_FIELD);
    if (n == 0 || n > rest->n - SIZE_FIELD) {
        return GW_ERR_SYNTAX;
    }
    struct bytes body = bytes_sub(*rest, SIZE_FIELD, n);
    event.kind = body.p[0];
    body = bytes_sub(body, 1, body.n);
    if (event.kind == 0 || get_varint(&body, &offset) != 0 || offset > INT64_MAX ||
        get_varint(&body, &number) != 0) {
        return GW_ERR_SYNTAX;
    }
    event.offset_us = (int64_t)offset;
    event.number = unzigzag(number);
    for (size_t i = 0; i < TEXTS; i++) {
        if (get_text(&body, texts[i]) != 0) {
            return GW_ERR_SYNTAX;
        }
    }
    if (body.n != 0) {
        return GW_ERR_SYNTAX;
    }
    *rest = bytes_sub(*rest, SIZE_FIELD + n, rest->n);
    *event_r = event;
    return 1;
}

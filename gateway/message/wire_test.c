/*
 * wire_test - the table of rules against the graph of roles, and each form there and back, cut short, and
 * with a byte too many.
 */
#include "message/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dns.h"
#include "base/error.h"

static int failures;

#define CHECK(cond)                                                 \
    do {                                                            \
        if (!(cond)) {                                              \
            (void)printf("%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                             \
        }                                                           \
    } while (0)

/* Reads a form; when it is whole, compares it with what was written. Returns the error. */
typedef int read_form(struct bytes payload);

/* Whole: 0. Any piece of it, or one byte more: an error, and nothing read outside. */
static void
check_form(struct buf *packed, read_form *read)
{
    CHECK(read(bytes_buf(packed)) == 0);
    for (size_t n = 0; n < packed->n; n++) {
        uint8_t *cut = malloc(n > 0 ? n : 1);

        if (cut == NULL) {
            exit(2);
        }
        memcpy(cut, packed->p, n);
        CHECK(read(bytes_of(cut, n)) < 0);
        free(cut);
    }
    CHECK(buf_append_byte(packed, 0) == 0);
    CHECK(read(bytes_buf(packed)) < 0);
    buf_clear(packed);
}

static const struct wire_status STATUS = {.code = GW_ERR_FULL, .detail = "disk full"};
static int
read_status(struct bytes payload)
{
    struct wire_status got;
    int r = wire_status_unpack(payload, &got);

    CHECK(r != 0 || (got.code == GW_ERR_FULL && strcmp(got.detail, "disk full") == 0));
    return r;
}

static struct wire_handover
make_handover(void)
{
    struct wire_handover handover = {.service = "smtpd",
                                     .dnsbl_score = -3,
                                     .tests_passed = SCREEN_PREGREET | SCREEN_DNSBL,
                                     .tests_pending = SCREEN_BARELF,
                                     .teaser_sent = true,
                                     .evidence = BYTES_LIT("ev\0dence")};

    CHECK(net_addr_parse(BYTES_LIT("192.0.2.1"), &handover.client) == 0);
    CHECK(net_addr_parse(BYTES_LIT("2001:db8::25"), &handover.server) == 0);
    handover.client.port = 65535;
    return handover;
}

static int
read_handover(struct bytes payload)
{
    struct wire_handover want = make_handover(), got;
    int r = wire_handover_unpack(payload, &got);

    CHECK(r != 0 || (net_addr_equal(&got.client, &want.client) && got.client.port == 65535 &&
                     net_addr_equal(&got.server, &want.server) && strcmp(got.service, "smtpd") == 0 &&
                     got.dnsbl_score == -3 && got.tests_passed == want.tests_passed &&
                     got.tests_pending == want.tests_pending && got.teaser_sent &&
                     bytes_equal(got.evidence, want.evidence)));
    return r;
}

static int
read_allow(struct bytes payload)
{
    struct wire_allow got;
    int r = wire_allow_unpack(payload, &got);

    for (int i = 0; r == 0 && i < SCREEN_TESTS_COUNT; i++) {
        CHECK(got.expires_s[i] == (int64_t)i - 2);
    }
    return r;
}

static int
read_triplet(struct bytes payload)
{
    struct wire_triplet got;
    int r = wire_triplet_unpack(payload, &got);

    CHECK(r != 0 ||
          (bytes_equal(got.sender, BYTES_LIT("a@b")) && bytes_equal(got.recipient, BYTES_LIT("c@d")) &&
           strcmp(got.client_domain, "example.com") == 0 && got.client.ip[3] == 9));
    return r;
}

static int
read_answer(struct bytes payload)
{
    struct wire_greylist_answer got;
    int r = wire_greylist_answer_unpack(payload, &got);

    CHECK(r != 0 || (got.pass == 1 && got.wait_s == -1 && got.first_s == 1795240908));
    return r;
}

static int
read_notice(struct bytes payload)
{
    struct wire_notice got;
    int r = wire_notice_unpack(payload, &got);

    CHECK(r != 0 || (got.class == NOTICE_ALARM && strcmp(got.key, "clamav") == 0 &&
                     bytes_equal(got.text, BYTES_LIT("no signatures"))));
    return r;
}

static void
test_policy_forms(void)
{
    struct wire_handover handover = make_handover();
    struct wire_allow allow = {.expires_s = {-2, -1, 0, 1, 2}};
    struct wire_triplet triplet = {.sender = BYTES_LIT("a@b"),
                                   .recipient = BYTES_LIT("c@d"),
                                   .client_domain = "example.com",
                                   .client = {.family = AF_INET, .ip = {192, 0, 2, 9}}};
    struct wire_greylist_answer answer = {.pass = 1, .wait_s = -1, .first_s = 1795240908};
    struct wire_notice notice = {.class = NOTICE_ALARM, .key = "clamav", .text = BYTES_LIT("no signatures")};
    struct buf packed;

    buf_init(&packed, 1024 * 1024);
    CHECK(wire_status_pack(&packed, &STATUS) == 0);
    check_form(&packed, read_status);
    CHECK(wire_handover_pack(&packed, &handover) == 0);
    check_form(&packed, read_handover);
    CHECK(wire_allow_pack(&packed, &allow) == 0);
    check_form(&packed, read_allow);
    CHECK(wire_triplet_pack(&packed, &triplet) == 0);
    check_form(&packed, read_triplet);
    CHECK(wire_greylist_answer_pack(&packed, &answer) == 0);
    check_form(&packed, read_answer);
    CHECK(wire_notice_pack(&packed, &notice) == 0);
    check_form(&packed, read_notice);
    notice.class = NOTICE_CLASSES;
    CHECK(wire_notice_pack(&packed, &notice) == 0 && read_notice(bytes_buf(&packed)) == GW_ERR_SYNTAX);
    buf_free(&packed);
}

static struct envelope *
make_envelope(void)
{
    struct envelope *envelope = envelope_new();

    if (envelope == NULL || envelope_set_sender(envelope, BYTES_LIT("a@b")) != 0 ||
        envelope_add_recipient(envelope, BYTES_LIT("c@d"), BYTES_LIT("c@d"), 0, (struct bytes){0}) != 0 ||
        envelope_add_recipient(envelope, BYTES_LIT("e@f"), BYTES_LIT("e@f"), 0, (struct bytes){0}) != 0) {
        exit(2);
    }
    return envelope;
}

static int
read_worker(struct bytes payload)
{
    struct wire_worker got;
    int r = wire_worker_unpack(payload, &got);

    CHECK(r != 0 || got.slot == 513);
    return r;
}

static int
read_job(struct bytes payload)
{
    struct wire_job got;
    int r = wire_job_unpack(payload, &got);

    if (r == 0) {
        CHECK(strcmp(got.transport, "relay") == 0 && bytes_equal(got.nexthop, BYTES_LIT("[mx.example]:25")));
        CHECK(got.envelope->recipient_count == 2 && got.recipient_numbers[0] == 7 &&
              got.recipient_numbers[1] == 49999);
        CHECK(bytes_equal(got.envelope->recipients[1].address, BYTES_LIT("e@f")));
        wire_job_clear(&got);
    }
    CHECK(got.envelope == NULL && got.recipient_numbers == NULL);
    return r;
}

static int
read_result(struct bytes payload)
{
    struct arena *arena = arena_new(1024 * 1024);
    struct wire_result got;
    int r = arena == NULL ? GW_ERR_NOMEM : wire_result_unpack(arena, payload, &got);

    CHECK(r != 0 ||
          (got.count == 2 && got.recipients[0].number == 7 && got.recipients[0].status == DELIVERY_SENT &&
           strcmp(got.recipients[0].dsn, "2.0.0") == 0 &&
           bytes_equal(got.recipients[0].reply, BYTES_LIT("250 Ok")) &&
           got.recipients[1].status == DELIVERY_DEFERRED &&
           bytes_equal(got.recipients[1].remote_mta, BYTES_LIT("mx.example")) &&
           strcmp(got.relay, "mx.example[192.0.2.1]:25") == 0 && got.connect_us == 5 && got.site_down == 1 &&
           got.expanded.n == 0));
    arena_free(&arena);
    return r;
}

static int
read_scan(struct bytes payload)
{
    struct wire_scan got;
    int r = wire_scan_unpack(payload, &got);

    CHECK(r != 0 || (got.trusted && got.budget_ms == 30000 && got.envelope->recipient_count == 2));
    envelope_free(&got.envelope);
    return r;
}

static void
test_queue_forms(void)
{
    struct envelope *envelope = make_envelope();
    uint16_t numbers[2] = {7, 49999};
    struct wire_worker worker = {.slot = 513};
    struct wire_job job = {.transport = "relay",
                           .nexthop = BYTES_LIT("[mx.example]:25"),
                           .envelope = envelope,
                           .recipient_numbers = numbers};
    struct wire_recipient_result recipients[2] = {
        {.number = 7, .status = DELIVERY_SENT, .dsn = "2.0.0", .reply = BYTES_LIT("250 Ok")},
        {.number = 49999, .dsn = "4.4.1", .remote_mta = BYTES_LIT("mx.example")}};
    struct wire_result result = {.recipients = recipients,
                                 .count = 2,
                                 .relay = "mx.example[192.0.2.1]:25",
                                 .connect_us = 5,
                                 .site_down = 1};
    struct wire_scan scan = {.envelope = envelope, .trusted = true, .budget_ms = 30000};
    struct buf packed;

    buf_init(&packed, 1024 * 1024);
    CHECK(wire_worker_pack(&packed, &worker) == 0);
    check_form(&packed, read_worker);
    CHECK(wire_job_pack(&packed, &job) == 0);
    check_form(&packed, read_job);
    CHECK(wire_result_pack(&packed, &result) == 0);
    check_form(&packed, read_result);
    recipients[0].status = DELIVERY_EXPANDED + 1;
    CHECK(wire_result_pack(&packed, &result) == 0 && read_result(bytes_buf(&packed)) == GW_ERR_SYNTAX);
    buf_clear(&packed);
    CHECK(wire_scan_pack(&packed, &scan) == 0);
    check_form(&packed, read_scan);
    buf_free(&packed);
    envelope_free(&envelope);
}

static const struct ipc_rule *
find_rule(uint16_t type, enum role from, enum role to)
{
    const struct ipc_rule *found = NULL;

    for (const struct ipc_rule *rule = IPC_RULES; rule->type != 0; rule++) {
        if (rule->type == type && rule->from == from && rule->to == to) {
            CHECK(found == NULL); /* one rule per type and direction */
            found = rule;
        }
    }
    return found;
}

/* A message goes only where one of the two may connect to the other; what is asked can be answered. */
static void
test_rules(void)
{
    static const struct {
        uint16_t ask, answer;
    } PAIRS[] = {{DNS_IPC_QUERY, DNS_IPC_ANSWER},
                 {WIRE_SUBMIT, WIRE_SUBMITTED},
                 {WIRE_SCAN, WIRE_REPORT},
                 {WIRE_GREYLIST, WIRE_GREYLIST_ANSWER},
                 {WIRE_ALLOW_ASK, WIRE_ALLOW_ANSWER},
                 {WIRE_QUARANTINE, WIRE_QUARANTINED},
                 {WIRE_CTL_ASK, WIRE_CTL_END}};

    for (const struct ipc_rule *rule = IPC_RULES; rule->type != 0; rule++) {
        CHECK(find_rule(rule->type, rule->from, rule->to) == rule);
        CHECK(role_may_connect(rule->from, rule->to) || role_may_connect(rule->to, rule->from));
        CHECK(rule->phases != 0 && rule->length <= IPC_PAYLOAD_MAX && rule->fds <= IPC_FDS_MAX);
        for (size_t i = 0; i < sizeof(PAIRS) / sizeof(PAIRS[0]); i++) {
            if (rule->type == PAIRS[i].ask) {
                CHECK(role_may_connect(rule->from, rule->to));
                CHECK(find_rule(PAIRS[i].answer, rule->to, rule->from) != NULL);
            }
        }
    }
    for (int i = 0; i < 2; i++) {
        enum role worker = i == 0 ? ROLE_RELAY : ROLE_DELIVER;
        const struct ipc_rule *hello = find_rule(WIRE_WORKER, worker, ROLE_QUEUE);
        const struct ipc_rule *job = find_rule(WIRE_JOB, ROLE_QUEUE, worker);
        const struct ipc_rule *result = find_rule(WIRE_RESULT, worker, ROLE_QUEUE);

        CHECK(hello != NULL && hello->phases == IPC_PHASE_START && hello->next_phase == WIRE_PHASE_IDLE);
        CHECK(job != NULL && job->phases == WIRE_PHASE_IDLE && job->next_phase == WIRE_PHASE_BUSY);
        CHECK(result != NULL && result->phases == WIRE_PHASE_BUSY && result->next_phase == WIRE_PHASE_IDLE);
    }
    /* What a hostile scan worker or relay must never be able to say. */
    CHECK(find_rule(WIRE_SUBMIT, ROLE_SCAN, ROLE_QUEUE) == NULL);
    CHECK(find_rule(WIRE_SUBMIT, ROLE_RELAY, ROLE_QUEUE) == NULL);
    CHECK(find_rule(WIRE_SUBMIT, ROLE_SCREEN, ROLE_QUEUE) == NULL);
    CHECK(find_rule(WIRE_ALLOW_SET, ROLE_SCAN, ROLE_POLICY) == NULL);
    CHECK(find_rule(WIRE_QUARANTINE, ROLE_SCAN, ROLE_POLICY) == NULL);
    CHECK(find_rule(WIRE_CTL_ASK, ROLE_RECEIVE, ROLE_QUEUE) == NULL);
}

int
main(void)
{
    test_rules();
    test_policy_forms();
    test_queue_forms();
    return failures != 0;
}

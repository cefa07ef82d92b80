/*
 * dns_wire_test - questions and answers come back as they went; every shorter form and every wrong count is
 * an error.
 */
#include <stdio.h>
#include <string.h>

#include "base/dns.h"
#include "base/dns_internal.h"
#include "base/error.h"
#include "base/ipc.h"
#include "base/pack.h"

const struct ipc_rule IPC_RULES[] = {{0}}; /* the program has its own; nothing is sent here */

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

static void
test_query(void)
{
    struct buf buf;
    char name[DNS_NAME_MAX + 1];
    enum dns_type type;
    uint32_t budget_ms;

    buf_init(&buf, 1024);
    CHECK(dns_wire_put_query(&buf, "mx.example.test", DNS_MX, 5000) == 0);
    CHECK(dns_wire_get_query(bytes_buf(&buf), name, &type, &budget_ms) == 0);
    CHECK(strcmp(name, "mx.example.test") == 0 && type == DNS_MX && budget_ms == 5000);
    for (size_t n = 0; n < buf.n; n++) {
        CHECK(dns_wire_get_query(bytes_sub(bytes_buf(&buf), 0, n), name, &type, &budget_ms) == GW_ERR_SYNTAX);
    }
    CHECK(buf_append_byte(&buf, 0) == 0);
    CHECK(dns_wire_get_query(bytes_buf(&buf), name, &type, &budget_ms) == GW_ERR_SYNTAX);
    buf_clear(&buf);
    CHECK(dns_wire_put_query(&buf, "x", DNS_A, UINT32_MAX) == 0);
    CHECK(dns_wire_get_query(bytes_buf(&buf), name, &type, &budget_ms) == 0 && budget_ms <= 120000);
    buf_clear(&buf);
    CHECK(dns_wire_put_query(&buf, "", DNS_A, 1) == 0);
    CHECK(dns_wire_get_query(bytes_buf(&buf), name, &type, &budget_ms) == GW_ERR_SYNTAX);
    buf_free(&buf);
}

static void
test_answer(void)
{
    static char host[] = "mx.example.test";
    struct dns_record records[] = {
        {.data = BYTES_LIT("\xc0\0\x02\x01")},
        {.data = bytes_str(host), .preference = 10, .name = host},
        {.data = BYTES_LIT("v=spf1 \0 -all")},
        {.data = {0}},
    };
    struct dns_answer answer = {.status = DNS_FOUND,
                                .secure = true,
                                .ttl = 77,
                                .rcode = 0,
                                .canonical = "c.test",
                                .records = records,
                                .record_count = 4};
    struct dns_answer *got = NULL;
    struct buf buf;

    buf_init(&buf, 65536);
    CHECK(dns_wire_put_answer(&buf, &answer) == 0);
    CHECK(dns_wire_get_answer(bytes_buf(&buf), &got) == 0 && got != NULL);
    CHECK(got->status == DNS_FOUND && got->secure && got->ttl == 77 && strcmp(got->canonical, "c.test") == 0);
    CHECK(got->record_count == 4);
    for (size_t i = 0; i < 4; i++) {
        CHECK(bytes_equal(got->records[i].data, records[i].data));
        CHECK(got->records[i].preference == records[i].preference);
        CHECK((got->records[i].name != NULL) == (records[i].name != NULL));
    }
    dns_answer_free(&got);
    CHECK(got == NULL);
    for (size_t n = 0; n < buf.n; n++) {
        CHECK(dns_wire_get_answer(bytes_sub(bytes_buf(&buf), 0, n), &got) == GW_ERR_SYNTAX && got == NULL);
    }
    CHECK(buf_append_byte(&buf, 0) == 0);
    CHECK(dns_wire_get_answer(bytes_buf(&buf), &got) == GW_ERR_SYNTAX && got == NULL);
    buf_free(&buf);
}

/* A status that is none reads as "cannot tell", never as found or not found; a count beyond the limit is
 * refused. */
static void
test_hostile_answer(void)
{
    struct dns_answer answer = {.status = DNS_NXDOMAIN}, *got;
    struct buf buf;

    buf_init(&buf, 65536);
    CHECK(dns_wire_put_answer(&buf, &answer) == 0);
    buf.p[0] = 200;
    CHECK(dns_wire_get_answer(bytes_buf(&buf), &got) == 0 && got->status == DNS_TEMPFAIL);
    dns_answer_free(&got);
    buf.p[buf.n - 1] = 0xff;
    buf.p[buf.n - 2] = 0xff;
    CHECK(dns_wire_get_answer(bytes_buf(&buf), &got) == GW_ERR_SYNTAX && got == NULL);
    buf_free(&buf);
    dns_answer_free(&got); /* of nothing */
}

static void
test_names(void)
{
    static const struct {
        const char *name;
        bool askable;
    } NAMES[] = {
        {"example.test", true},
        {"example.test.", true},
        {"_dmarc.example.test", true},
        {"a", true},
        {"", false},
        {".", false},
        {"a..b", false},
        {".a", false},
        {"a b.test", true},
        {"a\tb.test", false},
        {"a\x7f.test", false},
    };
    char label[80], name[300];

    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        CHECK(dns_name_is_askable(NAMES[i].name) == NAMES[i].askable);
    }
    memset(label, 'x', 64);
    label[63] = '\0';
    CHECK(dns_name_is_askable(label));
    label[63] = 'x';
    label[64] = '\0';
    CHECK(!dns_name_is_askable(label));
    for (size_t i = 0; i < sizeof(name); i++) {
        name[i] = i % 2 == 0 ? 'a' : '.';
    }
    name[253] = '\0';
    CHECK(dns_name_is_askable(name));
    name[253] = '.';
    name[255] = '\0';
    CHECK(!dns_name_is_askable(name));
}

int
main(void)
{
    test_query();
    test_answer();
    test_hostile_answer();
    test_names();
    return failures != 0;
}

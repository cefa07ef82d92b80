/*
 * resolver_records_test - records as libunbound gives them, the well-formed and the hostile: what does not
 * hold its form is left out, a name with a dot or a NUL inside a label is no name, and nothing but data makes
 * an answer "found".
 */
#include "resolver/resolver_records.h"

#include <stdio.h>
#include <string.h>

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

static const struct {
    int type;
    struct bytes rdata;
    const char *name;  /* of the record; NULL: none */
    struct bytes data; /* .p NULL: left out */
    uint16_t preference;
} RECORDS[] = {
    {DNS_A, BYTES_LIT("\xc0\0\2\1"), NULL, BYTES_LIT("\xc0\0\2\1"), 0},
    {DNS_A, BYTES_LIT("\xc0\0\2"), NULL, {0}, 0},
    {DNS_A, BYTES_LIT("\xc0\0\2\1\1"), NULL, {0}, 0},
    {DNS_AAAA, BYTES_LIT("0123456789abcdef"), NULL, BYTES_LIT("0123456789abcdef"), 0},
    {DNS_AAAA, BYTES_LIT("\xc0\0\2\1"), NULL, {0}, 0},
    {DNS_MX, BYTES_LIT("\1\2\2MX\4TEST\0"), "mx.test", BYTES_LIT("mx.test"), 258},
    {DNS_MX, BYTES_LIT("\0\0\0"), "", BYTES_LIT(""), 0}, /* the null MX, RFC 7505 */
    {DNS_MX, BYTES_LIT("\0\12"), NULL, {0}, 0},
    {DNS_MX, BYTES_LIT("\0\12\2mx\4test"), NULL, {0}, 0}, /* no end */
    {DNS_MX, BYTES_LIT("\0\12\3a.b\0"), NULL, {0}, 0},    /* a dot inside a label */
    {DNS_MX, BYTES_LIT("\0\12\3a\0b\0"), NULL, {0}, 0},   /* a NUL inside a label */
    {DNS_MX, BYTES_LIT("\0\12\3a\nb\0"), NULL, {0}, 0},   /* a line break for the log */
    {DNS_MX, BYTES_LIT("\0\12\xc0\4"), NULL, {0}, 0},     /* a compression pointer */
    {DNS_PTR, BYTES_LIT("\4host\7example\0"), "host.example", BYTES_LIT("host.example"), 0},
    {DNS_CNAME, BYTES_LIT(""), NULL, {0}, 0},
    {DNS_TXT, BYTES_LIT("\6v=spf1\5 -all"), NULL, BYTES_LIT("v=spf1 -all"), 0},
    {DNS_TXT, BYTES_LIT("\0"), NULL, BYTES_LIT(""), 0},
    {DNS_TXT, BYTES_LIT("\3a\0b"), NULL, BYTES_LIT("a\0b"), 0},
    {DNS_TXT, BYTES_LIT("\7short"), NULL, {0}, 0},
    {DNS_TLSA, BYTES_LIT("\3\1\1\xff"), NULL, BYTES_LIT("\3\1\1\xff"), 0},
};

static struct ub_result
result_of(int type, char **data, int *lengths)
{
    static char name[] = "asked.test";

    return (struct ub_result){
        .qname = name, .qtype = type, .qclass = 1, .data = data, .len = lengths, .havedata = 1, .ttl = 60};
}

static void
test_records(void)
{
    for (size_t i = 0; i < sizeof(RECORDS) / sizeof(RECORDS[0]); i++) {
        char *data[2] = {(char *)(uintptr_t)RECORDS[i].rdata.p, NULL};
        int lengths[1] = {(int)RECORDS[i].rdata.n};
        struct ub_result result = result_of(RECORDS[i].type, data, lengths);
        struct dns_answer *answer = resolver_records_answer(0, &result);

        CHECK(answer != NULL);
        if (RECORDS[i].data.p == NULL) {
            CHECK(answer->status == DNS_NODATA && answer->record_count == 0);
        } else {
            CHECK(answer->status == DNS_FOUND && answer->record_count == 1 && answer->ttl == 60);
            const struct dns_record *record = &answer->records[0];
            CHECK(bytes_equal(record->data, RECORDS[i].data) && record->preference == RECORDS[i].preference);
            CHECK((record->name == NULL) == (RECORDS[i].name == NULL));
            CHECK(record->name == NULL || strcmp(record->name, RECORDS[i].name) == 0);
        }
        dns_answer_free(&answer);
    }
}

static void
test_order_and_limits(void)
{
    static char mx[3][5] = {{0, 30, 1, 'c', 0}, {0, 10, 1, 'a', 0}, {0, 20, 1, 'b', 0}};
    static char address[4] = {127, 0, 0, 2};
    char *data[1001] = {mx[0], mx[1], mx[2]};
    int lengths[1000] = {5, 5, 5};
    struct ub_result result = result_of(DNS_MX, data, lengths);
    struct dns_answer *answer = resolver_records_answer(0, &result);

    CHECK(answer != NULL && answer->record_count == 3);
    CHECK(answer->records[0].preference == 10 && answer->records[1].preference == 20);
    CHECK(strcmp(answer->records[2].name, "c") == 0 && strcmp(answer->canonical, "asked.test") == 0);
    dns_answer_free(&answer);
    for (size_t i = 0; i < 1000; i++) {
        data[i] = address;
        lengths[i] = 4;
    }
    result = result_of(DNS_A, data, lengths);
    answer = resolver_records_answer(0, &result);
    CHECK(answer != NULL && answer->status == DNS_FOUND && answer->record_count == DNS_RECORDS_MAX);
    dns_answer_free(&answer);
}

/* Only what was really said is an answer; the rest is "cannot tell". */
static void
test_outcomes(void)
{
    static const struct {
        int error, rcode, nxdomain, bogus;
        enum dns_status status;
    } OUTCOMES[] = {
        {0, 0, 0, 0, DNS_NODATA},    {0, 3, 1, 0, DNS_NXDOMAIN},  {0, 2, 0, 0, DNS_TEMPFAIL},
        {0, 5, 0, 0, DNS_TEMPFAIL},  {-4, 0, 0, 0, DNS_TEMPFAIL}, {0, 3, 1, 1, DNS_TEMPFAIL},
        {-4, 3, 1, 0, DNS_TEMPFAIL},
    };
    char *data[1] = {NULL};

    for (size_t i = 0; i < sizeof(OUTCOMES) / sizeof(OUTCOMES[0]); i++) {
        struct ub_result result = result_of(DNS_A, data, NULL);

        result.havedata = 0;
        result.rcode = OUTCOMES[i].rcode;
        result.nxdomain = OUTCOMES[i].nxdomain;
        result.bogus = OUTCOMES[i].bogus;
        struct dns_answer *answer = resolver_records_answer(OUTCOMES[i].error, &result);
        CHECK(answer != NULL && answer->status == OUTCOMES[i].status);
        dns_answer_free(&answer);
    }
    struct dns_answer *none = resolver_records_answer(0, NULL);
    CHECK(none != NULL && none->status == DNS_TEMPFAIL);
    dns_answer_free(&none);
}

int
main(void)
{
    test_records();
    test_order_and_limits();
    test_outcomes();
    return failures != 0;
}

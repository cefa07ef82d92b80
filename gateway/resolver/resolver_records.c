/*
 * resolver_records - see the header. Before: resolver_service.c's callback; the bytes come from the network.
 */
#include "resolver/resolver_records.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { RCODE_NXDOMAIN = 3, RCODE_OK = 0 };

/* A domain name in wire form (without compression), as text without the final dot. Moves *rest. NULL:
 * malformed. */
static char *
take_name(struct bytes *rest)
{
    struct buf text;
    char *name = NULL;

    buf_init(&text, DNS_NAME_MAX);
    for (;;) {
        if (rest->n == 0 || rest->p[0] > 63 || rest->n < (size_t)rest->p[0] + 1) {
            goto out;
        }
        size_t length = rest->p[0];
        struct bytes label = bytes_sub(*rest, 1, length);
        *rest = bytes_sub(*rest, length + 1, rest->n);
        if (length == 0) {
            break;
        }
        /* A label with a dot or worse inside would read as another name. */
        for (size_t i = 0; i < label.n; i++) {
            if (label.p[i] <= 0x20 || label.p[i] >= 0x7f || label.p[i] == '.') {
                goto out;
            }
        }
        if ((text.n > 0 && buf_append_byte(&text, '.') != 0) || buf_append_bytes(&text, label) != 0) {
            goto out;
        }
    }
    if (text.n > 0) {
        ascii_lower(text.p, text.n);
    }
    name = bytes_dup_str(bytes_buf(&text));
out:
    buf_free(&text);
    return name;
}

static bool
copy_data(struct dns_record *record, const void *p, size_t n)
{
    uint8_t *copy = malloc(n + 1);

    if (copy == NULL) {
        return false;
    }
    if (n > 0) {
        memcpy(copy, p, n);
    }
    copy[n] = '\0';
    record->data = bytes_of(copy, n);
    return true;
}

static bool
join_strings(struct dns_record *record, struct bytes rdata)
{
    struct buf joined;
    bool ok = true;

    buf_init(&joined, DNS_ANSWER_BYTES_MAX);
    while (ok && rdata.n > 0) {
        size_t length = rdata.p[0];

        ok = rdata.n > length && buf_append_bytes(&joined, bytes_sub(rdata, 1, length)) == 0;
        rdata = bytes_sub(rdata, length + 1, rdata.n);
    }
    ok = ok && copy_data(record, joined.p, joined.n);
    buf_free(&joined);
    return ok;
}

/* False: this record is malformed and left out. */
static bool
take_record(int type, struct bytes rdata, struct dns_record *record)
{
    switch (type) {
    case DNS_A:
        return rdata.n == 4 && copy_data(record, rdata.p, rdata.n);
    case DNS_AAAA:
        return rdata.n == 16 && copy_data(record, rdata.p, rdata.n);
    case DNS_TXT:
        return join_strings(record, rdata);
    case DNS_MX:
        if (rdata.n < 3) {
            return false;
        }
        record->preference = (uint16_t)(rdata.p[0] << 8 | rdata.p[1]);
        rdata = bytes_sub(rdata, 2, rdata.n);
        record->name = take_name(&rdata);
        break;
    case DNS_PTR:
    case DNS_CNAME:
        record->name = take_name(&rdata);
        break;
    default:
        return copy_data(record, rdata.p, rdata.n);
    }
    return record->name != NULL && copy_data(record, record->name, strlen(record->name));
}

static int
compare_preference(const void *a, const void *b)
{
    const struct dns_record *x = a, *y = b;

    return x->preference < y->preference ? -1 : x->preference > y->preference;
}

static int
take_records(struct dns_answer *answer, const struct ub_result *result)
{
    size_t count = 0, bytes = 0;

    while (result->data[count] != NULL && count < DNS_RECORDS_MAX) {
        count++;
    }
    answer->records = calloc(count + 1, sizeof(*answer->records));
    if (answer->records == NULL) {
        return GW_ERR_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        struct dns_record record = {0};
        size_t n = (size_t)result->len[i];

        bytes += n;
        if (bytes > DNS_ANSWER_BYTES_MAX) {
            break;
        }
        if (take_record(result->qtype, bytes_of(result->data[i], n), &record)) {
            answer->records[answer->record_count++] = record;
        } else {
            free((void *)(uintptr_t)record.data.p);
            free(record.name);
        }
    }
    if (result->qtype == DNS_MX) {
        qsort(answer->records, answer->record_count, sizeof(*answer->records), compare_preference);
    }
    return 0;
}

struct dns_answer *
resolver_records_answer(int error, const struct ub_result *result)
{
    struct dns_answer *answer = calloc(1, sizeof(*answer));

    if (answer == NULL) {
        return NULL;
    }
    answer->status = DNS_TEMPFAIL;
    answer->rcode = 2;
    if (error != 0 || result == NULL || result->bogus) {
        return answer;
    }
    answer->rcode = (uint8_t)result->rcode;
    answer->secure = result->secure != 0;
    answer->ttl = result->ttl > 0 ? (uint32_t)result->ttl : 0;
    const char *canonical = result->canonname != NULL ? result->canonname : result->qname;
    size_t n = strlen(canonical);
    if (n > 0 && n < sizeof(answer->canonical)) {
        memcpy(answer->canonical, canonical, n);
        if (answer->canonical[n - 1] == '.') {
            answer->canonical[n - 1] = '\0';
        }
    }
    if (result->havedata && take_records(answer, result) != 0) {
        dns_answer_free(&answer);
        return NULL;
    }
    if (answer->record_count > 0) {
        answer->status = DNS_FOUND;
    } else if (result->nxdomain || result->rcode == RCODE_NXDOMAIN) {
        answer->status = DNS_NXDOMAIN;
    } else if (result->rcode == RCODE_OK) {
        answer->status = DNS_NODATA;
    }
    return answer;
}

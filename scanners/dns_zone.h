/*
 * dns_zone - for the tests of this folder: answers out of a table in memory, as the resolver would give them.
 *
 * The rows end with a name of NULL. A row whose data is ZONE_DOWN makes its name and type unreachable.
 */
#ifndef SCANNERS_DNS_ZONE_H
#define SCANNERS_DNS_ZONE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/dns.h"
#include "base/error.h"

#define ZONE_DOWN "(down)"

struct zone_row {
    const char *name;
    enum dns_type type;
    const char *data; /* A and AAAA: the address; MX and PTR: the name; TXT: the text */
};

static inline void
zone_fill(struct dns_record *record, const struct zone_row *row)
{
    struct net_addr addr;
    struct bytes data = bytes_str(row->data);

    if (row->type == DNS_A || row->type == DNS_AAAA) {
        if (net_addr_parse(data, &addr) != 0) {
            (void)fprintf(stderr, "zone: %s\n", row->data);
            exit(2);
        }
        data = bytes_of(addr.ip, row->type == DNS_A ? 4 : 16);
    }
    uint8_t *copy = malloc(data.n + 1);
    record->name = row->type == DNS_MX || row->type == DNS_PTR ? strdup(row->data) : NULL;
    if (copy == NULL) {
        exit(2);
    }
    memcpy(copy, data.p, data.n);
    record->data = bytes_of(copy, data.n);
    record->preference = 10;
}

/* As dns_query(). */
static inline int
zone_answer(const struct zone_row *rows, const char *name, enum dns_type type, struct dns_answer **answer_r)
{
    struct dns_answer *answer = calloc(1, sizeof(*answer));
    size_t length = strlen(name);

    if (answer == NULL || (answer->records = calloc(DNS_RECORDS_MAX, sizeof(*answer->records))) == NULL) {
        exit(2);
    }
    length -= length > 0 && name[length - 1] == '.';
    answer->status = DNS_NXDOMAIN;
    for (; rows->name != NULL; rows++) {
        if (strlen(rows->name) != length || strncasecmp(rows->name, name, length) != 0) {
            continue;
        }
        answer->status = answer->status == DNS_NXDOMAIN ? DNS_NODATA : answer->status;
        if (rows->type != type) {
            continue;
        }
        if (strcmp(rows->data, ZONE_DOWN) == 0) {
            answer->status = DNS_TEMPFAIL;
            break;
        }
        answer->status = DNS_FOUND;
        zone_fill(&answer->records[answer->record_count++], rows);
    }
    *answer_r = answer;
    return 0;
}

#endif

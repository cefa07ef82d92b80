/*
 * dns - the client side of the resolver role: blocking queries for threads, callbacks for loops.
 *
 * Only the resolver talks DNS; everybody else asks it over ipc and shares its cache. Answers tell the four
 * outcomes apart that mail decisions need: found, no such name, no such data, cannot tell now. "Cannot tell"
 * (SERVFAIL, timeout, resolver gone) is never "not found".
 */
#ifndef BASE_DNS_H
#define BASE_DNS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/net.h"

enum { DNS_NAME_MAX = 255, DNS_RECORDS_MAX = 256, DNS_ANSWER_BYTES_MAX = 65536 };

enum dns_type {
    DNS_A = 1,
    DNS_CNAME = 5,
    DNS_PTR = 12,
    DNS_MX = 15,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_TLSA = 52
};

enum dns_status { DNS_TEMPFAIL = 0, DNS_FOUND, DNS_NODATA, DNS_NXDOMAIN };

struct dns_record {
    struct bytes data;   /* A: 4, AAAA: 16 bytes; PTR, CNAME: text name; TXT: the strings joined; TLSA: raw */
    uint16_t preference; /* MX */
    char *name;          /* MX host, PTR and CNAME target, lower case without final dot; else NULL */
};

struct dns_answer {
    enum dns_status status;
    bool secure;  /* validated by DNSSEC */
    uint32_t ttl; /* seconds; of the negative answer when there are no records */
    uint8_t rcode;
    char canonical[DNS_NAME_MAX + 1]; /* where CNAMEs ended; the asked name when none */
    struct dns_record *records;
    size_t record_count;
};

struct dns_client; /* one blocking connection to the resolver; one per thread */

/* self: the role that asks. Connects at the first query and again after a failure. */
struct dns_client *dns_client_new(int self);
void dns_client_free(struct dns_client **client);
/* Returns 0 with an answer (whatever its status; a lost resolver gives DNS_TEMPFAIL) or GW_ERR_NOMEM,
 * GW_ERR_SYNTAX (not a domain name). name: with or without final dot; A-labels. MX answers are sorted by
 * preference. */
int dns_query(struct dns_client *client, const char *name, enum dns_type type, int64_t deadline_ms,
              struct dns_answer **answer_r);
void dns_answer_free(struct dns_answer **answer);

/* For loops: many queries under way at once. The callback gets the answer (it frees it) exactly once,
 * DNS_TEMPFAIL at the deadline. */
struct loop;
struct dns_async;
typedef void dns_done(void *context, struct dns_answer *answer);
struct dns_async *dns_async_new(struct loop *loop, int self);
void dns_async_free(struct dns_async **async);
/* 0 and a handle for cancelling (0 is never a handle), or an error and no callback. */
int dns_async_query(struct dns_async *async, const char *name, enum dns_type type, int64_t deadline_ms,
                    dns_done *done, void *context, uint64_t *handle_r);
void dns_async_cancel(struct dns_async *async, uint64_t handle);

/* Wire form shared with the resolver (base/dns_wire.c). */
enum { DNS_IPC_QUERY = 1, DNS_IPC_ANSWER = 2 };
int dns_wire_put_query(struct buf *buf, const char *name, enum dns_type type, uint32_t budget_ms);
int dns_wire_get_query(struct bytes payload, char name_r[DNS_NAME_MAX + 1], enum dns_type *type_r,
                       uint32_t *budget_ms_r);
int dns_wire_put_answer(struct buf *buf, const struct dns_answer *answer);
int dns_wire_get_answer(struct bytes payload, struct dns_answer **answer_r);

#endif

/*
 * dns_internal - what dns.c and dns_async.c share.
 */
#ifndef BASE_DNS_INTERNAL_H
#define BASE_DNS_INTERNAL_H

#include "base/dns.h"

enum { DNS_GRACE_MS = 500, DNS_QUERY_BYTES_MAX = 1024 };

/* A name that can be asked for: labels of 1 to 63 bytes, 253 in all, no NUL, no control characters. */
bool dns_name_is_askable(const char *name);
/* An answer that says "cannot tell". NULL: out of memory. */
struct dns_answer *dns_tempfail(void);

#endif

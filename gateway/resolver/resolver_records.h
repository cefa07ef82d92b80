/*
 * resolver_records - from libunbound's result to a struct dns_answer.
 */
#ifndef RESOLVER_RESOLVER_RECORDS_H
#define RESOLVER_RESOLVER_RECORDS_H

#include <unbound.h>

#include "base/dns.h"

/* Builds the answer to a finished query; result NULL or error != 0: cannot tell. NULL: out of memory. MX are
 * sorted by preference. A bogus answer (DNSSEC says forged) is "cannot tell". */
struct dns_answer *resolver_records_answer(int error, const struct ub_result *result);

#endif

/*
 * spf_second - the second opinion: libspf2 over a DNS layer that caps its lookups.
 *
 * libspf2 counts lookups per nesting level only, so one MAIL FROM can make it ask thousands of times; this
 * layer answers "try again" beyond SPF_SECOND_QUERIES_MAX. Its word never decides: a disagreement is
 * recorded.
 */
#ifndef SCANNERS_SPF_SECOND_H
#define SCANNERS_SPF_SECOND_H

#include "scanners/spf.h"

enum { SPF_SECOND_QUERIES_MAX = 50 };

struct spf_second; /* one per thread */

struct spf_second *spf_second_new(void);
void spf_second_free(struct spf_second **second);
/* What libspf2 says to the same question; AUTH_TEMPERROR when it cannot. */
enum auth_result spf_second_check(struct spf_second *second, const struct spf_request *request);

#endif

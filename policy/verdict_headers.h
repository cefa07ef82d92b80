/*
 * verdict_headers - the fields that tell the recipient's side what was found; private to policy/.
 */
#ifndef POLICY_VERDICT_HEADERS_H
#define POLICY_VERDICT_HEADERS_H

#include "scanners/scanner.h"

/* Appends Received-SPF (RFC 7208 section 9.1), one Authentication-Results (RFC 8601), X-Spam-* and X-Virus-*;
 * only what was really looked at. Lines end in CRLF. */
int verdict_append_headers(const struct config *config, const struct envelope *envelope,
                           const struct scan_report *report, struct buf *out);

/* A level of points ("5.0", "-.25") in thousandths. False: empty or not a number. Locale plays no part. */
bool verdict_parse_points(const char *text, int32_t *milli_r);

#endif

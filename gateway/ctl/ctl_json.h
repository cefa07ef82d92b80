/*
 * ctl_json - a small writer of JSON (RFC 8259) to a stdio stream: commas and escapes are its business.
 *
 * What comes from the network may be any bytes: control characters are escaped, bytes that are not UTF-8
 * become U+FFFD.
 */
#ifndef CTL_JSON_H
#define CTL_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/bytes.h"

enum { CTL_JSON_DEPTH_MAX = 16 };

struct ctl_json {
    FILE *out;
    unsigned depth;
    bool has_member[CTL_JSON_DEPTH_MAX]; /* the next one wants a comma */
};

void ctl_json_begin(struct ctl_json *json, FILE *out);
/* name NULL: an element of an array, or the top. */
void ctl_json_open(struct ctl_json *json, const char *name, char bracket); /* '{' or '[' */
void ctl_json_close(struct ctl_json *json, char bracket);                  /* '}' or ']' */
void ctl_json_text(struct ctl_json *json, const char *name, struct bytes value);
void ctl_json_number(struct ctl_json *json, const char *name, int64_t value);
void ctl_json_bool(struct ctl_json *json, const char *name, bool value);
/* Wall clock as "2026-11-21T06:01:48.123456Z". */
void ctl_json_time(struct ctl_json *json, const char *name, int64_t wall_us);
/* The escaped text without quotes, for the tests. */
int ctl_json_escape(struct bytes value, struct buf *out);

#endif

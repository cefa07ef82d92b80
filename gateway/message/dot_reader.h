/*
 * dot_reader - the content of DATA: until CRLF.CRLF, with the dots taken off (RFC 5321 section 4.5.2).
 *
 * Incremental: input in any pieces, output in big ones to a sink. Only CR LF "." CR LF ends the data, never a
 * form with bare CR or LF: that is the SMTP smuggling of 2023. Bare line ends are counted; what comes of them
 * is the caller's policy: made CRLF when `normalize`, else passed on as they are.
 */
#ifndef MESSAGE_DOT_READER_H
#define MESSAGE_DOT_READER_H

#include "base/bytes.h"

typedef int dot_sink(void *context, struct bytes piece);

struct dot_reader {
    dot_sink *sink;
    void *context;
    bool normalize;
    int state;
    uint64_t bare_lf, bare_cr;
};

void dot_reader_init(struct dot_reader *reader, bool normalize, dot_sink *sink, void *context);
/* Eats input; *consumed_r tells how much: what follows the final dot stays. 1: the end was seen; 0: more is
 * needed; or the sink's error. */
int dot_reader_feed(struct dot_reader *reader, struct bytes input, size_t *consumed_r);

#endif

/*
 * spamd_reply - parses what spamd answers to SYMBOLS (the protocol file of SpamAssassin, version 1.5).
 */
#ifndef SCANNERS_SPAMD_REPLY_H
#define SCANNERS_SPAMD_REPLY_H

#include "base/bytes.h"

struct spamd_reply {
    bool is_spam;
    int32_t score_milli, threshold_milli; /* thousandths of a point; no locale, no floats */
    struct bytes symbols;                 /* "A,B,C": view into the input */
};

/* input: everything received so far. 1: complete; 0: more is needed; GW_ERR_SYNTAX, GW_ERR_LIMIT. at_end: the
 * server closed, so what is there is all. */
int spamd_reply_parse(struct bytes input, bool at_end, struct spamd_reply *reply_r);

#endif

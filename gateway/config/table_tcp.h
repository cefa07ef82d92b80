/*
 * table_tcp - the form of questions and answers of tcp tables; for table_tcp.c, its test and fuzzer.
 */
#ifndef CONFIG_TABLE_TCP_H
#define CONFIG_TABLE_TCP_H

#include "base/bytes.h"

struct table_tcp_answer {
    int result;      /* 0, GW_ERR_NOTFOUND, GW_ERR_TEMP */
    struct buf text; /* decoded: the value, or why not */
};

/* Appends the key with %XX for "%", blanks and what is not printable ASCII. */
int table_tcp_encode(struct bytes key, struct buf *out);
/* 1 a whole line was there, 0 needs more, GW_ERR_SYNTAX, GW_ERR_LIMIT. */
int table_tcp_read(struct bytes come, size_t *used_r, struct table_tcp_answer *answer);

#endif

/*
 * table_socketmap - the form of answers of socketmap servers; for table_socketmap.c, its test and fuzzer.
 */
#ifndef CONFIG_TABLE_SOCKETMAP_H
#define CONFIG_TABLE_SOCKETMAP_H

#include "base/bytes.h"

enum { SOCKETMAP_ANSWER_MAX = 100000 /* Postfix's limit, without the netstring's frame */ };

struct table_socketmap_answer {
    int result;        /* 0, GW_ERR_NOTFOUND, GW_ERR_TEMP */
    struct bytes word; /* OK, NOTFOUND, TEMP, TIMEOUT, PERM or what the server made up; in `come` */
    struct bytes text; /* the value, or why not; in `come` */
};

/* 1 a whole netstring was there, 0 needs more, GW_ERR_SYNTAX, GW_ERR_LIMIT. */
int table_socketmap_read(struct bytes come, size_t *used_r, struct table_socketmap_answer *answer);

#endif

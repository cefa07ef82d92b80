/*
 * pack - the byte form of typed records: ipc payloads, envelopes in the queue, evidence in the journal.
 *
 * Integers are big-endian; a byte string is a u32 length and its bytes. Writing appends to a buf. Reading
 * uses a cursor whose error sticks: after the first short or over-long field every further read gives 0 or an
 * empty view, and unpack_end() reports it. Bytes left over at the end are an error.
 */
#ifndef BASE_PACK_H
#define BASE_PACK_H

#include "base/bytes.h"

int pack_u8(struct buf *buf, uint8_t v);
int pack_u16(struct buf *buf, uint16_t v);
int pack_u32(struct buf *buf, uint32_t v);
int pack_u64(struct buf *buf, uint64_t v);
int pack_i64(struct buf *buf, int64_t v);
int pack_bytes(struct buf *buf, struct bytes v);
int pack_str(struct buf *buf, const char *text); /* NULL is written as "" */

struct unpack {
    struct bytes rest;
    int error; /* 0 or GW_ERR_SYNTAX */
};

void unpack_begin(struct unpack *u, struct bytes payload);
uint8_t unpack_u8(struct unpack *u);
uint16_t unpack_u16(struct unpack *u);
uint32_t unpack_u32(struct unpack *u);
uint64_t unpack_u64(struct unpack *u);
int64_t unpack_i64(struct unpack *u);
struct bytes unpack_bytes(struct unpack *u,
                          size_t max); /* view into the payload; longer than max is an error */
/* Copies a string field into out[size] with a NUL; too long, or with a NUL inside, is an error and leaves "".
 */
void unpack_str(struct unpack *u, char *out, size_t size);
int unpack_end(struct unpack *u); /* 0 when all was read and nothing is left */

#endif

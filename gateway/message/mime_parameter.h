/*
 * mime_parameter - the "; name=value" of structured fields and what mail readers decode in them; private to
 * message/.
 */
#ifndef MESSAGE_MIME_PARAMETER_H
#define MESSAGE_MIME_PARAMETER_H

#include "base/bytes.h"

enum { MIME_PIECES_MAX = 100 };

struct mime_parameter {
    struct bytes name; /* as written, with its "*0*" */
    struct bytes base; /* without it */
    struct bytes tail; /* what stands between the closing quote and the next ";" */
    unsigned number;   /* of a continuation */
    bool is_piece;     /* "*0", "*1" ... (RFC 2231 section 3) */
    bool is_extended;  /* "*" at the end: charset'language'percent-encoded */
};

/* The next parameter; its value goes to text without quotes and folding. Moves *rest, which is a field's
 * value from its beginning. 1: one; 0: the end; GW_ERR_LIMIT: one, but text is cut. */
int mime_parameter_next(struct bytes *rest, struct mime_parameter *parameter_r, struct buf *text);

/* Appends the value of an extended parameter. with_charset: the "charset'language'" is there and is dropped.
 * 0, GW_ERR_LIMIT. */
int mime_decode_extended(struct bytes v, bool with_charset, struct buf *out);
/* Appends v with its RFC 2047 words decoded, which do not belong in parameters but are decoded there. */
int mime_decode_words(struct bytes v, struct buf *out);

/* Pieces of one parameter, joined as they stand and by their numbers. */
struct mime_pieces {
    size_t count;
    bool is_cut; /* there were more, or longer ones */
    struct {
        unsigned number;
        bool is_extended;
        size_t from, n; /* in the buffer */
    } pieces[MIME_PIECES_MAX];
};
void mime_pieces_add(struct mime_pieces *pieces, const struct mime_parameter *parameter, struct bytes text,
                     struct buf *store);
/* 0, GW_ERR_LIMIT. */
int mime_pieces_join(struct mime_pieces *pieces, const struct buf *store, bool by_number, struct buf *out);

#endif

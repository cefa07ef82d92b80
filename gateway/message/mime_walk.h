/*
 * mime_walk - visits the parts of a message by offsets, without copies (RFC 2045, 2046).
 *
 * A hostile message decides what a lenient reader sees, so the walk is lenient too: boundaries without blanks
 * trimmed, missing closing boundaries, parts inside parts inside message/rfc822, several Content-Type fields
 * and boundaries (each is tried), text outside the parts (visited as a part without header). Depth and number
 * of parts have limits; what was not looked at because of them is told, never silently skipped.
 */
#ifndef MESSAGE_MIME_WALK_H
#define MESSAGE_MIME_WALK_H

#include "base/arena.h"

enum { MIME_PARTS_MAX = 10000, MIME_DEPTH_MAX = 100, MIME_BOUNDARY_MAX = 2048, MIME_NAMES_MAX = 64 };

struct mime_part {
    struct bytes header; /* with its line ends, without the empty line */
    struct bytes body;
    unsigned depth;      /* 0: the message itself */
    bool nested_message; /* its header is that of a message inside message/rfc822 */
    struct bytes type;   /* "text/plain" as written; empty when not given */
    bool is_multipart;   /* and has a boundary */
};

/* 0 goes on, anything else ends the walk and is returned. */
typedef int mime_visit(void *context, const struct mime_part *part);

/* Visits parts in order, outer ones before inner ones. depth_max: mime_nesting_limit, at most MIME_DEPTH_MAX.
 * GW_ERR_LIMIT: too deep, too many parts or boundaries; everything within the limits was visited. */
int mime_walk(struct bytes message, unsigned depth_max, mime_visit *visit, void *context);

/* All file names a mail reader could show for a part: name and filename, plain, RFC 2231 (in order and by
 * number) and RFC 2047, of every Content-Type and Content-Disposition there. Copies in the arena. Returns how
 * many; *complete_r is false when there were more than MIME_NAMES_MAX, longer ones, or no memory. */
size_t mime_part_names(struct arena *arena, const struct mime_part *part, struct bytes names[MIME_NAMES_MAX],
                       bool *complete_r);

/* The next field of a header: name and raw value (with its folding). Moves *rest. False at the end. */
bool mime_next_field(struct bytes *rest, struct bytes *field_r, struct bytes *name_r, struct bytes *value_r);

#endif

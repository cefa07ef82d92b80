/*
 * mime_walk_fuzz - any bytes as a message: parts lie inside it, depth and number stay within the limits, and
 * the names of each can be listed.
 */
#include "message/mime_walk.h"

#include <stdlib.h>

#include "base/ipc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DEPTH = 12, ARENA_MAX = 16 * 1024 * 1024 };

struct seen {
    struct arena *arena;
    struct bytes message;
    size_t parts;
};

static bool
is_inside(struct bytes v, struct bytes whole)
{
    return v.n == 0 || (v.p >= whole.p && v.p + v.n <= whole.p + whole.n);
}

static int
visit(void *context, const struct mime_part *part)
{
    struct seen *seen = context;
    struct bytes names[MIME_NAMES_MAX];
    bool complete;

    if (part->depth > DEPTH || ++seen->parts > MIME_PARTS_MAX || !is_inside(part->header, seen->message) ||
        !is_inside(part->body, seen->message) || !is_inside(part->type, seen->message) ||
        mime_part_names(seen->arena, part, names, &complete) > MIME_NAMES_MAX) {
        abort();
    }
    return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen seen = {.arena = arena_new(ARENA_MAX), .message = bytes_of(data, size)};

    if (IPC_RULES[0].type == 0) { /* links the table of messages, which base needs and message holds */
        abort();
    }
    if (seen.arena != NULL) {
        (void)mime_walk(seen.message, DEPTH, visit, &seen);
    }
    arena_free(&seen.arena);
    return 0;
}

/*
 * mime_names - the file names of a part, in every reading (mime_walk.h).
 *
 * Before: a part found by mime_walk.c; after: the banned-name tables. A sender who wants a name to be seen by
 * the mail reader and not by the gateway writes it twice, encoded, in pieces or out of order: so each reading
 * counts as a name of its own.
 */
#include "message/mime_walk.h"

#include "base/error.h"
#include "message/mime_parameter.h"

enum { NAME_MAX_BYTES = 65536, BASES = 2 };

struct names {
    struct arena *arena;
    struct bytes *names;
    size_t count;
    bool is_cut;
    struct buf text, decoded, store;
};

static void
add_one(struct names *names, struct bytes v)
{
    for (size_t i = 0; i < names->count; i++) {
        if (bytes_equal(names->names[i], v)) {
            return;
        }
    }
    if (names->count >= MIME_NAMES_MAX) {
        names->is_cut = true;
        return;
    }
    struct bytes copy = arena_dup(names->arena, v);
    if (copy.p == NULL) {
        names->is_cut = true;
        return;
    }
    names->names[names->count++] = copy;
}

/* As it is, without blanks around it, and with encoded words decoded. */
static void
add_name(struct names *names, struct bytes v)
{
    struct buf words;

    if (v.n == 0) {
        return;
    }
    add_one(names, v);
    add_one(names, bytes_trim(v));
    if (bytes_find(v, BYTES_LIT("=?")) >= 0) {
        buf_init(&words, NAME_MAX_BYTES);
        names->is_cut = mime_decode_words(v, &words) != 0 || names->is_cut;
        add_one(names, bytes_buf(&words));
        buf_free(&words);
    }
}

static void
add_parameter(struct names *names, const struct mime_parameter *parameter)
{
    struct buf *text = &names->text, *decoded = &names->decoded;

    add_name(names, bytes_buf(text));
    if (parameter->is_extended) {
        buf_clear(decoded);
        names->is_cut = mime_decode_extended(bytes_buf(text), true, decoded) != 0 || names->is_cut;
        add_name(names, bytes_buf(decoded));
    }
    if (parameter->tail.n > 0) { /* "a.txt".exe */
        names->is_cut = buf_append_bytes(text, parameter->tail) != 0 || names->is_cut;
        add_name(names, bytes_buf(text));
    }
}

static void
collect(struct names *names, struct bytes value)
{
    static const char *const WORDS[BASES] = {"name", "filename"};
    struct mime_parameter parameter;
    int r;

    for (size_t base = 0; base < BASES; base++) {
        struct mime_pieces pieces = {0};
        struct bytes rest = value;

        buf_clear(&names->store);
        while ((r = mime_parameter_next(&rest, &parameter, &names->text)) != 0) {
            if (!bytes_equal_nocase(parameter.base, bytes_str(WORDS[base]))) {
                continue;
            }
            names->is_cut = names->is_cut || r < 0;
            if (parameter.is_piece) {
                mime_pieces_add(&pieces, &parameter, bytes_buf(&names->text), &names->store);
            } else {
                add_parameter(names, &parameter);
            }
        }
        for (int by_number = 0; by_number < 2 && pieces.count > 0; by_number++) {
            names->is_cut = mime_pieces_join(&pieces, &names->store, by_number != 0, &names->decoded) != 0 ||
                            names->is_cut;
            add_name(names, bytes_buf(&names->decoded));
        }
    }
}

size_t
mime_part_names(struct arena *arena, const struct mime_part *part, struct bytes list[MIME_NAMES_MAX],
                bool *complete_r)
{
    struct names names = {.arena = arena, .names = list};
    struct bytes rest = part->header, field, name, value;

    buf_init(&names.text, NAME_MAX_BYTES);
    buf_init(&names.decoded, NAME_MAX_BYTES);
    buf_init(&names.store, NAME_MAX_BYTES);
    while (mime_next_field(&rest, &field, &name, &value)) {
        if (bytes_equal_nocase(name, BYTES_LIT("Content-Type")) ||
            bytes_equal_nocase(name, BYTES_LIT("Content-Disposition"))) {
            collect(&names, value);
        }
    }
    buf_free(&names.text);
    buf_free(&names.decoded);
    buf_free(&names.store);
    *complete_r = !names.is_cut;
    return names.count;
}

/*
 * ctl_import_text - see ctl_import_private.h. Before: ctl_import.c and ctl_import_repair.c; after: the diff
 * on standard output, or the file.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "ctl/ctl_import_private.h"

enum { CONTEXT_LINES = 3, SHOWN = 60 };

int
import_text_new(const char *path, struct bytes content, struct import_text *text_r)
{
    struct bytes rest = content, line;
    size_t count = 0;

    *text_r = (struct import_text){.path = path};
    while (bytes_next_line(&rest, &line)) {
        count++;
    }
    if (count > IMPORT_LINES_MAX) {
        return GW_ERR_LIMIT;
    }
    text_r->old = calloc(count + 1, sizeof(*text_r->old));
    text_r->lines = calloc(count + 2, sizeof(*text_r->lines)); /* one may be added */
    if (text_r->old == NULL || text_r->lines == NULL) {
        import_text_free(text_r);
        return GW_ERR_NOMEM;
    }
    rest = content;
    while (bytes_next_line(&rest, &line)) {
        text_r->old[text_r->old_count++] = line;
    }
    return 0;
}

void
import_text_free(struct import_text *text)
{
    for (size_t i = 0; i < text->count; i++) {
        free(text->lines[i].text);
    }
    free(text->lines);
    free(text->old);
    *text = (struct import_text){0};
}

static int
append(struct import_text *text, struct import_line line)
{
    if (line.text == NULL) {
        return GW_ERR_NOMEM;
    }
    text->lines[text->count++] = line;
    text->repairs += line.is_changed;
    return 0;
}

int
import_text_keep(struct import_text *text, size_t index)
{
    return append(text, (struct import_line){index, 1, bytes_dup_str(text->old[index]), false});
}

int
import_text_change(struct import_text *text, size_t index, const char *words)
{
    return append(text, (struct import_line){index, 1, strdup(words), true});
}

int
import_text_add(struct import_text *text, const char *words)
{
    return append(text, (struct import_line){text->old_count, 0, strdup(words), true});
}

int
import_text_join(struct import_text *text, size_t index, const char *glue)
{
    struct bytes part = bytes_trim(text->old[index]);
    struct import_line *last = &text->lines[text->count - 1];
    struct bytes before = bytes_str(last->text);
    char *joined = NULL;

    while (before.n > 0 && (before.p[before.n - 1] == ' ' || before.p[before.n - 1] == '\t')) {
        before.n--;
    }
    if (before.n + part.n > IMPORT_LINE_MAX) {
        return GW_ERR_LIMIT;
    }
    if (asprintf(&joined, "%.*s%s%.*s", BYTES_FMT(before), glue, BYTES_FMT(part)) < 0) {
        return GW_ERR_NOMEM;
    }
    free(last->text);
    last->text = joined; /* transferred */
    last->count = index + 1 - last->first;
    last->is_changed = true;
    text->repairs++;
    return 0;
}

const char *
import_text_last(const struct import_text *text)
{
    return text->count > 0 ? text->lines[text->count - 1].text : NULL;
}

void
import_text_complain(struct import_text *text, size_t index, const char *what, const char *more)
{
    struct bytes line = bytes_sub(bytes_trim(text->old[index]), 0, SHOWN);

    (void)fprintf(stderr, "estafeta: warning: %s:%zu: %s%s: \"%.*s\"\n", text->path, index + 1, what, more,
                  BYTES_FMT(line));
    text->left++;
}

/* --- the diff --- */

/* How many old and new lines the lines from..to are. */
static void
measure(const struct import_text *text, size_t from, size_t to, size_t *old_r, size_t *new_r)
{
    *old_r = 0;
    *new_r = to - from;
    for (size_t i = from; i < to; i++) {
        *old_r += text->lines[i].count;
    }
}

static void
print_hunk(const struct import_text *text, size_t from, size_t to, FILE *out)
{
    size_t old_count, new_count;
    size_t old_first = from < text->count ? text->lines[from].first : text->old_count;

    measure(text, from, to, &old_count, &new_count);
    (void)fprintf(out, "@@ -%zu,%zu +%zu,%zu @@\n", old_count > 0 ? old_first + 1 : old_first, old_count,
                  from + 1, new_count);
    for (size_t i = from; i < to;) {
        size_t end = i;

        if (!text->lines[i].is_changed) {
            (void)fprintf(out, " %s\n", text->lines[i++].text);
            continue;
        }
        while (end < to && text->lines[end].is_changed) {
            for (size_t k = 0; k < text->lines[end].count; k++) {
                (void)fprintf(out, "-%.*s\n", BYTES_FMT(text->old[text->lines[end].first + k]));
            }
            end++;
        }
        for (; i < end; i++) {
            (void)fprintf(out, "+%s\n", text->lines[i].text);
        }
    }
}

void
import_text_diff(const struct import_text *text, FILE *out)
{
    size_t at = 0;

    if (text->repairs > 0) {
        (void)fprintf(out, "--- %s\n+++ %s\n", text->path, text->path);
    }
    while (at < text->count) {
        size_t from = at, last;

        while (from < text->count && !text->lines[from].is_changed) {
            from++;
        }
        if (from == text->count) {
            break;
        }
        last = from;
        /* Changes that are near enough to share their context are one hunk. */
        for (size_t i = from; i < text->count && i <= last + 2 * CONTEXT_LINES; i++) {
            last = text->lines[i].is_changed ? i : last;
        }
        size_t begin = from > at + CONTEXT_LINES ? from - CONTEXT_LINES : at;
        size_t end = last + 1 + CONTEXT_LINES < text->count ? last + 1 + CONTEXT_LINES : text->count;
        print_hunk(text, begin, end, out);
        at = end;
    }
}

int
import_text_render(const struct import_text *text, struct buf *out)
{
    int r = 0;

    for (size_t i = 0; i < text->count && r == 0; i++) {
        r = buf_append_str(out, text->lines[i].text);
        r = r == 0 ? buf_append_byte(out, '\n') : r;
    }
    return r;
}

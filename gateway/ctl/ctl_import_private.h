/*
 * ctl_import_private - a text as lines that came of lines: what the repair of a file and its diff share.
 */
#ifndef CTL_IMPORT_PRIVATE_H
#define CTL_IMPORT_PRIVATE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/bytes.h"

enum { IMPORT_LINES_MAX = 200000, IMPORT_LINE_MAX = 65536 };

/* One line of the new text, and the lines of the old one that it stands for (none: it was added). */
struct import_line {
    size_t first, count; /* from 0 */
    char *text;
    bool is_changed;
};

struct import_text {
    const char *path;
    struct bytes *old;
    size_t old_count;
    struct import_line *lines;
    size_t count;
    size_t repairs; /* lines that were joined or added */
    size_t left;    /* told on standard error: what is broken and not mended */
};

/* Takes the lines of content, which must outlive the text. 0, GW_ERR_NOMEM, GW_ERR_LIMIT. */
int import_text_new(const char *path, struct bytes content, struct import_text *text_r);
void import_text_free(struct import_text *text);
/* The next old line as it is. */
int import_text_keep(struct import_text *text, size_t index);
/* The old line joins the last new one: glue between them, blanks at the end of the one before are gone. */
int import_text_join(struct import_text *text, size_t index, const char *glue);
/* The old line in other words; a line that was not there, at the end. */
int import_text_change(struct import_text *text, size_t index, const char *words);
int import_text_add(struct import_text *text, const char *words);
/* The last new line; NULL when there is none. */
const char *import_text_last(const struct import_text *text);
void import_text_complain(struct import_text *text, size_t index, const char *what, const char *more);
/* A unified diff of both, with three lines of context. */
void import_text_diff(const struct import_text *text, FILE *out);
int import_text_render(const struct import_text *text, struct buf *out);

/* ctl_import_repair.c: by what kind of file it is. 0, or an error of memory. */
int import_repair(struct import_text *text);

#endif

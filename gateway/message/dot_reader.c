/*
 * dot_reader - see the header. Before: receive_data.c with what the stream has buffered; after: the content's
 * sink.
 *
 * A state machine over line starts only: inside a line memchr finds the next LF, so ordinary mail is handed
 * on in pieces of whole buffers.
 */
#include "message/dot_reader.h"

#include <string.h>

enum {
    LINE_START, /* behind CRLF or at the very beginning */
    IN_LINE,
    CR,     /* a CR inside a line, not yet handed on */
    DOT,    /* "." at the start of a line, not yet handed on */
    DOT_CR, /* ".\r" at the start of a line */
};

void
dot_reader_init(struct dot_reader *reader, bool normalize, dot_sink *sink, void *context)
{
    *reader =
        (struct dot_reader){.sink = sink, .context = context, .normalize = normalize, .state = LINE_START};
}

static int
emit(struct dot_reader *reader, const char *text, size_t n)
{
    return reader->sink(reader->context, bytes_of(text, n));
}

/* A CR was held back and something other than LF came: it is a bare one. */
static int
emit_bare_cr(struct dot_reader *reader)
{
    reader->bare_cr++;
    return emit(reader, "\r", 1);
}

static int
emit_bare_lf(struct dot_reader *reader)
{
    reader->bare_lf++;
    reader->state = IN_LINE; /* a dot behind a bare LF is no dot of ours */
    return reader->normalize ? emit(reader, "\r\n", 2) : emit(reader, "\n", 1);
}

/* One byte in a state that is not IN_LINE. 1: the end. */
static int
step(struct dot_reader *reader, uint8_t c)
{
    int r = 0;

    switch (reader->state) {
    case LINE_START:
        if (c == '.') {
            reader->state = DOT;
            return 0;
        }
        break;
    case DOT:
        if (c == '\r') {
            reader->state = DOT_CR;
            return 0;
        }
        break; /* the dot itself is dropped */
    case DOT_CR:
        if (c == '\n') {
            return 1;
        }
        r = emit_bare_cr(reader);
        break;
    case CR:
        if (c == '\n') {
            reader->state = LINE_START;
            return emit(reader, "\r\n", 2);
        }
        r = emit_bare_cr(reader);
        break;
    default:
        break;
    }
    if (r != 0) {
        return r;
    }
    if (c == '\r') {
        reader->state = CR;
        return 0;
    }
    if (c == '\n') {
        return emit_bare_lf(reader);
    }
    reader->state = IN_LINE;
    return emit(reader, (const char *)&c, 1);
}

/* The run of ordinary bytes from `at`: up to a line end that needs a look. Lines that end in CRLF and do not
 * begin with a dot are part of the run. *state_r: the state behind it. */
static size_t
find_run_end(struct bytes input, size_t at, int *state_r)
{
    size_t i = at;

    for (;;) {
        const uint8_t *lf = memchr(input.p + i, '\n', input.n - i);
        size_t end = lf == NULL ? input.n : (size_t)(lf - input.p);
        const uint8_t *cr = memchr(input.p + i, '\r', end - i);

        if (cr != NULL && (lf == NULL || cr + 1 != lf)) {
            *state_r = IN_LINE; /* a CR that is not followed by LF here: step() looks at it */
            return (size_t)(cr - input.p);
        }
        if (lf == NULL || cr == NULL) {
            *state_r = IN_LINE;
            return end; /* the end of the input, or a bare LF */
        }
        i = end + 1;
        if (i >= input.n || input.p[i] == '.') {
            *state_r = LINE_START;
            return i;
        }
    }
}

int
dot_reader_feed(struct dot_reader *reader, struct bytes input, size_t *consumed_r)
{
    size_t i = 0;
    int r = 0;

    while (r == 0 && i < input.n) {
        bool plain = reader->state == IN_LINE || (reader->state == LINE_START && input.p[i] != '.');

        if (plain && input.p[i] != '\r' && input.p[i] != '\n') {
            int state;
            size_t end = find_run_end(input, i, &state);

            reader->state = state;
            r = reader->sink(reader->context, bytes_sub(input, i, end - i));
            i = end;
        } else {
            r = step(reader, input.p[i++]);
        }
    }
    *consumed_r = i;
    return r;
}

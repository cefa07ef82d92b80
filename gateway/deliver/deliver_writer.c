/*
 * deliver_writer - see the header. Before: deliver_maildir.c, deliver_mbox.c, deliver_pipe.c, which opened
 * the target; after: the file system or the program.
 *
 * The content comes with CRLF line ends and is stored with LF, as Postfix does; a CR without LF stays. Text
 * goes through one fixed buffer, whole lines at a time, so there is one write(2) per 32 KiB.
 */
#include "deliver/deliver_writer.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "message/address.h"

enum { WRITER_ROOM = 32768, READER_ROOM = 32768, HEADER_SCAN_MAX = 256 * 1024, QUOTED_MAX = 4096 };

struct writer {
    int fd;
    int error; /* first errno; sticks */
    unsigned form;
    bool line_start;
    uint8_t last;
    size_t n;
    uint8_t room[WRITER_ROOM];
};

static void
flush(struct writer *w)
{
    size_t done = 0;

    while (w->error == 0 && done < w->n) {
        ssize_t n = write(w->fd, w->room + done, w->n - done);

        if (n == -1 && errno != EINTR) {
            w->error = errno;
        } else if (n > 0) {
            done += (size_t)n;
        }
    }
    w->n = 0;
}

static void
put(struct writer *w, const void *p, size_t n)
{
    const uint8_t *from = p;

    while (n > 0 && w->error == 0) {
        size_t room = WRITER_ROOM - w->n;
        size_t part = n < room ? n : room;

        memcpy(w->room + w->n, from, part);
        w->n += part;
        w->last = from[part - 1];
        from += part;
        n -= part;
        if (w->n == WRITER_ROOM) {
            flush(w);
        }
    }
}

static void
put_text(struct writer *w, const char *text)
{
    put(w, text, strlen(text));
}

/* What RFC 5322 lets stand in a local part without quotes (dot-atom), and bytes above ASCII. */
static bool
needs_quotes(struct bytes local)
{
    static const char SPECIALS[] = "()<>[]:;@\\,\"";

    for (size_t i = 0; i < local.n; i++) {
        uint8_t c = local.p[i];

        if (c <= 32 || c == 127 || strchr(SPECIALS, c) != NULL ||
            (c == '.' && (i == 0 || i + 1 == local.n || local.p[i + 1] == '.'))) {
            return true;
        }
    }
    return local.n == 0;
}

/* An address in a header line: never more than one line; with quotes, which it has not inside the program.
 * message/address.c cannot be used here: it allocates memory. */
static void
put_address(struct writer *w, struct bytes address)
{
    ptrdiff_t at = bytes_rindex(address, '@');
    size_t local = at < 0 ? address.n : (size_t)at;
    bool quotes = address.n > 0 && needs_quotes(bytes_sub(address, 0, local));

    put_text(w, quotes ? "\"" : "");
    for (size_t i = 0; i < address.n; i++) {
        uint8_t c = address.p[i];

        put_text(w, quotes && i == local ? "\"" : "");
        put_text(w, quotes && i < local && (c == '"' || c == '\\') ? "\\" : "");
        put(w, c < 32 || c == 127 ? (const uint8_t *)"?" : &c, 1);
    }
    put_text(w, quotes && local == address.n ? "\"" : "");
}

static void
put_header(struct writer *w, const char *name, const char *before, struct bytes address, const char *after)
{
    put_text(w, name);
    put_text(w, before);
    put_address(w, address);
    put_text(w, after);
    put_text(w, w->form & DELIVER_CRLF ? "\r\n" : "\n");
}

static void
put_own_headers(struct writer *w, const struct deliver_message *message)
{
    if (w->form & DELIVER_FROM_LINE) {
        put_text(w, "From ");
        put_address(w, message->sender.n > 0 ? message->sender : BYTES_LIT("MAILER-DAEMON"));
        put_text(w, message->date);
        put_text(w, "\n");
    }
    if (w->form & DELIVER_RETURN_PATH) {
        put_header(w, "Return-Path:", " <", message->sender, ">");
    }
    if ((w->form & DELIVER_ORIGINAL_TO) && message->original.n > 0) {
        put_header(w, "X-Original-To:", " ", message->original, "");
    }
    if (w->form & DELIVER_DELIVERED_TO) {
        put_header(w, "Delivered-To:", " ", message->recipient, "");
    }
}

/* Quoting looks at the first bytes of a line; the piece begins at a line start and holds at least 5 bytes or
 * is the last (deliver_writer_copy sees to it). */
static void
quote_line(struct writer *w, const uint8_t *p, size_t n)
{
    if ((w->form & DELIVER_QUOTE_FROM) && n >= 5 && memcmp(p, "From ", 5) == 0) {
        put_text(w, ">");
    } else if ((w->form & DELIVER_QUOTE_DOT) && n >= 1 && *p == '.') {
        put_text(w, ".");
    }
}

/* A piece of one line without its line end. */
static void
put_piece(struct writer *w, const uint8_t *p, size_t n)
{
    if (n == 0) {
        return;
    }
    if (w->line_start) {
        quote_line(w, p, n);
        w->line_start = false;
    }
    put(w, p, n);
}

/* Writes text up to its last complete line (all of it when `last`) and returns how much was taken. */
static size_t
put_lines(struct writer *w, const uint8_t *p, size_t n, bool last)
{
    size_t at = 0;

    while (at < n) {
        const uint8_t *lf = memchr(p + at, '\n', n - at);
        size_t end = lf != NULL ? (size_t)(lf - p) : n;
        bool has_cr = lf != NULL && end > at && p[end - 1] == '\r';

        if (lf == NULL && !last && (at > 0 || n < READER_ROOM)) {
            return at; /* the rest of this line comes with the next piece */
        }
        if (lf == NULL && !last && p[end - 1] == '\r') {
            end--; /* an over-long line: leave a CR for the next piece */
        }
        put_piece(w, p + at, end - at - (has_cr ? 1 : 0));
        at = end;
        if (lf != NULL) {
            put_text(w, w->form & DELIVER_CRLF ? "\r\n" : "\n");
            w->line_start = true;
            at++;
        } else if (!last) {
            return at;
        }
    }
    return at;
}

static ssize_t
read_some(const struct deliver_message *message, uint64_t offset, uint8_t *room, size_t size)
{
    uint64_t left = message->size - offset;
    ssize_t n;

    do {
        n = pread(message->content_fd, room, left < size ? (size_t)left : size, (off_t)offset);
    } while (n == -1 && errno == EINTR);
    if (n == 0 && left > 0) {
        errno = EIO; /* shorter than the queue said: never store a part as the whole */
        return -1;
    }
    return n;
}

int
deliver_writer_copy(const struct deliver_message *message, int fd)
{
    struct writer w = {.fd = fd, .form = message->form, .line_start = true};
    uint8_t piece[READER_ROOM];
    uint64_t offset = 0;
    size_t held = 0;

    put_own_headers(&w, message);
    while (offset < message->size && w.error == 0) {
        ssize_t n = read_some(message, offset, piece + held, sizeof(piece) - held);

        if (n == -1) {
            return GW_ERR_SYS;
        }
        offset += (uint64_t)n;
        held += (size_t)n;
        size_t taken = put_lines(&w, piece, held, offset == message->size);
        held -= taken;
        memmove(piece, piece + taken, held);
    }
    if (w.last != '\n') {
        put_text(&w, w.form & DELIVER_CRLF ? "\r\n" : "\n");
    }
    if (w.form & DELIVER_BLANK_LINE) {
        put_text(&w, "\n");
    }
    flush(&w);
    if (w.error != 0) {
        errno = w.error;
        return GW_ERR_SYS;
    }
    return 0;
}

void
deliver_message_fill(struct deliver_message *message, const struct deliver_task *task, size_t index,
                     unsigned form)
{
    const struct envelope *envelope = task->job->envelope;
    time_t now = (time_t)clock_wall_s();
    struct tm tm;

    *message = (struct deliver_message){
        .content_fd = task->content_fd,
        .size = envelope->size,
        .sender = envelope->sender,
        .recipient = envelope->recipients[index].address,
        .original = envelope->recipients[index].original,
        .form = form,
    };
    if (localtime_r(&now, &tm) == NULL ||
        strftime(message->date, sizeof(message->date), "  %a %b %e %H:%M:%S %Y", &tm) == 0) {
        message->date[0] = '\0';
    }
}

bool
deliver_writer_has_loop(const struct deliver_message *message)
{
    static const char NAME[] = "Delivered-To:";
    uint8_t piece[READER_ROOM];
    size_t held = 0;
    struct buf quoted;
    bool found = false, more = true;

    buf_init(&quoted, QUOTED_MAX);
    if (address_append_quoted(&quoted, message->recipient) != 0) {
        buf_free(&quoted);
        return false;
    }
    for (uint64_t offset = 0; more && offset < message->size && offset < HEADER_SCAN_MAX;) {
        ssize_t n = read_some(message, offset, piece + held, sizeof(piece) - held);

        if (n <= 0) {
            break; /* the copy itself will tell */
        }
        offset += (uint64_t)n;
        held += (size_t)n;
        struct bytes rest = bytes_of(piece, held);
        ptrdiff_t lf;

        while (more && (lf = bytes_index(rest, '\n')) >= 0) {
            struct bytes line = bytes_sub(rest, 0, (size_t)lf);

            found =
                bytes_has_prefix_nocase(line, bytes_str(NAME)) &&
                bytes_equal_nocase(bytes_trim(bytes_sub(line, sizeof(NAME) - 1, line.n)), bytes_buf(&quoted));
            more = !found && bytes_trim(line).n > 0; /* an empty line is the end of the header */
            rest = bytes_sub(rest, (size_t)lf + 1, rest.n);
        }
        held = rest.n < sizeof(piece) ? rest.n : 0; /* a line over 32 KiB is not a Delivered-To */
        memmove(piece, rest.p, held);
    }
    buf_free(&quoted);
    return found;
}

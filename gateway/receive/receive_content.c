/*
 * receive_content - see the header. Before: receive_data.c; after: receive_disposition.c reads the sealed
 * memfd.
 */
#include "receive/receive_content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "message/trace.h"
#include "receive/receive_session.h"

enum {
    RECEIVED_MAX = 8192,
    HEADER_SCAN_MAX = 4 * 1024 * 1024, /* hops and Message-ID are looked for this far */
    EDITED_MAX = 4 * HEADER_SCAN_MAX,  /* a header with other addresses */
    ALL_SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE,
};

struct content {
    uint8_t *spool; /* the thread's */
    size_t spooled;
    int fd; /* -1 until the spool was full once */
    uint64_t size;
    uint64_t limit; /* 0: none */
    uint8_t last;   /* byte before, for BDAT */
    int error;
};

int
receive_content_write(int fd, struct bytes v)
{
    while (v.n > 0) {
        ssize_t n = write(fd, v.p, v.n);

        if (n == -1 && errno != EINTR) {
            return errno == ENOSPC ? GW_ERR_FULL : GW_ERR_SYS;
        }
        v = bytes_sub(v, n > 0 ? (size_t)n : 0, v.n);
    }
    return 0;
}

int
receive_content_copy(int to_fd, int from_fd, uint64_t from, uint64_t size, uint8_t *spool)
{
    uint64_t at = from;
    int r = 0;

    while (r == 0 && at < size) {
        ssize_t n = pread(from_fd, spool, RECEIVE_SPOOL_BUFFER, (off_t)at);

        if (n == -1 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return GW_ERR_SYS;
        }
        r = receive_content_write(to_fd, bytes_of(spool, (size_t)n));
        at += (uint64_t)n;
    }
    return r;
}

int
receive_content_seal(int fd)
{
    return fcntl(fd, F_ADD_SEALS, ALL_SEALS) == -1 ? GW_ERR_SYS : 0;
}

int
receive_content_new(struct receive_session *session, struct content **content_r)
{
    struct content *content = calloc(1, sizeof(*content));
    struct buf received;
    int r = GW_ERR_NOMEM;

    *content_r = NULL;
    if (content == NULL) {
        return r;
    }
    content->spool = session->tools->spool;
    content->fd = -1;
    content->last = '\n';
    buf_init(&received, RECEIVED_MAX);
    r = trace_received(&received, session->envelope, session->port->myhostname, session->port->mail_name);
    if (r == 0) {
        (void)receive_content_add(content, bytes_buf(&received));
        content->limit = (uint64_t)session->port->message_size_limit;
        content->limit += content->limit > 0 ? received.n : 0;
        *content_r = content;
        content = NULL; /* transferred */
    }
    buf_free(&received);
    receive_content_free(&content);
    return r;
}

void
receive_content_free(struct content **content)
{
    if (*content != NULL) {
        if ((*content)->fd != -1) {
            (void)close((*content)->fd);
        }
        free(*content);
        *content = NULL;
    }
}

static int
flush_spool(struct content *content)
{
    int r;

    if (content->fd == -1 && (content->fd = memfd_create("content", MFD_CLOEXEC | MFD_ALLOW_SEALING)) == -1) {
        return GW_ERR_SYS;
    }
    r = receive_content_write(content->fd, bytes_of(content->spool, content->spooled));
    content->spooled = 0;
    return r;
}

int
receive_content_add(void *context, struct bytes piece)
{
    struct content *content = context;

    content->size += piece.n;
    if (content->error == 0 && content->limit > 0 && content->size > content->limit) {
        content->error = GW_ERR_LIMIT;
    }
    while (piece.n > 0 && content->error == 0) {
        size_t room = RECEIVE_SPOOL_BUFFER - content->spooled;
        size_t n = piece.n < room ? piece.n : room;

        memcpy(content->spool + content->spooled, piece.p, n);
        content->spooled += n;
        content->last = piece.p[n - 1];
        piece = bytes_sub(piece, n, piece.n);
        if (content->spooled == RECEIVE_SPOOL_BUFFER) {
            content->error = flush_spool(content);
        }
    }
    return 0;
}

int
receive_content_add_chunk(struct content *content, struct bytes piece)
{
    while (piece.n > 0) {
        ptrdiff_t lf = bytes_index(piece, '\n');
        size_t n = lf < 0 ? piece.n : (size_t)lf;
        uint8_t before = n > 0 ? piece.p[n - 1] : content->last;

        (void)receive_content_add(content, bytes_sub(piece, 0, n));
        if (lf >= 0) {
            (void)receive_content_add(content, before == '\r' ? BYTES_LIT("\n") : BYTES_LIT("\r\n"));
            n++;
        }
        piece = bytes_sub(piece, n, piece.n);
    }
    return 0;
}

uint64_t
receive_content_size(const struct content *content)
{
    return content->size;
}

static void
note_message_id(struct envelope *envelope, struct bytes id)
{
    struct buf printable;

    id.n = id.n > ENVELOPE_ADDRESS_MAX ? ENVELOPE_ADDRESS_MAX : id.n;
    envelope->message_id = arena_dup(envelope->arena, id);
    buf_init(&printable, ENVELOPE_ADDRESS_MAX * 2);
    (void)buf_append_printable(&printable, id, ENVELOPE_ADDRESS_MAX, true);
    log_info("cleanup", "%s: message-id=%s", envelope->queue_id, id.n > 0 ? buf_str(&printable) : "<>");
    buf_free(&printable);
}

/* Learns from the header, and edits it: *end_r are the bytes of content that `edited` takes the place of, 0
 * when nothing changes. */
static int
note_header(struct receive_session *session, struct bytes content, bool is_all, struct buf *edited,
            size_t *end_r)
{
    struct trace_summary summary;
    struct bytes added = {0};
    int r;

    *end_r = 0;
    trace_summarize(content, &summary);
    r = is_all || summary.fields_end < content.n
            ? receive_rewrite_header(session, content, &summary, edited, &added)
            : 0; /* a header without an end stays as it is */
    if (r == 1) {
        *end_r = summary.fields_end;
    }
    note_message_id(session->envelope, added.n > 0 ? added : summary.message_id);
    return r < 0 ? r : summary.hops > session->port->hopcount_limit ? GW_ERR_DENIED : 0;
}

/* All of it is in the spool: one write, or two when the header is another now. */
static int
finish_small(struct receive_session *session, struct content *content, struct buf *edited)
{
    struct bytes spooled = bytes_of(content->spool, content->spooled);
    size_t end;
    int r = note_header(session, spooled, true, edited, &end);

    if (r == 0 && (content->fd = memfd_create("content", MFD_CLOEXEC | MFD_ALLOW_SEALING)) == -1) {
        r = GW_ERR_SYS;
    }
    r = r == 0 && end > 0 ? receive_content_write(content->fd, bytes_buf(edited)) : r;
    r = r == 0 ? receive_content_write(content->fd, bytes_sub(spooled, end, spooled.n)) : r;
    content->size += end > 0 ? edited->n : 0;
    content->size -= end;
    return r;
}

/* A message that did not fit into the spool: its beginning is looked at, and all of it is copied when the
 * header is another now. */
static int
finish_large(struct receive_session *session, struct content *content, struct buf *edited)
{
    size_t n = content->size < HEADER_SCAN_MAX ? (size_t)content->size : HEADER_SCAN_MAX, end;
    int r = content->spooled > 0 ? flush_spool(content) : 0, fd;
    void *p = r == 0 ? mmap(NULL, n, PROT_READ, MAP_PRIVATE, content->fd, 0) : MAP_FAILED;

    if (p == MAP_FAILED) {
        return r != 0 ? r : GW_ERR_SYS;
    }
    r = note_header(session, bytes_of(p, n), n == content->size, edited, &end);
    (void)munmap(p, n);
    if (r != 0 || end == 0) {
        return r;
    }
    if ((fd = memfd_create("content", MFD_CLOEXEC | MFD_ALLOW_SEALING)) == -1) {
        return GW_ERR_SYS;
    }
    if ((r = receive_content_write(fd, bytes_buf(edited))) != 0 ||
        (r = receive_content_copy(fd, content->fd, end, content->size, content->spool)) != 0) {
        (void)close(fd);
        return r;
    }
    (void)close(content->fd);
    content->fd = fd;
    content->size += edited->n;
    content->size -= end;
    return 0;
}

int
receive_content_finish(struct receive_session *session)
{
    struct content *content = session->content;
    struct buf edited;
    int r;

    if (content->last != '\n') {
        (void)receive_content_add(content, BYTES_LIT("\r\n"));
    }
    if ((r = content->error) != 0) {
        return r;
    }
    buf_init(&edited, EDITED_MAX);
    r = content->fd == -1 ? finish_small(session, content, &edited) : finish_large(session, content, &edited);
    buf_free(&edited);
    if (r == 0 && (r = receive_content_seal(content->fd)) == 0) {
        session->content_fd = content->fd;
        session->content_size = content->size;
        session->envelope->size = content->size;
        content->fd = -1; /* transferred */
    }
    return r;
}

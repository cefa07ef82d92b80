/*
 * deliver_forward - see the header. Before: deliver_expand.c; after: the queue, through policy/reinjection.c.
 *
 * A new message has a status of its own for each address, and Delivered-To in front, by which a loop between
 * hosts is found (deliver_local.c). It is submitted when everything else of the recipient succeeded; a crash
 * between its commit and the result of this job sends it again, as with Postfix. Owns a connection per
 * thread.
 */
#include "deliver/deliver_forward.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "policy/reinjection.h"

enum { SUBMIT_LIMIT_MS = 60000, HEADER_MAX = 8192 };

struct target {
    struct target *next;
    struct bytes sender, address, via;
    bool is_done;
};

struct deliver_forwards {
    struct target *first, **last;
    unsigned serial; /* with process and thread: makes an id unique */
};

struct deliver_forwards *
deliver_forward_new(struct arena *arena)
{
    struct deliver_forwards *forwards = arena_alloc(arena, sizeof(*forwards));

    if (forwards != NULL) {
        forwards->last = &forwards->first;
    }
    return forwards;
}

int
deliver_forward_add(struct deliver_run *run, struct bytes sender, struct bytes address, struct bytes via)
{
    struct target *target = arena_alloc(run->arena, sizeof(*target));

    if (target == NULL) {
        return GW_ERR_NOMEM;
    }
    target->sender = arena_dup(run->arena, sender);
    target->address = arena_dup(run->arena, address);
    target->via = arena_dup(run->arena, via);
    if (target->address.p == NULL || (target->sender.p == NULL && sender.n > 0)) {
        return GW_ERR_NOMEM;
    }
    *run->forwards->last = target;
    run->forwards->last = &target->next;
    return 0;
}

/* Received and Delivered-To, as local(8) puts them. */
static int
write_header(const struct deliver_run *run, const char *id, struct buf *out)
{
    const struct config *view = run->transport->view;
    time_t now = (time_t)clock_wall_s();
    char date[64];
    struct tm tm;

    if (localtime_r(&now, &tm) == NULL ||
        strftime(date, sizeof(date), "%a, %e %b %Y %H:%M:%S %z (%Z)", &tm) == 0) {
        return GW_ERR_INTERNAL;
    }
    int r = buf_printf(out, "Received: by %s (%s)\r\n\tid %s; %s\r\n", config_str(view, P_myhostname),
                       config_str(view, P_mail_name), id, date);
    if (r == 0 && run->transport->local->header_forward) {
        r = buf_append_str(out, "Delivered-To: ");
        r = r == 0 ? buf_append_printable(out, run->recipient, ENVELOPE_ADDRESS_MAX, true) : r;
        r = r == 0 ? buf_append_str(out, "\r\n") : r;
    }
    return r;
}

static int
copy_content(const struct deliver_run *run, struct bytes header, int fd)
{
    uint64_t left = run->task->job->envelope->size;
    off_t offset = 0;

    if (header.n > 0 && write(fd, header.p, header.n) != (ssize_t)header.n) {
        return GW_ERR_SYS;
    }
    while (left > 0) {
        ssize_t n = sendfile(fd, run->task->content_fd, &offset, left);

        if (n == 0 || (n == -1 && errno != EINTR)) {
            return GW_ERR_SYS; /* shorter than the queue said: never send a part as the whole */
        }
        left -= n > 0 ? (uint64_t)n : 0;
    }
    return fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == -1 ? GW_ERR_SYS
                                                                                                  : 0;
}

static bool
is_same(const struct target *a, const struct target *b)
{
    return bytes_equal(a->sender, b->sender) && bytes_equal(a->via, b->via);
}

/* Everything for the sender of `first`. */
static int
fill_envelope(const struct deliver_run *run, struct target *first, struct envelope *envelope)
{
    const struct envelope *old = run->task->job->envelope;
    const struct recipient *recipient = &old->recipients[run->index];

    envelope->session = old->session;
    envelope->arrival_us = old->arrival_us; /* its time in the queue goes on */
    envelope->body = old->body;
    envelope->smtputf8 = old->smtputf8;
    envelope->local_origin = old->local_origin;
    envelope->dsn_ret = old->dsn_ret;
    envelope->dsn_envid = old->dsn_envid;
    envelope->message_id = old->message_id;
    envelope->content_filter = first->via;
    queue_id_make(envelope->queue_id, clock_wall_us(),
                  (uint64_t)getpid() << 24 | (uint64_t)(run->slot & 0xff) << 16 |
                      (run->forwards->serial++ & 0xffff));
    int r = envelope_set_sender(envelope, first->sender);
    for (struct target *t = first; r == 0 && t != NULL; t = t->next) {
        if (!t->is_done && is_same(t, first)) {
            r = envelope_add_recipient(envelope, t->address, recipient->original, recipient->notify,
                                       recipient->dsn_orcpt);
        }
    }
    return r;
}

static int
submit(struct deliver_run *run, const struct envelope *envelope, int fd)
{
    struct reinjection *temporary = NULL;
    struct reinjection **door =
        run->slot < DELIVER_SLOTS_MAX ? &run->transport->local->doors[run->slot] : &temporary;
    int r = GW_ERR_NOMEM;

    if (*door != NULL || (*door = reinjection_new(ROLE_DELIVER)) != NULL) {
        r = reinjection_submit(*door, envelope, fd, clock_monotonic_ms() + SUBMIT_LIMIT_MS);
    }
    reinjection_free(&temporary);
    return r;
}

static int
send_on(struct deliver_run *run, struct target *first)
{
    struct envelope *envelope = envelope_new();
    struct buf header;
    int fd = memfd_create("forward", MFD_CLOEXEC | MFD_ALLOW_SEALING), r = GW_ERR_NOMEM;

    buf_init(&header, HEADER_MAX);
    if (envelope == NULL || fd == -1 || (r = fill_envelope(run, first, envelope)) != 0 ||
        (first->via.n == 0 && (r = write_header(run, envelope->queue_id, &header)) != 0) ||
        (r = copy_content(run, bytes_buf(&header), fd)) != 0) {
        goto out;
    }
    envelope->size = header.n + run->task->job->envelope->size;
    r = submit(run, envelope, fd);
    if (r == 0) {
        deliver_run_say(run, DELIVERY_SENT, "2.0.0", "forwarded as %s", envelope->queue_id);
    }
out:
    if (fd != -1) {
        (void)close(fd);
    }
    buf_free(&header);
    envelope_free(&envelope);
    return r;
}

void
deliver_forward_finish(struct deliver_run *run)
{
    for (struct target *first = run->forwards->first; first != NULL; first = first->next) {
        if (first->is_done) {
            continue;
        }
        if (send_on(run, first) != 0) {
            deliver_run_say(run, DELIVERY_DEFERRED, "4.3.0",
                            "mail forwarding failed: unable to forward message");
            return;
        }
        for (struct target *t = first; t != NULL; t = t->next) {
            t->is_done = t->is_done || is_same(t, first);
        }
    }
}

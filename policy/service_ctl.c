/*
 * service_ctl - the operator's commands: why KEY; quarantine list, fetch ID, released ID WHO, delete ID WHO.
 *
 * Before: service_peer.c (role ctl); gateway/ctl/ctl_why.c and ctl_quarantine.c are the other end. A command
 * is a list of words; answers are pieces (WIRE_CTL_LINE: an evidence record or a packed entry; WIRE_CTL_FILE:
 * entry, then content) and one WIRE_CTL_END. Commands that take long run in steps between other work, and
 * wait while the peer does not read. What the operator does to a message is evidence too.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/pack.h"
#include "policy/evidence.h"
#include "policy/service_private.h"

enum {
    WORDS_MAX = 8,
    STEP_BUDGET_US = 2000,
    LINES_PER_STEP = 64,
    LIST_RECIPIENTS_MAX = 100, /* of one entry in a list */
    STORAGE_MAX = 2 * IPC_PAYLOAD_MAX,
};

static int
end(struct service_peer *peer, uint64_t id, int code, const char *detail)
{
    return service_peer_status(peer, WIRE_CTL_END, id, code, detail);
}

static void
forget_job(struct service_peer *peer)
{
    journal_search_free(&peer->job.search);
    loop_timer_cancel(peer->service->loop, &peer->timer);
    peer->job = (struct service_job){0};
}

void
service_ctl_end(struct service_peer *peer)
{
    forget_job(peer);
}

static void
run_step(void *context)
{
    struct service_peer *peer = context;

    peer->timer = NULL;
    int r = peer->job.step(peer);
    if (r < 0) {
        (void)end(peer, peer->job.id, r, gw_strerror(r));
    }
    if (r != 0) {
        forget_job(peer);
    } else {
        service_ctl_continue(peer);
    }
}

/* Arms the next step, unless the peer has to read first. */
void
service_ctl_continue(struct service_peer *peer)
{
    if (peer->job.step == NULL || peer->timer != NULL || peer->awaits_room) {
        return;
    }
    peer->timer = loop_timer_add(peer->service->loop, clock_monotonic_ms(), run_step, peer);
    if (peer->timer == NULL) {
        (void)end(peer, peer->job.id, GW_ERR_NOMEM, gw_strerror(GW_ERR_NOMEM));
        forget_job(peer);
    }
}

static int
step_send_records(struct service_peer *peer)
{
    struct service_job *job = &peer->job;
    size_t count = journal_search_count(job->search);
    int r;

    for (size_t i = 0; i < LINES_PER_STEP && job->sent < count; i++) {
        struct bytes record = journal_search_record(job->search, job->sent);

        if (ipc_has_backlog(peer->channel)) {
            return 0;
        }
        if ((r = service_peer_send(peer, WIRE_CTL_LINE, job->id, record, NULL, 0)) != 0) {
            return r;
        }
        job->sent++;
    }
    if (job->sent < count) {
        return 0;
    }
    r = end(peer, job->id, 0, journal_search_was_cut(job->search) ? "there are more, older records" : "");
    return r == 0 ? 1 : r;
}

static int
step_search(struct service_peer *peer)
{
    int r = journal_search_step(peer->job.search, STEP_BUDGET_US);

    if (r == 1) {
        peer->job.step = step_send_records;
        r = 0;
    }
    return r;
}

static int
why(struct service_peer *peer, uint64_t id, struct bytes *words, size_t count)
{
    struct journal_search *search = NULL;
    int r;

    (void)count;
    (void)journal_commit(peer->service->journal); /* so that what just happened is found */
    if ((r = journal_search_new(peer->service->journal, words[1], &search)) != 0) {
        return end(peer, id, r, "not something to search for");
    }
    forget_job(peer);
    peer->job = (struct service_job){.step = step_search, .id = id, .search = search};
    service_ctl_continue(peer);
    return 0;
}

/* A list shows the first recipients of an entry and no report: 50,000 recipients would be megabytes per line.
 */
static int
shorten(struct quarantine_entry *entry, struct buf *room)
{
    struct envelope *envelope = NULL;
    int r = envelope_unpack(entry->envelope, &envelope);

    if (r == 0) {
        if (envelope->recipient_count > LIST_RECIPIENTS_MAX) {
            envelope->recipient_count = LIST_RECIPIENTS_MAX;
        }
        buf_clear(room);
        r = envelope_pack(room, envelope);
        entry->envelope = bytes_buf(room);
    }
    entry->report = (struct bytes){0};
    envelope_free(&envelope);
    return r;
}

static int
send_entry(struct service_peer *peer, struct quarantine_entry *entry)
{
    struct buf room;
    int r;

    buf_init(&room, STORAGE_MAX);
    if ((r = shorten(entry, &room)) == 0) {
        buf_clear(&peer->service->out);
        r = quarantine_entry_pack(&peer->service->out, entry);
    }
    buf_free(&room);
    return r != 0 ? r
                  : service_peer_send(peer, WIRE_CTL_LINE, peer->job.id, bytes_buf(&peer->service->out), NULL,
                                      0);
}

static int
step_list(struct service_peer *peer)
{
    struct service_job *job = &peer->job;
    struct quarantine_entry entry;
    struct buf storage;
    int r = 0;

    buf_init(&storage, STORAGE_MAX);
    for (size_t i = 0; r == 0 && i < LINES_PER_STEP && !ipc_has_backlog(peer->channel); i++) {
        r = quarantine_previous(peer->service->quarantine, bytes_str(job->position), &storage, &entry);
        if (r == 0) {
            (void)snprintf(job->position, sizeof(job->position), "%s", entry.id);
            r = send_entry(peer, &entry);
        }
    }
    buf_free(&storage);
    if (r == GW_ERR_NOTFOUND) {
        r = end(peer, job->id, 0, "");
        return r == 0 ? 1 : r;
    }
    return r;
}

static int
list(struct service_peer *peer, uint64_t id, struct bytes *words, size_t count)
{
    (void)words;
    (void)count;
    forget_job(peer);
    peer->job = (struct service_job){.step = step_list, .id = id};
    service_ctl_continue(peer);
    return 0;
}

static int
send_file(struct service_peer *peer, uint64_t id, const char *name, int fd)
{
    return fd == -1 ? GW_ERR_SYS : service_peer_send(peer, WIRE_CTL_FILE, id, bytes_str(name), &fd, 1);
}

static int
fetch(struct service_peer *peer, uint64_t id, struct bytes *words, size_t count)
{
    struct service *service = peer->service;
    struct quarantine_entry entry;
    struct buf storage;
    int entry_fd = -1, content_fd = -1;
    int r;

    (void)count;
    buf_init(&storage, STORAGE_MAX);
    if ((r = quarantine_get(service->quarantine, words[2], &storage, &entry)) == 0 &&
        (r = quarantine_content(service->quarantine, words[2], &content_fd)) == 0) {
        entry_fd = ipc_sealed_memfd("entry", bytes_buf(&storage));
        r = send_file(peer, id, "entry", entry_fd);
        r = r == 0 ? send_file(peer, id, "content", content_fd) : r;
    }
    buf_free(&storage);
    if (entry_fd != -1) {
        (void)close(entry_fd);
    }
    if (content_fd != -1) {
        (void)close(content_fd);
    }
    return end(peer, id, r,
               r == GW_ERR_NOTFOUND ? "no such message in quarantine"
               : r != 0             ? gw_strerror(r)
                                    : "");
}

/* What was done to the message joins the record of its session. */
static void
record_action(struct service *service, const struct quarantine_entry *entry, const char *action,
              struct bytes who)
{
    struct envelope *envelope = NULL;
    struct evidence evidence = {0};

    if (envelope_unpack(entry->envelope, &envelope) != 0) {
        return;
    }
    if (evidence_begin(&evidence, envelope->session.ident, "ctl") == 0) {
        evidence_add(&evidence, EV_QUARANTINE, bytes_str(entry->id), bytes_str(envelope->queue_id),
                     bytes_str(action), who, 0);
        (void)journal_add(service->journal, bytes_buf(&evidence.record), clock_wall_us());
    }
    evidence_free(&evidence);
    struct buf line;
    buf_init(&line, 1024);
    (void)buf_append_printable(&line, who, 500, true);
    log_info("policy", "%s: quarantine: %s: %s: %s", envelope->queue_id, entry->id, action, buf_str(&line));
    buf_free(&line);
    envelope_free(&envelope);
}

static int
change(struct service_peer *peer, uint64_t id, struct bytes *words, const char *action,
       int (*apply)(struct service *service, struct bytes id))
{
    struct service *service = peer->service;
    struct quarantine_entry entry;
    struct buf storage;
    int r;

    service_quarantine_commit(service); /* the batch of this turn first: one write transaction at a time */
    buf_init(&storage, STORAGE_MAX);
    if ((r = quarantine_get(service->quarantine, words[2], &storage, &entry)) == 0 &&
        (r = apply(service, words[2])) == 0) {
        record_action(service, &entry, action, words[3]);
    }
    buf_free(&storage);
    return end(peer, id, r,
               r == GW_ERR_NOTFOUND ? "no such message in quarantine"
               : r != 0             ? gw_strerror(r)
                                    : "");
}

static int
apply_release(struct service *service, struct bytes id)
{
    return quarantine_mark_released(service->quarantine, id, clock_wall_us());
}

static int
apply_delete(struct service *service, struct bytes id)
{
    return quarantine_delete(service->quarantine, id);
}

static int
released(struct service_peer *peer, uint64_t id, struct bytes *words, size_t count)
{
    (void)count;
    return change(peer, id, words, "released", apply_release);
}

static int delete (struct service_peer *peer, uint64_t id, struct bytes *words, size_t count)
{
    (void)count;
    return change(peer, id, words, "deleted", apply_delete);
}

static const struct {
    const char *verb, *object; /* object NULL: the second word is an argument */
    size_t words;
    int (*run)(struct service_peer *peer, uint64_t id, struct bytes *words, size_t count);
} COMMANDS[] = {
    {"why", NULL, 2, why},
    {"quarantine", "list", 2, list},
    {"quarantine", "fetch", 3, fetch},
    {"quarantine", "released", 4, released},
    {"quarantine", "delete", 4, delete},
};

int
service_ctl_ask(struct service_peer *peer, struct ipc_message *message)
{
    struct bytes words[WORDS_MAX];
    struct unpack u;

    unpack_begin(&u, message->payload);
    size_t count = unpack_u16(&u);
    if (count == 0 || count > WORDS_MAX) {
        return GW_ERR_SYNTAX;
    }
    for (size_t i = 0; i < count; i++) {
        words[i] = unpack_bytes(&u, JOURNAL_KEY_MAX);
    }
    if (unpack_end(&u) != 0) {
        return GW_ERR_SYNTAX;
    }
    peer->service->asked = true;
    for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(COMMANDS[0]); i++) {
        if (COMMANDS[i].words == count && bytes_equal(words[0], bytes_str(COMMANDS[i].verb)) &&
            (COMMANDS[i].object == NULL || bytes_equal(words[1], bytes_str(COMMANDS[i].object)))) {
            return COMMANDS[i].run(peer, message->id, words, count);
        }
    }
    return end(peer, message->id, GW_ERR_NOTFOUND, "unknown command");
}

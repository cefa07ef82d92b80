/*
 * queue_list - mailq: the queue as text or JSON, in pieces.
 *
 * Before: queue_ctl.c. A million messages are printed without a million in memory and without stopping mail:
 * each piece is one short read transaction, the next piece waits until the reader has taken the last. The
 * form is that of postqueue -p (long queue ids) and postqueue -j.
 */
#include "queue/queue_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"

enum { PIECE_BYTES = 24 * 1024, PIECE_MESSAGES = 64, REASON_WIDTH = 76, REASON_SHOWN = 500 };

struct queue_listing {
    struct queue_peer *peer;
    struct loop_timer *timer; /* for the next piece */
    uint64_t ask_id;
    bool as_json;
    char id[QUEUE_ID_MAX]; /* the last one printed */
    uint64_t count, bytes;
};

struct row {
    struct envelope *envelope;
    struct queue_status status;
    bool is_active;
    struct buf *out;
    uint8_t *states;       /* by recipient */
    struct bytes *reasons; /* views into the transaction */
};

void
queue_list_free(struct queue_listing **listing)
{
    if (*listing != NULL) {
        loop_timer_cancel((*listing)->peer->queue->loop, &(*listing)->timer);
        free(*listing);
        *listing = NULL;
    }
}

static int
see_outcome(void *context, uint16_t number, const struct queue_outcome *outcome)
{
    struct row *row = context;

    if (number < row->envelope->recipient_count) {
        row->states[number] = outcome->status;
        row->reasons[number] = outcome->reply;
    }
    return 0;
}

static bool
is_open(const struct row *row, size_t i)
{
    return row->states[i] == QUEUE_PENDING || row->states[i] == QUEUE_DEFERRED;
}

static void
print_text(const struct row *row)
{
    const struct envelope *envelope = row->envelope;
    char id[QUEUE_ID_MAX + 1], when[32] = "";
    time_t arrival = (time_t)(envelope->arrival_us / 1000000);
    struct tm tm;
    struct bytes last = {0};

    (void)snprintf(id, sizeof(id), "%s%s", envelope->queue_id,
                   row->is_active                          ? "*"
                   : (row->status.flags & QUEUE_HELD) != 0 ? "!"
                                                           : "");
    if (localtime_r(&arrival, &tm) != NULL) {
        (void)strftime(when, sizeof(when), "%a %b %e %H:%M:%S", &tm);
    }
    (void)buf_printf(row->out, "%-17s %8llu %19.19s  ", id, (unsigned long long)envelope->size, when);
    if (envelope->sender.n == 0) {
        (void)buf_append_str(row->out, "MAILER-DAEMON");
    }
    (void)buf_append_printable(row->out, envelope->sender, ENVELOPE_ADDRESS_MAX, true);
    (void)buf_append_str(row->out, "\n");
    for (size_t i = 0; i < envelope->recipient_count; i++) {
        struct bytes reason = bytes_sub(row->reasons[i], 0, REASON_SHOWN);

        if (!is_open(row, i)) {
            continue;
        }
        if (reason.n > 0 && !bytes_equal(reason, last)) {
            int padding = reason.n < REASON_WIDTH ? (int)(REASON_WIDTH - reason.n) : 0;
            (void)buf_printf(row->out, "%*s(", padding, "");
            (void)buf_append_printable(row->out, reason, REASON_SHOWN, true);
            (void)buf_append_str(row->out, ")\n");
            last = reason;
        }
        (void)buf_printf(row->out, "%-17s %8s %-19s  ", "", "", "");
        (void)buf_append_printable(row->out, envelope->recipients[i].address, ENVELOPE_ADDRESS_MAX, true);
        (void)buf_append_str(row->out, "\n");
    }
    (void)buf_append_str(row->out, "\n");
}

/* RFC 8259 section 7; bytes that are not printable ASCII are written as the code point of the same number. */
static void
print_json_string(struct buf *out, struct bytes text)
{
    (void)buf_append_byte(out, '"');
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];

        if (c == '"' || c == '\\') {
            (void)buf_append_byte(out, '\\');
            (void)buf_append_byte(out, c);
        } else if (c < 0x20 || c >= 0x7f) {
            (void)buf_printf(out, "\\u%04x", c);
        } else {
            (void)buf_append_byte(out, c);
        }
    }
    (void)buf_append_byte(out, '"');
}

static const char *
queue_name(const struct row *row)
{
    if ((row->status.flags & QUEUE_HELD) != 0) {
        return "hold";
    }
    return row->is_active ? "active" : row->status.attempts > 0 ? "deferred" : "incoming";
}

static void
print_json(const struct row *row)
{
    const struct envelope *envelope = row->envelope;
    bool is_first = true;

    (void)buf_printf(
        row->out,
        "{\"queue_name\": \"%s\", \"queue_id\": \"%s\", \"arrival_time\": %lld, \"message_size\": %llu, "
        "\"forced_expire\": %s, \"sender\": ",
        queue_name(row), envelope->queue_id, (long long)(envelope->arrival_us / 1000000),
        (unsigned long long)envelope->size, (row->status.flags & QUEUE_FORCE_EXPIRE) != 0 ? "true" : "false");
    print_json_string(row->out, envelope->sender);
    (void)buf_append_str(row->out, ", \"recipients\": [");
    for (size_t i = 0; i < envelope->recipient_count; i++) {
        if (!is_open(row, i)) {
            continue;
        }
        (void)buf_append_str(row->out, is_first ? "{\"address\": " : ", {\"address\": ");
        print_json_string(row->out, envelope->recipients[i].address);
        if (row->reasons[i].n > 0) {
            (void)buf_append_str(row->out, ", \"delay_reason\": ");
            print_json_string(row->out, row->reasons[i]);
        }
        (void)buf_append_str(row->out, "}");
        is_first = false;
    }
    (void)buf_append_str(row->out, "]}\n");
}

static int
print_message(struct queue_listing *listing, struct store_txn *txn, struct bytes packed, struct buf *out)
{
    struct queue *queue = listing->peer->queue;
    struct row row = {.out = out};
    int r = envelope_unpack(packed, &row.envelope);

    if (r != 0) {
        return r;
    }
    arena_reset(queue->scratch);
    row.states = arena_alloc(queue->scratch, row.envelope->recipient_count + 1);
    row.reasons = arena_alloc(queue->scratch, (row.envelope->recipient_count + 1) * sizeof(row.reasons[0]));
    row.is_active = queue_message_find(queue, listing->id) != NULL;
    r = row.states == NULL || row.reasons == NULL ? GW_ERR_NOMEM : 0;
    if (r == 0 && (r = queue_store_get_status(txn, listing->id, &row.status)) == 0 &&
        (r = queue_store_each_outcome(txn, listing->id, see_outcome, &row)) == 0) {
        (listing->as_json ? print_json : print_text)(&row);
        listing->count++;
        listing->bytes += row.envelope->size;
    }
    envelope_free(&row.envelope);
    return r;
}

/* GW_ERR_NOTFOUND: that was the last piece. */
static int
print_piece(struct queue_listing *listing, struct buf *out)
{
    struct store_txn *txn = NULL;
    struct bytes packed;
    int r = queue_store_begin(listing->peer->queue->store, false, &txn);

    for (int i = 0; r == 0 && i < PIECE_MESSAGES && out->n < PIECE_BYTES; i++) {
        r = queue_store_next(txn, listing->id, listing->id, &packed);
        if (r == 0 && print_message(listing, txn, packed, out) != 0) {
            (void)buf_printf(out, "%-17s (cannot be read; it is kept)\n", listing->id);
        }
    }
    store_abort(&txn);
    return r;
}

static void
print_end(const struct queue_listing *listing, struct buf *out)
{
    if (listing->as_json) {
        return;
    }
    if (listing->count == 0) {
        (void)buf_append_str(out, "Mail queue is empty\n");
    } else {
        (void)buf_printf(out, "-- %llu Kbytes in %llu Request%s.\n",
                         (unsigned long long)(listing->bytes / 1024), (unsigned long long)listing->count,
                         listing->count == 1 ? "" : "s");
    }
}

static void
next_piece(void *context)
{
    struct queue_listing *listing = context;

    listing->timer = NULL;
    queue_list_continue(listing->peer);
}

void
queue_list_continue(struct queue_peer *peer)
{
    struct queue_listing *listing = peer->listing;
    struct buf out;

    if (listing == NULL || ipc_has_backlog(peer->channel)) {
        return;
    }
    buf_init(&out, IPC_PAYLOAD_MAX);
    if (listing->id[0] == '\0' && !listing->as_json) {
        (void)buf_printf(&out, "%-17s %8s %-19s  %s\n", "----Queue ID-----", "--Size--",
                         "---Arrival Time----", "--Sender/Recipient------");
    }
    int r = print_piece(listing, &out);
    if (r != 0) {
        if (listing->count == 0) {
            buf_clear(&out);
        }
        print_end(listing, &out);
    }
    int sent =
        out.n > 0 ? queue_peer_send(peer, WIRE_CTL_LINE, listing->ask_id, bytes_buf(&out), NULL, 0) : 0;
    buf_free(&out);
    if (r != 0 || sent != 0) {
        if (sent == 0) {
            (void)queue_peer_status(peer, WIRE_CTL_END, listing->ask_id, r == GW_ERR_NOTFOUND ? 0 : r,
                                    gw_strerror(r));
        }
        queue_list_free(&peer->listing);
        return;
    }
    if (listing->timer == NULL && !ipc_has_backlog(peer->channel)) {
        listing->timer = loop_timer_add(peer->queue->loop, clock_monotonic_ms(), next_piece, listing);
    }
}

int
queue_list_start(struct queue_peer *peer, uint64_t ask_id, bool as_json)
{
    if (peer->listing != NULL) {
        return GW_ERR_PEER; /* one question at a time */
    }
    peer->listing = calloc(1, sizeof(*peer->listing));
    if (peer->listing == NULL) {
        return GW_ERR_NOMEM;
    }
    *peer->listing = (struct queue_listing){.peer = peer, .ask_id = ask_id, .as_json = as_json};
    queue_list_continue(peer);
    return 0;
}

/*
 * service_quarantine - messages to be quarantined, many per commit, each answered only when it is on disk.
 *
 * Before: service_peer.c with WIRE_QUARANTINE; after: quarantine.c, then WIRE_QUARANTINED, on which receive
 * says 250. The argument: an answer of 0 is sent only behind a quarantine_commit() that gave 0 for a batch
 * the message was in; every other path answers with an error, and the client keeps its message. When a batch
 * fails, each of its messages is tried once by itself, so one that is too large for what is left does not
 * refuse the others.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/pack.h"
#include "policy/service_private.h"

enum { ENVELOPE_MAX = IPC_PAYLOAD_MAX, REPORT_MAX = 512 * 1024 };

/* The payload is the envelope, the report and the reason; the envelope must be whole, or a release could not
 * use it. */
static int
read_request(struct bytes payload, struct quarantine_entry *entry_r)
{
    struct envelope *envelope = NULL;
    struct unpack u;
    int r;

    *entry_r = (struct quarantine_entry){0};
    unpack_begin(&u, payload);
    entry_r->envelope = unpack_bytes(&u, ENVELOPE_MAX);
    entry_r->report = unpack_bytes(&u, REPORT_MAX);
    entry_r->reason = unpack_bytes(&u, QUARANTINE_REASON_MAX);
    if ((r = unpack_end(&u)) == 0) {
        r = envelope_unpack(entry_r->envelope, &envelope);
    }
    envelope_free(&envelope);
    return r;
}

static int
add(struct service *service, struct service_pending *pending)
{
    struct quarantine_entry entry;
    int r = read_request(pending->message.payload, &entry);

    return r != 0 ? r
                  : quarantine_add(service->quarantine, &entry, pending->message.fds[0], clock_wall_us(),
                                   pending->id);
}

/* A peer that cannot be answered is noticed by its own connection: it may be the one being read right now. */
static void
answer(struct service_pending *pending, int r)
{
    if (pending->peer != NULL && service_peer_status(pending->peer, WIRE_QUARANTINED, pending->message.id, r,
                                                     r == 0 ? pending->id : gw_strerror(r)) != 0) {
        log_warning("policy", "%s: quarantined, but the answer cannot be sent", pending->id);
    }
}

static void
alone(struct service *service, struct service_pending *pending)
{
    int r = add(service, pending);

    r = r == 0 ? quarantine_commit(service->quarantine) : r;
    if (r == GW_ERR_FULL) {
        service_alarm(service, "quarantine full",
                      "the quarantine is full: mail to be quarantined is answered 452");
    } else if (r != 0) {
        log_warning("policy", "cannot quarantine a message: %s: %s", gw_strerror(r), strerror(errno));
    }
    answer(pending, r);
}

static void
finish(struct service *service, int r)
{
    if (r != 0) {
        quarantine_drop(service->quarantine); /* nothing of the batch may be left to be committed twice */
    }
    for (size_t i = 0; i < service->pending_count; i++) {
        if (r == 0) {
            answer(&service->pending[i], 0);
        } else {
            alone(service, &service->pending[i]);
        }
        ipc_message_free(&service->pending[i].message);
    }
    service->pending_count = 0;
}

void
service_quarantine_commit(struct service *service)
{
    if (service->pending_count > 0) {
        finish(service, quarantine_commit(service->quarantine));
    }
}

int
service_quarantine_add(struct service_peer *peer, struct ipc_message *message)
{
    struct service *service = peer->service;

    if (service->pending_count == SERVICE_PENDING_MAX) {
        service_quarantine_commit(service);
    }
    struct service_pending *pending = &service->pending[service->pending_count];
    *pending = (struct service_pending){.peer = peer, .message = *message};
    int r = add(service, pending);
    if (r == GW_ERR_SYNTAX || r == GW_ERR_PEER) {
        return r;
    }
    *message = (struct ipc_message){.fds = {-1, -1, -1, -1}}; /* transferred */
    service->pending_count++;
    service->asked = true;
    if (r != 0) {
        finish(service, r); /* the batch is gone: one by one */
    }
    return 0;
}

void
service_quarantine_forget(struct service *service, const struct service_peer *peer)
{
    for (size_t i = 0; i < service->pending_count; i++) {
        if (service->pending[i].peer == peer) {
            service->pending[i].peer = NULL;
        }
    }
}

/*
 * service_peer - the connections of other roles: accepted, read, answered, cut off.
 *
 * Before: service.c listens. After: the table below, by the type of the message; which role may send which
 * type is checked by ipc before (IPC_RULES). A peer that sends what does not decode is closed, and nothing
 * else happens.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/pack.h"
#include "policy/allowlist.h"
#include "policy/service_private.h"

enum { MESSAGES_PER_TURN = 64 };

static int
answer_greylist(struct service_peer *peer, struct ipc_message *message)
{
    struct service *service = peer->service;
    struct wire_triplet triplet;
    struct wire_greylist_answer answer;
    int r = wire_triplet_unpack(message->payload, &triplet);

    if (r != 0) {
        return r;
    }
    r = greylist_check(service->state, &service->greylist, &triplet, clock_wall_s(), &answer);
    if (r != 0) {
        log_warning("policy", "greylist: %s; passing", gw_strerror(r)); /* the answer is a pass then */
    }
    buf_clear(&service->out);
    if ((r = wire_greylist_answer_pack(&service->out, &answer)) != 0) {
        return r;
    }
    service->asked = true;
    return service_peer_send(peer, WIRE_GREYLIST_ANSWER, message->id, bytes_buf(&service->out), NULL, 0);
}

static int
answer_allow(struct service_peer *peer, struct ipc_message *message)
{
    struct service *service = peer->service;
    struct wire_allow allow;
    int r = wire_allow_unpack(message->payload, &allow);

    if (r != 0) {
        return r;
    }
    (void)allowlist_ask(service->state, &allow,
                        clock_wall_s()); /* on an error: nothing passed, tested again */
    buf_clear(&service->out);
    if ((r = wire_allow_pack(&service->out, &allow)) != 0) {
        return r;
    }
    service->asked = true;
    return service_peer_send(peer, WIRE_ALLOW_ANSWER, message->id, bytes_buf(&service->out), NULL, 0);
}

static int
set_allow(struct service_peer *peer, struct ipc_message *message)
{
    struct wire_allow allow;
    int r = wire_allow_unpack(message->payload, &allow);

    if (r == 0) {
        (void)allowlist_set(peer->service->state, &allow, clock_wall_s());
    }
    return r;
}

static int
keep_evidence(struct service_peer *peer, struct ipc_message *message)
{
    int r = journal_add(peer->service->journal, message->payload, clock_wall_us());

    return r == GW_ERR_SYNTAX ? r : 0; /* our own troubles are not the peer's */
}

static int
take_notice(struct service_peer *peer, struct ipc_message *message)
{
    struct wire_notice notice;
    int r = wire_notice_unpack(message->payload, &notice);

    if (r == 0) {
        service_notice_add(peer->service, &notice);
    }
    return r;
}

static const struct {
    uint16_t type;
    int (*handle)(struct service_peer *peer, struct ipc_message *message);
} HANDLERS[] = {
    {WIRE_EVIDENCE, keep_evidence},  {WIRE_GREYLIST, answer_greylist},
    {WIRE_ALLOW_ASK, answer_allow},  {WIRE_ALLOW_SET, set_allow},
    {WIRE_NOTICE, take_notice},      {WIRE_QUARANTINE, service_quarantine_add},
    {WIRE_CTL_ASK, service_ctl_ask},
};

static int
handle(struct service_peer *peer, struct ipc_message *message)
{
    for (size_t i = 0; i < sizeof(HANDLERS) / sizeof(HANDLERS[0]); i++) {
        if (HANDLERS[i].type == message->type) {
            return HANDLERS[i].handle(peer, message);
        }
    }
    return GW_ERR_PEER;
}

static int
read_messages(struct service_peer *peer)
{
    struct ipc_message message;
    int r = 0;

    for (int i = 0; r == 0 && i < MESSAGES_PER_TURN; i++) {
        r = ipc_receive(peer->channel, 0, &message);
        if (r == 0) {
            peer->service->heard = true;
            r = handle(peer, &message);
            ipc_message_free(&message);
        }
    }
    return r;
}

static void
peer_ready(void *context, uint32_t events)
{
    struct service_peer *peer = context;
    int r = 0;

    if ((events & EPOLLOUT) != 0 && peer->awaits_room) {
        r = ipc_flush(peer->channel);
        if (r == 0) {
            loop_watch_change(peer->service->loop, peer->watch, EPOLLIN);
            peer->awaits_room = false;
            service_ctl_continue(peer);
        }
        r = r == GW_ERR_AGAIN ? 0 : r;
    }
    if (r == 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        r = read_messages(peer);
    }
    if (r == 0 || r == GW_ERR_AGAIN) {
        return;
    }
    if (r != GW_ERR_EOF) {
        log_warning("policy", "closing the connection of %s: %s", role_name(peer->role), gw_strerror(r));
    }
    service_peer_close(&peer);
}

static void
add_peer(struct service *service, struct ipc_channel *channel, enum role role)
{
    struct service_peer *peer = service->peer_count < SERVICE_PEERS_MAX ? calloc(1, sizeof(*peer)) : NULL;

    if (peer != NULL) {
        *peer = (struct service_peer){.service = service, .role = role, .channel = channel};
        peer->watch = loop_watch_add(service->loop, ipc_channel_fd(channel), EPOLLIN, peer_ready, peer);
    }
    if (peer == NULL || peer->watch == NULL) {
        ipc_channel_free(&channel);
        free(peer);
        return;
    }
    peer->next = service->peers;
    peer->link = &service->peers;
    if (peer->next != NULL) {
        peer->next->link = &peer->next;
    }
    service->peers = peer;
    service->peer_count++;
}

static void
accept_peers(void *context, uint32_t events)
{
    struct service_listener *listener = context;
    struct ipc_channel *channel;
    int r;

    (void)events;
    while ((r = ipc_accept(listener->fd, ROLE_POLICY, listener->peer, true, &channel)) == 0) {
        add_peer(listener->service, channel, listener->peer);
    }
    if (r != GW_ERR_AGAIN) {
        log_warning("policy", "cannot accept a connection of %s: %s", role_name(listener->peer),
                    gw_strerror(r));
    }
}

int
service_peer_listen(struct service *service, int fd, enum role peer)
{
    if (service->listener_count >= ROLE_LISTENERS_MAX) {
        return GW_ERR_LIMIT;
    }
    struct service_listener *listener = &service->listeners[service->listener_count];
    *listener = (struct service_listener){.service = service, .fd = fd, .peer = peer};
    listener->watch = loop_watch_add(service->loop, fd, EPOLLIN, accept_peers, listener);
    if (listener->watch == NULL) {
        return GW_ERR_NOMEM;
    }
    service->listener_count++;
    return 0;
}

void
service_peer_close(struct service_peer **peer_p)
{
    struct service_peer *peer = *peer_p;

    if (peer == NULL) {
        return;
    }
    service_quarantine_forget(peer->service, peer);
    service_ctl_end(peer);
    loop_watch_remove(peer->service->loop, &peer->watch);
    ipc_channel_free(&peer->channel);
    *peer->link = peer->next;
    if (peer->next != NULL) {
        peer->next->link = peer->link;
    }
    peer->service->peer_count--;
    free(peer);
    *peer_p = NULL;
}

int
service_peer_send(struct service_peer *peer, uint16_t type, uint64_t id, struct bytes payload, const int *fds,
                  size_t fd_count)
{
    int r = ipc_send(peer->channel, type, id, payload, fds, fd_count);

    if (r == 0 && !peer->awaits_room && ipc_has_backlog(peer->channel)) {
        loop_watch_change(peer->service->loop, peer->watch, EPOLLIN | EPOLLOUT);
        peer->awaits_room = true;
    }
    return r;
}

int
service_peer_status(struct service_peer *peer, uint16_t type, uint64_t id, int code, const char *detail)
{
    struct buf *out = &peer->service->out;
    int r;

    buf_clear(out); /* the form of wire_status_pack(), without filling four kilobytes */
    r = pack_u32(out, (uint32_t)code);
    r = r == 0 ? pack_str(out, detail) : r;
    return r == 0 ? service_peer_send(peer, type, id, bytes_buf(out), NULL, 0) : r;
}

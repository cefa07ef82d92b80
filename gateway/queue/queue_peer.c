/*
 * queue_peer - the connections of other roles: accepted, read, answered, cut off.
 *
 * Before: queue_service.c listens; after: queue_commit.c, queue_worker.c, queue_ctl.c by the type of the
 * message. A peer that breaks a rule of ipc or sends what does not decode is closed and nothing else happens:
 * what it had handed over completely is kept, what it was doing (a job) is done again by another.
 */
#include "queue/queue_private.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/log.h"
#include "base/pack.h"

static const struct {
    uint16_t type;
    int (*handle)(struct queue_peer *peer, struct ipc_message *message);
} HANDLERS[] = {
    {WIRE_SUBMIT, queue_commit_submit},
    {WIRE_WORKER, queue_worker_register},
    {WIRE_RESULT, queue_worker_result},
    {WIRE_CTL_ASK, queue_ctl_ask},
};

static int
handle(struct queue_peer *peer, struct ipc_message *message)
{
    for (size_t i = 0; i < sizeof(HANDLERS) / sizeof(HANDLERS[0]); i++) {
        if (HANDLERS[i].type == message->type) {
            return HANDLERS[i].handle(peer, message);
        }
    }
    return GW_ERR_PEER;
}

/* One message per call: nearly every peer waits for its answer, so a second try would be a system call for
 * nothing, and the loop calls again when there is more. */
static void
read_peer(void *context, uint32_t events)
{
    struct queue_peer *peer = context;
    struct ipc_message message;
    int r = 0;

    if ((events & EPOLLOUT) != 0) {
        r = ipc_flush(peer->channel);
        if (r == 0) {
            loop_watch_change(peer->queue->loop, peer->watch, EPOLLIN);
            peer->awaits_room = false;
            queue_list_continue(peer);
        }
        r = r == GW_ERR_AGAIN ? 0 : r;
    }
    if (r == 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        r = ipc_receive(peer->channel, 0, &message);
        if (r == 0) {
            r = handle(peer, &message);
            ipc_message_free(&message);
        }
    }
    if (r == 0 || r == GW_ERR_AGAIN) {
        return;
    }
    if (r != GW_ERR_EOF) {
        log_warning("qmgr", "closing the connection of %s: %s", role_name(peer->role), gw_strerror(r));
    }
    queue_peer_close(&peer);
}

/* Who it is the kernel knows; nobody when it does not say. */
static uid_t
find_uid(int fd)
{
    struct ucred who;
    socklen_t length = sizeof(who);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length) == 0 ? who.uid : (uid_t)-1;
}

static void
add_peer(struct queue *queue, struct ipc_channel *channel, enum role role)
{
    bool is_local = role == ROLE_SUBMIT;
    bool has_room =
        queue->peer_count < QUEUE_CLIENTS_MAX && (!is_local || queue->local_count < QUEUE_LOCAL_MAX);
    struct queue_peer *peer = has_room ? calloc(1, sizeof(*peer)) : NULL;

    if (peer == NULL) {
        ipc_channel_free(&channel);
        return;
    }
    peer->queue = queue;
    peer->role = role;
    peer->channel = channel;
    peer->watch = loop_watch_add(queue->loop, ipc_channel_fd(channel), EPOLLIN, read_peer, peer);
    if (peer->watch == NULL) {
        ipc_channel_free(&channel);
        free(peer);
        return;
    }
    peer->next = queue->peers;
    peer->link = &queue->peers;
    if (peer->next != NULL) {
        peer->next->link = &peer->next;
    }
    queue->peers = peer;
    queue->peer_count++;
    queue->local_count += is_local;
    peer->uid = is_local ? find_uid(ipc_channel_fd(channel)) : 0;
}

static void
accept_peers(void *context, uint32_t events)
{
    struct queue_listener *listener = context;
    struct ipc_channel *channel;
    int r;

    (void)events;
    while ((r = ipc_accept(listener->fd, ROLE_QUEUE, listener->peer, true, &channel)) == 0) {
        add_peer(listener->queue, channel, listener->peer);
    }
    if (r != GW_ERR_AGAIN) {
        log_warning("qmgr", "cannot accept a connection of %s: %s", role_name(listener->peer),
                    gw_strerror(r));
    }
}

int
queue_peer_listen(struct queue *queue, int fd, enum role peer)
{
    if (queue->listener_count >= ROLE_LISTENERS_MAX) {
        return GW_ERR_LIMIT;
    }
    struct queue_listener *listener = &queue->listeners[queue->listener_count];
    *listener = (struct queue_listener){.queue = queue, .fd = fd, .peer = peer};
    listener->watch = loop_watch_add(queue->loop, fd, EPOLLIN, accept_peers, listener);
    if (listener->watch == NULL) {
        return GW_ERR_NOMEM;
    }
    queue->listener_count++;
    return 0;
}

void
queue_peer_close(struct queue_peer **peer_p)
{
    struct queue_peer *peer = *peer_p;

    if (peer == NULL) {
        return;
    }
    queue_commit_forget_peer(peer->queue, peer);
    queue_worker_lost(peer);
    queue_list_free(&peer->listing);
    loop_watch_remove(peer->queue->loop, &peer->watch);
    ipc_channel_free(&peer->channel);
    *peer->link = peer->next;
    if (peer->next != NULL) {
        peer->next->link = peer->link;
    }
    peer->queue->peer_count--;
    peer->queue->local_count -= peer->role == ROLE_SUBMIT;
    free(peer);
    *peer_p = NULL;
}

int
queue_peer_send(struct queue_peer *peer, uint16_t type, uint64_t id, struct bytes payload, const int *fds,
                size_t fd_count)
{
    int r = ipc_send(peer->channel, type, id, payload, fds, fd_count);

    if (r == 0 && !peer->awaits_room && ipc_has_backlog(peer->channel)) {
        loop_watch_change(peer->queue->loop, peer->watch, EPOLLIN | EPOLLOUT);
        peer->awaits_room = true;
    }
    return r;
}

int
queue_peer_status(struct queue_peer *peer, uint16_t type, uint64_t id, int code, const char *detail)
{
    struct buf *out = &peer->queue->out;

    /* The form of wire_status_pack(), without filling four kilobytes for each 250. */
    buf_clear(out);
    int r = pack_u32(out, (uint32_t)code);
    if (r == 0) {
        r = pack_str(out, detail);
    }
    return r == 0 ? queue_peer_send(peer, type, id, bytes_buf(out), NULL, 0) : r;
}

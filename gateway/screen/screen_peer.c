/*
 * screen_peer - the screen's connections to policy (allowlist, evidence) and receive (clients that passed).
 *
 * Before: screen_client.c; after: policy/service_peer.c and receive_service.c. A connection is opened when it
 * is needed. When one breaks, questions under way count as unanswered, and the next message connects again;
 * evidence that cannot be sent is lost, mail is not.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "screen/screen_private.h"

enum { OUT_MAX = 2 * EVIDENCE_RECORD_MAX };

static void
disconnect(struct screen_peer *peer)
{
    loop_watch_remove(peer->screen->loop, &peer->watch);
    ipc_channel_free(&peer->channel);
    peer->backlog = 0;
}

static int
take_answer(struct screen *screen, const struct ipc_message *message)
{
    struct wire_allow allow;
    struct screen_client *client;
    int r;

    if (message->type != WIRE_ALLOW_ANSWER) {
        return GW_ERR_PEER;
    }
    if ((r = wire_allow_unpack(message->payload, &allow)) != 0) {
        return r;
    }
    client = screen_client_find(screen, message->id);
    if (client != NULL && client->state == SCREEN_ASKING) {
        screen_client_allow(client, &allow);
    }
    return 0;
}

static void
serve(void *context, uint32_t events)
{
    struct screen_peer *peer = context;
    struct ipc_message message;
    int r = 0;

    if ((events & EPOLLOUT) != 0) {
        r = ipc_flush(peer->channel);
        if (r == 0) {
            peer->backlog = 0;
            loop_watch_change(peer->screen->loop, peer->watch, EPOLLIN);
        }
        r = r == GW_ERR_AGAIN ? 0 : r;
    }
    while (r == 0 && peer->channel != NULL && (r = ipc_receive(peer->channel, 0, &message)) == 0) {
        r = take_answer(peer->screen, &message);
        ipc_message_free(&message);
    }
    if (r == 0 || r == GW_ERR_AGAIN) {
        return;
    }
    disconnect(peer);
    if (peer->role == ROLE_POLICY) {
        screen_client_policy_lost(peer->screen);
    }
}

static int
connect_peer(struct screen_peer *peer)
{
    struct ipc_channel *blocking = NULL;
    int r = ipc_connect(ROLE_SCREEN, peer->role, &blocking);

    if (r != 0) {
        return r;
    }
    /* The socket's buffer takes what a burst hands over before receive has its turn. */
    int fd = fcntl(ipc_channel_fd(blocking), F_DUPFD_CLOEXEC, 3);
    ipc_channel_free(&blocking);
    if (fd == -1 || fcntl(fd, F_SETFL, O_NONBLOCK) == -1 ||
        (peer->channel = ipc_channel_new(fd, ROLE_SCREEN, peer->role)) == NULL) {
        if (fd != -1) {
            (void)close(fd);
        }
        return GW_ERR_SYS;
    }
    peer->watch = loop_watch_add(peer->screen->loop, fd, EPOLLIN, serve, peer);
    if (peer->watch == NULL) {
        ipc_channel_free(&peer->channel);
        return GW_ERR_NOMEM;
    }
    return 0;
}

static int
send_once(struct screen_peer *peer, uint16_t type, uint64_t id, struct bytes payload, const int *fds,
          size_t fd_count)
{
    int r = peer->channel == NULL ? connect_peer(peer) : 0;

    if (r != 0) {
        return r;
    }
    r = ipc_send(peer->channel, type, id, payload, fds, fd_count);
    if (r == 0 && ipc_has_backlog(peer->channel)) {
        peer->backlog++;
        loop_watch_change(peer->screen->loop, peer->watch, EPOLLIN | EPOLLOUT);
    }
    return r;
}

/* GW_ERR_TEMP: the role is not there. */
static int
send_message(struct screen_peer *peer, uint16_t type, uint64_t id, struct bytes payload, const int *fds,
             size_t fd_count)
{
    int r = send_once(peer, type, id, payload, fds, fd_count);

    if (r == GW_ERR_EOF) {
        disconnect(peer); /* it was restarted: connect again, once */
        r = send_once(peer, type, id, payload, fds, fd_count);
        if (peer->role == ROLE_POLICY) {
            screen_client_policy_lost(peer->screen); /* after the send: it uses the same buffer */
        }
    }
    return r == 0 || r == GW_ERR_FULL ? r : GW_ERR_TEMP;
}

void
screen_peer_init(struct screen *screen)
{
    screen->policy = (struct screen_peer){.screen = screen, .role = ROLE_POLICY};
    screen->receive = (struct screen_peer){.screen = screen, .role = ROLE_RECEIVE};
    buf_init(&screen->out, OUT_MAX);
}

static int
send_allow(const struct screen_client *client, uint16_t type)
{
    struct screen *screen = client->port->screen;
    struct wire_allow allow = {.client = client->client};

    memcpy(allow.expires_s, client->expires_s, sizeof(allow.expires_s));
    buf_clear(&screen->out);
    int r = wire_allow_pack(&screen->out, &allow);
    return r != 0 ? GW_ERR_TEMP
                  : send_message(&screen->policy, type, client->id, bytes_buf(&screen->out), NULL, 0);
}

int
screen_peer_ask_allow(struct screen_client *client)
{
    return send_allow(client, WIRE_ALLOW_ASK);
}

void
screen_peer_tell_allow(const struct screen_client *client)
{
    (void)send_allow(client, WIRE_ALLOW_SET); /* not remembered: it will be tested again */
}

void
screen_peer_evidence(struct screen *screen, const struct evidence *evidence)
{
    if (evidence->record.n > 0) {
        (void)send_message(&screen->policy, WIRE_EVIDENCE, 0, bytes_buf(&evidence->record), NULL, 0);
    }
}

/* The events behind the record's head: receive puts them into the record of the session. */
static struct bytes
events_of(const struct evidence *evidence)
{
    struct bytes rest = bytes_buf(&evidence->record);
    struct evidence_head head;

    return evidence_read_head(&rest, &head) == 0 ? rest : (struct bytes){0};
}

int
screen_peer_hand_over(const struct screen_client *client)
{
    struct screen *screen = client->port->screen;
    struct evidence evidence = {0};
    struct wire_handover handover = {
        .client = client->client,
        .server = client->server,
        .dnsbl_score = client->rank,
        .tests_passed = client->passed,
        .tests_pending = client->access == SCREEN_PERMIT ? 0 : client->port->settings->deep_tests,
        .teaser_sent = client->teaser_sent,
    };

    if (screen->receive.backlog >= client->port->settings->post_queue_limit && screen->receive.backlog > 0) {
        return GW_ERR_FULL;
    }
    (void)snprintf(handover.service, sizeof(handover.service), "%s", screen->pass_service);
    if (evidence_begin(&evidence, "screen", "screen") == 0) {
        evidence.started_us = client->started_us; /* the events' times count from the connection */
        screen_record_tests(client, &evidence);
        handover.evidence = events_of(&evidence);
    }
    buf_clear(&screen->out);
    int r = wire_handover_pack(&screen->out, &handover);
    if (r == 0) {
        r = send_message(&screen->receive, WIRE_HANDOVER, client->id, bytes_buf(&screen->out), &client->fd,
                         1);
    }
    evidence_free(&evidence);
    return r;
}

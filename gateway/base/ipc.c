/*
 * ipc - see the header. Before and after: every role; the rules are IPC_RULES (message/wire.c).
 *
 * One packet is a header of 16 bytes and the payload; SOCK_SEQPACKET keeps the boundary. A receiver believes
 * nothing: type, sender, phase, length and number of descriptors are compared with the rule before the
 * payload is looked at, and a spilled payload is mapped only when its memfd is sealed and exactly as long as
 * the header says.
 */
#include "base/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

enum {
    SPILLED = 1,
    FDS_ON_WIRE = IPC_FDS_MAX + 1, /* one more for the spilled payload */
    BACKLOG_BYTES_MAX = 16 * 1024 * 1024,
    BACKLOG_PACKETS_MAX = 4096,
    ALL_SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE,
    ARM_S = 10,           /* a receiver looks at its deadline at least this often */
    SEND_WAIT_MS = 30000, /* a blocking sender waits this long for a peer that does not read */
};

struct header {
    uint16_t type;
    uint16_t flags;
    uint32_t length;
    uint64_t id;
};

/* A packet that did not fit into the socket. */
struct packet {
    struct packet *next;
    int fds[FDS_ON_WIRE];
    size_t fd_count;
    size_t n;
    uint8_t data[];
};

struct ipc_channel {
    int fd;
    enum role self, peer;
    uint8_t phase;
    bool nonblocking;
    int timeout_s; /* SO_RCVTIMEO as set last; 0 none */
    uint64_t next_id;
    struct packet *first, *last;
    size_t backlog_bytes, backlog_packets;
};

struct ipc_channel *
ipc_channel_new(int fd, enum role self, enum role peer)
{
    struct ipc_channel *channel = calloc(1, sizeof(*channel));

    if (channel != NULL) {
        int flags = fcntl(fd, F_GETFL);

        *channel = (struct ipc_channel){
            .fd = fd, .self = self, .peer = peer, .phase = IPC_PHASE_START, .next_id = 1};
        channel->nonblocking = flags != -1 && (flags & O_NONBLOCK) != 0;
        struct timeval wait = {.tv_sec = SEND_WAIT_MS / 1000};
        if (!channel->nonblocking) {
            (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
        }
    }
    return channel;
}

static void
close_fds(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fds[i] != -1) {
            (void)close(fds[i]);
            fds[i] = -1;
        }
    }
}

static void
drop_first(struct ipc_channel *channel)
{
    struct packet *packet = channel->first;

    channel->first = packet->next;
    if (channel->first == NULL) {
        channel->last = NULL;
    }
    channel->backlog_bytes -= packet->n;
    channel->backlog_packets--;
    close_fds(packet->fds, packet->fd_count);
    free(packet);
}

void
ipc_channel_free(struct ipc_channel **channel)
{
    if (*channel == NULL) {
        return;
    }
    while ((*channel)->first != NULL) {
        drop_first(*channel);
    }
    (void)close((*channel)->fd);
    free(*channel);
    *channel = NULL;
}

int
ipc_channel_fd(const struct ipc_channel *channel)
{
    return channel->fd;
}

enum role
ipc_channel_peer(const struct ipc_channel *channel)
{
    return channel->peer;
}

int
ipc_connect(enum role self, enum role server, struct ipc_channel **channel_r)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *channel_r = NULL;
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "ipc/%s", role_name(server));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd == -1) {
        return GW_ERR_SYS;
    }
    while (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == -1) {
        if (errno != EINTR) {
            (void)close(fd);
            return GW_ERR_SYS;
        }
    }
    *channel_r = ipc_channel_new(fd, self, server);
    if (*channel_r == NULL) {
        (void)close(fd);
        return GW_ERR_NOMEM;
    }
    return 0;
}

int
ipc_accept(int listen_fd, enum role self, enum role peer, bool nonblocking, struct ipc_channel **channel_r)
{
    *channel_r = NULL;
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0));
    if (fd == -1) {
        return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ? GW_ERR_AGAIN : GW_ERR_SYS;
    }
    *channel_r = ipc_channel_new(fd, self, peer);
    if (*channel_r == NULL) {
        (void)close(fd);
        return GW_ERR_NOMEM;
    }
    return 0;
}

static const struct ipc_rule *
find_rule(uint16_t type, enum role from, enum role to)
{
    for (const struct ipc_rule *rule = IPC_RULES; rule->type != 0; rule++) {
        if (rule->type == type && rule->from == from && rule->to == to) {
            return rule;
        }
    }
    return NULL;
}

static void
move_phase(struct ipc_channel *channel, const struct ipc_rule *rule)
{
    if (rule->next_phase != 0) {
        channel->phase = rule->next_phase;
    }
}

/* One sendmsg(2). 0, GW_ERR_AGAIN, GW_ERR_EOF (the peer is gone), GW_ERR_TIMEOUT, GW_ERR_SYS. */
static int
send_packet(int fd, const struct iovec *parts, size_t part_count, const int *fds, size_t fd_count,
            bool nonblocking)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * FDS_ON_WIRE)];
    } control;
    struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = part_count};

    if (fd_count > 0) {
        memset(&control, 0, sizeof(control));
        message.msg_control = control.space;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(head), fds, sizeof(int) * fd_count);
    }
    for (;;) {
        if (sendmsg(fd, &message, MSG_NOSIGNAL | (nonblocking ? MSG_DONTWAIT : 0)) != -1) {
            return 0;
        }
        if (errno == EAGAIN) {
            return nonblocking ? GW_ERR_AGAIN : GW_ERR_TIMEOUT;
        }
        if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN) {
            return GW_ERR_EOF;
        }
        if (errno != EINTR) {
            return GW_ERR_SYS;
        }
    }
}

/* Keeps a packet until the socket takes it; descriptors are duplicated, the caller closes its own. */
static int
queue_packet(struct ipc_channel *channel, const struct header *header, struct bytes payload, const int *fds,
             size_t fd_count)
{
    size_t n = sizeof(*header) + payload.n;

    if (channel->backlog_packets >= BACKLOG_PACKETS_MAX || channel->backlog_bytes + n > BACKLOG_BYTES_MAX) {
        return GW_ERR_FULL;
    }
    struct packet *packet = malloc(sizeof(*packet) + n);
    if (packet == NULL) {
        return GW_ERR_NOMEM;
    }
    *packet = (struct packet){.n = n};
    memcpy(packet->data, header, sizeof(*header));
    if (payload.n > 0) {
        memcpy(packet->data + sizeof(*header), payload.p, payload.n);
    }
    for (size_t i = 0; i < fd_count; i++) {
        int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);

        if (copy == -1) {
            close_fds(packet->fds, packet->fd_count);
            free(packet);
            return GW_ERR_SYS;
        }
        packet->fds[packet->fd_count++] = copy;
    }
    if (channel->last != NULL) {
        channel->last->next = packet;
    } else {
        channel->first = packet;
    }
    channel->last = packet;
    channel->backlog_bytes += n;
    channel->backlog_packets++;
    return 0;
}

int
ipc_send(struct ipc_channel *channel, uint16_t type, uint64_t id, struct bytes payload, const int *fds,
         size_t fd_count)
{
    const struct ipc_rule *rule = find_rule(type, channel->self, channel->peer);
    struct header header = {.type = type, .id = id, .length = (uint32_t)payload.n};
    int wire_fds[FDS_ON_WIRE], spill = -1, r;

    if (rule == NULL || payload.n > rule->length || payload.n > IPC_PAYLOAD_MAX || fd_count != rule->fds ||
        (rule->phases & channel->phase) == 0) {
        return GW_ERR_DENIED;
    }
    for (size_t i = 0; i < fd_count; i++) {
        wire_fds[i] = fds[i];
    }
    if (payload.n > IPC_INLINE_MAX) {
        spill = ipc_sealed_memfd("ipc", payload);
        if (spill == -1) {
            return GW_ERR_SYS;
        }
        header.flags = SPILLED;
        wire_fds[fd_count++] = spill;
        payload = (struct bytes){0};
    }
    struct iovec parts[2] = {{&header, sizeof(header)}, {(void *)payload.p, payload.n}};
    r = channel->first != NULL ? GW_ERR_AGAIN
                               : send_packet(channel->fd, parts, payload.n > 0 ? 2 : 1, wire_fds, fd_count,
                                             channel->nonblocking);
    if (r == GW_ERR_AGAIN) {
        r = queue_packet(channel, &header, payload, wire_fds, fd_count);
    }
    if (r == 0) {
        move_phase(channel, rule);
    }
    close_fds(&spill, 1);
    return r;
}

bool
ipc_has_backlog(const struct ipc_channel *channel)
{
    return channel->first != NULL;
}

int
ipc_flush(struct ipc_channel *channel)
{
    while (channel->first != NULL) {
        struct packet *packet = channel->first;
        struct iovec part = {packet->data, packet->n};
        int r = send_packet(channel->fd, &part, 1, packet->fds, packet->fd_count, channel->nonblocking);

        if (r != 0) {
            return r;
        }
        drop_first(channel);
    }
    return 0;
}

/* Makes recvmsg(2) itself end by the deadline, or after ARM_S to look again: one system call per message,
 * since the time-out is the same from message to message. */
static int
set_receive_timeout(struct ipc_channel *channel, int64_t deadline_ms)
{
    int left_ms = clock_left_ms(deadline_ms);
    int seconds = left_ms == -1 ? 0 : left_ms > ARM_S * 1000 ? ARM_S : left_ms / 1000 + 1;

    if (left_ms == 0) {
        /* Passed: what has arrived already may still be taken. */
        struct pollfd ready = {.fd = channel->fd, .events = POLLIN};
        return poll(&ready, 1, 0) == 1 ? 0 : GW_ERR_TIMEOUT;
    }
    if (seconds != channel->timeout_s) {
        struct timeval wait = {.tv_sec = seconds};

        if (setsockopt(channel->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) == -1) {
            return GW_ERR_SYS;
        }
        channel->timeout_s = seconds;
    }
    return 0;
}

static int
receive_packet(struct ipc_channel *channel, int64_t deadline_ms, struct msghdr *message, ssize_t *n_r)
{
    size_t control_size = message->msg_controllen;

    for (;;) {
        int r = channel->nonblocking ? 0 : set_receive_timeout(channel, deadline_ms);

        if (r != 0) {
            return r;
        }
        message->msg_controllen = control_size;
        *n_r = recvmsg(channel->fd, message, MSG_CMSG_CLOEXEC);
        if (*n_r > 0) {
            return 0;
        }
        if (*n_r == 0 || errno == ECONNRESET) {
            return GW_ERR_EOF;
        }
        if (errno == EAGAIN && channel->nonblocking) {
            return GW_ERR_AGAIN;
        }
        if (errno == EINTR && deadline_ms == CLOCK_NEVER) {
            return GW_ERR_AGAIN; /* a thread that waits without end is told to look around by a signal */
        }
        if (errno != EAGAIN && errno != EINTR) {
            return GW_ERR_SYS;
        }
    }
}

static size_t
take_fds(struct msghdr *message, int fds[FDS_ON_WIRE])
{
    size_t count = 0;

    for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head != NULL; head = CMSG_NXTHDR(message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t n = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof(int));
            if (count < FDS_ON_WIRE) {
                fds[count++] = fd;
            } else {
                (void)close(fd);
            }
        }
    }
    return count;
}

/* Maps the payload that travelled as a memfd. */
static int
map_spilled(int fd, uint32_t length, struct ipc_message *message)
{
    struct stat status;

    if (!ipc_is_sealed(fd) || fstat(fd, &status) == -1 || status.st_size != (off_t)length || length == 0) {
        return GW_ERR_PEER;
    }
    void *p = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) {
        return GW_ERR_SYS;
    }
    message->storage = p;
    message->mapped = length;
    message->payload = bytes_of(p, length);
    return 0;
}

static int
copy_inline(struct bytes data, struct ipc_message *message)
{
    if (data.n == 0) {
        return 0;
    }
    message->storage = malloc(data.n);
    if (message->storage == NULL) {
        return GW_ERR_NOMEM;
    }
    memcpy(message->storage, data.p, data.n);
    message->payload = bytes_of(message->storage, data.n);
    return 0;
}

/* Compares a packet with its rule; fds belong to the caller until 0 is returned. */
static int
check_packet(struct ipc_channel *channel, struct bytes packet, const int *fds, size_t fd_count,
             struct ipc_message *message_r)
{
    struct header header;
    int r;

    if (packet.n < sizeof(header)) {
        return GW_ERR_PEER;
    }
    memcpy(&header, packet.p, sizeof(header));
    struct bytes data = bytes_sub(packet, sizeof(header), packet.n);
    const struct ipc_rule *rule = find_rule(header.type, channel->peer, channel->self);
    bool spilled = header.flags == SPILLED;
    if (rule == NULL || (rule->phases & channel->phase) == 0 || (header.flags & ~SPILLED) != 0 ||
        header.length > rule->length || fd_count != (size_t)rule->fds + (spilled ? 1 : 0) ||
        (spilled ? data.n != 0 : data.n != header.length)) {
        return GW_ERR_PEER;
    }
    r = spilled ? map_spilled(fds[rule->fds], header.length, message_r) : copy_inline(data, message_r);
    if (r != 0) {
        return r;
    }
    message_r->type = header.type;
    message_r->id = header.id;
    message_r->fd_count = rule->fds;
    for (size_t i = 0; i < rule->fds; i++) {
        message_r->fds[i] = fds[i];
    }
    if (spilled) {
        (void)close(fds[rule->fds]); /* the mapping stays */
    }
    move_phase(channel, rule);
    return 0;
}

int
ipc_receive(struct ipc_channel *channel, int64_t deadline_ms, struct ipc_message *message_r)
{
    uint8_t packet[sizeof(struct header) + IPC_INLINE_MAX];
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * FDS_ON_WIRE)];
    } control;
    struct iovec part = {packet, sizeof(packet)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof(control.space)};
    int fds[FDS_ON_WIRE] = {0};
    ssize_t n;
    int r;

    *message_r = (struct ipc_message){.fds = {-1, -1, -1, -1}};
    if ((r = receive_packet(channel, deadline_ms, &message, &n)) != 0) {
        return r;
    }
    size_t fd_count = take_fds(&message, fds);
    r = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0
            ? GW_ERR_PEER
            : check_packet(channel, bytes_of(packet, (size_t)n), fds, fd_count, message_r);
    if (r != 0) {
        close_fds(fds, fd_count);
    }
    return r;
}

void
ipc_message_free(struct ipc_message *message)
{
    close_fds(message->fds, message->fd_count);
    if (message->mapped > 0) {
        (void)munmap(message->storage, message->mapped);
    } else {
        free(message->storage);
    }
    *message = (struct ipc_message){.fds = {-1, -1, -1, -1}};
}

int
ipc_call(struct ipc_channel *channel, uint16_t type, struct bytes payload, const int *fds, size_t fd_count,
         int64_t deadline_ms, struct ipc_message *answer_r)
{
    uint64_t id = channel->next_id++;
    int r = ipc_send(channel, type, id, payload, fds, fd_count);

    *answer_r = (struct ipc_message){.fds = {-1, -1, -1, -1}};
    while (r == 0) {
        r = ipc_receive(channel, deadline_ms, answer_r);
        if (r == GW_ERR_AGAIN) {
            r = 0;
            continue;
        }
        if (r == 0 && answer_r->id == id) {
            break;
        }
        ipc_message_free(answer_r); /* the late answer of a question given up */
    }
    return r;
}

int
ipc_sealed_memfd(const char *name, struct bytes v)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    size_t done = 0;

    while (fd != -1 && done < v.n) {
        ssize_t n = write(fd, v.p + done, v.n - done);

        if (n == -1 && errno != EINTR) {
            (void)close(fd);
            return -1;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    if (fd != -1 && fcntl(fd, F_ADD_SEALS, ALL_SEALS) == -1) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

bool
ipc_is_sealed(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);

    return seals != -1 && (seals & ALL_SEALS) == ALL_SEALS;
}

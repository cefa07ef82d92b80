/*
 * ipc - typed messages between roles over SOCK_SEQPACKET, with descriptors.
 *
 * A server has one listening socket per role that may call it (ROLE_EDGES), so it knows who calls without
 * asking. Each message is checked against one table of rules: type, who may send it to whom, in which phase
 * of the connection, how long, with how many descriptors. A peer that breaks a rule gets GW_ERR_PEER and is
 * closed by the caller: never trusted, never fatal. Payloads over IPC_INLINE_MAX travel as a sealed memfd;
 * the receiver maps them, so the caller sees no difference. Works blocking (threads of receive, relay, scan)
 * and non-blocking (loops).
 */
#ifndef BASE_IPC_H
#define BASE_IPC_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/role.h"

enum {
    IPC_INLINE_MAX = 32768,             /* bytes of payload inside the packet */
    IPC_PAYLOAD_MAX = 64 * 1024 * 1024, /* bytes of any payload, spilled or not */
    IPC_FDS_MAX = 4,
    IPC_BACKLOG = 1024,
};

/* Phases are bits of the connection as the receiver sees it; a rule names those in which its type is allowed.
 */
enum { IPC_PHASE_ANY = 0xff, IPC_PHASE_START = 1 };

struct ipc_rule {
    uint16_t type;
    enum role from;
    enum role to;
    uint8_t phases;     /* allowed in these */
    uint8_t next_phase; /* the phase after it; 0 leaves it */
    uint8_t fds;        /* exactly this many descriptors */
    uint32_t length;    /* at most this many bytes of payload */
};

/* The one table of the program (gateway/message/wire.c); ends with type 0. */
extern const struct ipc_rule IPC_RULES[];

struct ipc_message {
    uint16_t type;
    uint64_t id;          /* chosen by the asker; the answer carries the same */
    struct bytes payload; /* valid until ipc_message_free() */
    int fds[IPC_FDS_MAX]; /* -1 where none; set to -1 what you keep */
    size_t fd_count;
    void *storage; /* private */
    size_t mapped; /* private */
};

struct ipc_channel; /* one connection */

/* Takes over a connected SEQPACKET descriptor. `self` and `peer` decide which rules apply. NULL: out of
 * memory. */
struct ipc_channel *ipc_channel_new(int fd, enum role self, enum role peer);
void ipc_channel_free(struct ipc_channel **channel);
int ipc_channel_fd(const struct ipc_channel *channel);
enum role ipc_channel_peer(const struct ipc_channel *channel);

/* Connects to the server's socket in this role's jail ("ipc/<server>", relative to the working directory that
 * role_start prepared). Blocking; 0, GW_ERR_SYS. */
int ipc_connect(enum role self, enum role server, struct ipc_channel **channel_r);
/* Accepts on a listening socket whose callers are `peer`. GW_ERR_AGAIN when non-blocking and none waits. */
int ipc_accept(int listen_fd, enum role self, enum role peer, bool nonblocking,
               struct ipc_channel **channel_r);

/* Sends one message; descriptors are duplicated by the kernel, the caller keeps (and closes) its own.
 * On a non-blocking channel a full socket queues the message inside the channel (bounded; GW_ERR_FULL beyond)
 * and ipc_flush() sends the rest when the descriptor is writable. GW_ERR_DENIED when our own table forbids
 * it. */
int ipc_send(struct ipc_channel *channel, uint16_t type, uint64_t id, struct bytes payload, const int *fds,
             size_t fd_count);
bool ipc_has_backlog(const struct ipc_channel *channel);
int ipc_flush(struct ipc_channel *channel); /* 0 all sent, GW_ERR_AGAIN, GW_ERR_SYS */

/* Receives one checked message. deadline_ms is absolute (base/clock.h) and is used on blocking channels.
 * 0; GW_ERR_AGAIN, GW_ERR_TIMEOUT, GW_ERR_EOF, GW_ERR_PEER (rule broken), GW_ERR_SYS. */
int ipc_receive(struct ipc_channel *channel, int64_t deadline_ms, struct ipc_message *message_r);
void ipc_message_free(struct ipc_message *message); /* closes descriptors still in it */

/* One question and its answer on a blocking channel: sends, then receives until the answer with the same id.
 */
int ipc_call(struct ipc_channel *channel, uint16_t type, struct bytes payload, const int *fds,
             size_t fd_count, int64_t deadline_ms, struct ipc_message *answer_r);

/* A memfd sealed against every change, holding v. -1 with errno. */
int ipc_sealed_memfd(const char *name, struct bytes v);
/* True when fd is a memfd with all four seals: only then may it be mapped or trusted not to change. */
bool ipc_is_sealed(int fd);

#endif

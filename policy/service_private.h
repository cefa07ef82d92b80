/*
 * service_private - what the files of the policy role's process share: service.c (start, loop, timers),
 * service_peer.c (connections and the table of messages), service_quarantine.c (durable batches),
 * service_ctl.c (the operator's commands), service_notice.c (mail to the postmaster).
 */
#ifndef POLICY_SERVICE_PRIVATE_H
#define POLICY_SERVICE_PRIVATE_H

#include "base/loop.h"
#include "config/config.h"
#include "config/role_start.h"
#include "policy/greylist.h"
#include "policy/journal.h"
#include "policy/notice.h"
#include "policy/quarantine.h"
#include "policy/reinjection.h"
#include "policy/state.h"

enum {
    SERVICE_PEERS_MAX = 8192,
    SERVICE_PENDING_MAX = 64, /* quarantine requests in one commit */
    SERVICE_MAILS_MAX = 64,   /* notices that wait for the queue */
};

struct service;
struct service_peer;

/* A command of the operator under way: step is called until it gives 1 (done) or an error. */
struct service_job {
    int (*step)(struct service_peer *peer);
    uint64_t id;                   /* of the question */
    struct journal_search *search; /* why */
    size_t sent;
    char position[QUARANTINE_ID_MAX]; /* quarantine list */
};

struct service_peer {
    struct service *service;
    struct service_peer *next, **link;
    struct ipc_channel *channel;
    struct loop_watch *watch;
    struct loop_timer *timer; /* next step of the job */
    enum role role;
    bool awaits_room;
    struct service_job job; /* step NULL: none */
};

struct service_listener {
    struct service *service;
    struct loop_watch *watch;
    enum role peer;
    int fd;
};

/* One message to be quarantined, until the commit that holds it. */
struct service_pending {
    struct service_peer *peer; /* NULL: gone meanwhile; the message is kept all the same */
    struct ipc_message message;
    char id[QUARANTINE_ID_MAX];
};

struct service {
    const struct config *config;
    struct loop *loop;
    struct service_listener listeners[ROLE_LISTENERS_MAX];
    size_t listener_count;
    struct service_peer *peers;
    size_t peer_count;
    struct loop_watch *control_watch;
    struct loop_timer *commit_timer, *sweep_timer, *notice_timer;
    int lock_fd;

    struct state *state;
    struct journal *journal;
    struct quarantine *quarantine;
    struct greylist_limits greylist;

    struct service_pending pending[SERVICE_PENDING_MAX];
    size_t pending_count;

    struct notices *notices;
    char *notice_recipients[NOTICE_CLASSES];
    char *notice_sender;
    struct notice_mail mails[SERVICE_MAILS_MAX];
    size_t mail_count;
    int64_t mail_retry_ms; /* not before this */
    struct reinjection *door;
    uint64_t unique; /* of queue ids */

    struct buf out;    /* for answers */
    bool heard, asked; /* in this turn of the loop: something; a question */
    uint64_t lost_told;
    int64_t warned_s;
};

/* service.c. Opens the stores below data_directory; listens are added by service_peer_listen(). */
int service_open(struct service *service, const struct config *config);
void service_close(struct service *service);
int service_run(struct service *service);
void service_stop(struct service *service);
/* An alarm of our own: logged and mailed. */
void service_alarm(struct service *service, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* service_peer.c */
int service_peer_listen(struct service *service, int fd, enum role peer);
void service_peer_close(struct service_peer **peer);
int service_peer_send(struct service_peer *peer, uint16_t type, uint64_t id, struct bytes payload,
                      const int *fds, size_t fd_count);
int service_peer_status(struct service_peer *peer, uint16_t type, uint64_t id, int code, const char *detail);

/* service_quarantine.c. The message is kept by it when 0. */
int service_quarantine_add(struct service_peer *peer, struct ipc_message *message);
void service_quarantine_commit(struct service *service);
void service_quarantine_forget(struct service *service, const struct service_peer *peer);

/* service_ctl.c */
int service_ctl_ask(struct service_peer *peer, struct ipc_message *message);
void service_ctl_continue(struct service_peer *peer); /* there is room again */
void service_ctl_end(struct service_peer *peer);      /* the peer is gone: frees what its job holds */

/* service_notice.c */
int service_notice_open(struct service *service);
void service_notice_close(struct service *service);
void service_notice_add(struct service *service, const struct wire_notice *notice);

#endif

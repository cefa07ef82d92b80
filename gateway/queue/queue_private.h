/*
 * queue_private - what the files of this folder share: the queue, its messages in memory, its peers.
 *
 *   queue_service   start, listeners, end            queue_active   what comes into memory, routing into jobs
 *   queue_settings  the parameters                   queue_worker   jobs to workers, results from them
 *   queue_peer      connections of other roles       queue_finish   the end of an attempt: again, bounce,
 * done queue_commit    the batch and its durability     queue_bounce   notifications to senders queue_recover
 * what is on disk at start         queue_ctl      the operator's commands; queue_list prints queue_message a
 * message in memory              queue_log      Postfix's log lines, evidence, notices
 *
 * One thread. A message is in memory from its activation until the batch after its attempt has ended.
 */
#ifndef QUEUE_QUEUE_PRIVATE_H
#define QUEUE_QUEUE_PRIVATE_H

#include "base/ipc.h"
#include "base/loop.h"
#include "config/config.h"
#include "config/role_start.h"
#include "message/wire.h"
#include "policy/evidence.h"
#include "policy/route.h"
#include "queue/queue_dsn.h"
#include "queue/queue_retry.h"
#include "queue/queue_schedule.h"
#include "queue/queue_store.h"
#include "queue/queue_waiting.h"

enum {
    QUEUE_KEPT_FDS_MAX = 2000, /* contents held open for their first attempt */
    QUEUE_ACTIVATE_RECIPIENTS =
        500,                   /* routed in one go; the rest of a long list follows when these are done */
    QUEUE_RESULT_DELAY_MS = 5, /* results alone wait this long for submissions to commit with */
    QUEUE_COMPANY_MS = 1,      /* a submission waits this long for others that are likely to come */
    QUEUE_EPOCH_MS = 100,      /* who submitted in the last one or two of these is likely to come */
    QUEUE_LOSSES_MAX = 3,      /* workers that may die with one job before its recipients are deferred */
    QUEUE_RECORDS_MAX = 64,    /* evidence records kept back at most */
    QUEUE_RECORDS_MS = 20,     /* and how long: one wake-up of the policy role for many */
    QUEUE_HASH_SIZE = 16384,
    QUEUE_CLIENTS_MAX = 4096, /* connections of other roles */
    QUEUE_LOCAL_MAX = 64,     /* of them, of this machine's users */
    QUEUE_STREAK_MAX = 32,    /* jobs in a row for one connection while other destinations wait */
};
#define QUEUE_KEPT_BYTES_MAX ((uint64_t)256 * 1024 * 1024)

struct queue_settings {
    struct queue_retry retry;
    size_t active_limit;  /* qmgr_message_active_limit */
    uint64_t min_free;    /* queue_minfree */
    uint64_t store_limit; /* bytes of queue.lmdb */
    int64_t bounce_size_limit;
    bool notify_2bounce, notify_bounce, notify_delay, notify_resource;
    char double_bounce[512];   /* double-bounce@myorigin */
    int64_t size_limit;        /* message_size_limit, for mail of this machine; 0: none */
    const char *pickup_filter; /* content_filter of the pickup row; "" none */
    const char *myhostname, *mail_name;
};

/* A recipient of a message in memory. */
struct queue_recipient {
    uint8_t status;    /* enum queue_recipient_status */
    bool is_dirty;     /* the store does not know this yet */
    bool is_delivered; /* by one of our own final deliveries, not handed to another host */
    uint16_t parent;
    char dsn[QUEUE_DSN_MAX];
    struct bytes reply, remote_mta; /* in the envelope's arena */
};

enum queue_disposal { QUEUE_KEEP, QUEUE_REMOVE, QUEUE_DEFER };

struct queue_submission;

struct queue_message {
    struct queue_message *chain;                    /* by id */
    struct queue_message *dirty_next, **dirty_link; /* NULL link: nothing to commit */
    struct envelope *envelope;
    struct queue_recipient *recipients;
    size_t recipient_room;
    struct queue_status status;
    struct queue_entry *entries; /* jobs that wait or are under way, by sibling */
    size_t unrouted;             /* the first recipient that this attempt has not looked at */
    int body_fd;                 /* -1: in the store only */
    int64_t active_us;           /* wall clock of the activation */
    bool is_stored_status;       /* a status row exists */
    bool envelope_changed;       /* aliases added recipients */
    bool is_deleted, hold_asked; /* by the operator while under way */
    bool has_evidence;
    enum queue_disposal disposal;     /* not QUEUE_KEEP: nothing is under way, the next batch does this */
    struct queue_submission *notices; /* go into the store together with the disposal */
    struct evidence evidence;
};

/* A message that wants in: from another role, or a notification of our own. */
struct queue_submission {
    struct queue_submission *next;
    struct queue_peer *peer; /* who waits for the answer; NULL: went away, or nobody */
    uint64_t ask_id;
    struct ipc_message message; /* owns the packed envelope of a peer */
    struct buf packed;          /* owns ours */
    struct envelope *envelope;
    int fd;
    int result;
};

struct queue_worker {
    bool is_registered, is_idle;
    struct queue_peer *idle_next, **idle_link;
    struct queue_entry *entry; /* its job */
    uint64_t job_id;
    int64_t sent_us; /* wall clock */
    char transport[QUEUE_TRANSPORT_MAX];
    char connected_to[320];
    unsigned streak;
};

struct queue_listing; /* queue_list.c: a mailq under way */

struct queue_peer {
    struct queue *queue;
    struct queue_peer *next, **link;
    enum role role;
    uid_t uid; /* of ROLE_SUBMIT */
    struct ipc_channel *channel;
    struct loop_watch *watch;
    bool awaits_room;      /* EPOLLOUT is asked for */
    uint32_t submit_epoch; /* when it submitted last */
    struct queue_worker worker;
    struct queue_listing *listing;
};

struct queue_listener {
    struct queue *queue;
    int fd;
    enum role peer;
    struct loop_watch *watch;
};

struct queue {
    struct queue_settings settings;
    struct loop *loop;
    struct router *router;
    struct queue_store *store;
    struct queue_schedule *schedule;
    struct queue_listener listeners[ROLE_LISTENERS_MAX];
    size_t listener_count;
    struct queue_peer *peers;
    size_t peer_count, local_count;
    struct queue_peer *idle[ROLE_COUNT]; /* idle workers, the last used first */
    size_t busy_workers;

    struct queue_message *hash[QUEUE_HASH_SIZE];
    size_t active_count;
    struct queue_waiting waiting;
    struct loop_timer *wake; /* for the first of waiting */
    size_t kept_fds;
    uint64_t kept_bytes;

    struct queue_submission *submissions, **submissions_tail; /* the batch */
    size_t submission_count;
    int64_t company_until_ms;             /* submissions wait for others until then; 0: none is waiting */
    uint32_t epoch;                       /* counts tenths of a second */
    size_t submitters, submitters_before; /* peers that submitted in this epoch and in the last */
    struct queue_message *dirty;
    struct loop_timer *result_timer, *sweep_timer, *company_timer;
    bool commit_due; /* results have waited long enough */
    bool dispatch_due;

    int directory_fd; /* queue_directory, for its free space */
    int lock_fd;
    uint64_t disk_free;
    int64_t disk_free_until_ms;
    int64_t full_told_ms;

    struct ipc_channel *policy; /* NULL: away */
    struct loop_watch *policy_watch;
    int64_t policy_retry_ms;
    struct buf records[QUEUE_RECORDS_MAX]; /* evidence that goes out together */
    size_t record_count;
    struct loop_timer *record_timer;
    uint64_t dropped_records; /* evidence and notices policy was not there to take */

    uint64_t unique; /* of our own queue ids */
    uint64_t next_job;
    uint64_t accepted, finished; /* since the start */
    uint64_t batches, batch_messages;
    bool is_draining;
    int64_t drain_until_ms;
    struct loop_watch *control_watch;
    int64_t started_us;       /* wall clock */
    struct buf out, log_text; /* scratch */
    struct arena *scratch;    /* reset before each use */
    struct queue_seen {
        char (*ids)[QUEUE_ID_MAX];
        size_t count, size;
        int64_t until_ms;
    } seen;
};

/* queue_service.c */
/* Everything but the listeners: settings, lock, store, router, recovery. Errors are logged. Close after
 * either. */
int queue_service_open(struct queue *queue, const struct config *config);
int queue_service_run(struct queue *queue); /* until SIGTERM or the control socket's end */
void queue_service_close(struct queue *queue);

/* queue_settings.c */
int queue_settings_load(const struct config *config, struct queue_settings *settings_r);
/* One transport per row of master.cf whose program a worker role serves. */
int queue_settings_transports(const struct config *config, struct queue_schedule *schedule);

/* queue_peer.c */
int queue_peer_listen(struct queue *queue, int fd, enum role peer);
void queue_peer_close(struct queue_peer **peer);
/* Sends and, when the socket is full, arranges for the rest. The peer is closed by the caller on an error. */
int queue_peer_send(struct queue_peer *peer, uint16_t type, uint64_t id, struct bytes payload, const int *fds,
                    size_t fd_count);
int queue_peer_status(struct queue_peer *peer, uint16_t type, uint64_t id, int code, const char *detail);

/* queue_commit.c */
/* A WIRE_SUBMIT; takes the message over when it returns 0. GW_ERR_PEER: the peer is to be cut off. */
int queue_commit_submit(struct queue_peer *peer, struct ipc_message *message);
/* A message whose recipients changed or whose attempt ended: the next batch writes it. */
void queue_commit_dirty(struct queue *queue, struct queue_message *message);
void queue_commit_clean(struct queue_message *message);
void queue_commit_forget_peer(struct queue *queue, const struct queue_peer *peer);
/* The loop's after_turn: commits, answers, starts deliveries. */
void queue_commit_turn(void *queue);
void queue_commit_all(struct queue *queue); /* at the end: without waiting for company */
void queue_submission_free(struct queue_submission **submission);

/* queue_message.c */
/* Takes the envelope and the descriptor (-1: none). NULL when out of memory; then nothing was taken. */
struct queue_message *queue_message_new(struct queue *queue, struct envelope **envelope, int *fd);
void queue_message_free(struct queue *queue, struct queue_message **message);
struct queue_message *queue_message_find(struct queue *queue, const char *id);
void queue_message_enter(struct queue *queue, struct queue_message *message); /* into the table of ids */
/* From the store. GW_ERR_NOTFOUND, GW_ERR_SYNTAX (rows that cannot be read), GW_ERR_NOMEM, GW_ERR_SYS. */
int queue_message_load(struct queue *queue, const char *id, struct queue_message **message_r);
int queue_message_add_recipient(struct queue_message *message, struct bytes address, uint16_t parent);
void queue_message_outcome(struct queue_message *message, uint16_t number, uint8_t status, const char *dsn,
                           struct bytes reply, struct bytes remote_mta);
/* The content, positioned at 0, for reading; *is_kept_r false: the caller closes it. -1 with a log line. */
int queue_message_body(struct queue *queue, struct queue_message *message, bool *is_kept_r);
void queue_message_close_body(struct queue *queue, struct queue_message *message);
size_t queue_message_count(const struct queue_message *message, uint8_t status);
void queue_message_link(struct queue_message *message, struct queue_entry *entry);
void queue_message_unlink(struct queue_entry *entry);

/* queue_active.c */
/* A message just committed (or loaded) starts an attempt. */
void queue_active_start(struct queue *queue, struct queue_message *message);
/* The next recipients of the attempt; ends it (queue_finish_attempt) when none are left and nothing is under
 * way. */
void queue_active_continue(struct queue *queue, struct queue_message *message);
void queue_active_wake(struct queue *queue); /* brings in what is due while there is room */
int queue_active_wait(struct queue *queue, const char *id, int64_t next_us);

/* queue_worker.c */
int queue_worker_register(struct queue_peer *peer, struct ipc_message *message);
int queue_worker_result(struct queue_peer *peer, struct ipc_message *message);
void queue_worker_lost(struct queue_peer *peer);
void queue_worker_dispatch(struct queue *queue);
void queue_worker_take_dead(struct queue *queue); /* defers the jobs of destinations that died */

/* queue_finish.c */
void queue_finish_attempt(struct queue *queue, struct queue_message *message);
/* After the commit of a message with a disposal: logs, frees or lets it wait. */
void queue_finish_committed(struct queue *queue, struct queue_message *message);

/* queue_bounce.c */
/* Adds the notification about the message's recipients of that kind to message->notices, if anybody is to be
 * told. */
int queue_bounce_notify(struct queue *queue, struct queue_message *message, enum queue_notice kind);

/* queue_recover.c */
int queue_recover(struct queue *queue);
/* Puts every message that is not held or active into waiting, due now (flush) or at its own time. */
int queue_recover_schedule(struct queue *queue, bool flush);
void queue_recover_note_removed(struct queue *queue, const struct envelope *envelope);
bool queue_recover_was_removed(const struct queue *queue, const struct envelope *envelope);

/* queue_ctl.c, queue_list.c */
int queue_ctl_ask(struct queue_peer *peer, struct ipc_message *message);
int queue_list_start(struct queue_peer *peer, uint64_t ask_id, bool as_json);
void queue_list_continue(struct queue_peer *peer);
void queue_list_free(struct queue_listing **listing);

/* queue_log.c */
void queue_log_active(const struct queue *queue, const struct queue_message *message);
struct queue_delivery { /* what a delivery line needs beside the message */
    const char *program, *relay;
    int64_t sent_us, connect_us, transfer_us; /* sent_us 0: never given to a worker */
};
void queue_log_delivery(struct queue *queue, const struct queue_message *message, uint16_t number,
                        const char *dsn, const char *status, struct bytes reply,
                        const struct queue_delivery *delivery);
void queue_log_evidence(struct queue *queue, struct queue_message *message, uint16_t number,
                        const char *relay, const char *status, struct bytes reply);
void queue_log_send_evidence(struct queue *queue, struct queue_message *message);
void queue_log_notice(struct queue *queue, enum notice_class class, const char *key, const char *text);
void queue_log_flush(struct queue *queue); /* evidence that was kept back */
void queue_log_policy_connect(struct queue *queue);
void queue_log_policy_close(struct queue *queue);
/* "0.05", "1.2", "12": seconds with two digits that mean something (delay_logging_resolution_limit). */
void queue_log_delay(int64_t us, char *out, size_t size);

#endif

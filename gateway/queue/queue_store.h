/*
 * queue_store - the messages on disk: which tables queue.lmdb has, how their keys and values look.
 *
 *   envelope   id                        the packed envelope exactly as it was submitted (message/envelope.h)
 *   body       id NUL be32(chunk)        the content in chunks (base/store.h)
 *   status     id                        struct queue_status; absent: due at once, never tried
 *   outcome    id NUL be32(recipient)    struct queue_outcome; absent: not tried yet
 *
 * A message exists when it has an envelope row. The common message is delivered at its first attempt and so
 * only ever has an envelope and a body. Every call works inside the caller's transaction (queue_commit.c owns
 * the writing one); nothing here commits.
 */
#ifndef QUEUE_QUEUE_STORE_H
#define QUEUE_QUEUE_STORE_H

#include "base/store.h"
#include "message/envelope.h"

enum {
    QUEUE_REPLY_MAX = 2048, /* bytes kept of what the next hop said */
    QUEUE_DSN_MAX = 12,
    QUEUE_NO_PARENT = 0xffff,
};

enum queue_status_flag {
    QUEUE_HELD = 1,         /* not scheduled until released */
    QUEUE_DELAY_WARNED = 2, /* the sender was told of the delay */
    QUEUE_FORCE_EXPIRE = 4, /* the operator asked to return it at the next attempt */
};

struct queue_status {
    int64_t next_us;   /* wall clock of the next attempt; 0: at once */
    uint32_t attempts; /* finished activations */
    uint8_t flags;     /* enum queue_status_flag */
};

enum queue_recipient_status {
    QUEUE_PENDING = 0, /* not tried, or the attempt ended without a result */
    QUEUE_DEFERRED,    /* tried, to be tried again */
    QUEUE_SENT,        /* finished: delivered, relayed or discarded */
    QUEUE_EXPANDED,    /* finished: replaced by the recipients it stands for */
    QUEUE_BOUNCED,     /* failed for good; the notification is not written yet */
    QUEUE_RETURNED,    /* finished: failed and told (or nobody to tell) */
    QUEUE_RECIPIENT_STATES
};

struct queue_outcome {
    uint8_t status;  /* enum queue_recipient_status */
    uint16_t parent; /* the recipient whose expansion gave this one, or QUEUE_NO_PARENT */
    char dsn[QUEUE_DSN_MAX];
    struct bytes reply;      /* for mailq and the notification */
    struct bytes remote_mta; /* host name or empty */
};

struct queue_store;

/* Opens queue.lmdb in `directory`. 0, GW_ERR_SYS (*why_r is a fixed text), GW_ERR_FULL. */
int queue_store_open(const char *directory, uint64_t size_limit, struct queue_store **store_r,
                     const char **why_r);
void queue_store_close(struct queue_store **store);
void queue_store_usage(struct queue_store *store, uint64_t *used_r, uint64_t *limit_r);
int queue_store_begin(struct queue_store *store, bool write, struct store_txn **txn_r);

/* A new message: content is `size` bytes of body_fd. status NULL: due at once. GW_ERR_EXISTS: the id is there
 * already and nothing was changed; GW_ERR_FULL, GW_ERR_SYS, GW_ERR_SYNTAX (an id that is not letters and
 * digits). */
int queue_store_add(struct store_txn *txn, const char *id, struct bytes packed_envelope, int body_fd,
                    uint64_t size, const struct queue_status *status);
int queue_store_set_envelope(struct store_txn *txn, const char *id, struct bytes packed_envelope);
int queue_store_set_status(struct store_txn *txn, const char *id, const struct queue_status *status);
int queue_store_set_outcome(struct store_txn *txn, const char *id, uint16_t number,
                            const struct queue_outcome *outcome);
/* The whole message. Rows that are missing are no error: removing twice is the same as once. */
int queue_store_remove(struct store_txn *txn, const char *id);

/* Views live as long as the transaction. GW_ERR_NOTFOUND. */
int queue_store_get_envelope(struct store_txn *txn, const char *id, struct bytes *packed_r);
/* Never GW_ERR_NOTFOUND: without a row it is all zeros. GW_ERR_SYNTAX: the row cannot be read. */
int queue_store_get_status(struct store_txn *txn, const char *id, struct queue_status *status_r);
/* Calls `each` per stored outcome in order of number; a negative return of it ends the walk and is returned.
 */
typedef int queue_store_outcome(void *context, uint16_t number, const struct queue_outcome *outcome);
int queue_store_each_outcome(struct store_txn *txn, const char *id, queue_store_outcome *each, void *context);
int queue_store_get_body(struct store_txn *txn, const char *id, uint64_t size, int *fd_r);

/* The message whose id is the first behind `after` ("" for the first of all), by order of ids, which is order
 * of arrival. GW_ERR_NOTFOUND at the end. */
int queue_store_next(struct store_txn *txn, const char *after, char id_r[QUEUE_ID_MAX],
                     struct bytes *packed_r);
size_t queue_store_count(struct store_txn *txn);
/* Deletes body, status and outcome rows that no envelope owns. *removed_r counts the messages. A transaction
 * cannot leave such rows; it is the net under an interrupted restore or a defect. */
int queue_store_remove_orphans(struct store_txn *txn, size_t *removed_r);

bool queue_store_is_id(const char *id);

#endif

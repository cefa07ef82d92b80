/*
 * deliver_owner - runs the part of a delivery that touches a user's files as that user.
 */
#ifndef DELIVER_DELIVER_OWNER_H
#define DELIVER_DELIVER_OWNER_H

#include <limits.h>
#include <sys/types.h>

#include "deliver/deliver_task.h"

enum { DELIVER_GROUPS_MAX = 64, DELIVER_NAME_MAX = 256 /* bytes of a local part */ };

struct deliver_owner {
    uid_t uid;
    gid_t gid;
    gid_t groups[DELIVER_GROUPS_MAX]; /* supplementary */
    int group_count;
    int fork_attempts; /* 0: one */
    int64_t fork_delay_ms;
};

/* An account with what its commands may know. */
struct deliver_user {
    struct deliver_owner owner;
    char name[DELIVER_NAME_MAX];
    char home[PATH_MAX];
    char shell[PATH_MAX];
};

/* The owner of that login name. GW_ERR_NOTFOUND, GW_ERR_TEMP. */
int deliver_owner_find(const char *name, struct deliver_owner *owner_r);

/* The whole account, by name or by id. GW_ERR_NOTFOUND, GW_ERR_TEMP. */
int deliver_owner_user(const char *name, struct deliver_user *user_r);
int deliver_owner_account(uid_t uid, struct deliver_user *user_r);
/* fork(2) with fork_attempts, fork_delay. */
pid_t deliver_owner_fork(const struct deliver_owner *owner);

/* Fills outcome. Runs in a child with the owner's rights, or in the caller when it already is the owner; may
 * not take locks, allocate much or log. */
typedef void deliver_action(void *context, struct deliver_outcome *outcome);

/* Started as root: in a forked child, which gives up every right but the owner's first. Otherwise only when
 * we are the owner; anybody else's mail is deferred. The outcome is always set. */
void deliver_owner_run(const struct deliver_owner *owner, int64_t limit_ms, deliver_action *action,
                       void *context, struct deliver_outcome *outcome);
/* In a child: become the owner for good. False: the rights are not known, the child must end. */
bool deliver_owner_become(const struct deliver_owner *owner);

#endif

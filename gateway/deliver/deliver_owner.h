/*
 * deliver_owner - runs the part of a delivery that touches a user's files as that user.
 */
#ifndef DELIVER_DELIVER_OWNER_H
#define DELIVER_DELIVER_OWNER_H

#include <sys/types.h>

#include "deliver/deliver_task.h"

enum { DELIVER_GROUPS_MAX = 64 };

struct deliver_owner {
    uid_t uid;
    gid_t gid;
    gid_t groups[DELIVER_GROUPS_MAX]; /* supplementary */
    int group_count;
};

/* The owner of that login name with home directory (may be NULL). GW_ERR_NOTFOUND, GW_ERR_TEMP. */
int deliver_owner_find(const char *user, struct deliver_owner *owner_r, char *home_r, size_t home_size);

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

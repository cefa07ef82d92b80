/*
 * deliver_owner - see the header. Before: deliver_virtual.c and deliver_local.c, which know the owner; after:
 * deliver_maildir.c or deliver_mbox.c in the child.
 *
 * The outcome comes back through a pipe as one plain structure. A child that dies, hangs or sends less leaves
 * the outcome at "deferred": nothing is taken for delivered that was not reported.
 */
#include "deliver/deliver_owner.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

enum { CHILD_FAILED = 75, PASSWD_ROOM = 16384 };

/* Groups are read here, before any fork: in a child of a threaded process the name service could wait for a
 * lock for ever. */
static int
take_account(const struct passwd *found, struct deliver_user *user)
{
    user->owner.uid = found->pw_uid;
    user->owner.gid = found->pw_gid;
    user->owner.group_count = DELIVER_GROUPS_MAX;
    if (getgrouplist(found->pw_name, found->pw_gid, user->owner.groups, &user->owner.group_count) == -1) {
        user->owner.group_count = DELIVER_GROUPS_MAX; /* the first ones; fewer rights, not more */
    }
    if ((size_t)snprintf(user->name, sizeof(user->name), "%s", found->pw_name) >= sizeof(user->name) ||
        (size_t)snprintf(user->home, sizeof(user->home), "%s", found->pw_dir) >= sizeof(user->home) ||
        (size_t)snprintf(user->shell, sizeof(user->shell), "%s", found->pw_shell) >= sizeof(user->shell)) {
        return GW_ERR_TEMP;
    }
    return 0;
}

int
deliver_owner_user(const char *name, struct deliver_user *user_r)
{
    char room[PASSWD_ROOM];
    struct passwd passwd;
    struct passwd *found = NULL;

    memset(user_r, 0, sizeof(*user_r));
    int error = getpwnam_r(name, &passwd, room, sizeof(room), &found);
    return found != NULL                   ? take_account(found, user_r)
           : error == 0 || error == ENOENT ? GW_ERR_NOTFOUND
                                           : GW_ERR_TEMP;
}

int
deliver_owner_account(uid_t uid, struct deliver_user *user_r)
{
    char room[PASSWD_ROOM];
    struct passwd passwd;
    struct passwd *found = NULL;

    memset(user_r, 0, sizeof(*user_r));
    int error = getpwuid_r(uid, &passwd, room, sizeof(room), &found);
    return found != NULL                   ? take_account(found, user_r)
           : error == 0 || error == ENOENT ? GW_ERR_NOTFOUND
                                           : GW_ERR_TEMP;
}

int
deliver_owner_find(const char *name, struct deliver_owner *owner_r)
{
    struct deliver_user user;
    int r = deliver_owner_user(name, &user);

    *owner_r = user.owner;
    return r;
}

pid_t
deliver_owner_fork(const struct deliver_owner *owner)
{
    pid_t pid = fork();

    for (int i = 1; pid == -1 && errno == EAGAIN && i < owner->fork_attempts; i++) {
        (void)poll(NULL, 0, (int)(owner->fork_delay_ms < INT_MAX ? owner->fork_delay_ms : INT_MAX));
        pid = fork();
    }
    return pid;
}

bool
deliver_owner_become(const struct deliver_owner *owner)
{
    if (geteuid() != 0) {
        return owner->uid == geteuid();
    }
    if (setgroups((size_t)owner->group_count, owner->groups) == -1 ||
        setresgid(owner->gid, owner->gid, owner->gid) == -1 ||
        setresuid(owner->uid, owner->uid, owner->uid) == -1) {
        return false;
    }
    /* Both worked and cannot be undone: checked, since everything after relies on it. */
    return getuid() == owner->uid && geteuid() == owner->uid && getegid() == owner->gid &&
           (owner->uid == 0 || setuid(0) == -1);
}

/* Reads the whole structure or nothing. */
static bool
read_outcome(int fd, int64_t deadline_ms, struct deliver_outcome *outcome)
{
    struct deliver_outcome got;
    size_t have = 0;

    while (have < sizeof(got)) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int n = poll(&ready, 1, clock_left_ms(deadline_ms));

        if (n == -1 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        ssize_t part = read(fd, (char *)&got + have, sizeof(got) - have);
        if (part <= 0 && !(part == -1 && errno == EINTR)) {
            return false;
        }
        have += part > 0 ? (size_t)part : 0;
    }
    got.dsn[sizeof(got.dsn) - 1] = '\0';
    got.text[sizeof(got.text) - 1] = '\0';
    if (got.status > DELIVERY_BOUNCED) {
        return false;
    }
    *outcome = got;
    return true;
}

static void
run_child(const struct deliver_owner *owner, int fd, deliver_action *action, void *context)
{
    struct deliver_outcome outcome;

    memset(&outcome, 0, sizeof(outcome));
    deliver_outcome_set(&outcome, DELIVERY_DEFERRED, "4.3.0", "delivery was not attempted");
    if (!deliver_owner_become(owner)) {
        deliver_outcome_set(&outcome, DELIVERY_DEFERRED, "4.3.5", "cannot become user %ld", (long)owner->uid);
    } else {
        (void)umask(077);
        action(context, &outcome);
    }
    ssize_t n = write(fd, &outcome, sizeof(outcome));
    _exit(n == (ssize_t)sizeof(outcome) ? 0 : CHILD_FAILED);
}

static void
run_in_child(const struct deliver_owner *owner, int64_t limit_ms, deliver_action *action, void *context,
             struct deliver_outcome *outcome)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) == -1) {
        (void)deliver_outcome_errno(outcome, "make", "a pipe");
        return;
    }
    pid_t pid = deliver_owner_fork(owner);
    if (pid == 0) {
        run_child(owner, ends[1], action, context);
    }
    (void)close(ends[1]);
    if (pid == -1) {
        (void)deliver_outcome_errno(outcome, "start", "a delivery process");
    } else {
        if (!read_outcome(ends[0], clock_monotonic_ms() + limit_ms, outcome)) {
            (void)kill(pid, SIGKILL);
        }
        while (waitpid(pid, NULL, 0) == -1 && errno == EINTR) {
        }
    }
    (void)close(ends[0]);
}

void
deliver_owner_run(const struct deliver_owner *owner, int64_t limit_ms, deliver_action *action, void *context,
                  struct deliver_outcome *outcome)
{
    deliver_outcome_set(outcome, DELIVERY_DEFERRED, "4.3.0", "the delivery process failed");
    if (geteuid() == 0) {
        run_in_child(owner, limit_ms, action, context, outcome);
    } else if (owner->uid == geteuid()) {
        action(context, outcome);
    } else {
        deliver_outcome_set(outcome, DELIVERY_DEFERRED, "4.3.5",
                            "cannot deliver as user %ld: the gateway was started as user %ld",
                            (long)owner->uid, (long)geteuid());
    }
}

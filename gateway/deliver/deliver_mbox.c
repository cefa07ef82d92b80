/*
 * deliver_mbox - see the header. Before: deliver_virtual.c, deliver_local.c, through deliver_owner.c; after:
 * the user's mail reader.
 *
 * Owns the locks while it writes. A message that could not be written and synced completely is cut off again,
 * so a full disk never leaves half a message. The file is opened without following links and must be a plain
 * file with one name: a user cannot aim our write at somebody else's file.
 */
#include "deliver/deliver_mbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

enum { MBOX_MODE = 0600, LOCK_MODE = 0444 };

static void
pause_ms(int64_t ms)
{
    (void)poll(NULL, 0, (int)(ms < INT_MAX ? ms : INT_MAX));
}

/* A lock whose owner has been gone for long is removed, as every mail program does. */
static void
drop_stale(const char *path, int64_t stale_s)
{
    struct stat st;

    if (lstat(path, &st) == 0 && (int64_t)(time(NULL) - st.st_ctime) > stale_s) {
        (void)unlink(path);
    }
}

/* path.lock. GW_ERR_TIMEOUT: somebody holds it. */
static int
take_dotlock(const struct deliver_mbox *mbox, const char *lock)
{
    for (int i = 0; i < mbox->lock_attempts; i++) {
        int fd = open(lock, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, LOCK_MODE);

        if (fd != -1) {
            (void)close(fd);
            return 0;
        }
        if (errno != EEXIST) {
            return GW_ERR_SYS;
        }
        drop_stale(lock, mbox->stale_s);
        pause_ms(mbox->lock_delay_ms);
    }
    return GW_ERR_TIMEOUT;
}

static int
take_fcntl_lock(const struct deliver_mbox *mbox, int fd)
{
    /* Of the open file description: a lock of the process would not keep our own threads apart. */
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    for (int i = 0; i < mbox->lock_attempts; i++) {
        if (fcntl(fd, F_OFD_SETLK, &lock) == 0) {
            return 0;
        }
        if (errno != EAGAIN && errno != EACCES) {
            return GW_ERR_SYS;
        }
        pause_ms(mbox->lock_delay_ms);
    }
    return GW_ERR_TIMEOUT;
}

/* A file of an alias that cannot be there is the alias's mistake: it would be so next time. */
static void
cannot_open(const struct deliver_mbox *mbox, const char *what, struct deliver_outcome *outcome)
{
    bool is_final = errno == ENOENT || errno == ENOTDIR || errno == EISDIR || errno == EACCES ||
                    errno == EPERM || errno == ELOOP || errno == ENXIO;

    if (mbox->is_file && is_final) {
        deliver_outcome_set(outcome, DELIVERY_BOUNCED, "5.2.0", "cannot append message to file %s: %s",
                            mbox->path, strerrordesc_np(errno));
    } else {
        (void)deliver_outcome_errno(outcome, what, mbox->path);
    }
}

static void
append_message(const struct deliver_mbox *mbox, int fd, struct deliver_outcome *outcome)
{
    struct stat st;

    if (fstat(fd, &st) == -1) {
        (void)deliver_outcome_errno(outcome, "examine mailbox", mbox->path);
        return;
    }
    if (mbox->size_limit > 0 && (uint64_t)st.st_size + mbox->message->size > (uint64_t)mbox->size_limit) {
        deliver_outcome_set(outcome, DELIVERY_BOUNCED, "5.2.2",
                            "cannot update mailbox %s: mailbox size limit reached", mbox->path);
        return;
    }
    if (deliver_writer_copy(mbox->message, fd) == 0 && fsync(fd) == 0) {
        deliver_outcome_set(outcome, DELIVERY_SENT, "2.0.0", "delivered to mailbox");
        return;
    }
    (void)deliver_outcome_errno(outcome, "write to mailbox", mbox->path);
    if (ftruncate(fd, st.st_size) == -1) {
        (void)deliver_outcome_errno(outcome, "take back a part of a message in mailbox", mbox->path);
    }
}

/* A device is only written to. */
static bool
is_device(const struct deliver_mbox *mbox, const struct stat *st)
{
    return mbox->is_file && !S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode);
}

static void
write_device(const struct deliver_mbox *mbox, int fd, struct deliver_outcome *outcome)
{
    if (deliver_writer_copy(mbox->message, fd) == 0) {
        deliver_outcome_set(outcome, DELIVERY_SENT, "2.0.0", "delivered to mailbox");
    } else {
        (void)deliver_outcome_errno(outcome, "write to", mbox->path);
    }
}

static void
store_locked(const struct deliver_mbox *mbox, struct deliver_outcome *outcome)
{
    struct stat st = {0};
    int fd =
        open(mbox->path,
             (mbox->is_file ? O_WRONLY : O_RDWR) | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
             MBOX_MODE);

    if (fd == -1) {
        cannot_open(mbox, "open mailbox", outcome);
        return;
    }
    if (fstat(fd, &st) == 0 && is_device(mbox, &st)) {
        write_device(mbox, fd, outcome);
    } else if (mbox->strict_owner && st.st_uid != mbox->owner) {
        deliver_outcome_set(outcome, DELIVERY_DEFERRED, "4.2.0", "destination %s is not owned by recipient",
                            mbox->path);
    } else if (!S_ISREG(st.st_mode) || st.st_nlink != 1) {
        deliver_outcome_set(outcome, DELIVERY_DEFERRED, "4.2.0",
                            "mailbox %s is not a plain file with one name", mbox->path);
    } else {
        int r = mbox->fcntl_lock ? take_fcntl_lock(mbox, fd) : 0;

        if (r == 0) {
            append_message(mbox, fd, outcome);
        } else {
            deliver_outcome_set(outcome, DELIVERY_DEFERRED, "4.2.0", "cannot lock mailbox %s", mbox->path);
        }
    }
    (void)close(fd);
}

void
deliver_mbox_store(void *context, struct deliver_outcome *outcome)
{
    const struct deliver_mbox *mbox = context;
    char lock[PATH_MAX];
    struct stat st;
    bool dotlock = mbox->dotlock && !(stat(mbox->path, &st) == 0 && is_device(mbox, &st));
    int r = 0;

    if ((size_t)snprintf(lock, sizeof(lock), "%s.lock", mbox->path) >= sizeof(lock)) {
        errno = ENAMETOOLONG;
        (void)deliver_outcome_errno(outcome, "open mailbox", mbox->path);
        return;
    }
    r = dotlock ? take_dotlock(mbox, lock) : 0;
    if (r == GW_ERR_SYS && mbox->is_file && (errno == EACCES || errno == EPERM || errno == EROFS)) {
        dotlock = false;
        r = 0;
    }
    if (r != 0) {
        if (r == GW_ERR_TIMEOUT) {
            errno = EEXIST;
        }
        cannot_open(mbox, "create lock file for mailbox", outcome);
        return;
    }
    store_locked(mbox, outcome);
    if (dotlock) {
        (void)unlink(lock);
    }
}

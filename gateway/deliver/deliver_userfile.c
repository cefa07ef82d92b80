/*
 * deliver_userfile - see the header. Before: deliver_dotforward.c; after: deliver_expand.c, with the lines.
 *
 * The file is opened in a child that is the user by then, so a link in a home directory shows nobody's file
 * but the user's own. The child copies it into a memfd that it shares with us: what we read cannot change any
 * more.
 */
#include "deliver/deliver_userfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_LIMIT_MS = 60000, PIECE = 16384 };

struct reading {
    const char *path;
    uid_t uid;
    bool own;
    int copy; /* memfd */
};

/* The answer travels as an outcome: sent: read; bounced: none, with "NONE" as code, or unsafe; deferred: not
 * now. */
static const char NONE[] = "5.0.0", UNSAFE[] = "5.0.1";

static const char *
fault_of(const struct stat *st, const struct reading *reading)
{
    if (!S_ISREG(st->st_mode)) {
        return "is not a regular file";
    }
    if (reading->own && st->st_uid != 0 && st->st_uid != reading->uid) {
        return "has bad owner";
    }
    return (st->st_mode & S_IWOTH) != 0 ? "is world writable" : NULL;
}

static void
read_file(void *context, struct deliver_outcome *outcome)
{
    const struct reading *reading = context;
    uint8_t piece[PIECE];
    struct stat st;
    ssize_t n = 0;
    size_t total = 0;
    int fd = open(reading->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd == -1 || fstat(fd, &st) == -1) {
        deliver_outcome_set(outcome, DELIVERY_BOUNCED, NONE, "cannot open file %s: %s", reading->path,
                            strerrordesc_np(errno));
        if (errno != ENOENT && errno != ENOTDIR && errno != EACCES && errno != ELOOP) {
            outcome->status = DELIVERY_DEFERRED;
        }
        return;
    }
    const char *fault = fault_of(&st, reading);
    if (fault != NULL) {
        deliver_outcome_set(outcome, DELIVERY_BOUNCED, UNSAFE, "file %s %s", reading->path, fault);
    } else {
        while ((n = read(fd, piece, sizeof(piece))) > 0 && total + (size_t)n <= DELIVER_USERFILE_MAX &&
               write(reading->copy, piece, (size_t)n) == n) {
            total += (size_t)n;
        }
        deliver_outcome_set(outcome, n == 0 ? DELIVERY_SENT : DELIVERY_DEFERRED, n == 0 ? "2.0.0" : "4.3.0",
                            "cannot read file %s, or it is too large", reading->path);
    }
    (void)close(fd);
}

static struct bytes
take_copy(struct arena *arena, int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    uint8_t *text = size >= 0 && size <= DELIVER_USERFILE_MAX ? arena_alloc(arena, (size_t)size + 1) : NULL;

    if (text == NULL || pread(fd, text, (size_t)size, 0) != size) {
        return bytes_of(NULL, 0);
    }
    return bytes_of(text, (size_t)size);
}

enum deliver_userfile_state
deliver_userfile_read(struct arena *arena, const struct deliver_owner *owner, const char *path, bool own,
                      struct bytes *text_r, const char **why_r)
{
    struct reading reading = {.path = path, .uid = owner->uid, .own = own};
    enum deliver_userfile_state state = DELIVER_USERFILE_LATER;
    struct deliver_outcome outcome;
    struct stat st;

    *text_r = bytes_of(NULL, 0);
    *why_r = "";
    /* Most users have none: no process is needed to find that out. */
    if (stat(path, &st) == -1 && (errno == ENOENT || errno == ENOTDIR)) {
        *why_r = arena_printf(arena, "cannot open file %s: %s", path, strerrordesc_np(errno));
        return DELIVER_USERFILE_NONE;
    }
    reading.copy = memfd_create("list", MFD_CLOEXEC);
    if (reading.copy == -1) {
        return state;
    }
    deliver_owner_run(owner, READ_LIMIT_MS, read_file, &reading, &outcome);
    if (outcome.status == DELIVERY_SENT) {
        *text_r = take_copy(arena, reading.copy);
        state = text_r->p != NULL ? DELIVER_USERFILE_READ : DELIVER_USERFILE_LATER;
    } else if (outcome.status == DELIVERY_BOUNCED) {
        state = strcmp(outcome.dsn, UNSAFE) == 0 ? DELIVER_USERFILE_UNSAFE : DELIVER_USERFILE_NONE;
    }
    (void)close(reading.copy);
    *why_r = arena_strdup(arena, bytes_str(outcome.text));
    return state;
}

/*
 * deliver_userfile - reads a list of addresses that belongs to a user (.forward, :include:) with that user's
 * rights.
 */
#ifndef DELIVER_DELIVER_USERFILE_H
#define DELIVER_DELIVER_USERFILE_H

#include "base/arena.h"
#include "deliver/deliver_owner.h"

enum { DELIVER_USERFILE_MAX = 1024 * 1024 };

enum deliver_userfile_state {
    DELIVER_USERFILE_READ,
    DELIVER_USERFILE_NONE,   /* no such file, or it may not be seen */
    DELIVER_USERFILE_UNSAFE, /* no plain file, writable by anybody, or another's */
    DELIVER_USERFILE_LATER   /* too large, or it could not be read now */
};

/* The whole file, in the arena. own: it must belong to the owner or to root. why_r: what is wrong, with the
 * path, for the log and the outcome. */
enum deliver_userfile_state deliver_userfile_read(struct arena *arena, const struct deliver_owner *owner,
                                                  const char *path, bool own, struct bytes *text_r,
                                                  const char **why_r);

#endif

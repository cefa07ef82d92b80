/*
 * deliver_pipe - what rows of pipe and spawn have in common.
 */
#ifndef DELIVER_DELIVER_PIPE_H
#define DELIVER_DELIVER_PIPE_H

#include "deliver/deliver_owner.h"

/* user= of a row: "user" or "user:group". False, with the reason in the log under `program`: unknown, or with
 * root's rights. */
bool deliver_pipe_read_user(const char *program, const char *text, struct deliver_owner *owner_r);

#endif

/*
 * deliver_maildir - one message into a Maildir, durably.
 */
#ifndef DELIVER_DELIVER_MAILDIR_H
#define DELIVER_DELIVER_MAILDIR_H

#include "deliver/deliver_writer.h"

struct deliver_maildir {
    const struct deliver_message *message;
    const char *path;     /* of the Maildir, ends in '/' */
    const char *hostname; /* for the unique name */
    unsigned serial;      /* differs between threads of the process */
};

/* A deliver_action; context is a struct deliver_maildir. */
void deliver_maildir_store(void *context, struct deliver_outcome *outcome);

#endif

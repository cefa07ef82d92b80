/*
 * deliver_command - runs a program with a message on its standard input and tells what its end means.
 */
#ifndef DELIVER_DELIVER_COMMAND_H
#define DELIVER_DELIVER_COMMAND_H

#include "deliver/deliver_owner.h"
#include "deliver/deliver_writer.h"

enum { DELIVER_OUTPUT_MAX = 512 };

struct deliver_command {
    char *const
        *argv; /* NULL-terminated; argv[0] is an absolute path or is searched in the safe PATH. NULL: */
    const char *shell_text;   /* a command line; run without a shell where it needs none */
    const char *root;         /* chroot= first; NULL: none */
    char *const *environment; /* NULL-terminated */
    const char *directory;    /* to run in; NULL: "/" */
    const struct deliver_owner *owner;
    const struct deliver_message *message;
    int64_t limit_ms;      /* command_time_limit */
    const char *sent_text; /* "delivered via x service" */
};

void deliver_command_run(const struct deliver_command *command, struct deliver_outcome *outcome);
/* What an exit status means (sysexits.h). output: what the program printed; "4.2.2 text" in it overrules. */
void deliver_command_judge(int wait_status, const char *name, struct bytes output, const char *sent_text,
                           struct deliver_outcome *outcome);

#endif

/*
 * ctl_ask - one command to the queue or policy role and its answer, for the programs of the operator.
 */
#ifndef CTL_ASK_H
#define CTL_ASK_H

#include "config/config.h"
#include "message/wire.h"

enum { CTL_ASK_WORDS_MAX = 1000 };

/* A piece of the answer: WIRE_CTL_LINE, or WIRE_CTL_FILE with a descriptor (set it to -1 to keep it). An
 * error ends the command. */
typedef int ctl_piece(void *context, struct ipc_message *message);

/* Asks and waits, at most wait_ms between two pieces. 0 with the end's status; GW_ERR_SYS: the gateway does
 * not run or this user may not talk to it; GW_ERR_EOF, GW_ERR_TIMEOUT, GW_ERR_PEER. Changes the working
 * directory. */
int ctl_ask(const struct config *config, enum role server, const char *const *words, size_t count,
            int64_t wait_ms, ctl_piece *piece, void *context, struct wire_status *end_r);
/* The configuration that "-c DIR" names; what is wrong goes to standard error and NULL is returned. */
struct config *ctl_load_config(int *argc, char **argv);
/* Says on standard error why a command failed. Returns the exit status (sysexits). */
int ctl_complain(const char *command, int error, const struct wire_status *end);

#endif

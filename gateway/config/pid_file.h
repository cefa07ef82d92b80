/*
 * pid_file - which master runs on a queue_directory, and the "-c DIR" that names its configuration.
 *
 * The file is <queue_directory>/<process_id_directory>/master.pid, locked for as long as its master lives.
 * The lock tells, not the number in the file: a stale file after kill -9 or power loss stops nobody, a reused
 * process id is never signalled.
 */
#ifndef CONFIG_PID_FILE_H
#define CONFIG_PID_FILE_H

#include <sys/types.h>

#include "config/config.h"

/* Creates, locks and fills the file; its directory must be there. The descriptor is the lock: keep it open,
 * and call this in the process that keeps running (a lock does not survive fork). GW_ERR_EXISTS: *holder_r
 * runs already. */
int pid_file_take(const struct config *config, int *fd_r, pid_t *holder_r);
/* The running master. 0, GW_ERR_NOTFOUND (none), GW_ERR_SYS. */
int pid_file_holder(const struct config *config, pid_t *pid_r);

/* Takes "-c DIR" (and the "-v"s of Postfix's commands) out of the argument list; without one, $MAIL_CONFIG,
 * else /etc/postfix. GW_ERR_SYNTAX: -c without a name. */
int pid_file_directory(int *argc, char **argv, const char **directory_r);

#endif

/*
 * ctl_logrotate - `estafeta logrotate`: puts the log file aside, begins a new one, compresses the old one.
 */
#ifndef CTL_LOGROTATE_H
#define CTL_LOGROTATE_H

#include "config/config.h"

/* pid: of master; 0 when it does not run. Says on standard error what failed. Returns the exit status. */
int ctl_logrotate_run(const struct config *config, int pid);

#endif

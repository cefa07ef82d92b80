/*
 * ctl_control - commands about the running gateway as a whole: stop, abort, reload, check, status, logrotate.
 */
#ifndef CTL_CONTROL_H
#define CTL_CONTROL_H

/* argv[0] is the command word, "-c DIR" may follow. Returns the exit status (sysexits; status: 1 when not
 * running). */
int ctl_control(int argc, char **argv);

#endif

/*
 * ctl_why - `estafeta why QUEUE-ID|MESSAGE-ID|ADDRESS|IP [--json] [-c DIR]`: what was seen and decided, in
 * order.
 */
#ifndef CTL_WHY_H
#define CTL_WHY_H

/* argv[0] is the command word. Returns the exit status: 0 something was found, 1 nothing, else sysexits. */
int ctl_why(int argc, char **argv);

#endif

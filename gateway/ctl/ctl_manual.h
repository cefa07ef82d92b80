/*
 * ctl_manual - `estafeta manual parameters`: the manual page of main.cf's parameters, from the one table.
 */
#ifndef CTL_MANUAL_H
#define CTL_MANUAL_H

/* argv[0] is the command word. Writes mdoc(7) to standard output; the build keeps it as man/main.cf.5.
 * Returns the exit status. */
int ctl_manual(int argc, char **argv);

#endif

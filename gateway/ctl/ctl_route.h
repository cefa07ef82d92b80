/*
 * ctl_route - `estafeta route ADDRESS ... [-f SENDER] [-c DIR]`: where mail for an address would go, and why.
 */
#ifndef CTL_ROUTE_H
#define CTL_ROUTE_H

/* argv[0] is the command word. Returns the exit status: 0, 1 when an address is returned or unknown, else
 * sysexits. */
int ctl_route(int argc, char **argv);

#endif

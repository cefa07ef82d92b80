/*
 * ctl_quarantine - `estafeta quarantine list|show|release|delete [ID ...] [--json] [--content] [--again] [-c
 * DIR]`.
 */
#ifndef CTL_QUARANTINE_H
#define CTL_QUARANTINE_H

/* argv[0] is the command word. Returns the exit status: 0, 1 when an id does not exist or was not released,
 * sysexits. */
int ctl_quarantine(int argc, char **argv);

#endif

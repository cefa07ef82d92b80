/*
 * ctl_check - `estafeta check`: every mistake of a configuration before it is used; --doctor: and what it
 * does that its author does not think.
 */
#ifndef CTL_CHECK_H
#define CTL_CHECK_H

#include "config/config.h"

/* Opens what the roles would open and closes it again: a line for each thing that does not, in *why. Given by
 * the top of the program, which alone knows all roles. 0, or an error. */
typedef int ctl_check_services(const struct config *config, struct buf *why);

/* argv[0] is the command word. Options: -c DIR, --doctor, --json, --probe (with --doctor: DNS is asked),
 * --rules (the doctor's rules). 0; 1: the doctor found errors; 78: the configuration cannot be used; 64. */
int ctl_check(int argc, char **argv, ctl_check_services *services);
/* The same check without its warnings, for commands that hand the configuration to the running gateway. 0 or
 * 78, the reasons on standard error. */
int ctl_check_quietly(const char *directory, ctl_check_services *services);

#endif

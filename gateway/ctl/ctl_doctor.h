/*
 * ctl_doctor - `estafeta check --doctor`: what loads but will not do what its author thinks.
 */
#ifndef CTL_DOCTOR_H
#define CTL_DOCTOR_H

#include "config/config.h"

struct ctl_doctor_options {
    bool json;
    bool probe;   /* may ask DNS: lists, MX and PTR records */
    bool outside; /* runs where strangers are: may connect to the servers behind the gateway */
};

/* Prints the findings of every rule on standard output. config NULL: it did not load, and only what was said
 * is told. said: the lines of loading; refused: what does not open, a line each. 0, or 1 when one of the
 * findings is an error. */
int ctl_doctor(const char *directory, const struct config *config, struct bytes said, struct bytes refused,
               const struct ctl_doctor_options *options);
/* The rules, a line each, "id severity rows title", for the check that holds doctor.md to them. */
void ctl_doctor_list(void);

#endif

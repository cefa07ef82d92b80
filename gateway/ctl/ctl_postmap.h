/*
 * ctl_postmap - postmap(1), postalias(1), newaliases(1): builds and queries lookup tables.
 */
#ifndef CTL_CTL_POSTMAP_H
#define CTL_CTL_POSTMAP_H

int ctl_postmap(int argc, char **argv);

#endif

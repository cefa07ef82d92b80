/*
 * ctl_postconf - postconf(1): shows and edits main.cf, shows master.cf.
 */
#ifndef CTL_CTL_POSTCONF_H
#define CTL_CTL_POSTCONF_H

int ctl_postconf(int argc, char **argv);

#endif

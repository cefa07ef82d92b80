/*
 * ctl_postlog - postlog(1): puts lines of scripts into the mail log.
 */
#ifndef CTL_POSTLOG_H
#define CTL_POSTLOG_H

/* postlog [-iv] [-c DIR] [-p priority] [-t tag] [text ...]; without text, each line of standard input. */
int ctl_postlog(int argc, char **argv);

#endif

/*
 * ctl_queue - the commands an administrator knows for the queue: mailq, postqueue, postsuper, postcat,
 * sendmail.
 *
 * Each takes "-c DIR" (or MAIL_CONFIG) for the configuration and returns an exit status of sysexits.h.
 */
#ifndef CTL_CTL_QUEUE_H
#define CTL_CTL_QUEUE_H

int ctl_mailq(int argc, char **argv);
int ctl_postqueue(int argc, char **argv); /* -p -j -f -i ID -s SITE */
int ctl_postsuper(int argc, char **argv); /* -d -h -H -r -e ID|ALL|- [queue name] */
int ctl_postcat(int argc, char **argv);   /* -q ID [-e] [-h] [-b] */
int ctl_sendmail(int argc, char **argv);  /* ctl_sendmail.c */

#endif

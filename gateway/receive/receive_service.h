/*
 * receive_service - role entry of receive: the SMTP server that takes mail from clients.
 */
#ifndef RECEIVE_RECEIVE_SERVICE_H
#define RECEIVE_RECEIVE_SERVICE_H

int receive_main(int argc, char **argv);

struct config;
struct buf;
/* For `estafeta check`: opens what the SMTP services of the configuration would open, and closes it again. 0,
 * or a line for each service that would not start in why_r. */
int receive_check(const struct config *config, struct buf *why_r);

#endif

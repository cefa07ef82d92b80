/*
 * receive_service - role entry of receive: the SMTP server that takes mail from clients.
 */
#ifndef RECEIVE_RECEIVE_SERVICE_H
#define RECEIVE_RECEIVE_SERVICE_H

int receive_main(int argc, char **argv);

#endif

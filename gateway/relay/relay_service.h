/*
 * relay_service - entry of the relay role: threads that carry mail to other hosts by SMTP and LMTP.
 */
#ifndef RELAY_RELAY_SERVICE_H
#define RELAY_RELAY_SERVICE_H

int relay_main(int argc, char **argv);

#endif

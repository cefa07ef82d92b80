/*
 * deliver_service - entry of the deliver role: threads that put mail into mailboxes and hand it to programs.
 */
#ifndef DELIVER_DELIVER_SERVICE_H
#define DELIVER_DELIVER_SERVICE_H

int deliver_main(int argc, char **argv);

#endif

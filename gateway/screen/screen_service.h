/*
 * screen_service - role entry of the screen: the first look at every client of port 25, in one event loop.
 */
#ifndef SCREEN_SCREEN_SERVICE_H
#define SCREEN_SCREEN_SERVICE_H

int screen_main(int argc, char **argv);

#endif

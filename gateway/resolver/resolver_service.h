/*
 * resolver_service - role entry of the resolver: the one place that talks DNS, one cache for all roles.
 */
#ifndef RESOLVER_RESOLVER_SERVICE_H
#define RESOLVER_RESOLVER_SERVICE_H

int resolver_main(int argc, char **argv);

#endif

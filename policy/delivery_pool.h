/*
 * delivery_pool - the threads of a role that delivers: how many, their start, their end when the role drains.
 */
#ifndef POLICY_DELIVERY_POOL_H
#define POLICY_DELIVERY_POOL_H

#include "config/config.h"
#include "policy/delivery_worker.h"

struct delivery_pool;

/* As many threads as the rows of master.cf that the role serves may run together, within
 * default_process_limit; 1 to max. */
size_t delivery_pool_size(const struct config *config, bool (*serves)(const struct config_service *row),
                          size_t max);
/* Starts up to count threads; fewer, with a warning, when the system gives no more. context is the role's own
 * and must outlive the threads. GW_ERR_NOMEM; GW_ERR_SYS when not one could be started. There is no _free:
 * threads may outlive the drain, so the pool lives as long as the process. */
int delivery_pool_start(const struct delivery_role *role, void *context, size_t count,
                        struct delivery_pool **pool_r);
/* Returns after master has closed its end of the control socket and each thread has finished the job it had,
 * or after DELIVERY_POOL_DRAIN_MS. */
enum { DELIVERY_POOL_DRAIN_MS = 60000 };
void delivery_pool_drain_when_told(struct delivery_pool *pool);

#endif

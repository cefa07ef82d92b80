/*
 * deliver_service - see the header. Before: master starts it; after: policy/delivery_pool.c with
 * deliver_worker.c, one thread per delivery that may run at once.
 *
 * Opens the tables of every row of master.cf it serves, then starts the threads, and those of
 * deliver_spawn.c, which serve ports. Started as root it stays root and outside a chroot, because it must
 * become the owner of each mailbox; each delivery then gives that up in a child. When master closes its end
 * of the control socket each thread finishes the job it has and goes.
 */
#include "deliver/deliver_service.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "config/role_start.h"
#include "deliver/deliver_spawn.h"
#include "deliver/deliver_worker.h"
#include "policy/delivery_pool.h"

enum { DELIVER_THREADS_MAX = 50, WHY_MAX = 4096 };

static bool
is_deliver_row(const struct config_service *row)
{
    return deliver_transport_agent(row->program) != NULL;
}

static int
open_transports(const struct config *config, struct deliver_shared *shared)
{
    struct buf why;
    int r = 0;

    buf_init(&why, WHY_MAX);
    for (size_t i = 0; i < config_service_count(config) && r == 0; i++) {
        const struct config_service *row = config_service(config, i);

        if (!is_deliver_row(row)) {
            continue;
        }
        if (shared->transport_count == DELIVER_TRANSPORTS_MAX) {
            r = GW_ERR_LIMIT;
            break;
        }
        buf_clear(&why);
        r = deliver_transport_new(config, i, &shared->transports[shared->transport_count], &why);
        if (r == 0) {
            shared->transport_count++;
        } else {
            log_error(row->program, "master.cf line %d: service %s: %s", row->line, row->name,
                      why.n > 0 ? buf_str(&why) : gw_strerror(r));
        }
    }
    buf_free(&why);
    return r;
}

int
deliver_main(int argc, char **argv)
{
    static struct role_start
        *start; /* role mains may keep state of the process: threads may outlive this one */
    static struct deliver_shared *shared;
    static struct delivery_pool *pool;
    static struct deliver_spawns *spawns;

    start = calloc(1, sizeof(*start));
    shared = calloc(1, sizeof(*shared));
    if (start == NULL || shared == NULL || role_start_begin(argc, argv, start) != 0) {
        return 1;
    }
    if (open_transports(start->config, shared) != 0 || role_start_ready(start, NULL, NULL) != 0) {
        return 1;
    }
    size_t count = delivery_pool_size(start->config, is_deliver_row, DELIVER_THREADS_MAX);
    if (delivery_pool_start(&DELIVER_WORKER, shared, count, &pool) != 0) {
        log_fatal("deliver", "no thread could be started");
    }
    if (deliver_spawn_start(start, &spawns) != 0) {
        log_fatal("spawn", "no thread could be started");
    }
    delivery_pool_drain_when_told(pool);
    deliver_spawn_wait(&spawns);
    return 0;
}

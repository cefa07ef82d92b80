/*
 * relay_service - see the header. Before: master starts it; after: policy/delivery_pool.c with
 * relay_worker.c, one thread per delivery that may run at once.
 *
 * Reads the settings of every smtp and lmtp row of master.cf before the jail (certificates are files), then
 * starts as many threads as the rows allow together. When master closes its end of the control socket each
 * thread finishes the job it has and goes.
 */
#include "relay/relay_service.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "config/role_start.h"
#include "policy/delivery_pool.h"
#include "relay/relay_worker.h"

enum { RELAY_THREADS_MAX = 100 };

static bool
is_relay_row(const struct config_service *row)
{
    return strcmp(row->program, "smtp") == 0 || strcmp(row->program, "lmtp") == 0;
}

static int
read_settings(const struct config *config, struct relay_shared *shared)
{
    for (size_t i = 0; i < config_service_count(config); i++) {
        if (!is_relay_row(config_service(config, i))) {
            continue;
        }
        if (shared->settings_count == RELAY_TRANSPORTS_MAX) {
            log_error("smtp", "more than %d transports with program smtp or lmtp", RELAY_TRANSPORTS_MAX);
            return GW_ERR_LIMIT;
        }
        int r = relay_settings_new(config, i, &shared->settings[shared->settings_count]);
        if (r != 0) {
            return r;
        }
        shared->settings_count++;
    }
    return 0;
}

int
relay_main(int argc, char **argv)
{
    static struct role_start
        *start; /* role mains may keep state of the process: threads may outlive this one */
    static struct relay_shared *shared;
    static struct delivery_pool *pool;

    start = calloc(1, sizeof(*start));
    shared = calloc(1, sizeof(*shared));
    if (start == NULL || shared == NULL || role_start_begin(argc, argv, start) != 0) {
        return 1;
    }
    if (read_settings(start->config, shared) != 0 || role_start_ready(start, NULL, NULL) != 0) {
        return 1;
    }
    size_t count = delivery_pool_size(start->config, is_relay_row, RELAY_THREADS_MAX);
    if (delivery_pool_start(&RELAY_WORKER, shared, count, &pool) != 0) {
        log_fatal("smtp", "no thread could be started");
    }
    delivery_pool_drain_when_told(pool);
    return 0;
}

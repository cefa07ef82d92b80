/*
 * table_pool - the connections of a database table: which host, which is idle, which is down. Private to
 * config/table*.c.
 */
#ifndef CONFIG_TABLE_POOL_H
#define CONFIG_TABLE_POOL_H

#include "base/bytes.h"
#include "config/modules/table_driver.h"

struct table_pool;

enum {
    TABLE_POOL_HOSTS_MAX = 32,
    TABLE_POOL_IDLE_MAX = 16,
    TABLE_POOL_IDLE_MS = 60000, /* closed after that, as Postfix's clients do */
    TABLE_POOL_DOWN_MS = 5000,  /* a host that failed is not tried for that long */
    TABLE_POOL_CONNECT_S = 8,   /* unless the table has a timeout of its own */
};

struct table_pool_driver {
    enum table_driver_result (*connect)(const struct table_driver_login *login, void **connection_r,
                                        char *why);
    void (*disconnect)(void *connection);
};

/* What to do with a connection: DRIVER_BROKEN asks for another one. */
typedef enum table_driver_result table_pool_use(void *context, void *connection, char *why);

/* hosts: words between any of `separators`; settings and driver outlive the pool. Connects to nothing yet. */
int table_pool_new(const struct table_pool_driver *driver, const struct table_setting *settings,
                   struct bytes hosts, const char *separators, int timeout_s, struct table_pool **pool_r);
void table_pool_free(struct table_pool **pool);
/* Runs `use` on an idle connection or a new one, on other hosts when one is broken, Unix sockets before
 * others. Thread-safe. why_r gets the reason of what is not DRIVER_OK. */
enum table_driver_result table_pool_run(struct table_pool *pool, table_pool_use *use, void *context,
                                        struct buf *why_r);

#endif

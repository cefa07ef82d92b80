/*
 * table_pool - see the header. Before: table_sql.c, table_ldap.c; after: a module's connect().
 *
 * A connection belongs to the thread that took it until it brings it back. One that proves broken after it
 * was idle is replaced without blaming its host; a host whose new connection fails is left alone for a while,
 * and when all are, the answer is "cannot tell" at once, so that sessions do not pile up behind a dead
 * database.
 */
#include "config/table_pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/error.h"
#include "config/table_network.h"

struct idle {
    void *connection;
    int64_t since_ms;
};

struct table_pool {
    const struct table_pool_driver *driver;
    const struct table_setting *settings;
    int timeout_s;
    char *hosts[TABLE_POOL_HOSTS_MAX];
    int64_t down_until_ms[TABLE_POOL_HOSTS_MAX];
    size_t host_count;
    struct idle idle[TABLE_POOL_IDLE_MAX]; /* the last one used is the last */
    size_t idle_count;
    pthread_mutex_t lock;
};

int
table_pool_new(const struct table_pool_driver *driver, const struct table_setting *settings,
               struct bytes hosts, const char *separators, int timeout_s, struct table_pool **pool_r)
{
    struct table_pool *pool = calloc(1, sizeof(*pool));
    struct bytes word;
    int r = 0;

    *pool_r = NULL;
    if (pool == NULL || pthread_mutex_init(&pool->lock, NULL) != 0) {
        free(pool);
        return GW_ERR_NOMEM;
    }
    pool->driver = driver;
    pool->settings = settings;
    pool->timeout_s = timeout_s;
    while (r == 0 && bytes_next_token(&hosts, separators, &word)) {
        if (word.n == 0) {
            continue;
        }
        char *host = pool->host_count < TABLE_POOL_HOSTS_MAX ? bytes_dup_str(word) : NULL;
        r = host == NULL ? GW_ERR_LIMIT : 0;
        if (r == 0) {
            pool->hosts[pool->host_count++] = host;
        }
    }
    if (r == 0) {
        *pool_r = pool;
        pool = NULL; /* transferred */
    }
    table_pool_free(&pool);
    return r;
}

void
table_pool_free(struct table_pool **pool)
{
    if (*pool != NULL) {
        for (size_t i = 0; i < (*pool)->idle_count; i++) {
            (*pool)->driver->disconnect((*pool)->idle[i].connection);
        }
        for (size_t i = 0; i < (*pool)->host_count; i++) {
            free((*pool)->hosts[i]);
        }
        (void)pthread_mutex_destroy(&(*pool)->lock);
        free(*pool);
        *pool = NULL;
    }
}

/* The one used last; those that are idle for too long go first. */
static void *
take_idle(struct table_pool *pool)
{
    void *old[TABLE_POOL_IDLE_MAX], *connection = NULL;
    size_t old_count = 0;
    int64_t now_ms = clock_monotonic_ms();

    (void)pthread_mutex_lock(&pool->lock);
    while (old_count < pool->idle_count && pool->idle[old_count].since_ms + TABLE_POOL_IDLE_MS < now_ms) {
        old[old_count] = pool->idle[old_count].connection;
        old_count++;
    }
    for (size_t i = old_count; i < pool->idle_count; i++) {
        pool->idle[i - old_count] = pool->idle[i];
    }
    pool->idle_count -= old_count;
    if (pool->idle_count > 0) {
        connection = pool->idle[--pool->idle_count].connection;
    }
    (void)pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < old_count; i++) {
        pool->driver->disconnect(old[i]);
    }
    return connection;
}

static void
give_idle(struct table_pool *pool, void *connection)
{
    (void)pthread_mutex_lock(&pool->lock);
    if (pool->idle_count < TABLE_POOL_IDLE_MAX) {
        pool->idle[pool->idle_count++] =
            (struct idle){.connection = connection, .since_ms = clock_monotonic_ms()};
        connection = NULL; /* transferred */
    }
    (void)pthread_mutex_unlock(&pool->lock);
    if (connection != NULL) {
        pool->driver->disconnect(connection);
    }
}

static bool
is_local(const char *host)
{
    return bytes_has_prefix_nocase(bytes_str(host), BYTES_LIT("unix:")) || host[0] == '/';
}

/* Any host that is not down, Unix sockets first; host_count when there is none. */
static size_t
choose_host(struct table_pool *pool)
{
    size_t chosen = pool->host_count;
    uint32_t chance = 0;
    int64_t now_ms = clock_monotonic_ms();

    if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) == -1) {
        chance = 0; /* any order will do */
    }
    (void)pthread_mutex_lock(&pool->lock);
    for (size_t i = 0; i < pool->host_count; i++) {
        size_t at = (chance % pool->host_count + i) % pool->host_count;

        if (pool->down_until_ms[at] <= now_ms &&
            (chosen == pool->host_count || (is_local(pool->hosts[at]) && !is_local(pool->hosts[chosen])))) {
            chosen = at;
        }
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return chosen;
}

static void
note_down(struct table_pool *pool, size_t host)
{
    (void)pthread_mutex_lock(&pool->lock);
    pool->down_until_ms[host] = clock_monotonic_ms() + TABLE_POOL_DOWN_MS;
    (void)pthread_mutex_unlock(&pool->lock);
}

static enum table_driver_result
run_on_host(struct table_pool *pool, size_t host, table_pool_use *use, void *context, char *why)
{
    struct table_driver_login login = {
        .settings = pool->settings, .host = pool->hosts[host], .timeout_s = pool->timeout_s};
    void *connection = NULL;
    enum table_driver_result result = pool->driver->connect(&login, &connection, why);

    result = result == DRIVER_OK ? use(context, connection, why) : DRIVER_BROKEN;
    if (result != DRIVER_BROKEN) {
        give_idle(pool, connection);
    } else if (connection != NULL) {
        pool->driver->disconnect(connection);
    }
    if (result == DRIVER_BROKEN) {
        note_down(pool, host);
    }
    return result;
}

enum table_driver_result
table_pool_run(struct table_pool *pool, table_pool_use *use, void *context, struct buf *why_r)
{
    int64_t deadline_ms = clock_monotonic_ms() + TABLE_ANSWER_MS;
    enum table_driver_result result = DRIVER_BROKEN;
    char why[TABLE_DRIVER_WHY_MAX] = "";
    void *connection;

    while (result == DRIVER_BROKEN && (connection = take_idle(pool)) != NULL) {
        result = use(context, connection, why);
        if (result == DRIVER_BROKEN) {
            pool->driver->disconnect(connection);
        } else {
            give_idle(pool, connection);
        }
    }
    while (result == DRIVER_BROKEN && clock_monotonic_ms() < deadline_ms) {
        size_t host = choose_host(pool);

        if (host == pool->host_count) {
            break;
        }
        why[0] = '\0';
        result = run_on_host(pool, host, use, context, why);
    }
    if (result != DRIVER_OK) {
        (void)buf_append_printable(why_r,
                                   bytes_str(why[0] != '\0' ? why : "no host could be reached just now"),
                                   TABLE_DRIVER_WHY_MAX, true);
    }
    return result;
}

/*
 * rates_test - open sessions and events per client against their limits; 0 is no limit; a new unit of time
 * counts anew; a full table refuses nobody.
 */
#include "policy/rates.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/ipc.h"

static int failures;
#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

enum { CROWD = 100000, THREADS = 4, ROUNDS = 20000 };

static struct net_addr
address(const char *text)
{
    struct net_addr addr = {0};

    CHECK(net_addr_parse(bytes_str(text), &addr) == 0);
    return addr;
}

static void
test_connections(void)
{
    const struct rates_limits two = {.connections = 2, .unit_s = 60}, none = {.unit_s = 60};
    struct net_addr a = address("192.0.2.1"), b = address("192.0.2.2"), c = address("2001:db8::1");
    struct rates *rates = rates_new();

    CHECK(rates_is_needed(&two) && !rates_is_needed(&none));
    a.port = 1;
    CHECK(rates_connect(rates, &two, &a));
    a.port = 2; /* the same client from another port */
    CHECK(rates_connect(rates, &two, &a));
    CHECK(!rates_connect(rates, &two, &a));
    CHECK(rates_connect(rates, &two, &b) && rates_connect(rates, &two, &c));
    rates_disconnect(rates, &a);
    CHECK(!rates_connect(rates, &two, &a));
    rates_disconnect(rates, &a);
    rates_disconnect(rates, &a);
    CHECK(rates_connect(rates, &two, &a));
    /* more ends than beginnings do not make room */
    for (int i = 0; i < 5; i++) {
        rates_disconnect(rates, &b);
    }
    CHECK(rates_connect(rates, &two, &b) && rates_connect(rates, &two, &b) &&
          !rates_connect(rates, &two, &b));
    for (int i = 0; i < 100; i++) {
        CHECK(rates_connect(rates, &none, &c));
    }
    rates_free(&rates);
    CHECK(rates == NULL);
}

static void
test_events(void)
{
    const struct rates_limits limits = {.connection_rate = 1, .message_rate = 2, .unit_s = 1};
    struct net_addr a = address("192.0.2.1"), b = address("192.0.2.2");
    struct rates *rates = rates_new();

    CHECK(rates_count(rates, &limits, &a, RATES_CONNECTION));
    CHECK(rates_count(rates, &limits, &a, RATES_MESSAGE) && rates_count(rates, &limits, &a, RATES_MESSAGE));
    CHECK(!rates_count(rates, &limits, &a, RATES_MESSAGE));
    CHECK(!rates_count(rates, &limits, &a, RATES_CONNECTION));
    CHECK(rates_count(rates, &limits, &b, RATES_MESSAGE));
    for (int i = 0; i < 10; i++) {
        CHECK(rates_count(rates, &limits, &a, RATES_RECIPIENT)); /* no limit */
    }
    /* The next unit: counts begin anew, open sessions stay. */
    const struct rates_limits open = {.connections = 1, .unit_s = 1};
    CHECK(rates_connect(rates, &open, &a));
    (void)usleep(2100000);
    CHECK(rates_count(rates, &limits, &a, RATES_MESSAGE) &&
          rates_count(rates, &limits, &a, RATES_CONNECTION));
    CHECK(!rates_connect(rates, &open, &a));
    rates_free(&rates);
}

/* More clients than the table has entries, all with an open session. */
static void
test_full(void)
{
    const struct rates_limits limits = {.connections = 1, .message_rate = 1, .unit_s = 60};
    struct net_addr client = address("10.0.0.0");
    struct rates *rates = rates_new();
    int refused = 0;

    for (unsigned i = 0; i < CROWD; i++) {
        client.ip[1] = (uint8_t)(i >> 16);
        client.ip[2] = (uint8_t)(i >> 8);
        client.ip[3] = (uint8_t)i;
        refused += !rates_connect(rates, &limits, &client);
        refused += !rates_count(rates, &limits, &client, RATES_MESSAGE);
    }
    CHECK(refused == 0);
    rates_free(&rates);
}

static const struct rates_limits THREAD_LIMITS = {.connections = THREADS, .unit_s = 60};

/* One session at a time in each thread: never more open than the limit. NULL: none was refused. */
static void *
come_and_go(void *context)
{
    struct net_addr client = address("192.0.2.7");

    for (int i = 0; i < ROUNDS; i++) {
        if (!rates_connect(context, &THREAD_LIMITS, &client)) {
            return context;
        }
        rates_disconnect(context, &client);
    }
    return NULL;
}

static void
test_threads(void)
{
    struct rates *rates = rates_new();
    pthread_t threads[THREADS];
    void *refused;

    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, come_and_go, rates) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], &refused) == 0 && refused == NULL);
    }
    struct net_addr client = address("192.0.2.7");
    for (int i = 0; i <= THREADS; i++) {
        CHECK(rates_connect(rates, &THREAD_LIMITS, &client) == (i < THREADS));
    }
    rates_free(&rates);
}

int
main(void)
{
    CHECK(IPC_RULES[0].type != 0); /* links the table of messages, which base needs and message holds */
    test_connections();
    test_events();
    test_full();
    test_threads();
    return failures != 0;
}

/*
 * table_keeper_test - a server that is stuck: how long its askers wait, and that those of other tables do not
 * wait with them. Each case has a process of its own, for there is one keeper per process.
 */
#include "config/table_keeper.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

enum { WAIT_MS = 1500, REST_MS = 60000, PROMPT_MS = 700, ASKERS = 24, TABLES = 3, TEST_SECONDS_MAX = 60 };

struct scene {
    struct table *stuck[TABLES], *well;
};

static int
listen_anywhere(unsigned *port_r)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, 2 * ASKERS * TABLES) == 0 &&
          getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    *port_r = ntohs(address.sin_port);
    return fd;
}

/* "200 ok" to each line. */
static void *
serve_client(void *argument)
{
    int fd = (int)(intptr_t)argument;
    char byte;

    while (recv(fd, &byte, 1, 0) == 1) {
        if (byte == '\n' && send(fd, "200 ok\n", 7, MSG_NOSIGNAL) != 7) {
            break;
        }
    }
    (void)close(fd);
    return NULL;
}

static void *
serve(void *argument)
{
    int fd;

    while ((fd = accept((int)(intptr_t)argument, NULL, NULL)) != -1) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, serve_client, (void *)(intptr_t)fd) == 0) {
            (void)pthread_detach(thread);
        }
    }
    return NULL;
}

static struct table *
open_server(unsigned port)
{
    struct table *table = NULL;
    struct buf spec, why;

    buf_init(&spec, TABLE_NAME_MAX);
    buf_init(&why, TABLE_NAME_MAX);
    CHECK(buf_printf(&spec, "tcp:127.0.0.1:%u", port) == 0);
    CHECK(table_open(NULL, bytes_buf(&spec), 0, &table, &why) == 0);
    buf_free(&spec);
    buf_free(&why);
    return table;
}

static int
find(struct table *table, int64_t *took_ms_r)
{
    struct table_hit hit = {0};
    int64_t start_ms = clock_monotonic_ms();

    buf_init(&hit.value, TABLE_VALUE_MAX);
    int r = table_find(table, BYTES_LIT("key"), &hit);
    *took_ms_r = clock_monotonic_ms() - start_ms;
    buf_free(&hit.value);
    return r;
}

static void
check_stuck(struct table *table)
{
    int64_t took_ms;

    CHECK(find(table, &took_ms) == GW_ERR_TEMP && took_ms >= WAIT_MS - 10 && took_ms < WAIT_MS + PROMPT_MS);
}

static void
check_well(struct table *table)
{
    int64_t took_ms;

    CHECK(find(table, &took_ms) == 0 && took_ms < PROMPT_MS);
}

/* Whoever asks next does not stand behind the question that is stuck. */
static void
test_next_channel(const struct scene *scene)
{
    check_well(scene->well);
    check_stuck(scene->stuck[0]);
    check_well(scene->well);
    check_stuck(scene->stuck[0]);
    check_well(scene->well);
}

/* An event loop stands still once, not for each message. */
static void
test_rest(const struct scene *scene)
{
    check_stuck(scene->stuck[0]);
    for (int i = 0; i < ASKERS; i++) {
        int64_t took_ms;

        CHECK(find(scene->stuck[0], &took_ms) == GW_ERR_TEMP && took_ms < PROMPT_MS);
        check_well(scene->well);
    }
}

static void *
ask_once(void *argument)
{
    int64_t took_ms;

    CHECK(find(argument, &took_ms) == GW_ERR_TEMP && took_ms < WAIT_MS + PROMPT_MS);
    return NULL;
}

/* More askers than channels, of several tables that are stuck. */
static void
test_share(const struct scene *scene)
{
    pthread_t threads[TABLES * ASKERS];

    for (int i = 0; i < TABLES * ASKERS; i++) {
        CHECK(pthread_create(&threads[i], NULL, ask_once, scene->stuck[i % TABLES]) == 0);
    }
    (void)usleep(WAIT_MS * 1000 / 4);
    for (int i = 0; i < ASKERS; i++) {
        check_well(scene->well);
    }
    for (int i = 0; i < TABLES * ASKERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    check_well(scene->well);
}

static int
open_no_log(const struct config *config)
{
    (void)config;
    return 0;
}

static void
run_case(void (*test)(const struct scene *scene), int rest_ms)
{
    struct table_keeper_request request = {.role = "test",
                                           .open_log = open_no_log,
                                           .keep_fd = STDERR_FILENO,
                                           .wait_ms = WAIT_MS,
                                           .rest_ms = rest_ms};
    unsigned silent_port, well_port;
    struct scene scene;
    pthread_t thread;
    int status = 0;
    pid_t pid = fork();

    if (pid != 0) {
        CHECK(pid != -1 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
        return;
    }
    (void)alarm(TEST_SECONDS_MAX);
    int well = listen_anywhere(&well_port);
    scene.well = open_server(well_port);
    for (unsigned i = 0; i < TABLES; i++) {
        (void)listen_anywhere(&silent_port); /* never accepted: connected to by the kernel, and silent */
        scene.stuck[i] = open_server(silent_port);
    }
    CHECK(table_keeper_start(&request) == 0);
    CHECK(pthread_create(&thread, NULL, serve, (void *)(intptr_t)well) == 0);
    test(&scene);
    _exit(failures != 0);
}

int
main(void)
{
    run_case(test_next_channel, 0);
    run_case(test_rest, REST_MS);
    run_case(test_share, 0);
    return failures != 0;
}

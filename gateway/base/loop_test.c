/*
 * loop_test - order of timers, watches that remove each other, signals, the handler after a turn.
 */
#include "base/loop.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

enum { TIMERS = 200 };

struct world {
    struct loop *loop;
    char order[16];
    size_t order_count;
    int pairs[2][2];
    struct loop_watch *watches[2];
    struct loop_timer *timers[TIMERS];
    int64_t last_deadline;
    int fired, ready, signals, turns;
};

struct mark {
    struct world *world;
    char letter;
};

static void
note(void *context)
{
    struct mark *mark = context;

    mark->world->order[mark->world->order_count++] = mark->letter;
}

static void
stop(void *context)
{
    loop_stop(((struct world *)context)->loop);
}

static void
test_timer_order(void)
{
    struct world world = {.loop = loop_new()};
    struct mark a = {&world, 'a'}, b = {&world, 'b'}, c = {&world, 'c'}, d = {&world, 'd'}, e = {&world, 'e'};
    int64_t now = clock_monotonic_ms();

    struct loop_timer *later = loop_timer_add(world.loop, now + 30, note, &c);
    (void)loop_timer_add(world.loop, now + 10, note, &a);
    (void)loop_timer_add(world.loop, now + 10, note, &b); /* equal deadlines: as added */
    struct loop_timer *gone = loop_timer_add(world.loop, now + 15, note, &d);
    struct loop_timer *moved = loop_timer_add(world.loop, now + 5, note, &e);
    loop_timer_cancel(world.loop, &gone);
    CHECK(gone == NULL && later != NULL);
    loop_timer_move(world.loop, moved, now + 20);
    (void)loop_timer_add(world.loop, now + 40, stop, &world);
    CHECK(loop_run(world.loop) == 0 && clock_monotonic_ms() >= now + 40);
    CHECK(strcmp(world.order, "abec") == 0);
    loop_free(&world.loop);
}

static void
check_order(void *context)
{
    struct world *world = context;

    world->fired++;
}

/* Timers are added, moved and cancelled at random: the heap stays a heap and each fires once. */
static void
test_many_timers(void)
{
    struct world world = {.loop = loop_new()};
    int64_t now = clock_monotonic_ms();
    unsigned random = 12345;
    int cancelled = 0;

    for (int i = 0; i < TIMERS; i++) {
        random = random * 1103515245U + 12345U;
        world.timers[i] = loop_timer_add(world.loop, now + (random >> 16) % 40, check_order, &world);
    }
    for (int i = 0; i < TIMERS; i += 3) {
        random = random * 1103515245U + 12345U;
        loop_timer_move(world.loop, world.timers[i], now + (random >> 16) % 40);
    }
    for (int i = 0; i < TIMERS; i += 7) {
        loop_timer_cancel(world.loop, &world.timers[i]);
        cancelled++;
    }
    (void)loop_timer_add(world.loop, now + 60, stop, &world);
    CHECK(loop_run(world.loop) == 0 && world.fired == TIMERS - cancelled);
    loop_free(&world.loop);
}

/* Both are ready in one turn; the first to be served removes both. */
static void
remove_all(void *context, uint32_t events)
{
    struct world *world = context;

    CHECK((events & EPOLLIN) != 0);
    world->ready++;
    for (int i = 0; i < 2; i++) {
        loop_watch_remove(world->loop, &world->watches[i]);
        (void)close(world->pairs[i][0]);
    }
}

static void
count_turn(void *context)
{
    struct world *world = context;

    if (++world->turns == 2) {
        loop_stop(world->loop);
    }
}

static void
test_watches(void)
{
    struct world world = {.loop = loop_new()};

    for (int i = 0; i < 2; i++) {
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, world.pairs[i]) == 0 &&
              write(world.pairs[i][1], "x", 1) == 1);
        world.watches[i] = loop_watch_add(world.loop, world.pairs[i][0], EPOLLIN, remove_all, &world);
        CHECK(world.watches[i] != NULL);
    }
    loop_after_turn(world.loop, count_turn, &world);
    (void)loop_timer_add(world.loop, clock_monotonic_ms() + 20, count_turn, &world);
    CHECK(loop_run(world.loop) == 0);
    CHECK(world.ready == 1 && world.watches[0] == NULL && world.watches[1] == NULL);
    for (int i = 0; i < 2; i++) {
        (void)close(world.pairs[i][1]);
    }
    loop_free(&world.loop);
}

static void
got_signal(void *context)
{
    struct world *world = context;

    if (++world->signals == 2) {
        loop_stop(world->loop);
    }
}

static void
raise_again(void *context)
{
    (void)context;
    (void)kill(getpid(), SIGUSR2);
}

static void
test_signals(void)
{
    struct world world = {.loop = loop_new()};

    CHECK(loop_signal(world.loop, SIGUSR1, got_signal, &world) == 0);
    CHECK(loop_signal(world.loop, SIGUSR2, got_signal, &world) == 0);
    (void)kill(getpid(), SIGUSR1);
    (void)loop_timer_add(world.loop, clock_monotonic_ms() + 5, raise_again, &world);
    CHECK(loop_run(world.loop) == 0 && world.signals == 2);
    loop_free(&world.loop);
}

int
main(void)
{
    test_timer_order();
    test_many_timers();
    test_watches();
    test_signals();
    return failures != 0;
}

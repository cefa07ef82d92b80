/*
 * loop - see the header. epoll, a list of timers kept in a binary heap, one signalfd.
 *
 * Watches and timers that a handler removes while events of the same turn are pending are marked dead and
 * freed at the end of the turn, so no handler is called for what is gone.
 */
#include "base/loop.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

enum { EVENTS_PER_TURN = 256, AFTER_MAX = 4, SIGNALS_MAX = 16 };

struct loop_watch {
    int fd;
    loop_ready *ready;
    void *context;
    bool dead;
    struct loop_watch *next_dead;
};

struct loop_timer {
    int64_t deadline_ms;
    uint64_t order; /* equal deadlines fire as they were added */
    size_t slot;    /* in the heap */
    loop_fire *fire;
    void *context;
};

struct loop {
    int epoll_fd;
    bool stopped;
    struct loop_watch *dead;
    struct loop_timer **heap;
    size_t heap_count, heap_size;
    uint64_t order;
    struct {
        loop_fire *fire;
        void *context;
    } after[AFTER_MAX];
    size_t after_count;
    struct {
        int number;
        loop_fire *fire;
        void *context;
    } signals[SIGNALS_MAX];
    size_t signal_count;
    sigset_t signal_set;
    int signal_fd;
    struct loop_watch *signal_watch;
};

struct loop *
loop_new(void)
{
    struct loop *loop = calloc(1, sizeof(*loop));

    if (loop == NULL) {
        return NULL;
    }
    loop->signal_fd = -1;
    (void)sigemptyset(&loop->signal_set);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd == -1) {
        free(loop);
        return NULL;
    }
    return loop;
}

static void
free_dead(struct loop *loop)
{
    while (loop->dead != NULL) {
        struct loop_watch *next = loop->dead->next_dead;

        free(loop->dead);
        loop->dead = next;
    }
}

void
loop_free(struct loop **loop_p)
{
    struct loop *loop = *loop_p;

    if (loop == NULL) {
        return;
    }
    if (loop->signal_watch != NULL) {
        loop_watch_remove(loop, &loop->signal_watch);
        (void)close(loop->signal_fd);
    }
    free_dead(loop);
    for (size_t i = 0; i < loop->heap_count; i++) {
        free(loop->heap[i]);
    }
    free(loop->heap);
    (void)close(loop->epoll_fd);
    free(loop);
    *loop_p = NULL;
}

struct loop_watch *
loop_watch_add(struct loop *loop, int fd, uint32_t events, loop_ready *ready, void *context)
{
    struct loop_watch *watch = calloc(1, sizeof(*watch));

    if (watch == NULL) {
        return NULL;
    }
    *watch = (struct loop_watch){.fd = fd, .ready = ready, .context = context};
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) == -1) {
        free(watch);
        return NULL;
    }
    return watch;
}

void
loop_watch_change(struct loop *loop, struct loop_watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};

    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void
loop_watch_remove(struct loop *loop, struct loop_watch **watch)
{
    if (*watch == NULL) {
        return;
    }
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, (*watch)->fd, NULL);
    (*watch)->dead = true;
    (*watch)->next_dead = loop->dead;
    loop->dead = *watch;
    *watch = NULL;
}

static bool
is_before(const struct loop_timer *a, const struct loop_timer *b)
{
    return a->deadline_ms != b->deadline_ms ? a->deadline_ms < b->deadline_ms : a->order < b->order;
}

static void
place(struct loop *loop, struct loop_timer *timer, size_t slot)
{
    loop->heap[slot] = timer;
    timer->slot = slot;
}

static void
sift_up(struct loop *loop, size_t slot)
{
    struct loop_timer *timer = loop->heap[slot];

    while (slot > 0 && is_before(timer, loop->heap[(slot - 1) / 2])) {
        place(loop, loop->heap[(slot - 1) / 2], slot);
        slot = (slot - 1) / 2;
    }
    place(loop, timer, slot);
}

static void
sift_down(struct loop *loop, size_t slot)
{
    struct loop_timer *timer = loop->heap[slot];

    for (;;) {
        size_t child = 2 * slot + 1;

        if (child >= loop->heap_count) {
            break;
        }
        if (child + 1 < loop->heap_count && is_before(loop->heap[child + 1], loop->heap[child])) {
            child++;
        }
        if (!is_before(loop->heap[child], timer)) {
            break;
        }
        place(loop, loop->heap[child], slot);
        slot = child;
    }
    place(loop, timer, slot);
}

static void
take_out(struct loop *loop, struct loop_timer *timer)
{
    size_t slot = timer->slot;
    struct loop_timer *last = loop->heap[--loop->heap_count];

    if (last != timer) {
        place(loop, last, slot);
        sift_up(loop, slot);
        sift_down(loop, last->slot);
    }
}

struct loop_timer *
loop_timer_add(struct loop *loop, int64_t deadline_ms, loop_fire *fire, void *context)
{
    if (loop->heap_count == loop->heap_size) {
        size_t size = loop->heap_size == 0 ? 64 : loop->heap_size * 2;
        struct loop_timer **heap = realloc(loop->heap, size * sizeof(struct loop_timer *));

        if (heap == NULL) {
            return NULL;
        }
        loop->heap = heap;
        loop->heap_size = size;
    }
    struct loop_timer *timer = malloc(sizeof(*timer));
    if (timer == NULL) {
        return NULL;
    }
    *timer = (struct loop_timer){
        .deadline_ms = deadline_ms, .order = loop->order++, .fire = fire, .context = context};
    place(loop, timer, loop->heap_count++);
    sift_up(loop, timer->slot);
    return timer;
}

void
loop_timer_move(struct loop *loop, struct loop_timer *timer, int64_t deadline_ms)
{
    timer->deadline_ms = deadline_ms;
    timer->order = loop->order++;
    sift_up(loop, timer->slot);
    sift_down(loop, timer->slot);
}

void
loop_timer_cancel(struct loop *loop, struct loop_timer **timer)
{
    if (*timer != NULL) {
        take_out(loop, *timer);
        free(*timer);
        *timer = NULL;
    }
}

void
loop_after_turn(struct loop *loop, loop_fire *fire, void *context)
{
    if (loop->after_count < AFTER_MAX) {
        loop->after[loop->after_count].fire = fire;
        loop->after[loop->after_count++].context = context;
    }
}

static void
read_signals(void *context, uint32_t events)
{
    struct loop *loop = context;
    struct signalfd_siginfo info;

    (void)events;
    while (read(loop->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        for (size_t i = 0; i < loop->signal_count; i++) {
            if ((uint32_t)loop->signals[i].number == info.ssi_signo) {
                loop->signals[i].fire(loop->signals[i].context);
            }
        }
    }
}

int
loop_signal(struct loop *loop, int signal_number, loop_fire *fire, void *context)
{
    if (loop->signal_count >= SIGNALS_MAX) {
        return GW_ERR_LIMIT;
    }
    (void)sigaddset(&loop->signal_set, signal_number);
    if (sigprocmask(SIG_BLOCK, &loop->signal_set, NULL) == -1) {
        return GW_ERR_SYS;
    }
    int fd = signalfd(loop->signal_fd, &loop->signal_set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd == -1) {
        return GW_ERR_SYS;
    }
    loop->signal_fd = fd;
    if (loop->signal_watch == NULL) {
        loop->signal_watch = loop_watch_add(loop, fd, EPOLLIN, read_signals, loop);
        if (loop->signal_watch == NULL) {
            return GW_ERR_NOMEM;
        }
    }
    loop->signals[loop->signal_count].number = signal_number;
    loop->signals[loop->signal_count].fire = fire;
    loop->signals[loop->signal_count++].context = context;
    return 0;
}

/* A timer that is due is gone before its handler runs. Those added meanwhile wait for the next turn. */
static void
fire_timers(struct loop *loop)
{
    int64_t now = clock_monotonic_ms();
    uint64_t limit = loop->order;

    while (!loop->stopped && loop->heap_count > 0) {
        struct loop_timer *timer = loop->heap[0];

        if (timer->deadline_ms > now || timer->order >= limit) {
            break;
        }
        loop_fire *fire = timer->fire;
        void *context = timer->context;
        take_out(loop, timer);
        free(timer);
        fire(context);
    }
}

int
loop_run(struct loop *loop)
{
    struct epoll_event events[EVENTS_PER_TURN];

    while (!loop->stopped) {
        int wait_ms = loop->heap_count > 0 ? clock_left_ms(loop->heap[0]->deadline_ms) : -1;
        int n = epoll_wait(loop->epoll_fd, events, EVENTS_PER_TURN, wait_ms);

        if (n == -1 && errno != EINTR) {
            return GW_ERR_SYS;
        }
        log_hold(); /* the lines of a turn are one write(2) */
        for (int i = 0; i < n; i++) {
            struct loop_watch *watch = events[i].data.ptr;

            if (!watch->dead) {
                watch->ready(watch->context, events[i].events);
            }
        }
        fire_timers(loop);
        for (size_t i = 0; i < loop->after_count; i++) {
            loop->after[i].fire(loop->after[i].context);
        }
        log_release();
        free_dead(loop);
    }
    loop->stopped = false;
    return 0;
}

void
loop_stop(struct loop *loop)
{
    loop->stopped = true;
}

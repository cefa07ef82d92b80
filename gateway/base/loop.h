/*
 * loop - the event loop of screen, queue, policy, resolver and master: epoll, timers, signals.
 *
 * Level-triggered. A handler may add and remove watches and timers, its own included. Timers fire in order of
 * their deadline. `after` handlers run once per turn when all ready descriptors were served: that is where
 * the queue commits its batch.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;
struct loop_watch;
struct loop_timer;

typedef void loop_ready(void *context, uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLHUP ... */
typedef void loop_fire(void *context);

struct loop *loop_new(void); /* NULL when out of memory or descriptors */
void loop_free(struct loop **loop);
/* Does not own fd. NULL on failure. */
struct loop_watch *loop_watch_add(struct loop *loop, int fd, uint32_t events, loop_ready *ready,
                                  void *context);
void loop_watch_change(struct loop *loop, struct loop_watch *watch, uint32_t events);
void loop_watch_remove(struct loop *loop, struct loop_watch **watch); /* call before closing fd */
struct loop_timer *loop_timer_add(struct loop *loop, int64_t deadline_ms, loop_fire *fire, void *context);
void loop_timer_move(struct loop *loop, struct loop_timer *timer, int64_t deadline_ms);
/* A timer that fired is gone: its pointer is set to NULL by the owner in the handler or by this call before.
 */
void loop_timer_cancel(struct loop *loop, struct loop_timer **timer);
void loop_after_turn(struct loop *loop, loop_fire *fire, void *context); /* at most 4 of them */
/* SIGTERM, SIGINT, SIGHUP, SIGCHLD ... arrive as calls in the loop, not as interrupts. */
int loop_signal(struct loop *loop, int signal_number, loop_fire *fire, void *context);
int loop_run(struct loop *loop); /* until loop_stop(); 0 or GW_ERR_SYS */
void loop_stop(struct loop *loop);

#endif

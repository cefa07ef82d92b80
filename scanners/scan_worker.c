/*
 * scan_worker - see the header. Before: scan_service.c forks it; after: pipeline.c.
 *
 * Every thread accepts on the same listening socket. The answer of a scan that a signal or a library ended
 * never comes: receive sees the connection break and asks another worker.
 */
#include "scanners/scan_worker.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "scanners/scan_temporary.h"

enum {
    ALARM_EVERY_MS = 60000,  /* of one thread about one scanner */
    REQUEST_WAIT_MS = 10000, /* a connection that says nothing */
    ARENA_MAX = 64 * 1024 * 1024,
    REPORT_MAX = 250 * 1024,
    DRAIN_STEP_MS = 10,
    NOTICE_BYTES = 8192,
};

struct worker {
    const struct scan_worker_options *options;
    pthread_t ids[SCAN_THREADS_MAX];
    atomic_bool runs[SCAN_THREADS_MAX];
    atomic_bool draining;
};

struct worker_thread {
    struct worker *worker;
    int index;
    struct arena *arena;
    struct pipeline_thread *pipeline;
    struct buf payload;
    int64_t alarm_due_ms[SCANNER_COUNT];
};

void
scan_worker_alarm(const char *key, const char *text)
{
    struct wire_notice notice = {.class = NOTICE_ALARM, .text = bytes_str(text)};
    struct ipc_channel *policy = NULL;
    struct buf payload;

    (void)snprintf(notice.key, sizeof(notice.key), "%s", key);
    buf_init(&payload, NOTICE_BYTES);
    if (wire_notice_pack(&payload, &notice) == 0 && ipc_connect(ROLE_SCAN, ROLE_POLICY, &policy) == 0) {
        (void)ipc_send(policy, WIRE_NOTICE, 0, bytes_buf(&payload), NULL, 0);
    }
    ipc_channel_free(&policy);
    buf_free(&payload);
}

static const char *
name_of(enum scanner_id id)
{
    return id < SCANNER_COUNT ? SCANNERS[id]->name : "scanner";
}

/* A scanner that gives no result, or a spamd that cannot be asked, is news for the postmaster: mail is
 * deferred because of it. A message that is too much for a scanner, or a DNS that does not answer, is not. */
static bool
is_alarming(const struct scan_result *result)
{
    return result->status == SCAN_NOT_SCANNED ||
           (result->status == SCAN_TEMPFAIL && result->scanner == SCANNER_SPAMASSASSIN);
}

static void
raise_alarms(struct worker_thread *thread, const struct scan_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        const struct scan_result *result = &report->results[i];
        char key[64], text[1024];

        if (!is_alarming(result) || result->scanner >= SCANNER_COUNT ||
            clock_monotonic_ms() < thread->alarm_due_ms[result->scanner]) {
            continue;
        }
        thread->alarm_due_ms[result->scanner] = clock_monotonic_ms() + ALARM_EVERY_MS;
        (void)snprintf(key, sizeof(key), "scanner %s", name_of(result->scanner));
        (void)snprintf(text, sizeof(text), "The scanner %s could not look at a message: %.*s\n",
                       name_of(result->scanner), (int)(result->detail.n < 500 ? result->detail.n : 500),
                       result->detail.p);
        scan_worker_alarm(key, text);
    }
}

static int
answer(struct worker_thread *thread, struct ipc_channel *channel, const struct ipc_message *message)
{
    struct wire_scan request;
    struct scan_report report;
    int r;

    if (!ipc_is_sealed(message->fds[0]) || wire_scan_unpack(message->payload, &request) != 0) {
        return GW_ERR_PEER;
    }
    _Atomic int64_t *deadline_ms = &thread->worker->options->slots->deadline_ms[thread->index];
    atomic_store(deadline_ms, clock_monotonic_ms() + request.budget_ms);
    pipeline_scan(thread->pipeline, &request, message->fds[0], thread->arena, &report);
    atomic_store(deadline_ms, 0);
    buf_clear(&thread->payload);
    r = scan_report_pack(&thread->payload, &report);
    r = r == 0 ? ipc_send(channel, WIRE_REPORT, message->id, bytes_buf(&thread->payload), NULL, 0) : r;
    raise_alarms(thread, &report);
    envelope_free(&request.envelope);
    arena_reset(thread->arena);
    return r;
}

static void
serve_one(struct worker_thread *thread)
{
    struct ipc_channel *channel = NULL;
    struct ipc_message message;
    int r = ipc_accept(thread->worker->options->listen_fd, ROLE_SCAN, ROLE_RECEIVE, false, &channel);

    if (r != 0) {
        if (r != GW_ERR_AGAIN) {
            (void)poll(NULL, 0, 100);
        }
        return;
    }
    while (r == 0) {
        r = ipc_receive(channel, clock_monotonic_ms() + REQUEST_WAIT_MS, &message);
        if (r == 0) {
            r = answer(thread, channel, &message);
            ipc_message_free(&message);
        }
    }
    ipc_channel_free(&channel);
}

static void *
run_thread(void *context)
{
    struct worker_thread *thread = context;
    struct worker *worker = thread->worker;

    thread->arena = arena_new(ARENA_MAX);
    buf_init(&thread->payload, REPORT_MAX);
    if (thread->arena != NULL && pipeline_thread_start(worker->options->pipeline, &thread->pipeline) == 0) {
        while (!atomic_load(&worker->draining)) {
            serve_one(thread);
        }
        pipeline_thread_stop(&thread->pipeline);
    } else {
        log_warning("scan", "a scan thread could not be started");
    }
    arena_free(&thread->arena);
    buf_free(&thread->payload);
    atomic_store(&worker->runs[thread->index], false);
    free(thread);
    return NULL;
}

static int
start_thread(struct worker *worker, int index)
{
    struct worker_thread *thread = calloc(1, sizeof(*thread));

    if (thread == NULL) {
        return GW_ERR_NOMEM;
    }
    *thread = (struct worker_thread){.worker = worker, .index = index};
    atomic_store(&worker->runs[index], true);
    if (pthread_create(&worker->ids[index], NULL, run_thread, thread) != 0) {
        atomic_store(&worker->runs[index], false);
        free(thread);
        return GW_ERR_SYS;
    }
    return 0;
}

static int
count_running(struct worker *worker)
{
    int count = 0;

    for (int i = 0; i < worker->options->threads; i++) {
        count += atomic_load(&worker->runs[i]);
    }
    return count;
}

static void
wake_up(int signal_number)
{
    (void)signal_number; /* only interrupts accept(2) */
}

/* Threads that wait in accept(2) are woken until they have seen the word; others finish what they are in. A
 * thread that ended is not joined, so its id stays valid. */
static void
drain(struct worker *worker)
{
    atomic_store(&worker->draining, true);
    while (count_running(worker) > 0 && getppid() == worker->options->parent) {
        for (int i = 0; i < worker->options->threads; i++) {
            if (atomic_load(&worker->runs[i])) {
                (void)pthread_kill(worker->ids[i], SIGUSR1);
            }
        }
        (void)poll(NULL, 0, DRAIN_STEP_MS);
    }
}

int
scan_worker_run(const struct scan_worker_options *options)
{
    struct worker worker = {.options = options};
    struct sigaction action = {.sa_handler = wake_up};
    sigset_t set;
    int number = 0;

    (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* no worker outlives its loader */
    (void)sigaction(SIGUSR1, &action, NULL);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL); /* before the threads: only this one takes it */
    if (getppid() != options->parent) {
        return 0;
    }
    if (scan_temporary_enter_worker() != 0) {
        log_warning("scan", "a worker has no temporary directory of its own: %s", strerror(errno));
        return 1;
    }
    if (pipeline_worker_start(options->pipeline) != 0) {
        return 1;
    }
    for (int i = 0; i < options->threads; i++) {
        if (start_thread(&worker, i) != 0) {
            break;
        }
    }
    if (count_running(&worker) == 0) {
        return 1;
    }
    while (sigwait(&set, &number) != 0) {
    }
    drain(&worker);
    return 0;
}

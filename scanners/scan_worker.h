/*
 * scan_worker - one sandboxed worker of the scan role: threads that accept a request, scan, answer. Private
 * to scanners/.
 */
#ifndef SCANNERS_SCAN_WORKER_H
#define SCANNERS_SCAN_WORKER_H

#include <stdatomic.h>
#include <sys/types.h>

#include "scanners/scanner.h"

enum { SCAN_THREADS_MAX = 64 };

/* Shared memory: when the scan of each thread must be over; 0 when it is idle. The loader's watchdog reads
 * it. */
struct scan_slots {
    _Atomic int64_t deadline_ms[SCAN_THREADS_MAX];
};

struct scan_worker_options {
    struct pipeline *pipeline; /* with its data */
    int listen_fd;             /* of callers of role receive; blocking */
    struct scan_slots *slots;
    int threads;
    pid_t parent; /* the loader: without it the worker ends */
};

/* Runs until SIGTERM; the scans under way are finished first. The exit code of the process. */
int scan_worker_run(const struct scan_worker_options *options);
/* Tells the postmaster (class ALARM), through the policy role; equal keys become one mail. Never waits. */
void scan_worker_alarm(const char *key, const char *text);

#endif

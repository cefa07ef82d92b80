/*
 * scan_loader - one generation of the scan role: the process that loads the signatures and forks the workers.
 * Private to scanners/.
 */
#ifndef SCANNERS_SCAN_LOADER_H
#define SCANNERS_SCAN_LOADER_H

#include <sys/types.h>

#include "scanners/scanner.h"

enum { SCAN_WORKERS_MAX = 64, SCAN_LOADER_SERVES = 'S' };

struct scan_loader_options {
    struct pipeline *pipeline; /* loaded, but for its data */
    bool without_data; /* nothing could be loaded: answer "not scanned" until a later generation can */
    int listen_fd;
    int workers, threads; /* processes, and threads in each */
    int said_fd;  /* gets one SCAN_LOADER_SERVES when the workers accept; closed at the end of the process */
    pid_t parent; /* the process that forks it */
    int64_t drain_ms; /* how long scans under way may take at the end */
};

/* Until SIGTERM, or until the parent is gone; the exit code of the process. */
int scan_loader_run(const struct scan_loader_options *options);

#endif

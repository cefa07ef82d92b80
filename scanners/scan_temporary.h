/*
 * scan_temporary - the directory in which scanners unpack: on tmpfs, of this process alone. Private to
 * scanners/.
 */
#ifndef SCANNERS_SCAN_TEMPORARY_H
#define SCANNERS_SCAN_TEMPORARY_H

#include "config/config.h"

enum { SCAN_PATH_MAX = 4096 };

struct scan_temporary {
    char path[SCAN_PATH_MAX]; /* "" before scan_temporary_make() */
    int lock_fd;              /* held as long as somebody uses the directory; inherited through fork */
    bool own_mount;           /* a tmpfs that only this process and its children see */
};

/* Makes it below scan_temporary_directory, owned by the user of the scan role, and names it in TMPDIR.
 * Started as root it is a tmpfs of its own with a size limit. Directories that killed predecessors left
 * behind are removed. 0, or an error that was logged. */
int scan_temporary_make(const struct config *config, struct scan_temporary *temporary_r);
void scan_temporary_remove(struct scan_temporary *temporary);

/* A worker's own directory below TMPDIR, which names it from then on: libclamav makes its names from the time
 * and random numbers, and forks of one process draw the same ones. 0, GW_ERR_SYS. */
int scan_temporary_enter_worker(void);
/* Removes what the worker of that process id left. */
void scan_temporary_forget_worker(int pid);

#endif

/*
 * master_check - a configuration is tried before the running generation gives way to it.
 */
#ifndef MASTER_MASTER_CHECK_H
#define MASTER_MASTER_CHECK_H

#include "base/bytes.h"

/* Runs `estafeta check` on the directory: it opens what every role would open. 0, or GW_ERR_CONFIG with its
 * reasons, a line each, in *why. Waits for it, at most MASTER_CHECK_MS; the roles serve meanwhile. */
int master_check(const char *directory, struct buf *why);

#endif

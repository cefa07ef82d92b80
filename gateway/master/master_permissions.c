/*
 * master_permissions - `estafeta set-permissions`: directories and their owners as a start would make them.
 *
 * Before: estafeta.c; after: master_tree.c, which start uses, too. Touches nothing below the directories of
 * roles; may be run while the gateway does.
 */
#include <stdio.h>
#include <string.h>

#include "config/pid_file.h"
#include "master/master.h"
#include "master/master_tree.h"

enum { STATUS_USAGE = 64, STATUS_CANTCREAT = 73, STATUS_CONFIG = 78, WHY_MAX = 65536 };

int
master_set_permissions(int argc, char **argv)
{
    const char *directory;
    struct config *config = NULL;
    int status = STATUS_USAGE;
    struct buf why;

    buf_init(&why, WHY_MAX);
    if (pid_file_directory(&argc, argv, &directory) != 0 || argc > 1) {
        (void)fprintf(stderr, "estafeta: fatal: usage: estafeta set-permissions [-c DIR]\n");
        goto out;
    }
    if (config_load(directory, &config, &why) != 0) {
        status = STATUS_CONFIG;
    } else {
        buf_clear(&why);
        status = master_tree_make(config, &why) != 0 ? STATUS_CANTCREAT : 0;
    }
    struct bytes rest = bytes_buf(&why), line;
    while (status != 0 && bytes_next_line(&rest, &line)) {
        (void)fprintf(stderr, "estafeta: fatal: %.*s\n", BYTES_FMT(line));
    }
out:
    config_free(&config);
    buf_free(&why);
    return status;
}

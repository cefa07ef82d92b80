/*
 * master_generation - from files to a generation: configuration, sealed copy, listening sockets, log.
 *
 * Before: start or SIGHUP; after: master_roles starts roles from it. Everything that can be wrong is found
 * before anything of the running generation is touched; a reload that fails changes nothing but the log.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/ipc.h"
#include "base/log.h"
#include "config/pid_file.h"
#include "master/master_check.h"
#include "master/master_private.h"

enum {
    STATUS_OSERR = 71,
    STATUS_CANTCREAT = 73,
    STATUS_TEMPFAIL = 75,
    STATUS_CONFIG = 78,
    BIND_WAIT_MS = 5000, /* at start: roles of a master that was killed drain at most this long */
};

void
master_generation_free(struct master_generation *generation)
{
    master_listen_close(&generation->listeners);
    if (generation->config_fd != -1) {
        (void)close(generation->config_fd);
        generation->config_fd = -1;
    }
    config_free(&generation->config);
}

/* The log of this generation; the roles inherit its descriptor. */
static int
open_log(const struct master *master, const struct config *config, struct buf *why)
{
    const char *file = config_str(config, P_maillog_file);
    struct log_target target = {.syslog_name = config_str(config, P_syslog_name),
                                .facility = config_str(config, P_syslog_facility),
                                .file = file,
                                .fd = -1,
                                .also_stderr = master->in_foreground || master->notify_fd != -1};
    int before = log_fd();

    if (file[0] != '\0') {
        target.fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (target.fd == -1) {
            (void)buf_printf(why,
                             "%s/main.cf: maillog_file = %s: %s; create its directory or name another file\n",
                             config_directory(config), file, strerror(errno));
            return STATUS_CANTCREAT;
        }
    }
    (void)log_open(&target);
    if (before != -1 && before != target.fd) {
        (void)close(before);
    }
    return 0;
}

static int
seal(struct master_generation *generation)
{
    struct buf packed;
    int r;

    buf_init(&packed, IPC_PAYLOAD_MAX);
    r = config_pack(generation->config, &packed);
    if (r == 0) {
        generation->config_fd = ipc_sealed_memfd("config", bytes_buf(&packed));
        r = generation->config_fd == -1 ? GW_ERR_SYS : 0;
    }
    buf_free(&packed);
    return r;
}

/* What only the first generation does: directories, the right to run here, the sockets between roles. */
static int
claim(struct master *master, const struct config *config, struct buf *why)
{
    pid_t holder;
    int r;

    if (master_tree_make(config, why) != 0) {
        return STATUS_CANTCREAT;
    }
    r = pid_file_take(config, &master->pid_fd, &holder);
    if (r != 0) {
        (void)buf_printf(why, "queue_directory %s: %s", config_str(config, P_queue_directory),
                         r == GW_ERR_EXISTS ? "the mail system is already running" : strerror(errno));
        (void)buf_printf(why, r == GW_ERR_EXISTS ? ": PID: %d\n" : "\n", (int)holder);
        return r == GW_ERR_EXISTS ? STATUS_TEMPFAIL : STATUS_CANTCREAT;
    }
    return master_tree_bind(config, &master->edges, why) == 0 ? 0 : STATUS_OSERR;
}

static int
check_same_place(const struct master *master, const struct config *config, struct buf *why)
{
    static const enum param FIXED[] = {P_queue_directory, P_process_id_directory};

    for (size_t i = 0; i < sizeof(FIXED) / sizeof(FIXED[0]); i++) {
        if (strcmp(config_str(config, FIXED[i]), config_str(master->generation.config, FIXED[i])) != 0) {
            (void)buf_printf(why, "%s/main.cf: %s has changed; stop and start for that\n",
                             config_directory(config), PARAMS[FIXED[i]].name);
            return STATUS_CONFIG;
        }
    }
    return 0;
}

int
master_generation_load(struct master *master, bool first, struct buf *why)
{
    struct master_generation fresh = {.number = master->generation.number + 1, .config_fd = -1};
    struct master_listeners *plan = calloc(1, sizeof(*plan));
    int r = STATUS_CONFIG;

    if (plan == NULL) {
        (void)buf_append_str(why, "out of memory\n");
        return STATUS_OSERR;
    }
    if (config_load(master->directory, &fresh.config, why) != 0 ||
        master_listen_plan(fresh.config, plan, why) != 0 ||
        (!first && (r = check_same_place(master, fresh.config, why)) != 0) ||
        (!first && master_check(master->directory, why) != 0 && (r = STATUS_CONFIG) != 0) ||
        (r = first                                      ? claim(master, fresh.config, why)
             : master_tree_make(fresh.config, why) == 0 ? 0
                                                        : STATUS_CANTCREAT) != 0) {
        goto out;
    }
    if (seal(&fresh) != 0) {
        (void)buf_printf(why, "cannot hand over the configuration: %s\n", strerror(errno));
        r = STATUS_OSERR;
        goto out;
    }
    if ((r = open_log(master, fresh.config, why)) != 0) {
        goto out;
    }
    if (master_listen_bind(fresh.config, plan, &master->generation.listeners, first ? BIND_WAIT_MS : 0,
                           why) != 0) {
        r = STATUS_OSERR;
        goto out;
    }
    fresh.listeners = *plan;
    plan->count = 0; /* transferred */
    master_generation_free(&master->generation);
    master->generation = fresh;
    fresh = (struct master_generation){.config_fd = -1}; /* transferred */
    r = 0;
out:
    master_generation_free(&fresh);
    free(plan);
    return r;
}

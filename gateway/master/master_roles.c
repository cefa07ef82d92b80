/*
 * master_roles - keeps one process of each role alive, and changes generations.
 *
 * Before: master_service (signals, timers); after: master_process. A role that dies is started again at once;
 * one that keeps dying young waits longer each time. At reload the old process serves until its successor is
 * ready; queue and policy own LMDB stores, so their successor starts when the old one is gone and callers
 * wait in the socket. The end goes by stages: first who brings work, then who keeps it, last whom all ask; so
 * results of the last deliveries are still committed.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "master/master_private.h"

enum {
    START_TRIES = 3,
    YOUNG_MS = 5000, /* who dies younger has failed to start */
    BACKOFF_FIRST_MS = 200,
    BACKOFF_MAX_MS = 10000,
    STOP_DRAIN_MS = 5000, /* of each stage; a clean one takes milliseconds */
    EXCLUSIVE_DRAIN_MS = 5000,
    RELOAD_DRAIN_MS = 600000, /* sessions of the old generation may end in peace */
};

static const struct {
    enum role role;
    bool is_exclusive, owns_group;
    int stage;
} ROLES[] = {
    {ROLE_POLICY, true, false, 2},   {ROLE_RESOLVER, false, false, 2}, {ROLE_QUEUE, true, false, 1},
    {ROLE_SCAN, false, true, 1},     {ROLE_RELAY, false, false, 0},    {ROLE_DELIVER, false, false, 0},
    {ROLE_RECEIVE, false, false, 0}, {ROLE_SCREEN, false, false, 0},
};

static void start_slot(struct master_slot *slot);

void
master_roles_init(struct master *master)
{
    for (size_t i = 0; i < sizeof(ROLES) / sizeof(ROLES[0]); i++) {
        master->slots[master->slot_count++] = (struct master_slot){.master = master,
                                                                   .role = ROLES[i].role,
                                                                   .is_exclusive = ROLES[i].is_exclusive,
                                                                   .owns_group = ROLES[i].owns_group,
                                                                   .stage = ROLES[i].stage};
    }
}

void
master_roles_want(struct master *master)
{
    for (size_t i = 0; i < master->slot_count; i++) {
        struct master_slot *slot = &master->slots[i];

        slot->is_wanted = (master->roles_built & (1U << slot->role)) != 0;
        if (slot->role == ROLE_SCREEN && slot->is_wanted) {
            slot->is_wanted = false; /* without a row for postscreen, clients come to receive directly */
            for (size_t k = 0; k < master->generation.listeners.count; k++) {
                slot->is_wanted =
                    slot->is_wanted || master->generation.listeners.items[k].role == ROLE_SCREEN;
            }
        }
    }
}

static struct master_slot *
find_slot(struct master *master, enum role role)
{
    size_t i = 0;

    while (master->slots[i].role != role) {
        i++; /* every process was started from a slot */
    }
    return &master->slots[i];
}

static bool
has_process(const struct master *master, enum role role)
{
    for (const struct master_process *process = master->processes; process != NULL; process = process->next) {
        if (process->role == role) {
            return true;
        }
    }
    return false;
}

static void
kill_late(void *context)
{
    struct master_process *process = context;

    process->kill_timer = NULL;
    log_warning("master", "process %s pid %d has not finished in time: killed", role_name(process->role),
                (int)process->pid);
    (void)kill(process->pid, SIGKILL);
}

static void
drain(struct master *master, struct master_process *process, int limit_ms)
{
    loop_timer_cancel(master->loop, &process->kill_timer);
    master_process_drain(master->loop, process);
    process->kill_timer = loop_timer_add(master->loop, clock_monotonic_ms() + limit_ms, kill_late, process);
}

static void
restart_slot(void *context)
{
    struct master_slot *slot = context;

    slot->restart_timer = NULL;
    start_slot(slot);
}

static void
schedule_restart(struct master_slot *slot, bool died_young)
{
    int64_t wait_ms = 0;

    if (!died_young) {
        slot->failures = 0;
    }
    if (slot->failures > 0) {
        wait_ms = slot->failures > 6 ? BACKOFF_MAX_MS : (int64_t)BACKOFF_FIRST_MS << (slot->failures - 1);
        wait_ms = wait_ms < BACKOFF_MAX_MS ? wait_ms : BACKOFF_MAX_MS;
    }
    slot->failures++;
    if (wait_ms == 0) {
        start_slot(slot);
    } else if (slot->restart_timer == NULL) {
        slot->restart_timer =
            loop_timer_add(slot->master->loop, clock_monotonic_ms() + wait_ms, restart_slot, slot);
    }
}

/* The newest of a role serves: its elders finish. */
static void
slot_ready(struct master *master, struct master_process *ready)
{
    for (struct master_process *process = master->processes; process != NULL; process = process->next) {
        if (process->role == ready->role && process != ready && !process->is_draining) {
            drain(master, process, RELOAD_DRAIN_MS);
        }
    }
    for (size_t i = 0; i < master->slot_count; i++) {
        const struct master_slot *slot = &master->slots[i];

        if (slot->is_wanted && (slot->newest == NULL || !slot->newest->is_ready)) {
            return;
        }
    }
    master_service_ready(master);
}

static void
hear(void *context, uint32_t events)
{
    struct master_process *process = context;
    struct master *master = process->owner;
    bool was_ready = process->is_ready;
    int r;

    (void)events;
    do {
        r = master_process_hear(process);
    } while (r == 1);
    if (r < 0) {
        loop_watch_remove(master->loop, &process->watch); /* SIGCHLD tells the rest */
    }
    if (process->is_ready && !was_ready && find_slot(master, process->role)->newest == process) {
        slot_ready(master, process);
    }
}

static void
start_slot(struct master_slot *slot)
{
    struct master *master = slot->master;
    struct master_process *process;

    if (!slot->is_wanted || slot->newest != NULL || master->is_stopping ||
        (slot->is_exclusive && has_process(master, slot->role))) {
        return;
    }
    loop_timer_cancel(master->loop, &slot->restart_timer);
    int r = master_process_start(&master->generation, &master->edges, slot->role, !master->in_foreground,
                                 &process);
    if (r != 0) {
        log_error("master", "cannot start %s: %s: %s", role_name(slot->role), gw_strerror(r),
                  strerror(errno));
        slot->failures += slot->failures == 0; /* never at once: the machine lacks something */
        schedule_restart(slot, true);
        return;
    }
    process->owner = master;
    process->next = master->processes;
    master->processes = process;
    slot->newest = process;
    process->watch = loop_watch_add(master->loop, process->control_fd, EPOLLIN, hear, process);
    if (process->watch == NULL) {
        log_error("master", "cannot watch %s: out of memory", role_name(slot->role));
        (void)kill(process->pid, SIGKILL);
    }
}

void
master_roles_start(struct master *master)
{
    for (size_t i = 0; i < master->slot_count; i++) {
        start_slot(&master->slots[i]);
    }
}

void
master_roles_replace(struct master *master, unsigned roles)
{
    for (size_t i = 0; i < master->slot_count; i++) {
        struct master_slot *slot = &master->slots[i];
        struct master_process *old = slot->newest;

        if ((roles & (1U << slot->role)) == 0) {
            continue;
        }
        slot->newest = NULL;
        slot->failures = 0;
        loop_timer_cancel(master->loop, &slot->restart_timer);
        if (old != NULL && (slot->is_exclusive || !slot->is_wanted || !old->is_ready)) {
            drain(master, old, slot->is_exclusive ? EXCLUSIVE_DRAIN_MS : RELOAD_DRAIN_MS);
        }
        start_slot(slot);
    }
}

/* Drains the roles of the current stage; goes on when none of it is left. */
static void
advance_stop(struct master *master)
{
    while (master->stage < MASTER_STAGES) {
        bool is_empty = true;

        for (struct master_process *process = master->processes; process != NULL; process = process->next) {
            if (find_slot(master, process->role)->stage != master->stage) {
                continue;
            }
            is_empty = false;
            if (!process->is_draining || process->kill_timer == NULL) {
                drain(master, process, STOP_DRAIN_MS);
            } else {
                loop_timer_move(master->loop, process->kill_timer, clock_monotonic_ms() + STOP_DRAIN_MS);
            }
        }
        if (!is_empty) {
            return;
        }
        master->stage++;
    }
    loop_stop(master->loop);
}

void
master_roles_stop(struct master *master, int exit_status)
{
    if (master->is_stopping) {
        return;
    }
    master->is_stopping = true;
    master->exit_status = exit_status;
    for (size_t i = 0; i < master->slot_count; i++) {
        loop_timer_cancel(master->loop, &master->slots[i].restart_timer);
    }
    advance_stop(master);
}

void
master_roles_kill(struct master *master)
{
    master->is_stopping = true;
    master->stage = MASTER_STAGES;
    for (struct master_process *process = master->processes; process != NULL; process = process->next) {
        (void)kill(-process->pid, SIGKILL);
        (void)kill(process->pid, SIGKILL);
    }
    loop_stop(master->loop);
}

static void
log_end(const struct master_process *process, int status)
{
    const char *name = role_name(process->role);
    int pid = (int)process->pid;

    if (WIFSIGNALED(status)) {
        if (!process->is_draining || process->kill_timer != NULL) {
            log_warning("master", "process %s pid %d killed by signal %d", name, pid, WTERMSIG(status));
        }
    } else if (WEXITSTATUS(status) != 0 || !process->is_draining) {
        log_warning("master", "process %s pid %d exit status %d", name, pid, WEXITSTATUS(status));
    }
}

static bool
is_stage_empty(const struct master *master)
{
    for (size_t i = 0; i < master->slot_count; i++) {
        if (master->slots[i].stage == master->stage && has_process(master, master->slots[i].role)) {
            return false;
        }
    }
    return true;
}

static void
process_ended(struct master *master, struct master_process *process, int status)
{
    struct master_slot *slot = find_slot(master, process->role);
    bool was_newest = slot->newest == process;
    bool died_young = clock_monotonic_ms() - process->started_ms < YOUNG_MS;
    /* It says that it cannot, or it crashed on each try. */
    bool failed_start = was_newest && !process->is_ready &&
                        ((WIFEXITED(status) && WEXITSTATUS(status) != 0) || slot->failures >= START_TRIES);

    log_end(process, status);
    if (slot->owns_group) {
        (void)kill(-process->pid, SIGKILL);
    }
    if (was_newest) {
        slot->newest = NULL;
    }
    master_process_free(master->loop, &process);
    if (master->is_stopping) {
        if (is_stage_empty(master)) {
            advance_stop(master);
        }
    } else if (failed_start && master->is_starting) {
        log_error("master", "%s does not start: the lines before this one, here or in the log, say why",
                  role_name(slot->role));
        master_roles_stop(master, 69 /* EX_UNAVAILABLE */);
    } else if (was_newest) {
        schedule_restart(slot, died_young);
    } else if (slot->restart_timer == NULL) {
        start_slot(slot); /* an exclusive successor that waited */
    }
}

void
master_roles_reap(void *context)
{
    struct master *master = context;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (struct master_process **link = &master->processes; *link != NULL; link = &(*link)->next) {
            struct master_process *process = *link;

            if (process->pid == pid) {
                *link = process->next;
                process_ended(master, process, status);
                break;
            }
        }
    }
}

/*
 * deliver_local - the agent for the accounts of this host (local(8)): its settings, and each recipient of a
 * job. Before: deliver_worker.c; after: deliver_expand.c, then deliver_forward.c with what leads elsewhere.
 *
 * A recipient has one outcome, whatever its alias leads to: when one leaf has to wait, nothing is sent on and
 * the whole recipient waits; when one is refused, the others are served and the sender is told. A message
 * that came round (Delivered-To) is returned.
 */
#include "deliver/deliver_local.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "deliver/deliver_alias.h"
#include "deliver/deliver_forward.h"
#include "deliver/deliver_seen.h"
#include "deliver/deliver_writer.h"
#include "policy/reinjection.h"

static const struct {
    const char *word;
    unsigned bit;
} ORIGINS[] = {
    {"alias", DELIVER_FROM_ALIAS},
    {"forward", DELIVER_FROM_FORWARD},
    {"include", DELIVER_FROM_INCLUDE},
};

static int
read_origins(const char *name, const char *text, unsigned *bits_r, struct buf *why)
{
    struct bytes rest = bytes_str(text), word;

    *bits_r = 0;
    while (bytes_next_token(&rest, ", \t\r\n", &word)) {
        size_t i = 0;

        while (i < sizeof(ORIGINS) / sizeof(ORIGINS[0]) &&
               !bytes_equal_nocase(word, bytes_str(ORIGINS[i].word))) {
            i++;
        }
        if (i == sizeof(ORIGINS) / sizeof(ORIGINS[0])) {
            (void)buf_printf(why, "%s: unknown word \"%.*s\"; write alias, forward or include", name,
                             BYTES_FMT(word));
            return GW_ERR_CONFIG;
        }
        *bits_r |= ORIGINS[i].bit;
    }
    return 0;
}

static bool
has_word(const char *text, const char *wanted)
{
    struct bytes rest = bytes_str(text), word;

    while (bytes_next_token(&rest, ", \t\r\n", &word)) {
        if (bytes_equal_nocase(word, bytes_str(wanted))) {
            return true;
        }
    }
    return false;
}

/* default_privs: an account of its own, not root's and not ours (postconf(5)). */
static int
read_default_user(struct deliver_local *local, const struct config *view, struct buf *why)
{
    const char *name = config_str(view, P_default_privs), *self = config_str(view, P_mail_owner);
    struct deliver_owner mail_owner;

    local->default_known = deliver_owner_user(name, &local->default_user) == 0;
    if (!local->default_known) {
        log_warning("local", "default_privs: unknown user \"%s\": mail to commands and files is deferred",
                    name);
        return 0;
    }
    local->default_user.owner.fork_attempts = (int)config_int(view, P_fork_attempts);
    local->default_user.owner.fork_delay_ms = config_int(view, P_fork_delay) * 1000;
    if (local->default_user.owner.uid == 0) {
        (void)buf_printf(why, "default_privs: user %s has privileged user ID; name an account without rights",
                         name);
        return GW_ERR_CONFIG;
    }
    if (geteuid() == 0 && deliver_owner_find(self, &mail_owner) == 0 &&
        mail_owner.uid == local->default_user.owner.uid) {
        (void)buf_printf(why, "default_privs: user %s is mail_owner; name an account of its own", name);
        return GW_ERR_CONFIG;
    }
    return 0;
}

static void
open_router(struct deliver_local *local, const struct config *view)
{
    struct buf why;

    buf_init(&why, 4096);
    if (router_new(view, &local->router, &why) != 0) {
        log_warning("local", "%s: mail to aliases is deferred", buf_str(&why));
        local->router = NULL;
    }
    buf_free(&why);
}

int
deliver_local_open(const struct config *config, struct deliver_transport *transport, struct buf *why)
{
    const struct config *view = transport->view;
    struct deliver_local *local = calloc(1, sizeof(*local));
    int r;

    (void)config;
    if (local == NULL) {
        return GW_ERR_NOMEM;
    }
    transport->local = local; /* freed with the transport, also on failure */
    local->header_command = has_word(config_str(view, P_prepend_delivered_header), "command");
    local->header_file = has_word(config_str(view, P_prepend_delivered_header), "file");
    local->header_forward = has_word(config_str(view, P_prepend_delivered_header), "forward");
    if ((r = read_origins("allow_mail_to_commands", config_str(view, P_allow_mail_to_commands),
                          &local->commands_from, why)) != 0 ||
        (r = read_origins("allow_mail_to_files", config_str(view, P_allow_mail_to_files), &local->files_from,
                          why)) != 0 ||
        (r = read_default_user(local, view, why)) != 0) {
        return r;
    }
    open_router(local, view);
    return deliver_alias_open(local, transport, why);
}

void
deliver_local_free(struct deliver_local **local)
{
    if (*local != NULL) {
        deliver_alias_close(*local);
        router_free(&(*local)->router);
        for (size_t i = 0; i < DELIVER_SLOTS_MAX; i++) {
            reinjection_free(&(*local)->doors[i]);
        }
        free(*local);
        *local = NULL;
    }
}

void
deliver_run_settle(struct deliver_run *run, const struct deliver_outcome *leaf)
{
    static const int RANK[] = {[DELIVERY_SENT] = 0, [DELIVERY_BOUNCED] = 1, [DELIVERY_DEFERRED] = 2};
    struct deliver_outcome *all = &run->outcome;
    size_t n = strlen(all->text);

    if (!run->has_outcome || RANK[leaf->status] > RANK[all->status]) {
        *all = *leaf;
        run->has_outcome = true;
    } else if (leaf->status == all->status && strstr(all->text, leaf->text) == NULL) {
        (void)snprintf(all->text + n, sizeof(all->text) - n, "; %s", leaf->text);
    }
}

void
deliver_run_say(struct deliver_run *run, enum delivery_status status, const char *dsn, const char *format,
                ...)
{
    struct deliver_outcome outcome = {0};
    char text[DELIVER_TEXT_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    deliver_outcome_set(&outcome, status, dsn, "%s", text);
    deliver_run_settle(run, &outcome);
}

static void
deliver_one(struct deliver_run *run)
{
    const struct envelope *envelope = run->task->job->envelope;
    struct deliver_step step = {.sender = envelope->sender};
    struct deliver_message message;

    run->recipient = envelope->recipients[run->index].address;
    run->forwards = deliver_forward_new(run->arena);
    if (run->forwards == NULL) {
        deliver_run_say(run, DELIVERY_DEFERRED, "4.3.0", "out of memory");
        return;
    }
    deliver_message_fill(&message, run->task, run->index, 0);
    if (deliver_writer_has_loop(&message)) {
        deliver_run_say(run, DELIVERY_BOUNCED, "5.4.6", "mail forwarding loop for %.*s",
                        BYTES_FMT(bytes_sub(run->recipient, 0, 200)));
        return;
    }
    if (!deliver_expand_split(run, run->recipient, &step)) {
        return;
    }
    deliver_expand_recipient(run, &step);
    if (!run->has_outcome || run->outcome.status != DELIVERY_DEFERRED) {
        deliver_forward_finish(run);
    }
    if (!run->has_outcome) {
        deliver_run_say(run, DELIVERY_SENT, "2.0.0", "already delivered to the same place");
    }
}

void
deliver_local_run(const struct deliver_transport *transport, struct deliver_task *task, unsigned slot)
{
    struct arena *arena = arena_new(DELIVER_ARENA_MAX), *job_arena = arena_new(DELIVER_ARENA_MAX);
    int64_t limit = config_int(transport->view, P_duplicate_filter_limit);
    struct deliver_seen *seen =
        job_arena != NULL ? deliver_seen_new(job_arena, limit > 0 ? (size_t)limit : 0) : NULL;

    for (size_t i = 0; arena != NULL && seen != NULL && i < task->count; i++) {
        struct deliver_run run = {
            .transport = transport, .task = task, .index = i, .slot = slot, .arena = arena, .seen = seen};

        arena_reset(arena);
        deliver_one(&run);
        task->outcomes[i] = run.outcome;
    }
    arena_free(&arena);
    arena_free(&job_arena);
}

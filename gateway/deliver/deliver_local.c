/*
 * deliver_local - the agent for the accounts of this host (local(8)). Before: deliver_worker.c; after:
 * deliver_alias.c, then deliver_maildir.c, deliver_mbox.c or mailbox_command, as the user.
 *
 * Order as in Postfix: alias of the whole local part, alias without the extension, account. An unknown name
 * is returned (5.1.1); a table or account database that cannot be read defers. Not here: .forward,
 * mailbox_transport, fallback_transport, luser_relay.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/log.h"
#include "deliver/deliver_alias.h"
#include "deliver/deliver_command.h"
#include "deliver/deliver_maildir.h"
#include "deliver/deliver_mbox.h"
#include "deliver/deliver_owner.h"
#include "deliver/deliver_transport.h"

enum {
    STORE_LIMIT_MS = 600000,
    NAME_LENGTH_MAX = 256,
    ARENA_MAX = 8 * 1024 * 1024,
    FORM = DELIVER_RETURN_PATH | DELIVER_ORIGINAL_TO | DELIVER_DELIVERED_TO,
    MBOX_FORM = FORM | DELIVER_FROM_LINE | DELIVER_QUOTE_FROM | DELIVER_BLANK_LINE,
};

/* The default of alias_maps names NIS, which does not exist here: that part is left out. */
static void
copy_without_nis(struct bytes specs, struct buf *out)
{
    struct bytes spec;

    while (bytes_next_token(&specs, ", \t\n", &spec)) {
        if (!bytes_has_prefix_nocase(spec, BYTES_LIT("nis:"))) {
            (void)buf_append_bytes(out, spec);
            (void)buf_append_str(out, " ");
        }
    }
}

int
deliver_local_open(const struct config *config, struct deliver_transport *transport, struct buf *why)
{
    const struct config *view = transport->view;
    struct buf specs;
    int r;

    (void)config;
    buf_init(&specs, TABLE_NAME_MAX * TABLE_LIST_MAX);
    copy_without_nis(bytes_str(config_str(view, P_alias_maps)), &specs);
    if (table_list_open(view, buf_str(&specs), TABLE_FOLD, &transport->aliases, why) != 0) {
        /* The other transports must live: local mail waits until the file is there. */
        log_warning("local", "alias_maps: %s: local mail is deferred", buf_str(why));
        buf_clear(why);
        transport->aliases_broken = true;
    }
    buf_free(&specs);
    r = match_list_open(view, config_str(view, P_mydestination), 0, &transport->local_domains, why);
    return r;
}

/* One recipient under way. */
struct local {
    const struct deliver_transport *transport;
    struct deliver_task *task;
    size_t index;
    unsigned slot;
    struct arena *arena;
    struct deliver_alias *alias;
    struct deliver_outcome *outcome;
    char name[NAME_LENGTH_MAX]; /* local part, lower case, without extension */
};

/* /var/mail is writable for group mail: the child needs that group to create the mailbox and its lock file.
 */
static void
add_spool_group(struct deliver_owner *owner, const char *spool)
{
    struct stat st;

    if (stat(spool, &st) == 0 && (st.st_mode & S_IWGRP) != 0 && owner->group_count < DELIVER_GROUPS_MAX) {
        owner->groups[owner->group_count++] = st.st_gid;
    }
}

static void
store(struct local *local, const struct deliver_owner *owner, const char *path)
{
    const struct config *view = local->transport->view;
    const char *locks = config_str(view, P_mailbox_delivery_lock);
    bool maildir = path[strlen(path) - 1] == '/';
    struct deliver_message message;

    deliver_message_fill(&message, local->task, local->index, maildir ? FORM : MBOX_FORM);
    if (maildir) {
        struct deliver_maildir target = {.message = &message,
                                         .path = path,
                                         .hostname = config_str(view, P_myhostname),
                                         .serial = local->slot};

        deliver_owner_run(owner, STORE_LIMIT_MS, deliver_maildir_store, &target, local->outcome);
        return;
    }
    struct deliver_mbox target = {
        .message = &message,
        .path = path,
        .dotlock = strstr(locks, "dotlock") != NULL,
        .fcntl_lock = strstr(locks, "fcntl") != NULL || strstr(locks, "flock") != NULL,
        .size_limit = config_int(view, P_mailbox_size_limit),
        .lock_attempts = (int)config_int(view, P_deliver_lock_attempts),
        .lock_delay_ms = config_int(view, P_deliver_lock_delay) * 1000,
        .stale_s = config_int(view, P_stale_lock_time),
    };
    deliver_owner_run(owner, STORE_LIMIT_MS, deliver_mbox_store, &target, local->outcome);
}

/* mailbox_command, by the shell as in Postfix; what it may use of the message is in the environment, never in
 * the command line. */
static void
run_mailbox_command(struct local *local, const struct deliver_owner *owner, const char *home,
                    const char *text)
{
    struct bytes recipient = local->task->job->envelope->recipients[local->index].address;
    struct bytes sender = local->task->job->envelope->sender;
    char *argv[] = {(char *)(uintptr_t) "/bin/sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)text, NULL};
    char *environment[] = {
        arena_printf(local->arena, "PATH=/usr/local/bin:/usr/bin:/bin"),
        arena_printf(local->arena, "SHELL=/bin/sh"),
        arena_printf(local->arena, "HOME=%s", home),
        arena_printf(local->arena, "USER=%s", local->name),
        arena_printf(local->arena, "LOGNAME=%s", local->name),
        arena_printf(local->arena, "RECIPIENT=%.*s", BYTES_FMT(recipient)),
        arena_printf(local->arena, "SENDER=%.*s", BYTES_FMT(sender)),
        NULL,
    };
    struct deliver_message message;
    struct deliver_command command = {
        .argv = argv,
        .environment = environment,
        .directory = home,
        .owner = owner,
        .message = &message,
        .limit_ms = config_int(local->transport->view, P_command_time_limit) * 1000,
        .sent_text = "delivered to command",
    };

    deliver_message_fill(&message, local->task, local->index, FORM | DELIVER_FROM_LINE);
    deliver_command_run(&command, local->outcome);
}

static void
deliver_mailbox(struct local *local)
{
    const struct config *view = local->transport->view;
    const char *command = config_str(view, P_mailbox_command);
    const char *home_mailbox = config_str(view, P_home_mailbox);
    const char *spool = config_str(view, P_mail_spool_directory);
    struct deliver_owner owner;
    char home[PATH_MAX];
    char path[PATH_MAX];
    int r = deliver_owner_find(local->name, &owner, home, sizeof(home));
    size_t n;

    if (r == GW_ERR_NOTFOUND) {
        deliver_outcome_set(local->outcome, DELIVERY_BOUNCED, "5.1.1", "unknown user: \"%s\"", local->name);
        return;
    }
    if (r != 0) {
        deliver_outcome_set(local->outcome, DELIVERY_DEFERRED, "4.3.0", "cannot find alias or user database");
        return;
    }
    if (command[0] != '\0') {
        run_mailbox_command(local, &owner, home, command);
        return;
    }
    if (home_mailbox[0] != '\0') {
        n = (size_t)snprintf(path, sizeof(path), "%s/%s", home, home_mailbox);
    } else {
        bool maildir = spool[0] != '\0' && spool[strlen(spool) - 1] == '/';

        n = (size_t)snprintf(path, sizeof(path), maildir ? "%s%s/" : "%s/%s", spool, local->name);
        add_spool_group(&owner, spool);
    }
    if (n >= sizeof(path) || path[0] != '/') {
        deliver_outcome_set(local->outcome, DELIVERY_DEFERRED, "4.3.5", "mail system configuration error");
        return;
    }
    store(local, &owner, path);
}

/* The name as an account may have it: no path, no option, nothing unprintable. */
static bool
is_account_name(const char *name)
{
    for (const char *p = name; *p != '\0'; p++) {
        if (*p == '/' || (unsigned char)*p <= 32 || *p == 127) {
            return false;
        }
    }
    return name[0] != '\0' && name[0] != '-' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* The leaves become new recipients; an address without domain gets ours. */
static int
hand_leaves_on(struct local *local)
{
    const char *origin = config_str(local->transport->view, P_myorigin);

    for (size_t i = 0; i < local->alias->count; i++) {
        struct bytes leaf = local->alias->leaves[i];

        if (bytes_rindex(leaf, '@') < 0) {
            leaf = bytes_str(arena_printf(local->arena, "%.*s@%s", BYTES_FMT(leaf), origin));
        }
        if (leaf.n == 0 || deliver_task_expand(local->task, leaf) != 0) {
            deliver_outcome_set(local->outcome, DELIVERY_DEFERRED, "4.3.0", "alias expansion is too large");
            return GW_ERR_LIMIT;
        }
    }
    return 0;
}

/* Aliases first, with and without the extension. 1: it was an alias and is settled; 0: deliver to the
 * account. */
static int
try_aliases(struct local *local, struct bytes full, size_t cut)
{
    const char *why = NULL;
    int r = deliver_alias_expand(local->transport, local->arena, full, local->alias, &why);

    if (r == 0 && !local->alias->is_alias && cut < full.n) {
        r = deliver_alias_expand(local->transport, local->arena, bytes_sub(full, 0, cut), local->alias, &why);
    }
    if (r != 0) {
        deliver_outcome_set(local->outcome, DELIVERY_DEFERRED, "4.3.0", "%s", why);
        return 1;
    }
    if (!local->alias->is_alias || (local->alias->has_self && local->alias->count == 0)) {
        return 0;
    }
    if (local->alias->has_self) {
        deliver_mailbox(local);
        if (local->outcome->status != DELIVERY_SENT) {
            return 1; /* all or nothing: the leaves come with the next attempt */
        }
    }
    if (local->alias->count == 0) {
        deliver_outcome_set(local->outcome, DELIVERY_BOUNCED, "5.2.4", "alias expands to nothing");
    } else if (hand_leaves_on(local) == 0) {
        deliver_outcome_set(local->outcome, DELIVERY_EXPANDED, "2.0.0", "alias expanded");
    }
    return 1;
}

static void
deliver_one(struct local *local)
{
    struct bytes address = local->task->job->envelope->recipients[local->index].address;
    const char *delimiter = config_str(local->transport->view, P_recipient_delimiter);
    ptrdiff_t at = bytes_rindex(address, '@');
    struct bytes full = arena_dup(local->arena, at < 0 ? address : bytes_sub(address, 0, (size_t)at));
    struct deliver_message message;
    size_t cut = 0;

    if (full.p == NULL || full.n >= NAME_LENGTH_MAX || memchr(full.p, '\0', full.n) != NULL) {
        deliver_outcome_set(local->outcome, DELIVERY_BOUNCED, "5.1.3", "bad address syntax");
        return;
    }
    deliver_message_fill(&message, local->task, local->index, FORM);
    if (deliver_writer_has_loop(&message)) {
        deliver_outcome_set(local->outcome, DELIVERY_BOUNCED, "5.4.6", "mail forwarding loop for %.*s",
                            BYTES_FMT(bytes_sub(address, 0, 200)));
        return;
    }
    ascii_lower((uint8_t *)(uintptr_t)full.p, full.n);
    while (cut < full.n && (cut == 0 || strchr(delimiter, full.p[cut]) == NULL)) {
        cut++;
    }
    memcpy(local->name, full.p, cut);
    local->name[cut] = '\0';
    if (try_aliases(local, full, cut) == 1) {
        return;
    }
    if (!is_account_name(local->name)) {
        deliver_outcome_set(local->outcome, DELIVERY_BOUNCED, "5.1.1", "unknown user: \"%s\"", local->name);
        return;
    }
    deliver_mailbox(local);
}

void
deliver_local_run(const struct deliver_transport *transport, struct deliver_task *task, unsigned slot)
{
    struct arena *arena = arena_new(ARENA_MAX);
    struct deliver_alias *alias = calloc(1, sizeof(*alias));

    for (size_t i = 0; arena != NULL && alias != NULL && i < task->count; i++) {
        struct local local = {
            .transport = transport,
            .task = task,
            .index = i,
            .slot = slot,
            .arena = arena,
            .alias = alias,
            .outcome = &task->outcomes[i],
        };

        arena_reset(arena);
        deliver_one(&local);
    }
    free(alias);
    arena_free(&arena);
}

/*
 * deliver_target - the leaves of local delivery on this host: mailbox, command, file. Before:
 * deliver_expand.c; after: deliver_maildir.c, deliver_mbox.c, deliver_command.c, with the rights of the step.
 *
 * Commands and files never get root's rights: where these would apply it is default_privs. What a command may
 * know of the message is in its environment, cleaned by command_expansion_filter, never in its command line.
 * Fails closed: without rights the mail waits.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "config/expand.h"
#include "deliver/deliver_command.h"
#include "deliver/deliver_forward.h"
#include "deliver/deliver_maildir.h"
#include "deliver/deliver_mbox.h"
#include "deliver/deliver_seen.h"

enum {
    STORE_LIMIT_MS = 600000,
    ENVIRONMENT_MAX = 32,
    EXPANDED_MAX = 65536,
    FORM = DELIVER_RETURN_PATH | DELIVER_ORIGINAL_TO,
    MBOX_FORM = DELIVER_FROM_LINE | DELIVER_QUOTE_FROM | DELIVER_BLANK_LINE,
};

/* Who commands and files of this step run as. NULL: it was said that the mail waits. */
static const struct deliver_user *
rights_of(struct deliver_run *run, const struct deliver_step *step)
{
    if (step->user_rights != NULL && step->user_rights->owner.uid != 0) {
        return step->user_rights;
    }
    if (!run->transport->local->default_known) {
        deliver_run_say(run, DELIVERY_DEFERRED, "4.3.5", "mail system configuration error");
        return NULL;
    }
    return &run->transport->local->default_user;
}

static void
fill_message(const struct deliver_run *run, const struct deliver_step *step, unsigned form,
             struct deliver_message *message)
{
    deliver_message_fill(message, run->task, run->index, form);
    message->sender = step->sender;
    message->recipient = run->recipient;
}

static void
store(struct deliver_run *run, const struct deliver_step *step, const struct deliver_owner *owner,
      const char *path, bool is_mailbox)
{
    const struct config *view = run->transport->view;
    const char *locks = config_str(view, P_mailbox_delivery_lock);
    unsigned form = FORM | (is_mailbox || run->transport->local->header_file ? DELIVER_DELIVERED_TO : 0u);
    bool maildir = path[strlen(path) - 1] == '/';
    struct deliver_outcome outcome = {0};
    struct deliver_message message;
    struct deliver_maildir folder = {
        .message = &message, .path = path, .hostname = config_str(view, P_myhostname), .serial = run->slot};
    struct deliver_mbox box = {
        .message = &message,
        .path = path,
        .dotlock = strstr(locks, "dotlock") != NULL,
        .fcntl_lock = strstr(locks, "fcntl") != NULL || strstr(locks, "flock") != NULL,
        .size_limit = config_int(view, P_mailbox_size_limit),
        .lock_attempts = (int)config_int(view, P_deliver_lock_attempts),
        .lock_delay_ms = config_int(view, P_deliver_lock_delay) * 1000,
        .stale_s = config_int(view, P_stale_lock_time),
        .strict_owner = is_mailbox && config_bool(view, P_strict_mailbox_ownership),
        .owner = owner->uid,
        .is_file = !is_mailbox,
    };

    fill_message(run, step, maildir ? form : form | MBOX_FORM, &message);
    deliver_owner_run(owner, STORE_LIMIT_MS, maildir ? deliver_maildir_store : deliver_mbox_store,
                      maildir ? (void *)&folder : (void *)&box, &outcome);
    if (outcome.status == DELIVERY_SENT && !is_mailbox && !maildir) {
        deliver_outcome_set(&outcome, DELIVERY_SENT, "2.0.0", "delivered to file: %s", path);
    }
    deliver_run_settle(run, &outcome);
}

void
deliver_target_file(struct deliver_run *run, const struct deliver_step *step, struct bytes path)
{
    const struct deliver_user *user;
    char *name = arena_strdup(run->arena, path);

    if ((run->transport->local->files_from & (unsigned)step->origin) == 0) {
        deliver_run_say(run, DELIVERY_BOUNCED, "5.7.1", "mail to file is restricted");
    } else if (name == NULL || bytes_index(path, '\0') >= 0 || path.n >= PATH_MAX) {
        deliver_run_say(run, DELIVERY_BOUNCED, "5.3.5", "bad file name in alias");
    } else if ((user = rights_of(run, step)) != NULL &&
               !deliver_seen_before(run->seen, "file %ld %s", (long)user->owner.uid, name)) {
        store(run, step, &user->owner, name, false);
    }
}

/* What names mean in forward_path, mailbox_command's environment and the like. */
struct names {
    const struct deliver_run *run;
    const struct deliver_step *step;
    const struct deliver_user *user;
    const char *allowed;
    bool is_missing;
};

static bool
value_of(const struct names *names, struct bytes name, struct bytes *value_r)
{
    const struct deliver_step *step = names->step;
    size_t ext = step->user.n;
    const struct {
        const char *name;
        struct bytes value;
    } VALUES[] = {
        {"user", step->user},
        {"home", bytes_str(names->user != NULL ? names->user->home : "")},
        {"shell", bytes_str(names->user != NULL ? names->user->shell : "")},
        {"recipient", step->address},
        {"extension", step->extension},
        {"domain", step->domain},
        {"local", step->local},
        {"recipient_delimiter", step->extension.n > 0 ? bytes_sub(step->local, ext, 1) : bytes_of(NULL, 0)},
    };

    for (size_t i = 0; i < sizeof(VALUES) / sizeof(VALUES[0]); i++) {
        if (bytes_equal(name, bytes_str(VALUES[i].name))) {
            *value_r = VALUES[i].value;
            return value_r->n > 0;
        }
    }
    return false;
}

static int
append_allowed(struct buf *out, struct bytes value, const char *allowed)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < value.n; i++) {
        bool good = value.p[i] != '\0' && strchr(allowed, value.p[i]) != NULL;

        r = buf_append_byte(out, good ? value.p[i] : '_');
    }
    return r;
}

static int
look_up(void *context, struct bytes name, struct buf *out)
{
    struct names *names = context;
    struct bytes value;

    if (!value_of(names, name, &value)) {
        names->is_missing = true;
        return GW_ERR_NOTFOUND;
    }
    return append_allowed(out, value, names->allowed);
}

int
deliver_target_expand(struct deliver_run *run, const struct deliver_step *step,
                      const struct deliver_user *user, struct bytes text, const char *allowed,
                      struct buf *out)
{
    struct names names = {.run = run, .step = step, .user = user, .allowed = allowed};
    int r = expand_value(text, look_up, &names, out, NULL);
    /* A condition asks for what may be missing; a plain $name needs it. */
    bool is_condition = bytes_index(text, '?') >= 0 || bytes_index(text, ':') >= 0;

    return r == 0 && names.is_missing && !is_condition ? GW_ERR_NOTFOUND : r;
}

/* NAME=value, when there is a value. */
static void
add_word(struct deliver_run *run, char **environment, size_t *count, const char *name, struct bytes value)
{
    const char *allowed = config_str(run->transport->view, P_command_expansion_filter);
    struct buf word;

    if (value.n == 0 || *count + 1 >= ENVIRONMENT_MAX) {
        return;
    }
    buf_init(&word, EXPANDED_MAX);
    if (buf_printf(&word, "%s=", name) == 0 && append_allowed(&word, value, allowed) == 0) {
        environment[*count] = arena_strdup(run->arena, bytes_buf(&word));
        *count += environment[*count] != NULL;
        environment[*count] = NULL;
    }
    buf_free(&word);
}

static void
fill_environment(struct deliver_run *run, const struct deliver_step *step, const struct deliver_user *user,
                 char **environment)
{
    const struct envelope *envelope = run->task->job->envelope;
    const struct session_facts *facts = &envelope->session;
    char client[NET_ADDR_TEXT_MAX];
    size_t count = 0;

    net_addr_format(&facts->client, client);
    const struct {
        const char *name;
        struct bytes value;
    } WORDS[] = {
        {"HOME", bytes_str(user != NULL ? user->home : "")},
        {"SHELL", bytes_str(user != NULL ? user->shell : "")},
        {"LOGNAME", step->user},
        {"USER", step->user},
        {"SENDER", step->sender},
        {"RECIPIENT", step->address},
        {"LOCAL", step->local},
        {"EXTENSION", step->extension},
        {"DOMAIN", step->domain},
        {"ORIGINAL_RECIPIENT", envelope->recipients[run->index].original},
        {"CLIENT_ADDRESS", bytes_str(client)},
        {"CLIENT_HOSTNAME", bytes_str(facts->name)},
        {"CLIENT_HELO", bytes_str(facts->helo)},
        {"CLIENT_PROTOCOL", bytes_str(facts->protocol)},
        {"SASL_METHOD", bytes_str(facts->sasl_method)},
        {"SASL_USERNAME", bytes_str(facts->sasl_user)},
    };

    environment[count++] = arena_printf(run->arena, "PATH=/usr/bin:/bin");
    environment[count++] = arena_printf(run->arena, "MAIL_CONFIG=%s", config_directory(run->transport->view));
    environment[count++] = arena_printf(run->arena, "LANG=C");
    environment[count] = NULL; /* a NULL before: out of memory, and the environment ends there */
    for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++) {
        add_word(run, environment, &count, WORDS[i].name, WORDS[i].value);
    }
}

/* user: the account whose HOME the command gets, NULL for none. */
static void
run_command(struct deliver_run *run, const struct deliver_step *step, const struct deliver_owner *owner,
            const struct deliver_user *user, const char *text)
{
    const struct deliver_local *local = run->transport->local;
    char *environment[ENVIRONMENT_MAX];
    struct deliver_outcome outcome = {0};
    struct deliver_message message;
    struct deliver_command command = {
        .shell_text = text,
        .environment = environment,
        .directory = config_str(run->transport->view, P_queue_directory),
        .owner = owner,
        .message = &message,
        .limit_ms = config_int(run->transport->view, P_command_time_limit) * 1000,
        .sent_text = arena_printf(run->arena, "delivered to command: %.200s", text),
    };

    fill_message(run, step, FORM | DELIVER_FROM_LINE | (local->header_command ? DELIVER_DELIVERED_TO : 0u),
                 &message);
    fill_environment(run, step, user, environment);
    deliver_command_run(&command, &outcome);
    deliver_run_settle(run, &outcome);
}

void
deliver_target_command(struct deliver_run *run, const struct deliver_step *step, struct bytes command)
{
    const struct deliver_user *user;
    char *text = arena_strdup(run->arena, bytes_trim(command));

    if ((run->transport->local->commands_from & (unsigned)step->origin) == 0) {
        deliver_run_say(run, DELIVERY_BOUNCED, "5.7.1", "mail to command is restricted");
    } else if (text == NULL || text[0] == '\0' || bytes_index(command, '\0') >= 0) {
        deliver_run_say(run, DELIVERY_BOUNCED, "5.3.5", "bad command in alias");
    } else if ((user = rights_of(run, step)) != NULL &&
               !deliver_seen_before(run->seen, "command %ld %s", (long)user->owner.uid, text)) {
        run_command(run, step, &user->owner, user == step->user_rights ? user : NULL, text);
    }
}

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

void
deliver_target_mailbox(struct deliver_run *run, const struct deliver_step *step,
                       const struct deliver_user *user)
{
    const struct config *view = run->transport->view;
    const char *command = config_str(view, P_mailbox_command);
    const char *home_mailbox = config_str(view, P_home_mailbox);
    const char *spool = config_str(view, P_mail_spool_directory);
    struct deliver_owner owner = user->owner;
    char path[PATH_MAX];
    size_t n;

    if (command[0] != '\0') {
        const struct deliver_user *as = owner.uid != 0 ? user : &run->transport->local->default_user;

        if (as != user && !run->transport->local->default_known) {
            deliver_run_say(run, DELIVERY_DEFERRED, "4.3.5", "mail system configuration error");
        } else {
            run_command(run, step, &as->owner, user, command);
        }
        return;
    }
    if (home_mailbox[0] != '\0') {
        n = (size_t)snprintf(path, sizeof(path), "%s/%s", user->home, home_mailbox);
    } else {
        bool maildir = spool[0] != '\0' && spool[strlen(spool) - 1] == '/';

        n = (size_t)snprintf(path, sizeof(path), maildir ? "%s%s/" : "%s/%s", spool, user->name);
        add_spool_group(&owner, spool);
    }
    if (n >= sizeof(path) || path[0] != '/') {
        deliver_run_say(run, DELIVERY_DEFERRED, "4.3.5", "mail system configuration error");
        return;
    }
    store(run, step, &owner, path, true);
}

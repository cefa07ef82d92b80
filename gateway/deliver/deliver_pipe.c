/*
 * deliver_pipe - the agent that hands mail to a program named in master.cf (pipe(8)). Before:
 * deliver_worker.c; after: deliver_command.c.
 *
 * The recipients of a job go to one run of the program, whose exit status is the result of each. There is no
 * shell: every word of argv= stays one word whatever an address contains, and an address that begins with "-"
 * is refused, because the program would take it for an option.
 */
#include "deliver/deliver_pipe.h"

#include <ctype.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "deliver/deliver_command.h"
#include "deliver/deliver_transport.h"
#include "message/address.h"

enum {
    ARGUMENTS_MAX = 4096,
    ARGUMENT_BYTES_MAX = 1024 * 1024,
    ARENA_MAX = 4 * 1024 * 1024,
    FOLD_NEXTHOP = 1,
    FOLD_USER = 2,
    QUOTE = 4,
};

struct deliver_pipe {
    unsigned form; /* enum deliver_form */
    unsigned fold; /* flags h, u and q */
    char *user;    /* as configured */
    struct deliver_owner owner;
    bool owner_known;
    const char *directory, *root; /* directory=, chroot= */
    const char *null_sender;
    uint64_t size_limit;
    char *const *argv; /* templates; belongs to the configuration */
    int64_t limit_ms;
    char sent_text[128];
};

static const struct {
    char flag;
    unsigned form;
    unsigned fold;
} FLAGS[] = {
    {'B', DELIVER_BLANK_LINE, 0},
    {'D', DELIVER_DELIVERED_TO, 0},
    {'F', DELIVER_FROM_LINE, 0},
    {'O', DELIVER_ORIGINAL_TO, 0},
    {'R', DELIVER_RETURN_PATH, 0},
    {'h', 0, FOLD_NEXTHOP},
    {'u', 0, FOLD_USER},
    {'.', DELIVER_QUOTE_DOT, 0},
    {'>', DELIVER_QUOTE_FROM, 0},
    {'q', 0, QUOTE},
    {'X', 0, 0},
};

static int
read_flags(struct deliver_pipe *pipe, const char *text, struct buf *why)
{
    for (; *text != '\0'; text++) {
        size_t i = 0;

        while (i < sizeof(FLAGS) / sizeof(FLAGS[0]) && FLAGS[i].flag != *text) {
            i++;
        }
        if (i == sizeof(FLAGS) / sizeof(FLAGS[0])) {
            (void)buf_printf(why, "pipe: unknown flag \"%c\" in flags=", *text);
            return GW_ERR_CONFIG;
        }
        pipe->form |= FLAGS[i].form;
        pipe->fold |= FLAGS[i].fold;
    }
    return 0;
}

bool
deliver_pipe_read_user(const char *program, const char *text, struct deliver_owner *owner_r)
{
    char user[64];
    const char *colon = strchr(text, ':');
    size_t n = colon != NULL ? (size_t)(colon - text) : strlen(text);
    struct group group;
    struct group *found = NULL;
    char room[8192];

    if (n >= sizeof(user)) {
        return false;
    }
    memcpy(user, text, n);
    user[n] = '\0';
    if (deliver_owner_find(user, owner_r) != 0) {
        log_warning(program, "unknown user \"%s\" in user=", user);
        return false;
    }
    if (colon != NULL && colon[1] != '\0') {
        if (getgrnam_r(colon + 1, &group, room, sizeof(room), &found) != 0 || found == NULL) {
            log_warning(program, "unknown group \"%s\" in user=", colon + 1);
            return false;
        }
        owner_r->gid = group.gr_gid;
        owner_r->group_count = 0;
    }
    if (geteuid() == 0 && (owner_r->uid == 0 || owner_r->gid == 0)) {
        log_warning(program, "user=%s: programs are not run with root privileges", text);
        return false;
    }
    return true;
}

static int
read_attribute(struct deliver_pipe *pipe, const char *word, struct buf *why)
{
    uint64_t number;

    if (strncmp(word, "flags=", 6) == 0) {
        return read_flags(pipe, word + 6, why);
    }
    if (strncmp(word, "user=", 5) == 0) {
        /* An unknown user is not the end of the role: only this transport's mail waits. */
        pipe->owner_known = deliver_pipe_read_user("pipe", word + 5, &pipe->owner);
        pipe->user = strdup(word + 5);
        return pipe->user != NULL ? 0 : GW_ERR_NOMEM;
    }
    if (strncmp(word, "directory=", 10) == 0) {
        pipe->directory = word + 10;
    } else if (strncmp(word, "chroot=", 7) == 0) {
        pipe->root = word + 7;
    } else if (strncmp(word, "null_sender=", 12) == 0) {
        pipe->null_sender = word + 12;
    } else if (strncmp(word, "eol=", 4) == 0) {
        pipe->form |= strcmp(word + 4, "\\r\\n") == 0 ? DELIVER_CRLF : 0u; /* "\n" is what it is anyway */
    } else if (strncmp(word, "size=", 5) == 0 && bytes_to_u64(bytes_str(word + 5), &number) == 0) {
        pipe->size_limit = number;
    } else {
        (void)buf_printf(why, "pipe: unknown attribute \"%s\"", word);
        return GW_ERR_CONFIG;
    }
    return 0;
}

int
deliver_pipe_open(const struct config *config, struct deliver_transport *transport, struct buf *why)
{
    struct deliver_pipe *pipe = calloc(1, sizeof(*pipe));
    char **word = transport->row->arguments;
    int r = pipe == NULL ? GW_ERR_NOMEM : 0;

    (void)config;
    if (r != 0) {
        return r;
    }
    transport->pipe = pipe; /* freed with the transport, also on failure */
    pipe->null_sender = "MAILER-DAEMON";
    for (; r == 0 && word != NULL && *word != NULL && strncmp(*word, "argv=", 5) != 0; word++) {
        r = read_attribute(pipe, *word, why);
    }
    if (r != 0) {
        return r;
    }
    if (word == NULL || *word == NULL || (*word)[5] == '\0' || pipe->user == NULL) {
        (void)buf_append_str(why, "pipe: user= and argv= must be given");
        return GW_ERR_CONFIG;
    }
    pipe->owner.fork_attempts = (int)config_int(transport->view, P_fork_attempts);
    pipe->owner.fork_delay_ms = config_int(transport->view, P_fork_delay) * 1000;
    pipe->argv = word;
    pipe->limit_ms = deliver_transport_time_limit(transport->view, transport->name);
    (void)snprintf(pipe->sent_text, sizeof(pipe->sent_text), "delivered via %s service", transport->name);
    return 0;
}

void
deliver_pipe_free(struct deliver_pipe **pipe)
{
    if (*pipe != NULL) {
        free((*pipe)->user);
        free(*pipe);
        *pipe = NULL;
    }
}

enum macro {
    SENDER,
    RECIPIENT,
    ORIGINAL,
    USER,
    EXTENSION,
    MAILBOX,
    DOMAIN,
    NEXTHOP,
    SIZE,
    QUEUE_ID,
    CLIENT_ADDRESS,
    CLIENT_HOSTNAME,
    CLIENT_HELO,
    CLIENT_PROTOCOL,
    CLIENT_PORT,
    SASL_USER,
    SASL_METHOD,
    ENVID,
    MACROS
};

static const struct {
    const char *name;
    bool per_recipient;
} MACRO_NAMES[MACROS] = {
    [SENDER] = {"sender", false},
    [RECIPIENT] = {"recipient", true},
    [ORIGINAL] = {"original_recipient", true},
    [USER] = {"user", true},
    [EXTENSION] = {"extension", true},
    [MAILBOX] = {"mailbox", true},
    [DOMAIN] = {"domain", true},
    [NEXTHOP] = {"nexthop", false},
    [SIZE] = {"size", false},
    [QUEUE_ID] = {"queue_id", false},
    [CLIENT_ADDRESS] = {"client_address", false},
    [CLIENT_HOSTNAME] = {"client_hostname", false},
    [CLIENT_HELO] = {"client_helo", false},
    [CLIENT_PROTOCOL] = {"client_protocol", false},
    [CLIENT_PORT] = {"client_port", false},
    [SASL_USER] = {"sasl_username", false},
    [SASL_METHOD] = {"sasl_method", false},
    [ENVID] = {"envid", false},
};

/* One run: what the templates are filled with. */
struct run {
    const struct deliver_transport *transport;
    const struct deliver_pipe *pipe;
    const struct deliver_task *task;
    size_t first, end; /* the recipients of this run */
    struct arena *arena;
    struct buf word;
    char *argv[ARGUMENTS_MAX + 1];
    size_t count;
};

static struct bytes
fold(struct run *run, struct bytes v, bool wanted)
{
    struct bytes copy = wanted ? arena_dup(run->arena, v) : v;

    if (wanted && copy.p != NULL) {
        ascii_lower((uint8_t *)(uintptr_t)copy.p, copy.n);
    }
    return copy;
}

/* The parts of an address: user without extension, extension, the whole local part, domain. */
static struct bytes
address_part(struct run *run, struct bytes address, enum macro macro)
{
    const char *delimiter = config_str(run->transport->view, P_recipient_delimiter);
    ptrdiff_t at = bytes_rindex(address, '@');
    struct bytes local = at < 0 ? address : bytes_sub(address, 0, (size_t)at);
    struct bytes domain = at < 0 ? bytes_of(NULL, 0) : bytes_sub(address, (size_t)at + 1, address.n);
    size_t cut = 0;

    while (cut < local.n && (cut == 0 || strchr(delimiter, local.p[cut]) == NULL || local.p[cut] == '\0')) {
        cut++;
    }
    local = fold(run, local, (run->pipe->fold & FOLD_USER) != 0);
    domain = fold(run, domain, (run->pipe->fold & FOLD_NEXTHOP) != 0);
    switch (macro) {
    case USER:
        return bytes_sub(local, 0, cut);
    case EXTENSION:
        return bytes_sub(local, cut + 1, local.n);
    case MAILBOX:
        return local;
    default:
        return domain;
    }
}

/* A whole address as flags h, u and q want it. */
static struct bytes
whole_address(struct run *run, struct bytes address)
{
    ptrdiff_t at = bytes_rindex(address, '@');

    if ((run->pipe->fold & (FOLD_NEXTHOP | FOLD_USER)) != 0 && at >= 0) {
        struct bytes local = address_part(run, address, MAILBOX);
        struct bytes domain = address_part(run, address, DOMAIN);

        address = bytes_str(arena_printf(run->arena, "%.*s@%.*s", BYTES_FMT(local), BYTES_FMT(domain)));
    }
    if ((run->pipe->fold & QUOTE) != 0) {
        struct buf quoted;

        buf_init(&quoted, ARGUMENT_BYTES_MAX);
        if (address_append_quoted(&quoted, address) == 0) {
            address = arena_dup(run->arena, bytes_buf(&quoted));
        }
        buf_free(&quoted);
    }
    return address;
}

static struct bytes
client_fact(struct run *run, enum macro macro)
{
    const struct session_facts *facts = &run->task->job->envelope->session;
    char address[NET_ADDR_TEXT_MAX];

    switch (macro) {
    case CLIENT_ADDRESS:
        net_addr_format(&facts->client, address);
        return bytes_str(arena_printf(run->arena, "%s", address));
    case CLIENT_HOSTNAME:
        return bytes_str(facts->name);
    case CLIENT_HELO:
        return bytes_str(facts->helo);
    case CLIENT_PROTOCOL:
        return bytes_str(facts->protocol);
    case CLIENT_PORT:
        return bytes_str(arena_printf(run->arena, "%u", (unsigned)facts->client.port));
    case SASL_USER:
        return bytes_str(facts->sasl_user);
    default:
        return bytes_str(facts->sasl_method);
    }
}

/* The sender is not folded. */
static struct bytes
quoted_sender(struct run *run)
{
    struct bytes sender = run->task->job->envelope->sender;
    struct buf quoted;

    if ((run->pipe->fold & QUOTE) == 0) {
        return sender;
    }
    buf_init(&quoted, ARGUMENT_BYTES_MAX);
    if (address_append_quoted(&quoted, sender) == 0) {
        sender = arena_dup(run->arena, bytes_buf(&quoted));
    }
    buf_free(&quoted);
    return sender;
}

static struct bytes
macro_value(struct run *run, enum macro macro, size_t index)
{
    const struct envelope *envelope = run->task->job->envelope;
    const struct recipient *recipient = &envelope->recipients[index];

    switch (macro) {
    case SENDER:
        return envelope->sender.n == 0 ? bytes_str(run->pipe->null_sender) : quoted_sender(run);
    case RECIPIENT:
        return whole_address(run, recipient->address);
    case ORIGINAL:
        return whole_address(run, recipient->original);
    case NEXTHOP:
        return fold(run, run->task->job->nexthop, (run->pipe->fold & FOLD_NEXTHOP) != 0);
    case SIZE:
        return bytes_str(arena_printf(run->arena, "%llu", (unsigned long long)envelope->size));
    case QUEUE_ID:
        return bytes_str(envelope->queue_id);
    case ENVID:
        return envelope->dsn_envid;
    case USER:
    case EXTENSION:
    case MAILBOX:
    case DOMAIN:
        return address_part(run, recipient->address, macro);
    default:
        return client_fact(run, macro);
    }
}

/* "$name", "${name}" or "$(name)" at the start of text. Returns its length, 0 when it is none of ours. */
static size_t
match_macro(const char *text, enum macro *macro_r)
{
    char close = text[1] == '{' ? '}' : text[1] == '(' ? ')' : '\0';
    const char *name = text + (close != '\0' ? 2 : 1);
    size_t n = 0;

    while (isalnum((unsigned char)name[n]) || name[n] == '_') {
        n++;
    }
    if (close != '\0' && name[n] != close) {
        return 0;
    }
    for (int i = 0; i < MACROS; i++) {
        if (strlen(MACRO_NAMES[i].name) == n && strncmp(MACRO_NAMES[i].name, name, n) == 0) {
            *macro_r = (enum macro)i;
            return (size_t)(name - text) + n + (close != '\0' ? 1 : 0);
        }
    }
    return 0;
}

static bool
is_per_recipient(const char *template)
{
    enum macro macro;

    for (; *template != '\0'; template ++) {
        if (*template == '$' && match_macro(template, &macro) > 0 && MACRO_NAMES[macro].per_recipient) {
            return true;
        }
    }
    return false;
}

/* One argument from its template, for one recipient. */
static int
add_argument(struct run *run, const char *template, size_t index)
{
    enum macro macro;
    size_t n;
    int r = 0;

    buf_clear(&run->word);
    while (*template != '\0' && r == 0) {
        if (*template == '$' && template[1] == '$') {
            r = buf_append_byte(&run->word, '$');
            template += 2;
        } else if (*template == '$' && (n = match_macro(template, &macro)) > 0) {
            r = buf_append_bytes(&run->word, macro_value(run, macro, index));
            template += n;
        } else {
            r = buf_append_byte(&run->word, (uint8_t) * template ++);
        }
    }
    if (r != 0 || run->count == ARGUMENTS_MAX) {
        return GW_ERR_LIMIT;
    }
    run->argv[run->count] = arena_strdup(run->arena, bytes_buf(&run->word));
    return run->argv[run->count++] != NULL ? 0 : GW_ERR_NOMEM;
}

static int
fill_arguments(struct run *run)
{
    int r = 0;

    for (char *const *word = run->pipe->argv; *word != NULL && r == 0; word++) {
        const char *template = word == run->pipe->argv ? *word + 5 : *word; /* behind "argv=" */
        size_t end = is_per_recipient(template) ? run->end : run->first + 1;

        for (size_t i = run->first; i < end && r == 0; i++) {
            r = add_argument(run, template, i);
        }
    }
    run->argv[run->count] = NULL;
    return r;
}

/* What would be read as an option, or refused by the row's own limits. True: outcome says why. */
static bool
is_refused(const struct run *run, struct deliver_outcome *outcome)
{
    const struct envelope *envelope = run->task->job->envelope;

    if (!run->pipe->owner_known) {
        deliver_outcome_set(outcome, DELIVERY_DEFERRED, "4.3.5", "mail system configuration error");
        return true;
    }
    if (run->pipe->size_limit > 0 && envelope->size > run->pipe->size_limit) {
        deliver_outcome_set(outcome, DELIVERY_BOUNCED, "5.2.3",
                            "message size %llu exceeds size limit %llu of service %s",
                            (unsigned long long)envelope->size, (unsigned long long)run->pipe->size_limit,
                            run->transport->name);
        return true;
    }
    if (envelope->sender.n > 0 && envelope->sender.p[0] == '-') {
        deliver_outcome_set(outcome, DELIVERY_BOUNCED, "5.1.7", "bad sender address syntax");
        return true;
    }
    for (size_t i = run->first; i < run->end; i++) {
        if (envelope->recipients[i].address.n == 0 || envelope->recipients[i].address.p[0] == '-') {
            deliver_outcome_set(outcome, DELIVERY_BOUNCED, "5.1.3", "bad address syntax");
            return true;
        }
    }
    return false;
}

static void
run_program(struct run *run, struct deliver_outcome *outcome)
{
    const struct config *view = run->transport->view;
    char *environment[] = {(char *)(uintptr_t) "PATH=/usr/bin:/bin", (char *)(uintptr_t) "LANG=C",
                           arena_printf(run->arena, "MAIL_CONFIG=%s", config_directory(view)), NULL};
    struct deliver_message message;
    struct deliver_command command = {
        .argv = run->argv,
        .environment = environment,
        .directory =
            run->pipe->directory != NULL ? run->pipe->directory : config_str(view, P_queue_directory),
        .root = run->pipe->root,
        .owner = &run->pipe->owner,
        .message = &message,
        .limit_ms = run->pipe->limit_ms,
        .sent_text = run->pipe->sent_text,
    };

    deliver_message_fill(&message, run->task, run->first, run->pipe->form);
    if ((run->pipe->form & DELIVER_DELIVERED_TO) && deliver_writer_has_loop(&message)) {
        deliver_outcome_set(outcome, DELIVERY_BOUNCED, "5.4.6", "mail forwarding loop for %.*s",
                            BYTES_FMT(bytes_sub(message.recipient, 0, 200)));
        return;
    }
    if (fill_arguments(run) != 0) {
        deliver_outcome_set(outcome, DELIVERY_DEFERRED, "4.3.0", "too many or too long arguments");
        return;
    }
    deliver_command_run(&command, outcome);
}

/* Flags D and O write one recipient into the message: then each has a run of its own. */
static void
run_all(struct run *run, struct deliver_task *task)
{
    bool single = (run->pipe->form & (DELIVER_DELIVERED_TO | DELIVER_ORIGINAL_TO)) != 0;
    size_t step = single ? 1 : task->count;

    for (run->first = 0; run->first < task->count; run->first = run->end) {
        struct deliver_outcome outcome;

        run->end = run->first + step;
        run->count = 0;
        arena_reset(run->arena);
        if (!is_refused(run, &outcome)) {
            run_program(run, &outcome);
        }
        for (size_t i = run->first; i < run->end; i++) {
            task->outcomes[i] = outcome;
        }
    }
}

void
deliver_pipe_run(const struct deliver_transport *transport, struct deliver_task *task, unsigned slot)
{
    struct run *run = calloc(1, sizeof(*run));

    (void)slot;
    if (run != NULL && (run->arena = arena_new(ARENA_MAX)) != NULL) {
        run->transport = transport;
        run->pipe = transport->pipe;
        run->task = task;
        buf_init(&run->word, ARGUMENT_BYTES_MAX);
        run_all(run, task);
        buf_free(&run->word);
        arena_free(&run->arena);
    }
    free(run);
}

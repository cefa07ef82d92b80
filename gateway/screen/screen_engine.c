/*
 * screen_engine - the little SMTP engine that clients meet who failed a test: polite, slow to anger, accepts
 * nothing.
 *
 * Before: screen_client.c when an action is enforce; after: the log and the evidence. Every RCPT is answered
 * with the refusal, so that the log names sender and recipient; there is no way to DATA. PIPELINING, STARTTLS
 * and CHUNKING are not offered. A command may arrive in pieces: the buffer exists only while there is an
 * unfinished line.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "message/smtp_command.h"
#include "screen/screen_private.h"

enum {
    READ_MAX = 4096,
    LOG_TEXT_MAX = 256, /* of a peer's word in a log line */
};

struct screen_engine {
    struct buf line;     /* an unfinished line */
    char *helo, *sender; /* printable; NULL: not given */
    bool extended;
    unsigned commands;
    char ident[QUEUE_ID_MAX];
    struct evidence evidence; /* begun at the first refusal */
    enum smtp_verb last;
    bool said_any;
    char *reply; /* to RCPT */
};

/* 0 goes on; 1: the session is over. */
typedef int run_verb(struct screen_client *client, struct smtp_command *command);

static const char *
last_word(const struct screen_engine *engine)
{
    return engine->said_any ? smtp_verb_name(engine->last) : "CONNECT";
}

static char *
printable_copy(struct bytes text)
{
    struct buf out;
    char *copy = NULL;

    buf_init(&out, LOG_TEXT_MAX + 1);
    if (buf_append_printable(&out, text, LOG_TEXT_MAX, true) == 0) {
        copy = strdup(buf_str(&out));
    }
    buf_free(&out);
    return copy;
}

static int
say(struct screen_client *client, const char *text)
{
    return screen_client_say(client, "%s\r\n", text) ? 0 : 1;
}

static void
forget_message(struct screen_engine *engine)
{
    free(engine->sender);
    engine->sender = NULL;
}

static int
run_helo(struct screen_client *client, struct smtp_command *command)
{
    struct screen_engine *engine = client->engine;
    const struct screen_settings *settings = client->port->settings;

    if (command->argument.n == 0) {
        return say(client,
                   command->verb == SMTP_EHLO ? "501 Syntax: EHLO hostname" : "501 Syntax: HELO hostname");
    }
    free(engine->helo);
    engine->helo = printable_copy(command->argument);
    engine->extended = command->verb == SMTP_EHLO;
    forget_message(engine);
    if (!engine->extended) {
        return screen_client_say(client, "250 %s\r\n", settings->myhostname) ? 0 : 1;
    }
    return screen_client_say(
               client, "250-%s\r\n250-SIZE %lld\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250 DSN\r\n",
               settings->myhostname, (long long)config_int(settings->view, P_message_size_limit))
               ? 0
               : 1;
}

static int
run_mail(struct screen_client *client, struct smtp_command *command)
{
    struct screen_engine *engine = client->engine;

    if (engine->helo == NULL && client->port->settings->helo_required) {
        return say(client, "503 5.5.1 Error: send HELO/EHLO first");
    }
    if (engine->sender != NULL) {
        return say(client, "503 5.5.1 Error: nested MAIL command");
    }
    if (smtp_command_path(command, BYTES_LIT("FROM:"), false) != 0) {
        return say(client, command->argument.n == 0 ? "501 5.5.4 Syntax: MAIL FROM:<address>"
                                                    : "501 5.1.7 Bad sender address syntax");
    }
    engine->sender = printable_copy(command->path);
    return say(client, "250 2.1.0 Ok");
}

/* The refusal: one log line in the form that log readers know, one event, one reply. */
static int
refuse(struct screen_client *client, const char *recipient)
{
    struct screen_engine *engine = client->engine;
    char address[SCREEN_ADDRESS_TEXT], code[4] = {0};

    log_info("postscreen", "NOQUEUE: reject: RCPT from %s: %s; from=<%s>, to=<%s>, proto=%s, helo=<%s>",
             screen_record_address(&client->client, address), engine->reply,
             engine->sender != NULL ? engine->sender : "", recipient, engine->extended ? "ESMTP" : "SMTP",
             engine->helo != NULL ? engine->helo : "");
    memcpy(code, engine->reply, 3);
    if (engine->evidence.record.n == 0) {
        (void)evidence_begin(&engine->evidence, engine->ident, "screen");
    }
    evidence_add(&engine->evidence, EV_COMMAND, BYTES_LIT("RCPT"), bytes_str(recipient), bytes_str(code),
                 bytes_str(engine->reply), strtol(code, NULL, 10));
    return say(client, engine->reply);
}

static int
run_rcpt(struct screen_client *client, struct smtp_command *command)
{
    if (client->engine->sender == NULL) {
        return say(client, "503 5.5.1 Error: need MAIL command");
    }
    if (smtp_command_path(command, BYTES_LIT("TO:"), false) != 0 || command->path.n == 0) {
        return say(client, command->argument.n == 0 ? "501 5.5.4 Syntax: RCPT TO:<address>"
                                                    : "501 5.1.3 Bad recipient address syntax");
    }
    char *recipient = printable_copy(command->path);
    int over = refuse(client, recipient != NULL ? recipient : "");
    free(recipient);
    return over;
}

static int
run_data(struct screen_client *client, struct smtp_command *command)
{
    (void)command;
    return say(client, client->engine->sender == NULL ? "503 5.5.1 Error: need RCPT command"
                                                      : "554 5.5.1 Error: no valid recipients");
}

/* The chunk follows whatever we answer; read as commands it would be nonsense, so the session ends. */
static int
run_bdat(struct screen_client *client, struct smtp_command *command)
{
    (void)command;
    (void)say(client, "521 5.5.1 Error: no valid recipients");
    return 1;
}

static int
run_rset(struct screen_client *client, struct smtp_command *command)
{
    (void)command;
    forget_message(client->engine);
    return say(client, "250 2.0.0 Ok");
}

static int
run_noop(struct screen_client *client, struct smtp_command *command)
{
    (void)command;
    return say(client, "250 2.0.0 Ok");
}

static int
run_vrfy(struct screen_client *client, struct smtp_command *command)
{
    if (client->port->settings->disable_vrfy) {
        return say(client, "502 5.5.1 VRFY command is disabled");
    }
    return say(client,
               command->argument.n == 0 ? "501 5.5.4 Syntax: VRFY address" : "252 2.0.0 Not verified");
}

static int
run_quit(struct screen_client *client, struct smtp_command *command)
{
    (void)command;
    (void)say(client, "221 2.0.0 Bye");
    return 1;
}

static int
run_not_here(struct screen_client *client, struct smtp_command *command)
{
    (void)command;
    return say(client, "502 5.5.1 Error: command not implemented");
}

static run_verb *const VERBS[SMTP_VERB_COUNT] = {
    [SMTP_HELO] = run_helo,     [SMTP_EHLO] = run_helo,         [SMTP_MAIL] = run_mail,
    [SMTP_RCPT] = run_rcpt,     [SMTP_DATA] = run_data,         [SMTP_BDAT] = run_bdat,
    [SMTP_RSET] = run_rset,     [SMTP_NOOP] = run_noop,         [SMTP_VRFY] = run_vrfy,
    [SMTP_QUIT] = run_quit,     [SMTP_STARTTLS] = run_not_here, [SMTP_AUTH] = run_not_here,
    [SMTP_ETRN] = run_not_here,
};

static int
run_line(struct screen_client *client, struct bytes line)
{
    struct screen_engine *engine = client->engine;
    const struct screen_settings *settings = client->port->settings;
    char address[SCREEN_ADDRESS_TEXT];
    struct smtp_command command;
    int over;

    if (settings->command_limit > 0 && ++engine->commands > settings->command_limit) {
        log_info("postscreen", "COMMAND COUNT LIMIT from %s after %s",
                 screen_record_address(&client->client, address), last_word(engine));
        (void)screen_client_say(client, "421 4.7.0 %s Error: too many commands\r\n", settings->myhostname);
        return 1;
    }
    if (smtp_command_parse(line, &command) != 0 || VERBS[command.verb] == NULL) {
        command.verb = SMTP_UNKNOWN;
        over = say(client,
                   line.n == 0 ? "500 5.5.2 Error: bad syntax" : "502 5.5.2 Error: command not recognized");
    } else {
        over = VERBS[command.verb](client, &command);
    }
    engine->last = command.verb;
    engine->said_any = true;
    return over;
}

/* Runs the lines in `got`, keeps what is left of them. 1: the session is over. */
static int
run_lines(struct screen_client *client, struct bytes got)
{
    struct screen_engine *engine = client->engine;
    char address[SCREEN_ADDRESS_TEXT];
    ptrdiff_t lf;

    while ((lf = bytes_index(got, '\n')) >= 0) {
        struct bytes piece = bytes_sub(got, 0, (size_t)lf);
        bool joined = engine->line.n > 0;

        got = bytes_sub(got, (size_t)lf + 1, got.n);
        if (joined && buf_append_bytes(&engine->line, piece) != 0) {
            goto too_long;
        }
        struct bytes line = joined ? bytes_buf(&engine->line) : piece;
        if (line.n > engine->line.limit) {
            goto too_long;
        }
        if (line.n > 0 && line.p[line.n - 1] == '\r') {
            line.n--;
        }
        if (run_line(client, line) != 0) {
            return 1;
        }
        if (joined) {
            buf_free(&engine->line);
        }
    }
    if (got.n == 0 || buf_append_bytes(&engine->line, got) == 0) {
        return 0;
    }
too_long:
    log_info("postscreen", "COMMAND LENGTH LIMIT from %s after %s",
             screen_record_address(&client->client, address), last_word(engine));
    (void)screen_client_say(client, "421 4.7.0 %s Error: command line too long\r\n",
                            client->port->settings->myhostname);
    return 1;
}

static bool
wait_command(struct screen_client *client)
{
    const struct screen_settings *settings = client->port->settings;

    return screen_client_wait(client, client->port->screen->stressed ? settings->command_stress_ms
                                                                     : settings->command_ms);
}

void
screen_engine_read(struct screen_client *client)
{
    char address[SCREEN_ADDRESS_TEXT], since[16];
    uint8_t bytes[READ_MAX];
    ssize_t n = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        log_info("postscreen", "HANGUP after %s from %s in tests after SMTP handshake",
                 screen_record_since(client->started_us, since),
                 screen_record_address(&client->client, address));
        screen_client_close(client);
        return;
    }
    if (run_lines(client, bytes_of(bytes, (size_t)n)) != 0) {
        screen_client_close(client);
        return;
    }
    (void)wait_command(client); /* moves the timer that is there */
}

void
screen_engine_expire(struct screen_client *client)
{
    char address[SCREEN_ADDRESS_TEXT];

    log_info("postscreen", "COMMAND TIME LIMIT from %s after %s",
             screen_record_address(&client->client, address), last_word(client->engine));
    (void)screen_client_say(client, "421 4.4.2 %s Error: timeout exceeded\r\n",
                            client->port->settings->myhostname);
    screen_client_close(client);
}

int
screen_engine_start(struct screen_client *client, const char *reply)
{
    struct screen *screen = client->port->screen;
    struct screen_engine *engine = calloc(1, sizeof(*engine));
    struct evidence evidence = {0};

    if (engine == NULL || (engine->reply = strdup(reply)) == NULL) {
        free(engine);
        return GW_ERR_NOMEM;
    }
    client->engine = engine;
    client->state = SCREEN_TALKING;
    buf_init(&engine->line, client->port->settings->line_limit);
    screen_record_ident(screen, engine->ident);
    /* The tests' record goes out now: a client that only waits owns no buffer. */
    if (evidence_begin(&evidence, engine->ident, "screen") == 0) {
        screen_record_tests(client, &evidence);
        screen_peer_evidence(screen, &evidence);
    }
    evidence_free(&evidence);
    if (!screen_client_say(client, "220 %s\r\n", client->port->settings->banner) || !wait_command(client)) {
        return GW_ERR_EOF;
    }
    loop_watch_change(screen->loop, client->watch, EPOLLIN);
    return 0;
}

void
screen_engine_free(struct screen_client *client)
{
    struct screen_engine *engine = client->engine;

    client->engine = NULL;
    if (engine == NULL) {
        return;
    }
    screen_peer_evidence(client->port->screen, &engine->evidence);
    evidence_free(&engine->evidence);
    buf_free(&engine->line);
    free(engine->reply);
    free(engine->helo);
    free(engine->sender);
    free(engine);
}

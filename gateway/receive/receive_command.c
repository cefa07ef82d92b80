/*
 * receive_command - reads a command line and runs its verb; keeps the limits on errors and junk.
 *
 * Before: receive_session.c's loop; after: one file per verb. Replies of pipelined commands are sent
 * together: the stream is flushed only when no whole line is waiting. A verb that must be the last of a group
 * (RFC 2920 section 3.1) with more input behind it is the pipelining violation that reject_unauth_pipelining
 * asks about.
 */
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "receive/receive_reply.h"

enum {
    LINE_SKIP_MAX = 1024 * 1024, /* of an over-long line, before we hang up */
    COMMAND_LOG_MAX = 100,
};

static int
refuse_disabled(struct receive_session *session, const struct smtp_command *command)
{
    (void)command;
    return receive_reply_error(session, 502, "5.5.1", "Error: command not implemented");
}

enum verb_flags {
    LAST = 1,  /* must end a group of pipelined commands */
    JUNK = 2,  /* counts towards smtpd_junk_command_limit */
    PLAIN = 4, /* allowed before STARTTLS when TLS is required */
};

static const struct {
    receive_verb *run;
    unsigned flags;
} VERBS[SMTP_VERB_COUNT] = {
    [SMTP_HELO] = {receive_helo, LAST | PLAIN},
    [SMTP_EHLO] = {receive_ehlo, LAST | PLAIN},
    [SMTP_STARTTLS] = {receive_starttls, LAST | PLAIN},
    [SMTP_AUTH] = {receive_auth, LAST},
    [SMTP_MAIL] = {receive_mail, 0},
    [SMTP_RCPT] = {receive_rcpt, 0},
    [SMTP_DATA] = {receive_data, LAST},
    [SMTP_BDAT] = {receive_bdat, 0},
    [SMTP_RSET] = {receive_rset, JUNK | PLAIN},
    [SMTP_NOOP] = {receive_noop, LAST | JUNK | PLAIN},
    [SMTP_VRFY] = {receive_vrfy, LAST | JUNK},
    [SMTP_EXPN] = {refuse_disabled, LAST | JUNK},
    [SMTP_ETRN] = {refuse_disabled, LAST | JUNK},
    [SMTP_HELP] = {receive_help, LAST | JUNK | PLAIN},
    [SMTP_QUIT] = {receive_quit, LAST | PLAIN},
    [SMTP_XCLIENT] = {receive_xclient, LAST | PLAIN},
    [SMTP_XFORWARD] = {receive_xforward, LAST},
};

/* Throws away the rest of an over-long line. */
static int
skip_line(struct receive_session *session)
{
    size_t skipped = 0;
    int r = 0;

    while (r == 0 && skipped < LINE_SKIP_MAX) {
        struct bytes got = stream_buffered(session->stream);
        ptrdiff_t lf = bytes_index(got, '\n');
        size_t n = lf < 0 ? got.n : (size_t)lf + 1;

        stream_consume(session->stream, n);
        skipped += n;
        if (lf >= 0) {
            return receive_reply_error(session, 500, "5.5.2", "Error: line too long");
        }
        r = stream_fill(session->stream);
    }
    return r != 0 ? r : GW_ERR_LIMIT;
}

/* One line. The view stays valid while the command runs: what follows it in the buffer is consumed only
 * later. */
static int
read_line(struct receive_session *session, struct bytes *line_r)
{
    struct stream *stream = session->stream;
    struct bytes waiting = stream_buffered(stream);
    int r = 0;

    if (bytes_index(waiting, '\n') < 0) {
        r = stream_flush(stream);
    }
    stream_set_deadline(stream, clock_monotonic_ms() + session->port->timeout_ms);
    return r == 0 ? stream_read_line(stream, session->port->line_length_limit, line_r) : r;
}

static int
say_goodbye(struct receive_session *session, int code, const char *dsn, const char *text)
{
    (void)receive_reply(session, code, dsn, "%s", text);
    (void)stream_flush(session->stream);
    session->protocol_event = true;
    return GW_ERR_DENIED;
}

static int
check_error_limit(struct receive_session *session)
{
    char client[NET_HOST_MAX + NET_ADDR_TEXT_MAX + 3];

    if ((int64_t)session->errors < session->port->hard_error_limit) {
        return 0;
    }
    log_info("smtpd", "too many errors after %s from %s", session->last_verb,
             receive_session_client(session, client, sizeof(client)));
    (void)receive_reply(session, 421, "4.7.0", "%s Error: too many errors", session->port->myhostname);
    (void)stream_flush(session->stream);
    return GW_ERR_DENIED;
}

/* HTTP through an open proxy, a banner of another protocol: nobody who speaks SMTP begins like this. */
static bool
is_forbidden(struct bytes word)
{
    static const char *const WORDS[] = {"CONNECT", "GET", "POST"};

    for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++) {
        if (bytes_equal_nocase(word, bytes_str(WORDS[i]))) {
            return true;
        }
    }
    return word.n > 0 && !((word.p[0] | 0x20) >= 'a' && (word.p[0] | 0x20) <= 'z');
}

static int
refuse_unknown(struct receive_session *session, const struct smtp_command *command)
{
    char client[NET_HOST_MAX + NET_ADDR_TEXT_MAX + 3];

    if (is_forbidden(command->word)) {
        struct buf shown;

        buf_init(&shown, 2 * COMMAND_LOG_MAX);
        (void)buf_append_printable(&shown, command->word, COMMAND_LOG_MAX / 2, true);
        (void)buf_append_byte(&shown, ' ');
        (void)buf_append_printable(&shown, command->argument, COMMAND_LOG_MAX / 2, true);
        log_warning("smtpd", "non-SMTP command from %s: %s",
                    receive_session_client(session, client, sizeof(client)), buf_str(&shown));
        buf_free(&shown);
        return say_goodbye(session, 221, "2.7.0", "Error: I can break rules, too. Goodbye.");
    }
    return receive_reply_error(session, 502, "5.5.2", "Error: command not recognized");
}

static void
note_pipelining(struct receive_session *session, enum smtp_verb verb)
{
    char client[NET_HOST_MAX + NET_ADDR_TEXT_MAX + 3];
    bool must_be_last = (VERBS[verb].flags & LAST) != 0 || !session->extended ||
                        (session->port->ehlo_discard & EHLO_PIPELINING) != 0;

    if (must_be_last && !session->pipelining_violation && stream_buffered(session->stream).n > 0) {
        session->pipelining_violation = true;
        log_info("smtpd", "improper command pipelining after %s from %s", smtp_verb_name(verb),
                 receive_session_client(session, client, sizeof(client)));
    }
}

static int
run(struct receive_session *session, const struct smtp_command *command)
{
    unsigned flags = VERBS[command->verb].flags;

    if (VERBS[command->verb].run == NULL) {
        return refuse_unknown(session, command);
    }
    if (session->port->tls_required && !stream_is_tls(session->stream) && (flags & PLAIN) == 0) {
        return receive_reply_error(session, 530, "5.7.0", "Must issue a STARTTLS command first");
    }
    if ((flags & JUNK) != 0 && (int64_t)session->junk++ >= session->port->junk_command_limit) {
        session->errors++;
    }
    note_pipelining(session, command->verb);
    if (session->access_denied && command->verb != SMTP_QUIT && command->verb != SMTP_XCLIENT) {
        char client[NET_HOST_MAX + NET_ADDR_TEXT_MAX + 3];

        session->errors++;
        return receive_reply(session, 503, "5.7.0", "Error: access denied for %s",
                             receive_session_client(session, client, sizeof(client)));
    }
    return VERBS[command->verb].run(session, command);
}

/* smtpd_error_sleep_time: a client past the soft limit has to wait for every further mistake to be told. */
static void
slow_down(struct receive_session *session, unsigned errors_before)
{
    if (session->errors > errors_before && (int64_t)session->errors > session->port->soft_error_limit) {
        (void)poll(NULL, 0, (int)session->port->error_sleep_ms);
    }
}

int
receive_command_next(struct receive_session *session, enum smtp_verb *last_r)
{
    struct smtp_command *command = &session->tools->command;
    unsigned errors_before = session->errors;
    struct bytes line;
    int r;

    if ((r = check_error_limit(session)) != 0) {
        return r;
    }
    if ((r = read_line(session, &line)) != 0) {
        return r == GW_ERR_LIMIT ? skip_line(session) : r;
    }
    /* The line is a view into the stream's buffer, so the byte behind it tells whether it ended in a bare LF.
     */
    if (session->port->bare_newline == BARE_NEWLINE_REJECT && line.p[line.n] != '\r') {
        return say_goodbye(session, 521, "5.5.2", "Error: bare <LF> received");
    }
    receive_note_command(session, line);
    if (smtp_command_parse(line, command) != 0) {
        session->all_counts[SMTP_UNKNOWN]++;
        *last_r = SMTP_UNKNOWN;
        return receive_reply_error(session, 500, "5.5.2", "Error: bad syntax");
    }
    *last_r = command->verb;
    session->last_verb = smtp_verb_name(command->verb);
    r = run(session, command);
    session->all_counts[command->verb]++;
    if (r == 0 && session->last_code < 400) {
        session->ok_counts[command->verb]++;
    }
    slow_down(session, errors_before);
    return r;
}

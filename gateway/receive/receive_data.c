/*
 * receive_data - DATA and BDAT: the content arrives.
 *
 * Before: RCPT; after: receive_disposition.c answers for the message. DATA ends only at CRLF.CRLF; BDAT (RFC
 * 3030) by count. Content that will be refused anyway (too large, no memory) is still read to its end, so
 * that the reply is the answer to the message and not to a fragment of it.
 */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "message/dot_reader.h"
#include "receive/receive_content.h"
#include "receive/receive_reply.h"

static const struct {
    int error;
    int code;
    const char *dsn, *text;
} FAILURES[] = {
    {GW_ERR_LIMIT, 552, "5.3.4", "Error: message file too big"},
    {GW_ERR_DENIED, 554, "5.4.0", "Error: too many hops"},
    {GW_ERR_FULL, 452, "4.3.1", "Insufficient system storage"},
    {GW_ERR_TEMP, 451, "4.3.0", "Error: queue file write error"},
};

static int
reply_failure(struct receive_session *session, int error)
{
    session->resource_event = session->resource_event || (error != GW_ERR_LIMIT && error != GW_ERR_DENIED);
    for (size_t i = 0; i < sizeof(FAILURES) / sizeof(FAILURES[0]); i++) {
        if (FAILURES[i].error == error) {
            return receive_reject(session, "END-OF-MESSAGE", session->envelope->recipients[0].original,
                                  FAILURES[i].code, FAILURES[i].dsn, bytes_str(FAILURES[i].text));
        }
    }
    log_warning("smtpd", "%s: content lost: %s", session->envelope->queue_id, gw_strerror(error));
    return receive_reply(session, 451, "4.3.0", "Error: queue file write error");
}

/* The content is complete: the last lists, then everything that decides about it. Ends the transaction. */
static int
finish_message(struct receive_session *session)
{
    static const enum restriction_stage STAGE = STAGE_END_OF_DATA;
    struct envelope *envelope = session->envelope;
    bool permitted = true;
    int r;

    envelope->session = session->facts;
    envelope->local_origin = session->trusted_client || session->facts.sasl_user[0] != '\0';
    r = receive_content_finish(session);
    if (r != 0) {
        r = reply_failure(session, r);
    } else {
        r = receive_restrict(session, &STAGE, 1, "END-OF-MESSAGE", (struct bytes){0}, (struct bytes){0},
                             &permitted);
        if (r == 0 && permitted) {
            receive_apply_effects(session);
            r = receive_disposition(session);
        }
    }
    receive_session_reset_message(session);
    return r;
}

static int
begin_content(struct receive_session *session)
{
    session->envelope->session = session->facts;
    return receive_content_new(session, &session->content);
}

/* Reads until the final dot. 0, or the stream's error. */
static int
read_data(struct receive_session *session)
{
    struct dot_reader reader;
    struct stream *stream = session->stream;
    int r = 0;

    dot_reader_init(&reader, true, receive_content_add, session->content);
    for (;;) {
        size_t consumed = 0;

        if (stream_buffered(stream).n > 0) {
            r = dot_reader_feed(&reader, stream_buffered(stream), &consumed);
            stream_consume(stream, consumed);
        }
        if (r == 1) {
            break;
        }
        stream_set_deadline(stream, clock_monotonic_ms() + session->port->timeout_ms);
        if ((r = stream_fill(stream)) != 0) {
            return r;
        }
    }
    if (reader.bare_lf > 0 && session->port->bare_newline == BARE_NEWLINE_REJECT) {
        session->quit = true;
        return GW_ERR_SYNTAX;
    }
    return 0;
}

static int
check_transaction(struct receive_session *session, bool *go_on_r)
{
    *go_on_r = session->accepted_recipients > 0;
    if (*go_on_r) {
        return 0;
    }
    if (session->has_sender && session->rejected_recipients > 0) {
        return receive_reply_error(session, 554, "5.5.1", "Error: no valid recipients");
    }
    return receive_reply_error(session, 503, "5.5.1", "Error: need RCPT command");
}

int
receive_data(struct receive_session *session, const struct smtp_command *command)
{
    static const enum restriction_stage STAGE = STAGE_DATA;
    bool go_on;
    int r = check_transaction(session, &go_on);

    if (r != 0 || !go_on) {
        return r;
    }
    if (command->argument.n > 0) {
        return receive_reply_error(session, 501, "5.5.4", "Syntax: DATA");
    }
    if (session->state == RECEIVE_BDAT) {
        receive_session_reset_message(session);
        return receive_reply_error(session, 503, "5.5.1", "Error: DATA after BDAT");
    }
    r = receive_restrict(session, &STAGE, 1, "DATA", (struct bytes){0}, (struct bytes){0}, &go_on);
    if (r != 0 || !go_on) {
        return r;
    }
    if (begin_content(session) != 0) {
        return receive_reply(session, 451, "4.3.0", "Error: queue file write error");
    }
    if ((r = receive_reply(session, 354, NULL, "End data with <CR><LF>.<CR><LF>")) != 0 ||
        (r = stream_flush(session->stream)) != 0 || (r = read_data(session)) != 0) {
        if (r == GW_ERR_SYNTAX) {
            r = receive_reply_error(session, 550, "5.5.2", "Error: bare <LF> received");
            receive_session_reset_message(session);
        }
        return r;
    }
    return finish_message(session);
}

/* Reads one chunk of `size` bytes; into nowhere when there is no content to collect it. */
static int
read_chunk(struct receive_session *session, uint64_t size)
{
    struct stream *stream = session->stream;

    while (size > 0) {
        struct bytes got = stream_buffered(stream);
        size_t n = got.n < size ? got.n : (size_t)size;

        if (n == 0) {
            stream_set_deadline(stream, clock_monotonic_ms() + session->port->timeout_ms);
            int r = stream_fill(stream);
            if (r != 0) {
                return r;
            }
            continue;
        }
        if (session->content != NULL) {
            (void)receive_content_add_chunk(session->content, bytes_sub(got, 0, n));
        }
        stream_consume(stream, n);
        size -= n;
    }
    return 0;
}

/* The chunk that comes with a refused BDAT must be swallowed, or it would be read as commands. */
static int
refuse_chunk(struct receive_session *session, uint64_t size, int code, const char *dsn, const char *text)
{
    int r = read_chunk(session, size);

    return r == 0 ? receive_reply_error(session, code, dsn, text) : r;
}

int
receive_bdat(struct receive_session *session, const struct smtp_command *command)
{
    static const enum restriction_stage STAGE = STAGE_DATA;
    struct bytes rest = command->argument, size_text, word = {0};
    uint64_t size;
    bool go_on;
    int r;

    if (!bytes_next_token(&rest, " \t", &size_text) || bytes_to_u64(size_text, &size) != 0 ||
        size > INT64_MAX ||
        (bytes_next_token(&rest, " \t", &word) && !bytes_equal_nocase(word, BYTES_LIT("LAST"))) ||
        bytes_trim(rest).n > 0) {
        /* How much to skip is unknown: what follows cannot be told from commands. */
        session->quit = true;
        return receive_reply_error(session, 501, "5.5.4", "Syntax: BDAT count [LAST]");
    }
    if (session->accepted_recipients == 0) {
        return refuse_chunk(session, size, session->rejected_recipients > 0 ? 554 : 503, "5.5.1",
                            session->rejected_recipients > 0 ? "Error: no valid recipients"
                                                             : "Error: need RCPT command");
    }
    if (session->state != RECEIVE_BDAT) {
        r = receive_restrict(session, &STAGE, 1, "BDAT", (struct bytes){0}, (struct bytes){0}, &go_on);
        if (r != 0 || !go_on) {
            int skipped = read_chunk(session, size);
            return r != 0 ? r : skipped;
        }
        if (begin_content(session) != 0) {
            return refuse_chunk(session, size, 451, "4.3.0", "Error: queue file write error");
        }
        session->state = RECEIVE_BDAT;
    }
    if ((r = read_chunk(session, size)) != 0) {
        return r;
    }
    return word.n > 0 ? finish_message(session)
                      : receive_reply(session, 250, "2.0.0", "Ok: %llu bytes", (unsigned long long)size);
}

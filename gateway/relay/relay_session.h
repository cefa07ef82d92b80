/*
 * relay_session - one connection to a next hop: connecting, greeting, EHLO or LHLO, STARTTLS, and its end.
 *
 * The stream object and its buffers belong to the thread and serve one connection after the other. A session
 * that finished a transaction may be kept for the next message to the same next hop.
 */
#ifndef RELAY_RELAY_SESSION_H
#define RELAY_RELAY_SESSION_H

#include "policy/evidence.h"
#include "relay/relay_outcome.h"
#include "relay/relay_reply.h"
#include "relay/relay_settings.h"

enum relay_feature {
    RELAY_FEATURE_PIPELINING = 1,
    RELAY_FEATURE_SIZE = 2,
    RELAY_FEATURE_8BITMIME = 4,
    RELAY_FEATURE_SMTPUTF8 = 8,
    RELAY_FEATURE_DSN = 16,
    RELAY_FEATURE_STARTTLS = 32,
    RELAY_FEATURE_XFORWARD = 64,
};

enum { RELAY_NAME_MAX = NET_HOST_MAX + NET_ADDR_TEXT_MAX + 16 };

struct relay_session {
    struct stream *stream; /* kept between connections; NULL before the first */
    bool open;
    bool closing;    /* the server said 421, or the transaction left it in an unknown state */
    bool needs_rset; /* a transaction was begun and not finished */
    bool answered;   /* a reply came since relay_transaction_run() began */
    const struct relay_settings *settings;
    char key[320]; /* next hop it was opened for */
    struct relay_host host;
    char name[RELAY_NAME_MAX];      /* "mx.example[192.0.2.1]" */
    char name_port[RELAY_NAME_MAX]; /* "mx.example[192.0.2.1]:25" */
    uint32_t features;
    uint32_t xforward;   /* attributes the server takes */
    uint64_t size_limit; /* 0: not told */
    int64_t uses;        /* messages so far */
    int64_t opened_ms, idle_since_ms;
    struct relay_reply reply;
    struct evidence *evidence; /* of the job under way */
    const char *queue_id;      /* of the job under way, for log lines */
};

void relay_session_init(struct relay_session *session);
void relay_session_free(struct relay_session *session);
/* Fills name and name_port for a host. */
void relay_session_name(struct relay_session *session, const struct relay_host *host);
/* Connects and comes as far as MAIL FROM may be sent; settings says how. 0, or an error with *trouble_r
 * filled and the session closed. */
int relay_session_open(struct relay_session *session, const struct relay_settings *settings,
                       const struct relay_host *host, struct relay_trouble *trouble_r);
/* Says QUIT when `polite` (without waiting for the answer) and closes. */
void relay_session_close(struct relay_session *session, bool polite);
/* True while the connection is kept for this next hop of this transport and within its limits. */
bool relay_session_serves(const struct relay_session *session, const struct relay_settings *settings,
                          struct bytes nexthop, int64_t now_ms);
void relay_session_set_timeout(struct relay_session *session, int64_t timeout_ms);
/* Reads a reply into session->reply; a 421 marks the session as closing. */
int relay_session_read(struct relay_session *session, relay_reply_line *line, void *context);

#endif

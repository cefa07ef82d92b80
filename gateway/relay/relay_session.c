/*
 * relay_session - see the header. Before: relay_delivery.c, which chose the host; after: relay_transaction.c.
 *
 * Owns the connection. Fails with a trouble of scope CONNECT or SITE: the host cannot be used, another may.
 * With opportunistic TLS a handshake that fails is repeated in plaintext over a new connection, as Postfix
 * does; with a mandatory level nothing is sent in plaintext.
 */
#include "relay/relay_session.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/stream.h"
#include "base/tls.h"
#include "relay/relay_xforward.h"

enum {
    PORT_SMTP = 25,
    QUIT_MS = 100, /* a healthy socket takes six bytes at once; the reply is nobody's business */
};

static const struct {
    const char *word;
    uint32_t feature;
} FEATURES[] = {
    {"PIPELINING", RELAY_FEATURE_PIPELINING},
    {"SIZE", RELAY_FEATURE_SIZE},
    {"8BITMIME", RELAY_FEATURE_8BITMIME},
    {"SMTPUTF8", RELAY_FEATURE_SMTPUTF8},
    {"DSN", RELAY_FEATURE_DSN},
    {"STARTTLS", RELAY_FEATURE_STARTTLS},
    {"XFORWARD", RELAY_FEATURE_XFORWARD},
};

void
relay_session_init(struct relay_session *session)
{
    memset(session, 0, sizeof(*session));
    relay_reply_init(&session->reply);
}

void
relay_session_free(struct relay_session *session)
{
    relay_session_close(session, true);
    stream_free(&session->stream);
    relay_reply_free(&session->reply);
}

void
relay_session_name(struct relay_session *session, const struct relay_host *host)
{
    char address[NET_ADDR_TEXT_MAX];

    if (host->path[0] != '\0') {
        (void)snprintf(session->name, sizeof(session->name), "%s[%s]", session->settings->address.own_name,
                       host->path);
        (void)snprintf(session->name_port, sizeof(session->name_port), "%s", session->name);
        return;
    }
    net_addr_format(&host->addr, address);
    (void)snprintf(session->name, sizeof(session->name), "%s[%s]", host->name, address);
    (void)snprintf(session->name_port, sizeof(session->name_port), "%s[%s]:%u", host->name, address,
                   (unsigned)host->addr.port);
}

void
relay_session_set_timeout(struct relay_session *session, int64_t timeout_ms)
{
    stream_set_deadline(session->stream, clock_monotonic_ms() + timeout_ms);
}

int
relay_session_read(struct relay_session *session, relay_reply_line *line, void *context)
{
    int r = relay_reply_read(session->stream, &session->reply, line, context);

    if (r == 0 && session->reply.code == 421) {
        session->closing = true;
    }
    return r;
}

void
relay_session_close(struct relay_session *session, bool polite)
{
    if (!session->open) {
        return;
    }
    if (polite && !session->closing) {
        stream_set_deadline(session->stream, clock_monotonic_ms() + QUIT_MS);
        if (stream_write(session->stream, BYTES_LIT("QUIT\r\n")) == 0) {
            (void)stream_flush(session->stream);
        }
    }
    stream_detach_close(session->stream);
    session->open = false;
}

bool
relay_session_serves(const struct relay_session *session, const struct relay_settings *settings,
                     struct bytes nexthop, int64_t now_ms)
{
    return session->open && !session->closing && session->settings == settings &&
           bytes_equal(nexthop, bytes_str(session->key)) &&
           now_ms - session->opened_ms < settings->reuse_ms &&
           (settings->reuse_count == 0 || session->uses < settings->reuse_count);
}

static int
connect_host(struct relay_session *session, const struct relay_host *host, struct relay_trouble *trouble)
{
    const struct relay_settings *settings = session->settings;
    const struct net_addr *source = host->addr.family == AF_INET6 ? &settings->bind6 : &settings->bind4;
    int64_t deadline_ms = clock_monotonic_ms() + settings->connect_ms;
    int fd = -1;
    int on = 1;
    int r;

    errno = 0;
    if (host->path[0] != '\0') {
        r = net_connect_unix(host->path, deadline_ms, &fd);
    } else {
        r = net_connect(&host->addr, source->family != 0 ? source : NULL, deadline_ms, &fd);
    }
    if (r != 0) {
        const char *why = r == GW_ERR_TIMEOUT ? "Connection timed out" : strerror(errno);

        relay_outcome_set(trouble, RELAY_SCOPE_CONNECT, RELAY_KIND_BROKEN, "4.4.1", "connect to %s: %s",
                          session->name_port, why);
        log_info(settings->program, "%s", trouble->failure.text);
        return r;
    }
    if (host->path[0] == '\0') {
        /* Every flight is one write; the last, short segment must not wait for the peer's delayed ACK. */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    if (session->stream == NULL) {
        session->stream = stream_new(fd);
        if (session->stream == NULL) {
            (void)close(fd);
            relay_outcome_set(trouble, RELAY_SCOPE_CONNECT, RELAY_KIND_SOFT, "4.3.0", "out of memory");
            return GW_ERR_NOMEM;
        }
    } else {
        stream_attach(session->stream, fd);
    }
    session->open = true;
    session->closing = session->needs_rset = session->answered = false;
    session->uses = 0;
    session->opened_ms = clock_monotonic_ms();
    return 0;
}

struct greeting_scan {
    struct relay_session *session;
    bool first;
    bool own_name;
};

/* A line of the EHLO reply. The first is the server's name; each other one keyword with its parameters. */
static void
take_ehlo_line(void *context, struct bytes text)
{
    struct greeting_scan *scan = context;
    struct relay_session *session = scan->session;
    struct bytes word;

    if (!bytes_next_token(&text, " \t", &word)) {
        return;
    }
    if (scan->first) {
        scan->first = false;
        scan->own_name = bytes_equal_nocase(word, bytes_str(session->settings->address.own_name));
        return;
    }
    for (size_t i = 0; i < sizeof(FEATURES) / sizeof(FEATURES[0]); i++) {
        if (bytes_equal_nocase(word, bytes_str(FEATURES[i].word))) {
            session->features |= FEATURES[i].feature;
            break;
        }
    }
    if (bytes_equal_nocase(word, BYTES_LIT("SIZE"))) {
        (void)bytes_to_u64(bytes_trim(text), &session->size_limit);
    } else if (bytes_equal_nocase(word, BYTES_LIT("XFORWARD"))) {
        session->xforward = relay_xforward_offered(text);
    }
}

static int
lose(struct relay_session *session, int error, const char *stage, struct relay_trouble *trouble)
{
    relay_outcome_broken(trouble, RELAY_SCOPE_SITE, session->name, error, stage);
    return error;
}

static int
refuse(struct relay_session *session, struct relay_trouble *trouble)
{
    relay_outcome_refused(trouble, session->name, session->reply.code, session->reply.dsn,
                          bytes_buf(&session->reply.text));
    return GW_ERR_DENIED;
}

static int
say_hello(struct relay_session *session, const char *verb, struct greeting_scan *scan)
{
    int r;

    session->features = session->xforward = 0;
    session->size_limit = 0;
    *scan = (struct greeting_scan){.session = session, .first = true};
    relay_session_set_timeout(session, session->settings->helo_ms);
    if ((r = stream_printf(session->stream, "%s %s\r\n", verb, session->settings->helo_name)) != 0 ||
        (r = stream_flush(session->stream)) != 0) {
        return r;
    }
    return relay_session_read(session, take_ehlo_line, scan);
}

/* EHLO, and HELO where the server does not know it. */
static int
greet(struct relay_session *session, struct relay_trouble *trouble)
{
    const struct relay_settings *settings = session->settings;
    struct greeting_scan scan = {.session = session};
    int r;

    session->reply.code = 0;
    if (!settings->never_ehlo) {
        const char *stage =
            settings->lmtp ? "performing the LHLO handshake" : "performing the EHLO handshake";

        if ((r = say_hello(session, settings->lmtp ? "LHLO" : "EHLO", &scan)) != 0) {
            return lose(session, r, stage, trouble);
        }
    }
    if (session->reply.code / 100 != 2) {
        if (settings->lmtp || session->reply.code == 421) {
            return refuse(session, trouble);
        }
        if ((r = say_hello(session, "HELO", &scan)) != 0) {
            return lose(session, r, "performing the HELO handshake", trouble);
        }
        session->features = session->xforward = 0;
    }
    if (session->reply.code / 100 != 2) {
        return refuse(session, trouble);
    }
    if (scan.own_name && !settings->lmtp && session->host.addr.port == PORT_SMTP) {
        log_warning(settings->program, "host %s greeted us with our own hostname %s", session->name_port,
                    settings->address.own_name);
        relay_outcome_set(trouble, RELAY_SCOPE_SITE, RELAY_KIND_HARD, "5.4.6",
                          "mail for %s loops back to myself", session->key);
        return GW_ERR_PEER;
    }
    return 0;
}

static int
read_greeting(struct relay_session *session, struct relay_trouble *trouble)
{
    int r;

    relay_session_set_timeout(session, session->settings->helo_ms);
    if ((r = relay_session_read(session, NULL, NULL)) != 0) {
        return lose(session, r, "receiving the initial server greeting", trouble);
    }
    if (session->reply.code / 100 == 2) {
        return 0;
    }
    (void)refuse(session, trouble);
    if (session->settings->skip_5xx_greeting && trouble->kind == RELAY_KIND_HARD) {
        trouble->kind = RELAY_KIND_SOFT;
        trouble->failure.dsn[0] = '4';
    }
    return GW_ERR_DENIED;
}

static void
tell_tls(struct relay_session *session, const struct tls_summary *summary)
{
    /* As in Postfix: a name is only "verified" where the level asks for it. */
    bool verified = summary->peer_matched && session->settings->tls_level == RELAY_TLS_VERIFY;
    const char *trust = !summary->peer_trusted ? "Untrusted" : verified ? "Verified" : "Trusted";

    if (session->settings->tls_loglevel >= 1) {
        log_info(session->settings->program,
                 "%s TLS connection established to %s: %s with cipher %s (%d/%d bits)", trust,
                 session->name_port, summary->protocol, summary->cipher, summary->bits_used,
                 summary->bits_total);
    }
    if (session->settings->tls_loglevel >= 2 && summary->resumed) {
        log_info(session->settings->program, "%s: Reusing old session", session->name_port);
    }
    evidence_add(session->evidence, EV_NOTE, BYTES_LIT("tls"), bytes_str(session->name_port),
                 bytes_str(trust), bytes_str(summary->cipher), summary->bits_used);
}

static int
require_tls(struct relay_trouble *trouble, const char *dsn, const char *format, const char *host,
            const char *detail)
{
    char text[RELAY_TEXT_MAX / 2];

    (void)snprintf(text, sizeof(text), "%s", detail);
    relay_outcome_set(trouble, RELAY_SCOPE_SITE, RELAY_KIND_BROKEN, dsn, "%s %s%s%s", format, host,
                      text[0] != '\0' ? ": " : "", text);
    return GW_ERR_TLS;
}

/* The handshake, then EHLO again (RFC 3207 section 4.2). GW_ERR_AGAIN: opportunistic, try in plaintext. */
static int
shake_hands(struct relay_session *session, struct relay_trouble *trouble)
{
    const struct relay_settings *settings = session->settings;
    struct tls_summary summary;
    const char *name = session->host.name;
    int r;

    relay_session_set_timeout(session, settings->starttls_ms);
    if ((r = stream_start_tls_client(session->stream, settings->tls, name, session->name_port)) != 0) {
        log_info(settings->program, "SSL_connect error to %s: %s", session->name_port,
                 r == GW_ERR_TLS ? stream_tls_error(session->stream) : gw_strerror(r));
        if (settings->tls_level == RELAY_TLS_MAY) {
            return GW_ERR_AGAIN;
        }
        return require_tls(trouble, "4.7.5", "Cannot start TLS: handshake failure with host", session->name,
                           "");
    }
    stream_tls_summary(session->stream, &summary);
    tell_tls(session, &summary);
    if (settings->tls_level == RELAY_TLS_VERIFY && !(summary.peer_trusted && summary.peer_matched)) {
        return require_tls(trouble, "4.7.5", "Server certificate not verified: host", session->name, "");
    }
    return greet(session, trouble);
}

/* smtp_tls_note_starttls_offer: who could be sent to encrypted, where we do not. */
static void
note_offer(const struct relay_session *session)
{
    if (session->settings->note_starttls_offer && (session->features & RELAY_FEATURE_STARTTLS) != 0) {
        log_info(session->settings->program, "Host offered STARTTLS: [%s]", session->host.name);
    }
}

/* 0: go on, encrypted or not. GW_ERR_AGAIN: a new connection without TLS. */
static int
start_tls(struct relay_session *session, struct relay_trouble *trouble)
{
    const struct relay_settings *settings = session->settings;
    bool must = settings->tls_level > RELAY_TLS_MAY;
    int r;

    if (settings->tls_level == RELAY_TLS_REFUSED || (must && settings->tls == NULL)) {
        return require_tls(trouble, "4.7.5", "TLS as configured is not available for host", session->name,
                           "");
    }
    if ((session->features & RELAY_FEATURE_STARTTLS) == 0) {
        return must ? require_tls(trouble, "4.7.4", "TLS is required, but was not offered by host",
                                  session->name, "")
                    : 0;
    }
    if (settings->tls == NULL) {
        note_offer(session);
        return 0;
    }
    relay_session_set_timeout(session, settings->starttls_ms);
    if ((r = stream_write(session->stream, BYTES_LIT("STARTTLS\r\n"))) != 0 ||
        (r = stream_flush(session->stream)) != 0 || (r = relay_session_read(session, NULL, NULL)) != 0) {
        return lose(session, r, "receiving the STARTTLS response", trouble);
    }
    if (session->reply.code / 100 != 2) {
        if (!must && !session->closing) {
            return 0;
        }
        return require_tls(trouble, "4.7.4", "TLS is required, but host refused to start TLS:", session->name,
                           buf_str(&session->reply.text));
    }
    return shake_hands(session, trouble);
}

int
relay_session_open(struct relay_session *session, const struct relay_settings *settings,
                   const struct relay_host *host, struct relay_trouble *trouble_r)
{
    int r = GW_ERR_INTERNAL;

    session->settings = settings;
    session->host = *host;
    relay_session_name(session, host);
    for (bool tls = true;; tls = false) {
        r = connect_host(session, host, trouble_r);
        evidence_add(session->evidence, EV_CONNECT, bytes_str(session->name_port),
                     bytes_str(settings->transport), r == 0 ? BYTES_LIT("connected") : BYTES_LIT("failed"),
                     bytes_str(r == 0 ? "" : trouble_r->failure.text), 0);
        if (r != 0) {
            return r;
        }
        if ((r = read_greeting(session, trouble_r)) == 0) {
            r = greet(session, trouble_r);
        }
        if (r == 0 && settings->tls_level == RELAY_TLS_NONE) {
            note_offer(session);
        } else if (r == 0 && tls) {
            r = start_tls(session, trouble_r);
        }
        if (r != GW_ERR_AGAIN || !tls) {
            break;
        }
        relay_session_close(session, false);
    }
    if (r != 0) {
        relay_session_close(session, r == GW_ERR_DENIED);
    }
    return r;
}

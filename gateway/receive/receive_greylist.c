/*
 * receive_greylist - see the header. Before: receive_service.c, which accepted; after: the policy role, by
 * restriction_greylist_ask().
 *
 * A request is lines of name=value and an empty one. What is no request, or too long, ends the connection
 * without an answer; the other side then does what smtpd_policy_service_default_action says. A request that
 * is none of greylisting's business, and a store that cannot be asked, give DUNNO: greylisting only ever
 * delays. The first answer that lets a triplet through says how long it was delayed, once per message.
 */
#include "receive/receive_greylist.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "policy/restriction.h"

enum {
    ATTRIBUTES_MAX = 200,
    ATTRIBUTE_BYTES_MAX = 4096, /* a line */
    VALUE_MAX = ENVELOPE_ADDRESS_MAX,
    REQUEST_MS = 10000, /* from its first byte to its last */
    IDLE_STEP_MS = 500, /* how often a silent connection looks whether the process ends */
    LOG_VALUE_MAX = 256,
};

enum attribute {
    REQUEST_TYPE,
    STATE,
    CLIENT_ADDRESS,
    CLIENT_NAME,
    SENDER,
    RECIPIENT,
    INSTANCE,
    SASL_USERNAME,
    ATTRIBUTE_COUNT
};

static const char *const NAMES[ATTRIBUTE_COUNT] = {[REQUEST_TYPE] = "request",
                                                   [STATE] = "protocol_state",
                                                   [CLIENT_ADDRESS] = "client_address",
                                                   [CLIENT_NAME] = "client_name",
                                                   [SENDER] = "sender",
                                                   [RECIPIENT] = "recipient",
                                                   [INSTANCE] = "instance",
                                                   [SASL_USERNAME] = "sasl_username"};

struct request {
    char values[ATTRIBUTE_COUNT][VALUE_MAX + 1];
};

struct connection {
    struct receive_tools *tools;
    const struct receive_port *port;
    struct stream *stream;
    char told[VALUE_MAX + 1]; /* the message that was last given an X-Greylist field */
    struct request request;
};

/* A NUL in a value would hide what follows it. */
static int
keep(struct request *request, struct bytes line)
{
    ptrdiff_t equals = bytes_index(line, '=');

    if (equals < 0 || bytes_index(line, '\0') >= 0) {
        return GW_ERR_SYNTAX;
    }
    struct bytes name = bytes_sub(line, 0, (size_t)equals),
                 value = bytes_sub(line, (size_t)equals + 1, line.n);
    for (size_t i = 0; i < ATTRIBUTE_COUNT; i++) {
        if (bytes_equal(name, bytes_str(NAMES[i]))) {
            if (value.n > VALUE_MAX) {
                return GW_ERR_LIMIT;
            }
            memcpy(request->values[i], value.p, value.n);
            request->values[i][value.n] = '\0';
        }
    }
    return 0;
}

/* Waits for the first byte of a request. GW_ERR_EOF also when this process is to end. */
static int
await_request(struct connection *connection)
{
    int64_t end_ms = clock_monotonic_ms() + connection->port->timeout_ms;

    while (stream_buffered(connection->stream).n == 0) {
        struct pollfd one = {.fd = stream_fd(connection->stream), .events = POLLIN};

        if (poll(&one, 1, IDLE_STEP_MS) > 0) {
            return 0; /* the end of the connection is read as such */
        }
        /* Who keeps a connection for later must not keep others out: he finds it closed and comes again. */
        bool crowded = atomic_load(&connection->port->idle) == 0 &&
                       atomic_load(&connection->port->threads) >= connection->port->max_sessions;
        if (crowded || atomic_load(&connection->tools->shared->draining) != 0 ||
            clock_monotonic_ms() >= end_ms) {
            return GW_ERR_EOF;
        }
    }
    return 0;
}

static int
read_request(struct connection *connection)
{
    struct request *request = &connection->request;
    struct bytes line;
    int r = await_request(connection);

    for (size_t i = 0; i < ATTRIBUTE_COUNT; i++) {
        request->values[i][0] = '\0';
    }
    stream_set_deadline(connection->stream, clock_monotonic_ms() + REQUEST_MS);
    for (int count = 0; r == 0; count++) {
        if (count > ATTRIBUTES_MAX) {
            return GW_ERR_LIMIT;
        }
        r = stream_read_line(connection->stream, ATTRIBUTE_BYTES_MAX, &line);
        if (r == 0 && line.n == 0) {
            return strcmp(request->values[REQUEST_TYPE], "smtpd_access_policy") == 0 ? 0 : GW_ERR_SYNTAX;
        }
        r = r == 0 ? keep(request, line) : r;
    }
    return r;
}

/* As postgrey logs it, for those who read its lines. */
static void
log_action(const struct request *request, const char *action, const char *reason, int64_t seconds)
{
    static const enum attribute TOLD[] = {CLIENT_NAME, CLIENT_ADDRESS, SENDER, RECIPIENT};
    struct buf text;

    buf_init(&text, 2048);
    (void)buf_printf(&text, "action=%s, reason=%s", action, reason);
    if (seconds >= 0) {
        (void)buf_printf(&text, ", delay=%lld", (long long)seconds);
    }
    for (size_t i = 0; i < sizeof(TOLD) / sizeof(TOLD[0]); i++) {
        (void)buf_printf(&text, ", %s=", NAMES[TOLD[i]]);
        (void)buf_append_printable(&text, bytes_str(request->values[TOLD[i]]), LOG_VALUE_MAX, true);
    }
    log_info("greylist", "%s", buf_str(&text));
    buf_free(&text);
}

static int
answer_delayed(struct connection *connection, int64_t seconds)
{
    const char *instance = connection->request.values[INSTANCE];
    time_t now = time(NULL);
    char date[64];
    struct tm tm;

    if (instance[0] != '\0' && strcmp(instance, connection->told) == 0) {
        return stream_printf(connection->stream, "action=DUNNO\n\n");
    }
    memcpy(connection->told, instance, sizeof(connection->told));
    if (localtime_r(&now, &tm) == NULL ||
        strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S %z", &tm) == 0) {
        return GW_ERR_SYS;
    }
    return stream_printf(connection->stream,
                         "action=PREPEND X-Greylist: delayed %lld seconds by estafeta at %s; %s\n\n",
                         (long long)seconds, connection->port->myhostname, date);
}

static int
answer(struct connection *connection)
{
    const struct request *request = &connection->request;
    struct wire_triplet triplet = {.sender = bytes_str(request->values[SENDER]),
                                   .recipient = bytes_str(request->values[RECIPIENT])};
    struct wire_greylist_answer found = {0};
    const char *why = NULL;

    if (strcmp(request->values[STATE], "RCPT") != 0 || request->values[SASL_USERNAME][0] != '\0') {
        return stream_printf(connection->stream, "action=DUNNO\n\n");
    }
    if (triplet.recipient.n == 0 ||
        net_addr_parse(bytes_str(request->values[CLIENT_ADDRESS]), &triplet.client) != 0) {
        why = "incomplete request";
    } else if (restriction_greylist_ask(&connection->tools->policy, &triplet, &found) != 0) {
        why = "the policy role cannot be asked";
    }
    if (why != NULL) {
        log_action(request, "dunno", why, -1);
        return stream_printf(connection->stream, "action=DUNNO\n\n");
    }
    int64_t seconds = clock_wall_s() - found.first_s;
    if (found.pass == WIRE_GREYLIST_WAIT) {
        log_action(request, "greylist", seconds > 0 ? "early-retry" : "new", -1);
        return stream_printf(connection->stream,
                             "action=DEFER_IF_PERMIT 4.2.0 Greylisted, try again later\n\n");
    }
    if (found.pass == WIRE_GREYLIST_FIRST_PASS) {
        log_action(request, "pass", "triplet found", seconds);
        return answer_delayed(connection, seconds);
    }
    log_action(request, "pass", "triplet found", -1);
    return stream_printf(connection->stream, "action=DUNNO\n\n");
}

void
receive_greylist_run(struct receive_tools *tools, const struct receive_port *port, int fd,
                     const struct net_addr *client)
{
    struct connection connection = {.tools = tools, .port = port, .stream = tools->stream};
    char address[NET_ADDR_TEXT_MAX];
    int r = 0;

    net_addr_format(client, address);
    stream_attach_accepted(tools->stream, fd);
    if (match_list_client(port->mynetworks, NULL, client) != 1) {
        log_warning("greylist", "%s is not in mynetworks: not served", address);
        r = GW_ERR_EOF;
    }
    while (r == 0 && (r = read_request(&connection)) == 0) {
        stream_set_deadline(connection.stream, clock_monotonic_ms() + REQUEST_MS);
        r = answer(&connection);
        r = r == 0 ? stream_flush(connection.stream) : r;
    }
    if (r == GW_ERR_SYNTAX || r == GW_ERR_LIMIT) {
        log_warning("greylist", "no policy request from %s: %s", address, gw_strerror(r));
    }
    stream_detach_close(tools->stream);
}

/*
 * relay_xforward - see the header. Before: relay_session.c (what the server takes) and relay_transaction.c
 * (when to send it); after: the stream.
 *
 * What is not known is sent as [UNAVAILABLE], so that a filter never takes our own address for the client's.
 */
#include "relay/relay_xforward.h"

#include <stdio.h>
#include <string.h>

enum attribute { NAME, ADDR, PORT, PROTO, HELO, IDENT, SOURCE, ATTRIBUTES };

static const char *const NAMES[ATTRIBUTES] = {
    [NAME] = "NAME", [ADDR] = "ADDR",   [PORT] = "PORT",     [PROTO] = "PROTO",
    [HELO] = "HELO", [IDENT] = "IDENT", [SOURCE] = "SOURCE",
};

uint32_t
relay_xforward_offered(struct bytes words)
{
    uint32_t bits = 0;
    struct bytes word;

    while (bytes_next_token(&words, " \t", &word)) {
        for (int i = 0; i < ATTRIBUTES; i++) {
            if (bytes_equal_nocase(word, bytes_str(NAMES[i]))) {
                bits |= 1u << i;
            }
        }
    }
    return bits;
}

int
relay_xforward_xtext(struct buf *out, struct bytes value)
{
    int r = 0;

    for (size_t i = 0; i < value.n && r == 0; i++) {
        uint8_t c = value.p[i];

        if (c > 32 && c < 127 && c != '+' && c != '=') {
            r = buf_append_byte(out, c);
        } else {
            r = buf_printf(out, "+%02X", c);
        }
    }
    return r;
}

/* The value of one attribute, or "" when it is not known. */
static void
describe(enum attribute attribute, const struct envelope *envelope, char *text, size_t size)
{
    const struct session_facts *facts = &envelope->session;
    char address[NET_ADDR_TEXT_MAX];
    bool known = facts->client.family != 0;

    text[0] = '\0';
    switch (attribute) {
    case NAME:
        (void)snprintf(text, size, "%s", known && strcmp(facts->name, "unknown") != 0 ? facts->name : "");
        break;
    case ADDR:
        net_addr_format(&facts->client, address);
        if (known) {
            (void)snprintf(text, size, "%s%s", facts->client.family == AF_INET6 ? "IPv6:" : "", address);
        }
        break;
    case PORT:
        if (known && facts->client.port != 0) {
            (void)snprintf(text, size, "%u", (unsigned)facts->client.port);
        }
        break;
    case PROTO:
        (void)snprintf(text, size, "%s", facts->protocol);
        break;
    case HELO:
        (void)snprintf(text, size, "%s", facts->helo);
        break;
    case IDENT:
        (void)snprintf(text, size, "%s", envelope->queue_id);
        break;
    case SOURCE:
        (void)snprintf(text, size, "%s", envelope->local_origin ? "LOCAL" : "REMOTE");
        break;
    case ATTRIBUTES:
        break;
    }
}

int
relay_xforward_append(struct buf *out, uint32_t offered, const struct envelope *envelope)
{
    char text[SESSION_HELO_MAX];
    int r = buf_append_str(out, "XFORWARD");

    for (int i = 0; i < ATTRIBUTES && r == 0; i++) {
        if ((offered & (1u << i)) == 0) {
            continue;
        }
        describe((enum attribute)i, envelope, text, sizeof(text));
        if ((r = buf_printf(out, " %s=", NAMES[i])) == 0) {
            r = text[0] != '\0' ? relay_xforward_xtext(out, bytes_str(text))
                                : buf_append_str(out, "[UNAVAILABLE]");
        }
    }
    return r == 0 ? buf_append_str(out, "\r\n") : r;
}

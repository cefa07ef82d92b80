/*
 * relay_outcome - see the header. Before: relay_session.c and relay_transaction.c, where failures happen;
 * after: relay_delivery.c, which goes to the next host or settles the recipients.
 *
 * Owns no state. An unknown case is deferred: the default of every field is "try again later".
 */
#include "relay/relay_outcome.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

static const struct relay_rule RULES[RELAY_SCOPES][RELAY_KINDS] =
    {
        [RELAY_SCOPE_CONNECT] =
            {
                [RELAY_KIND_SOFT] = {true, DELIVERY_DEFERRED, true},
                [RELAY_KIND_HARD] = {true, DELIVERY_DEFERRED, true},
                [RELAY_KIND_BROKEN] = {true, DELIVERY_DEFERRED, true},
            },
        [RELAY_SCOPE_SITE] =
            {
                [RELAY_KIND_SOFT] = {true, DELIVERY_DEFERRED, true},
                [RELAY_KIND_HARD] = {true, DELIVERY_BOUNCED, false},
                [RELAY_KIND_BROKEN] = {true, DELIVERY_DEFERRED, true},
            },
        [RELAY_SCOPE_MESSAGE] =
            {
                [RELAY_KIND_SOFT] = {true, DELIVERY_DEFERRED, false},
                [RELAY_KIND_HARD] = {false, DELIVERY_BOUNCED, false},
                [RELAY_KIND_BROKEN] = {true, DELIVERY_DEFERRED, false},
            },
        [RELAY_SCOPE_RECIPIENT] =
            {
                [RELAY_KIND_SOFT] = {true, DELIVERY_DEFERRED, false},
                [RELAY_KIND_HARD] = {false, DELIVERY_BOUNCED, false},
                [RELAY_KIND_BROKEN] = {true, DELIVERY_DEFERRED, false},
            },
        /* After the dot the host may hold the message: another host now would make a duplicate certain where
         * a later retry makes it only possible (RFC 5321 section 4.5.3.2.6). */
        [RELAY_SCOPE_END] =
            {
                [RELAY_KIND_SOFT] = {true, DELIVERY_DEFERRED, false},
                [RELAY_KIND_HARD] = {false, DELIVERY_BOUNCED, false},
                [RELAY_KIND_BROKEN] = {false, DELIVERY_DEFERRED, false},
            },
};

static const struct relay_rule UNKNOWN = {false, DELIVERY_DEFERRED, false};

const struct relay_rule *
relay_outcome_rule(enum relay_scope scope, enum relay_kind kind)
{
    return scope < RELAY_SCOPES && kind < RELAY_KINDS ? &RULES[scope][kind] : &UNKNOWN;
}

enum relay_kind
relay_outcome_kind(int code)
{
    return code >= 500 && code <= 599 ? RELAY_KIND_HARD : RELAY_KIND_SOFT;
}

void
relay_outcome_set(struct relay_trouble *trouble, enum relay_scope scope, enum relay_kind kind,
                  const char *dsn, const char *format, ...)
{
    va_list args;

    trouble->scope = scope;
    trouble->kind = kind;
    trouble->failure.status = relay_outcome_rule(scope, kind)->status;
    (void)snprintf(trouble->failure.dsn, sizeof(trouble->failure.dsn), "%s", dsn);
    va_start(args, format);
    (void)vsnprintf(trouble->failure.text, sizeof(trouble->failure.text), format, args);
    va_end(args);
}

/* The host's own status code when it fits what we do with it, else the general one of that class. */
static void
fit_dsn(struct relay_trouble *trouble, const char *dsn)
{
    char class = trouble->kind == RELAY_KIND_HARD ? '5' : '4';

    if (dsn[0] == class) {
        (void)snprintf(trouble->failure.dsn, sizeof(trouble->failure.dsn), "%s", dsn);
    } else if (dsn[0] != '\0' && strlen(dsn) > 2) {
        (void)snprintf(trouble->failure.dsn, sizeof(trouble->failure.dsn), "%c%s", class, dsn + 1);
    } else {
        (void)snprintf(trouble->failure.dsn, sizeof(trouble->failure.dsn), "%c.0.0", class);
    }
}

void
relay_outcome_said(struct relay_trouble *trouble, enum relay_scope scope, const char *host, int code,
                   const char *dsn, struct bytes reply, const char *command)
{
    relay_outcome_set(trouble, scope, relay_outcome_kind(code), "", "host %s said: %.*s (in reply to %s)",
                      host, BYTES_FMT(bytes_sub(reply, 0, RELAY_TEXT_MAX / 2)), command);
    fit_dsn(trouble, dsn);
}

void
relay_outcome_refused(struct relay_trouble *trouble, const char *host, int code, const char *dsn,
                      struct bytes reply)
{
    relay_outcome_set(trouble, RELAY_SCOPE_SITE, relay_outcome_kind(code), "",
                      "host %s refused to talk to me: %.*s", host,
                      BYTES_FMT(bytes_sub(reply, 0, RELAY_TEXT_MAX / 2)));
    fit_dsn(trouble, dsn);
}

void
relay_outcome_broken(struct relay_trouble *trouble, enum relay_scope scope, const char *host, int error,
                     const char *stage)
{
    if (error == GW_ERR_TIMEOUT) {
        relay_outcome_set(trouble, scope, RELAY_KIND_BROKEN, "4.4.2",
                          "conversation with %s timed out while %s", host, stage);
    } else if (error == GW_ERR_PEER || error == GW_ERR_SYNTAX || error == GW_ERR_LIMIT) {
        relay_outcome_set(trouble, scope, RELAY_KIND_BROKEN, "4.5.0", "protocol error from %s while %s", host,
                          stage);
    } else {
        relay_outcome_set(trouble, scope, RELAY_KIND_BROKEN, "4.4.2", "lost connection with %s while %s",
                          host, stage);
    }
}

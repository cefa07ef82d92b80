/*
 * restriction_service - check_policy_service: asks a policy server over Postfix's delegation protocol
 * (SMTPD_POLICY_README): name=value lines, an empty line, and "action=..." back.
 *
 * Before: restriction.c; after: restriction_server.c has the connection, and the action is that of an access
 * table. A server that cannot be asked, or answers nonsense, is smtpd_policy_service_default_action:
 * 451 4.3.5 by default.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/stream.h"
#include "policy/restriction_internal.h"
#include "policy/restriction_server.h"

enum { ATTRIBUTE_MAX = 2048, LINE_BYTES_MAX = 4096 };

/* The command under way: a list of an earlier stage may have waited for RCPT (smtpd_delay_reject). */
static const char *
protocol_state(const struct restriction_run *run)
{
    static const char *const STATES[STAGE_COUNT] = {
        [STAGE_CLIENT] = "CONNECT", [STAGE_HELO] = "HELO",
        [STAGE_SENDER] = "MAIL",    [STAGE_RELAY] = "RCPT",
        [STAGE_RECIPIENT] = "RCPT", [STAGE_DATA] = "DATA",
        [STAGE_ETRN] = "ETRN",      [STAGE_END_OF_DATA] = "END-OF-MESSAGE",
        [STAGE_VRFY] = "VRFY",
    };
    return run->facts->has_recipient && run->stage < STAGE_RELAY ? "RCPT" : STATES[run->stage];
}

/* A value may not end its line: what the client said is printable before it goes out. */
static int
put(struct stream *stream, const char *name, struct bytes value)
{
    struct buf text;

    buf_init(&text, ATTRIBUTE_MAX);
    (void)buf_append_printable(&text, bytes_sub(value, 0, ATTRIBUTE_MAX), ATTRIBUTE_MAX, true);
    int r = stream_printf(stream, "%s=%s\n", name, buf_str(&text));
    buf_free(&text);
    return r;
}

static int
send_request(const struct restriction_run *run, struct stream *stream)
{
    const struct restriction_facts *facts = run->facts;
    const struct session_facts *session = facts->session;
    char address[NET_ADDR_TEXT_MAX], server[NET_ADDR_TEXT_MAX], count[24], size[24], port[12],
        server_port[12], bits[12];

    net_addr_format(&session->client, address);
    net_addr_format(&session->server, server);
    (void)snprintf(count, sizeof(count), "%zu",
                   run->stage > STAGE_RECIPIENT ? facts->envelope->recipient_count : 0);
    (void)snprintf(size, sizeof(size), "%llu", (unsigned long long)facts->size);
    (void)snprintf(port, sizeof(port), "%u", session->client.port);
    (void)snprintf(server_port, sizeof(server_port), "%u", session->server.port);
    (void)snprintf(bits, sizeof(bits), "%u", session->tls_bits);
    const struct {
        const char *name;
        struct bytes value;
    } attributes[] = {
        {"request", BYTES_LIT("smtpd_access_policy")},
        {"protocol_state", bytes_str(protocol_state(run))},
        {"protocol_name", bytes_str(session->protocol)},
        {"client_address", bytes_str(address)},
        {"client_name", bytes_str(session->name)},
        {"client_port", bytes_str(port)},
        {"reverse_client_name", bytes_str(session->reverse_name)},
        {"server_address", bytes_str(server)},
        {"server_port", bytes_str(server_port)},
        {"helo_name", bytes_str(session->helo)},
        {"sender", facts->sender},
        {"recipient", run->stage == STAGE_ETRN ? (struct bytes){0} : facts->recipient},
        {"recipient_count", bytes_str(count)},
        {"queue_id", bytes_str(facts->envelope->queue_id)},
        {"instance", bytes_str(session->ident)},
        {"size", bytes_str(size)},
        {"etrn_domain", run->stage == STAGE_ETRN ? facts->recipient : (struct bytes){0}},
        {"stress", {0}},
        {"sasl_method", bytes_str(session->sasl_method)},
        {"sasl_username", bytes_str(session->sasl_user)},
        {"sasl_sender", {0}},
        {"ccert_subject", {0}},
        {"ccert_issuer", {0}},
        {"ccert_fingerprint", {0}},
        {"ccert_pubkey_fingerprint", {0}},
        {"encryption_protocol", bytes_str(session->tls_protocol)},
        {"encryption_cipher", bytes_str(session->tls_cipher)},
        {"encryption_keysize", bytes_str(bits)},
        {"policy_context", bytes_str(config_str(run->view, P_smtpd_policy_service_policy_context))},
        {"compatibility_level", bytes_str(config_str(run->view, P_compatibility_level))},
        {"mail_version", bytes_str(config_str(run->view, P_mail_version))},
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < sizeof(attributes) / sizeof(attributes[0]); i++) {
        r = put(stream, attributes[i].name, attributes[i].value);
    }
    r = r == 0 ? stream_printf(stream, "\n") : r;
    return r == 0 ? stream_flush(stream) : r;
}

/* "action=..." and an empty line; other names are for later versions. */
static int
receive_action(struct stream *stream, struct buf *action)
{
    struct bytes line;
    int r;

    while ((r = stream_read_line(stream, LINE_BYTES_MAX, &line)) == 0 && line.n > 0) {
        if (bytes_has_prefix_nocase(line, BYTES_LIT("action="))) {
            buf_clear(action);
            r = buf_append_bytes(action, bytes_sub(line, 7, line.n));
            if (r != 0) {
                return r;
            }
        }
    }
    return r != 0 ? r : action->n > 0 ? 0 : GW_ERR_SYNTAX;
}

struct question {
    const struct restriction_run *run;
    struct buf *action;
};

static int
ask(void *context, struct stream *stream)
{
    struct question *question = context;
    int r = send_request(question->run, stream);

    buf_clear(question->action);
    return r == 0 ? receive_action(stream, question->action) : r;
}

enum restriction_step
restriction_policy_service(struct restriction_run *run, const struct restriction_item *item)
{
    struct bytes words = bytes_str(item->argument), server;
    struct buf action;
    char *name;
    enum restriction_step step;

    /* "{ inet:host:port, timeout=10s, default_action=DUNNO }": the server is the first word. */
    if (!bytes_next_token(&words, ", \t", &server) || (name = bytes_dup_str(server)) == NULL) {
        return restriction_refuse(run, restriction_subject_of(run, item), 451, "4.3.5",
                                  "Server configuration error");
    }
    buf_init(&action, ATTRIBUTE_MAX);
    struct question question = {run, &action};
    int r = restriction_server_ask(run->facts->servers, run->view, name, ask, &question);
    if (r != 0) {
        log_warning("smtpd", "problem talking to server %s: %s", name, gw_strerror(r));
        buf_clear(&action);
        (void)buf_append_str(&action, config_str(run->view, P_smtpd_policy_service_default_action));
    }
    if (run->facts->evidence != NULL) {
        evidence_add(run->facts->evidence, EV_LOOKUP, server, run->facts->recipient, bytes_buf(&action),
                     (struct bytes){0}, 0);
    }
    step = restriction_act(run, restriction_subject_of(run, item), item->argument, bytes_buf(&action));
    buf_free(&action);
    free(name);
    return step;
}

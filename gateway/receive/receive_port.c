/*
 * receive_port - see the header. Before: receive_service.c; after: receive_session.c reads it.
 *
 * Everything a session could need from a file is opened here, before the jail. A table or list that does not
 * open refuses the port with the reason, so that master keeps the old generation.
 */
#include "receive/receive_port.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/tls.h"
#include "scanners/scanner.h"

enum { LINE_LENGTH_MIN = 512, SESSIONS_MAX = 2000, ERROR_MAX = 4096, NAME_MAX_BYTES = 128 };

static const struct {
    const char *word;
    unsigned bit;
} EHLO_WORDS[] = {
    {"pipelining", EHLO_PIPELINING},
    {"size", EHLO_SIZE},
    {"vrfy", EHLO_VRFY},
    {"etrn", EHLO_ETRN},
    {"starttls", EHLO_STARTTLS},
    {"enhancedstatuscodes", EHLO_ENHANCEDSTATUSCODES},
    {"8bitmime", EHLO_8BITMIME},
    {"dsn", EHLO_DSN},
    {"smtputf8", EHLO_SMTPUTF8},
    {"chunking", EHLO_CHUNKING},
    {"xclient", EHLO_XCLIENT},
    {"xforward", EHLO_XFORWARD},
};

static unsigned
parse_discard_words(const char *text)
{
    struct bytes rest = bytes_str(text), word;
    unsigned bits = 0;

    while (bytes_next_token(&rest, ", \t", &word)) {
        for (size_t i = 0; i < sizeof(EHLO_WORDS) / sizeof(EHLO_WORDS[0]); i++) {
            if (bytes_equal_nocase(word, bytes_str(EHLO_WORDS[i].word))) {
                bits |= EHLO_WORDS[i].bit;
            }
        }
    }
    return bits;
}

static void
read_settings(struct receive_port *port)
{
    const struct config *view = port->view;
    const char *newline = config_str(view, P_smtpd_forbid_bare_newline);
    const char *filter = config_str(view, P_content_filter);
    int64_t line = config_int(view, P_line_length_limit);

    port->content_filter = strcmp(filter, "scan:") == 0 ? "" : filter;
    port->helo_required = config_bool(view, P_smtpd_helo_required);
    port->delay_reject = config_bool(view, P_smtpd_delay_reject);
    port->relay_before_recipient = config_bool(view, P_smtpd_relay_before_recipient_restrictions);
    port->peername_lookup = config_bool(view, P_smtpd_peername_lookup);
    port->disable_vrfy = config_bool(view, P_disable_vrfy_command);
    port->strict_envelopes = config_bool(view, P_strict_rfc821_envelopes);
    port->reject_unlisted_recipient =
        config_bool(view, P_smtpd_reject_unlisted_recipient) &&
        strstr(config_str(view, P_receive_override_options), "no_unknown_recipient_checks") == NULL;
    port->smtputf8 = config_bool(view, P_smtputf8_enable);
    port->ehlo_discard = parse_discard_words(config_str(view, P_smtpd_discard_ehlo_keywords));
    port->bare_newline = strcmp(newline, "reject") == 0 ? BARE_NEWLINE_REJECT : BARE_NEWLINE_NORMALIZE;
    port->timeout_ms = config_int(view, P_smtpd_timeout) * 1000;
    port->starttls_timeout_ms = config_int(view, P_smtpd_starttls_timeout) * 1000;
    port->scan_time_ms = config_int(view, P_scan_time_limit) * 1000;
    port->error_sleep_ms = config_int(view, P_smtpd_error_sleep_time) * 1000;
    port->message_size_limit = config_int(view, P_message_size_limit);
    port->queue_minfree = config_int(view, P_queue_minfree);
    port->recipient_limit = config_int(view, P_smtpd_recipient_limit);
    port->recipient_overshoot_limit = config_int(view, P_smtpd_recipient_overshoot_limit);
    port->hopcount_limit = config_int(view, P_hopcount_limit);
    port->soft_error_limit = config_int(view, P_smtpd_soft_error_limit);
    port->hard_error_limit = config_int(view, P_smtpd_hard_error_limit);
    port->junk_command_limit = config_int(view, P_smtpd_junk_command_limit);
    port->line_length_limit = line < LINE_LENGTH_MIN ? LINE_LENGTH_MIN : (size_t)line;
    port->header_size_limit = config_int(view, P_header_size_limit);
    port->tls_loglevel = (int)config_int(view, P_smtpd_tls_loglevel);
    port->myhostname = config_str(view, P_myhostname);
    port->mail_name = config_str(view, P_mail_name);
    port->rates.connections = config_int(view, P_smtpd_client_connection_count_limit);
    port->rates.connection_rate = config_int(view, P_smtpd_client_connection_rate_limit);
    port->rates.message_rate = config_int(view, P_smtpd_client_message_rate_limit);
    port->rates.recipient_rate = config_int(view, P_smtpd_client_recipient_rate_limit);
    port->rates.unit_s = config_int(view, P_anvil_rate_time_unit);
}

/* "DIR/main.cf:12: name: " in front of a message about a parameter. */
static void
blame(const struct receive_port *port, enum param param, size_t from, struct buf *error_r)
{
    struct bytes told = bytes_sub(bytes_buf(error_r), from, error_r->n);
    bool named = bytes_has_prefix_nocase(told, bytes_str(PARAMS[param].name));
    struct buf text;

    buf_init(&text, ERROR_MAX);
    (void)buf_append_bytes(&text, told);
    buf_truncate(error_r, from);
    config_locate(port->view, param, error_r);
    (void)buf_printf(error_r, ": %s%s%s", named ? "" : PARAMS[param].name, named ? "" : ": ", buf_str(&text));
    buf_free(&text);
}

/* The message has the parameter's name at its beginning, as those of restrictions and the router do ("in
 * parameter NAME ..."). */
static void
blame_named(const struct receive_port *port, size_t from, struct buf *error_r)
{
    struct bytes rest = bytes_sub(bytes_buf(error_r), from, error_r->n), word;
    char name[NAME_MAX_BYTES];
    int param = -1;

    for (int i = 0; i < 3 && param < 0 && bytes_next_token(&rest, ": \t", &word); i++) {
        (void)snprintf(name, sizeof(name), "%.*s", BYTES_FMT(word));
        param = param_by_name(name);
    }
    if (param >= 0) {
        blame(port, (enum param)param, from, error_r);
    }
}

static int
open_list(struct receive_port *port, enum param param, unsigned flags, bool null_when_empty,
          struct match_list **list_r, struct buf *error_r)
{
    const char *text = config_str(port->view, param);

    if (null_when_empty && text[0] == '\0') {
        *list_r = NULL;
        return 0;
    }
    size_t before = error_r->n;
    int r = match_list_open(port->view, text, flags, list_r, error_r);
    if (r != 0) {
        blame(port, param, before, error_r);
    }
    return r;
}

static int
open_lists(struct receive_port *port, struct buf *error_r)
{
    int r;

    if ((r = open_list(port, P_mynetworks, MATCH_ADDRESSES, false, &port->mynetworks, error_r)) != 0 ||
        (r = open_list(port, P_smtpd_authorized_xclient_hosts, MATCH_ADDRESSES, true, &port->xclient_hosts,
                       error_r)) != 0 ||
        (r = open_list(port, P_smtpd_authorized_xforward_hosts, MATCH_ADDRESSES, true, &port->xforward_hosts,
                       error_r)) != 0 ||
        (r = open_list(port, P_smtpd_client_event_limit_exceptions, MATCH_ADDRESSES, false,
                       &port->event_limit_exceptions, error_r)) != 0) {
        return r;
    }
    size_t before = error_r->n;
    if ((r = receive_rewrite_open(port->view, &port->rewrite_clients, error_r)) != 0) {
        blame_named(port, before, error_r);
        return r;
    }
    if ((r = router_new(port->view, &port->router, error_r)) != 0) {
        blame_named(port, before, error_r);
        (void)buf_append_byte(error_r,
                              '\n'); /* the lists are compiled all the same: their mistakes are told, too */
        before = error_r->n;
    }
    int lists = restriction_set_new(port->view, port->router, &port->restrictions, error_r);
    if (lists != 0) {
        blame_named(port, before, error_r);
    } else if (r != 0) {
        buf_truncate(error_r, before - 1);
    }
    return r != 0 ? r : lists;
}

/* Encryption that was only offered is left out, and the service is up, as with Postfix; one that is required
 * ends the start. */
static int
without_tls(struct receive_port *port, const char *why, struct buf *error_r)
{
    struct buf text;

    if (port->tls_required) {
        (void)buf_printf(error_r, "smtpd_tls_cert_file = %s: %s",
                         config_str(port->view, P_smtpd_tls_cert_file), why);
        return GW_ERR_CONFIG;
    }
    buf_init(&text, ERROR_MAX);
    config_locate(port->view, P_smtpd_tls_cert_file, &text);
    (void)buf_printf(&text, ": smtpd_tls_cert_file = %s: %s", config_str(port->view, P_smtpd_tls_cert_file),
                     why);
    log_warning("smtpd", "%s; STARTTLS is not offered", buf_str(&text));
    buf_free(&text);
    port->tls_unavailable = true;
    return 0;
}

/* smtpd_tls_security_level may or encrypt, or the historical smtpd_use_tls and smtpd_enforce_tls. */
static int
open_tls(struct receive_port *port, struct buf *error_r)
{
    const struct config *view = port->view;
    const char *level = config_str(view, P_smtpd_tls_security_level);
    const char *cert = config_str(view, P_smtpd_tls_cert_file);
    struct tls_options options = {
        .server = true,
        .cert_file = cert,
        .key_file = config_str(view, P_smtpd_tls_key_file),
        .ca_file = config_str(view, P_smtpd_tls_CAfile),
        .ca_path = config_str(view, P_smtpd_tls_CApath),
        .protocols = config_str(view, P_smtpd_tls_protocols),
        .verify = config_bool(view, P_smtpd_tls_ask_ccert) ? TLS_VERIFY_ASK : TLS_VERIFY_NONE,
        .opportunistic = true,
        .session_s = config_int(view, P_smtpd_tls_session_cache_timeout),
    };

    if (level[0] == '\0') {
        level = config_bool(view, P_smtpd_enforce_tls) ? "encrypt"
                : config_bool(view, P_smtpd_use_tls)   ? "may"
                                                       : "none";
    }
    if (strcmp(level, "none") == 0) {
        return 0;
    }
    if (strcmp(level, "may") != 0 && strcmp(level, "encrypt") != 0) {
        (void)buf_printf(error_r, "smtpd_tls_security_level = %s: not a level; write none, may or encrypt",
                         level);
        return GW_ERR_CONFIG;
    }
    port->tls_required = strcmp(level, "encrypt") == 0;
    if (port->tls_required) {
        options.protocols = config_str(view, P_smtpd_tls_mandatory_protocols);
        options.opportunistic = false;
    }
    (void)tls_check_random_source(config_str(view, P_tls_random_source));
    if (cert[0] == '\0' || strcmp(cert, "none") == 0) {
        return without_tls(port,
                           "names no file: STARTTLS needs a PEM file with the certificate and its key, or "
                           "smtpd_tls_security_level = none",
                           error_r);
    }
    if (tls_context_new(&options, &port->tls) != 0) {
        return without_tls(port, "cannot be used; the log tells OpenSSL's reason", error_r);
    }
    return 0;
}

int
receive_port_new(const struct config *config, size_t service_index, int listen_fd,
                 struct receive_port **port_r, struct buf *error_r)
{
    int r = GW_ERR_NOMEM;
    const struct config_service *service = config_service(config, service_index);
    struct receive_port *port = calloc(1, sizeof(*port));

    *port_r = NULL;
    if (port == NULL) {
        return r;
    }
    port->view = config_view(config, service_index);
    port->service = service->name;
    port->is_greylist = strcmp(service->program, "greylist") == 0;
    port->listen_fd = listen_fd;
    port->max_sessions = service->max_processes;
    if (port->max_sessions < 0) {
        port->max_sessions = (int)config_int(port->view, P_default_process_limit);
    }
    if (port->max_sessions == 0 || port->max_sessions > SESSIONS_MAX) {
        port->max_sessions = SESSIONS_MAX;
    }
    read_settings(port);
    port->scan = scan_steps(port->view, scan_need(config))[0] != '\0';
    port->banner = strdup(config_str(port->view, P_smtpd_banner));
    if (port->banner == NULL) {
        goto out;
    }
    if ((r = open_lists(port, error_r)) != 0) {
        goto out;
    }
    size_t before = error_r->n;
    if ((r = open_tls(port, error_r)) != 0) {
        blame_named(port, before, error_r);
        goto out;
    }
    *port_r = port;
    port = NULL; /* transferred */
out:
    receive_port_free(&port);
    return r;
}

void
receive_port_free(struct receive_port **port)
{
    struct receive_port *p = *port;

    if (p == NULL) {
        return;
    }
    restriction_set_free(&p->restrictions);
    router_free(&p->router);
    match_list_free(&p->mynetworks);
    match_list_free(&p->xclient_hosts);
    match_list_free(&p->xforward_hosts);
    match_list_free(&p->event_limit_exceptions);
    receive_rewrite_close(&p->rewrite_clients);
    tls_context_free(&p->tls);
    free(p->banner);
    free(p);
    *port = NULL;
}

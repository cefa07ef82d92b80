/*
 * relay_settings - what one transport (a row of master.cf with program smtp or lmtp) says about its
 * connections.
 *
 * Read once from the row's view of the configuration, so that -o overrides count; shared by all threads and
 * immutable. TLS contexts are made here, before the jail.
 */
#ifndef RELAY_RELAY_SETTINGS_H
#define RELAY_RELAY_SETTINGS_H

#include "config/config.h"
#include "relay/relay_address.h"

enum relay_tls_level {
    RELAY_TLS_NONE,
    RELAY_TLS_MAY,
    RELAY_TLS_ENCRYPT,
    RELAY_TLS_VERIFY,
    RELAY_TLS_REFUSED
};

struct tls_context;

struct relay_settings {
    const char *transport; /* service name; belongs to the configuration */
    const char *program;   /* "smtp" or "lmtp": for log lines and the command verbs */
    bool lmtp;
    /* milliseconds */
    int64_t connect_ms, helo_ms, starttls_ms, xforward_ms, mail_ms, rcpt_ms, data_init_ms, data_xfer_ms,
        data_done_ms, rset_ms, quit_ms;
    int64_t cache_idle_ms; /* how long an unused connection is kept; 0: not at all */
    int64_t reuse_ms;      /* how old a connection may get */
    int64_t reuse_count;   /* deliveries over one connection; 0: no limit */
    int64_t session_limit; /* hosts that may be talked to for one delivery; 0: no limit */
    bool skip_5xx_greeting, send_xforward, never_ehlo, note_starttls_offer;
    const char *helo_name;
    struct net_addr bind4, bind6; /* smtp_bind_address; family 0: none */
    struct relay_address_rules address;
    enum relay_tls_level tls_level;
    int tls_loglevel;
    struct tls_context *tls; /* NULL with RELAY_TLS_NONE, or when it could not be made */
};

/* 0, or an error that was logged. */
int relay_settings_new(const struct config *config, size_t service, struct relay_settings **settings_r);
void relay_settings_free(struct relay_settings **settings);

#endif

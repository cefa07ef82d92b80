/*
 * receive_port - one smtpd row of master.cf, ready to serve: its settings read once, its tables, lists and
 * TLS opened.
 *
 * Made before the jail and never changed afterwards; shared by all threads of the port. A session reads its
 * settings here and nowhere else.
 */
#ifndef RECEIVE_RECEIVE_PORT_H
#define RECEIVE_RECEIVE_PORT_H

#include <stdatomic.h>

#include "config/config.h"
#include "config/table.h"
#include "policy/rates.h"
#include "policy/restriction.h"
#include "policy/route.h"
#include "receive/receive_rewrite.h"

enum bare_newline { BARE_NEWLINE_NORMALIZE, BARE_NEWLINE_REJECT };

struct tls_context;

struct receive_port {
    const struct config *view;
    const char *service; /* column 1 of master.cf */
    bool is_greylist;    /* a policy server, not SMTP */
    int listen_fd;       /* -1 for the port that screen hands connections to */
    int max_sessions;
    atomic_int threads, idle; /* of this port */

    struct router *router;
    struct restriction_set *restrictions;
    struct match_list *mynetworks;
    struct match_list *xclient_hosts;  /* NULL when empty */
    struct match_list *xforward_hosts; /* NULL when empty */
    struct match_list *event_limit_exceptions;
    struct rewrite_clients rewrite_clients;
    struct tls_context *tls; /* NULL: STARTTLS is not offered */

    bool scan;                  /* the scan role looks at it: content_filter = scan:, or rules alone */
    const char *content_filter; /* an external filter's transport:nexthop, or "" */
    bool tls_required;          /* smtpd_tls_security_level = encrypt */
    bool tls_unavailable;       /* wanted, but the certificate cannot be used */
    bool helo_required, delay_reject, relay_before_recipient, peername_lookup, disable_vrfy, strict_envelopes,
        reject_unlisted_recipient;
    bool smtputf8;
    unsigned ehlo_discard; /* bits: enum ehlo_keyword */
    enum bare_newline bare_newline;
    int64_t timeout_ms;
    int64_t starttls_timeout_ms;
    int64_t scan_time_ms;
    int64_t error_sleep_ms;
    int64_t message_size_limit; /* 0: unlimited */
    int64_t queue_minfree;
    int64_t recipient_overshoot_limit, recipient_limit;
    int64_t hopcount_limit;
    int64_t soft_error_limit, hard_error_limit, junk_command_limit;
    size_t line_length_limit;
    int64_t header_size_limit;
    int tls_loglevel;
    struct rates_limits rates;
    char *banner; /* smtpd_banner, expanded */
    const char *myhostname;
    const char *mail_name;
};

enum ehlo_keyword {
    EHLO_PIPELINING = 1,
    EHLO_SIZE = 2,
    EHLO_VRFY = 4,
    EHLO_ETRN = 8,
    EHLO_STARTTLS = 16,
    EHLO_ENHANCEDSTATUSCODES = 32,
    EHLO_8BITMIME = 64,
    EHLO_DSN = 128,
    EHLO_SMTPUTF8 = 256,
    EHLO_CHUNKING = 512,
    EHLO_XCLIENT = 1024,
    EHLO_XFORWARD = 2048,
};

/* service_index: the row. listen_fd: taken over; -1 for type "pass". error_r: what and where. GW_ERR_CONFIG.
 */
int receive_port_new(const struct config *config, size_t service_index, int listen_fd,
                     struct receive_port **port_r, struct buf *error_r);
void receive_port_free(struct receive_port **port);

#endif

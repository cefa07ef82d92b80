/*
 * session - the facts about a client that travel with its session and its messages.
 *
 * Learned by screen and receive, shown in logs, used by restrictions, scanners and the policy protocol, kept
 * in the envelope for XFORWARD and the evidence.
 */
#ifndef MESSAGE_SESSION_H
#define MESSAGE_SESSION_H

#include "base/net.h"

enum { SESSION_HELO_MAX = 512, SESSION_TEXT_MAX = 256 };

/* Postfix's name states: NONE no PTR, FAIL a definite mismatch, TEMP could not be asked. */
enum client_name_state { CLIENT_NAME_TEMP, CLIENT_NAME_NONE, CLIENT_NAME_FAIL, CLIENT_NAME_OK };

struct session_facts {
    struct net_addr client; /* with port */
    struct net_addr server;
    char name[NET_HOST_MAX];           /* verified name or "unknown" */
    char reverse_name[NET_HOST_MAX];   /* unverified PTR name or "unknown" */
    enum client_name_state name_state; /* of `name` */
    enum client_name_state reverse_state;
    char helo[SESSION_HELO_MAX];      /* as given; "" before HELO */
    char protocol[16];                /* SMTP, ESMTP, ESMTPS ... for Received */
    char sasl_user[SESSION_TEXT_MAX]; /* "" when not authenticated */
    char sasl_method[32];
    char tls_protocol[16]; /* "" without TLS */
    char tls_cipher[64];
    uint16_t tls_bits;
    char service[64]; /* row of master.cf that accepted it */
    char ident[32];   /* our id of the session; key of its evidence */
};

struct buf;
struct unpack;
int session_facts_pack(struct buf *buf, const struct session_facts *facts);
void session_facts_unpack(struct unpack *u, struct session_facts *facts_r);

#endif

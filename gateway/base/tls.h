/*
 * tls - OpenSSL contexts for the server and client side, and what a finished handshake agreed on.
 *
 * Contexts are made before the jail (they read key and certificate files) and are shared by all threads.
 * Protocol and cipher words are Postfix's (smtpd_tls_protocols, tls_medium_cipherlist ...). OpenSSL errors go
 * to the log with the file they belong to.
 */
#ifndef BASE_TLS_H
#define BASE_TLS_H

#include <stdbool.h>
#include <stdint.h>

struct tls_context;

enum tls_verify { TLS_VERIFY_NONE, TLS_VERIFY_ASK, TLS_VERIFY_REQUIRE };

struct tls_options {
    bool server;
    const char *cert_file; /* PEM chain; NULL or "" for none (client) */
    const char *key_file;  /* NULL: in cert_file */
    const char *ca_file;
    const char *ca_path;
    const char *protocols; /* Postfix syntax: ">=TLSv1", "!SSLv2, !SSLv3" */
    const char *ciphers;   /* OpenSSL cipher list; NULL: default */
    enum tls_verify verify;
    bool opportunistic; /* security level 0: any encryption is better than none */
    int64_t session_s;  /* how long a session may be resumed; 0: never. A server hands out tickets, a client
                           keeps  them in memory (tls_cache.c) */
};

struct tls_summary {
    char protocol[16]; /* "TLSv1.3" */
    char cipher[64];   /* "TLS_AES_256_GCM_SHA384" */
    int bits_used;
    int bits_total;
    char peer_name[256]; /* subject CN of the peer's certificate, printable; "" when none */
    bool peer_trusted;   /* chain verified */
    bool peer_matched;   /* and the name asked for is in it */
    bool resumed;        /* an earlier session went on: no certificate was shown this time */
};

/* 0, GW_ERR_TLS (logged with file and OpenSSL's reason), GW_ERR_NOMEM. */
int tls_context_new(const struct tls_options *options, struct tls_context **context_r);
void tls_context_free(struct tls_context **context);
/* tls_random_source: the kernel's generator is used whatever it says. False, with a warning in the log, when
 * it is not of the form dev:/path, egd:/path, prngd:/path or /path, or the device is not there. */
bool tls_check_random_source(const char *text);

#endif

/*
 * error - the one return grammar of the program.
 *
 * Functions that can fail return 0 or one of these negative values; incremental parsers return 1 (done), 0
 * (needs more) or a negative value; predicates return bool and are named is_ or has_. Output arguments end in
 * _r, are cleared on entry and set only on success. Three failures, three words: return an error (a peer's or
 * a message's fault), log_fatal (our environment; master restarts the role), panic (our bug). Neither of the
 * last two may be reached by bytes from a peer.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

enum gw_error {
    GW_OK = 0,
    GW_ERR_INTERNAL = -1, /* the initial value of every r; seen outside only when a path forgot to set it */
    GW_ERR_NOMEM = -2,
    GW_ERR_SYS = -3,      /* a system call failed; errno tells */
    GW_ERR_SYNTAX = -4,   /* the bytes are not of the form asked for */
    GW_ERR_LIMIT = -5,    /* a named limit was reached */
    GW_ERR_TIMEOUT = -6,  /* the deadline passed */
    GW_ERR_EOF = -7,      /* the peer closed */
    GW_ERR_PEER = -8,     /* the peer broke the protocol; cut it off */
    GW_ERR_NOTFOUND = -9, /* a definite "no such thing" */
    GW_ERR_TEMP = -10,    /* the answer cannot be had now; never to be read as "not found" */
    GW_ERR_DENIED = -11,
    GW_ERR_TLS = -12,
    GW_ERR_FULL = -13, /* disk, map or queue full */
    GW_ERR_EXISTS = -14,
    GW_ERR_CONFIG = -15, /* the configuration asks for what cannot be */
    GW_ERR_AGAIN = -16,  /* a non-blocking descriptor has nothing now */
};

/* Fixed English text for an error; never NULL. For logs, not for clients. */
const char *gw_strerror(int error);

#endif

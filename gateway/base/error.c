/*
 * error - see the header. One table of words.
 */
#include "base/error.h"

#include <stddef.h>

static const char *const WORDS[] = {
    [-GW_OK] = "ok",
    [-GW_ERR_INTERNAL] = "internal error",
    [-GW_ERR_NOMEM] = "out of memory",
    [-GW_ERR_SYS] = "system call failed",
    [-GW_ERR_SYNTAX] = "syntax error",
    [-GW_ERR_LIMIT] = "limit reached",
    [-GW_ERR_TIMEOUT] = "timed out",
    [-GW_ERR_EOF] = "connection closed",
    [-GW_ERR_PEER] = "protocol broken by the peer",
    [-GW_ERR_NOTFOUND] = "not found",
    [-GW_ERR_TEMP] = "cannot tell now",
    [-GW_ERR_DENIED] = "denied",
    [-GW_ERR_TLS] = "TLS error",
    [-GW_ERR_FULL] = "full",
    [-GW_ERR_EXISTS] = "exists already",
    [-GW_ERR_CONFIG] = "configuration error",
    [-GW_ERR_AGAIN] = "nothing now",
};

const char *
gw_strerror(int error)
{
    size_t index = error > 0 ? sizeof(WORDS) : (size_t) - (long)error;

    return index < sizeof(WORDS) / sizeof(WORDS[0]) && WORDS[index] != NULL ? WORDS[index] : "unknown error";
}

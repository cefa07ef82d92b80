/*
 * tls - see the header. Before: receive_port.c and the relay's settings at start; after: stream_tls.c.
 */
#include "base/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "base/stream_internal.h"
#include "base/tls_cache.h"

struct tls_context {
    SSL_CTX *ssl;
    struct tls_cache *cache; /* of a client that resumes; NULL otherwise */
};

static const struct {
    const char *name;
    int version;
    uint64_t off;
} PROTOCOLS[] = {
    {"SSLv2", 0, 0},
    {"SSLv3", SSL3_VERSION, SSL_OP_NO_SSLv3},
    {"TLSv1", TLS1_VERSION, SSL_OP_NO_TLSv1},
    {"TLSv1.1", TLS1_1_VERSION, SSL_OP_NO_TLSv1_1},
    {"TLSv1.2", TLS1_2_VERSION, SSL_OP_NO_TLSv1_2},
    {"TLSv1.3", TLS1_3_VERSION, SSL_OP_NO_TLSv1_3},
};

void
tls_take_error(char *out, size_t size)
{
    unsigned long code = ERR_peek_error();

    if (code == 0) {
        (void)snprintf(out, size, "unknown");
    } else {
        ERR_error_string_n(code, out, size);
    }
    ERR_clear_error();
}

SSL_CTX *
tls_context_ssl(struct tls_context *context)
{
    return context->ssl;
}

struct tls_cache *
tls_context_cache(struct tls_context *context)
{
    return context->cache;
}

static size_t
find_protocol(struct bytes name)
{
    size_t count = sizeof(PROTOCOLS) / sizeof(PROTOCOLS[0]);

    for (size_t i = 0; i < count; i++) {
        if (bytes_equal_nocase(name, bytes_str(PROTOCOLS[i].name))) {
            return i;
        }
    }
    return count;
}

/* ">=TLSv1", "<=TLSv1.2", "!SSLv3", "TLSv1.2" (those named and no others). GW_ERR_CONFIG: a word not
 * understood. */
static int
set_protocols(SSL_CTX *ssl, const char *text)
{
    struct bytes rest = bytes_str(text), word;
    size_t count = sizeof(PROTOCOLS) / sizeof(PROTOCOLS[0]);
    uint64_t named = 0;
    bool any_named = false;

    while (bytes_next_token(&rest, ":, \t", &word)) {
        bool low = bytes_has_prefix_nocase(word, BYTES_LIT(">="));
        bool high = bytes_has_prefix_nocase(word, BYTES_LIT("<="));
        bool not = word.p[0] == '!';
        size_t at = find_protocol(bytes_sub(word, low || high ? 2 : not ? 1 : 0, word.n));

        if (at == count) {
            return GW_ERR_CONFIG;
        }
        if (low) {
            (void)SSL_CTX_set_min_proto_version(ssl, PROTOCOLS[at].version);
        } else if (high) {
            (void)SSL_CTX_set_max_proto_version(ssl, PROTOCOLS[at].version);
        } else if (not ) {
            (void)SSL_CTX_set_options(ssl, PROTOCOLS[at].off);
        } else {
            any_named = true;
            named |= PROTOCOLS[at].off;
        }
    }
    for (size_t i = 0; any_named && i < count; i++) {
        if ((named & PROTOCOLS[i].off) == 0) {
            (void)SSL_CTX_set_options(ssl, PROTOCOLS[i].off);
        }
    }
    return 0;
}

static int
log_failure(const char *file)
{
    char reason[256];

    tls_take_error(reason, sizeof(reason));
    log_error("tls", "%s: %s", file, reason);
    return GW_ERR_TLS;
}

static bool
is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* Nobody is there to type a passphrase. */
static int
refuse_passphrase(char *out, int size, int writing, void *context)
{
    (void)out, (void)size, (void)writing, (void)context;
    return -1;
}

static int
load_files(SSL_CTX *ssl, const struct tls_options *options)
{
    const char *key = is_given(options->key_file) ? options->key_file : options->cert_file;

    SSL_CTX_set_default_passwd_cb(ssl, refuse_passphrase);
    if (is_given(options->cert_file) && SSL_CTX_use_certificate_chain_file(ssl, options->cert_file) != 1) {
        return log_failure(options->cert_file);
    }
    if (is_given(key) && (SSL_CTX_use_PrivateKey_file(ssl, key, SSL_FILETYPE_PEM) != 1 ||
                          SSL_CTX_check_private_key(ssl) != 1)) {
        return log_failure(key);
    }
    if (is_given(options->ca_file) && SSL_CTX_load_verify_file(ssl, options->ca_file) != 1) {
        return log_failure(options->ca_file);
    }
    if (is_given(options->ca_path) && SSL_CTX_load_verify_dir(ssl, options->ca_path) != 1) {
        return log_failure(options->ca_path);
    }
    return 0;
}

/* Opportunistic sessions go on whatever the certificate says; the summary tells what it said. */
static int
accept_any(int ok, X509_STORE_CTX *store)
{
    (void)ok;
    (void)store;
    return 1;
}

/* A server's tickets carry everything: nothing is kept here, and a new process simply does not know old ones.
 */
static int
set_sessions(struct tls_context *context, const struct tls_options *options)
{
    static const unsigned char ID[] = "smtp";

    if (options->session_s <= 0) {
        (void)SSL_CTX_set_session_cache_mode(context->ssl, SSL_SESS_CACHE_OFF);
        (void)SSL_CTX_set_options(context->ssl, SSL_OP_NO_TICKET);
        return !options->server || SSL_CTX_set_num_tickets(context->ssl, 0) == 1 ? 0 : GW_ERR_TLS;
    }
    (void)SSL_CTX_set_timeout(context->ssl, (long)options->session_s);
    if (options->server) {
        return SSL_CTX_set_session_id_context(context->ssl, ID, sizeof(ID) - 1) == 1 ? 0 : GW_ERR_TLS;
    }
    return tls_cache_new(context->ssl, options->session_s, &context->cache);
}

int
tls_context_new(const struct tls_options *options, struct tls_context **context_r)
{
    struct tls_context *context = calloc(1, sizeof(*context));
    int r = GW_ERR_NOMEM;

    *context_r = NULL;
    if (context == NULL) {
        return r;
    }
    context->ssl = SSL_CTX_new(options->server ? TLS_server_method() : TLS_client_method());
    if (context->ssl == NULL) {
        r = log_failure("OpenSSL");
        goto out;
    }
    (void)SSL_CTX_set_mode(context->ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE);
    (void)SSL_CTX_set_options(context->ssl,
                              SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (options->opportunistic) {
        SSL_CTX_set_security_level(context->ssl, 0);
    }
    if (is_given(options->protocols) && set_protocols(context->ssl, options->protocols) != 0) {
        log_error("tls", "protocols \"%s\" are not understood; write for example >=TLSv1.2",
                  options->protocols);
        r = GW_ERR_TLS;
        goto out;
    }
    if (is_given(options->ciphers) && SSL_CTX_set_cipher_list(context->ssl, options->ciphers) != 1) {
        r = log_failure(options->ciphers);
        goto out;
    }
    if ((r = load_files(context->ssl, options)) != 0 || (r = set_sessions(context, options)) != 0) {
        goto out;
    }
    if (options->verify == TLS_VERIFY_REQUIRE) {
        SSL_CTX_set_verify(context->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    } else if (options->verify == TLS_VERIFY_ASK) {
        SSL_CTX_set_verify(context->ssl, SSL_VERIFY_PEER, accept_any);
    }
    *context_r = context;
    context = NULL; /* transferred */
out:
    tls_context_free(&context);
    return r;
}

void
tls_context_free(struct tls_context **context)
{
    if (*context != NULL) {
        tls_cache_free(&(*context)->cache);
        SSL_CTX_free((*context)->ssl);
        free(*context);
        *context = NULL;
    }
}

bool
tls_check_random_source(const char *text)
{
    static const char *const KINDS[] = {"dev:", "egd:", "prngd:"};
    const char *path = text;

    for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++) {
        if (strncmp(text, KINDS[i], strlen(KINDS[i])) == 0) {
            path = text + strlen(KINDS[i]);
        }
    }
    if (text[0] == '\0' || (path[0] == '/' && access(path, R_OK) == 0)) {
        return true;
    }
    log_warning("tls", "tls_random_source = %s: %s: the kernel's generator is used, as always", text,
                path[0] == '/' ? strerror(errno) : "not of the form dev:/path");
    return false;
}

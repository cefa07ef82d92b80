/*
 * tls_test - streams with TLS underneath, over a socket pair and with a certificate made here: handshake,
 * what it agreed on, lines and files, a name that matches or does not, injection before the handshake, a peer
 * that talks something else, protocols that do not meet.
 *
 * Shows of contract.tsv: TLS1.
 */
#include "base/tls.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/stream.h"

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

enum { BIG = 1024 * 1024 + 3, WAIT_MS = 10000 };

static char directory[] = "/tmp/tls_test.XXXXXX";
static char cert_file[64];

/* A self-signed certificate for mx.example.test, with its key in the same file. */
static void
make_certificate(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_NAME *name = X509_get_subject_name(cert);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:mx.example.test");

    (void)X509_set_version(cert, 2);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    (void)X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    (void)X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    (void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"mx.example.test", -1,
                                     -1, 0);
    (void)X509_set_issuer_name(cert, name);
    (void)X509_add_ext(cert, names, -1);
    (void)X509_set_pubkey(cert, key);
    CHECK(X509_sign(cert, key, EVP_sha256()) > 0);
    (void)snprintf(cert_file, sizeof(cert_file), "%s/pem", directory);
    FILE *f = fopen(cert_file, "w");
    CHECK(f != NULL && PEM_write_X509(f, cert) == 1 &&
          PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1);
    (void)fclose(f);
    X509_EXTENSION_free(names);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static struct tls_context *
context_for(bool server, const char *protocols, bool trusts)
{
    struct tls_context *context = NULL;
    struct tls_options options = {.server = server,
                                  .cert_file = server ? cert_file : NULL,
                                  .ca_file = trusts ? cert_file : NULL,
                                  .protocols = protocols,
                                  .verify = server ? TLS_VERIFY_NONE : TLS_VERIFY_ASK};

    CHECK(tls_context_new(&options, &context) == 0 && context != NULL);
    return context;
}

struct session {
    struct stream *client, *server;
};

static struct session
open_session(void)
{
    struct session session;
    int fds[2];

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    session.client = stream_new(fds[0]);
    session.server = stream_new(fds[1]);
    stream_set_deadline(session.client, clock_monotonic_ms() + WAIT_MS);
    stream_set_deadline(session.server, clock_monotonic_ms() + WAIT_MS);
    return session;
}

static void
close_session(struct session *session)
{
    stream_free(&session->client);
    stream_free(&session->server);
}

struct serving {
    struct stream *stream;
    struct tls_context *context;
    int handshake;
    size_t received;
};

/* The server's side: handshake, then lines are echoed in capitals of one kind; at the end it counts what
 * comes. */
static void *
serve(void *context)
{
    struct serving *serving = context;
    struct bytes line;

    serving->handshake = stream_start_tls_server(serving->stream, serving->context);
    if (serving->handshake != 0) {
        return NULL;
    }
    while (stream_read_line(serving->stream, 1000, &line) == 0 && !bytes_equal(line, BYTES_LIT("DATA"))) {
        CHECK(stream_printf(serving->stream, "250 %.*s\r\n", BYTES_FMT(line)) == 0);
        CHECK(stream_flush(serving->stream) == 0);
    }
    for (;;) {
        serving->received += stream_buffered(serving->stream).n;
        stream_consume(serving->stream, SIZE_MAX);
        if (stream_fill(serving->stream) != 0) {
            return NULL;
        }
    }
}

static void
talk(struct stream *client)
{
    struct bytes line;
    int file = memfd_create("tls_test", MFD_CLOEXEC);

    CHECK(stream_write(client, BYTES_LIT("EHLO a\r\nNOOP\r\n")) == 0 && stream_flush(client) == 0);
    CHECK(stream_read_line(client, 1000, &line) == 0 && bytes_equal(line, BYTES_LIT("250 EHLO a")));
    CHECK(stream_read_line(client, 1000, &line) == 0 && bytes_equal(line, BYTES_LIT("250 NOOP")));
    CHECK(ftruncate(file, BIG) == 0);
    CHECK(stream_write(client, BYTES_LIT("DATA\r\n")) == 0 && stream_send_file(client, file, 0, BIG) == 0);
    CHECK(stream_flush(client) == 0);
    (void)close(file);
}

static void
test_session(const char *protocols, const char *expected, const char *name, bool trusts)
{
    struct session session = open_session();
    struct tls_context *server = context_for(true, NULL, false),
                       *client = context_for(false, protocols, trusts);
    struct serving serving = {.stream = session.server, .context = server};
    struct tls_summary summary;
    pthread_t thread;

    /* What was said in plaintext behind STARTTLS must not be read as if it had come encrypted (RFC 3207
     * section 5). */
    CHECK(stream_write(session.client, BYTES_LIT("STARTTLS\r\nMAIL FROM:<injected>\r\n")) == 0);
    CHECK(stream_flush(session.client) == 0);
    struct bytes line;
    CHECK(stream_read_line(session.server, 100, &line) == 0 && bytes_equal(line, BYTES_LIT("STARTTLS")));
    CHECK(pthread_create(&thread, NULL, serve, &serving) == 0);
    CHECK(stream_start_tls_client(session.client, client, name, NULL) == 0 && stream_is_tls(session.client));
    stream_tls_summary(session.client, &summary);
    CHECK(strcmp(summary.protocol, expected) == 0 && summary.cipher[0] != '\0' && summary.bits_used >= 128);
    CHECK(strcmp(summary.peer_name, "mx.example.test") == 0 && summary.peer_trusted == trusts);
    CHECK(summary.peer_matched == (strcmp(name, "mx.example.test") == 0));
    talk(session.client);
    stream_detach_close(session.client);
    (void)pthread_join(thread, NULL);
    CHECK(serving.handshake == 0 && serving.received == BIG);
    close_session(&session);
    tls_context_free(&server);
    tls_context_free(&client);
}

/* One short session under key; true when it went on from an earlier one. */
static bool
resumes(struct tls_context *server, struct tls_context *client, const char *key)
{
    struct session session = open_session();
    struct serving serving = {.stream = session.server, .context = server};
    struct tls_summary summary;
    struct bytes line;
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, serve, &serving) == 0);
    CHECK(stream_start_tls_client(session.client, client, "mx.example.test", key) == 0);
    stream_tls_summary(session.client, &summary);
    CHECK(strcmp(summary.peer_name, "mx.example.test") == 0 && summary.peer_trusted && summary.peer_matched);
    CHECK(stream_write(session.client, BYTES_LIT("NOOP\r\nDATA\r\n")) == 0 &&
          stream_flush(session.client) == 0);
    CHECK(stream_read_line(session.client, 1000, &line) == 0); /* TLS 1.3: the ticket comes before it */
    stream_detach_close(session.client);
    (void)pthread_join(thread, NULL);
    close_session(&session);
    return summary.resumed;
}

static void
test_resumption(const char *protocols)
{
    struct tls_options options = {
        .server = true, .cert_file = cert_file, .protocols = protocols, .session_s = 3600};
    struct tls_context *server, *client, *hasty;

    CHECK(tls_context_new(&options, &server) == 0);
    options = (struct tls_options){.ca_file = cert_file, .verify = TLS_VERIFY_ASK, .session_s = 3600};
    CHECK(tls_context_new(&options, &client) == 0);
    options.session_s = 1;
    CHECK(tls_context_new(&options, &hasty) == 0);
    CHECK(!resumes(server, client, "mx.example.test[192.0.2.1]:25"));
    CHECK(resumes(server, client, "mx.example.test[192.0.2.1]:25"));
    CHECK(resumes(server, client, "mx.example.test[192.0.2.1]:25"));
    CHECK(!resumes(server, client, "mx.example.test[192.0.2.2]:25"));
    CHECK(!resumes(server, client, NULL));
    CHECK(!resumes(server, hasty, "late") && resumes(server, hasty, "late"));
    (void)usleep(1300000);
    CHECK(!resumes(server, hasty, "late"));
    /* More servers than there is room for: each still works, and the newest resume. */
    char key[64];
    for (int i = 0; i < 1100; i += 11) {
        (void)snprintf(key, sizeof(key), "host%d[192.0.2.1]:25", i);
        CHECK(!resumes(server, client, key));
    }
    CHECK(resumes(server, client, key));
    tls_context_free(&server);
    tls_context_free(&client);
    tls_context_free(&hasty);
}

/* Neither side may hang or crash when the handshake cannot succeed; both know it failed. */
static void
test_no_common_protocol(void)
{
    struct session session = open_session();
    struct tls_context *server = context_for(true, ">=TLSv1.3", false),
                       *client = context_for(false, "<=TLSv1.2", false);
    struct serving serving = {.stream = session.server, .context = server};
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, serve, &serving) == 0);
    CHECK(stream_start_tls_client(session.client, client, NULL, NULL) == GW_ERR_TLS);
    CHECK(stream_tls_error(session.client)[0] != '\0');
    CHECK(stream_write(session.client, BYTES_LIT("plaintext by mistake")) == GW_ERR_TLS);
    (void)pthread_join(thread, NULL);
    CHECK(serving.handshake == GW_ERR_TLS);
    close_session(&session);
    tls_context_free(&server);
    tls_context_free(&client);
}

static void
test_no_handshake(void)
{
    struct session session = open_session();
    struct tls_context *server = context_for(true, NULL, false);

    CHECK(stream_write(session.client, BYTES_LIT("EHLO plain.test\r\nMAIL FROM:<a>\r\n")) == 0);
    CHECK(stream_flush(session.client) == 0);
    CHECK(stream_start_tls_server(session.server, server) == GW_ERR_TLS);
    close_session(&session);

    session = open_session(); /* says nothing: the deadline ends it */
    int64_t begun = clock_monotonic_ms();
    stream_set_deadline(session.server, begun + 300);
    CHECK(stream_start_tls_server(session.server, server) == GW_ERR_TIMEOUT);
    CHECK(clock_monotonic_ms() - begun < 3000);
    close_session(&session);

    session = open_session(); /* is gone */
    stream_free(&session.client);
    CHECK(stream_start_tls_server(session.server, server) == GW_ERR_EOF);
    close_session(&session);
    tls_context_free(&server);
}

static void
test_contexts(void)
{
    static const struct tls_options BAD[] = {
        {.server = true, .cert_file = "/nonexistent/pem"},
        {.server = true, .cert_file = cert_file, .key_file = "/nonexistent/key"},
        {.server = true, .cert_file = cert_file, .protocols = "TLSv9"},
        {.server = false, .ciphers = "NO-SUCH-CIPHER"},
        {.server = false, .ca_file = "/nonexistent/ca"},
    };
    struct tls_context *context;

    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        CHECK(tls_context_new(&BAD[i], &context) == GW_ERR_TLS && context == NULL);
    }
    tls_context_free(&context);
}

int
main(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    (void)sigaction(SIGPIPE, &ignore, NULL);
    if (mkdtemp(directory) == NULL) {
        return 1;
    }
    make_certificate();
    test_session(NULL, "TLSv1.3", "mx.example.test", true);
    test_session("!SSLv3, !TLSv1.3", "TLSv1.2", "mx.example.test", false);
    test_session("TLSv1.2", "TLSv1.2", "other.example.test", true);
    test_resumption(NULL);
    test_resumption("<=TLSv1.2");
    test_no_common_protocol();
    test_no_handshake();
    test_contexts();
    (void)unlink(cert_file);
    (void)rmdir(directory);
    return failures != 0;
}

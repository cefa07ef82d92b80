/*
 * dkim_test - messages signed here with fresh keys, verified with keys that a resolver of the test answers:
 * intact, changed, cut short by l=, weak, without a key, without DNS.
 *
 * Shows of contract.tsv: DKM1.
 */
#include "scanners/scan_rig.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <opendkim/dkim.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "scanners/dns_zone.h"

enum { KEY_TEXT_MAX = 4096, ZONE_MAX = 16, SIGNATURE_MAX = 4096, WEAK_BITS = 768 };

#define BODY "one line\r\nand another\r\n"
#define NAME(selector) selector "._domainkey.example.com"

struct key {
    char *private_pem;
    char record[KEY_TEXT_MAX]; /* the TXT record of the public half */
};

static struct zone_row zone[ZONE_MAX];
static DKIM_LIB *library;

/* The resolver: one connection, until its end. */
static void *
resolve(void *context)
{
    struct ipc_channel *channel = NULL;
    struct ipc_message message;
    struct buf out;

    buf_init(&out, 1024 * 1024);
    if (ipc_accept(*(const int *)context, ROLE_RESOLVER, ROLE_SCAN, false, &channel) == 0) {
        while (ipc_receive(channel, clock_monotonic_ms() + RIG_BUDGET_MS, &message) == 0) {
            char name[DNS_NAME_MAX + 1];
            struct dns_answer *answer = NULL;
            enum dns_type type;
            uint32_t budget_ms;

            buf_clear(&out);
            if (dns_wire_get_query(message.payload, name, &type, &budget_ms) != 0 ||
                zone_answer(zone, name, type, &answer) != 0 || dns_wire_put_answer(&out, answer) != 0 ||
                ipc_send(channel, DNS_IPC_ANSWER, message.id, bytes_buf(&out), NULL, 0) != 0) {
                rig_die("resolver");
            }
            dns_answer_free(&answer);
            ipc_message_free(&message);
        }
    }
    ipc_channel_free(&channel);
    buf_free(&out);
    return NULL;
}

/* ipc/resolver below the rig's directory, where ipc_connect() looks for it. */
static int
listen_as_resolver(const struct rig *rig)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "ipc/resolver"};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (chdir(rig->directory) == -1 || mkdir("ipc", 0700) == -1 || fd == -1 ||
        bind(fd, (const struct sockaddr *)&address, sizeof(address)) == -1 || listen(fd, 1) == -1) {
        rig_die("ipc/resolver");
    }
    return fd;
}

static void
make_key(unsigned bits, struct key *key_r)
{
    EVP_PKEY *key = EVP_RSA_gen(bits);
    BIO *bio = BIO_new(BIO_s_mem());
    unsigned char *der = NULL;
    char *pem;
    int n = key != NULL ? i2d_PUBKEY(key, &der) : 0;

    if (bio == NULL || n <= 0 || n > KEY_TEXT_MAX / 2 ||
        PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1) {
        rig_die("key");
    }
    long length = BIO_get_mem_data(bio, &pem);
    key_r->private_pem = strndup(pem, (size_t)length);
    size_t prefix = (size_t)snprintf(key_r->record, sizeof(key_r->record), "v=DKIM1; k=rsa; p=");
    (void)EVP_EncodeBlock((unsigned char *)key_r->record + prefix, der, n);
    OPENSSL_free(der);
    (void)BIO_free(bio);
    EVP_PKEY_free(key);
}

/* The DKIM-Signature field of a message of RIG_HEAD and BODY. length: what l= says, or -1. */
static char *
sign(const struct key *key, const char *selector, dkim_alg_t algorithm, ssize_t length)
{
    static char field[SIGNATURE_MAX];
    u_char text[SIGNATURE_MAX - 32];
    DKIM_STAT status = DKIM_STAT_INTERNAL;
    struct bytes rest = BYTES_LIT(RIG_HEAD), line;
    DKIM *dkim = dkim_sign(library, (const u_char *)"test", NULL, (u_char *)key->private_pem,
                           (const u_char *)selector, (const u_char *)"example.com", DKIM_CANON_RELAXED,
                           DKIM_CANON_SIMPLE, algorithm, length, &status);

    while (dkim != NULL && status == DKIM_STAT_OK && bytes_next_line(&rest, &line)) {
        status = dkim_header(dkim, (u_char *)(uintptr_t)line.p, line.n);
    }
    if (dkim == NULL || status != DKIM_STAT_OK || dkim_eoh(dkim) != DKIM_STAT_OK ||
        dkim_body(dkim, (u_char *)(uintptr_t)BODY, sizeof(BODY) - 1) != DKIM_STAT_OK ||
        dkim_eom(dkim, NULL) != DKIM_STAT_OK ||
        dkim_getsighdr(dkim, text, sizeof(text), 16) != DKIM_STAT_OK) {
        rig_die("signature");
    }
    (void)snprintf(field, sizeof(field), "DKIM-Signature: %s\r\n", (const char *)text);
    (void)dkim_free(dkim);
    return field;
}

/* Scans a message; the report's first result. */
static const struct scan_result *
verify(struct rig *rig, struct rig_scanner *scanner, const char *signatures, const char *head,
       const char *body, struct scan_report *report)
{
    struct buf text;

    buf_init(&text, 1024 * 1024);
    (void)buf_printf(&text, "%s%s\r\n%s", signatures, head, body);
    CHECK(rig_look(rig, scanner, bytes_buf(&text), report) == 0);
    buf_free(&text);
    CHECK(report->count > 0);
    return &report->results[0];
}

static void
expect(const struct scan_result *result, enum auth_result auth, const char *selector, const char *detail,
       int line)
{
    if (result->auth != auth || result->status != (auth == AUTH_FAIL ? SCAN_FOUND : SCAN_CLEAN) ||
        !bytes_equal(result->selector, bytes_str(selector)) ||
        !bytes_equal(result->domain, bytes_str(selector[0] != '\0' ? "example.com" : "")) ||
        !bytes_equal(result->detail, bytes_str(detail))) {
        (void)fprintf(stderr, "%s:%d: %s, status %d, s=%.*s d=%.*s, %.*s\n", __FILE__, line,
                      auth_result_word((enum auth_result)result->auth), result->status,
                      BYTES_FMT(result->selector), BYTES_FMT(result->domain), BYTES_FMT(result->detail));
        failures++;
    }
}

#define EXPECT(result, auth, selector, detail) expect(result, auth, selector, detail, __LINE__)

static void
test_changes(struct rig *rig, struct rig_scanner *scanner, const struct key *key)
{
    static const char BAD_BODY[] = "body hash did not verify", BAD_HEAD[] = "signature did not verify";
    struct scan_report report;
    char signature[SIGNATURE_MAX], many[12 * SIGNATURE_MAX];

    (void)snprintf(signature, sizeof(signature), "%s", sign(key, "good", DKIM_SIGN_RSASHA256, -1));
    EXPECT(verify(rig, scanner, "", RIG_HEAD, BODY, &report), AUTH_NONE, "", "no signature");
    EXPECT(verify(rig, scanner, signature, RIG_HEAD, BODY, &report), AUTH_PASS, "good", "");
    /* what relaxed and simple canonicalization forgive: blanks in the header, empty lines at the end */
    EXPECT(verify(rig, scanner, signature, "X-New: 1\r\n" RIG_HEAD, BODY "\r\n\r\n", &report), AUTH_PASS,
           "good", "");
    EXPECT(verify(rig, scanner, signature, RIG_HEAD, BODY "more\r\n", &report), AUTH_FAIL, "good", BAD_BODY);
    EXPECT(verify(rig, scanner, signature, RIG_HEAD, "One line\r\nand another\r\n", &report), AUTH_FAIL,
           "good", BAD_BODY);
    EXPECT(verify(rig, scanner, signature, RIG_HEAD, "", &report), AUTH_FAIL, "good", BAD_BODY);
    EXPECT(verify(rig, scanner, signature,
                  "From: ana@example.com\r\nTo: luis@example.org\r\nSubject: adios\r\nMessage-ID: "
                  "<1@example.com>\r\n",
                  BODY, &report),
           AUTH_FAIL, "good", BAD_HEAD);
    /* several signatures, each with its result; not more than eight */
    many[0] = '\0';
    for (size_t n = 0, used = 0; n < 10; n++) {
        used += (size_t)snprintf(many + used, sizeof(many) - used, "%s", signature);
    }
    (void)verify(rig, scanner, many, RIG_HEAD, BODY, &report);
    CHECK(report.count == 8);
    for (size_t i = 0; i < report.count; i++) {
        EXPECT(&report.results[i], AUTH_PASS, "good", "");
    }
}

static void
test_keys(struct rig *rig, struct rig_scanner *scanner, const struct key *key, const struct key *weak)
{
    struct scan_report report;

    EXPECT(verify(rig, scanner, sign(key, "absent", DKIM_SIGN_RSASHA256, -1), RIG_HEAD, BODY, &report),
           AUTH_PERMERROR, "absent", "no key for signature");
    EXPECT(verify(rig, scanner, sign(key, "twice", DKIM_SIGN_RSASHA256, -1), RIG_HEAD, BODY, &report),
           AUTH_PERMERROR, "twice", "no key for signature");
    EXPECT(verify(rig, scanner, sign(key, "down", DKIM_SIGN_RSASHA256, -1), RIG_HEAD, BODY, &report),
           AUTH_TEMPERROR, "down", "key unavailable");
    EXPECT(verify(rig, scanner, sign(key, "revoked", DKIM_SIGN_RSASHA256, -1), RIG_HEAD, BODY, &report),
           AUTH_PERMERROR, "revoked", "key revoked");
    EXPECT(verify(rig, scanner, sign(key, "weak", DKIM_SIGN_RSASHA256, -1), RIG_HEAD, BODY, &report),
           AUTH_FAIL, "weak", "signature did not verify"); /* another key than it was signed with */
    EXPECT(verify(rig, scanner, sign(weak, "weak", DKIM_SIGN_RSASHA256, -1), RIG_HEAD, BODY, &report),
           AUTH_POLICY, "weak", "signing key too small");
    EXPECT(verify(rig, scanner, sign(key, "good", DKIM_SIGN_RSASHA1, -1), RIG_HEAD, BODY, &report),
           AUTH_POLICY, "good", "rsa-sha1 is not accepted (RFC 8301)");
}

/* l=: a pass only when it covers all there is. */
static void
test_partial(struct rig *rig, struct rig_scanner *scanner, const struct key *key)
{
    struct scan_report report;
    char signature[SIGNATURE_MAX];

    (void)snprintf(signature, sizeof(signature), "%s",
                   sign(key, "good", DKIM_SIGN_RSASHA256, sizeof(BODY) - 1));
    EXPECT(verify(rig, scanner, signature, RIG_HEAD, BODY, &report), AUTH_PASS, "good", "");
    EXPECT(verify(rig, scanner, signature, RIG_HEAD, BODY "appended\r\n", &report), AUTH_POLICY, "good",
           "signature covers only a part of the body (l=)");
    EXPECT(verify(rig, scanner, sign(key, "good", DKIM_SIGN_RSASHA256, 0), RIG_HEAD, BODY, &report),
           AUTH_POLICY, "good", "signature covers only a part of the body (l=)");
}

/* Fields that are no signature never pass, and do not spoil the good one beside them. */
static void
test_broken(struct rig *rig, struct rig_scanner *scanner, const struct key *key)
{
    static const char *const FIELDS[] = {
        "DKIM-Signature: \r\n",
        "DKIM-Signature: v=1\r\n",
        "DKIM-Signature: v=2; a=rsa-sha256; d=example.com; s=good; h=From; bh=AAAA; b=AAAA\r\n",
        "DKIM-Signature: v=1; a=rsa-sha256; d=; s=; h=From; bh=AAAA; b=AAAA\r\n",
        "DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=good; h=Subject; bh=AAAA; b=AAAA\r\n",
        "DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=good; h=From; l=99999999999999999999; bh=AA; "
        "b=AA\r\n",
        "DKIM-Signature: v=1; a=none; d=example.com; s=good; h=From; bh=AAAA; b=AAAA\r\n",
        "DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=good; h=From; x=1; t=0; bh=AAAA; b=AAAA\r\n",
    };
    struct scan_report report;
    char both[2 * SIGNATURE_MAX];

    for (size_t i = 0; i < sizeof(FIELDS) / sizeof(FIELDS[0]); i++) {
        CHECK(verify(rig, scanner, FIELDS[i], RIG_HEAD, BODY, &report)->auth != AUTH_PASS);
        (void)snprintf(both, sizeof(both), "%s%s", FIELDS[i], sign(key, "good", DKIM_SIGN_RSASHA256, -1));
        (void)verify(rig, scanner, both, RIG_HEAD, BODY, &report);
        size_t passed = 0;
        for (size_t k = 0; k < report.count; k++) {
            passed += report.results[k].auth == AUTH_PASS;
        }
        CHECK(passed == 1);
    }
    EXPECT(verify(rig, scanner, FIELDS[1], RIG_HEAD, BODY, &report), AUTH_PERMERROR, "",
           "the signature could not be read");
}

int
main(void)
{
    static struct key key, weak;
    struct rig rig;
    struct rig_scanner scanner;
    pthread_t resolver;
    u_int bits = WEAK_BITS; /* the signing half of the test takes them, the scanner must not */

    make_key(2048, &key);
    make_key(WEAK_BITS, &weak);
    const struct zone_row rows[] = {
        {NAME("good"), DNS_TXT, key.record},
        {NAME("twice"), DNS_TXT, key.record},
        {NAME("twice"), DNS_TXT, key.record},
        {NAME("down"), DNS_TXT, ZONE_DOWN},
        {NAME("weak"), DNS_TXT, weak.record},
        {NAME("revoked"), DNS_TXT, "v=DKIM1; k=rsa; p="},
        {NULL, DNS_A, NULL},
    };
    memcpy(zone, rows, sizeof(rows));
    rig_open(&rig, "");
    int fd = listen_as_resolver(&rig);
    rig.dns = dns_client_new(ROLE_SCAN);
    library = dkim_init(NULL, NULL);
    if (library == NULL ||
        dkim_options(library, DKIM_OP_SETOPT, DKIM_OPTS_MINKEYBITS, &bits, sizeof(bits)) != DKIM_STAT_OK ||
        rig.dns == NULL || pthread_create(&resolver, NULL, resolve, &fd) != 0 ||
        rig_load(&rig, SCANNER_DKIM, &scanner) != 0) {
        rig_die("start");
    }
    test_changes(&rig, &scanner, &key);
    test_keys(&rig, &scanner, &key, &weak);
    test_partial(&rig, &scanner, &key);
    test_broken(&rig, &scanner, &key);
    rig_unload(&scanner);
    dkim_close(library);
    dns_client_free(&rig.dns);
    (void)pthread_join(resolver, NULL);
    (void)close(fd);
    (void)!chdir("/");
    rig_close(&rig);
    free(key.private_pem);
    free(weak.private_pem);
    return failures != 0;
}

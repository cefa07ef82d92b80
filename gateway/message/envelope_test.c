/*
 * envelope_test - building, limits, the byte form there and back, cut and damaged forms, queue ids.
 */
#include "message/envelope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/ipc.h"

static int failures;

#define CHECK(cond)                                                 \
    do {                                                            \
        if (!(cond)) {                                              \
            (void)printf("%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                             \
        }                                                           \
    } while (0)

#define ADD(envelope, address)                                                               \
    envelope_add_recipient(envelope, bytes_str(address), bytes_str(address), NOTIFY_DEFAULT, \
                           (struct bytes){0})

static struct envelope *
new_envelope(void)
{
    struct envelope *envelope = envelope_new();

    if (envelope == NULL) {
        exit(2);
    }
    return envelope;
}

/* Every field has a value of its own. */
static struct envelope *
fill(void)
{
    struct envelope *envelope = new_envelope();
    struct session_facts *facts = &envelope->session;

    queue_id_make(envelope->queue_id, 1795240908123456, 77);
    CHECK(envelope_set_sender(envelope, BYTES_LIT("ana@example.com")) == 0);
    CHECK(ADD(envelope, "luis@example.org") == 0);
    CHECK(envelope_add_recipient(envelope, BYTES_LIT("eva@example.org"), BYTES_LIT("Eva@example.org"),
                                 NOTIFY_SUCCESS | NOTIFY_DELAY, BYTES_LIT("rfc822;eva+40x")) == 0);
    envelope->size = 1ULL << 40;
    envelope->arrival_us = 1795240908123456;
    envelope->body = BODY_8BITMIME;
    envelope->smtputf8 = true;
    envelope->hold = true;
    envelope->dsn_ret = 'H';
    envelope->dsn_envid = BYTES_LIT("env+2Bid");
    envelope->content_filter = BYTES_LIT("smtp:[127.0.0.1]:10024");
    envelope->redirect = BYTES_LIT("other@example.org");
    envelope->message_id = BYTES_LIT("<1@example.com>");
    CHECK(net_addr_parse(BYTES_LIT("2001:db8::1"), &facts->client) == 0);
    facts->client.port = 4711;
    CHECK(net_addr_parse(BYTES_LIT("192.0.2.25"), &facts->server) == 0);
    (void)snprintf(facts->name, sizeof(facts->name), "mail.example.com");
    (void)snprintf(facts->reverse_name, sizeof(facts->reverse_name), "unknown");
    facts->name_state = CLIENT_NAME_OK;
    facts->reverse_state = CLIENT_NAME_FAIL;
    memset(facts->helo, 'h', sizeof(facts->helo) - 1); /* as long as can be */
    (void)snprintf(facts->protocol, sizeof(facts->protocol), "ESMTPSA");
    (void)snprintf(facts->sasl_user, sizeof(facts->sasl_user), "ana");
    (void)snprintf(facts->sasl_method, sizeof(facts->sasl_method), "PLAIN");
    (void)snprintf(facts->tls_protocol, sizeof(facts->tls_protocol), "TLSv1.3");
    (void)snprintf(facts->tls_cipher, sizeof(facts->tls_cipher), "TLS_AES_256_GCM_SHA384");
    facts->tls_bits = 256;
    (void)snprintf(facts->service, sizeof(facts->service), "smtp");
    (void)snprintf(facts->ident, sizeof(facts->ident), "ident");
    return envelope;
}

static bool
is_same_session(const struct session_facts *a, const struct session_facts *b)
{
    return net_addr_equal(&a->client, &b->client) && a->client.port == b->client.port &&
           net_addr_equal(&a->server, &b->server) && strcmp(a->name, b->name) == 0 &&
           strcmp(a->reverse_name, b->reverse_name) == 0 && a->name_state == b->name_state &&
           a->reverse_state == b->reverse_state && strcmp(a->helo, b->helo) == 0 &&
           strcmp(a->protocol, b->protocol) == 0 && strcmp(a->sasl_user, b->sasl_user) == 0 &&
           strcmp(a->sasl_method, b->sasl_method) == 0 && strcmp(a->tls_protocol, b->tls_protocol) == 0 &&
           strcmp(a->tls_cipher, b->tls_cipher) == 0 && a->tls_bits == b->tls_bits &&
           strcmp(a->service, b->service) == 0 && strcmp(a->ident, b->ident) == 0;
}

static void
compare(const struct envelope *a, const struct envelope *b)
{
    CHECK(strcmp(a->queue_id, b->queue_id) == 0 && bytes_equal(a->sender, b->sender));
    CHECK(a->size == b->size && a->arrival_us == b->arrival_us && a->body == b->body);
    CHECK(a->smtputf8 == b->smtputf8 && a->local_origin == b->local_origin && a->hold == b->hold);
    CHECK(a->dsn_ret == b->dsn_ret && bytes_equal(a->dsn_envid, b->dsn_envid));
    CHECK(bytes_equal(a->content_filter, b->content_filter) && bytes_equal(a->redirect, b->redirect));
    CHECK(bytes_equal(a->message_id, b->message_id));
    CHECK(is_same_session(&a->session, &b->session));
    CHECK(a->recipient_count == b->recipient_count);
    for (size_t i = 0; i < a->recipient_count && i < b->recipient_count; i++) {
        const struct recipient *x = &a->recipients[i], *y = &b->recipients[i];

        CHECK(bytes_equal(x->address, y->address) && bytes_equal(x->original, y->original));
        CHECK(bytes_equal(x->dsn_orcpt, y->dsn_orcpt) && x->notify == y->notify);
    }
}

static void
test_form(void)
{
    struct envelope *envelope = fill(), *again = NULL;
    struct buf packed;

    buf_init(&packed, 1024 * 1024);
    CHECK(envelope_pack(&packed, envelope) == 0);
    CHECK(envelope_unpack(bytes_buf(&packed), &again) == 0 && again != NULL);
    if (again != NULL) {
        compare(envelope, again);
    }
    envelope_free(&again);
    for (size_t n = 0; n < packed.n; n++) {
        uint8_t *cut = malloc(n > 0 ? n : 1);

        if (cut == NULL) {
            exit(2);
        }
        memcpy(cut, packed.p, n);
        CHECK(envelope_unpack(bytes_of(cut, n), &again) < 0 && again == NULL);
        free(cut);
    }
    CHECK(buf_append_byte(&packed, 0) == 0);
    CHECK(envelope_unpack(bytes_buf(&packed), &again) == GW_ERR_SYNTAX);
    packed.p[0] = 99; /* a version that is not ours */
    CHECK(envelope_unpack(bytes_sub(bytes_buf(&packed), 0, packed.n - 1), &again) == GW_ERR_SYNTAX);
    buf_free(&packed);
    envelope_free(&envelope);
}

static void
test_limits(void)
{
    struct envelope *envelope = new_envelope(), *again = NULL;
    uint8_t longest[ENVELOPE_ADDRESS_MAX + 1];
    char address[64];
    struct buf packed;

    memset(longest, 'a', sizeof(longest));
    CHECK(envelope_set_sender(envelope, bytes_of(longest, ENVELOPE_ADDRESS_MAX)) == 0);
    CHECK(envelope_set_sender(envelope, bytes_of(longest, ENVELOPE_ADDRESS_MAX + 1)) == GW_ERR_LIMIT);
    CHECK(envelope_set_sender(envelope, (struct bytes){0}) == 0 && envelope->sender.n == 0);
    CHECK(envelope_add_recipient(envelope, bytes_of(longest, sizeof(longest)), BYTES_LIT("a"), 0,
                                 (struct bytes){0}) == GW_ERR_LIMIT);
    for (int i = 0; i < ENVELOPE_RECIPIENTS_MAX; i++) {
        (void)snprintf(address, sizeof(address), "r%d@example.com", i);
        if (ADD(envelope, address) != 0) {
            CHECK(!"room for all recipients");
            break;
        }
    }
    CHECK(ADD(envelope, "one@too.many") == GW_ERR_LIMIT);
    CHECK(bytes_equal(envelope->recipients[0].address, BYTES_LIT("r0@example.com")));
    CHECK(bytes_equal(envelope->recipients[49999].address, BYTES_LIT("r49999@example.com")));
    buf_init(&packed, 64 * 1024 * 1024);
    CHECK(envelope_pack(&packed, envelope) == 0 && envelope_unpack(bytes_buf(&packed), &again) == 0);
    if (again != NULL) {
        compare(envelope, again);
    }
    buf_free(&packed);
    envelope_free(&again);
    envelope->session.tls_bits = 128;
    envelope_reset(envelope);
    CHECK(envelope->recipient_count == 0 && envelope->sender.n == 0 && envelope->session.tls_bits == 128);
    CHECK(ADD(envelope, "a@b") == 0 && envelope->recipient_count == 1);
    envelope_free(&envelope);
    CHECK(envelope == NULL);
    envelope_free(&envelope);
}

/* Ids sort by time, hold no vowels and no two are alike. */
static void
test_queue_ids(void)
{
    char last[QUEUE_ID_MAX] = "", id[QUEUE_ID_MAX];
    int64_t now = 1795240908000000;

    for (int i = 0; i < 100000; i++) {
        queue_id_make(id, now + i * 37, 5);
        CHECK(strcmp(last, id) < 0);
        (void)snprintf(last, sizeof(last), "%s", id);
    }
    CHECK(strpbrk(id, "AEIOUaeiou") == NULL && id[10] == 'z');
    for (uint64_t unique = 0; unique < 10000; unique++) {
        queue_id_make(id, now, unique);
        CHECK(strcmp(id, last) != 0 && strchr(id + 11, 'z') == NULL);
        (void)snprintf(last, sizeof(last), "%s", id);
    }
    queue_id_make(id, INT64_MAX, UINT64_MAX);
    CHECK(strlen(id) < QUEUE_ID_MAX);
    queue_id_make(id, 0, 0);
    CHECK(strcmp(id, "0000000000z0") == 0);
    queue_id_make(id, 1000000LL * 52 * 52 + 51, 51); /* 100 in base 52; 51 us; 10 in base 51 */
    CHECK(strcmp(id, "000100000zz10") == 0);
}

int
main(void)
{
    CHECK(IPC_RULES[0].type != 0); /* links the table of messages, which base needs and message holds */
    test_form();
    test_limits();
    test_queue_ids();
    return failures != 0;
}

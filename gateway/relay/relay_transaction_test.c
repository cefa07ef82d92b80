/*
 * relay_transaction_test - what stands in MAIL, RCPT and XFORWARD for which server and which envelope.
 *
 * Shows of contract.tsv: PAR81 FIL13.
 */
#include "relay/relay_scripted_test.h"

#define GREETING ">220 mx", "<EHLO gateway.test", ">250-mx"
#define TAKEN ">250 ok", ">250 ok", ">354 go", "=", ">250 ok", NULL

static const char *const PLAIN_SCRIPT[] = {
    GREETING, ">250 PIPELINING", "<MAIL FROM:<s@y.test>$", "<RCPT TO:<a@x.test>$", "<DATA$", TAKEN};
static const char *const DSN_SCRIPT[] = {
    GREETING,
    ">250-PIPELINING",
    ">250 DSN",
    "<MAIL FROM:<s@y.test> RET=HDRS ENVID=QQ314159$",
    "<RCPT TO:<a@x.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;o+2Bx@x.test$",
    "<DATA$",
    TAKEN};
static const char *const BODY_SCRIPT[] = {GREETING,
                                          ">250-PIPELINING",
                                          ">250-8BITMIME",
                                          ">250-SIZE",
                                          ">250 SMTPUTF8",
                                          "<MAIL FROM:<s@y.test> SIZE=12 BODY=8BITMIME SMTPUTF8$",
                                          "<RCPT TO:<a@x.test>$",
                                          "<DATA$",
                                          TAKEN};
static const char *const XFORWARD_SCRIPT[] = {
    GREETING,
    ">250-PIPELINING",
    ">250 XFORWARD NAME ADDR PROTO HELO SOURCE PORT NONSENSE",
    "<XFORWARD NAME=client.test ADDR=192.0.2.7 PORT=1234 PROTO=ESMTP HELO=[UNAVAILABLE] "
    "SOURCE=REMOTE$",
    "<MAIL",
    "<RCPT",
    "<DATA$",
    ">250 ok",
    TAKEN};
static const char *const UTF8_LACKING[] = {GREETING, ">250 PIPELINING", NULL};

static void
fill_plain(struct envelope *envelope)
{
    CHECK(envelope_add_recipient(envelope, BYTES_LIT("a@x.test"), BYTES_LIT("o+x@x.test"), 0,
                                 bytes_of(NULL, 0)) == 0);
}

static void
fill_dsn(struct envelope *envelope)
{
    envelope->dsn_ret = 'H';
    envelope->dsn_envid = BYTES_LIT("QQ314159");
    CHECK(envelope_add_recipient(envelope, BYTES_LIT("a@x.test"), BYTES_LIT("o+x@x.test"),
                                 NOTIFY_SUCCESS | NOTIFY_FAILURE, bytes_of(NULL, 0)) == 0);
}

/* SMTPUTF8 asked for, but nothing in the message needs it. */
static void
fill_body(struct envelope *envelope)
{
    fill_plain(envelope);
    envelope->body = BODY_8BITMIME;
    envelope->smtputf8 = true;
}

static void
fill_client(struct envelope *envelope)
{
    fill_plain(envelope);
    (void)snprintf(envelope->session.name, sizeof(envelope->session.name), "client.test");
    (void)snprintf(envelope->session.protocol, sizeof(envelope->session.protocol), "ESMTP");
    CHECK(net_addr_parse(BYTES_LIT("192.0.2.7"), &envelope->session.client) == 0);
    envelope->session.client.port = 1234;
}

static void
fill_utf8(struct envelope *envelope)
{
    CHECK(envelope_add_recipient(envelope, BYTES_LIT("\xc3\xa9@x.test"), bytes_of(NULL, 0), 0,
                                 bytes_of(NULL, 0)) == 0);
    envelope->smtputf8 = true;
}

static void
fill_utf8_sometimes(struct envelope *envelope)
{
    fill_plain(envelope);
    envelope->smtputf8 = true;
}

static void
fill_success(struct envelope *envelope)
{
    CHECK(envelope_add_recipient(envelope, BYTES_LIT("a@x.test"), bytes_of(NULL, 0), NOTIFY_SUCCESS,
                                 bytes_of(NULL, 0)) == 0);
}

/* A line break in an address must never become a second command. */
static void
fill_injection(struct envelope *envelope)
{
    CHECK(envelope_add_recipient(envelope, BYTES_LIT("a@x.test>\r\nRCPT TO:<b@x.test"), bytes_of(NULL, 0), 0,
                                 bytes_of(NULL, 0)) == 0);
}

static const struct {
    const char *name;
    const char *const *script;
    void (*fill)(struct envelope *envelope);
    const char *content;
    bool xforward;
    enum delivery_status status;
    const char *dsn;
    const char *text;
} CASES[] = {
    {"no extensions", PLAIN_SCRIPT, fill_plain, "A: b\r\n\r\nx\r\n", false, DELIVERY_SENT, "2.0.0", "250 ok"},
    {"DSN", DSN_SCRIPT, fill_dsn, "A: b\r\n\r\nx\r\n", false, DELIVERY_SENT, "2.0.0", "250 ok"},
    {"8BITMIME, SIZE, SMTPUTF8", BODY_SCRIPT, fill_body, "A: b\r\n\r\n.x\r\n", false, DELIVERY_SENT, "2.0.0",
     "250 ok"},
    {"XFORWARD", XFORWARD_SCRIPT, fill_client, "A: b\r\n\r\nx\r\n", true, DELIVERY_SENT, "2.0.0", "250 ok"},
    {"XFORWARD not asked for", PLAIN_SCRIPT, fill_client, "A: b\r\n\r\nx\r\n", true, DELIVERY_SENT, "2.0.0",
     "250 ok"},
    {"8-bit address without SMTPUTF8", UTF8_LACKING, fill_utf8, "A: b\r\n\r\nx\r\n", false, DELIVERY_BOUNCED,
     "5.6.7", "SMTPUTF8 is required, but was not offered by host 127.0.0.1[127.0.0.1]"},
    {"8-bit header without SMTPUTF8", UTF8_LACKING, fill_utf8_sometimes, "A: \xc3\xa9\r\n\r\nx\r\n", false,
     DELIVERY_BOUNCED, "5.6.7", "SMTPUTF8 is required"},
    {"8-bit body only", PLAIN_SCRIPT, fill_utf8_sometimes, "A: b\r\n\r\n\xc3\xa9\r\n", false, DELIVERY_SENT,
     "2.0.0", "250 ok"},
    {"success notice without DSN", PLAIN_SCRIPT, fill_success, "A: b\r\n\r\nx\r\n", false, DELIVERY_RELAYED,
     "2.0.0", "250 ok"},
    {"line break in an address", UTF8_LACKING, fill_injection, "A: b\r\n\r\nx\r\n", false, DELIVERY_BOUNCED,
     "5.1.3", "bad address syntax"},
};

int
main(void)
{
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct server server = {.scripts = {CASES[i].script}};
        struct envelope *envelope = envelope_new();
        struct bench bench;
        pthread_t thread;
        char nexthop[64];
        int before = failures;

        set_up(&bench);
        bench.settings.send_xforward = CASES[i].xforward;
        start_server(&server, &thread);
        (void)snprintf(nexthop, sizeof(nexthop), "[127.0.0.1]:%u", server.port);
        CHECK(envelope_set_sender(envelope, BYTES_LIT("s@y.test")) == 0);
        CASES[i].fill(envelope);
        run_envelope(&bench, nexthop, envelope, CASES[i].content);
        CHECK(result_is(&bench, 0, CASES[i].status, CASES[i].dsn, CASES[i].text));
        relay_session_close(&bench.delivery->session, true);
        stop_server(&server, thread);
        envelope_free(&envelope);
        tear_down(&bench);
        if (failures != before) {
            fprintf(stderr, "in case \"%s\"\n", CASES[i].name);
        }
    }
    return failures != 0;
}

/*
 * relay_delivery_test - whole deliveries against scripted servers on loopback: replies, losses, next hosts,
 * reuse.
 *
 * Shows of contract.tsv: DMN9 DMN10 MSL24 TLS2.
 */
#include "relay/relay_scripted_test.h"

#define HELLO ">220 mx", "<EHLO gateway.test", ">250-mx", ">250-PIPELINING", ">250-SIZE 1000", ">250 8BITMIME"
#define HELLO_SLOW ">220 mx", "<EHLO", ">500 what", "<HELO gateway.test", ">250 mx"
static const char CONTENT[] = "A: b\r\n\r\n.x\r\n";

struct one_case {
    const char *name;
    const char *script[LINES_MAX];
    size_t recipients;
    struct {
        enum delivery_status status;
        const char *dsn;
        const char *text;
    } results[3];
    bool stays_open;
    bool lmtp;
};

static const struct one_case CASES[] = {
    {"pipelined",
     {HELLO, "<MAIL FROM:<s@y.test> SIZE=12", "<RCPT TO:<a@x.test>", "<DATA", ">250 ok", ">250 ok", ">354 go",
      "=", ">250 2.0.0 Ok: queued as X", NULL},
     1,
     {{DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X"}},
     true,
     false},
    {"one by one after HELO",
     {HELLO_SLOW, "<MAIL FROM:<s@y.test>", ">250 ok", "<RCPT TO:<a@x.test>", ">250 ok", "<RCPT TO:<b@x.test>",
      ">250 ok", "<DATA", ">354 go", "=", ">250 ok", NULL},
     2,
     {{DELIVERY_SENT, "2.0.0", "250 ok"}, {DELIVERY_SENT, "2.0.0", "250 ok"}},
     true,
     false},
    {"one of three refused, one later",
     {HELLO, "<MAIL", "<RCPT", "<RCPT", "<RCPT", "<DATA", ">250 ok", ">250 ok", ">550 5.1.1 no such user",
      ">450 4.2.0 later", ">354 go", "=", ">250 ok", NULL},
     3,
     {{DELIVERY_SENT, "2.0.0", "250 ok"},
      {DELIVERY_BOUNCED, "5.1.1", "said: 550 5.1.1 no such user (in reply to RCPT TO command)"},
      {DELIVERY_DEFERRED, "4.2.0", "said: 450 4.2.0 later (in reply to RCPT TO command)"}},
     true,
     false},
    {"sender refused",
     {HELLO, "<MAIL", "<RCPT", "<DATA", ">553 5.1.8 bad sender", ">503 no", ">503 no", NULL},
     1,
     {{DELIVERY_BOUNCED, "5.1.8", "(in reply to MAIL FROM command)"}},
     true,
     false},
    {"all refused but 354: an empty message",
     {HELLO, "<MAIL", "<RCPT", "<DATA", ">250 ok", ">550 no", ">354 go", "<.", ">554 no recipients", NULL},
     1,
     {{DELIVERY_BOUNCED, "5.0.0", "(in reply to RCPT TO command)"}},
     true,
     false},
    {"content refused",
     {HELLO, "<MAIL", "<RCPT", "<DATA", ">250 ok", ">250 ok", ">354 go", "=", ">554 5.7.1 spam", NULL},
     1,
     {{DELIVERY_BOUNCED, "5.7.1", "said: 554 5.7.1 spam (in reply to end of DATA command)"}},
     true,
     false},
    {"lost after the dot",
     {HELLO, "<MAIL", "<RCPT", "<DATA", ">250 ok", ">250 ok", ">354 go", "=", "!", NULL},
     1,
     {{DELIVERY_DEFERRED, "4.4.2", "while sending end of data -- message may be sent more than once"}},
     false,
     false},
    {"lost before MAIL was answered",
     {HELLO, "<MAIL", "!", NULL},
     1,
     {{DELIVERY_DEFERRED, "4.4.2", "lost connection with 127.0.0.1[127.0.0.1] while sending MAIL FROM"}},
     false,
     false},
    {"greeting 554",
     {">554 go away", NULL},
     1,
     {{DELIVERY_DEFERRED, "4.0.0", "host 127.0.0.1[127.0.0.1] refused to talk to me: 554 go away"}},
     false,
     false},
    {"greeting 421",
     {">421 4.3.2 busy", NULL},
     1,
     {{DELIVERY_DEFERRED, "4.3.2", "refused to talk to me: 421 4.3.2 busy"}},
     false,
     false},
    {"no SMTP at all",
     {">SSH-2.0-x", NULL},
     1,
     {{DELIVERY_DEFERRED, "4.5.0", "protocol error"}},
     false,
     false},
    {"both hellos refused",
     {">220 mx", "<EHLO", ">550 no", "<HELO", ">550 5.7.1 no", NULL},
     1,
     {{DELIVERY_BOUNCED, "5.7.1", "refused to talk to me: 550 5.7.1 no"}},
     false,
     false},
    {"421 to RCPT",
     {HELLO, "<MAIL", "<RCPT", "<DATA", ">250 ok", ">421 4.7.0 bye", "!", NULL},
     1,
     {{DELIVERY_DEFERRED, "4.4.2", "lost connection"}},
     false,
     false},
    {"too large for the server",
     {">220 mx", "<EHLO", ">250-mx", ">250 SIZE 5", NULL},
     1,
     {{DELIVERY_BOUNCED, "5.3.4", "message size 12 exceeds size limit 5 of server"}},
     true,
     false},
    {"LMTP: a reply for each",
     {">220 mx", "<LHLO", ">250-mx", ">250 PIPELINING", "<MAIL", "<RCPT", "<RCPT", "<RCPT", "<DATA",
      ">250 ok", ">250 ok", ">550 5.1.1 unknown", ">250 ok", ">354 go", "=", ">250 2.1.5 stored",
      ">552 5.2.2 full", NULL},
     3,
     {{DELIVERY_SENT, "2.1.5", "stored"},
      {DELIVERY_BOUNCED, "5.1.1", "unknown"},
      {DELIVERY_BOUNCED, "5.2.2", "full"}},
     true,
     true},
};

static void
test_cases(void)
{
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct server server = {.scripts = {CASES[i].script}};
        struct bench bench;
        pthread_t thread;
        char nexthop[64];
        int before = failures;

        set_up(&bench);
        bench.settings.lmtp = CASES[i].lmtp;
        start_server(&server, &thread);
        (void)snprintf(nexthop, sizeof(nexthop), "[127.0.0.1]:%u", server.port);
        run(&bench, nexthop, CASES[i].recipients, CONTENT);
        for (size_t r = 0; r < CASES[i].recipients; r++) {
            CHECK(result_is(&bench, r, CASES[i].results[r].status, CASES[i].results[r].dsn,
                            CASES[i].results[r].text));
        }
        CHECK(bench.delivery->session.open == CASES[i].stays_open ||
              bench.task.recipients[0].status != DELIVERY_SENT);
        relay_session_close(&bench.delivery->session, true);
        stop_server(&server, thread);
        if (CASES[i].results[0].status == DELIVERY_SENT) {
            CHECK(strcmp(server.content, "A: b||..x|") == 0);
        }
        if (failures != before) {
            fprintf(stderr, "in case \"%s\"\n", CASES[i].name);
        }
        tear_down(&bench);
    }
}

static const char *const TWO_MAILS[] = {HELLO,     "<MAIL",   "<RCPT",  "<DATA", ">250 ok", ">250 ok",
                                        ">354 go", "=",       ">250 1", "<MAIL", "<RCPT",   "<DATA",
                                        ">250 ok", ">250 ok", ">354",   "=",     ">250 2",  NULL};
static const char *const ONE_MAIL[] = {HELLO,     "<MAIL", "<RCPT", "<DATA",      ">250 ok",
                                       ">250 ok", ">354",  "=",     ">250 again", NULL};
static const char *const CLOSES_WHEN_IDLE[] = {
    HELLO, "<MAIL", "<RCPT", "<DATA", ">250 ok", ">250 ok", ">354", "=", ">250 1", ">421 4.4.2 idle", NULL};
static const char *const RESETS[] = {HELLO,     "<MAIL",   "<RCPT",   "<DATA", ">250 ok", ">550 no",
                                     ">554 no", "<RSET",   "<MAIL",   "<RCPT", "<DATA",   ">250 ok",
                                     ">250 ok", ">250 ok", ">354 go", "=",     ">250 2",  NULL};

/* Two jobs to one next hop. */
static void
test_two(const char *const *first, const char *const *second, int connections, enum delivery_status status1,
         const char *text2)
{
    struct server server = {.scripts = {first, second}};
    struct bench bench;
    pthread_t thread;
    char nexthop[64];

    set_up(&bench);
    start_server(&server, &thread);
    (void)snprintf(nexthop, sizeof(nexthop), "[127.0.0.1]:%u", server.port);
    run(&bench, nexthop, 1, CONTENT);
    CHECK(bench.task.recipients[0].status == status1);
    (void)usleep(50000); /* a server that closes an idle connection has done it */
    run(&bench, nexthop, 1, CONTENT);
    CHECK(result_is(&bench, 0, DELIVERY_SENT, "2.0.0", text2));
    relay_session_close(&bench.delivery->session, true);
    stop_server(&server, thread);
    CHECK(server.played == connections);
    tear_down(&bench);
}

static const char *const GREY[] = {HELLO,     "<MAIL", "<RCPT", "<DATA", ">250 ok", ">450 4.2.0 later",
                                   ">503 no", NULL};
static const char *const BUSY[] = {">421 busy", NULL};

/* The list "[a]:p1, [b]:p2": what the first leaves the second gets; with both down the last failure stands.
 */
static void
test_next_host(const char *const *first, const char *const *second, enum delivery_status status,
               const char *dsn, const char *text, bool site_down)
{
    struct server a = {.scripts = {first}}, b = {.scripts = {second}};
    struct bench bench;
    pthread_t thread_a, thread_b;
    char nexthop[128];

    set_up(&bench);
    start_server(&a, &thread_a);
    start_server(&b, &thread_b);
    if (first == NULL) {
        (void)shutdown(a.listen_fd, SHUT_RDWR);
        (void)close(a.listen_fd); /* connection refused */
    }
    (void)snprintf(nexthop, sizeof(nexthop), "[127.0.0.1]:%u, [127.0.0.1]:%u", a.port, b.port);
    run(&bench, nexthop, 1, CONTENT);
    CHECK(result_is(&bench, 0, status, dsn, text));
    CHECK(relay_task_is_site_down(&bench.task) == site_down);
    relay_session_close(&bench.delivery->session, true);
    if (first != NULL) {
        stop_server(&a, thread_a);
    } else {
        (void)pthread_join(thread_a, NULL);
    }
    stop_server(&b, thread_b);
    tear_down(&bench);
}

static void
test_connect_failures(void)
{
    struct bench bench;

    set_up(&bench);
    run(&bench, "[127.0.0.1]:1", 1, CONTENT);
    CHECK(result_is(&bench, 0, DELIVERY_DEFERRED, "4.4.1",
                    "connect to 127.0.0.1[127.0.0.1]:1: Connection refused"));
    CHECK(relay_task_is_site_down(&bench.task) && strcmp(bench.delivery->relay, "none") == 0);
    run(&bench, "name.test", 1, CONTENT);
    CHECK(result_is(&bench, 0, DELIVERY_DEFERRED, "4.4.3", "Name service error"));
    tear_down(&bench);
}

/* Content that ends early must never be sent as whole. */
static void
test_short_content(void)
{
    static const char *const SCRIPT[] = {HELLO,     "<MAIL",   "<RCPT", "<DATA", ">250 ok",
                                         ">250 ok", ">354 go", "=",     NULL};
    struct server server = {.scripts = {SCRIPT}};
    struct bench bench;
    pthread_t thread;
    char nexthop[64];
    struct envelope *envelope = envelope_new();

    set_up(&bench);
    start_server(&server, &thread);
    (void)snprintf(nexthop, sizeof(nexthop), "[127.0.0.1]:%u", server.port);
    envelope->size = 500;
    CHECK(envelope_add_recipient(envelope, BYTES_LIT("a@x.test"), bytes_of(NULL, 0), 0, bytes_of(NULL, 0)) ==
          0);
    bench.job = (struct wire_job){
        .nexthop = bytes_str(nexthop), .envelope = envelope, .recipient_numbers = bench.numbers};
    bench.task = (struct relay_task){.command = &bench.command, .room = &bench.room};
    CHECK(relay_task_begin(&bench.task, &bench.job, bench.content_fd, bench.arena) == 0);
    relay_delivery_run(bench.delivery, &bench.settings, &bench.task);
    CHECK(result_is(&bench, 0, DELIVERY_DEFERRED, "4.3.0", "not readable"));
    CHECK(!bench.delivery->session.open);
    stop_server(&server, thread);
    envelope_free(&envelope);
    tear_down(&bench);
}

/* Mandatory and opportunistic TLS with a server that does not offer it, refuses it, or fails in the
 * handshake. */
static void
test_tls(enum relay_tls_level level, const char *const *first, const char *const *second,
         enum delivery_status status, const char *dsn, const char *text)
{
    struct tls_options options = {.verify = TLS_VERIFY_ASK, .opportunistic = level == RELAY_TLS_MAY};
    struct server server = {.scripts = {first, second}};
    struct bench bench;
    pthread_t thread;
    char nexthop[64];

    set_up(&bench);
    bench.settings.tls_level = level;
    CHECK(tls_context_new(&options, &bench.settings.tls) == 0);
    start_server(&server, &thread);
    (void)snprintf(nexthop, sizeof(nexthop), "[127.0.0.1]:%u", server.port);
    run(&bench, nexthop, 1, CONTENT);
    CHECK(result_is(&bench, 0, status, dsn, text));
    relay_session_close(&bench.delivery->session, true);
    stop_server(&server, thread);
    CHECK(server.played == (second != NULL ? 2 : 1));
    tls_context_free(&bench.settings.tls);
    tear_down(&bench);
}

static const char *const NO_TLS[] = {HELLO, NULL};
static const char *const REFUSES_TLS[] = {">220 mx",   "<EHLO",         ">250-mx", ">250 STARTTLS",
                                          "<STARTTLS", ">454 4.7.0 no", NULL};
static const char *const REFUSES_TLS_ONLY[] = {">220 mx", "<EHLO", ">250-mx", ">250 STARTTLS", "<STARTTLS",
                                               ">454 no", "<MAIL", ">250 ok", "<RCPT",         ">250 ok",
                                               "<DATA",   ">354",  "=",       ">250 plain",    NULL};
static const char *const FAILS_TLS[] = {">220 mx",   "<EHLO",   ">250-mx",  ">250 STARTTLS",
                                        "<STARTTLS", ">220 go", ">garbage", NULL};

static void
test_all_tls(void)
{
    test_tls(RELAY_TLS_ENCRYPT, NO_TLS, NULL, DELIVERY_DEFERRED, "4.7.4",
             "TLS is required, but was not offered by host 127.0.0.1[127.0.0.1]");
    test_tls(RELAY_TLS_ENCRYPT, REFUSES_TLS, NULL, DELIVERY_DEFERRED, "4.7.4", "refused to start TLS");
    test_tls(RELAY_TLS_ENCRYPT, FAILS_TLS, NULL, DELIVERY_DEFERRED, "4.7.5",
             "Cannot start TLS: handshake failure");
    test_tls(RELAY_TLS_MAY, REFUSES_TLS_ONLY, NULL, DELIVERY_SENT, "2.0.0", "250 plain");
    test_tls(RELAY_TLS_MAY, FAILS_TLS, ONE_MAIL, DELIVERY_SENT, "2.0.0", "250 again");
    test_tls(RELAY_TLS_REFUSED, NO_TLS, NULL, DELIVERY_DEFERRED, "4.7.5",
             "TLS as configured is not available");
}

int
main(void)
{
    test_all_tls();
    test_cases();
    test_two(TWO_MAILS, NULL, 1, DELIVERY_SENT, "250 2");
    test_two(ONE_MAIL, ONE_MAIL, 2, DELIVERY_SENT, "250 again"); /* the server closed after the first */
    test_two(CLOSES_WHEN_IDLE, ONE_MAIL, 2, DELIVERY_SENT, "250 again");
    test_two(RESETS, NULL, 1, DELIVERY_BOUNCED, "250 2");
    test_next_host(NULL, ONE_MAIL, DELIVERY_SENT, "2.0.0", "250 again", false);
    test_next_host(BUSY, ONE_MAIL, DELIVERY_SENT, "2.0.0", "250 again", false);
    test_next_host(GREY, ONE_MAIL, DELIVERY_SENT, "2.0.0", "250 again", false);
    test_next_host(GREY, BUSY, DELIVERY_DEFERRED, "4.0.0", "refused to talk to me: 421 busy", true);
    test_next_host(BUSY, GREY, DELIVERY_DEFERRED, "4.2.0", "450 4.2.0 later", false);
    test_connect_failures();
    test_short_content();
    return failures != 0;
}

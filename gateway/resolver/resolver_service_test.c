/*
 * resolver_service_test - the role in a child, started as master starts it, with a small DNS server behind
 * it: the four outcomes, deadlines, many queries at once, peers that vanish or talk nonsense, the client's
 * side of base/dns.
 */
#include "resolver/resolver_service.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/dns.h"
#include "base/error.h"
#include "base/ipc.h"
#include "config/role_start.h"
#include "message/wire.h"

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

enum { PACKET = 512, HEADER = 12, MANY = 2500, WAIT_MS = 10000, HIGH_FD = 100 };

static char directory[] = "/tmp/resolver_test.XXXXXX";
static int dns_fd = -1;
static unsigned dns_port;

/* The first label says what is answered: f... found (A 192.0.2.<length of the label>), s... SERVFAIL, t...
 * silence, d... no data, anything else no such name. */
static size_t
make_reply(const uint8_t *query, size_t n, uint8_t out[PACKET])
{
    static const uint8_t RECORD[] = {0xc0, HEADER, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2};
    size_t end = HEADER;

    while (end < n && query[end] != 0) {
        end += (size_t)query[end] + 1;
    }
    end += 5;
    if (n < HEADER + 6 || end > n || end + sizeof(RECORD) + 1 > PACKET) {
        return 0;
    }
    memcpy(out, query, end);
    char kind = (char)(query[HEADER + 1] | 0x20);
    out[2] = 0x85;
    out[3] = (uint8_t)(0x80 | (kind == 'f' || kind == 'd' ? 0 : kind == 's' ? 2 : 3));
    memset(out + 6, 0, 6);
    if (kind == 't') {
        return 0;
    }
    if (kind == 'f' && query[end - 3] == 1) {
        out[7] = 1;
        memcpy(out + end, RECORD, sizeof(RECORD));
        out[end + sizeof(RECORD)] = query[HEADER];
        end += sizeof(RECORD) + 1;
    }
    return end;
}

static void *
serve_dns(void *context)
{
    uint8_t query[PACKET], reply[PACKET];

    (void)context;
    for (;;) {
        struct sockaddr_storage from;
        socklen_t length = sizeof(from);
        ssize_t n = recvfrom(dns_fd, query, sizeof(query), 0, (struct sockaddr *)&from, &length);

        if (n == 1) {
            return NULL; /* told to end */
        }
        size_t out = n > 0 ? make_reply(query, (size_t)n, reply) : 0;
        if (out > 0) {
            (void)sendto(dns_fd, reply, out, 0, (struct sockaddr *)&from, length);
        }
    }
}

static void
open_dns(void)
{
    struct net_addr addr;
    struct sockaddr_storage sa;
    socklen_t length = sizeof(sa);

    CHECK(net_addr_parse(BYTES_LIT("127.0.0.1"), &addr) == 0);
    length = net_addr_to_sockaddr(&addr, &sa);
    dns_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(bind(dns_fd, (struct sockaddr *)&sa, length) == 0);
    length = sizeof(sa);
    CHECK(getsockname(dns_fd, (struct sockaddr *)&sa, &length) == 0);
    net_addr_from_sockaddr((struct sockaddr *)&sa, &addr);
    dns_port = addr.port;
}

static void
write_file(const char *name, const char *text)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *f = fopen(path, "w");
    CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

static int
sealed_config(void)
{
    struct config *config = NULL;
    struct buf why, packed;
    char text[512];

    (void)snprintf(
        text, sizeof(text),
        "compatibility_level = 3.7\nmyhostname = gw.example.test\nqueue_directory = %s\n"
        "data_directory = %s\nmail_owner = nobody\nmaillog_file = /dev/null\ndns_servers = 127.0.0.1:%u\n",
        directory, directory, dns_port);
    write_file("main.cf", text);
    write_file("master.cf", "smtp unix - - n - - smtp\n");
    buf_init(&why, 65536);
    buf_init(&packed, 16 * 1024 * 1024);
    int r = config_load(directory, &config, &why);
    if (r != 0) {
        (void)fprintf(stderr, "%s\n", buf_str(&why));
    }
    CHECK(r == 0 && config_pack(config, &packed) == 0);
    int fd = ipc_sealed_memfd("config", bytes_buf(&packed));
    config_free(&config);
    buf_free(&why);
    buf_free(&packed);
    return fd;
}

static int
listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    CHECK(fd != -1 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 64) == 0);
    return fd;
}

/* Puts the descriptors where role_start.h says and runs the role. */
static void
run_role(int control, int config, int listener)
{
    static char name[] = "estafeta", role[] = "--role=resolver", peer[] = "ipc:screen";
    char *arguments[] = {name, role, peer, NULL};
    int given[] = {control, config, open("/dev/null", O_WRONLY), listener};

    for (int i = 0; i < 4; i++) { /* first out of the way of each other */
        given[i] = fcntl(given[i], F_DUPFD, HIGH_FD);
    }
    for (int i = 0; i < 4; i++) {
        if (dup2(given[i], ROLE_CONTROL_FD + i) == -1) {
            _exit(99);
        }
        (void)close(given[i]);
    }
    _exit(resolver_main(3, arguments));
}

static pid_t
start_role(int listener, int *control_r)
{
    struct role_word word = {0};
    int pair[2], config = sealed_config();

    CHECK(config != -1 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    pid_t child = fork();
    if (child == 0) {
        (void)close(pair[0]);
        run_role(pair[1], config, listener);
    }
    (void)close(pair[1]);
    (void)close(config);
    while (recv(pair[0], &word, sizeof(word), 0) == sizeof(word) && word.word != ROLE_SAYS_READY) {
    }
    CHECK(word.word == ROLE_SAYS_READY);
    *control_r = pair[0];
    return child;
}

static void
test_outcomes(void)
{
    static const struct {
        const char *name;
        enum dns_type type;
        enum dns_status status;
    } QUERIES[] = {
        {"found.test", DNS_A, DNS_FOUND},
        {"FOUND.test.", DNS_A, DNS_FOUND},
        {"found.test", DNS_AAAA, DNS_NODATA},
        {"data.test", DNS_A, DNS_NODATA},
        {"nothing.test", DNS_A, DNS_NXDOMAIN},
        {"nothing.test", DNS_MX, DNS_NXDOMAIN},
        {"servfail.test", DNS_A, DNS_TEMPFAIL},
        {"localhost", DNS_A, DNS_FOUND},
        {"localhost", DNS_MX, DNS_NODATA},
        {"found.10.in-addr.arpa", DNS_A, DNS_FOUND}, /* networks of an operator's own */
        {"found.invalid", DNS_A, DNS_FOUND},
        {"f\"(;)$@\\n.test", DNS_A, DNS_FOUND}, /* bytes that mean something in zone files */
    };
    struct dns_client *client = dns_client_new(ROLE_SCREEN);
    struct dns_answer *answer;

    for (size_t i = 0; i < sizeof(QUERIES) / sizeof(QUERIES[0]); i++) {
        int r = dns_query(client, QUERIES[i].name, QUERIES[i].type, clock_monotonic_ms() + WAIT_MS, &answer);

        CHECK(r == 0 && answer != NULL);
        if (answer->status != QUERIES[i].status) {
            (void)fprintf(stderr, "%s: status %d\n", QUERIES[i].name, (int)answer->status);
            failures++;
        }
        dns_answer_free(&answer);
    }
    CHECK(dns_query(client, "found.test", DNS_A, clock_monotonic_ms() + WAIT_MS, &answer) == 0);
    CHECK(answer->record_count == 1 && bytes_equal(answer->records[0].data, BYTES_LIT("\xc0\0\2\5")));
    CHECK(strcmp(answer->canonical, "found.test") == 0 && answer->ttl <= 60);
    dns_answer_free(&answer);
    CHECK(dns_query(client, "not..a.name", DNS_A, clock_monotonic_ms() + WAIT_MS, &answer) == GW_ERR_SYNTAX);
    int64_t begun = clock_monotonic_ms();
    CHECK(dns_query(client, "timeout.test", DNS_A, begun + 400, &answer) == 0 &&
          answer->status == DNS_TEMPFAIL);
    CHECK(clock_monotonic_ms() - begun >= 390 && clock_monotonic_ms() - begun < 2000);
    dns_answer_free(&answer);
    dns_client_free(&client);
}

static int
ask(struct ipc_channel *channel, uint64_t id, const char *name, uint32_t budget_ms)
{
    struct buf payload;

    buf_init(&payload, 1024);
    int r = dns_wire_put_query(&payload, name, DNS_A, budget_ms);
    r = r == 0 ? ipc_send(channel, DNS_IPC_QUERY, id, bytes_buf(&payload), NULL, 0) : r;
    buf_free(&payload);
    return r;
}

/* More at once than one peer may have: each gets its one answer, those beyond the limit at once. */
static void
test_many(void)
{
    static bool seen[MANY];
    struct ipc_channel *channel = NULL;
    struct ipc_message message;
    char name[64];
    size_t answered = 0;

    CHECK(ipc_connect(ROLE_SCREEN, ROLE_RESOLVER, &channel) == 0);
    int64_t begun = clock_monotonic_ms();
    for (size_t i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof(name), "%c%zu.test", i % 2 == 0 ? 't' : 'f', i);
        CHECK(ask(channel, i, name, 1500) == 0);
    }
    while (answered < MANY && ipc_receive(channel, begun + WAIT_MS, &message) == 0) {
        struct dns_answer *answer = NULL;

        CHECK(message.id < MANY && !seen[message.id] && dns_wire_get_answer(message.payload, &answer) == 0);
        CHECK(answer->status == (message.id % 2 == 0 ? DNS_TEMPFAIL : DNS_FOUND) ||
              answer->status == DNS_TEMPFAIL);
        seen[message.id] = true;
        answered++;
        dns_answer_free(&answer);
        ipc_message_free(&message);
    }
    CHECK(answered == MANY && clock_monotonic_ms() - begun < 6000);
    ipc_channel_free(&channel);
}

/* A peer that goes away with queries under way, and peers that send what no peer may send. */
static void
test_bad_peers(void)
{
    static const char *const PAYLOADS[] = {"", "x", "\0\0\0\3abc", "\xff\xff\xff\xff"};
    static const size_t LENGTHS[] = {0, 1, 7, 4};
    struct ipc_channel *channel = NULL;
    struct ipc_message message;

    CHECK(ipc_connect(ROLE_SCREEN, ROLE_RESOLVER, &channel) == 0);
    CHECK(ask(channel, 1, "timeout2.test", 800) == 0 && ask(channel, 2, "found2.test", 800) == 0);
    ipc_channel_free(&channel);
    for (size_t i = 0; i < sizeof(PAYLOADS) / sizeof(PAYLOADS[0]); i++) {
        CHECK(ipc_connect(ROLE_SCREEN, ROLE_RESOLVER, &channel) == 0);
        CHECK(ask(channel, 1, "timeout3.test", 800) == 0);
        CHECK(ipc_send(channel, DNS_IPC_QUERY, 3, bytes_of(PAYLOADS[i], LENGTHS[i]), NULL, 0) == 0);
        CHECK(ipc_receive(channel, clock_monotonic_ms() + WAIT_MS, &message) == GW_ERR_EOF); /* cut off */
        ipc_channel_free(&channel);
    }
    (void)poll(NULL, 0, 1000); /* their queries end meanwhile */
    test_outcomes();
}

int
main(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    pthread_t thread;
    int control, status = 0;

    (void)sigaction(SIGPIPE, &ignore, NULL);
    CHECK(IPC_RULES[0].type != 0); /* the program's own table */
    if (mkdtemp(directory) == NULL || chdir(directory) == -1 || mkdir("ipc", 0700) == -1) {
        return 1;
    }
    open_dns();
    int listener = listen_at("ipc/resolver");
    pid_t child = start_role(listener, &control);
    CHECK(pthread_create(&thread, NULL, serve_dns, NULL) == 0);
    if (failures == 0) {
        test_outcomes();
        test_many();
        test_bad_peers();
    }
    (void)close(control); /* drain */
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    struct sockaddr_storage self;
    socklen_t length = sizeof(self);
    CHECK(getsockname(dns_fd, (struct sockaddr *)&self, &length) == 0);
    CHECK(sendto(dns_fd, "x", 1, 0, (struct sockaddr *)&self, length) == 1);
    (void)pthread_join(thread, NULL);
    (void)unlink("ipc/resolver");
    (void)rmdir("ipc");
    (void)unlink("main.cf");
    (void)unlink("master.cf");
    (void)rmdir(directory);
    return failures != 0;
}

/*
 * service_test - the policy role's loop in a child, spoken to over its sockets by every role it serves.
 *
 * Covers: greylist and allowlist answers, evidence found by why, quarantine durable at kill -9 right behind
 * the answer, commands of the operator, hostile peers, a notice that reaches the queue, a damaged store.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/pack.h"
#include "policy/evidence.h"
#include "policy/service_private.h"

static int failures;
#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

enum { WAIT_MS = 10000, CONTENT = 100000 };

static char directory[64];
static int listeners[ROLE_COUNT];
static const enum role CLIENTS[] = {ROLE_SCREEN, ROLE_RECEIVE, ROLE_SCAN, ROLE_QUEUE,
                                    ROLE_RELAY,  ROLE_DELIVER, ROLE_CTL};
enum { CLIENT_COUNT = sizeof(CLIENTS) / sizeof(CLIENTS[0]) };
static uint8_t content[CONTENT];

static int64_t
deadline(void)
{
    return clock_monotonic_ms() + WAIT_MS;
}

static struct sockaddr_un
socket_name(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
    return address;
}

static int
listen_at(const char *name)
{
    struct sockaddr_un address = socket_name(name);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    CHECK(fd != -1 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 64) == 0);
    return fd;
}

static struct ipc_channel *
join(enum role self)
{
    struct sockaddr_un address = socket_name(role_name(self));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    CHECK(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    return ipc_channel_new(fd, self, ROLE_POLICY);
}

static struct config *
load(void)
{
    struct config *config = NULL;
    struct buf why;

    buf_init(&why, 65536);
    int r = config_load(directory, &config, &why);
    if (r != 0) {
        (void)fprintf(stderr, "%s\n", buf_str(&why));
    }
    CHECK(r == 0);
    buf_free(&why);
    return config;
}

static pid_t
start(struct config *config)
{
    pid_t child = fork();

    if (child == 0) {
        static struct service service;
        int r = service_open(&service, config);
        for (size_t i = 0; r == 0 && i < CLIENT_COUNT; i++) {
            r = service_peer_listen(&service, listeners[CLIENTS[i]], CLIENTS[i]);
        }
        r = r == 0 ? service_run(&service) : r;
        service_close(&service);
        config_free(&config);
        exit(r == 0 && failures == 0 ? 0 : 1);
    }
    return child;
}

static void
stop(pid_t child)
{
    int status = 0;

    CHECK(kill(child, SIGTERM) == 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static struct net_addr
address(const char *text)
{
    struct net_addr addr = {0};

    CHECK(net_addr_parse(bytes_str(text), &addr) == 0);
    return addr;
}

static void
test_greylist(const char *sender)
{
    struct ipc_channel *receive = join(ROLE_RECEIVE);
    struct wire_triplet triplet = {
        .client = address("192.0.2.1"), .sender = bytes_str(sender), .recipient = BYTES_LIT("r@example.net")};
    struct wire_greylist_answer answer;
    struct ipc_message message;
    struct buf payload;

    buf_init(&payload, 8192);
    CHECK(wire_triplet_pack(&payload, &triplet) == 0);
    for (int i = 0; i < 3; i++) {
        CHECK(ipc_call(receive, WIRE_GREYLIST, bytes_buf(&payload), NULL, 0, deadline(), &message) == 0);
        CHECK(message.type == WIRE_GREYLIST_ANSWER &&
              wire_greylist_answer_unpack(message.payload, &answer) == 0);
        /* greylist_delay is 1 s in this configuration */
        CHECK(i < 2 ? answer.pass == 0 && answer.wait_s > 0 : answer.pass == WIRE_GREYLIST_FIRST_PASS);
        ipc_message_free(&message);
        (void)usleep(i == 1 ? 2000000 : 0);
    }
    buf_free(&payload);
    ipc_channel_free(&receive);
}

static void
test_allowlist(void)
{
    struct ipc_channel *screen = join(ROLE_SCREEN), *receive = join(ROLE_RECEIVE);
    struct wire_allow allow = {.client = address("2001:db8::7")};
    struct ipc_message message;
    struct buf payload;

    allow.expires_s[1] = clock_wall_s() + 1000;
    buf_init(&payload, 1024);
    CHECK(wire_allow_pack(&payload, &allow) == 0);
    CHECK(ipc_send(receive, WIRE_ALLOW_SET, 0, bytes_buf(&payload), NULL, 0) == 0);
    (void)usleep(200000);
    CHECK(ipc_call(screen, WIRE_ALLOW_ASK, bytes_buf(&payload), NULL, 0, deadline(), &message) == 0);
    struct wire_allow answer;
    CHECK(message.type == WIRE_ALLOW_ANSWER && wire_allow_unpack(message.payload, &answer) == 0);
    CHECK(answer.expires_s[1] == allow.expires_s[1] && answer.expires_s[0] == 0);
    ipc_message_free(&message);
    buf_free(&payload);
    ipc_channel_free(&screen);
    ipc_channel_free(&receive);
}

static void
send_evidence(enum role role, const char *ident, const char *queue_id)
{
    struct ipc_channel *channel = join(role);
    struct evidence evidence = {0};

    CHECK(evidence_begin(&evidence, ident, role_name(role)) == 0);
    evidence_add(&evidence, EV_QUEUE, bytes_str(queue_id), BYTES_LIT("<m1@example.com>"),
                 BYTES_LIT("a@example.com"), BYTES_LIT("r@example.net"), 1);
    CHECK(ipc_send(channel, WIRE_EVIDENCE, 0, bytes_buf(&evidence.record), NULL, 0) == 0);
    evidence_free(&evidence);
    ipc_channel_free(&channel);
}

/* Asks and counts the pieces; the last memfd received is left in *fd_r when not NULL. */
static int
ask(const char *const *words, size_t *lines_r, int *fd_r)
{
    struct ipc_channel *ctl = join(ROLE_CTL);
    struct ipc_message message;
    struct wire_status status = {.code = GW_ERR_INTERNAL};
    struct buf payload;
    uint16_t count = 0;

    *lines_r = 0;
    while (words[count] != NULL) {
        count++;
    }
    buf_init(&payload, 8192);
    CHECK(pack_u16(&payload, count) == 0);
    for (size_t i = 0; i < count; i++) {
        CHECK(pack_str(&payload, words[i]) == 0);
    }
    CHECK(ipc_send(ctl, WIRE_CTL_ASK, 7, bytes_buf(&payload), NULL, 0) == 0);
    for (bool over = false; !over;) {
        if (ipc_receive(ctl, deadline(), &message) != 0) {
            failures++;
            break;
        }
        CHECK(message.id == 7);
        *lines_r += message.type == WIRE_CTL_LINE ? 1 : 0;
        if (message.type == WIRE_CTL_FILE && fd_r != NULL) {
            if (*fd_r != -1) {
                (void)close(*fd_r);
            }
            *fd_r = message.fds[0];
            message.fds[0] = -1;
        }
        if (message.type == WIRE_CTL_END) {
            CHECK(wire_status_unpack(message.payload, &status) == 0);
            over = true;
        }
        ipc_message_free(&message);
    }
    buf_free(&payload);
    ipc_channel_free(&ctl);
    return status.code;
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void
test_why(void)
{
    size_t lines;

    send_evidence(ROLE_RECEIVE, "S1", "Q1");
    send_evidence(ROLE_RELAY, "S1", "Q1");
    send_evidence(ROLE_QUEUE, "S2", "Q2");
    (void)usleep(300000);
    CHECK(ask(WORDS("why", "Q1"), &lines, NULL) == 0 && lines == 2);
    CHECK(ask(WORDS("why", "m1@example.com"), &lines, NULL) == 0 && lines == 3);
    CHECK(ask(WORDS("why", "Q3"), &lines, NULL) == 0 && lines == 0);
    CHECK(ask(WORDS("why", ""), &lines, NULL) == GW_ERR_SYNTAX);
    CHECK(ask(WORDS("why"), &lines, NULL) == GW_ERR_NOTFOUND);
    CHECK(ask(WORDS("nonsense", "x"), &lines, NULL) == GW_ERR_NOTFOUND);
}

static void
make_quarantine_payload(struct buf *payload)
{
    struct envelope *envelope = envelope_new();
    struct buf part;

    (void)snprintf(envelope->queue_id, sizeof(envelope->queue_id), "%s", "QQ1");
    (void)snprintf(envelope->session.ident, sizeof(envelope->session.ident), "%s", "S9");
    CHECK(envelope_set_sender(envelope, BYTES_LIT("a@example.com")) == 0);
    CHECK(envelope_add_recipient(envelope, BYTES_LIT("r@example.net"), BYTES_LIT("r@example.net"), 0,
                                 (struct bytes){0}) == 0);
    buf_init(&part, 65536);
    CHECK(envelope_pack(&part, envelope) == 0 && pack_bytes(payload, bytes_buf(&part)) == 0);
    CHECK(pack_bytes(payload, BYTES_LIT("")) == 0 && pack_str(payload, "clamav: Eicar") == 0);
    buf_free(&part);
    envelope_free(&envelope);
}

static int
quarantine(struct ipc_channel *receive, struct bytes payload, size_t size, char id_r[WIRE_DETAIL_MAX])
{
    struct ipc_message message;
    struct wire_status status = {.code = GW_ERR_INTERNAL};
    int fd = ipc_sealed_memfd("test", bytes_of(content, size));
    int r = ipc_call(receive, WIRE_QUARANTINE, payload, &fd, 1, deadline(), &message);

    (void)close(fd);
    if (r == 0) {
        CHECK(message.type == WIRE_QUARANTINED && wire_status_unpack(message.payload, &status) == 0);
        ipc_message_free(&message);
        r = status.code;
    }
    (void)snprintf(id_r, WIRE_DETAIL_MAX, "%s", status.detail);
    return r;
}

/* The answer says it is on disk: the process is killed at once and a new one must have it. */
static void
test_quarantine(struct config *config, pid_t *child)
{
    struct ipc_channel *receive = join(ROLE_RECEIVE);
    char id[WIRE_DETAIL_MAX], first[WIRE_DETAIL_MAX];
    struct buf payload;
    size_t lines;
    int fd = -1;

    buf_init(&payload, 65536);
    make_quarantine_payload(&payload);
    CHECK(quarantine(receive, bytes_buf(&payload), 10, first) == 0);
    CHECK(quarantine(receive, bytes_buf(&payload), CONTENT, id) == 0 && strcmp(first, id) < 0);
    CHECK(kill(*child, SIGKILL) == 0 && waitpid(*child, NULL, 0) == *child);
    *child = start(config);
    CHECK(ask(WORDS("quarantine", "list"), &lines, NULL) == 0 && lines == 2);
    CHECK(ask(WORDS("quarantine", "fetch", id), &lines, &fd) == 0 && fd != -1);
    static uint8_t read_back[CONTENT + 1];
    CHECK(pread(fd, read_back, sizeof(read_back), 0) == CONTENT && memcmp(read_back, content, CONTENT) == 0);
    (void)close(fd);
    CHECK(ask(WORDS("quarantine", "released", id, "uid 0"), &lines, NULL) == 0);
    CHECK(ask(WORDS("quarantine", "delete", first, "uid 0"), &lines, NULL) == 0);
    CHECK(ask(WORDS("quarantine", "delete", first, "uid 0"), &lines, NULL) == GW_ERR_NOTFOUND);
    CHECK(ask(WORDS("quarantine", "list"), &lines, NULL) == 0 && lines == 1);
    CHECK(ask(WORDS("why", id), &lines, NULL) == 0 &&
          lines == 2); /* who released it, and the session's other one */
    ipc_channel_free(&receive);
    /* A payload cut short: the peer is cut off, the service goes on. */
    receive = join(ROLE_RECEIVE);
    CHECK(quarantine(receive, bytes_sub(bytes_buf(&payload), 0, payload.n - 1), 10, id) == GW_ERR_EOF);
    ipc_channel_free(&receive);
    receive = join(ROLE_RECEIVE);
    CHECK(quarantine(receive, bytes_buf(&payload), 10, id) == 0);
    ipc_channel_free(&receive);
    buf_free(&payload);
}

static void
test_hostile(void)
{
    struct ipc_channel *receive = join(ROLE_RECEIVE);
    struct ipc_message message;

    CHECK(ipc_send(receive, WIRE_EVIDENCE, 0, BYTES_LIT("rubbish"), NULL, 0) == 0);
    CHECK(ipc_receive(receive, deadline(), &message) == GW_ERR_EOF);
    ipc_channel_free(&receive);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    struct sockaddr_un name = socket_name("relay");
    CHECK(connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0);
    CHECK(send(fd, content, 5000, MSG_NOSIGNAL) == 5000);
    CHECK(recv(fd, content, 1, 0) <= 0);
    content[0] = 0;
    (void)close(fd);
    test_greylist("b@example.com");
}

/* The queue of this test: takes one submission and answers it. */
static void
test_notice(int queue_listener)
{
    struct ipc_channel *receive = join(ROLE_RECEIVE), *queue = NULL;
    struct wire_notice notice = {.class = NOTICE_RESOURCE, .text = BYTES_LIT("no space left\n")};
    struct ipc_message message;
    struct envelope *envelope = NULL;
    struct buf payload;
    char text[4096] = "";

    (void)snprintf(notice.key, sizeof(notice.key), "%s", "queue full");
    buf_init(&payload, 65536);
    CHECK(wire_notice_pack(&payload, &notice) == 0);
    for (int i = 0; i < 1000; i++) {
        CHECK(ipc_send(receive, WIRE_NOTICE, 0, bytes_buf(&payload), NULL, 0) == 0);
    }
    CHECK(fcntl(queue_listener, F_SETFL, 0) == 0);
    CHECK(ipc_accept(queue_listener, ROLE_QUEUE, ROLE_POLICY, false, &queue) == 0);
    CHECK(ipc_receive(queue, deadline(), &message) == 0 && message.type == WIRE_SUBMIT &&
          message.fd_count == 1);
    CHECK(ipc_is_sealed(message.fds[0]) && pread(message.fds[0], text, sizeof(text) - 1, 0) > 0);
    CHECK(strstr(text, "\r\nSubject: Postfix resource notice: queue full (1000 times)\r\n") != NULL);
    CHECK(strstr(text, "no space left\r\n") != NULL);
    CHECK(envelope_unpack(message.payload, &envelope) == 0);
    CHECK(bytes_equal(envelope->sender, BYTES_LIT("double-bounce@example.com")) &&
          envelope->recipient_count == 1 &&
          bytes_equal(envelope->recipients[0].address, BYTES_LIT("boss@example.org")));
    CHECK(envelope->size == strlen(text) && envelope->queue_id[0] != '\0');
    buf_clear(&payload);
    struct wire_status status = {.code = 0};
    CHECK(wire_status_pack(&payload, &status) == 0);
    CHECK(ipc_send(queue, WIRE_SUBMITTED, message.id, bytes_buf(&payload), NULL, 0) == 0);
    (void)usleep(200000);
    envelope_free(&envelope);
    ipc_message_free(&message);
    buf_free(&payload);
    ipc_channel_free(&queue);
    ipc_channel_free(&receive);
}

static void
test_damage(struct config *config)
{
    size_t lines;
    int fd = open("data/journal.lmdb", O_WRONLY | O_CLOEXEC);

    CHECK(fd != -1 && pwrite(fd, content + 1000, 8192, 0) == 8192);
    (void)close(fd);
    pid_t child = start(config);
    CHECK(ask(WORDS("why", "Q1"), &lines, NULL) == 0 && lines == 0);
    CHECK(ask(WORDS("quarantine", "list"), &lines, NULL) == 0 && lines == 2);
    stop(child);
}

static void
write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");

    CHECK(file != NULL && fputs(text, file) >= 0);
    if (file != NULL) {
        (void)fclose(file);
    }
}

int
main(void)
{
    struct log_target target = {.syslog_name = "postfix", .facility = "mail", .file = "log", .fd = -1};
    char command[160], text[1024];

    (void)snprintf(directory, sizeof(directory), "%s", "/tmp/service_test.XXXXXX");
    if (mkdtemp(directory) == NULL || chdir(directory) == -1 || mkdir("ipc", 0700) == -1) {
        perror("mkdtemp");
        return 1;
    }
    for (size_t i = 0; i < CONTENT; i++) {
        content[i] = (uint8_t)(i * 7 + i / 251);
    }
    (void)snprintf(text, sizeof(text),
                   "queue_directory = %s\ndata_directory = %s/data\nmyhostname = mx.example.com\n"
                   "myorigin = example.com\ngreylist_delay = 1s\nerror_notice_recipient = boss@example.org\n"
                   "journal_size_limit = 16777216\nquarantine_size_limit = 16777216\n",
                   directory, directory);
    write_file("main.cf", text);
    write_file("master.cf", "");
    CHECK(log_open(&target) == 0);
    for (size_t i = 0; i < CLIENT_COUNT; i++) {
        listeners[CLIENTS[i]] = listen_at(role_name(CLIENTS[i]));
    }
    int queue_listener = listen_at("ipc/queue");
    struct config *config = load();
    if (failures == 0) {
        pid_t child = start(config);
        test_greylist("a@example.com");
        test_allowlist();
        test_why();
        test_quarantine(config, &child);
        test_hostile();
        test_notice(queue_listener);
        stop(child);
        test_damage(config);
    }
    config_free(&config);
    if (failures != 0 && system("cat log >&2") != 0) {
        failures++;
    }
    (void)snprintf(command, sizeof(command), "cd / && rm -rf %s", directory);
    CHECK(system(command) == 0);
    return failures != 0;
}

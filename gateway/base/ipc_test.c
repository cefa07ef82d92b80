/*
 * ipc_test - the rules are enforced by the receiver, whatever a peer sends.
 *
 * The receiver under test is a channel; the peer is first a channel too, then a bare socket that forges
 * packets.
 */
#include "base/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

enum {
    ASK = 1,
    ANSWER = 2,
    FILE_TYPE = 3,
    BIG = 4,
    LATER = 5,
    SHORT_MAX = 16,
    BIG_MAX = 1 << 20,
    PHASE_TWO = 2
};

const struct ipc_rule IPC_RULES[] = {
    {ASK, ROLE_RECEIVE, ROLE_QUEUE, IPC_PHASE_ANY, 0, 0, SHORT_MAX},
    {ANSWER, ROLE_QUEUE, ROLE_RECEIVE, IPC_PHASE_ANY, 0, 0, SHORT_MAX},
    {FILE_TYPE, ROLE_RECEIVE, ROLE_QUEUE, IPC_PHASE_START, PHASE_TWO, 1, SHORT_MAX},
    {BIG, ROLE_RECEIVE, ROLE_QUEUE, IPC_PHASE_ANY, 0, 0, BIG_MAX},
    {LATER, ROLE_RECEIVE, ROLE_QUEUE, PHASE_TWO, 0, 0, SHORT_MAX},
    {0, ROLE_NONE, ROLE_NONE, 0, 0, 0, 0},
};

/* As on the wire (ipc.c). */
struct header {
    uint16_t type;
    uint16_t flags;
    uint32_t length;
    uint64_t id;
};

struct pair {
    struct ipc_channel *client, *server;
};

static void
open_pair(struct pair *pair, bool nonblocking)
{
    int fds[2];

    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0, fds) ==
          0);
    pair->client = ipc_channel_new(fds[0], ROLE_RECEIVE, ROLE_QUEUE);
    pair->server = ipc_channel_new(fds[1], ROLE_QUEUE, ROLE_RECEIVE);
    CHECK(pair->client != NULL && pair->server != NULL);
}

static void
close_pair(struct pair *pair)
{
    ipc_channel_free(&pair->client);
    ipc_channel_free(&pair->server);
}

static int
count_fds(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) != -1;
    }
    return count;
}

static int64_t
soon(void)
{
    return clock_monotonic_ms() + 1000;
}

static void
test_plain(void)
{
    struct pair pair;
    struct ipc_message message;

    open_pair(&pair, false);
    CHECK(ipc_send(pair.client, ASK, 7, BYTES_LIT("hello"), NULL, 0) == 0);
    CHECK(ipc_receive(pair.server, soon(), &message) == 0);
    CHECK(message.type == ASK && message.id == 7 && bytes_equal(message.payload, BYTES_LIT("hello")));
    CHECK(message.fd_count == 0);
    ipc_message_free(&message);
    CHECK(ipc_receive(pair.server, clock_monotonic_ms() + 20, &message) == GW_ERR_TIMEOUT);
    ipc_channel_free(&pair.client);
    CHECK(ipc_receive(pair.server, soon(), &message) == GW_ERR_EOF);
    CHECK(ipc_send(pair.server, ANSWER, 7, BYTES_LIT(""), NULL, 0) == GW_ERR_EOF);
    close_pair(&pair);
}

static void
test_own_table(void)
{
    struct pair pair;
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    open_pair(&pair, false);
    CHECK(ipc_send(pair.client, ANSWER, 1, BYTES_LIT(""), NULL, 0) ==
          GW_ERR_DENIED); /* the other direction */
    CHECK(ipc_send(pair.client, 99, 1, BYTES_LIT(""), NULL, 0) == GW_ERR_DENIED);
    CHECK(ipc_send(pair.client, LATER, 1, BYTES_LIT(""), NULL, 0) == GW_ERR_DENIED); /* not in this phase */
    CHECK(ipc_send(pair.client, ASK, 1, BYTES_LIT("0123456789abcdef+"), NULL, 0) == GW_ERR_DENIED);
    CHECK(ipc_send(pair.client, ASK, 1, BYTES_LIT(""), &null_fd, 1) == GW_ERR_DENIED);
    CHECK(ipc_send(pair.client, FILE_TYPE, 1, BYTES_LIT(""), NULL, 0) == GW_ERR_DENIED);
    close_pair(&pair);
    (void)close(null_fd);
}

static void
test_phases_and_fds(void)
{
    struct pair pair;
    struct ipc_message message;
    int fd = ipc_sealed_memfd("test", BYTES_LIT("content"));
    char text[8] = "";

    open_pair(&pair, false);
    CHECK(ipc_is_sealed(fd));
    CHECK(ipc_send(pair.client, FILE_TYPE, 1, BYTES_LIT("x"), &fd, 1) == 0);
    CHECK(ipc_send(pair.client, FILE_TYPE, 2, BYTES_LIT("x"), &fd, 1) ==
          GW_ERR_DENIED); /* the phase has moved */
    CHECK(ipc_send(pair.client, LATER, 3, BYTES_LIT("y"), NULL, 0) == 0);
    CHECK(ipc_receive(pair.server, soon(), &message) == 0 && message.fd_count == 1);
    CHECK(message.fds[0] != fd && pread(message.fds[0], text, 7, 0) == 7 && strcmp(text, "content") == 0);
    CHECK((fcntl(message.fds[0], F_GETFD) & FD_CLOEXEC) != 0);
    int received = message.fds[0];
    ipc_message_free(&message);
    CHECK(fcntl(received, F_GETFD) == -1); /* closed with the message */
    CHECK(ipc_receive(pair.server, soon(), &message) == 0 && message.type == LATER);
    ipc_message_free(&message);
    close_pair(&pair);
    (void)close(fd);
}

static void
test_spilled(void)
{
    struct pair pair;
    struct ipc_message message;
    uint8_t *big = malloc(BIG_MAX);

    for (size_t i = 0; i < BIG_MAX; i++) {
        big[i] = (uint8_t)(i * 7);
    }
    open_pair(&pair, false);
    static const size_t SIZES[] = {0, 1, IPC_INLINE_MAX, IPC_INLINE_MAX + 1, BIG_MAX};
    for (size_t i = 0; i < sizeof(SIZES) / sizeof(SIZES[0]); i++) {
        int before = count_fds();

        CHECK(ipc_send(pair.client, BIG, i, bytes_of(big, SIZES[i]), NULL, 0) == 0);
        CHECK(ipc_receive(pair.server, soon(), &message) == 0);
        CHECK(message.id == i && bytes_equal(message.payload, bytes_of(big, SIZES[i])) &&
              message.fd_count == 0);
        ipc_message_free(&message);
        CHECK(count_fds() == before);
    }
    close_pair(&pair);
    free(big);
}

/* One packet as only a broken or hostile peer would send it. */
static void
forge(int fd, const struct header *header, const void *payload, size_t n, const int *fds, size_t fd_count)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * 8)];
    } control;
    struct iovec parts[2] = {{(void *)header, sizeof(*header)}, {(void *)payload, n}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

    memset(&control, 0, sizeof(control));
    if (fd_count > 0) {
        message.msg_control = control.space;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(head), fds, sizeof(int) * fd_count);
    }
    CHECK(sendmsg(fd, &message, MSG_NOSIGNAL) != -1);
}

static int
make_memfd(size_t n, bool seal)
{
    int fd = memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    CHECK(fd != -1 && ftruncate(fd, (off_t)n) == 0);
    if (seal) {
        CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0);
    }
    return fd;
}

/* Every forged packet is refused and leaves no descriptor behind. */
static void
test_forged(void)
{
    enum { N = 40000 };
    static const struct {
        const char *what;
        struct header header;
        size_t payload;
        size_t fds;   /* plain descriptors */
        size_t spill; /* size of one more memfd, 0: none */
        bool sealed;
        int r;
    } CASES[] = {
        {"plain", {ASK, 0, 3, 1}, 3, 0, 0, false, 0},
        {"unknown type", {99, 0, 3, 1}, 3, 0, 0, false, GW_ERR_PEER},
        {"type zero", {0, 0, 3, 1}, 3, 0, 0, false, GW_ERR_PEER},
        {"type of the other direction", {ANSWER, 0, 3, 1}, 3, 0, 0, false, GW_ERR_PEER},
        {"wrong phase", {LATER, 0, 3, 1}, 3, 0, 0, false, GW_ERR_PEER},
        {"too long", {ASK, 0, SHORT_MAX + 1, 1}, SHORT_MAX + 1, 0, 0, false, GW_ERR_PEER},
        {"says longer than it is", {ASK, 0, 9, 1}, 3, 0, 0, false, GW_ERR_PEER},
        {"says shorter than it is", {ASK, 0, 2, 1}, 3, 0, 0, false, GW_ERR_PEER},
        {"length of 4 GB", {BIG, 0, UINT32_MAX, 1}, 3, 0, 0, false, GW_ERR_PEER},
        {"descriptor not asked for", {ASK, 0, 3, 1}, 3, 1, 0, false, GW_ERR_PEER},
        {"many descriptors", {ASK, 0, 3, 1}, 3, 8, 0, false, GW_ERR_PEER},
        {"descriptor missing", {FILE_TYPE, 0, 3, 1}, 3, 0, 0, false, GW_ERR_PEER},
        {"one descriptor too many", {FILE_TYPE, 0, 3, 1}, 3, 2, 0, false, GW_ERR_PEER},
        {"unknown flag", {ASK, 0x8000, 3, 1}, 3, 0, 0, false, GW_ERR_PEER},
        {"spilled", {BIG, 1, N, 1}, 0, 0, N, true, 0},
        {"spill that is not sealed", {BIG, 1, N, 1}, 0, 0, N, false, GW_ERR_PEER},
        {"spill shorter than said", {BIG, 1, N, 1}, 0, 0, N - 1, true, GW_ERR_PEER},
        {"spill longer than said", {BIG, 1, N, 1}, 0, 0, N + 1, true, GW_ERR_PEER},
        {"spill beyond the rule", {ASK, 1, N, 1}, 0, 0, N, true, GW_ERR_PEER},
        {"spill without a descriptor", {BIG, 1, N, 1}, 0, 0, 0, false, GW_ERR_PEER},
        {"spill that is no memfd", {BIG, 1, N, 1}, 0, 1, 0, false, GW_ERR_PEER},
        {"spill and payload", {BIG, 1, N, 1}, 3, 0, N, true, GW_ERR_PEER},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        int before = count_fds(), sockets[2], fds[9];
        size_t count = 0;
        struct ipc_message message;
        char payload[64] = "forged";

        CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
        struct ipc_channel *server = ipc_channel_new(sockets[1], ROLE_QUEUE, ROLE_RECEIVE);
        while (count < CASES[i].fds) {
            fds[count++] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        }
        if (CASES[i].spill > 0) {
            fds[count++] = make_memfd(CASES[i].spill, CASES[i].sealed);
        }
        forge(sockets[0], &CASES[i].header, payload, CASES[i].payload, fds, count);
        while (count > 0) {
            (void)close(fds[--count]);
        }
        int r = ipc_receive(server, soon(), &message);
        if (r != CASES[i].r) {
            (void)fprintf(stderr, "forged \"%s\": %d\n", CASES[i].what, r);
            failures++;
        }
        if (r == 0) {
            ipc_message_free(&message);
        }
        ipc_channel_free(&server);
        (void)close(sockets[0]);
        if (count_fds() != before) {
            (void)fprintf(stderr, "forged \"%s\": descriptors are left over\n", CASES[i].what);
            failures++;
        }
    }
}

static void
test_short_header(void)
{
    int sockets[2];
    struct ipc_message message;

    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
    struct ipc_channel *server = ipc_channel_new(sockets[1], ROLE_QUEUE, ROLE_RECEIVE);
    for (size_t n = 1; n < sizeof(struct header); n++) {
        CHECK(send(sockets[0], "0123456789abcdef", n, 0) == (ssize_t)n);
        CHECK(ipc_receive(server, soon(), &message) == GW_ERR_PEER);
    }
    ipc_channel_free(&server);
    (void)close(sockets[0]);
}

/* A slow reader: messages wait in the channel, in order, up to a bound. */
static void
test_backlog(void)
{
    struct pair pair;
    struct ipc_message message;
    uint8_t *big = calloc(1, IPC_INLINE_MAX);
    uint64_t sent = 0, received = 0;
    int r;

    open_pair(&pair, true);
    CHECK(ipc_receive(pair.server, 0, &message) == GW_ERR_AGAIN);
    do {
        r = ipc_send(pair.client, BIG, sent, bytes_of(big, IPC_INLINE_MAX), NULL, 0);
        sent += r == 0;
    } while (r == 0 && sent < 100000);
    CHECK(r == GW_ERR_FULL && ipc_has_backlog(pair.client) && ipc_flush(pair.client) == GW_ERR_AGAIN);
    for (;;) {
        r = ipc_receive(pair.server, 0, &message);
        if (r == 0) {
            CHECK(message.id == received);
            received++;
            ipc_message_free(&message);
        } else {
            CHECK(r == GW_ERR_AGAIN);
            if (!ipc_has_backlog(pair.client)) {
                break;
            }
            r = ipc_flush(pair.client);
            CHECK(r == 0 || r == GW_ERR_AGAIN);
        }
    }
    CHECK(received == sent);
    close_pair(&pair);
    free(big);
}

int
main(void)
{
    int before = count_fds();

    test_plain();
    test_own_table();
    test_phases_and_fds();
    test_spilled();
    test_forged();
    test_short_header();
    test_backlog();
    CHECK(count_fds() == before);
    return failures != 0;
}

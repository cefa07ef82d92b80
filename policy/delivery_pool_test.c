/*
 * delivery_pool_test - the threads against a fake queue: each reports with its own slot; when master closes
 * the control socket the idle ones leave at once, the busy one finishes its job and tells the result first.
 */
#include "policy/delivery_pool.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "config/role_start.h"

static int failures;
#define CHECK(cond)                                                    \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                \
        }                                                              \
    } while (0)

enum { PATIENCE_MS = 10000, THREADS = 3, JOB_MS = 300 };

static char top[] = "/tmp/delivery_pool_test.XXXXXX";

struct tally {
    atomic_int begun, ended, performing;
};

static void *
begin(void *context, uint16_t slot)
{
    struct tally *tally = context;

    (void)slot;
    atomic_fetch_add(&tally->begun, 1);
    return tally;
}

static void
end(void *state)
{
    struct tally *tally = state;

    atomic_fetch_add(&tally->ended, 1);
}

static int
perform(struct delivery_worker *worker, uint64_t id, const struct wire_job *job, int content_fd)
{
    struct tally *tally = worker->state;
    struct wire_recipient_result recipient = {.status = DELIVERY_SENT, .dsn = "2.0.0"};
    struct wire_result result = {.recipients = &recipient, .count = 1, .relay = "slow"};

    CHECK(strcmp(job->transport, "slow") == 0 && content_fd >= 0);
    atomic_fetch_add(&tally->performing, 1);
    (void)poll(NULL, 0, JOB_MS);
    return delivery_worker_send_result(worker, id, &result);
}

static const struct delivery_role SLOW = {
    .role = ROLE_RELAY, .program = "slow", .begin = begin, .end = end, .perform = perform};

static int
listen_queue(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "ipc/queue"};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 8) == 0);
    return fd;
}

static struct ipc_channel *
accept_worker(int listen_fd, bool *seen)
{
    struct ipc_channel *worker = NULL;
    struct ipc_message message;
    struct wire_worker hello = {.slot = THREADS};

    CHECK(ipc_accept(listen_fd, ROLE_QUEUE, ROLE_RELAY, false, &worker) == 0);
    CHECK(ipc_receive(worker, clock_monotonic_ms() + PATIENCE_MS, &message) == 0);
    CHECK(message.type == WIRE_WORKER && wire_worker_unpack(message.payload, &hello) == 0);
    ipc_message_free(&message);
    CHECK(hello.slot < THREADS && !seen[hello.slot]);
    seen[hello.slot < THREADS ? hello.slot : 0] = true;
    return worker;
}

static void
send_job(struct ipc_channel *worker, uint64_t id)
{
    struct envelope *envelope = envelope_new();
    uint16_t number = 0;
    struct wire_job job = {.transport = "slow", .envelope = envelope, .recipient_numbers = &number};
    int content_fd = ipc_sealed_memfd("content", BYTES_LIT("A: b\r\n\r\n"));
    struct buf packed;

    buf_init(&packed, IPC_PAYLOAD_MAX);
    envelope->size = 8;
    CHECK(envelope_set_sender(envelope, BYTES_LIT("s@y.test")) == 0);
    CHECK(envelope_add_recipient(envelope, BYTES_LIT("a@x.test"), bytes_of(NULL, 0), 0, bytes_of(NULL, 0)) ==
          0);
    CHECK(wire_job_pack(&packed, &job) == 0);
    CHECK(ipc_send(worker, WIRE_JOB, id, bytes_buf(&packed), &content_fd, 1) == 0);
    (void)close(content_fd);
    buf_free(&packed);
    envelope_free(&envelope);
}

static void
test_drain(struct delivery_pool *pool, struct tally *tally, int queue_fd, int *master_fd)
{
    struct ipc_channel *workers[THREADS];
    struct ipc_message message;
    bool seen[THREADS] = {false};

    for (size_t i = 0; i < THREADS; i++) {
        workers[i] = accept_worker(queue_fd, seen);
    }
    CHECK(atomic_load(&tally->begun) == THREADS && atomic_load(&tally->ended) == 0);
    send_job(workers[1], 7);
    for (int i = 0; i < PATIENCE_MS && atomic_load(&tally->performing) == 0; i++) {
        (void)poll(NULL, 0, 1);
    }
    (void)close(*master_fd);
    *master_fd = -1;
    int64_t start_ms = clock_monotonic_ms();
    delivery_pool_drain_when_told(pool);
    CHECK(clock_monotonic_ms() - start_ms < PATIENCE_MS);
    CHECK(atomic_load(&tally->ended) == THREADS);
    for (size_t i = 0; i < THREADS; i++) {
        int64_t deadline_ms = clock_monotonic_ms() + PATIENCE_MS;

        if (i == 1) {
            CHECK(ipc_receive(workers[i], deadline_ms, &message) == 0);
            CHECK(message.type == WIRE_RESULT && message.id == 7);
            ipc_message_free(&message);
        }
        CHECK(ipc_receive(workers[i], deadline_ms, &message) == GW_ERR_EOF);
        ipc_channel_free(&workers[i]);
    }
}

int
main(void)
{
    static struct delivery_pool *pool; /* has no _free */
    struct tally tally = {0};
    char command[64];
    int control[2];

    CHECK(IPC_RULES[0].type != 0); /* named here, or the linker would not take the table out of its library */
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) == 0);
    int master_fd = fcntl(control[0], F_DUPFD_CLOEXEC, ROLE_FIRST_FD);
    int role_fd = fcntl(control[1], F_DUPFD_CLOEXEC, ROLE_FIRST_FD);
    (void)close(control[0]);
    (void)close(control[1]);
    CHECK(master_fd != -1 && dup2(role_fd, ROLE_CONTROL_FD) == ROLE_CONTROL_FD);
    (void)close(role_fd);
    CHECK(mkdtemp(top) != NULL && chdir(top) == 0 && mkdir("ipc", 0700) == 0);
    int queue_fd = listen_queue();
    CHECK(delivery_pool_start(&SLOW, &tally, THREADS, &pool) == 0);
    if (pool != NULL) {
        test_drain(pool, &tally, queue_fd, &master_fd);
    }
    (void)close(queue_fd);
    (void)snprintf(command, sizeof(command), "rm -rf %s", top);
    CHECK(system(command) == 0);
    return failures != 0;
}

/*
 * deliver_worker_test - a deliver thread against a fake queue: reports for work, runs the agent of the
 * transport, tells the results and what aliases stand for, comes back when the queue was away, ends when told
 * to drain.
 */
#include "deliver/deliver_worker.h"

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
#include "base/pack.h"

static int failures;
#define CHECK(cond)                                                    \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                \
        }                                                              \
    } while (0)

enum { PATIENCE_MS = 10000 };

static char top[] = "/tmp/deliver_worker_test.XXXXXX";

static void
run_expanding(const struct deliver_transport *transport, struct deliver_task *task, unsigned slot)
{
    (void)transport;
    CHECK(slot == 5);
    CHECK(deliver_task_expand(task, BYTES_LIT("one@x.test")) == 0);
    CHECK(deliver_task_expand(task, BYTES_LIT("two@x.test")) == 0);
    deliver_outcome_set(&task->outcomes[0], DELIVERY_EXPANDED, "2.0.0", "alias expanded");
}

static int
listen_queue(void)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX, .sun_path = "ipc/queue"};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    CHECK(fd != -1 && bind(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0 && listen(fd, 10) == 0);
    return fd;
}

static struct ipc_channel *
accept_worker(int listen_fd)
{
    struct ipc_channel *worker = NULL;
    struct ipc_message message;
    struct wire_worker hello;

    CHECK(ipc_accept(listen_fd, ROLE_QUEUE, ROLE_DELIVER, false, &worker) == 0);
    CHECK(ipc_receive(worker, clock_monotonic_ms() + PATIENCE_MS, &message) == 0);
    CHECK(message.type == WIRE_WORKER && wire_worker_unpack(message.payload, &hello) == 0 && hello.slot == 5);
    ipc_message_free(&message);
    return worker;
}

static void
send_job(struct ipc_channel *worker, uint64_t id, const char *transport, const char *nexthop)
{
    struct envelope *envelope = envelope_new();
    uint16_t numbers[2] = {3, 9};
    struct wire_job job = {.nexthop = bytes_str(nexthop), .envelope = envelope, .recipient_numbers = numbers};
    int content_fd = ipc_sealed_memfd("content", BYTES_LIT("A: b\r\n\r\n"));
    struct buf packed;

    buf_init(&packed, IPC_PAYLOAD_MAX);
    (void)snprintf(job.transport, sizeof(job.transport), "%s", transport);
    envelope->size = 8;
    CHECK(envelope_set_sender(envelope, BYTES_LIT("s@y.test")) == 0);
    for (int i = 0; i < 2; i++) {
        CHECK(envelope_add_recipient(envelope, BYTES_LIT("a@x.test"), bytes_of(NULL, 0), 0,
                                     bytes_of(NULL, 0)) == 0);
    }
    CHECK(wire_job_pack(&packed, &job) == 0);
    CHECK(ipc_send(worker, WIRE_JOB, id, bytes_buf(&packed), &content_fd, 1) == 0);
    (void)close(content_fd);
    buf_free(&packed);
    envelope_free(&envelope);
}

static void
take_result(struct ipc_channel *worker, uint64_t id, enum delivery_status status, const char *text,
            uint16_t expanded)
{
    struct ipc_message message;
    struct wire_result result = {0};
    struct arena *arena = arena_new(1024 * 1024);
    struct unpack u;

    CHECK(ipc_receive(worker, clock_monotonic_ms() + PATIENCE_MS, &message) == 0);
    CHECK(message.type == WIRE_RESULT && message.id == id);
    CHECK(wire_result_unpack(arena, message.payload, &result) == 0 && result.count == 2);
    if (result.count == 2) {
        CHECK(result.recipients[0].number == 3 && result.recipients[1].number == 9);
        CHECK(result.recipients[0].status == status);
        CHECK(bytes_find(result.recipients[0].reply, bytes_str(text)) >= 0);
    }
    unpack_begin(&u, result.expanded);
    CHECK(expanded == 0 ? result.expanded.n == 0 : unpack_u16(&u) == expanded);
    for (uint16_t i = 0; i < expanded; i++) {
        CHECK(bytes_equal(unpack_bytes(&u, 100), i == 0 ? BYTES_LIT("one@x.test") : BYTES_LIT("two@x.test")));
    }
    CHECK(unpack_end(&u) == 0);
    ipc_message_free(&message);
    arena_free(&arena);
}

int
main(void)
{
    static const struct deliver_agent EXPANDING = {"expanding", NULL, run_expanding};
    struct deliver_transport discard = {.name = "discard", .agent = deliver_transport_agent("discard")};
    struct deliver_transport error = {.name = "error", .agent = deliver_transport_agent("error")};
    struct deliver_transport expanding = {.name = "expanding", .agent = &EXPANDING};
    struct delivery_shared *shared = calloc(1, sizeof(*shared));
    struct deliver_shared *transports = calloc(1, sizeof(*transports));
    struct delivery_worker thread = {.shared = shared, .slot = 5, .queue_fd = -1};
    char command[64];
    pthread_t id;

    CHECK(IPC_RULES[0].type != 0); /* named here, or the linker would not take the table out of its library */
    CHECK(mkdtemp(top) != NULL && chdir(top) == 0 && mkdir("ipc", 0700) == 0);
    transports->transports[0] = &discard;
    transports->transports[1] = &error;
    transports->transports[2] = &expanding;
    transports->transport_count = 3;
    shared->role = &DELIVER_WORKER;
    shared->context = transports;
    (void)pthread_mutex_init(&shared->evidence_lock, NULL);
    (void)pthread_mutex_init(&thread.lock, NULL);
    int queue_fd = listen_queue();
    atomic_store(&shared->threads, 1);
    CHECK(pthread_create(&id, NULL, delivery_worker_run, &thread) == 0);

    struct ipc_channel *worker = accept_worker(queue_fd);
    send_job(worker, 1, "discard", "silently");
    take_result(worker, 1, DELIVERY_SENT, "silently", 0);
    send_job(worker, 2, "error", "5.1.2 no such domain");
    take_result(worker, 2, DELIVERY_BOUNCED, "no such domain", 0);
    send_job(worker, 3, "nosuch", "");
    take_result(worker, 3, DELIVERY_DEFERRED, "mail transport unavailable", 0);
    send_job(worker, 4, "expanding", "");
    take_result(worker, 4, DELIVERY_EXPANDED, "alias expanded", 2);
    ipc_channel_free(&worker); /* the queue dies and comes back */
    worker = accept_worker(queue_fd);
    send_job(worker, 5, "discard", "");
    take_result(worker, 5, DELIVERY_SENT, "discarded", 0);

    atomic_store(&shared->draining, true);
    for (int i = 0; i < 1000 && atomic_load(&shared->threads) > 0; i++) {
        delivery_worker_interrupt(&thread);
        (void)poll(NULL, 0, 5);
    }
    CHECK(atomic_load(&shared->threads) == 0);
    (void)pthread_join(id, NULL);
    ipc_channel_free(&worker);
    (void)close(queue_fd);
    free(shared);
    free(transports);
    (void)snprintf(command, sizeof(command), "rm -rf %s", top);
    CHECK(system(command) == 0);
    return failures != 0;
}

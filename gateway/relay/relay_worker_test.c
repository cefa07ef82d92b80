/*
 * relay_worker_test - a relay thread against a fake queue: it reports for work, delivers over a kept
 * connection, tells results, comes back when the queue was away, and ends when told to drain. With arguments
 * it measures: PORT JOBS THREADS deliver that many messages of 4 KB to [127.0.0.1]:PORT (smtp-sink) and print
 * time and CPU.
 */
#include "relay/relay_worker.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/stream.h"
#include "message/wire.h"

static int failures;
#define CHECK(cond)                                                    \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                \
        }                                                              \
    } while (0)

enum { PATIENCE_MS = 10000, THREADS_MAX = 64, CONTENT_BYTES = 4096 };

static char top[] = "/tmp/relay_worker_test.XXXXXX";

static int
listen_queue(void)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX, .sun_path = "ipc/queue"};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    (void)unlink(sun.sun_path);
    CHECK(fd != -1 && bind(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0 && listen(fd, 100) == 0);
    return fd;
}

/* A sink that takes everything; the number of connections is what the test looks at. */
struct sink {
    int fd;
    int connections;
};

static void
serve_sink(struct stream *stream)
{
    struct bytes line;
    bool data = false;

    while (stream_read_line(stream, 8192, &line) == 0) {
        if (data) {
            data = !bytes_equal(line, BYTES_LIT("."));
            if (!data) {
                (void)stream_printf(stream, "250 2.0.0 taken\r\n");
            }
        } else if (bytes_has_prefix_nocase(line, BYTES_LIT("DATA"))) {
            data = true;
            (void)stream_printf(stream, "354 go\r\n");
        } else if (bytes_has_prefix_nocase(line, BYTES_LIT("EHLO"))) {
            (void)stream_printf(stream, "250-sink\r\n250 PIPELINING\r\n");
        } else if (bytes_has_prefix_nocase(line, BYTES_LIT("QUIT"))) {
            break;
        } else {
            (void)stream_printf(stream, "250 ok\r\n");
        }
        (void)stream_flush(stream);
    }
}

static void *
run_sink(void *context)
{
    struct sink *sink = context;
    int fd;

    while ((fd = accept(sink->fd, NULL, NULL)) != -1) {
        struct stream *stream = stream_new(fd);

        sink->connections++;
        stream_set_deadline(stream, clock_monotonic_ms() + PATIENCE_MS);
        (void)stream_printf(stream, "220 sink\r\n");
        (void)stream_flush(stream);
        serve_sink(stream);
        stream_free(&stream);
    }
    return NULL;
}

static int
make_content(void)
{
    struct buf text;

    buf_init(&text, 2 * CONTENT_BYTES);
    (void)buf_append_str(&text, "Subject: test\r\n\r\n");
    while (text.n + 72 < CONTENT_BYTES) {
        (void)buf_append_str(&text,
                             "All work and no play makes a relay an honest thing to measure, line.\r\n");
    }
    int fd = ipc_sealed_memfd("content", bytes_buf(&text));
    buf_free(&text);
    return fd;
}

static void
send_job(struct ipc_channel *worker, uint64_t id, const char *transport, const char *nexthop, int content_fd)
{
    struct envelope *envelope = envelope_new();
    uint16_t numbers[1] = {7};
    struct wire_job job = {.nexthop = bytes_str(nexthop), .envelope = envelope, .recipient_numbers = numbers};
    struct stat st;
    struct buf packed;

    buf_init(&packed, IPC_PAYLOAD_MAX);
    (void)snprintf(job.transport, sizeof(job.transport), "%s", transport);
    (void)snprintf(envelope->queue_id, sizeof(envelope->queue_id), "4TEST");
    CHECK(fstat(content_fd, &st) == 0);
    envelope->size = (uint64_t)st.st_size;
    CHECK(envelope_set_sender(envelope, BYTES_LIT("s@y.test")) == 0);
    CHECK(envelope_add_recipient(envelope, BYTES_LIT("a@x.test"), bytes_of(NULL, 0), 0, bytes_of(NULL, 0)) ==
          0);
    CHECK(wire_job_pack(&packed, &job) == 0);
    CHECK(ipc_send(worker, WIRE_JOB, id, bytes_buf(&packed), &content_fd, 1) == 0);
    buf_free(&packed);
    envelope_free(&envelope);
}

static void
take_result(struct ipc_channel *worker, uint64_t id, enum delivery_status status, const char *connected_to)
{
    struct ipc_message message;
    struct wire_result result = {0};
    struct arena *arena = arena_new(1024 * 1024);

    CHECK(ipc_receive(worker, clock_monotonic_ms() + PATIENCE_MS, &message) == 0);
    CHECK(message.type == WIRE_RESULT && message.id == id);
    CHECK(wire_result_unpack(arena, message.payload, &result) == 0 && result.count == 1);
    if (result.count == 1) {
        CHECK(result.recipients[0].status == status && result.recipients[0].number == 7);
        CHECK(strcmp(result.connected_to, connected_to) == 0);
    }
    ipc_message_free(&message);
    arena_free(&arena);
}

static struct ipc_channel *
accept_worker(int listen_fd)
{
    struct ipc_channel *worker = NULL;
    struct ipc_message message;
    struct wire_worker hello;

    CHECK(ipc_accept(listen_fd, ROLE_QUEUE, ROLE_RELAY, false, &worker) == 0);
    CHECK(ipc_receive(worker, clock_monotonic_ms() + PATIENCE_MS, &message) == 0);
    CHECK(message.type == WIRE_WORKER && wire_worker_unpack(message.payload, &hello) == 0);
    ipc_message_free(&message);
    return worker;
}

static void
set_settings(struct relay_settings *s)
{
    memset(s, 0, sizeof(*s));
    s->transport = "smtp";
    s->program = "smtp";
    s->connect_ms = s->helo_ms = s->mail_ms = s->rcpt_ms = s->data_init_ms = s->data_xfer_ms =
        s->data_done_ms = s->rset_ms = PATIENCE_MS;
    s->cache_idle_ms = 300;
    s->reuse_ms = 300000;
    s->helo_name = "gateway.test";
    s->address =
        (struct relay_address_rules){.use_ipv4 = true, .default_port = 25, .own_name = "gateway.test"};
}

static void
start_thread(struct delivery_shared *shared, struct delivery_worker *thread, uint16_t slot)
{
    pthread_t id;

    *thread = (struct delivery_worker){.shared = shared, .slot = slot, .queue_fd = -1};
    (void)pthread_mutex_init(&thread->lock, NULL);
    atomic_fetch_add(&shared->threads, 1);
    CHECK(pthread_create(&id, NULL, delivery_worker_run, thread) == 0);
    (void)pthread_detach(id);
}

static void
drain(struct delivery_shared *shared, struct delivery_worker *threads, size_t count)
{
    int64_t deadline_ms = clock_monotonic_ms() + PATIENCE_MS;

    atomic_store(&shared->draining, true);
    while (atomic_load(&shared->threads) > 0 && clock_monotonic_ms() < deadline_ms) {
        for (size_t i = 0; i < count; i++) {
            delivery_worker_interrupt(&threads[i]);
        }
        (void)poll(NULL, 0, 5);
    }
    CHECK(atomic_load(&shared->threads) == 0);
}

static void
test_worker(struct delivery_shared *shared)
{
    struct delivery_worker thread;
    struct net_addr addr = {.family = AF_INET, .ip = {127, 0, 0, 1}};
    struct sockaddr_in sin;
    socklen_t length = sizeof(sin);
    struct sink sink = {.fd = net_listen(&addr, 5)};
    pthread_t sink_thread;
    char nexthop[64];
    int content_fd = make_content();
    int queue_fd = listen_queue();

    CHECK(getsockname(sink.fd, (struct sockaddr *)&sin, &length) == 0);
    (void)snprintf(nexthop, sizeof(nexthop), "[127.0.0.1]:%u", ntohs(sin.sin_port));
    CHECK(pthread_create(&sink_thread, NULL, run_sink, &sink) == 0);
    start_thread(shared, &thread, 3);
    struct ipc_channel *worker = accept_worker(queue_fd);
    for (uint64_t id = 1; id <= 5; id++) {
        send_job(worker, id, "smtp", nexthop, content_fd);
        take_result(worker, id, DELIVERY_SENT, nexthop);
    }
    CHECK(sink.connections == 1);
    (void)poll(NULL, 0,
               1600); /* the kept connection idles for too long: the worker says QUIT (to the second) */
    send_job(worker, 6, "smtp", nexthop, content_fd);
    take_result(worker, 6, DELIVERY_SENT, nexthop);
    CHECK(sink.connections == 2);
    send_job(worker, 7, "nosuch", nexthop, content_fd);
    take_result(worker, 7, DELIVERY_DEFERRED, nexthop);

    /* The queue dies with a job under way and is started again. */
    send_job(worker, 8, "smtp", nexthop, content_fd);
    ipc_channel_free(&worker);
    worker = accept_worker(queue_fd);
    send_job(worker, 9, "smtp", nexthop, content_fd);
    take_result(worker, 9, DELIVERY_SENT, nexthop);

    drain(shared, &thread, 1);
    ipc_channel_free(&worker);
    (void)shutdown(sink.fd, SHUT_RDWR);
    (void)pthread_join(sink_thread, NULL);
    (void)close(sink.fd);
    (void)close(queue_fd);
    (void)close(content_fd);
}

static void
measure(struct delivery_shared *shared, const char *port, size_t jobs, size_t count)
{
    struct delivery_worker threads[THREADS_MAX];
    struct ipc_channel *workers[THREADS_MAX];
    struct pollfd polls[THREADS_MAX];
    struct rusage before, after;
    char nexthop[64];
    int content_fd = make_content();
    int queue_fd = listen_queue();
    size_t sent = 0, done = 0;

    (void)snprintf(nexthop, sizeof(nexthop), "[127.0.0.1]:%s", port);
    for (size_t i = 0; i < count; i++) {
        start_thread(shared, &threads[i], (uint16_t)i);
        workers[i] = accept_worker(queue_fd);
        polls[i] = (struct pollfd){.fd = ipc_channel_fd(workers[i]), .events = POLLIN};
    }
    (void)getrusage(RUSAGE_SELF, &before);
    int64_t start_us = clock_monotonic_us();
    for (size_t i = 0; i < count && sent < jobs; i++) {
        send_job(workers[i], ++sent, "smtp", nexthop, content_fd);
    }
    while (done < jobs && poll(polls, count, PATIENCE_MS) > 0) {
        for (size_t i = 0; i < count; i++) {
            struct ipc_message message;

            if ((polls[i].revents & POLLIN) == 0) {
                continue;
            }
            CHECK(ipc_receive(workers[i], clock_monotonic_ms() + PATIENCE_MS, &message) == 0);
            ipc_message_free(&message);
            done++;
            if (sent < jobs) {
                send_job(workers[i], ++sent, "smtp", nexthop, content_fd);
            }
        }
    }
    int64_t took_us = clock_monotonic_us() - start_us;
    (void)getrusage(RUSAGE_SELF, &after);
    int64_t cpu_us =
        (after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) *
            1000000 +
        after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec;
    printf("%zu messages: %.0f/s, %.3f ms CPU each (fake queue included)\n", done,
           (double)done * 1e6 / (double)took_us, (double)cpu_us / 1000 / (double)done);
    drain(shared, threads, count);
}

int
main(int argc, char **argv)
{
    struct delivery_shared *shared = calloc(1, sizeof(*shared));
    struct relay_shared *transports = calloc(1, sizeof(*transports));
    struct relay_settings settings;
    char command[64];

    CHECK(IPC_RULES[0].type != 0); /* named here, or the linker would not take the table out of its library */
    CHECK(mkdtemp(top) != NULL && chdir(top) == 0 && mkdir("ipc", 0700) == 0);
    set_settings(&settings);
    transports->settings[0] = &settings;
    transports->settings_count = 1;
    shared->role = &RELAY_WORKER;
    shared->context = transports;
    (void)pthread_mutex_init(&shared->evidence_lock, NULL);
    if (argc == 4) {
        settings.cache_idle_ms = 2000;
        size_t count = strtoul(argv[3], NULL, 10);
        measure(shared, argv[1], strtoul(argv[2], NULL, 10), count < THREADS_MAX ? count : THREADS_MAX);
    } else {
        test_worker(shared);
    }
    free(shared);
    free(transports);
    (void)snprintf(command, sizeof(command), "rm -rf %s", top);
    CHECK(system(command) == 0);
    return failures != 0;
}

/*
 * reinjection_test - the door to the queue against a queue that commits, refuses, vanishes, is silent or
 * talks nonsense: only a commit gives 0.
 */
#include "policy/reinjection.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

static int failures;

#define CHECK(cond, number)                                                                      \
    do {                                                                                         \
        if (!(cond)) {                                                                           \
            (void)printf("%s:%d: %s (case %zu)\n", __FILE__, __LINE__, #cond, (size_t)(number)); \
            failures++;                                                                          \
        }                                                                                        \
    } while (0)

enum { DEADLINE_MS = 300, PATIENT_MS = 20000 };
enum { VANISH = 1000, SILENCE, NONSENSE, END }; /* what the queue does instead of a status */

/* One per case: what the queue answers to the first and the second submission, and what the caller gets. */
static const struct {
    int answers[2];
    int r;
    unsigned submissions;
} CASES[] = {
    {{0, END}, 0, 1},
    {{GW_ERR_EXISTS, END}, 0, 1},
    {{GW_ERR_FULL, END}, GW_ERR_FULL, 1},
    {{GW_ERR_LIMIT, END}, GW_ERR_LIMIT, 1},
    {{GW_ERR_TEMP, END}, GW_ERR_TEMP, 1},
    {{VANISH, 0}, 0, 2},
    {{VANISH, GW_ERR_EXISTS}, 0, 2}, /* committed before it went */
    {{VANISH, VANISH}, GW_ERR_TEMP, 2},
    {{VANISH, GW_ERR_FULL}, GW_ERR_FULL, 2},
    {{SILENCE, END}, GW_ERR_TIMEOUT, 1},
    {{NONSENSE, END}, GW_ERR_TEMP, 1},
    {{GW_ERR_PEER, END}, GW_ERR_TEMP, 1},
};

struct queue {
    int fd; /* listens */
    size_t number;
    unsigned submissions;
    char ids[2][QUEUE_ID_MAX];
    bool intact;  /* each submission had its envelope and content */
    bool release; /* the silent one may go on */
    pthread_mutex_t lock;
};

static void
answer(struct ipc_channel *channel, const struct ipc_message *message, int what)
{
    struct wire_status status = {.code = what > 0 ? 0 : what, .detail = "why"};
    struct buf out;

    buf_init(&out, 8192);
    if (what == NONSENSE) {
        CHECK(ipc_send(channel, WIRE_SUBMITTED, message->id, BYTES_LIT("x"), NULL, 0) == 0, 0);
    } else if (wire_status_pack(&out, &status) == 0) {
        CHECK(ipc_send(channel, WIRE_SUBMITTED, message->id, bytes_buf(&out), NULL, 0) == 0, 0);
    }
    buf_free(&out);
}

static void
note(struct queue *queue, const struct ipc_message *message)
{
    struct envelope *envelope = NULL;
    char content[16] = "";

    queue->intact = queue->intact && envelope_unpack(message->payload, &envelope) == 0 &&
                    message->fd_count == 1 && ipc_is_sealed(message->fds[0]) &&
                    pread(message->fds[0], content, sizeof(content), 0) == 5 &&
                    memcmp(content, "hola\n", 5) == 0;
    if (envelope != NULL && queue->submissions < 2) {
        (void)snprintf(queue->ids[queue->submissions], QUEUE_ID_MAX, "%s", envelope->queue_id);
    }
    envelope_free(&envelope);
    queue->submissions++;
}

static bool
is_released(struct queue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    bool released = queue->release;
    (void)pthread_mutex_unlock(&queue->lock);
    return released;
}

/* Answers as the case says, until the script ends. */
static void *
run_queue(void *context)
{
    struct queue *queue = context;
    struct ipc_channel *channel = NULL;
    struct ipc_message message = {0};

    for (size_t i = 0; i < 2 && CASES[queue->number].answers[i] != END; i++) {
        int what = CASES[queue->number].answers[i];

        if (channel == NULL && ipc_accept(queue->fd, ROLE_QUEUE, ROLE_RECEIVE, false, &channel) != 0) {
            break;
        }
        if (ipc_receive(channel, clock_monotonic_ms() + PATIENT_MS, &message) != 0) {
            break;
        }
        note(queue, &message);
        while (what == SILENCE && !is_released(queue)) {
            (void)usleep(1000);
        }
        if (what == VANISH) {
            ipc_channel_free(&channel);
        } else if (what != SILENCE) {
            answer(channel, &message, what);
        }
        ipc_message_free(&message);
    }
    ipc_channel_free(&channel);
    return NULL;
}

static int
listen_as_queue(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "ipc/queue"};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (fd == -1 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) == -1 ||
        listen(fd, 8) == -1) {
        perror("ipc/queue");
        exit(2);
    }
    return fd;
}

static struct envelope *
make_envelope(void)
{
    struct envelope *envelope = envelope_new();

    if (envelope == NULL || envelope_set_sender(envelope, BYTES_LIT("a@b")) != 0 ||
        envelope_add_recipient(envelope, BYTES_LIT("c@d"), BYTES_LIT("c@d"), 0, (struct bytes){0}) != 0) {
        exit(2);
    }
    queue_id_make(envelope->queue_id, clock_wall_us(), 1);
    envelope->size = 5;
    return envelope;
}

static void
run_case(size_t number)
{
    struct queue queue = {.fd = listen_as_queue(), .number = number, .intact = true};
    struct reinjection *door = reinjection_new(ROLE_RECEIVE);
    struct envelope *envelope = make_envelope();
    int content = ipc_sealed_memfd("content", BYTES_LIT("hola\n"));
    pthread_t thread;

    if (door == NULL || content == -1 || pthread_mutex_init(&queue.lock, NULL) != 0 ||
        pthread_create(&thread, NULL, run_queue, &queue) != 0) {
        exit(2);
    }
    int wait_ms = CASES[number].answers[0] == SILENCE ? DEADLINE_MS : PATIENT_MS;
    int64_t started = clock_monotonic_ms();
    int r = reinjection_submit(door, envelope, content, started + wait_ms);
    CHECK(r == CASES[number].r, number);
    CHECK(clock_monotonic_ms() - started < PATIENT_MS / 2, number);
    (void)pthread_mutex_lock(&queue.lock);
    queue.release = true;
    (void)pthread_mutex_unlock(&queue.lock);
    (void)pthread_join(thread, NULL);
    CHECK(queue.submissions == CASES[number].submissions, number);
    CHECK(queue.intact, number);
    CHECK(queue.submissions < 2 || strcmp(queue.ids[0], queue.ids[1]) == 0,
          number); /* one message to the queue */
    reinjection_free(&door);
    envelope_free(&envelope);
    (void)close(content);
    (void)close(queue.fd);
    (void)unlink("ipc/queue");
    (void)pthread_mutex_destroy(&queue.lock);
}

/* One connection serves one message after another. */
static void *
serve_three(void *context)
{
    const int *fd = context;
    struct ipc_channel *channel = NULL;
    struct ipc_message message;

    for (int i = 0; i < 3; i++) {
        if ((channel == NULL && ipc_accept(*fd, ROLE_QUEUE, ROLE_RECEIVE, false, &channel) != 0) ||
            ipc_receive(channel, clock_monotonic_ms() + PATIENT_MS, &message) != 0) {
            break;
        }
        answer(channel, &message, 0);
        ipc_message_free(&message);
    }
    ipc_channel_free(&channel);
    return NULL;
}

static void
test_reuse(void)
{
    struct reinjection *door = reinjection_new(ROLE_RECEIVE);
    struct envelope *envelope = make_envelope();
    int content = ipc_sealed_memfd("content", BYTES_LIT("hola\n"));
    int fd = listen_as_queue();
    pthread_t thread;

    if (door == NULL || content == -1 || pthread_create(&thread, NULL, serve_three, &fd) != 0) {
        exit(2);
    }
    for (size_t i = 0; i < 3; i++) {
        CHECK(reinjection_submit(door, envelope, content, clock_monotonic_ms() + PATIENT_MS) == 0, i);
    }
    (void)pthread_join(thread, NULL);
    (void)close(fd);
    (void)unlink("ipc/queue");
    /* Nobody listens any more. */
    CHECK(reinjection_submit(door, envelope, content, clock_monotonic_ms() + PATIENT_MS) == GW_ERR_TEMP, 3);
    reinjection_free(&door);
    envelope_free(&envelope);
    (void)close(content);
}

int
main(void)
{
    char directory[] = "/tmp/estafeta-reinjection-XXXXXX";

    if (mkdtemp(directory) == NULL || chdir(directory) == -1 || mkdir("ipc", 0700) == -1) {
        perror(directory);
        return 2;
    }
    for (size_t number = 0; number < sizeof(CASES) / sizeof(CASES[0]); number++) {
        run_case(number);
    }
    test_reuse();
    if (rmdir("ipc") == -1 || chdir("/") == -1 || rmdir(directory) == -1) {
        perror(directory);
        failures++;
    }
    return failures != 0;
}

/*
 * queue_recover_test - the queue process is killed with SIGKILL again and again under load: every message
 * that got its 0 is delivered, with its own content; what was deferred, held or damaged is still there after
 * a start.
 *
 * Shows of contract.tsv: QUE2.
 */
#include "queue/queue_rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum {
    SUBMITTERS = 6,
    WORKERS = 4,
    PER_SUBMITTER = 20000, /* at most; they end soon after the last kill */
    KILLS = 8,
    TOTAL = SUBMITTERS * PER_SUBMITTER,
    RECONNECT_US = 2000,
    END_WAIT_MS = 60000,
};

/* Shared between the process that makes the load and the one that kills. */
static struct load {
    const struct rig *rig;
    atomic_int acknowledged[TOTAL];
    atomic_int delivered[TOTAL];
    atomic_int wrong_content;
    atomic_bool kills_done, ended;
} * load;

static void
content_of(int number, char *out, size_t size)
{
    int n = snprintf(out, size, "Subject: %d\r\n\r\n", number);

    for (int i = 0; i < number % 97; i++) {
        n += snprintf(out + n, size - (size_t)n, "line %d of %d\r\n", i, number);
    }
}

static struct ipc_channel *
try_connect(enum role role)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s/ipc/queue", load->rig->directory,
                   role_name(role));
    while (connect(fd, (struct sockaddr *)&address, sizeof(address)) == -1) {
        (void)usleep(RECONNECT_US); /* the backlog is full while nobody accepts */
    }
    return ipc_channel_new(fd, role, ROLE_QUEUE);
}

/* As reinjection does: a connection that breaks before the answer means asking again with the same id. */
static void *
submit_all(void *context)
{
    int first = (int)(intptr_t)context * PER_SUBMITTER;
    struct ipc_channel *channel = try_connect(ROLE_RECEIVE);
    char id[QUEUE_ID_MAX], text[8192];

    for (int number = first; number < first + PER_SUBMITTER && !atomic_load(&load->kills_done); number++) {
        int r;

        (void)snprintf(id, sizeof(id), "4R%06d", number);
        content_of(number, text, sizeof(text));
        while ((r = rig_submit(channel, id, "a@example.test", "x@far.test", text)) != 0 &&
               r != GW_ERR_EXISTS) {
            ipc_channel_free(&channel);
            channel = try_connect(ROLE_RECEIVE);
        }
        atomic_store(&load->acknowledged[number], 1);
    }
    ipc_channel_free(&channel);
    return NULL;
}

static void
take(const struct wire_job *job, int fd)
{
    char expected[8192], text[8192];
    int number = (int)strtol(job->envelope->queue_id + 2, NULL, 10);

    content_of(number, expected, sizeof(expected));
    ssize_t n = pread(fd, text, sizeof(text), 0);
    if (n != (ssize_t)strlen(expected) || memcmp(text, expected, (size_t)n) != 0) {
        atomic_fetch_add(&load->wrong_content, 1);
    }
    atomic_fetch_add(&load->delivered[number], 1);
}

static struct ipc_channel *
connect_worker(void)
{
    struct ipc_channel *channel = try_connect(ROLE_RELAY);
    struct wire_worker worker = {.slot = 1};
    struct buf packed;

    buf_init(&packed, 64);
    (void)wire_worker_pack(&packed, &worker);
    (void)ipc_send(channel, WIRE_WORKER, 1, bytes_buf(&packed), NULL, 0);
    buf_free(&packed);
    return channel;
}

static void *
work(void *context)
{
    struct ipc_channel *channel = connect_worker();

    (void)context;
    while (!atomic_load(&load->ended)) {
        struct wire_job job;
        int fd, r = rig_take_job(channel, 200, &job, &fd);

        if (r == 0) {
            take(&job, fd);
            r = rig_tell(channel, &job, DELIVERY_SENT, "2.0.0", "ok", "");
        }
        rig_free_job(&job, &fd);
        if (r != 0 && r != GW_ERR_TIMEOUT && r != GW_ERR_AGAIN) {
            ipc_channel_free(&channel);
            channel = connect_worker();
        }
    }
    ipc_channel_free(&channel);
    return NULL;
}

/* Runs in its own process; the exit status is the verdict. */
static int
run_load(const struct rig *rig)
{
    pthread_t submitters[SUBMITTERS], workers[WORKERS];
    int lost = 0, twice = 0, count = 0;

    load->rig = rig;
    for (intptr_t i = 0; i < WORKERS; i++) {
        (void)pthread_create(&workers[i], NULL, work, NULL);
    }
    for (intptr_t i = 0; i < SUBMITTERS; i++) {
        (void)pthread_create(&submitters[i], NULL, submit_all, (void *)i);
    }
    for (int i = 0; i < SUBMITTERS; i++) {
        (void)pthread_join(submitters[i], NULL);
    }
    int64_t deadline_ms = clock_monotonic_ms() + END_WAIT_MS;
    do {
        (void)usleep(50000);
        lost = 0;
        for (int i = 0; i < TOTAL; i++) {
            lost += atomic_load(&load->acknowledged[i]) != 0 && atomic_load(&load->delivered[i]) == 0;
        }
    } while (lost > 0 && clock_monotonic_ms() < deadline_ms);
    atomic_store(&load->ended, true);
    for (int i = 0; i < WORKERS; i++) {
        (void)pthread_join(workers[i], NULL);
    }
    for (int i = 0; i < TOTAL; i++) {
        count += atomic_load(&load->acknowledged[i]);
        twice += atomic_load(&load->delivered[i]) > 1;
    }
    (void)printf("%d messages, %d kills: %d lost, %d delivered twice, %d with wrong content\n", count, KILLS,
                 lost, twice, atomic_load(&load->wrong_content));
    (void)fflush(stdout);
    CHECK(count >= 500);
    CHECK(lost == 0);
    CHECK(atomic_load(&load->wrong_content) == 0);
    /* Only what was reported in the last moments before a kill: a result under way or not yet committed. */
    CHECK(twice <= KILLS * 200);
    return failures != 0;
}

static void
test_kills(void)
{
    struct rig rig;
    int status = -1;

    load = mmap(NULL, sizeof(*load), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(load != MAP_FAILED);
    rig_make(&rig, "");
    pid_t loader = fork();
    if (loader == 0) {
        _exit(run_load(&rig));
    }
    for (unsigned i = 0; i < KILLS; i++) {
        (void)usleep(60000 + i * 17000);
        int ended = rig_end(&rig, SIGKILL);
        CHECK(WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL); /* it did not die of itself before */
        rig_start(&rig);
    }
    (void)usleep(300000);
    atomic_store(&load->kills_done, true);
    (void)waitpid(loader, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    status = rig_end(&rig, SIGTERM);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    rig_remove(&rig);
}

/* Asked again by a submitter whose answer was lost: not taken in a second time, though it is gone. */
static void
ask_again(const struct rig *rig, const char *mail)
{
    struct envelope *envelope = rig_envelope("5S1", "a@example.test", "x@one.test", strlen(mail));
    struct ipc_channel *client = rig_connect(rig, ROLE_RECEIVE);
    int fd = ipc_sealed_memfd("content", bytes_str(mail));

    (void)usleep(100000);
    envelope->arrival_us -= 3600LL * 1000000;
    CHECK(rig_submit_envelope(client, envelope, fd) == GW_ERR_EXISTS);
    (void)close(fd);
    envelope_free(&envelope);
    ipc_channel_free(&client);
}

/* What each state of gateway/doc/queue-states.md becomes after a kill. */
static void
test_states(void)
{
    static const char MAIL[] = "Subject: x\r\n\r\nx\r\n";
    struct ipc_channel *client, *worker;
    struct envelope *envelope;
    struct wire_job job;
    struct rig rig;
    struct buf text;
    uint64_t count;
    int fd;

    rig_make(&rig, "minimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\n");
    client = rig_connect(&rig, ROLE_RECEIVE);
    worker = rig_worker(&rig, ROLE_RELAY);
    /* deferred for one of two recipients */
    CHECK(rig_submit(client, "5S1", "a@example.test", "x@one.test y@two.test", MAIL) == 0);
    for (int i = 0; i < 2; i++) {
        CHECK(rig_take_job(worker, RIG_WAIT_MS, &job, &fd) == 0);
        bool is_one = job.envelope != NULL && bytes_equal(job.nexthop, BYTES_LIT("one.test"));
        CHECK(rig_tell(worker, &job, is_one ? DELIVERY_SENT : DELIVERY_DEFERRED, is_one ? "2.0.0" : "4.2.0",
                       "words of two.test", "") == 0);
        rig_free_job(&job, &fd);
    }
    /* held */
    envelope = rig_envelope("5S2", "a@example.test", "h@held.test", strlen(MAIL));
    envelope->hold = true;
    fd = ipc_sealed_memfd("content", bytes_str(MAIL));
    CHECK(rig_submit_envelope(client, envelope, fd) == 0);
    (void)close(fd);
    envelope_free(&envelope);
    (void)usleep(100000); /* the results are committed within QUEUE_RESULT_DELAY_MS */
    CHECK(WIFSIGNALED(rig_end(&rig, SIGKILL)));
    ipc_channel_free(&worker);
    ipc_channel_free(&client);
    rig_start(&rig);
    buf_init(&text, 65536);
    CHECK(rig_command(&rig, "list", &text, &count) == 0);
    CHECK(strstr(buf_str(&text), "words of two.test") != NULL);
    CHECK(strstr(buf_str(&text), "x@one.test") == NULL); /* done */
    CHECK(strstr(buf_str(&text), "5S2!") != NULL);
    worker = rig_worker(&rig, ROLE_RELAY);
    CHECK(rig_take_job(worker, RIG_WAIT_MS, &job, &fd) == 0); /* its back-off is over after a second */
    CHECK(job.envelope != NULL && job.envelope->recipient_count == 1 && job.recipient_numbers[0] == 1);
    /* under way at the kill: done again */
    CHECK(WIFSIGNALED(rig_end(&rig, SIGKILL)));
    rig_free_job(&job, &fd);
    ipc_channel_free(&worker);
    rig_start(&rig);
    worker = rig_worker(&rig, ROLE_RELAY);
    CHECK(rig_take_job(worker, RIG_WAIT_MS, &job, &fd) == 0);
    CHECK(job.envelope != NULL && strcmp(job.envelope->queue_id, "5S1") == 0);
    CHECK(rig_tell(worker, &job, DELIVERY_SENT, "2.0.0", "ok", "") == 0);
    rig_free_job(&job, &fd);
    ask_again(&rig, MAIL);
    buf_clear(&text);
    CHECK(rig_command(&rig, "delete ALL hold", &text, &count) == 0 && count == 1);
    CHECK(rig_command(&rig, "list", &text, &count) == 0);
    CHECK(strcmp(buf_str(&text), "Mail queue is empty\n") == 0);
    buf_free(&text);
    ipc_channel_free(&worker);
    int status = rig_end(&rig, SIGTERM);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    rig_remove(&rig);
}

int
main(void)
{
    test_states();
    test_kills();
    return failures != 0;
}

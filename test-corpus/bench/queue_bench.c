/*
 * queue_bench - how many messages a second the queue role takes and gives out, and what each costs it.
 *
 *   queue_bench [messages] [submitters] [workers] [bytes]     (40000 32 8 4096)
 *
 * The role runs as in the gateway (its own process, LMDB, log file, batches); submitters and workers are
 * threads that do nothing but ask and answer, so the number is the queue's own. CPU is of the queue process
 * alone.
 */
#include "queue/queue_rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

enum { THREADS_MAX = 256 };

static struct bench {
    struct rig rig;
    long messages, bytes;
    int submitters, workers;
    atomic_long next, delivered;
    atomic_int refused;
} bench;

static void *
submit_all(void *context)
{
    struct ipc_channel *channel = rig_connect(&bench.rig, ROLE_RECEIVE);
    char *text = malloc((size_t)bench.bytes + 1);
    long number;

    (void)context;
    memset(text, 'x', (size_t)bench.bytes);
    for (long i = 76; i + 1 < bench.bytes; i += 78) {
        text[i] = '\r';
        text[i + 1] = '\n';
    }
    while ((number = atomic_fetch_add(&bench.next, 1)) < bench.messages) {
        char id[QUEUE_ID_MAX];

        queue_id_make(id, clock_wall_us(), (uint64_t)number);
        struct envelope *envelope = rig_envelope(id, "a@example.test", "x@far.test", (size_t)bench.bytes);
        int fd = ipc_sealed_memfd("content", bytes_of(text, (size_t)bench.bytes));
        if (rig_submit_envelope(channel, envelope, fd) != 0) {
            atomic_fetch_add(&bench.refused, 1);
        }
        (void)close(fd);
        envelope_free(&envelope);
    }
    free(text);
    ipc_channel_free(&channel);
    return NULL;
}

static void *
work(void *context)
{
    struct ipc_channel *channel = rig_worker(&bench.rig, ROLE_RELAY);
    struct wire_job job;
    int fd;

    (void)context;
    while (atomic_load(&bench.delivered) < bench.messages) {
        int r = rig_take_job(channel, 200, &job, &fd);

        if (r == 0) {
            atomic_fetch_add(&bench.delivered, 1);
            r = rig_tell(channel, &job, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued", "far.test");
        }
        rig_free_job(&job, &fd);
        if (r != 0 && r != GW_ERR_TIMEOUT && r != GW_ERR_AGAIN) {
            break;
        }
    }
    ipc_channel_free(&channel);
    return NULL;
}

static long
number_of(int argc, char **argv, int i, long fallback)
{
    return argc > i ? strtol(argv[i], NULL, 10) : fallback;
}

static double
seconds_of(struct timeval tv)
{
    return (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
}

int
main(int argc, char **argv)
{
    pthread_t submitters[THREADS_MAX], workers[THREADS_MAX];
    struct rusage usage;
    struct buf text;
    uint64_t count;

    bench.messages = number_of(argc, argv, 1, 40000);
    bench.submitters = (int)number_of(argc, argv, 2, 32) % THREADS_MAX;
    bench.workers = (int)number_of(argc, argv, 3, 8) % THREADS_MAX;
    bench.bytes = number_of(argc, argv, 4, 4096);
    rig_make(&bench.rig,
             "default_destination_concurrency_limit = 100\ninitial_destination_concurrency = 100\n");
    int64_t start_us = clock_monotonic_us();
    for (int i = 0; i < bench.workers; i++) {
        (void)pthread_create(&workers[i], NULL, work, NULL);
    }
    for (int i = 0; i < bench.submitters; i++) {
        (void)pthread_create(&submitters[i], NULL, submit_all, NULL);
    }
    for (int i = 0; i < bench.submitters; i++) {
        (void)pthread_join(submitters[i], NULL);
    }
    double submitted = (double)(clock_monotonic_us() - start_us) / 1e6;
    for (int i = 0; i < bench.workers; i++) {
        (void)pthread_join(workers[i], NULL);
    }
    double all = (double)(clock_monotonic_us() - start_us) / 1e6;
    buf_init(&text, 65536);
    (void)rig_command(&bench.rig, "status", &text, &count);
    double restart = 0;
    if (bench.workers == 0) { /* everything is still there: kill it, and wait until it answers again */
        (void)rig_end(&bench.rig, SIGKILL);
        start_us = clock_monotonic_us();
        rig_start(&bench.rig);
        buf_clear(&text);
        (void)rig_command(&bench.rig, "status", &text, &count);
        restart = (double)(clock_monotonic_us() - start_us) / 1e6;
    }
    (void)rig_end(&bench.rig, SIGTERM);
    (void)getrusage(RUSAGE_CHILDREN, &usage);
    double user = seconds_of(usage.ru_utime), system = seconds_of(usage.ru_stime), n = (double)bench.messages;
    (void)printf("%ld messages of %ld bytes, %d submitters, %d workers\n", bench.messages, bench.bytes,
                 bench.submitters, bench.workers);
    (void)printf("accepted  %8.0f /s\n", n / submitted);
    if (bench.workers > 0) {
        (void)printf("delivered %8.0f /s\n", n / all);
    }
    (void)printf("queue CPU %8.1f us per message (user %.1f, system %.1f), %ld KB resident\n",
                 (user + system) / n * 1e6, user / n * 1e6, system / n * 1e6, usage.ru_maxrss);
    if (bench.workers == 0) {
        (void)printf("restart   %8.2f s after kill -9\n", restart);
    }
    (void)printf("%s", buf_str(&text));
    buf_free(&text);
    failures += atomic_load(&bench.refused);
    rig_remove(&bench.rig);
    return failures != 0;
}

/*
 * scan_loader_test - a loader with workers, asked over its socket: answers, hostile callers, workers that are
 * killed or hang, the end while a scan is under way.
 */
#include "scanners/scan_loader.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "scanners/scan_rig.h"

enum { WAIT_MS = 20000, WORKERS = 2, THREADS = 2, SLOW_MS = 700, HANG_BUDGET_MS = 300, PIDS_MAX = 16 };

struct place {
    struct rig rig;
    int listen_fd, spamd_fd;
    struct sockaddr_un socket;
    pid_t loader;
};

static int
listen_at(struct sockaddr_un *address, const char *directory, const char *name, int type)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(address->sun_path, sizeof(address->sun_path), "%.80s/%.20s", directory, name);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (fd == -1 || bind(fd, (struct sockaddr *)address, sizeof(*address)) == -1 || listen(fd, 64) == -1) {
        rig_die("listen");
    }
    return fd;
}

static void
start_loader(struct place *place)
{
    int said[2];
    char word = 0;
    pid_t self = getpid();

    CHECK(pipe(said) == 0);
    if ((place->loader = fork()) == 0) {
        struct scan_loader_options options = {.listen_fd = place->listen_fd,
                                              .workers = WORKERS,
                                              .threads = THREADS,
                                              .said_fd = said[1],
                                              .parent = self,
                                              .drain_ms = WAIT_MS};
        struct buf why;

        (void)close(said[0]);
        (void)close(place->spamd_fd);
        buf_init(&why, 65536);
        int r = pipeline_load(place->rig.config, &options.pipeline, &why);
        r = r == 0 ? scan_loader_run(&options) : r;
        pipeline_free(&options.pipeline);
        buf_free(&why);
        _exit(r == 0 ? 0 : 1);
    }
    (void)close(said[1]);
    CHECK(read(said[0], &word, 1) == 1 && word == SCAN_LOADER_SERVES);
    (void)close(said[0]);
}

static void
stop_loader(struct place *place)
{
    int status = 0;

    CHECK(kill(place->loader, SIGTERM) == 0 && waitpid(place->loader, &status, 0) == place->loader);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static struct ipc_channel *
join(const struct place *place)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    CHECK(fd != -1 && connect(fd, (const struct sockaddr *)&place->socket, sizeof(place->socket)) == 0);
    return ipc_channel_new(fd, ROLE_RECEIVE, ROLE_SCAN);
}

/* Sends the question; its answer is waited for by hear(). */
static void
ask(struct place *place, struct ipc_channel *channel, struct bytes content)
{
    struct buf payload;
    int fd = ipc_sealed_memfd("content", content);

    place->rig.envelope->size = content.n;
    buf_init(&payload, 65536);
    CHECK(fd != -1 && wire_scan_pack(&payload, &place->rig.request) == 0);
    CHECK(ipc_send(channel, WIRE_SCAN, 7, bytes_buf(&payload), &fd, 1) == 0);
    buf_free(&payload);
    (void)close(fd);
}

static int
hear(struct place *place, struct ipc_channel *channel, struct scan_report *report_r)
{
    struct ipc_message message;
    int r = ipc_receive(channel, clock_monotonic_ms() + WAIT_MS, &message);

    *report_r = (struct scan_report){0};
    if (r == 0) {
        CHECK(message.type == WIRE_REPORT && message.id == 7);
        r = scan_report_unpack(place->rig.arena, message.payload, report_r);
        ipc_message_free(&message);
    }
    return r;
}

/* Reads one question, and answers after a while, or never (wait_ms < 0: the connection is returned). */
static int
act_as_spamd(const struct place *place, int wait_ms)
{
    static const char ANSWER[] = "SPAMD/1.1 0 EX_OK\r\nContent-length: 1\r\nSpam: False ; 1.0 / 5.0\r\n\r\nA";
    char question[4096];
    int fd = accept(place->spamd_fd, NULL, NULL);

    CHECK(fd != -1 && read(fd, question, sizeof(question)) > 0);
    if (wait_ms < 0) {
        return fd;
    }
    (void)poll(NULL, 0, wait_ms);
    CHECK(write(fd, ANSWER, sizeof(ANSWER) - 1) == (ssize_t)sizeof(ANSWER) - 1);
    (void)close(fd);
    return -1;
}

static void
check_serves(struct place *place)
{
    struct ipc_channel *channel = join(place);
    struct scan_report report;

    ask(place, channel, BYTES_LIT(RIG_HEAD "\r\nhola\r\n"));
    (void)act_as_spamd(place, 0);
    CHECK(hear(place, channel, &report) == 0 && report.count == 2);
    CHECK(report.results[1].scanner == SCANNER_SPAMASSASSIN && report.results[1].status == SCAN_CLEAN);
    ipc_channel_free(&channel);
    arena_reset(place->rig.arena);
}

/* Children of the loader. */
static size_t
find_workers(const struct place *place, pid_t pids[PIDS_MAX])
{
    char path[64], text[1024];
    size_t count = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)place->loader, (int)place->loader);
    FILE *file = fopen(path, "re");
    if (file == NULL || fgets(text, sizeof(text), file) == NULL) {
        text[0] = '\0';
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    for (char *p = text, *end; count < PIDS_MAX; p = end) {
        long pid = strtol(p, &end, 10);

        if (end == p) {
            break;
        }
        pids[count++] = (pid_t)pid;
    }
    return count;
}

static void
test_answers(struct place *place)
{
    struct ipc_channel *channel = join(place);
    struct scan_report report;

    for (int i = 0; i < 3; i++) { /* several over one connection */
        ask(place, channel, BYTES_LIT(RIG_HEAD "X-Bad: 1\r\n\r\nhola\r\n"));
        CHECK(hear(place, channel, &report) == 0 && report.count == 2);
        CHECK(report.results[0].status == SCAN_FOUND && report.results[1].status == SCAN_SKIPPED);
    }
    ipc_channel_free(&channel);
    check_serves(place);
}

/* A type that receive may not send, bytes that are no request, a descriptor that can still change. */
static void
test_hostile(struct place *place)
{
    struct scan_report report;
    struct buf payload;
    int open_fd = memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int sealed_fd = ipc_sealed_memfd("content", BYTES_LIT("x"));

    place->rig.envelope->size = 1;
    buf_init(&payload, 65536);
    CHECK(open_fd != -1 && sealed_fd != -1 && write(open_fd, "x", 1) == 1);
    CHECK(wire_scan_pack(&payload, &place->rig.request) == 0);
    for (int i = 0; i < 3; i++) {
        struct ipc_channel *channel = join(place);

        if (i == 0) {
            CHECK(ipc_send(channel, WIRE_SCAN, 7, bytes_buf(&payload), &open_fd, 1) == 0);
        } else if (i == 1) {
            CHECK(ipc_send(channel, WIRE_SCAN, 7, BYTES_LIT("nonsense"), &sealed_fd, 1) == 0);
        } else {
            CHECK(send(ipc_channel_fd(channel), "nonsense", 8, 0) == 8);
        }
        CHECK(hear(place, channel, &report) == GW_ERR_EOF);
        ipc_channel_free(&channel);
    }
    (void)close(open_fd);
    (void)close(sealed_fd);
    buf_free(&payload);
    check_serves(place);
}

/* A worker that dies as it accepts takes that question with it: receive asks once more. Here the dead are
 * gone first. */
static void
test_killed(struct place *place)
{
    pid_t before[PIDS_MAX], after[PIDS_MAX] = {0};
    size_t count = find_workers(place, before), again = 0;

    CHECK(count == WORKERS);
    (void)poll(NULL, 0, 1100); /* older than a worker that is not replaced at once */
    int64_t start_ms = clock_monotonic_ms();
    for (size_t i = 0; i < count; i++) {
        CHECK(kill(before[i], SIGKILL) == 0);
    }
    while (clock_monotonic_ms() - start_ms < WAIT_MS &&
           (again != WORKERS || after[0] == before[0] || after[1] == before[0] || after[0] == before[1] ||
            after[1] == before[1])) {
        (void)poll(NULL, 0, 5);
        again = find_workers(place, after);
    }
    CHECK(again == WORKERS && clock_monotonic_ms() - start_ms < 1000);
    check_serves(place);
}

/* All workers stand still in the middle of a scan: the one with the overdue scan is killed, its caller sees
 * it. */
static void
test_hanging(struct place *place)
{
    struct ipc_channel *channel = join(place);
    struct scan_report report;
    pid_t workers[PIDS_MAX];
    size_t count = find_workers(place, workers);
    int64_t start_ms = clock_monotonic_ms();

    place->rig.request.budget_ms = HANG_BUDGET_MS;
    ask(place, channel, BYTES_LIT(RIG_HEAD "\r\nhola\r\n"));
    int spamd_fd = act_as_spamd(place, -1);
    for (size_t i = 0; i < count; i++) {
        CHECK(kill(workers[i], SIGSTOP) == 0);
    }
    CHECK(hear(place, channel, &report) == GW_ERR_EOF);
    int64_t took_ms = clock_monotonic_ms() - start_ms;
    CHECK(took_ms >= HANG_BUDGET_MS && took_ms < 8000);
    for (size_t i = 0; i < count; i++) {
        (void)kill(workers[i], SIGCONT);
    }
    ipc_channel_free(&channel);
    (void)close(spamd_fd);
    place->rig.request.budget_ms = RIG_BUDGET_MS;
    check_serves(place);
}

/* The end waits for the scan under way; those that wait for a caller go at once. */
static void
test_end(struct place *place)
{
    struct ipc_channel *channel = join(place);
    struct scan_report report;
    int64_t start_ms = clock_monotonic_ms();

    ask(place, channel, BYTES_LIT(RIG_HEAD "\r\nhola\r\n"));
    int spamd_fd = act_as_spamd(place, -1);
    CHECK(kill(place->loader, SIGTERM) == 0);
    (void)poll(NULL, 0, SLOW_MS);
    CHECK(waitpid(place->loader, NULL, WNOHANG) == 0);
    static const char ANSWER[] = "SPAMD/1.1 0 EX_OK\r\nContent-length: 1\r\nSpam: False ; 1.0 / 5.0\r\n\r\nA";
    CHECK(write(spamd_fd, ANSWER, sizeof(ANSWER) - 1) == (ssize_t)sizeof(ANSWER) - 1);
    (void)close(spamd_fd);
    CHECK(hear(place, channel, &report) == 0 && report.count == 2 && report.results[1].status == SCAN_CLEAN);
    ipc_channel_free(&channel);
    stop_loader(place);
    CHECK(clock_monotonic_ms() - start_ms < 8000);
    start_loader(place);
    start_ms = clock_monotonic_ms();
    stop_loader(place);
    CHECK(clock_monotonic_ms() - start_ms < 2000);
}

int
main(void)
{
    static struct place place;
    struct sockaddr_un spamd;
    char settings[512];

    (void)signal(SIGPIPE, SIG_IGN);
    rig_open(&place.rig, "");
    CHECK(setenv("TMPDIR", place.rig.directory, 1) == 0);
    (void)snprintf(settings, sizeof(settings),
                   "scan_pipeline = header spamassassin\nheader_checks = regexp:$config_directory/rules\n"
                   "spamassassin_server = unix:%s/spamd\n",
                   place.rig.directory);
    rig_write(&place.rig, "rules", BYTES_LIT("/^X-Bad/ REJECT\n"));
    rig_configure(&place.rig, settings);
    place.listen_fd = listen_at(&place.socket, place.rig.directory, "scan", SOCK_SEQPACKET);
    place.spamd_fd = listen_at(&spamd, place.rig.directory, "spamd", SOCK_STREAM);
    start_loader(&place);
    test_answers(&place);
    test_hostile(&place);
    test_killed(&place);
    test_hanging(&place);
    test_end(&place);
    (void)close(place.listen_fd);
    (void)close(place.spamd_fd);
    rig_close(&place.rig);
    return failures != 0;
}

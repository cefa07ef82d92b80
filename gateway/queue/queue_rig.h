/*
 * queue_rig - for the tests of this folder: a queue process in a directory of its own, and peers that talk to
 * it.
 *
 * The listening sockets belong to the test, as they belong to master in the gateway, so the process can be
 * killed and started again under its peers.
 */
#ifndef QUEUE_QUEUE_RIG_H
#define QUEUE_QUEUE_RIG_H

#include <errno.h>
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
#include "base/error.h"
#include "base/log.h"
#include "base/pack.h"
#include "queue/queue_private.h"

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

enum { RIG_WAIT_MS = 20000 };

static const enum role RIG_PEERS[] = {ROLE_RECEIVE, ROLE_RELAY, ROLE_DELIVER, ROLE_CTL};
enum { RIG_PEER_COUNT = sizeof(RIG_PEERS) / sizeof(RIG_PEERS[0]) };

struct rig {
    char directory[64];
    int listeners[RIG_PEER_COUNT];
    pid_t pid;
};

__attribute__((noreturn)) static inline void
rig_die(const char *what)
{
    (void)fprintf(stderr, "rig: %s: %s\n", what, strerror(errno));
    exit(2);
}

static inline void
rig_write(const struct rig *rig, const char *name, const char *text)
{
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/%s", rig->directory, name);
    FILE *file = fopen(path, "we");
    if (file == NULL || fputs(text, file) == EOF || fclose(file) != 0) {
        rig_die(path);
    }
}

static inline void
rig_listen(struct rig *rig, size_t i)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/%s", rig->directory, role_name(RIG_PEERS[i]));
    (void)mkdir(path, 0700);
    (void)snprintf(path, sizeof(path), "%s/%s/ipc", rig->directory, role_name(RIG_PEERS[i]));
    (void)mkdir(path, 0700);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s/ipc/queue", rig->directory,
                   role_name(RIG_PEERS[i]));
    rig->listeners[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (rig->listeners[i] == -1 ||
        bind(rig->listeners[i], (struct sockaddr *)&address, sizeof(address)) == -1 ||
        listen(rig->listeners[i], 1024) == -1) {
        rig_die("listen");
    }
}

__attribute__((noreturn)) static inline void
rig_child(const struct rig *rig)
{
    static struct queue queue;
    struct config *config = NULL;
    struct buf why;
    char log_file[128];
    int r;

    (void)snprintf(log_file, sizeof(log_file), "%s/log", rig->directory);
    struct log_target target = {.syslog_name = "postfix", .facility = "mail", .file = log_file, .fd = -1};
    (void)log_open(&target);
    buf_init(&why, 65536);
    if ((r = config_load(rig->directory, &config, &why)) != 0) {
        (void)fprintf(stderr, "%s\n", buf_str(&why));
        _exit(3);
    }
    buf_free(&why);
    if (queue_service_open(&queue, config) != 0) {
        _exit(4);
    }
    for (size_t i = 0; i < RIG_PEER_COUNT; i++) {
        if (queue_peer_listen(&queue, rig->listeners[i], RIG_PEERS[i]) != 0) {
            _exit(5);
        }
    }
    r = queue_service_run(&queue);
    queue_service_close(&queue);
    config_free(&config);
    exit(r == 0 ? 0 : 6);
}

static inline void
rig_start(struct rig *rig)
{
    rig->pid = fork();
    if (rig->pid == -1) {
        rig_die("fork");
    }
    if (rig->pid == 0) {
        rig_child(rig);
    }
}

/* extra: lines of main.cf. */
static inline void
rig_make(struct rig *rig, const char *extra)
{
    char main_cf[4096];

    (void)signal(SIGPIPE, SIG_IGN);
    *rig = (struct rig){.directory = "/tmp/queue_rig.XXXXXX"};
    if (mkdtemp(rig->directory) == NULL) {
        rig_die("mkdtemp");
    }
    (void)snprintf(main_cf, sizeof(main_cf),
                   "compatibility_level = 3.6\nmyhostname = gate.test\nmydomain = test\nmyorigin = test\n"
                   "mydestination = here.test\nmynetworks = 127.0.0.0/8\nqueue_directory = %s\n"
                   "data_directory = %s\nalias_maps =\nalias_database =\nlocal_recipient_maps =\n%s",
                   rig->directory, rig->directory, extra);
    rig_write(rig, "main.cf", main_cf);
    rig_write(rig, "master.cf",
              "qmgr unix n - n 300 1 qmgr\nsmtp unix - - n - - smtp\nrelay unix - - n - - smtp\n"
              "local unix - n n - - local\nvirtual unix - n n - - virtual\nerror unix - - n - - error\n"
              "retry unix - - n - - error\ndiscard unix - - n - - discard\n");
    for (size_t i = 0; i < RIG_PEER_COUNT; i++) {
        rig_listen(rig, i);
    }
    rig_start(rig);
}

/* Returns the wait status. */
static inline int
rig_end(struct rig *rig, int signal_number)
{
    int status = -1;

    if (rig->pid > 0) {
        (void)kill(rig->pid, signal_number);
        while (waitpid(rig->pid, &status, 0) == -1 && errno == EINTR) {
        }
        rig->pid = -1;
    }
    return status;
}

static inline void
rig_remove(struct rig *rig)
{
    char command[128];

    for (size_t i = 0; i < RIG_PEER_COUNT; i++) {
        (void)close(rig->listeners[i]);
    }
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", rig->directory);
    if (failures == 0) {
        CHECK(system(command) == 0);
    }
}

static inline struct ipc_channel *
rig_connect(const struct rig *rig, enum role role)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s/ipc/queue", rig->directory,
                   role_name(role));
    if (fd == -1 || connect(fd, (struct sockaddr *)&address, sizeof(address)) == -1) {
        rig_die("connect");
    }
    return ipc_channel_new(fd, role, ROLE_QUEUE);
}

/* recipients: words. The caller frees with envelope_free(). */
static inline struct envelope *
rig_envelope(const char *id, const char *sender, const char *recipients, size_t size)
{
    struct envelope *envelope = envelope_new();
    struct bytes rest = bytes_str(recipients), token;

    (void)snprintf(envelope->queue_id, sizeof(envelope->queue_id), "%s", id);
    (void)envelope_set_sender(envelope, bytes_str(sender));
    while (bytes_next_token(&rest, " ", &token)) {
        (void)envelope_add_recipient(envelope, token, token, NOTIFY_DEFAULT, (struct bytes){0});
    }
    envelope->size = size;
    envelope->arrival_us = clock_wall_us();
    (void)snprintf(envelope->session.ident, sizeof(envelope->session.ident), "s%.30s", id);
    return envelope;
}

/* The queue's answer, or the error of the connection. */
static inline int
rig_submit_envelope(struct ipc_channel *channel, const struct envelope *envelope, int fd)
{
    struct ipc_message answer;
    static _Thread_local struct wire_status status;
    struct buf packed;

    buf_init(&packed, IPC_PAYLOAD_MAX);
    int r = envelope_pack(&packed, envelope);
    if (r == 0) {
        r = ipc_call(channel, WIRE_SUBMIT, bytes_buf(&packed), &fd, 1, clock_monotonic_ms() + RIG_WAIT_MS,
                     &answer);
    }
    if (r == 0) {
        r = answer.type == WIRE_SUBMITTED ? wire_status_unpack(answer.payload, &status) : GW_ERR_PEER;
        r = r == 0 ? status.code : r;
        ipc_message_free(&answer);
    }
    buf_free(&packed);
    return r;
}

static inline int
rig_submit(struct ipc_channel *channel, const char *id, const char *sender, const char *recipients,
           const char *text)
{
    struct envelope *envelope = rig_envelope(id, sender, recipients, strlen(text));
    int fd = ipc_sealed_memfd("content", bytes_str(text));
    int r = rig_submit_envelope(channel, envelope, fd);

    (void)close(fd);
    envelope_free(&envelope);
    return r;
}

static inline struct ipc_channel *
rig_worker(const struct rig *rig, enum role role)
{
    struct ipc_channel *channel = rig_connect(rig, role);
    struct wire_worker worker = {.slot = 1};
    struct buf packed;

    buf_init(&packed, 64);
    CHECK(wire_worker_pack(&packed, &worker) == 0);
    CHECK(ipc_send(channel, WIRE_WORKER, 1, bytes_buf(&packed), NULL, 0) == 0);
    buf_free(&packed);
    return channel;
}

/* Waits for a job; *fd_r is its content. 0, GW_ERR_TIMEOUT, GW_ERR_EOF ... */
static inline int
rig_take_job(struct ipc_channel *channel, int wait_ms, struct wire_job *job_r, int *fd_r)
{
    struct ipc_message message;
    int r = ipc_receive(channel, clock_monotonic_ms() + wait_ms, &message);

    *fd_r = -1;
    *job_r = (struct wire_job){0};
    if (r != 0) {
        return r;
    }
    r = message.type == WIRE_JOB ? wire_job_unpack(message.payload, job_r) : GW_ERR_PEER;
    *fd_r = message.fds[0];
    message.fds[0] = -1;
    ipc_message_free(&message);
    return r;
}

static inline void
rig_free_job(struct wire_job *job, int *fd)
{
    if (*fd != -1) {
        (void)close(*fd);
        *fd = -1;
    }
    wire_job_clear(job);
}

/* The same outcome for every recipient. */
static inline int
rig_tell(struct ipc_channel *channel, const struct wire_job *job, uint8_t status, const char *dsn,
         const char *reply, const char *connected_to)
{
    size_t count = job->envelope->recipient_count;
    struct wire_recipient_result *recipients = calloc(count + 1, sizeof(*recipients));
    static _Thread_local struct wire_result result;
    struct buf packed;

    result = (struct wire_result){.recipients = recipients, .count = count, .relay = "mx.test[192.0.2.1]:25"};
    (void)snprintf(result.connected_to, sizeof(result.connected_to), "%s", connected_to);
    result.site_down = strcmp(connected_to, "DOWN") == 0;
    for (size_t i = 0; i < count; i++) {
        recipients[i].number = job->recipient_numbers[i];
        recipients[i].status = status;
        (void)snprintf(recipients[i].dsn, sizeof(recipients[i].dsn), "%s", dsn);
        recipients[i].reply = bytes_str(reply);
        recipients[i].remote_mta = BYTES_LIT("mx.test");
    }
    buf_init(&packed, IPC_PAYLOAD_MAX);
    int r = wire_result_pack(&packed, &result);
    if (r == 0) {
        r = ipc_send(channel, WIRE_RESULT, 1, bytes_buf(&packed), NULL, 0);
    }
    buf_free(&packed);
    free(recipients);
    return r;
}

/* A command of the operator; text gets what was printed. Returns the code; *count_r the detail as a number.
 */
static inline int
rig_command(const struct rig *rig, const char *words, struct buf *text, uint64_t *count_r)
{
    struct ipc_channel *channel = rig_connect(rig, ROLE_CTL);
    struct bytes rest = bytes_str(words), token;
    static _Thread_local struct wire_status status;
    struct ipc_message message;
    struct buf packed, list;
    uint16_t count = 0;
    int r = 0;

    buf_init(&packed, 65536);
    buf_init(&list, 65536);
    while (bytes_next_token(&rest, " ", &token)) {
        (void)pack_bytes(&list, token);
        count++;
    }
    (void)pack_u16(&packed, count);
    (void)buf_append_bytes(&packed, bytes_buf(&list));
    CHECK(ipc_send(channel, WIRE_CTL_ASK, 9, bytes_buf(&packed), NULL, 0) == 0);
    while ((r = ipc_receive(channel, clock_monotonic_ms() + RIG_WAIT_MS, &message)) == 0) {
        if (message.type == WIRE_CTL_LINE) {
            (void)buf_append_bytes(text, message.payload);
        }
        bool is_end = message.type == WIRE_CTL_END;
        if (is_end) {
            r = wire_status_unpack(message.payload, &status);
            r = r == 0 ? status.code : r;
            *count_r = 0;
            (void)bytes_to_u64(bytes_str(status.detail), count_r);
        }
        ipc_message_free(&message);
        if (is_end) {
            break;
        }
    }
    buf_free(&packed);
    buf_free(&list);
    ipc_channel_free(&channel);
    return r;
}

#endif

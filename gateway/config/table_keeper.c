/*
 * table_keeper - see the header. Before: table_find() of a role; after: table_find_here() in the keeper.
 *
 * Two processes: one that only waits and forks the other again, and the one that looks up, a thread for each
 * channel. A channel is a pair of packet sockets; a thread of the role takes a free one, sends slot and key,
 * and waits for the answer with its number, so that an answer that comes too late is not taken for the next.
 * Which numbers are being looked up stands in memory that both share: when the one dies, the other says
 * "cannot tell" for it, so that nobody waits in vain. The keeper ends when the role does: all channels close.
 * A server that is stuck shall not stop the mail of other tables: a channel is free when its last answer has
 * come, whether or not somebody still waited for it, and a table holds at most as many as it leaves.
 * Like the log, the keeper is one per process, so its handle lives in this file.
 */
#include "config/table_keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/jail.h"
#include "base/log.h"
#include "config/table_type.h"

enum {
    AGAIN_MS = 1000,
    LATE_LOOK_MS = 100,
    THREAD_STACK_BYTES = 8 * 1024 * 1024,
    SOCKET_ROOM = 4 * TABLE_VALUE_MAX
};
enum { NO_CHANNEL = -1, RESTING = -2 }; /* instead of a channel */

struct question {
    uint32_t number;
    uint32_t slot;
    uint8_t key[TABLE_KEY_MAX];
};

struct answer_head {
    uint32_t number;
    int32_t result;
    uint32_t line;
};

struct kept_table {
    struct table *table; /* NULL: removed */
    int held;            /* channels that look it up, or whose answer about it is still to come */
    int64_t rest_until_ms;
};

static struct {
    struct kept_table tables[TABLE_KEEPER_TABLES_MAX]; /* slot - 1 */
    unsigned count;
    bool running;
    int wait_ms, rest_ms;            /* of the request */
    int ends[TABLE_KEEPER_CHANNELS]; /* in the role its own, in the keeper the other ends */
    bool busy[TABLE_KEEPER_CHANNELS];
    int busy_count;
    struct kept_table *late[TABLE_KEEPER_CHANNELS]; /* a busy one whose asker has given up; NULL: none */
    int late_count;
    uint32_t number;
    _Atomic uint32_t *asked; /* shared by the keeper's two: the number each channel is at, 0: none */
    pthread_mutex_t lock;
    pthread_cond_t freed;
} keeper = {.lock = PTHREAD_MUTEX_INITIALIZER};

unsigned
table_keeper_add(struct table *table)
{
    if (keeper.running || keeper.count == TABLE_KEEPER_TABLES_MAX) {
        return 0;
    }
    keeper.tables[keeper.count++] = (struct kept_table){.table = table};
    return keeper.count;
}

void
table_keeper_remove(unsigned slot)
{
    if (slot > 0) {
        keeper.tables[slot - 1].table = NULL;
    }
    while (!keeper.running && keeper.count > 0 && keeper.tables[keeper.count - 1].table == NULL) {
        keeper.count--;
    }
}

bool
table_keeper_is_running(void)
{
    return keeper.running;
}

static void
free_channel(struct kept_table *kept, int channel)
{
    keeper.busy[channel] = false;
    keeper.busy_count--;
    kept->held--;
}

/* A channel with one question has one answer at most. */
static void
drop_late_answers(void)
{
    for (int i = 0; i < TABLE_KEEPER_CHANNELS && keeper.late_count > 0; i++) {
        struct answer_head head;

        if (keeper.late[i] != NULL &&
            (recv(keeper.ends[i], &head, sizeof(head), MSG_DONTWAIT) != -1 || errno != EAGAIN)) {
            free_channel(keeper.late[i], i);
            keeper.late[i] = NULL;
            keeper.late_count--;
        }
    }
}

/* NO_CHANNEL: none that this table may have. */
static int
choose_channel(const struct kept_table *kept)
{
    int channel = 0;

    drop_late_answers();
    if (kept->held >= TABLE_KEEPER_CHANNELS - keeper.busy_count) {
        return NO_CHANNEL;
    }
    while (channel < TABLE_KEEPER_CHANNELS && keeper.busy[channel]) {
        channel++;
    }
    return channel < TABLE_KEEPER_CHANNELS ? channel : NO_CHANNEL;
}

static void
wait_for_channel(int64_t deadline_ms)
{
    int64_t look_ms = clock_monotonic_ms() + LATE_LOOK_MS;
    int64_t until_ms = keeper.late_count > 0 && look_ms < deadline_ms ? look_ms : deadline_ms;
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = (until_ms % 1000) * 1000000};

    (void)pthread_cond_timedwait(&keeper.freed, &keeper.lock, &until);
}

/* RESTING, or NO_CHANNEL: none became free before the deadline. */
static int
take_channel(struct kept_table *kept, int64_t deadline_ms, uint32_t *number_r)
{
    int channel = NO_CHANNEL;

    (void)pthread_mutex_lock(&keeper.lock);
    if (keeper.rest_ms > 0 && clock_monotonic_ms() < kept->rest_until_ms) {
        channel = RESTING;
    }
    while (channel == NO_CHANNEL && (channel = choose_channel(kept)) == NO_CHANNEL &&
           clock_monotonic_ms() < deadline_ms) {
        wait_for_channel(deadline_ms);
    }
    if (channel >= 0) {
        keeper.busy[channel] = true;
        keeper.busy_count++;
        kept->held++;
        *number_r = ++keeper.number;
    } else if (channel == NO_CHANNEL) {
        kept->rest_until_ms = clock_monotonic_ms() + keeper.rest_ms;
    }
    (void)pthread_mutex_unlock(&keeper.lock);
    return channel;
}

static void
give_channel(struct kept_table *kept, int channel, bool answered)
{
    (void)pthread_mutex_lock(&keeper.lock);
    if (answered) {
        free_channel(kept, channel);
    } else {
        keeper.late[channel] = kept;
        keeper.late_count++;
        kept->rest_until_ms = clock_monotonic_ms() + keeper.rest_ms;
    }
    (void)pthread_cond_broadcast(&keeper.freed); /* not each who waits may have this one */
    (void)pthread_mutex_unlock(&keeper.lock);
}

static int
send_question(int fd, uint32_t number, unsigned slot, struct bytes key, int64_t deadline_ms)
{
    struct question head = {.number = number, .slot = slot};
    size_t size = offsetof(struct question, key) + key.n;

    if (key.n > sizeof(head.key)) {
        return GW_ERR_LIMIT;
    }
    if (key.n > 0) {
        memcpy(head.key, key.p, key.n);
    }
    while (send(fd, &head, size, MSG_NOSIGNAL | MSG_DONTWAIT) == -1) {
        struct pollfd one = {.fd = fd, .events = POLLOUT};

        if (errno != EAGAIN && errno != EINTR) {
            return GW_ERR_EOF; /* the keeper is gone, and nobody but us will say so */
        }
        if (errno == EAGAIN && poll(&one, 1, clock_left_ms(deadline_ms)) == 0) {
            return GW_ERR_SYS; /* not GW_ERR_TIMEOUT: no answer will come */
        }
    }
    return 0;
}

/* An answer to an earlier question, whose asker had given up, is dropped. */
static int
await_answer(int fd, uint32_t number, struct table_hit *hit, int64_t deadline_ms)
{
    struct answer_head head;

    for (;;) {
        struct pollfd one = {.fd = fd, .events = POLLIN};
        int ready = poll(&one, 1, clock_left_ms(deadline_ms));

        if (ready == 0) {
            return GW_ERR_TIMEOUT;
        }
        ssize_t n = ready < 0 ? 0 : recv(fd, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            return GW_ERR_TEMP;
        }
        if (n < (ssize_t)sizeof(head)) {
            if (n == 0 && ready > 0) {
                return GW_ERR_EOF;
            }
            continue;
        }
        size_t room = (size_t)n - sizeof(head);
        buf_clear(&hit->value);
        int r = room <= TABLE_VALUE_MAX ? buf_reserve(&hit->value, room) : GW_ERR_LIMIT;
        struct iovec parts[2] = {{&head, sizeof(head)}, {hit->value.p, r == 0 ? room : 0}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = r == 0 && room > 0 ? 2 : 1};
        if (recvmsg(fd, &message, MSG_DONTWAIT) != n && r == 0) {
            return GW_ERR_TEMP;
        }
        if (head.number == number) {
            if (r == 0 && room > 0) {
                hit->value.n = room;
                hit->value.p[room] = '\0';
            }
            hit->line = head.line;
            return r != 0 ? r : head.result;
        }
    }
}

int
table_keeper_find(unsigned slot, struct bytes key, struct table_hit *hit)
{
    struct kept_table *kept = &keeper.tables[slot - 1];
    int64_t deadline_ms = clock_monotonic_ms() + keeper.wait_ms;
    uint32_t number = 0;
    int channel = take_channel(kept, deadline_ms, &number);
    int r = GW_ERR_TIMEOUT;

    if (channel == RESTING) {
        return GW_ERR_TEMP; /* logged when the rest began */
    }
    if (channel != NO_CHANNEL) {
        r = send_question(keeper.ends[channel], number, slot, key, deadline_ms);
        r = r == 0 ? await_answer(keeper.ends[channel], number, hit, deadline_ms) : r;
        give_channel(kept, channel, r != GW_ERR_TIMEOUT);
    }
    if (r == 0 || r == GW_ERR_NOTFOUND) {
        return r;
    }
    if (r != GW_ERR_TEMP) { /* that one has been logged by the keeper */
        log_warning("table", "%s: no answer within %d ms: %s%s", table_spec(kept->table), keeper.wait_ms,
                    gw_strerror(r), keeper.rest_ms > 0 ? "; not asked for a while" : "");
    }
    return GW_ERR_TEMP;
}

/* In the keeper from here on. */

static void
answer(int fd, const struct question *question, size_t size, struct table_hit *hit)
{
    struct answer_head head = {.number = question->number, .result = GW_ERR_TEMP};
    struct bytes key = bytes_of(question->key, size - offsetof(struct question, key));

    buf_clear(&hit->value);
    hit->line = 0;
    if (question->slot > 0 && question->slot <= keeper.count &&
        keeper.tables[question->slot - 1].table != NULL) {
        head.result = table_find_here(keeper.tables[question->slot - 1].table, key, hit);
    }
    head.line = hit->line;
    struct iovec parts[2] = {{&head, sizeof(head)}, {hit->value.p, head.result == 0 ? hit->value.n : 0}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = parts[1].iov_len > 0 ? 2 : 1};
    while (sendmsg(fd, &message, MSG_NOSIGNAL) == -1) {
        if (errno != EINTR) {
            _exit(errno == EPIPE || errno == ECONNRESET ? 0 : 1);
        }
    }
}

static void *
serve(void *argument)
{
    const int *end = argument;
    int fd = *end;
    _Atomic uint32_t *asked = &keeper.asked[end - keeper.ends];
    struct question question;
    struct table_hit hit = {0};

    buf_init(&hit.value, TABLE_VALUE_MAX);
    for (;;) {
        ssize_t n = recv(fd, &question, sizeof(question), 0);

        if (n == 0 || (n == -1 && errno != EINTR)) {
            _exit(n == 0 || errno == ECONNRESET ? 0 : 1); /* the role is gone, and so are we */
        }
        if (n >= (ssize_t)offsetof(struct question, key)) {
            *asked = question.number;
            answer(fd, &question, (size_t)n, &hit);
            *asked = 0;
        }
    }
    return NULL;
}

/* Name services load their libraries at the first question; the filter allows that, but the first client
 * shall not wait for it. */
static void
warm_up(void)
{
    (void)getpwnam("root");
    (void)getgrnam("root");
}

static void __attribute__((noreturn)) look_up(void)
{
    pthread_attr_t attributes;
    pthread_t thread;

    warm_up();
    if (jail_calls_filter(JAIL_NETWORK | JAIL_WRITE_FILES | JAIL_CODE) != 0) {
        log_warning("table", "the process for lookups has no system call filter");
    }
    if (pthread_attr_init(&attributes) != 0 ||
        pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES) != 0) {
        _exit(1);
    }
    for (int i = 1; i < TABLE_KEEPER_CHANNELS; i++) {
        if (pthread_create(&thread, &attributes, serve, &keeper.ends[i]) != 0) {
            _exit(1);
        }
    }
    (void)serve(&keeper.ends[0]);
    _exit(0);
}

static int
drop_root(const char *user)
{
    const struct passwd *entry = geteuid() == 0 && user != NULL ? getpwnam(user) : NULL;

    if (geteuid() != 0 || user == NULL) {
        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ? GW_ERR_SYS : 0;
    }
    if (entry == NULL || initgroups(user, entry->pw_gid) == -1 ||
        setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid) == -1 ||
        setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid) == -1 || geteuid() == 0) {
        return GW_ERR_SYS;
    }
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ? GW_ERR_SYS : 0;
}

/* The channels are moved to where nothing else is closed around them. */
static int
leave_descriptors(int *ends, const struct table_keeper_request *request)
{
    enum { FIRST = 3 };
    int moved[TABLE_KEEPER_CHANNELS], next = FIRST;

    log_leave_syslog(); /* its number is about to be a channel's */
    for (int i = 0; i < TABLE_KEEPER_CHANNELS; i++) {
        moved[i] = fcntl(ends[i], F_DUPFD_CLOEXEC, FIRST + TABLE_KEEPER_CHANNELS + 1);
        if (moved[i] == -1) {
            return GW_ERR_SYS;
        }
    }
    int kept = fcntl(request->keep_fd, F_DUPFD_CLOEXEC, FIRST + TABLE_KEEPER_CHANNELS + 1);
    for (int i = 0; i < TABLE_KEEPER_CHANNELS; i++) {
        next += next == request->keep_fd;
        if (dup3(moved[i], next, O_CLOEXEC) == -1) {
            return GW_ERR_SYS;
        }
        keeper.ends[i] = next++;
    }
    if (kept != -1 && dup3(kept, request->keep_fd, O_CLOEXEC) == -1) {
        return GW_ERR_SYS;
    }
    if (close_range((unsigned)next, ~0U, 0) == -1) {
        return GW_ERR_SYS;
    }
    if (request->detach) {
        (void)dup2(STDIN_FILENO, STDOUT_FILENO); /* standard input is /dev/null */
        (void)dup2(STDIN_FILENO, STDERR_FILENO);
    }
    return request->open_log(request->config);
}

/* What the dead one was looking up. An answer that it had sent before is the one that counts. */
static void
answer_for_dead(void)
{
    for (int i = 0; i < TABLE_KEEPER_CHANNELS; i++) {
        struct answer_head head = {.number = keeper.asked[i], .result = GW_ERR_TEMP};

        if (head.number != 0) {
            (void)send(keeper.ends[i], &head, sizeof(head), MSG_NOSIGNAL | MSG_DONTWAIT);
            keeper.asked[i] = 0;
        }
    }
}

/* Forks the one that looks up, and again when it died; ends when it ended of its own accord. */
static void __attribute__((noreturn)) supervise(const struct table_keeper_request *request, int *ends)
{
    char name[16];
    int status = 0;

    (void)snprintf(name, sizeof(name), "%.8s-tables", request->role);
    (void)prctl(PR_SET_NAME, name, 0, 0, 0);
    keeper.asked = mmap(NULL, TABLE_KEEPER_CHANNELS * sizeof(*keeper.asked), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (keeper.asked == MAP_FAILED || leave_descriptors(ends, request) != 0 ||
        drop_root(request->user) != 0) {
        log_error("table", "the process for lookups of %s cannot start: %s", request->role, strerror(errno));
        _exit(1);
    }
    log_stderr(false);
    for (;;) {
        pid_t pid = fork();

        if (pid == 0) {
            look_up();
        }
        while (pid != -1 && waitpid(pid, &status, 0) == -1 && errno == EINTR) {
        }
        if (pid != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            _exit(0);
        }
        log_warning("table", "the process for lookups of %s died (status %d); starting another",
                    request->role, status);
        answer_for_dead();
        (void)poll(NULL, 0, AGAIN_MS);
    }
}

static void
close_all(int *fds)
{
    for (int i = 0; i < TABLE_KEEPER_CHANNELS; i++) {
        (void)close(fds[i]);
    }
}

int
table_keeper_start(const struct table_keeper_request *request)
{
    int ends[TABLE_KEEPER_CHANNELS], room = SOCKET_ROOM, status = 0;
    pthread_condattr_t attributes;

    if (keeper.count == 0 || keeper.running) {
        return 0;
    }
    keeper.wait_ms = request->wait_ms;
    keeper.rest_ms = request->rest_ms;
    for (int i = 0; i < TABLE_KEEPER_CHANNELS; i++) {
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1) {
            return GW_ERR_SYS;
        }
        keeper.ends[i] = pair[0];
        ends[i] = pair[1];
        (void)setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    }
    pid_t pid = fork();
    if (pid == -1) {
        return GW_ERR_SYS;
    }
    if (pid == 0) {
        close_all(keeper.ends);
        /* Twice, so that the role has no child: some roles wait for theirs. */
        pid = fork();
        if (pid != 0) {
            _exit(pid == -1);
        }
        supervise(request, ends);
    }
    close_all(ends);
    while (waitpid(pid, &status, 0) == -1 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || pthread_condattr_init(&attributes) != 0 ||
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) != 0 ||
        pthread_cond_init(&keeper.freed, &attributes) != 0) {
        return GW_ERR_SYS;
    }
    keeper.running = true;
    return 0;
}

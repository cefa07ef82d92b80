/*
 * deliver_spawn - see the header. Before: master bound the port; after: the program, which has the connection
 * as standard input, output and error.
 *
 * At maxproc programs of a row further clients wait in the socket. A program runs as user=, never as root or
 * with our own rights, in a session of its own, and is killed with its children at SERVICE_time_limit. Its
 * end is no business of the client; a bad one is logged. Owns the connections only until the program has
 * them.
 */
#include "deliver/deliver_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "deliver/deliver_owner.h"
#include "deliver/deliver_pipe.h"
#include "deliver/deliver_transport.h"

enum {
    CHILDREN_MAX = 1000, /* where maxproc is 0 */
    SERVICES_MAX = ROLE_LISTENERS_MAX,
    PAUSE_MS = 1000, /* after an error that will not be over at once */
    STACK = 256 * 1024,
    FIRST_CHILD = 1 + ROLE_LISTENERS_MAX, /* in the list for poll(2): control socket, listeners, children */
};

struct child {
    pid_t pid;
    int fd; /* pidfd */
    int64_t deadline_ms;
    bool is_killed;
};

struct service {
    const struct config_service *row;
    struct deliver_owner owner;
    bool is_served;
    char **argv; /* the words belong to the configuration */
    const char *directory;
    char *environment[4];
    int64_t limit_ms;
    size_t max;
    int listeners[ROLE_LISTENERS_MAX];
    size_t listener_count;
    pthread_t thread;
    struct child children[CHILDREN_MAX];
    size_t count;
};

struct deliver_spawns {
    struct service *services[SERVICES_MAX];
    size_t count;
};

/* Only async-signal-safe calls: other threads of the parent may hold any lock. */
static _Noreturn void
run_program(const struct service *service, int connection)
{
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)signal(SIGCHLD, SIG_DFL);
    (void)setsid();
    if (dup2(connection, STDIN_FILENO) != -1 && dup2(connection, STDOUT_FILENO) != -1 &&
        dup2(connection, STDERR_FILENO) != -1 && close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) == 0 &&
        chdir(service->directory) == 0 && deliver_owner_become(&service->owner) &&
        prctl(PR_SET_PDEATHSIG, SIGTERM) == 0) {
        (void)umask(077);
        (void)execvpe(service->argv[0], service->argv, service->environment);
    }
    _exit(127);
}

static void
start_program(struct service *service, int connection)
{
    struct child *child = &service->children[service->count];
    pid_t pid = deliver_owner_fork(&service->owner);

    if (pid == 0) {
        run_program(service, connection);
    }
    if (pid == -1) {
        log_warning("spawn", "service %s: fork: %s", service->row->name, strerror(errno));
        return;
    }
    *child = (struct child){
        .pid = pid, .fd = pidfd_open(pid, 0), .deadline_ms = clock_monotonic_ms() + service->limit_ms};
    if (child->fd == -1) {
        log_warning("spawn", "service %s: pidfd_open: %s", service->row->name, strerror(errno));
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return;
    }
    service->count++;
}

static void
accept_one(struct service *service, int listener)
{
    int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    if (connection == -1) {
        if (errno == EINVAL) { /* master needed the port for the next generation, which is to come */
            (void)poll(NULL, 0, PAUSE_MS / 10);
        } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            log_warning("spawn", "service %s: accept: %s", service->row->name, strerror(errno));
            (void)poll(NULL, 0, PAUSE_MS);
        }
        return;
    }
    if (service->is_served) {
        start_program(service, connection);
    } else {
        log_warning("spawn", "service %s: connection refused: its row in master.cf line %d cannot be served",
                    service->row->name, service->row->line);
    }
    (void)close(connection);
}

/* True: it has ended. */
static bool
reap(const struct service *service, struct child *child)
{
    int status;

    if (waitpid(child->pid, &status, WNOHANG) != child->pid) {
        return false;
    }
    if (WIFSIGNALED(status)) {
        log_warning("spawn", "command %s killed by signal %d", service->argv[0], WTERMSIG(status));
    } else if (WEXITSTATUS(status) != 0) {
        log_warning("spawn", "command %s exit status %d", service->argv[0], WEXITSTATUS(status));
    }
    (void)close(child->fd);
    return true;
}

static void
look_after(struct service *service)
{
    int64_t now_ms = clock_monotonic_ms();

    for (size_t i = 0; i < service->count;) {
        struct child *child = &service->children[i];

        if (!child->is_killed && now_ms >= child->deadline_ms) {
            log_warning("spawn", "command %s: time limit exceeded", service->argv[0]);
            child->is_killed = true;
            (void)kill(-child->pid, SIGKILL);
            (void)kill(child->pid, SIGKILL);
        }
        if (reap(service, child)) {
            service->count--;
            *child = service->children[service->count];
        } else {
            i++;
        }
    }
}

static int
wait_ms(const struct service *service)
{
    int left = -1;

    for (size_t i = 0; i < service->count; i++) {
        int ms = clock_left_ms(service->children[i].deadline_ms);

        left = service->children[i].is_killed ? left : left == -1 || ms < left ? ms : left;
    }
    return left;
}

/* The thread of one row. */
static void *
serve(void *context)
{
    struct service *service = context;
    struct pollfd *ready = calloc(FIRST_CHILD + CHILDREN_MAX, sizeof(*ready));
    bool is_draining = ready == NULL;

    while (!is_draining || service->count > 0) {
        bool is_open = !is_draining && service->count < service->max;

        ready[0] = (struct pollfd){.fd = is_draining ? -1 : ROLE_CONTROL_FD, .events = POLLIN};
        for (size_t i = 0; i < service->listener_count; i++) {
            ready[1 + i] = (struct pollfd){.fd = is_open ? service->listeners[i] : -1, .events = POLLIN};
        }
        for (size_t i = 0; i < service->count; i++) {
            ready[1 + service->listener_count + i] =
                (struct pollfd){.fd = service->children[i].fd, .events = POLLIN};
        }
        if (poll(ready, 1 + service->listener_count + service->count, wait_ms(service)) == -1 &&
            errno != EINTR) {
            log_warning("spawn", "poll: %s", strerror(errno));
            (void)poll(NULL, 0, PAUSE_MS);
            continue;
        }
        is_draining = is_draining || ready[0].revents != 0;
        for (size_t i = 0; !is_draining && i < service->listener_count && service->count < service->max;
             i++) {
            if (ready[1 + i].revents != 0) {
                accept_one(service, service->listeners[i]);
            }
        }
        look_after(service);
    }
    free(ready);
    return NULL;
}

/* user= and argv= of the row. False: it was said what is wrong. */
static bool
read_row(struct service *service)
{
    char **word = service->row->arguments;
    bool known = false;

    for (; word != NULL && *word != NULL && strncmp(*word, "argv=", 5) != 0; word++) {
        if (strncmp(*word, "user=", 5) != 0) {
            log_error("spawn", "service %s: unknown attribute \"%s\"", service->row->name, *word);
            return false;
        }
        known = deliver_pipe_read_user("spawn", *word + 5, &service->owner);
        if (!known) {
            return false;
        }
    }
    if (!known || word == NULL || *word == NULL || (*word)[5] == '\0') {
        log_error("spawn", "service %s: user= and argv= must be given", service->row->name);
        return false;
    }
    size_t count = 0;
    while (word[count] != NULL) {
        count++;
    }
    service->argv = calloc(count + 1, sizeof(*service->argv));
    for (size_t i = 0; service->argv != NULL && i < count; i++) {
        service->argv[i] = i == 0 ? word[0] + 5 : word[i]; /* behind "argv=" */
    }
    return service->argv != NULL;
}

static struct service *
find_service(const struct deliver_spawns *spawns, const struct config_service *row)
{
    for (size_t i = 0; i < spawns->count; i++) {
        if (spawns->services[i]->row == row) {
            return spawns->services[i];
        }
    }
    return NULL;
}

static int
add_service(struct deliver_spawns *spawns, const struct config *view, const struct config_service *row)
{
    struct service *service = calloc(1, sizeof(*service));
    int64_t limit = row->max_processes == -1 ? config_int(view, P_default_process_limit) : row->max_processes;

    if (service == NULL ||
        asprintf(&service->environment[0], "MAIL_CONFIG=%s", config_directory(view)) == -1) {
        free(service);
        return GW_ERR_NOMEM;
    }
    service->environment[1] = (char *)(uintptr_t) "PATH=/usr/bin:/bin";
    service->environment[2] = (char *)(uintptr_t) "LANG=C";
    service->row = row;
    service->directory = config_str(view, P_queue_directory);
    service->limit_ms = deliver_transport_time_limit(view, row->name);
    service->max = limit > 0 && limit < CHILDREN_MAX ? (size_t)limit : CHILDREN_MAX;
    service->is_served = read_row(service);
    service->owner.fork_attempts = (int)config_int(view, P_fork_attempts);
    service->owner.fork_delay_ms = config_int(view, P_fork_delay) * 1000;
    spawns->services[spawns->count++] = service;
    return 0;
}

static int
start_threads(struct deliver_spawns *spawns)
{
    pthread_attr_t attributes;
    int error = 0;

    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, STACK);
    for (size_t i = 0; i < spawns->count && error == 0; i++) {
        error = pthread_create(&spawns->services[i]->thread, &attributes, serve, spawns->services[i]);
    }
    (void)pthread_attr_destroy(&attributes);
    return error == 0 ? 0 : GW_ERR_SYS;
}

int
deliver_spawn_start(const struct role_start *start, struct deliver_spawns **spawns_r)
{
    struct deliver_spawns *spawns = calloc(1, sizeof(*spawns));
    int r = spawns == NULL ? GW_ERR_NOMEM : 0;

    *spawns_r = NULL;
    for (size_t i = 0; r == 0 && i < start->listener_count; i++) {
        const struct role_listener *listener = &start->listeners[i];

        if (listener->service < 0) {
            continue;
        }
        const struct config_service *row = config_service(start->config, (size_t)listener->service);
        if (find_service(spawns, row) == NULL) {
            r = add_service(spawns, config_view(start->config, (size_t)listener->service), row);
        }
        if (r == 0) {
            struct service *service = find_service(spawns, row);

            /* Another process may take the client that woke us: we must not wait for the next. */
            (void)fcntl(listener->fd, F_SETFL, O_NONBLOCK);
            service->listeners[service->listener_count++] = listener->fd;
        }
    }
    if (r == 0 && spawns->count > 0) {
        r = start_threads(spawns);
        *spawns_r = spawns;
        spawns = NULL; /* transferred */
    }
    free(spawns);
    return r;
}

void
deliver_spawn_wait(struct deliver_spawns **spawns)
{
    for (size_t i = 0; *spawns != NULL && i < (*spawns)->count; i++) {
        struct service *service = (*spawns)->services[i];

        (void)pthread_join(service->thread, NULL);
        free(service->environment[0]);
        free(service->argv);
        free(service);
    }
    free(*spawns);
    *spawns = NULL;
}

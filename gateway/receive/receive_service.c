/*
 * receive_service - see the header. Before: master (listeners) and screen (handed-over clients); after:
 * receive_session.c.
 *
 * One thread runs one session; a port starts with a few threads and grows to its process limit as they get
 * busy. An idle thread waits in accept(2) itself, so a new client costs one system call and one wake-up. For
 * the port of type "pass" the threads take turns at receiving from screen. Draining: the flag is set, then
 * idle threads are interrupted until they have seen it; sessions under way end by themselves.
 */
#include "receive/receive_service.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "config/role_start.h"
#include "receive/receive_greylist.h"
#include "receive/receive_session.h"

enum {
    RECEIVE_PORTS_MAX = ROLE_LISTENERS_MAX,
    RECEIVE_THREADS_AT_START = 4,
    RECEIVE_STACK = 512 * 1024,
    RECEIVE_DRAIN_MS = 60000,
    RECEIVE_DRAIN_STEP_MS = 10,
    ACCEPT_PAUSE_MS = 100, /* out of descriptors: wait for a session to end */
};

struct receive_process;

/* A port with what its threads share. */
struct listener {
    struct receive_process *process;
    struct receive_port *port;
    int handover_fd;            /* the ipc listening socket for screen, or -1 */
    pthread_mutex_t turn;       /* whose thread may receive from screen */
    struct ipc_channel *screen; /* guarded by turn */
};

struct receive_process {
    struct role_start start;
    struct receive_shared shared;
    struct listener listeners[RECEIVE_PORTS_MAX];
    size_t listener_count;
    atomic_int threads; /* alive, all ports */
};

static void *run_thread(void *context);

static int
start_thread(struct listener *listener)
{
    pthread_attr_t attributes;
    pthread_t thread;

    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, RECEIVE_STACK);
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    atomic_fetch_add(&listener->process->threads, 1);
    atomic_fetch_add(&listener->port->threads, 1);
    atomic_fetch_add(&listener->port->idle, 1);
    int error = pthread_create(&thread, &attributes, run_thread, listener);
    (void)pthread_attr_destroy(&attributes);
    if (error != 0) {
        atomic_fetch_sub(&listener->process->threads, 1);
        atomic_fetch_sub(&listener->port->threads, 1);
        atomic_fetch_sub(&listener->port->idle, 1);
        log_warning("smtpd", "cannot start a thread for %s: %s", listener->port->service, strerror(error));
        return GW_ERR_SYS;
    }
    return 0;
}

/* A connection from the listening socket. GW_ERR_AGAIN: look at the draining flag and come again. */
static int
take_connection(struct listener *listener, int *fd_r, struct net_addr *client_r)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    int fd = accept4(listener->port->listen_fd, (struct sockaddr *)&address, &length, SOCK_CLOEXEC);

    if (fd == -1) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_warning("smtpd", "cannot accept a connection for %s: %s", listener->port->service,
                        strerror(errno));
            (void)poll(NULL, 0, ACCEPT_PAUSE_MS);
        } else if (errno == EINVAL) { /* master needed the port for the next generation, which is to come */
            (void)poll(NULL, 0, ACCEPT_PAUSE_MS);
        }
        return GW_ERR_AGAIN;
    }
    net_addr_from_sockaddr((const struct sockaddr *)&address, client_r);
    *fd_r = fd;
    return 0;
}

/* Waits for the screen role to come (again) when it is not there. Called with the turn held. */
static int
wait_for_screen(struct listener *listener)
{
    if (listener->screen != NULL) {
        return 0;
    }
    return ipc_accept(listener->handover_fd, ROLE_RECEIVE, ROLE_SCREEN, false, &listener->screen);
}

/* A connection from screen. One thread at a time waits; it leaves the turn to the next before it serves. */
static int
take_handover(struct listener *listener, int *fd_r, struct wire_handover *handover,
              struct ipc_message *message)
{
    int r;

    (void)pthread_mutex_lock(&listener->turn);
    r = atomic_load(&listener->process->shared.draining) ? GW_ERR_AGAIN : wait_for_screen(listener);
    if (r == 0) {
        r = ipc_receive(listener->screen, CLOCK_NEVER, message);
        if (r != 0 && r != GW_ERR_AGAIN) {
            ipc_channel_free(&listener->screen);
        }
    }
    (void)pthread_mutex_unlock(&listener->turn);
    if (r != 0) {
        return GW_ERR_AGAIN;
    }
    if (message->type != WIRE_HANDOVER || wire_handover_unpack(message->payload, handover) != 0) {
        ipc_message_free(message);
        return GW_ERR_AGAIN;
    }
    *fd_r = message->fds[0];
    message->fds[0] = -1; /* transferred to the session */
    /* screen's event loop had it non-blocking; our threads wait in the kernel. */
    int flags = fcntl(*fd_r, F_GETFL);
    if (flags != -1) {
        (void)fcntl(*fd_r, F_SETFL, flags & ~O_NONBLOCK);
    }
    return 0;
}

static void
serve_one(struct listener *listener, struct receive_tools *tools)
{
    struct ipc_message message = {0};
    struct wire_handover handover = {0};
    struct net_addr client = {0};
    bool handed_over = listener->port->listen_fd == -1;
    int fd = -1;
    int r = handed_over ? take_handover(listener, &fd, &handover, &message)
                        : take_connection(listener, &fd, &client);

    if (r != 0) {
        return;
    }
    /* The last idle thread goes to work: start another, so that the next client finds one waiting. */
    if (atomic_fetch_sub(&listener->port->idle, 1) == 1 &&
        atomic_load(&listener->port->threads) < listener->port->max_sessions) {
        (void)start_thread(listener);
    }
    if (listener->port->is_greylist) {
        receive_greylist_run(tools, listener->port, fd, &client);
    } else {
        receive_session_run(tools, listener->port, fd, handed_over ? &handover.client : &client,
                            handed_over ? &handover : NULL);
    }
    if (handed_over) {
        ipc_message_free(&message); /* the handover's evidence pointed in here */
    }
    atomic_fetch_add(&listener->port->idle, 1);
}

static void *
run_thread(void *context)
{
    struct listener *listener = context;
    struct receive_process *process = listener->process;
    struct receive_tools tools;

    if (receive_tools_init(&tools, &process->shared) == 0) {
        while (!atomic_load(&process->shared.draining)) {
            serve_one(listener, &tools);
        }
        receive_tools_free(&tools);
    }
    atomic_fetch_sub(&listener->port->idle, 1);
    atomic_fetch_sub(&listener->port->threads, 1);
    atomic_fetch_sub(&process->threads, 1);
    return NULL;
}

/* Only interrupts accept(2) and recvmsg(2). */
static void
wake_up(int signal_number)
{
    (void)signal_number;
}

static int
add_listener(struct receive_process *process, size_t service, int listen_fd, int handover_fd)
{
    struct listener *listener = &process->listeners[process->listener_count];
    struct buf why;
    int r;

    buf_init(&why, 4096);
    *listener = (struct listener){.process = process, .handover_fd = handover_fd};
    (void)pthread_mutex_init(&listener->turn, NULL);
    if ((r = receive_port_new(process->start.config, service, listen_fd, &listener->port, &why)) == 0) {
        process->listener_count++;
    } else {
        log_error("smtpd", "service %s: %s", config_service(process->start.config, service)->name,
                  buf_str(&why));
    }
    buf_free(&why);
    return r;
}

/* The row of master.cf that serves what screen hands over: type pass, program smtpd. -1: none. */
static int
find_pass_service(const struct config *config)
{
    for (size_t i = 0; i < config_service_count(config); i++) {
        const struct config_service *service = config_service(config, i);

        if (strcmp(service->type, "pass") == 0 && strcmp(service->program, "smtpd") == 0) {
            return (int)i;
        }
    }
    return -1;
}

static int
open_listeners(struct receive_process *process)
{
    const struct role_start *start = &process->start;
    int pass = find_pass_service(start->config);
    int r = 0;

    for (size_t i = 0; i < start->listener_count && r == 0; i++) {
        const struct role_listener *from = &start->listeners[i];
        int flags = fcntl(from->fd, F_GETFL);

        if (flags != -1) {
            (void)fcntl(from->fd, F_SETFL, flags & ~O_NONBLOCK);
        }
        if (from->service >= 0) {
            r = stream_arm_listener(from->fd);
            r = r != 0 ? r : add_listener(process, (size_t)from->service, from->fd, -1);
        } else if (from->peer == ROLE_SCREEN && pass >= 0) {
            r = add_listener(process, (size_t)pass, -1, from->fd);
        }
    }
    return r;
}

/* Waits for master's word to go, then until the sessions under way have ended. */
static void
drain_when_told(struct receive_process *process)
{
    struct pollfd control = {.fd = ROLE_CONTROL_FD, .events = POLLIN};

    while (poll(&control, 1, -1) == -1 && errno == EINTR) {
    }
    atomic_store(&process->shared.draining, 1);
    int64_t deadline_ms = clock_monotonic_ms() + RECEIVE_DRAIN_MS;
    while (atomic_load(&process->threads) > 0 && clock_monotonic_ms() < deadline_ms) {
        /* A thread between its look at the flag and its accept(2) misses one signal, not the next. To the
         * whole group: SIGUSR1 reaches any thread that does not block it, this one blocks it. */
        (void)kill(getpid(), SIGUSR1);
        (void)poll(NULL, 0, RECEIVE_DRAIN_STEP_MS);
    }
}

static void
block_wake_up(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR1);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int
receive_check(const struct config *config, struct buf *why_r)
{
    int worst = 0;

    for (size_t i = 0; i < config_service_count(config); i++) {
        struct receive_port *port = NULL;

        const char *program = config_service(config, i)->program;
        if (strcmp(program, "smtpd") != 0 && strcmp(program, "greylist") != 0) {
            continue;
        }
        int r = receive_port_new(config, i, -1, &port, why_r);
        if (r != 0) {
            (void)buf_append_byte(why_r, '\n');
            worst = r;
        }
        receive_port_free(&port);
    }
    return worst;
}

int
receive_main(int argc, char **argv)
{
    struct receive_process *process = calloc(1, sizeof(*process));
    struct sigaction action = {.sa_handler = wake_up};

    if (process == NULL || role_start_begin(argc, argv, &process->start) != 0) {
        return 1;
    }
    process->shared.config = process->start.config;
    process->shared.slot = (unsigned)getpid() & 0x3fffff;
    process->shared.rates = rates_new();
    receive_room_open(&process->shared.room, config_str(process->start.config, P_queue_directory));
    if (process->shared.rates == NULL || open_listeners(process) != 0 ||
        sigaction(SIGUSR1, &action, NULL) == -1) {
        return 1;
    }
    if (role_start_ready(&process->start, NULL, NULL) != 0) {
        return 1;
    }
    for (size_t i = 0; i < process->listener_count; i++) {
        for (int n = 0; n < RECEIVE_THREADS_AT_START && n < process->listeners[i].port->max_sessions; n++) {
            (void)start_thread(&process->listeners[i]);
        }
    }
    block_wake_up();
    drain_when_told(process);
    return 0;
}

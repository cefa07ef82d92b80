/*
 * screen_service - see the header. Before: master (listening sockets of the postscreen rows); after:
 * screen_client.c.
 *
 * One event loop for all connections. The screen reads no file and opens no socket after its start; it holds
 * clients' descriptors until they pass, and hands them to receive. Draining: no more clients are accepted,
 * those that are refused are sent away, those under test finish. Out of descriptors: accepting pauses for a
 * moment, clients wait in the kernel's queue.
 */
#include "screen/screen_service.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/dns.h"
#include "base/error.h"
#include "base/log.h"
#include "screen/screen_private.h"

enum {
    ACCEPTS_PER_TURN = 64, /* then others have their turn */
    PAUSE_MS = 100,
    WHY_MAX = 4096,
};

static void
resume_accepting(void *context)
{
    struct screen *screen = context;

    screen->accept_pause = NULL;
    for (size_t i = 0; i < screen->port_count; i++) {
        if (screen->ports[i].watch != NULL) {
            loop_watch_change(screen->loop, screen->ports[i].watch, EPOLLIN);
        }
    }
}

static void
pause_accepting(struct screen *screen, const char *service, int error)
{
    log_warning("postscreen", "cannot accept a connection for %s: %s", service, strerror(error));
    if (screen->accept_pause == NULL) {
        screen->accept_pause =
            loop_timer_add(screen->loop, clock_monotonic_ms() + PAUSE_MS, resume_accepting, screen);
    }
    for (size_t i = 0; screen->accept_pause != NULL && i < screen->port_count; i++) {
        if (screen->ports[i].watch != NULL) {
            loop_watch_change(screen->loop, screen->ports[i].watch, 0);
        }
    }
}

static void
accept_clients(void *context, uint32_t events)
{
    struct screen_port *port = context;

    (void)events;
    for (int n = 0; n < ACCEPTS_PER_TURN; n++) {
        struct sockaddr_storage address;
        socklen_t length = sizeof(address);
        struct net_addr peer;
        /* Blocking, as receive wants it; every call here says MSG_DONTWAIT. */
        int fd = accept4(port->listen_fd, (struct sockaddr *)&address, &length, SOCK_CLOEXEC);

        if (fd == -1) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                pause_accepting(port->screen, port->service, errno);
            }
            return;
        }
        net_addr_from_sockaddr((const struct sockaddr *)&address, &peer);
        screen_client_accept(port, fd, &peer);
    }
}

/* A listener bound to one address spares asking every connection for it. */
static void
find_bound(struct screen_port *port)
{
    static const uint8_t ANY[16];
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);

    if (getsockname(port->listen_fd, (struct sockaddr *)&address, &length) == 0) {
        net_addr_from_sockaddr((const struct sockaddr *)&address, &port->bound);
        if (memcmp(port->bound.ip, ANY, sizeof(ANY)) == 0) {
            port->bound = (struct net_addr){0};
        }
    }
}

static int
open_port(struct screen *screen, const struct role_listener *listener)
{
    struct screen_port *port = &screen->ports[screen->port_count];
    struct buf why;
    int flags = fcntl(listener->fd, F_GETFL);

    *port = (struct screen_port){.screen = screen, .listen_fd = listener->fd};
    port->service = config_service(screen->start.config, (size_t)listener->service)->name;
    buf_init(&why, WHY_MAX);
    int r = screen_settings_new(screen->start.config, (size_t)listener->service, &port->settings, &why);
    if (r != 0) {
        log_error("postscreen", "service %s: %s", port->service, buf_str(&why));
    }
    buf_free(&why);
    if (r != 0) {
        return r;
    }
    screen->port_count++;
    find_bound(port);
    if (flags == -1 || fcntl(port->listen_fd, F_SETFL, flags | O_NONBLOCK) == -1) {
        return GW_ERR_SYS;
    }
    port->watch = loop_watch_add(screen->loop, port->listen_fd, EPOLLIN, accept_clients, port);
    return port->watch != NULL ? 0 : GW_ERR_SYS;
}

/* The row that serves what the screen hands over: type pass, program smtpd. */
static int
find_pass_service(struct screen *screen)
{
    for (size_t i = 0; i < config_service_count(screen->start.config); i++) {
        const struct config_service *service = config_service(screen->start.config, i);

        if (strcmp(service->type, "pass") == 0 && strcmp(service->program, "smtpd") == 0) {
            (void)snprintf(screen->pass_service, sizeof(screen->pass_service), "%s", service->name);
            return 0;
        }
    }
    log_error("postscreen",
              "master.cf has a postscreen service, but no row \"smtpd pass - - n - - smtpd\" to hand "
              "clients to: add one");
    return GW_ERR_CONFIG;
}

static void
drain(void *context, uint32_t events)
{
    struct screen *screen = context;

    (void)events;
    for (size_t i = 0; i < screen->port_count; i++) {
        loop_watch_remove(screen->loop, &screen->ports[i].watch);
    }
    loop_watch_remove(screen->loop, &screen->control);
    screen_client_drain(screen);
}

static int
open_all(struct screen *screen)
{
    int r = find_pass_service(screen);

    for (size_t i = 0; r == 0 && i < screen->start.listener_count; i++) {
        if (screen->start.listeners[i].service >= 0) {
            r = open_port(screen, &screen->start.listeners[i]);
        }
    }
    if (r == 0) {
        screen->control = loop_watch_add(screen->loop, ROLE_CONTROL_FD, EPOLLIN, drain, screen);
        r = screen->control != NULL ? 0 : GW_ERR_SYS;
    }
    return r;
}

int
screen_main(int argc, char **argv)
{
    struct screen *screen = calloc(1, sizeof(*screen));

    if (screen == NULL || role_start_begin(argc, argv, &screen->start) != 0) {
        return 1;
    }
    screen->next_id = 1;
    screen->loop = loop_new();
    screen->dns = screen->loop != NULL ? dns_async_new(screen->loop, ROLE_SCREEN) : NULL;
    screen_peer_init(screen);
    if (screen->dns == NULL || open_all(screen) != 0 || role_start_ready(&screen->start, NULL, NULL) != 0) {
        return 1;
    }
    return loop_run(screen->loop) == 0 ? 0 : 1;
}

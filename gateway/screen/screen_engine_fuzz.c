/*
 * screen_engine_fuzz - a whole session with the engine of those who are refused: any bytes, cut into pieces
 * by the first byte. No crash, no leak, no reply but 2xx to 5xx lines, never 354.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "screen/screen_private.h"

enum { REPLIES_MAX = 65536 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
write_file(const char *directory, const char *name, const char *text)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *f = fopen(path, "w");
    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0) {
        abort();
    }
}

/* A screen without roles around it, whose access list refuses everybody: made once. */
static struct screen_port *
make_port(void)
{
    static struct screen screen;
    struct log_target target = {.syslog_name = "postfix", .facility = "mail", .file = "/dev/null", .fd = -1};
    char directory[] = "/tmp/screen_fuzz.XXXXXX", path[64];
    struct config *config = NULL;
    struct buf why;

    if (IPC_RULES[0].type == 0 || mkdtemp(directory) == NULL || log_open(&target) != 0) {
        abort();
    }
    write_file(
        directory, "main.cf",
        "compatibility_level = 3.7\nmyhostname = gw.example.test\nmynetworks = 127.0.0.0/8\n"
        "postscreen_access_list = reject\npostscreen_denylist_action = enforce\npostscreen_greet_wait = 0s\n"
        "line_length_limit = 200\nmail_owner = nobody\n");
    write_file(directory, "master.cf", "smtp inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd\n");
    buf_init(&why, 65536);
    if (config_load(directory, &config, &why) != 0 ||
        screen_settings_new(config, 0, &screen.ports[0].settings, &why) != 0) {
        (void)fprintf(stderr, "%s\n", buf_str(&why));
        abort();
    }
    buf_free(&why);
    (void)snprintf(path, sizeof(path), "%s/main.cf", directory);
    (void)unlink(path);
    (void)snprintf(path, sizeof(path), "%s/master.cf", directory);
    (void)unlink(path);
    (void)rmdir(directory);
    screen.start.config = config; /* kept: the settings point into it */
    screen.loop = loop_new();
    screen.next_id = 1;
    screen_peer_init(&screen);
    screen.ports[0].screen = &screen;
    screen.ports[0].service = "smtp";
    screen.port_count = 1;
    return &screen.ports[0];
}

static void
check_replies(int fd)
{
    static char replies[REPLIES_MAX];
    ssize_t n = recv(fd, replies, sizeof(replies) - 1, MSG_DONTWAIT);

    for (ssize_t at = 0; at < n;) {
        const char *line = replies + at, *end = memchr(line, '\n', (size_t)(n - at));

        if (end == NULL || end - line < 5 || end[-1] != '\r' || line[0] < '2' || line[0] > '5' ||
            line[0] == '3') {
            abort();
        }
        at = end + 1 - replies;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct screen_port *port;
    const struct net_addr peer = {.family = AF_INET, .ip = {192, 0, 2, 1}, .port = 1025};
    int fds[2];

    if (port == NULL) {
        port = make_port();
    }
    if (size < 1 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == -1) {
        return 0;
    }
    screen_client_accept(port, fds[0], &peer);
    struct screen_client *client = screen_client_find(port->screen, port->screen->next_id - 2);
    size_t step = data[0] == 0 ? size : data[0];
    if (client == NULL || client->state != SCREEN_TALKING) {
        abort();
    }
    for (size_t at = 1; at < size && port->screen->client_count > 0; at += step) {
        size_t n = size - at < step ? size - at : step;

        if (send(fds[1], data + at, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n) {
            break;
        }
        screen_engine_read(client);
        check_replies(fds[1]);
    }
    (void)close(fds[1]);
    while (port->screen->client_count > 0) {
        screen_engine_read(client); /* what is left, then the end */
    }
    return 0;
}

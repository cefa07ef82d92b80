/*
 * ctl_release_test - which listener is found, and the dialogue with a scripted server: bytes unchanged with
 * BDAT and with DATA, nothing sent when a recipient is refused, nothing a hostile address could add.
 */
#include "ctl/ctl_release.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

static int failures;
#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

/* A server that answers by rote and keeps what it heard. */
struct server {
    int listen_fd;
    const char *ehlo, *rcpt;
    struct buf heard; /* the commands */
    struct buf content;
};

static bool
read_line(FILE *in, char *line, size_t size)
{
    return fgets(line, (int)size, in) != NULL;
}

static void
read_data(FILE *in, struct buf *content)
{
    char line[4096];

    while (read_line(in, line, sizeof(line)) && strcmp(line, ".\r\n") != 0) {
        (void)buf_append_str(content, line[0] == '.' ? line + 1 : line);
    }
}

static void *
serve(void *context)
{
    struct server *server = context;
    int fd = accept(server->listen_fd, NULL, NULL);
    FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
    char line[4096];

    (void)fputs("220-greeting\r\n220 CHUNKING in a greeting means nothing\r\n", out);
    (void)fflush(out);
    while (read_line(in, line, sizeof(line))) {
        const char *reply = "250 2.0.0 Ok\r\n";
        size_t n;

        (void)buf_append_str(&server->heard, line);
        if (strncmp(line, "EHLO", 4) == 0) {
            reply = server->ehlo;
        } else if (strncmp(line, "RCPT", 4) == 0) {
            reply = strstr(line, "bad@") != NULL ? server->rcpt : reply;
        } else if (strcmp(line, "DATA\r\n") == 0) {
            (void)fputs("354 go\r\n", out);
            (void)fflush(out);
            read_data(in, &server->content);
        } else if (sscanf(line, "BDAT %zu LAST", &n) == 1) {
            (void)buf_reserve(&server->content, n);
            server->content.n = fread(server->content.p, 1, n, in);
        }
        (void)fputs(strcmp(line, "QUIT\r\n") == 0 ? "221 bye\r\n" : reply, out);
        (void)fflush(out);
    }
    (void)fclose(in);
    (void)fclose(out);
    return NULL;
}

static struct net_addr
listen_local(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    struct net_addr addr;

    server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(server->listen_fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    CHECK(listen(server->listen_fd, 1) == 0);
    CHECK(getsockname(server->listen_fd, (struct sockaddr *)&address, &size) == 0);
    net_addr_from_sockaddr((struct sockaddr *)&address, &addr);
    return addr;
}

static const struct {
    const char *name, *ehlo, *rcpt;
    const char *sender, *recipient;
    const char *content;
    int r;
    const char *heard; /* a command that must be there, or not at all when r != 0 */
} CASES[] = {
    {"bdat", "250-x\r\n250-SIZE 1000000\r\n250 CHUNKING\r\n", "", "a@x.test", "u@y.test",
     ".dot\r\n.\r\n..two\r\nno end", 0, "BDAT 22 LAST\r\n"},
    {"data", "250-x\r\n250 8BITMIME\r\n", "", "", "u@y.test", ".dot\r\n.\r\n..two\r\n\r\n.\r\n", 0,
     "DATA\r\n"},
    {"data, nothing", "250 x\r\n", "", "a@x.test", "u@y.test", "", 0, "MAIL FROM:<a@x.test>\r\n"},
    {"bdat, nothing", "250 CHUNKING\r\n", "", "a@x.test", "u@y.test", "", 0, "BDAT 0 LAST\r\n"},
    {"data, no last CRLF", "250 x\r\n", "", "a@x.test", "u@y.test", "no end", GW_ERR_DENIED, "DATA"},
    {"one refused", "250 CHUNKING\r\n", "550 5.1.1 no\r\n", "a@x.test", "bad@y.test", "x\r\n", GW_ERR_DENIED,
     "BDAT"},
    {"one not now", "250 CHUNKING\r\n", "450 4.2.0 later\r\n", "a@x.test", "bad@y.test", "x\r\n", GW_ERR_TEMP,
     "BDAT"},
    {"hostile", "250 CHUNKING\r\n", "", "a@x.test>\r\nRCPT TO:<v@z.test", "u@y.test", "x\r\n", GW_ERR_SYNTAX,
     "MAIL"},
    {"not SMTP", "hello\r\n", "", "a@x.test", "u@y.test", "x\r\n", GW_ERR_PEER, "MAIL"},
};

static void
run_case(size_t i)
{
    struct server server = {.ehlo = CASES[i].ehlo, .rcpt = CASES[i].rcpt};
    struct bytes content = bytes_str(CASES[i].content);
    struct envelope *envelope = envelope_new();
    char text[CTL_RELEASE_TEXT_MAX];
    pthread_t thread;

    buf_init(&server.heard, 65536);
    buf_init(&server.content, 65536);
    struct net_addr addr = listen_local(&server);
    CHECK(pthread_create(&thread, NULL, serve, &server) == 0);
    CHECK(envelope_set_sender(envelope, bytes_str(CASES[i].sender)) == 0);
    CHECK(envelope_add_recipient(envelope, BYTES_LIT("first@y.test"), BYTES_LIT("f"), 0, (struct bytes){0}) ==
          0);
    CHECK(envelope_add_recipient(envelope, bytes_str(CASES[i].recipient), BYTES_LIT("r"), 0,
                                 (struct bytes){0}) == 0);
    int fd = memfd_create("test", MFD_CLOEXEC);
    CHECK(write(fd, content.p, content.n) == (ssize_t)content.n);
    int r = ctl_release_send(&addr, "mx.test", envelope, fd, content.n, text);
    (void)close(fd);
    CHECK(pthread_join(thread, NULL) == 0);
    (void)close(server.listen_fd);
    bool heard = strstr(buf_str(&server.heard), CASES[i].heard) != NULL;
    bool whole = bytes_equal(bytes_buf(&server.content), content);
    if (r != CASES[i].r || heard != (CASES[i].r == 0) || (r == 0 && !whole) || text[0] == '\0') {
        (void)fprintf(stderr, "%s: %s (%s)\n%s", CASES[i].name, gw_strerror(r), text, buf_str(&server.heard));
        failures++;
    }
    envelope_free(&envelope);
    buf_free(&server.heard);
    buf_free(&server.content);
}

static const struct {
    const char *master;
    int r;
    const char *address;
    uint16_t port;
} LISTENERS[] = {
    {"smtp inet n - n - - smtpd\n", GW_ERR_NOTFOUND, "", 0},
    {"smtp inet n - n - - smtpd\n127.0.0.1:10026 inet n - n - - smtpd -o content_filter=\n", 0, "127.0.0.1",
     10026},
    {"192.0.2.1:25 inet n - n - - smtpd -o content_filter=\nlocalhost:10027 inet n - n - - smtpd\n -o "
     "content_filter=\n",
     0, "127.0.0.1", 10027},
    {"[::1]:10028 inet n - n - - smtpd -o content_filter=\n", 0, "::1", 10028},
    {"10029 inet n - n - - smtpd -o content_filter=\n", 0, "127.0.0.1", 10029},
    {"127.0.0.1:10026 inet n - n - - smtpd -o content_filter=scan:\n", GW_ERR_NOTFOUND, "", 0},
    {"x unix - - n - - smtp -o content_filter=\n", GW_ERR_NOTFOUND, "", 0},
};

static void
write_file(const char *directory, const char *name, const char *text)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fputs(text, file) >= 0);
    if (file != NULL) {
        (void)fclose(file);
    }
}

static void
test_listeners(void)
{
    char directory[] = "/tmp/ctl_release_test.XXXXXX", command[128];

    CHECK(mkdtemp(directory) != NULL);
    write_file(directory, "main.cf", "content_filter = scan:\nmyhostname = mx.test\n");
    for (size_t i = 0; i < sizeof(LISTENERS) / sizeof(LISTENERS[0]); i++) {
        struct config *config = NULL;
        struct net_addr addr, wanted = {0};
        struct buf why;

        buf_init(&why, 65536);
        write_file(directory, "master.cf", LISTENERS[i].master);
        CHECK(config_load(directory, &config, &why) == 0);
        if (config != NULL) {
            int r = ctl_release_listener(config, &addr);
            if (r != LISTENERS[i].r ||
                (r == 0 && (net_addr_parse(bytes_str(LISTENERS[i].address), &wanted) != 0 ||
                            !net_addr_equal(&addr, &wanted) || addr.port != LISTENERS[i].port))) {
                (void)fprintf(stderr, "listener %zu: %s, port %u\n", i, gw_strerror(r), addr.port);
                failures++;
            }
        } else {
            (void)fprintf(stderr, "%s\n", buf_str(&why));
        }
        config_free(&config);
        buf_free(&why);
    }
    (void)snprintf(command, sizeof(command), "rm -rf %s", directory);
    CHECK(system(command) == 0);
}

int
main(void)
{
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        run_case(i);
    }
    test_listeners();
    return failures != 0;
}

/*
 * ctl_release - see the header. Before: ctl_quarantine.c; after: receive/ on the reinjection listener
 * (10026).
 *
 * Strictly one command, one reply: nothing here is in a hurry, and what was refused must be known exactly. A
 * message is released for all its recipients or for none: when one is refused the transaction is given up, so
 * a second try sends no duplicates. With CHUNKING the content travels as it is; without, dots are stuffed and
 * a last line without CRLF (which only BDAT could have brought) is refused rather than changed.
 */
#include "ctl/ctl_release.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/stream.h"

enum { REPLY_LINE_MAX = 2048, REPLY_LINES_MAX = 100, COMMAND_WAIT_MS = 60000, CONTENT_WAIT_MS = 300000 };

enum extension { EXT_CHUNKING = 1, EXT_8BITMIME = 2, EXT_SMTPUTF8 = 4, EXT_SIZE = 8 };

static const struct {
    const char *name;
    unsigned bit;
} EXTENSIONS[] = {
    {"CHUNKING", EXT_CHUNKING}, {"8BITMIME", EXT_8BITMIME}, {"SMTPUTF8", EXT_SMTPUTF8}, {"SIZE", EXT_SIZE}};

struct dialogue {
    struct stream *stream;
    unsigned extensions;
    char *text; /* the last reply, for people; CTL_RELEASE_TEXT_MAX */
};

static int
parse_port(struct bytes text, uint16_t *port_r)
{
    uint64_t number;

    if (bytes_to_u64(text, &number) == 0) {
        *port_r = (uint16_t)number;
        return number > 0 && number <= UINT16_MAX ? 0 : GW_ERR_SYNTAX;
    }
    char name[64];
    (void)snprintf(name, sizeof(name), "%.*s", BYTES_FMT(text));
    const struct servent *service = getservbyname(name, "tcp");
    if (service == NULL) {
        return GW_ERR_SYNTAX;
    }
    *port_r = ntohs((uint16_t)service->s_port);
    return 0;
}

/* "127.0.0.1:10026", "[::1]:10026", "localhost:10026", "10026": the address to connect to. */
static int
parse_listener(const char *name, struct net_addr *addr_r)
{
    struct bytes text = bytes_str(name), host = BYTES_LIT("127.0.0.1");
    ptrdiff_t colon = bytes_rindex(text, ':');
    uint16_t port;

    *addr_r = (struct net_addr){0};
    if (colon > 0) {
        host = bytes_sub(text, 0, (size_t)colon);
        text = bytes_sub(text, (size_t)colon + 1, text.n);
    }
    if (host.p[0] == '[' && host.p[host.n - 1] == ']') {
        host = bytes_sub(host, 1, host.n - 2);
    }
    if (bytes_equal_nocase(host, BYTES_LIT("localhost")) || bytes_equal(host, BYTES_LIT("0.0.0.0"))) {
        host = BYTES_LIT("127.0.0.1");
    }
    int r = parse_port(text, &port);
    r = r == 0 ? net_addr_parse(host, addr_r) : r;
    addr_r->port = r == 0 ? port : 0;
    return r;
}

static bool
is_loopback(const struct net_addr *addr)
{
    static const uint8_t SIX[16] = {[15] = 1};

    return addr->family == AF_INET ? addr->ip[0] == 127 : memcmp(addr->ip, SIX, sizeof(SIX)) == 0;
}

static bool
is_unfiltered(const struct config *config, size_t index)
{
    const struct config_service *row = config_service(config, index);

    if (strcmp(row->type, "inet") != 0 || strcmp(row->program, "smtpd") != 0) {
        return false;
    }
    for (size_t i = 0; i < row->override_count; i++) {
        if (strcmp(row->overrides[i].name, "content_filter") == 0) {
            return config_str(config_view(config, index), P_content_filter)[0] == '\0';
        }
    }
    return false;
}

int
ctl_release_listener(const struct config *config, struct net_addr *addr_r)
{
    int r = GW_ERR_NOTFOUND;

    *addr_r = (struct net_addr){0};
    for (size_t i = 0; i < config_service_count(config); i++) {
        struct net_addr addr;

        if (is_unfiltered(config, i) && parse_listener(config_service(config, i)->name, &addr) == 0 &&
            (r != 0 || (is_loopback(&addr) && !is_loopback(addr_r)))) {
            *addr_r = addr;
            r = 0;
        }
    }
    return r;
}

static bool
is_code(struct bytes line, int *code_r)
{
    uint64_t code;

    if (line.n < 3 || bytes_to_u64(bytes_sub(line, 0, 3), &code) != 0 || code < 200 || code > 599 ||
        (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-')) {
        return false;
    }
    *code_r = (int)code;
    return true;
}

static void
note_extension(struct dialogue *d, struct bytes line)
{
    struct bytes rest = bytes_sub(line, 4, line.n), word;

    if (!bytes_next_token(&rest, " ", &word)) {
        return;
    }
    for (size_t i = 0; i < sizeof(EXTENSIONS) / sizeof(EXTENSIONS[0]); i++) {
        if (bytes_equal_nocase(word, bytes_str(EXTENSIONS[i].name))) {
            d->extensions |= EXTENSIONS[i].bit;
        }
    }
}

static void
keep_text(struct dialogue *d, struct bytes line)
{
    struct buf text;

    buf_init(&text, CTL_RELEASE_TEXT_MAX - 1);
    (void)buf_append_printable(&text, line, CTL_RELEASE_TEXT_MAX - 1, true);
    (void)snprintf(d->text, CTL_RELEASE_TEXT_MAX, "%s", buf_str(&text));
    buf_free(&text);
}

/* Sends what is buffered and reads the reply. 0 (2xx and 3xx), GW_ERR_TEMP (4xx), GW_ERR_DENIED (5xx), or
 * what broke. */
static int
read_reply(struct dialogue *d, int64_t wait_ms)
{
    struct bytes line;
    int code = 0, r;

    stream_set_deadline(d->stream, clock_monotonic_ms() + wait_ms);
    if ((r = stream_flush(d->stream)) != 0) {
        return r;
    }
    for (int i = 0; i < REPLY_LINES_MAX; i++) {
        if ((r = stream_read_line(d->stream, REPLY_LINE_MAX, &line)) != 0) {
            return r;
        }
        if (!is_code(line, &code)) {
            return GW_ERR_PEER;
        }
        note_extension(d, line);
        if (line.n == 3 || line.p[3] == ' ') {
            keep_text(d, line);
            return code < 400 ? 0 : code < 500 ? GW_ERR_TEMP : GW_ERR_DENIED;
        }
    }
    return GW_ERR_PEER;
}

/* An address that could end the command, or the path in it, is not of receive's making. */
static bool
is_path_text(struct bytes address)
{
    for (size_t i = 0; i < address.n; i++) {
        if (address.p[i] < ' ' || address.p[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

static int
send_mail(struct dialogue *d, const struct envelope *envelope, uint64_t size)
{
    int r = stream_printf(d->stream, "MAIL FROM:<%.*s>", BYTES_FMT(envelope->sender));

    if (r == 0 && (d->extensions & EXT_SIZE) != 0) {
        r = stream_printf(d->stream, " SIZE=%llu", (unsigned long long)size);
    }
    if (r == 0 && (d->extensions & EXT_8BITMIME) != 0 && envelope->body == BODY_8BITMIME) {
        r = stream_printf(d->stream, " BODY=8BITMIME");
    }
    if (r == 0 && (d->extensions & EXT_SMTPUTF8) != 0 && envelope->smtputf8) {
        r = stream_printf(d->stream, " SMTPUTF8");
    }
    r = r == 0 ? stream_printf(d->stream, "\r\n") : r;
    return r == 0 ? read_reply(d, COMMAND_WAIT_MS) : r;
}

static int
send_envelope(struct dialogue *d, const struct envelope *envelope, uint64_t size)
{
    int r = is_path_text(envelope->sender) ? send_mail(d, envelope, size) : GW_ERR_SYNTAX;

    for (size_t i = 0; r == 0 && i < envelope->recipient_count; i++) {
        struct bytes address = envelope->recipients[i].address;

        r = is_path_text(address) ? stream_printf(d->stream, "RCPT TO:<%.*s>\r\n", BYTES_FMT(address))
                                  : GW_ERR_SYNTAX;
        r = r == 0 ? read_reply(d, COMMAND_WAIT_MS) : r;
    }
    return r;
}

/* Dots at the start of lines are doubled (RFC 5321 section 4.5.2). */
static int
write_stuffed(struct dialogue *d, struct bytes content)
{
    int r = 0;

    while (r == 0 && content.n > 0) {
        ptrdiff_t end = bytes_index(content, '\n');
        size_t n = end < 0 ? content.n : (size_t)end + 1;

        if (content.p[0] == '.') {
            r = stream_write(d->stream, BYTES_LIT("."));
        }
        r = r == 0 ? stream_write(d->stream, bytes_sub(content, 0, n)) : r;
        content = bytes_sub(content, n, content.n);
    }
    return r;
}

static int
send_content(struct dialogue *d, struct bytes content)
{
    int r;

    if ((d->extensions & EXT_CHUNKING) != 0) {
        stream_set_deadline(d->stream, clock_monotonic_ms() + CONTENT_WAIT_MS);
        r = stream_printf(d->stream, "BDAT %zu LAST\r\n", content.n);
        r = r == 0 ? stream_write(d->stream, content) : r;
        return r == 0 ? read_reply(d, CONTENT_WAIT_MS) : r;
    }
    if (content.n > 0 && !bytes_has_suffix_nocase(content, BYTES_LIT("\r\n"))) {
        (void)snprintf(d->text, CTL_RELEASE_TEXT_MAX,
                       "the content does not end with CRLF and the listener has no BDAT");
        return GW_ERR_DENIED;
    }
    r = stream_printf(d->stream, "DATA\r\n");
    if (r != 0 || (r = read_reply(d, COMMAND_WAIT_MS)) != 0) {
        return r;
    }
    stream_set_deadline(d->stream, clock_monotonic_ms() + CONTENT_WAIT_MS);
    r = write_stuffed(d, content);
    r = r == 0 ? stream_printf(d->stream, ".\r\n") : r;
    return r == 0 ? read_reply(d, CONTENT_WAIT_MS) : r;
}

static int
converse(struct dialogue *d, const char *helo, const struct envelope *envelope, struct bytes content)
{
    int r = read_reply(d, COMMAND_WAIT_MS);

    r = r == 0 ? stream_printf(d->stream, "EHLO %s\r\n", helo) : r;
    d->extensions = 0; /* the greeting offers none */
    r = r == 0 ? read_reply(d, COMMAND_WAIT_MS) : r;
    r = r == 0 ? send_envelope(d, envelope, content.n) : r;
    r = r == 0 ? send_content(d, content) : r;
    if (r == 0 || r == GW_ERR_TEMP || r == GW_ERR_DENIED) {
        (void)stream_printf(d->stream,
                            "QUIT\r\n"); /* gives up a transaction that was refused in the middle */
        (void)stream_flush(d->stream);
    }
    return r;
}

int
ctl_release_send(const struct net_addr *addr, const char *helo, const struct envelope *envelope,
                 int content_fd, uint64_t size, char text_r[CTL_RELEASE_TEXT_MAX])
{
    struct dialogue d = {.text = text_r};
    void *map = NULL;
    int fd = -1, r;

    text_r[0] = '\0';
    if (size > 0) {
        map = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, content_fd, 0);
        if (map == MAP_FAILED) {
            return GW_ERR_SYS;
        }
    }
    r = net_connect(addr, NULL, clock_monotonic_ms() + COMMAND_WAIT_MS, &fd);
    if (r == 0) {
        d.stream = stream_new(fd);
        r = d.stream == NULL ? GW_ERR_NOMEM : converse(&d, helo, envelope, bytes_of(map, (size_t)size));
    }
    stream_free(&d.stream);
    if (map != NULL) {
        (void)munmap(map, (size_t)size);
    }
    if (r != 0 && text_r[0] == '\0') {
        (void)snprintf(text_r, CTL_RELEASE_TEXT_MAX, "%s", gw_strerror(r));
    }
    return r;
}

/*
 * table_network_test - the answers of tcp and socketmap servers, whole and byte by byte, and what a kept
 * connection does when the server is slow, leaves, or says more than it was asked.
 *
 * Shows of contract.tsv: TAB8 TAB16.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "config/table.h"
#include "config/table_socketmap.h"
#include "config/table_tcp.h"

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

#define TEXT(literal)                                   \
    {                                                   \
        (const uint8_t *)(literal), sizeof(literal) - 1 \
    }

struct answer_case {
    struct bytes come;
    int r;      /* of reading */
    int result; /* of the lookup, when r is 1 */
    const char *value;
};

/* What Postfix 3.7's postmap -q says to the same bytes, but for the NULs, which cut its values short. */
static const struct answer_case TCP_CASES[] = {
    {TEXT("200 ok\n"), 1, 0, "ok"},
    {TEXT("200 ok\r\n"), 1, 0, "ok"},
    {TEXT("200 ok\nmore\n"), 1, 0, "ok"},
    {TEXT("200  two  x \n"), 1, 0, " two  x "},
    {TEXT("200\tx\n"), 1, 0, "x"},
    {TEXT("200 a%20b%0a%e9\n"), 1, 0, "a b\n\351"},
    {TEXT("200 \n"), 1, 0, ""},
    {TEXT("500 no\n"), 1, GW_ERR_NOTFOUND, "no"},
    {TEXT("400 later\n"), 1, GW_ERR_TEMP, "later"},
    {TEXT("200 a%20b%\n"), GW_ERR_SYNTAX, 0, NULL},
    {TEXT("200 a%20b%z0\n"), GW_ERR_SYNTAX, 0, NULL},
    {TEXT("200 a%2\n"), GW_ERR_SYNTAX, 0, NULL},
    {TEXT("200 a%00b\n"), GW_ERR_SYNTAX, 0, NULL},
    {TEXT("200 a\0b\n"), GW_ERR_SYNTAX, 0, NULL},
    {TEXT("200\n"), GW_ERR_SYNTAX, 0, NULL},
    {TEXT("500\n"), GW_ERR_SYNTAX, 0, NULL},
    {TEXT("600 x\n"), GW_ERR_SYNTAX, 0, NULL},
    {TEXT("200ok\n"), GW_ERR_SYNTAX, 0, NULL},
    {TEXT(" 200 x\n"), GW_ERR_SYNTAX, 0, NULL},
    {TEXT("\n"), GW_ERR_SYNTAX, 0, NULL},
};

static const struct answer_case SOCKETMAP_CASES[] = {
    {TEXT("4:OK v,"), 1, 0, "v"},
    {TEXT("6:OK  v ,"), 1, 0, " v "},
    {TEXT("3:OK ,"), 1, 0, ""},
    {TEXT("2:OK,"), 1, GW_ERR_NOTFOUND, ""},
    {TEXT("04:OK v,"), 1, 0, "v"},
    {TEXT("6:OK a\nb,"), 1, 0, "a\nb"},
    {TEXT("9:NOTFOUND ,"), 1, GW_ERR_NOTFOUND, ""},
    {TEXT("8:NOTFOUND,"), 1, GW_ERR_NOTFOUND, ""},
    {TEXT("10:NOTFOUND x,"), 1, GW_ERR_NOTFOUND, "x"},
    {TEXT("8:TEMP why,"), 1, GW_ERR_TEMP, "why"},
    {TEXT("8:TIMEOUT ,"), 1, GW_ERR_TEMP, ""},
    {TEXT("8:PERM why,"), 1, GW_ERR_TEMP, "why"},
    {TEXT("3:foo,"), 1, GW_ERR_TEMP, ""},
    {TEXT("4:ok v,"), 1, GW_ERR_TEMP, "v"},
    {TEXT("4:OK\tv,"), 1, GW_ERR_TEMP, ""},
    {TEXT("6:OK a\0b,"), 1, GW_ERR_TEMP, NULL},
    {TEXT("0:,"), 1, GW_ERR_TEMP, ""},
    {TEXT("4:OK v."), GW_ERR_SYNTAX, 0, NULL},
    {TEXT(":OK v,"), GW_ERR_SYNTAX, 0, NULL},
    {TEXT("-4:OK v,"), GW_ERR_SYNTAX, 0, NULL},
    {TEXT("4;OK v,"), GW_ERR_SYNTAX, 0, NULL},
    {TEXT("100001:OK"), GW_ERR_LIMIT, 0, NULL},
    {TEXT("9999999999:OK"), GW_ERR_LIMIT, 0, NULL},
    {TEXT("99:OK v,"), 0, 0, NULL},
};

static int
read_tcp(struct bytes come, size_t *used, int *result, struct buf *value)
{
    struct table_tcp_answer answer = {.result = GW_ERR_INTERNAL};

    buf_init(&answer.text, 8192);
    int r = table_tcp_read(come, used, &answer);
    *result = answer.result;
    buf_clear(value);
    (void)buf_append_bytes(value, bytes_buf(&answer.text));
    buf_free(&answer.text);
    return r;
}

static int
read_socketmap(struct bytes come, size_t *used, int *result, struct buf *value)
{
    struct table_socketmap_answer answer = {.result = GW_ERR_INTERNAL};
    int r = table_socketmap_read(come, used, &answer);

    *result = answer.result;
    buf_clear(value);
    (void)buf_append_bytes(value, answer.text);
    return r;
}

typedef int reader(struct bytes come, size_t *used, int *result, struct buf *value);

static void
check_answers(reader *read, const struct answer_case *cases, size_t count)
{
    struct buf value;

    buf_init(&value, 8192);
    for (size_t i = 0; i < count; i++) {
        const struct answer_case *c = &cases[i];
        int result = 0, r = 0;
        size_t used = 0;

        r = read(c->come, &used, &result, &value);
        if (r != c->r || (r == 1 && (result != c->result ||
                                     (c->value != NULL && strcmp(buf_str(&value), c->value) != 0)))) {
            (void)fprintf(stderr, "case %zu: %d %d \"%s\"\n", i, r, result, buf_str(&value));
            failures++;
        }
        /* The same, when the bytes come one by one: never an answer before the last byte that it needs. */
        size_t needed = r == 1 ? used : c->come.n;
        for (size_t n = 0; n < needed; n++) {
            r = read(bytes_sub(c->come, 0, n), &used, &result, &value);
            CHECK(r == 0 || (r < 0 && c->r < 0));
        }
    }
    buf_free(&value);
}

static void
test_encoding(void)
{
    static const struct bytes KEY = TEXT("a b%c\303\251d\1~\177!");
    struct buf out;

    buf_init(&out, 256);
    CHECK(table_tcp_encode(KEY, &out) == 0);
    CHECK(strcmp(buf_str(&out), "a%20b%25c%C3%A9d%01~%7F!") == 0);
    buf_free(&out);
}

static void
test_lengths(void)
{
    static char line[8192], net[120000];
    struct table_tcp_answer tcp = {0};
    struct table_socketmap_answer map;
    size_t used;

    buf_init(&tcp.text, 8192);
    memset(line, 'x', sizeof(line));
    memcpy(line, "200 ", 4);
    line[4095] = '\n';
    CHECK(table_tcp_read(bytes_of(line, 4096), &used, &tcp) == 1 && tcp.text.n == 4091);
    line[4095] = 'x';
    line[4096] = '\n';
    CHECK(table_tcp_read(bytes_of(line, 4097), &used, &tcp) == GW_ERR_LIMIT);
    CHECK(table_tcp_read(bytes_of(line, 4096), &used, &tcp) == GW_ERR_LIMIT);
    buf_free(&tcp.text);
    memset(net, 'x', sizeof(net));
    memcpy(net, "100000:OK ", 10);
    net[100007] = ',';
    CHECK(table_socketmap_read(bytes_of(net, 100008), &used, &map) == 1 && map.text.n == 99997 &&
          used == 100008);
    CHECK(table_socketmap_read(bytes_of(net, 100007), &used, &map) == 0);
}

/* A server for one connection after the other; what it does with the n-th question is in `acts`. */
struct server {
    int listener;
    const char
        *acts; /* a: answers; 2: answers twice; c: closes; C: answers, then closes; h: half an answer */
    unsigned connections;
};

static void *
serve(void *context)
{
    struct server *server = context;
    char question[512];
    int fd = -1;

    for (const char *act = server->acts; *act != '\0';) {
        if (fd == -1) {
            if ((fd = accept(server->listener, NULL, NULL)) == -1) {
                return NULL;
            }
            server->connections++;
        }
        if (recv(fd, question, sizeof(question), 0) <= 0) {
            (void)close(fd);
            fd = -1;
            continue;
        }
        const char *say = *act == '2'   ? "4:OK v,9:NOTFOUND ,"
                          : *act == 'h' ? "4:OK"
                          : *act == 'c' ? ""
                                        : "4:OK v,";
        (void)send(fd, say, strlen(say), MSG_NOSIGNAL);
        if (*act == 'c' || *act == 'C' || *act == 'h') {
            (void)close(fd);
            fd = -1;
        }
        act++;
    }
    if (fd != -1) {
        (void)close(fd);
    }
    return NULL;
}

/* What each of the questions is answered, and with how many connections. */
static void
check_server(const char *acts, const int *results, size_t count, unsigned connections)
{
    char directory[] = "/tmp/table_network_test.XXXXXX";
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct server server = {.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), .acts = acts};
    struct table_hit hit = {0};
    struct table *table = NULL;
    struct buf spec, why;
    pthread_t thread;

    buf_init(&spec, 512);
    buf_init(&why, 512);
    buf_init(&hit.value, TABLE_VALUE_MAX);
    if (mkdtemp(directory) == NULL) {
        exit(1);
    }
    (void)snprintf(at.sun_path, sizeof(at.sun_path), "%s/s", directory);
    CHECK(bind(server.listener, (const struct sockaddr *)&at, sizeof(at)) == 0 &&
          listen(server.listener, 5) == 0);
    CHECK(pthread_create(&thread, NULL, serve, &server) == 0);
    (void)buf_printf(&spec, "socketmap:unix:%s:name", at.sun_path);
    CHECK(table_open(NULL, bytes_buf(&spec), TABLE_FOLD, &table, &why) == 0);
    for (size_t i = 0; i < count && table != NULL; i++) {
        int r = table_find(table, BYTES_LIT("key"), &hit);

        if (r != results[i] || (r == 0 && strcmp(buf_str(&hit.value), "v") != 0)) {
            (void)fprintf(stderr, "server \"%s\", question %zu: %d\n", acts, i, r);
            failures++;
        }
        (void)usleep(20000); /* what the server does after its answer has happened by then */
    }
    table_free(&table);
    (void)shutdown(server.listener, SHUT_RDWR);
    (void)pthread_join(thread, NULL);
    CHECK(server.connections == connections);
    (void)close(server.listener);
    (void)unlink(at.sun_path);
    (void)rmdir(directory);
    buf_free(&spec);
    buf_free(&why);
    buf_free(&hit.value);
}

static void
test_connections(void)
{
    static const int FINE[] = {0, 0, 0}, LAST[] = {0, 0, GW_ERR_TEMP}, FIRST[] = {GW_ERR_TEMP, 0, 0};

    check_server("aaa", FINE, 3, 1);
    check_server("CCC", FINE, 3, 3);  /* the kept connection is closed: another one */
    check_server("2a2", FINE, 3, 2);  /* what follows an answer is never taken for the next */
    check_server("haa", FIRST, 3, 2); /* half an answer is none */
    check_server("caa", FIRST, 3, 2); /* on a new connection, no answer is trouble */
    check_server("acaa", FINE, 3, 2); /* on a kept one it may be that the server had closed it: asked again */
    check_server("aah", LAST, 3, 1);
}

static void
test_specs(void)
{
    static const struct {
        const char *spec;
        bool good;
    } CASES[] = {
        {"tcp:localhost:25", true},
        {"tcp:[::1]:25", true},
        {"tcp:25", true},
        {"tcp::25", true},
        {"tcp:", false},
        {"tcp:host:", false},
        {"tcp:::1:25", false},
        {"socketmap:inet:localhost:1:name", true},
        {"socketmap:unix:/run/x:name", true},
        {"socketmap:unix::name", false},
        {"socketmap:foo", false},
        {"socketmap:inet:name", false},
        {"socketmap:inet:localhost:1:", false},
        {"unionmap:{static:a, {b}}", false},
        {"unionmap:{{{{{{{{{{{{{{{{{{{{a}}}}}}}}}}}}}}}}}}}}", false},
        {"unionmap:{unionmap:{unionmap:{static:a}},inline:{ {k = {v}} }}", true},
        {"pipemap:{inline:{a=b}", false},
        {"randmap:{a}b", false},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct table *table = NULL;
        struct buf why;

        buf_init(&why, 2048);
        bool good = table_open(NULL, bytes_str(CASES[i].spec), TABLE_FOLD, &table, &why) == 0;
        if (good != CASES[i].good || (!good && why.n == 0)) {
            (void)fprintf(stderr, "%s: %s\n", CASES[i].spec, buf_str(&why));
            failures++;
        }
        table_free(&table);
        buf_free(&why);
    }
}

/* Whole keys only where all members want them (TAB11). */
static void
test_patterns(void)
{
    static const struct {
        const char *spec;
        bool pattern;
    } CASES[] = {
        {"tcp:localhost:25", true},
        {"socketmap:inet:localhost:1:n", true},
        {"inline:{a=b}", false},
        {"environ:x", false},
        {"randmap:{a}", true},
        {"unionmap:{tcp:1,inline:{a=b}}", false},
        {"unionmap:{tcp:1,randmap:{x}}", true},
        {"pipemap:{inline:{a=b},tcp:1}", false},
        {"pipemap:{tcp:1,inline:{a=b}}", true},
        {"proxy:inline:{a=b}", false},
        {"nis:any", true},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct table *table = NULL;
        struct buf why;

        buf_init(&why, 2048);
        CHECK(table_open(NULL, bytes_str(CASES[i].spec), TABLE_FOLD, &table, &why) == 0);
        if (table == NULL || table_is_pattern(table) != CASES[i].pattern) {
            (void)fprintf(stderr, "%s: %s\n", CASES[i].spec, buf_str(&why));
            failures++;
        }
        table_free(&table);
        buf_free(&why);
    }
}

int
main(void)
{
    check_answers(read_tcp, TCP_CASES, sizeof(TCP_CASES) / sizeof(TCP_CASES[0]));
    check_answers(read_socketmap, SOCKETMAP_CASES, sizeof(SOCKETMAP_CASES) / sizeof(SOCKETMAP_CASES[0]));
    test_encoding();
    test_lengths();
    test_connections();
    test_specs();
    test_patterns();
    return failures != 0;
}

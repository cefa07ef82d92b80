/*
 * spamassassin_test - asks a real spamd of its own on a Unix socket; then servers that are down, silent or
 * lying.
 *
 * Shows of contract.tsv: SCN2.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "scanners/scan_rig.h"

enum { START_MS = 60000, QUESTION_MAX = 65536, LARGE = 100000 };

static pid_t
start_spamd(const struct rig *rig, const char *path)
{
    char socket_option[256], pid_option[256];
    pid_t pid;

    (void)snprintf(socket_option, sizeof(socket_option), "--socketpath=%s", path);
    (void)snprintf(pid_option, sizeof(pid_option), "--pidfile=%s/pid", rig->directory);
    if ((pid = fork()) == 0) {
        int null_fd = open("/dev/null", O_RDWR);

        (void)dup2(null_fd, STDOUT_FILENO);
        (void)dup2(null_fd, STDERR_FILENO);
        (void)execlp("spamd", "spamd", "--local", "--nouser-config", "--max-children=1", "--syslog=null",
                     socket_option, pid_option, (char *)NULL);
        _exit(127);
    }
    for (int64_t end_ms = clock_monotonic_ms() + START_MS; access(path, F_OK) == -1;) {
        if (clock_monotonic_ms() > end_ms || waitpid(pid, NULL, WNOHANG) != 0) {
            (void)fprintf(stderr, "spamd did not start; is the package spamd installed?\n");
            exit(2);
        }
        (void)poll(NULL, 0, 50);
    }
    return pid;
}

static struct scan_result
look(struct rig *rig, struct bytes content)
{
    struct scan_report report;

    CHECK(rig_scan(rig, SCANNER_SPAMASSASSIN, content, &report) == 0 && report.count == 1);
    return report.results[0];
}

static void
test_spamd(struct rig *rig)
{
    struct scan_result result = look(rig, BYTES_LIT(RIG_HEAD "\r\nhola\r\n"));

    CHECK(result.status == SCAN_CLEAN && result.score_milli < result.threshold_milli);
    CHECK(result.threshold_milli == 5000);
    result = look(rig, BYTES_LIT(RIG_HEAD "\r\n" RIG_GTUBE "\r\n"));
    CHECK(result.status == SCAN_FOUND && result.score_milli >= 1000 * 1000);
    CHECK(bytes_find(result.found, BYTES_LIT("GTUBE")) >= 0);
    /* Bytes that are no text, dots, a message without a header. */
    result = look(rig, BYTES_LIT("\r\n.\r\n\0\xff\xfe\r\n"));
    CHECK(result.status == SCAN_CLEAN || result.status == SCAN_FOUND);
}

static void
test_size(struct rig *rig, const char *server)
{
    static uint8_t large[LARGE];
    char settings[512];

    memset(large, 'a', sizeof(large));
    (void)snprintf(settings, sizeof(settings), "%sspamassassin_size_limit = 99999\n", server);
    rig_configure(rig, settings);
    struct scan_result result = look(rig, bytes_of(large, sizeof(large)));
    CHECK(result.status == SCAN_SKIPPED && result.detail.n > 0);
}

/* A server that reads the question and says what it is told to. */
struct liar {
    int listen_fd;
    struct bytes answer;
    bool hangs; /* keeps the connection open and says nothing more */
    char question[QUESTION_MAX];
    size_t asked;
};

static void *
lie(void *context)
{
    struct liar *liar = context;
    int fd = accept(liar->listen_fd, NULL, NULL);
    ssize_t n;

    liar->asked = 0;
    while (fd != -1 && liar->asked < sizeof(liar->question) - 1 &&
           strstr(liar->question, "hola\r\n") == NULL &&
           (n = read(fd, liar->question + liar->asked, sizeof(liar->question) - 1 - liar->asked)) > 0) {
        liar->asked += (size_t)n;
    }
    CHECK(write(fd, liar->answer.p, liar->answer.n) == (ssize_t)liar->answer.n);
    if (liar->hangs) {
        char byte;
        (void)!read(fd, &byte, 1); /* until the asker gives up */
    }
    (void)close(fd);
    return NULL;
}

static void
test_liars(struct rig *rig, int listen_fd)
{
    static const struct {
        const char *answer;
        bool hangs;
        enum scan_status status;
    } CASES[] = {
        {"SPAMD/1.1 0 EX_OK\r\nContent-length: 3\r\nSpam: False ; 1.5 / 5.0\r\n\r\nA,B", false, SCAN_CLEAN},
        {"SPAMD/1.1 0 EX_OK\r\nContent-length: 3\r\nSpam: False ; 1.5 / 5.0\r\n\r\nA,B", true, SCAN_CLEAN},
        {"", false, SCAN_TEMPFAIL},
        {"", true, SCAN_TEMPFAIL},
        {"SPAMD/1.1 0 EX_OK\r\nContent-length: 9\r\nSpam: False ; 1.5 / 5.0\r\n\r\nA,B", false,
         SCAN_TEMPFAIL},
        {"SPAMD/1.1 0 EX_OK\r\nContent-length: 9\r\nSpam: False ; 1.5 / 5.0\r\n\r\nA,B", true, SCAN_TEMPFAIL},
        {"SPAMD/1.0 76 Bad header line\r\n\r\n", false, SCAN_TEMPFAIL},
        {"SPAMD/1.1 0 EX_OK\r\nContent-length: 0\r\n\r\n", false, SCAN_TEMPFAIL},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        static struct liar liar;
        pthread_t thread;
        int64_t start_ms = clock_monotonic_ms();

        liar = (struct liar){
            .listen_fd = listen_fd, .answer = bytes_str(CASES[i].answer), .hangs = CASES[i].hangs};
        CHECK(pthread_create(&thread, NULL, lie, &liar) == 0);
        struct scan_result result = look(rig, BYTES_LIT(RIG_HEAD "\r\nhola\r\n"));
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(result.status == CASES[i].status && clock_monotonic_ms() - start_ms < 4000);
        CHECK(result.status != SCAN_TEMPFAIL || result.detail.n > 0);
        CHECK(strncmp(liar.question, "SYMBOLS SPAMC/1.", 16) == 0);
        CHECK(strstr(liar.question, "\r\n\r\nX-Envelope-From: <ana@example.com>\r\nFrom: ana") != NULL);
        /* The length is that of what follows the empty line. */
        char *length = strcasestr(liar.question, "Content-length: "),
             *end = strstr(liar.question, "\r\n\r\n");
        CHECK(length != NULL && end != NULL &&
              strtoul(length + 16, NULL, 10) == liar.asked - (size_t)(end + 4 - liar.question));
    }
}

int
main(void)
{
    struct rig rig;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[100], settings[256];
    int status;

    (void)signal(SIGPIPE, SIG_IGN); /* as every role does */
    rig_open(&rig, "");
    (void)snprintf(path, sizeof(path), "%s/spamd", rig.directory);
    (void)snprintf(settings, sizeof(settings), "spamassassin_timeout = 1s\nspamassassin_server = unix:%s\n",
                   path);
    rig_configure(&rig, settings);
    CHECK(look(&rig, BYTES_LIT(RIG_HEAD "\r\nhola\r\n")).status == SCAN_TEMPFAIL); /* nobody there */
    pid_t spamd = start_spamd(&rig, path);
    rig_configure(&rig, strchr(settings, '\n') + 1);
    test_spamd(&rig);
    test_size(&rig, settings);
    CHECK(kill(spamd, SIGTERM) == 0 && waitpid(spamd, &status, 0) == spamd);
    rig_configure(&rig, settings);
    CHECK(look(&rig, BYTES_LIT(RIG_HEAD "\r\nhola\r\n")).status == SCAN_TEMPFAIL); /* nobody there any more */
    (void)unlink(path);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd != -1 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 16) == 0);
    test_liars(&rig, fd);
    (void)close(fd);
    rig_configure(&rig, "spamassassin_server = inet:nowhere:783\n");
    struct scan_report report;
    CHECK(rig_scan(&rig, SCANNER_SPAMASSASSIN, BYTES_LIT("x"), &report) == GW_ERR_CONFIG);
    rig_close(&rig);
    return failures != 0;
}

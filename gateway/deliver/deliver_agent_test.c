/*
 * deliver_agent_test - the agents as master.cf starts them: virtual, local with aliases, pipe, discard,
 * error, retry, on a configuration in a temporary directory.
 *
 * Shows of contract.tsv: DMN12 DMN13 DMN14 MSL22 PAR52 PAR107 PAR108.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "deliver/deliver_alias.h"
#include "deliver/deliver_owner.h"
#include "deliver/deliver_transport.h"

static int failures;
#define CHECK(cond)                                                    \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                \
        }                                                              \
    } while (0)

static char top[] = "/tmp/deliver_agent_test.XXXXXX";

__attribute__((format(printf, 2, 3))) static void
write_file(const char *name, const char *format, ...)
{
    char path[PATH_MAX];
    va_list args;

    (void)snprintf(path, sizeof(path), "%s/%s", top, name);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    if (file != NULL) {
        va_start(args, format);
        (void)vfprintf(file, format, args);
        va_end(args);
        CHECK(fclose(file) == 0);
    }
}

static void
make_readable(const char *name, mode_t mode)
{
    char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/%s", top, name);
    CHECK(chmod(path, mode) == 0);
}

static struct config *
load(void)
{
    struct config *config = NULL;
    struct buf why;
    long uid = geteuid() == 0 ? 65534 : (long)geteuid();
    const struct passwd *passwd = getpwuid((uid_t)uid);
    const char *user = passwd != NULL ? passwd->pw_name : "nobody";

    buf_init(&why, 65536);
    write_file("main.cf",
               "compatibility_level = 3.6\nmyhostname = gateway.test\nmydestination = local.test\n"
               "myorigin = local.test\nrecipient_delimiter = +\n"
               "virtual_mailbox_base = %s/mail\nvirtual_mailbox_domains = v.test\n"
               "virtual_mailbox_maps = texthash:%s/vmaps\n"
               "virtual_uid_maps = static:%ld\nvirtual_gid_maps = static:%ld\nvirtual_minimum_uid = 100\n"
               "alias_maps = texthash:%s/aliases\nhome_mailbox = Maildir/\n",
               top, top, uid, uid, top);
    write_file("master.cf",
               "virtual unix - n n - - virtual\nlocal unix - n n - - local\ndiscard unix - - n - - discard\n"
               "error unix - - n - - error\nretry unix - - n - - error\n"
               "prog unix - n n - - pipe\n  flags=Rhu user=%s argv=%s/prog -f ${sender} -- ${recipient} "
               "$user/$domain\n"
               "single unix - n n - - pipe\n  flags=DO user=%s argv=%s/prog ${mailbox} $$x\n"
               "lowuid unix - n n - - virtual -o virtual_minimum_uid=70000\n",
               user, top, user, top);
    write_file("vmaps", "a@v.test a/\nb@v.test box\nevil@v.test ../../out/\n");
    write_file(
        "aliases",
        "list one, two@far.test, \"odd name\"@far.test\none three\nthree final\nself self, copy@far.test\n"
        "me me\nring1 ring2\nring2 ring1\nprogram \"|/bin/x -y z\"\nnobody2 noone\nempty ,\n"
        "builtin |exit 75\nshell \"|echo gone; exit 67\"\ndsn \"|echo 4.2.2 full; exit 1\"\n"
        "null /dev/null\nlost /nonexistent/dir/file\nfile %s/mail/file\nboth %s/mail/file, me, %s/mail/file\n"
        "worse me, \"|exit 75\"\nincluded :include:%s/inc\nrestricted :include:%s/inccmd\n"
        "relative :include:inc\nworld :include:%s/incworld\nnofile :include:%s/none\n",
        top, top, top, top, top, top, top);
    write_file("inc", "# a list\n\nx@far.test\n  y@far.test, x@far.test\n");
    write_file("inccmd", "|/bin/true\n");
    write_file("incworld", "x@far.test\n");
    make_readable("inc", 0644);
    make_readable("inccmd", 0644);
    make_readable("incworld", 0666);
    write_file(
        "prog",
        "#!/bin/sh\necho \"$@\" >> %s/out.txt\ncat >> %s/out.txt\ncase \"$*\" in *fail*) exit 75;; esac\n",
        top, top);
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/prog", top);
    CHECK(chmod(path, 0755) == 0);
    if (config_load(top, &config, &why) != 0) {
        fprintf(stderr, "%s\n", buf_str(&why));
        failures++;
    }
    buf_free(&why);
    return config;
}

static struct deliver_transport *
open_transport(const struct config *config, const char *name)
{
    struct deliver_transport *transport = NULL;
    struct buf why;

    buf_init(&why, 4096);
    for (size_t i = 0; i < config_service_count(config); i++) {
        if (strcmp(config_service(config, i)->name, name) == 0 &&
            deliver_transport_new(config, i, &transport, &why) != 0) {
            fprintf(stderr, "%s: %s\n", name, buf_str(&why));
            failures++;
        }
    }
    buf_free(&why);
    return transport;
}

/* Delivers to the recipients (separated by blanks); the task stays for the caller to look at. */
struct delivery {
    struct envelope *envelope;
    struct wire_job job;
    struct deliver_task task;
    uint16_t numbers[8];
    int content_fd;
};

static void
deliver(struct delivery *d, const struct deliver_transport *transport, const char *recipients,
        const char *nexthop)
{
    static const char CONTENT[] = "Subject: x\r\n\r\ntext\r\n";
    struct bytes rest = bytes_str(recipients);
    struct bytes address;

    memset(d, 0, sizeof(*d));
    d->envelope = envelope_new();
    d->envelope->size = sizeof(CONTENT) - 1;
    CHECK(envelope_set_sender(d->envelope, BYTES_LIT("s@y.test")) == 0);
    while (bytes_next_token(&rest, " ", &address)) {
        CHECK(envelope_add_recipient(d->envelope, address, address, 0, bytes_of(NULL, 0)) == 0);
    }
    d->content_fd = memfd_create("content", MFD_CLOEXEC);
    CHECK(write(d->content_fd, CONTENT, sizeof(CONTENT) - 1) == (ssize_t)sizeof(CONTENT) - 1);
    d->job = (struct wire_job){
        .envelope = d->envelope, .nexthop = bytes_str(nexthop), .recipient_numbers = d->numbers};
    CHECK(deliver_task_begin(&d->task, &d->job, d->content_fd, transport->name) == 0);
    transport->agent->run(transport, &d->task, 1);
}

static void
end(struct delivery *d)
{
    deliver_task_end(&d->task);
    envelope_free(&d->envelope);
    (void)close(d->content_fd);
}

static bool
outcome_is(const struct delivery *d, size_t i, enum delivery_status status, const char *dsn, const char *text)
{
    const struct deliver_outcome *o = &d->task.outcomes[i];
    bool ok = o->status == status && strcmp(o->dsn, dsn) == 0 && strstr(o->text, text) != NULL;

    if (!ok) {
        fprintf(stderr, "recipient %zu: %d %s \"%s\"\n", i, (int)o->status, o->dsn, o->text);
    }
    return ok;
}

static void
test_virtual(const struct config *config)
{
    struct deliver_transport *transport = open_transport(config, "virtual");
    struct deliver_transport *low = open_transport(config, "lowuid");
    struct delivery d;
    char path[PATH_MAX];
    struct stat st;

    if (transport == NULL || low == NULL) {
        return;
    }
    deliver(&d, transport, "a@v.test A+ext@V.test b@v.test none@v.test evil@v.test", "");
    CHECK(outcome_is(&d, 0, DELIVERY_SENT, "2.0.0", "delivered to maildir"));
    CHECK(outcome_is(&d, 1, DELIVERY_SENT, "2.0.0", "delivered to maildir"));
    CHECK(outcome_is(&d, 2, DELIVERY_SENT, "2.0.0", "delivered to mailbox"));
    CHECK(outcome_is(&d, 3, DELIVERY_BOUNCED, "5.1.1", "unknown user: \"none@v.test\""));
    CHECK(outcome_is(&d, 4, DELIVERY_DEFERRED, "4.3.5", "configuration"));
    end(&d);
    (void)snprintf(path, sizeof(path), "%s/mail/box", top);
    CHECK(stat(path, &st) == 0 && st.st_size > 0);
    (void)snprintf(path, sizeof(path), "%s/out", top);
    CHECK(stat(path, &st) == -1);
    deliver(&d, low, "a@v.test", "");
    CHECK(outcome_is(&d, 0, DELIVERY_DEFERRED, "4.3.5", "configuration"));
    end(&d);
    deliver_transport_free(&transport);
    deliver_transport_free(&low);
}

static const struct {
    const char *recipient;
    enum delivery_status status;
    const char *dsn;
    const char *text;
} LOCALS[] = {
    /* No queue takes what is to be sent on here (test-corpus/scenarios/local has one): so all of it waits. */
    {"list@local.test", DELIVERY_DEFERRED, "4.3.0", "unable to forward"},
    {"LIST+x@local.test", DELIVERY_DEFERRED, "4.3.0", "unable to forward"},
    {"self@local.test", DELIVERY_DEFERRED, "4.3.0", "unable to forward"},
    {"included@local.test", DELIVERY_DEFERRED, "4.3.0", "unable to forward"},
    {"nosuchuserhere@local.test", DELIVERY_BOUNCED, "5.1.1", "unknown user: \"nosuchuserhere\""},
    {"me@local.test", DELIVERY_BOUNCED, "5.1.1", "unknown user: \"me\""}, /* itself: the mailbox */
    {"ring1@local.test", DELIVERY_BOUNCED, "5.4.6", "alias database loop for ring"},
    {"program@local.test", DELIVERY_BOUNCED, "5.3.0", "Command died with status 127: \"/bin/x -y z\""},
    {"builtin@local.test", DELIVERY_DEFERRED, "4.3.0", "temporary failure"},
    {"shell@local.test", DELIVERY_BOUNCED, "5.1.1", "user unknown. Command output: gone"},
    {"dsn@local.test", DELIVERY_DEFERRED, "4.2.2", "full"},
    {"file@local.test", DELIVERY_SENT, "2.0.0", "delivered to file: "},
    {"null@local.test", DELIVERY_SENT, "2.0.0", "delivered to file: /dev/null"},
    {"both@local.test", DELIVERY_BOUNCED, "5.1.1", "unknown user: \"me\""},
    {"worse@local.test", DELIVERY_DEFERRED, "4.3.0", "temporary failure"},
    {"restricted@local.test", DELIVERY_BOUNCED, "5.7.1", "mail to command is restricted"},
    {"relative@local.test", DELIVERY_BOUNCED, "5.3.5", "mail system configuration error"},
    {"world@local.test", DELIVERY_BOUNCED, "5.3.5", "mail system configuration error"},
    {"nofile@local.test", DELIVERY_BOUNCED, "5.3.5", "mail system configuration error"},
    {"empty@local.test", DELIVERY_DEFERRED, "4.3.0", "alias database unavailable"},
    {"lost@local.test", DELIVERY_BOUNCED, "5.2.0", "cannot append message to file /nonexistent/dir/file: "},
    {"../../etc/x@local.test", DELIVERY_BOUNCED, "5.1.1", "unknown user"},
    {"-x@local.test", DELIVERY_BOUNCED, "5.1.1", "unknown user"},
};

static void
test_local(const struct config *config)
{
    struct deliver_transport *transport = open_transport(config, "local");
    struct delivery d;
    char path[PATH_MAX];
    struct stat st;

    if (transport == NULL) {
        return;
    }
    for (size_t i = 0; i < sizeof(LOCALS) / sizeof(LOCALS[0]); i++) {
        deliver(&d, transport, LOCALS[i].recipient, "");
        if (!outcome_is(&d, 0, LOCALS[i].status, LOCALS[i].dsn, LOCALS[i].text)) {
            fprintf(stderr, "%s\n", LOCALS[i].recipient);
            failures++;
        }
        end(&d);
    }
    /* Once for "file", once for "both", which names it twice. */
    (void)snprintf(path, sizeof(path), "%s/mail/file", top);
    CHECK(stat(path, &st) == 0);
    off_t two = st.st_size;
    deliver(&d, transport, "file@local.test", "");
    end(&d);
    CHECK(stat(path, &st) == 0 && st.st_size * 2 == two * 3);
    deliver_transport_free(&transport);
}

static void
test_items(void)
{
    static const struct {
        const char *list;
        const char *items; /* each in brackets */
    } LISTS[] = {
        {"a, b@c", "[a][b@c]"},
        {"\"|/bin/cmd a, \\\"b\\\"\", x", "[|/bin/cmd a, \"b\"][x]"},
        {"|/bin/cmd a b, x", "[|/bin/cmd a b][x]"},
        {" :include:/a b , \"/file name\"", "[:include:/a b][/file name]"},
        {"Ana Lopez <ana@x>, <b@c>", "[ana@x][b@c]"},
        {"\\a, \"a b\"@c, \"a b\", \"ab\"", "[\\a][a b@c][a b][ab]"},
        {",, ,", ""},
        {"\"", ""},
        {"ana prog \tx@y,z", "[ana][prog][x@y][z]"},
        {"\"a\\", "[a\\]"},
        {"<", ""},
    };
    struct arena *arena = arena_new(65536);

    for (size_t i = 0; i < sizeof(LISTS) / sizeof(LISTS[0]); i++) {
        struct bytes rest = bytes_str(LISTS[i].list), item;
        char got[256] = "";

        while (deliver_alias_next(arena, &rest, &item)) {
            size_t at = strlen(got);

            (void)snprintf(got + at, sizeof(got) - at, "[%.*s]", BYTES_FMT(item));
        }
        if (strcmp(got, LISTS[i].items) != 0) {
            fprintf(stderr, "%s: %s\n", LISTS[i].list, got);
            failures++;
        }
    }
    arena_free(&arena);
}

static void
read_output(char *out, size_t size)
{
    char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/out.txt", top);
    int fd = open(path, O_RDONLY);
    ssize_t n = fd != -1 ? read(fd, out, size - 1) : -1;

    CHECK(n >= 0);
    out[n > 0 ? n : 0] = '\0';
    if (fd != -1) {
        (void)close(fd);
    }
    CHECK(truncate(path, 0) == 0);
}

static void
test_pipe(const struct config *config)
{
    struct deliver_transport *transport = open_transport(config, "prog");
    struct deliver_transport *single = open_transport(config, "single");
    struct delivery d;
    char out[4096];
    char path[PATH_MAX];

    if (transport == NULL || single == NULL) {
        return;
    }
    (void)snprintf(path, sizeof(path), "%s/out.txt", top);
    (void)close(open(path, O_CREAT | O_WRONLY, 0666));
    CHECK(chmod(path, 0666) == 0);
    deliver(&d, transport, "Ab+c@V.Test x;y@v.test", "");
    CHECK(outcome_is(&d, 0, DELIVERY_SENT, "2.0.0", "delivered via prog service"));
    CHECK(outcome_is(&d, 1, DELIVERY_SENT, "2.0.0", "delivered via prog service"));
    CHECK(strcmp(d.task.relay, "prog") == 0);
    end(&d);
    read_output(out, sizeof(out));
    CHECK(strcmp(out, "-f s@y.test -- ab+c@v.test x;y@v.test ab/v.test x;y/v.test\n"
                      "Return-Path: <s@y.test>\nSubject: x\n\ntext\n") == 0);
    deliver(&d, transport, "fail@v.test", "");
    CHECK(outcome_is(&d, 0, DELIVERY_DEFERRED, "4.3.0", "temporary failure"));
    end(&d);
    deliver(&d, transport, "-oQ@v.test", "");
    CHECK(outcome_is(&d, 0, DELIVERY_BOUNCED, "5.1.3", "bad address"));
    end(&d);
    read_output(out, sizeof(out));
    deliver(&d, single, "one@v.test fail@v.test", "");
    CHECK(outcome_is(&d, 0, DELIVERY_SENT, "2.0.0", "delivered via single service"));
    CHECK(outcome_is(&d, 1, DELIVERY_DEFERRED, "4.3.0", "temporary failure"));
    end(&d);
    read_output(out, sizeof(out));
    CHECK(strcmp(out,
                 "one $x\nX-Original-To: one@v.test\nDelivered-To: one@v.test\nSubject: x\n\ntext\n"
                 "fail $x\nX-Original-To: fail@v.test\nDelivered-To: fail@v.test\nSubject: x\n\ntext\n") ==
          0);
    deliver_transport_free(&transport);
    deliver_transport_free(&single);
}

static const struct {
    const char *transport;
    const char *nexthop;
    enum delivery_status status;
    const char *dsn;
    const char *text;
} SIMPLES[] = {
    {"discard", "", DELIVERY_SENT, "2.0.0", "discarded"},
    {"discard", "silently", DELIVERY_SENT, "2.0.0", "silently"},
    {"error", "5.1.2 no such domain", DELIVERY_BOUNCED, "5.1.2", "no such domain"},
    {"error", "no code", DELIVERY_BOUNCED, "5.0.0", "no code"},
    {"error", "4.3.2 later", DELIVERY_DEFERRED, "4.3.2", "later"},
    {"retry", "5.3.0 down", DELIVERY_DEFERRED, "4.3.0", "down"},
    {"error", "", DELIVERY_BOUNCED, "5.0.0", "undeliverable"},
};

static void
test_simple(const struct config *config)
{
    for (size_t i = 0; i < sizeof(SIMPLES) / sizeof(SIMPLES[0]); i++) {
        struct deliver_transport *transport = open_transport(config, SIMPLES[i].transport);
        struct delivery d;

        if (transport != NULL) {
            deliver(&d, transport, "a@x.test", SIMPLES[i].nexthop);
            CHECK(outcome_is(&d, 0, SIMPLES[i].status, SIMPLES[i].dsn, SIMPLES[i].text));
            CHECK(strcmp(d.task.relay, "none") == 0);
            end(&d);
        }
        deliver_transport_free(&transport);
    }
}

/* Where the user may have no more processes, fork_attempts and fork_delay say how long that is borne. */
static void
test_fork(void)
{
    struct deliver_owner owner = {.fork_attempts = 3, .fork_delay_ms = 100};
    struct rlimit none = {0, 0};
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        if ((geteuid() == 0 && setresuid(65534, 65534, 65534) == -1) ||
            setrlimit(RLIMIT_NPROC, &none) == -1) {
            _exit(2);
        }
        int64_t start_ms = clock_monotonic_ms();
        pid_t child = deliver_owner_fork(&owner);
        int64_t took_ms = clock_monotonic_ms() - start_ms;

        if (child == 0) {
            _exit(0);
        }
        _exit(child == -1 && errno == EAGAIN && took_ms >= 200 && took_ms < 2000 ? 0 : 1);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    pid = deliver_owner_fork(&owner);
    if (pid == 0) {
        _exit(7);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

int
main(void)
{
    char command[PATH_MAX + 16];

    (void)umask(077);
    CHECK(mkdtemp(top) != NULL && chmod(top, 0755) == 0);
    (void)snprintf(command, sizeof(command), "%s/mail", top);
    CHECK(mkdir(command, 0700) == 0);
    if (geteuid() == 0) {
        CHECK(chown(command, 65534, 65534) == 0);
    }
    struct config *config = load();
    if (config != NULL) {
        test_virtual(config);
        test_local(config);
        test_items();
        test_fork();
        test_pipe(config);
        test_simple(config);
        config_free(&config);
    }
    (void)snprintf(command, sizeof(command), "rm -rf %s", top);
    CHECK(system(command) == 0);
    return failures != 0;
}

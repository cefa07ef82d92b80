/*
 * queue_service_test - a real queue process, with this test as receive, relay, deliver and operator.
 *
 * Shows of contract.tsv: NOT9 CMD13.
 */
#include "queue/queue_rig.h"

#include <fcntl.h>
#include <sys/mman.h>

static const char MAIL[] =
    "From: a@example.test\r\nSubject: x\r\nMessage-Id: <1@example.test>\r\n\r\nbody \xc3\xa4\r\n";

static uint64_t
status_value(const struct rig *rig, const char *name)
{
    struct buf text;
    uint64_t value = UINT64_MAX, count;

    buf_init(&text, 65536);
    CHECK(rig_command(rig, "status", &text, &count) == 0);
    struct bytes rest = bytes_buf(&text), line;
    while (bytes_next_line(&rest, &line)) {
        if (bytes_has_prefix_nocase(line, bytes_str(name))) {
            (void)bytes_to_u64(bytes_sub(line, strlen(name) + 1, line.n), &value);
        }
    }
    buf_free(&text);
    return value;
}

static void
expect_empty(const struct rig *rig)
{
    struct buf text;
    uint64_t count;

    for (int i = 0; i < 100; i++) {
        buf_init(&text, 65536);
        CHECK(rig_command(rig, "list", &text, &count) == 0);
        bool empty = strcmp(buf_str(&text), "Mail queue is empty\n") == 0;
        if (!empty && i == 99) {
            (void)fprintf(stderr, "queue holds:\n%s", buf_str(&text));
            failures++;
        }
        buf_free(&text);
        if (empty) {
            return;
        }
        (void)usleep(20000);
    }
}

static bool
file_has(const char *path, const char *needle)
{
    char *text = malloc(4 * 1024 * 1024);
    FILE *file = fopen(path, "re");
    size_t n = file != NULL ? fread(text, 1, 4 * 1024 * 1024 - 1, file) : 0;

    text[n] = '\0';
    bool has = strstr(text, needle) != NULL;
    if (file != NULL) {
        (void)fclose(file);
    }
    free(text);
    return has;
}

/* The lines of a turn are written at its end, answers before: so wait a little. */
static bool
log_has(const struct rig *rig, const char *needle)
{
    char path[128];
    bool has = false;

    (void)snprintf(path, sizeof(path), "%s/log", rig->directory);
    for (int i = 0; i < 50 && !has; i++) {
        has = file_has(path, needle);
        if (!has) {
            (void)usleep(20000);
        }
    }
    return has;
}

static void
check_content(int fd, const char *expected)
{
    char text[8192];
    ssize_t n = pread(fd, text, sizeof(text), 0);

    CHECK(n == (ssize_t)strlen(expected) && memcmp(text, expected, (size_t)n) == 0);
}

static void
test_delivery(const struct rig *rig)
{
    struct ipc_channel *client = rig_connect(rig, ROLE_RECEIVE), *worker = rig_worker(rig, ROLE_RELAY);
    struct wire_job job;
    int fd;

    CHECK(rig_submit(client, "3A1", "a@example.test", "x@far.test y@far.test z@other.test", MAIL) == 0);
    CHECK(rig_submit(client, "3A1", "a@example.test", "x@far.test", MAIL) == GW_ERR_EXISTS);
    for (int i = 0; i < 2; i++) {
        CHECK(rig_take_job(worker, RIG_WAIT_MS, &job, &fd) == 0);
        if (job.envelope == NULL) {
            return;
        }
        CHECK(strcmp(job.transport, "smtp") == 0);
        bool far = bytes_equal(job.nexthop, BYTES_LIT("far.test"));
        CHECK(job.envelope->recipient_count == (far ? 2 : 1));
        CHECK(job.recipient_numbers[0] == (far ? 0 : 2));
        CHECK(strcmp(job.envelope->queue_id, "3A1") == 0);
        check_content(fd, MAIL);
        CHECK(rig_tell(worker, &job, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok", "far.test") == 0);
        rig_free_job(&job, &fd);
    }
    expect_empty(rig);
    CHECK(log_has(rig, "3A1: from=<a@example.test>, size="));
    CHECK(log_has(rig, "3A1: to=<x@far.test>, relay=mx.test[192.0.2.1]:25, delay="));
    CHECK(log_has(rig, ", dsn=2.0.0, status=sent (250 2.0.0 Ok)"));
    CHECK(log_has(rig, "3A1: removed"));
    ipc_channel_free(&client);
    ipc_channel_free(&worker);
}

/* What does not decode or does not fit cuts the peer off; the queue goes on. */
static void
test_bad_peers(const struct rig *rig)
{
    struct ipc_channel *client = rig_connect(rig, ROLE_RECEIVE);
    struct ipc_message message;
    struct envelope *envelope;
    int fd = ipc_sealed_memfd("x", BYTES_LIT("abc"));

    CHECK(ipc_send(client, WIRE_SUBMIT, 1, BYTES_LIT("nonsense"), &fd, 1) == 0);
    CHECK(ipc_receive(client, clock_monotonic_ms() + RIG_WAIT_MS, &message) == GW_ERR_EOF);
    ipc_channel_free(&client);

    client = rig_connect(rig, ROLE_RECEIVE);
    envelope = rig_envelope("3B1", "a@example.test", "x@far.test", 4); /* one byte more than there is */
    CHECK(rig_submit_envelope(client, envelope, fd) == GW_ERR_SYNTAX);
    envelope->size = 3;
    int unsealed = memfd_create("y", MFD_CLOEXEC);
    CHECK(write(unsealed, "abc", 3) == 3);
    CHECK(rig_submit_envelope(client, envelope, unsealed) == GW_ERR_SYNTAX);
    (void)snprintf(envelope->queue_id, sizeof(envelope->queue_id), "%s", "../x");
    CHECK(rig_submit_envelope(client, envelope, fd) == GW_ERR_SYNTAX);
    (void)close(unsealed);
    (void)close(fd);
    envelope_free(&envelope);
    ipc_channel_free(&client);

    struct ipc_channel *worker = rig_worker(rig, ROLE_RELAY);
    struct ipc_channel *second = rig_connect(rig, ROLE_CTL);
    CHECK(ipc_send(second, WIRE_CTL_ASK, 1, BYTES_LIT("\xff\xff"), NULL, 0) == 0);
    CHECK(ipc_receive(second, clock_monotonic_ms() + RIG_WAIT_MS, &message) == GW_ERR_EOF);
    ipc_channel_free(&second);
    ipc_channel_free(&worker);
    CHECK(status_value(rig, "busy_workers") == 0);
}

/* A worker that dies gives its job to the next; after three the recipients are deferred. */
static void
test_lost_worker(const struct rig *rig)
{
    struct ipc_channel *client = rig_connect(rig, ROLE_RECEIVE), *worker;
    struct wire_job job;
    uint64_t count;
    struct buf text;
    int fd;

    CHECK(rig_submit(client, "3C1", "a@example.test", "x@far.test", MAIL) == 0);
    for (int i = 0; i < 3; i++) {
        worker = rig_worker(rig, ROLE_RELAY);
        CHECK(rig_take_job(worker, RIG_WAIT_MS, &job, &fd) == 0);
        rig_free_job(&job, &fd);
        ipc_channel_free(&worker);
    }
    worker = rig_worker(rig, ROLE_RELAY);
    CHECK(rig_take_job(worker, 300, &job, &fd) == GW_ERR_TIMEOUT);
    buf_init(&text, 65536);
    CHECK(rig_command(rig, "list", &text, &count) == 0);
    CHECK(strstr(buf_str(&text), "lost connection with the delivery process") != NULL);
    buf_clear(&text);
    CHECK(rig_command(rig, "flush", &text, &count) == 0);
    CHECK(rig_take_job(worker, RIG_WAIT_MS, &job, &fd) == 0);
    check_content(fd, MAIL); /* from the store now */
    CHECK(rig_tell(worker, &job, DELIVERY_SENT, "2.0.0", "ok", "") == 0);
    rig_free_job(&job, &fd);
    expect_empty(rig);
    buf_free(&text);
    ipc_channel_free(&client);
    ipc_channel_free(&worker);
}

static void
test_bounce(const struct rig *rig)
{
    struct ipc_channel *client = rig_connect(rig, ROLE_RECEIVE), *worker = rig_worker(rig, ROLE_RELAY);
    struct wire_job job;
    char text[8192];
    int fd;

    CHECK(rig_submit(client, "3D1", "a@example.test", "x@far.test", MAIL) == 0);
    CHECK(rig_take_job(worker, RIG_WAIT_MS, &job, &fd) == 0);
    CHECK(rig_tell(worker, &job, DELIVERY_BOUNCED, "5.1.1",
                   "host mx.test[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)",
                   "") == 0);
    rig_free_job(&job, &fd);
    /* The notification goes to the sender with a null sender, and is not bounced itself. */
    CHECK(rig_take_job(worker, RIG_WAIT_MS, &job, &fd) == 0);
    if (job.envelope != NULL) {
        CHECK(job.envelope->sender.n == 0);
        CHECK(job.envelope->recipient_count == 1 &&
              bytes_equal(job.envelope->recipients[0].address, BYTES_LIT("a@example.test")));
        ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
        text[n > 0 ? n : 0] = '\0';
        CHECK((uint64_t)n == job.envelope->size);
        CHECK(strstr(text, "Content-Type: multipart/report; report-type=delivery-status;") != NULL);
        CHECK(strstr(text, "\r\nFinal-Recipient: rfc822; x@far.test\r\n") != NULL);
        CHECK(strstr(text, "\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.test\r\n"
                           "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n") != NULL);
        CHECK(strstr(text, MAIL) != NULL); /* the returned message, byte for byte */
        CHECK(rig_tell(worker, &job, DELIVERY_BOUNCED, "5.1.1", "no such user either", "") == 0);
    }
    rig_free_job(&job, &fd);
    expect_empty(rig);
    CHECK(log_has(rig, "3D1: sender non-delivery notification: "));
    CHECK(log_has(rig, "undeliverable mail with a null sender discarded"));
    ipc_channel_free(&client);
    ipc_channel_free(&worker);
}

/* A destination that is down is left alone; its mail waits without attempts of its own. */
static void
test_site_down(const struct rig *rig)
{
    struct ipc_channel *client = rig_connect(rig, ROLE_RECEIVE), *worker = rig_worker(rig, ROLE_RELAY);
    struct wire_job job;
    struct buf text;
    uint64_t count;
    int fd, attempts = 0;
    char id[16];

    for (int i = 0; i < 20; i++) {
        (void)snprintf(id, sizeof(id), "3E%d", i);
        CHECK(rig_submit(client, id, "a@example.test", "x@down.test", MAIL) == 0);
    }
    while (rig_take_job(worker, 500, &job, &fd) == 0) {
        attempts++;
        CHECK(rig_tell(worker, &job, DELIVERY_DEFERRED, "4.4.1", "connect to down.test: refused", "DOWN") ==
              0);
        rig_free_job(&job, &fd);
    }
    CHECK(attempts > 0 && attempts <= 5);
    CHECK(log_has(rig, "status=deferred (delivery temporarily suspended: connect to down.test: refused)"));
    buf_init(&text, 65536);
    CHECK(rig_command(rig, "list json", &text, &count) == 0);
    CHECK(strstr(buf_str(&text), "\"queue_name\": \"deferred\", \"queue_id\": \"3E7\"") != NULL);
    CHECK(rig_command(rig, "hold 3E1 3E2", &text, &count) == 0 && count == 2);
    CHECK(rig_command(rig, "delete 3E3 3E4 nonsense", &text, &count) == 0 && count == 2);
    CHECK(rig_command(rig, "delete ALL deferred", &text, &count) == 0 && count == 16);
    CHECK(rig_command(rig, "flush", &text, &count) == 0);
    CHECK(rig_take_job(worker, 300, &job, &fd) == GW_ERR_TIMEOUT); /* held */
    CHECK(rig_command(rig, "release ALL", &text, &count) == 0 && count == 2);
    for (int i = 0; i < 2; i++) {
        CHECK(rig_take_job(worker, RIG_WAIT_MS, &job, &fd) == 0);
        CHECK(rig_tell(worker, &job, DELIVERY_SENT, "2.0.0", "ok", "") == 0);
        rig_free_job(&job, &fd);
    }
    expect_empty(rig);
    buf_free(&text);
    ipc_channel_free(&client);
    ipc_channel_free(&worker);
}

static int
tell_expanded(struct ipc_channel *worker, const struct wire_job *job, const char *const *addresses,
              uint16_t count)
{
    struct wire_recipient_result recipient = {
        .number = job->recipient_numbers[0], .status = DELIVERY_EXPANDED, .reply = BYTES_LIT("expanded")};
    static struct wire_result result;
    struct buf list, packed;

    buf_init(&list, 65536);
    buf_init(&packed, 65536);
    (void)pack_u16(&list, count);
    for (uint16_t i = 0; i < count; i++) {
        (void)pack_str(&list, addresses[i]);
    }
    result = (struct wire_result){
        .recipients = &recipient, .count = 1, .relay = "local", .expanded = bytes_buf(&list)};
    int r = wire_result_pack(&packed, &result);
    if (r == 0) {
        r = ipc_send(worker, WIRE_RESULT, 1, bytes_buf(&packed), NULL, 0);
    }
    buf_free(&list);
    buf_free(&packed);
    return r;
}

/* list -> b, c; b -> list (a loop: bounces); c is delivered. */
static void
test_aliases(const struct rig *rig)
{
    static const char *const LIST[] = {"b@here.test", "c@here.test"}, *const BACK[] = {"list@here.test"};
    struct ipc_channel *client = rig_connect(rig, ROLE_RECEIVE), *worker = rig_worker(rig, ROLE_DELIVER);
    struct wire_job job;
    int fd, delivered = 0;

    CHECK(rig_submit(client, "3F1", "", "list@here.test", MAIL) == 0);
    for (int i = 0; i < 3; i++) {
        CHECK(rig_take_job(worker, RIG_WAIT_MS, &job, &fd) == 0);
        if (job.envelope == NULL) {
            break;
        }
        struct bytes to = job.envelope->recipients[0].address;
        if (bytes_equal(to, bytes_str("list@here.test"))) {
            CHECK(tell_expanded(worker, &job, LIST, 2) == 0);
        } else if (bytes_equal(to, bytes_str("b@here.test"))) {
            CHECK(tell_expanded(worker, &job, BACK, 1) == 0);
        } else {
            delivered += bytes_equal(to, bytes_str("c@here.test"));
            CHECK(rig_tell(worker, &job, DELIVERY_SENT, "2.0.0", "delivered to maildir", "") == 0);
        }
        rig_free_job(&job, &fd);
    }
    CHECK(delivered == 1);
    expect_empty(rig);
    CHECK(log_has(rig, "to=<b@here.test>, orig_to=<list@here.test>"));
    CHECK(log_has(rig, "dsn=5.4.6, status=bounced"));
    ipc_channel_free(&client);
    ipc_channel_free(&worker);
}

/* A clean end answers and commits what it has; the next start goes on. */
static void
test_restart(struct rig *rig)
{
    struct ipc_channel *client = rig_connect(rig, ROLE_RECEIVE), *worker;
    struct wire_job job;
    int fd;

    CHECK(rig_submit(client, "3G1", "a@example.test", "x@far.test", MAIL) == 0);
    ipc_channel_free(&client);
    int status = rig_end(rig, SIGTERM);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    rig_start(rig);
    worker = rig_worker(rig, ROLE_RELAY);
    CHECK(rig_take_job(worker, RIG_WAIT_MS, &job, &fd) == 0);
    CHECK(rig_tell(worker, &job, DELIVERY_SENT, "2.0.0", "ok", "") == 0);
    rig_free_job(&job, &fd);
    expect_empty(rig);
    ipc_channel_free(&worker);
}

/* A store that may not grow: new mail is refused, what was accepted stays, removals make room again. */
static void
test_full(void)
{
    enum { BIG = 4 * 1024 * 1024 };
    struct ipc_channel *client, *worker;
    struct wire_job job;
    struct rig rig;
    struct buf text;
    uint64_t count;
    int fd, r = 0, accepted = 0;
    char id[QUEUE_ID_MAX], *content = calloc(1, BIG + 1);

    rig_make(&rig, "queue_size_limit = 67108864\n");
    client = rig_connect(&rig, ROLE_RECEIVE);
    memset(content, 'y', BIG);
    while (r == 0 && accepted < 100) {
        (void)snprintf(id, sizeof(id), "3H%d", accepted);
        r = rig_submit(client, id, "a@example.test", "x@far.test", content);
        accepted += r == 0;
    }
    CHECK(r == GW_ERR_FULL && accepted >= 8 && accepted < 17);
    CHECK(rig_submit(client, "3HH", "a@example.test", "x@far.test", content) == GW_ERR_FULL);
    CHECK(log_has(&rig, "not enough free space in mail queue"));
    worker = rig_worker(&rig, ROLE_RELAY);
    for (int i = 0; i < accepted; i++) {
        CHECK(rig_take_job(worker, RIG_WAIT_MS, &job, &fd) == 0);
        CHECK(lseek(fd, 0, SEEK_END) == BIG);
        CHECK(rig_tell(worker, &job, DELIVERY_SENT, "2.0.0", "ok", "") == 0);
        rig_free_job(&job, &fd);
    }
    expect_empty(&rig);
    /* The store counts its free pages once a second. */
    for (int i = 0; i < 50 && r != 0; i++) {
        (void)usleep(100000);
        r = rig_submit(client, "3HI", "a@example.test", "x@far.test", content);
    }
    CHECK(r == 0);
    buf_init(&text, 65536);
    CHECK(rig_command(&rig, "delete ALL", &text, &count) == 0 && count == 1);
    buf_free(&text);
    ipc_channel_free(&client);
    ipc_channel_free(&worker);
    int status = rig_end(&rig, SIGTERM);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    rig_remove(&rig);
    free(content);
}

int
main(void)
{
    struct rig rig;

    rig_make(&rig, "");
    test_delivery(&rig);
    test_bad_peers(&rig);
    test_lost_worker(&rig);
    test_bounce(&rig);
    test_site_down(&rig);
    test_aliases(&rig);
    test_restart(&rig);
    int status = rig_end(&rig, SIGTERM);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    rig_remove(&rig);
    test_full();
    return failures != 0;
}

/*
 * ctl_quarantine - see the header. Before: the operator; after: service_ctl.c of the policy role, and
 * ctl_release.c.
 *
 * release sends the message through the reinjection listener, marks it released once the listener said 250,
 * and leaves the audit entry in the journal. A released message stays until its retention ends; it is sent
 * twice only with
 * --again. Content and addresses are printed with control characters replaced, except by --content, which is
 * for files.
 */
#include "ctl/ctl_quarantine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "ctl/ctl_ask.h"
#include "ctl/ctl_json.h"
#include "ctl/ctl_release.h"
#include "policy/quarantine.h"
#include "scanners/scanner.h"

enum { WAIT_MS = 60000, ENTRY_MAX = 2 * IPC_PAYLOAD_MAX, ARENA_MAX = 16 * 1024 * 1024, WHO_MAX = 1200 };

struct request {
    const struct config *config;
    const char *command; /* argv[0] */
    bool as_json, with_content, again;
    struct ctl_json json;
    size_t shown;
};

static const char *
state_name(uint8_t state)
{
    return state == QUARANTINE_RELEASED ? "released" : state == QUARANTINE_STORED ? "stored" : "unknown";
}

static void
print_time(int64_t wall_us)
{
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm = {0};
    char text[40] = "";

    (void)localtime_r(&seconds, &tm);
    (void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
    (void)fputs(text, stdout);
}

static void
print_safe(const char *before, struct bytes text, const char *after)
{
    struct buf safe;

    buf_init(&safe, 4 * SCAN_DETAIL_MAX);
    (void)buf_append_printable(&safe, text, 4 * SCAN_DETAIL_MAX, true);
    (void)printf("%s%s%s", before, buf_str(&safe), after);
    buf_free(&safe);
}

static void
print_entry(const struct quarantine_entry *entry, const struct envelope *envelope)
{
    (void)printf("%s  ", entry->id);
    print_time(entry->wall_us);
    (void)printf("  %10llu  %s  ", (unsigned long long)entry->size, state_name(entry->state));
    print_safe("", entry->reason, "\n");
    print_safe("    from <", envelope->sender, ">");
    print_safe("  client ", bytes_str(envelope->session.name), "");
    char address[NET_ADDR_TEXT_MAX];
    net_addr_format(&envelope->session.client, address);
    (void)printf("[%s]  queue id %s\n", address, envelope->queue_id);
    for (size_t i = 0; i < envelope->recipient_count; i++) {
        print_safe("    to   <", envelope->recipients[i].address, ">\n");
    }
}

static void
json_entry(struct ctl_json *json, const struct quarantine_entry *entry, const struct envelope *envelope)
{
    char address[NET_ADDR_TEXT_MAX];

    net_addr_format(&envelope->session.client, address);
    ctl_json_text(json, "id", bytes_str(entry->id));
    ctl_json_text(json, "state", bytes_str(state_name(entry->state)));
    ctl_json_time(json, "time", entry->wall_us);
    if (entry->changed_us != 0) {
        ctl_json_time(json, "released", entry->changed_us);
    }
    ctl_json_number(json, "size", (int64_t)entry->size);
    ctl_json_text(json, "reason", entry->reason);
    ctl_json_text(json, "queue_id", bytes_str(envelope->queue_id));
    ctl_json_text(json, "session", bytes_str(envelope->session.ident));
    ctl_json_text(json, "client_name", bytes_str(envelope->session.name));
    ctl_json_text(json, "client_address", bytes_str(address));
    ctl_json_text(json, "message_id", envelope->message_id);
    ctl_json_text(json, "sender", envelope->sender);
    ctl_json_open(json, "recipients", '[');
    for (size_t i = 0; i < envelope->recipient_count; i++) {
        ctl_json_text(json, NULL, envelope->recipients[i].address);
    }
    ctl_json_close(json, ']');
}

/* One line of the list. */
static int
list_piece(void *context, struct ipc_message *message)
{
    struct request *request = context;
    struct quarantine_entry entry;
    struct envelope *envelope = NULL;

    if (message->type != WIRE_CTL_LINE || quarantine_entry_unpack(message->payload, &entry) != 0 ||
        envelope_unpack(entry.envelope, &envelope) != 0) {
        return GW_ERR_PEER;
    }
    if (request->as_json) {
        ctl_json_open(&request->json, NULL, '{');
        json_entry(&request->json, &entry, envelope);
        ctl_json_close(&request->json, '}');
    } else {
        print_entry(&entry, envelope);
    }
    request->shown++;
    envelope_free(&envelope);
    return 0;
}

static int
list(struct request *request)
{
    const char *words[] = {"quarantine", "list"};
    struct wire_status end;

    if (request->as_json) {
        ctl_json_begin(&request->json, stdout);
        ctl_json_open(&request->json, NULL, '[');
    }
    int r = ctl_ask(request->config, ROLE_POLICY, words, 2, WAIT_MS, list_piece, request, &end);
    if (request->as_json) {
        ctl_json_close(&request->json, ']');
    } else if (r == 0 && end.code == 0) {
        (void)printf("-- %zu message%s in quarantine\n", request->shown, request->shown == 1 ? "" : "s");
    }
    return r != 0 || end.code != 0 ? ctl_complain(request->command, r != 0 ? r : end.code, &end) : 0;
}

/* A message fetched whole. */
struct fetched {
    struct buf storage;
    struct quarantine_entry entry;
    struct envelope *envelope;
    int content_fd;
    bool has_entry;
};

static void
fetched_free(struct fetched *fetched)
{
    buf_free(&fetched->storage);
    envelope_free(&fetched->envelope);
    if (fetched->content_fd != -1) {
        (void)close(fetched->content_fd);
    }
}

static int
read_entry(struct fetched *fetched, int fd)
{
    struct stat status;

    if (fetched->has_entry || fstat(fd, &status) == -1 || status.st_size <= 0 || status.st_size > ENTRY_MAX ||
        buf_reserve(&fetched->storage, (size_t)status.st_size) != 0 ||
        pread(fd, fetched->storage.p, (size_t)status.st_size, 0) != status.st_size) {
        return GW_ERR_PEER;
    }
    fetched->storage.n = (size_t)status.st_size;
    fetched->has_entry = true;
    int r = quarantine_entry_unpack(bytes_buf(&fetched->storage), &fetched->entry);
    return r == 0 ? envelope_unpack(fetched->entry.envelope, &fetched->envelope) : r;
}

static int
fetch_piece(void *context, struct ipc_message *message)
{
    struct fetched *fetched = context;

    if (message->type != WIRE_CTL_FILE) {
        return GW_ERR_PEER;
    }
    if (bytes_equal(message->payload, BYTES_LIT("entry"))) {
        return read_entry(fetched, message->fds[0]);
    }
    if (fetched->content_fd != -1) {
        return GW_ERR_PEER;
    }
    fetched->content_fd = message->fds[0];
    message->fds[0] = -1; /* transferred */
    return 0;
}

/* 0 or an exit status, complained about. */
static int
fetch(struct request *request, const char *id, struct fetched *fetched_r)
{
    const char *words[] = {"quarantine", "fetch", id};
    struct wire_status end;

    *fetched_r = (struct fetched){.content_fd = -1};
    buf_init(&fetched_r->storage, ENTRY_MAX);
    int r = ctl_ask(request->config, ROLE_POLICY, words, 3, WAIT_MS, fetch_piece, fetched_r, &end);
    if (r == 0 && end.code == 0 && (!fetched_r->has_entry || fetched_r->content_fd == -1)) {
        r = GW_ERR_PEER;
    }
    if (r != 0 || end.code != 0) {
        (void)fprintf(stderr, "%s: %s: ", request->command, id);
        return ctl_complain(request->command, r != 0 ? r : end.code, &end);
    }
    return 0;
}

static const char *const STATUS_NAMES[] = {"not scanned", "clean", "found", "tempfail", "skipped"};

static const char *
scanner_name(enum scanner_id id)
{
    return (unsigned)id < SCANNER_COUNT && SCANNERS[id] != NULL ? SCANNERS[id]->name : "?";
}

static const char *
status_name(enum scan_status status)
{
    return (unsigned)status < sizeof(STATUS_NAMES) / sizeof(STATUS_NAMES[0]) ? STATUS_NAMES[status] : "?";
}

static void
print_report(const struct scan_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        const struct scan_result *result = &report->results[i];

        (void)printf("    %-14s %s", scanner_name(result->scanner), status_name(result->status));
        print_safe("  ", result->found, "");
        print_safe("  ", result->detail, "");
        (void)printf("  (%lld us)\n", (long long)result->elapsed_us);
    }
}

static void
json_report(struct ctl_json *json, const struct scan_report *report)
{
    ctl_json_open(json, "scan", '[');
    for (size_t i = 0; i < report->count; i++) {
        const struct scan_result *result = &report->results[i];

        ctl_json_open(json, NULL, '{');
        ctl_json_text(json, "scanner", bytes_str(scanner_name(result->scanner)));
        ctl_json_text(json, "status", bytes_str(status_name(result->status)));
        ctl_json_text(json, "found", result->found);
        ctl_json_text(json, "detail", result->detail);
        ctl_json_number(json, "elapsed_us", result->elapsed_us);
        ctl_json_close(json, '}');
    }
    ctl_json_close(json, ']');
}

static int
copy_content(int fd)
{
    uint8_t piece[65536];
    off_t offset = 0;
    ssize_t n;

    while ((n = pread(fd, piece, sizeof(piece), offset)) > 0) {
        if (fwrite(piece, 1, (size_t)n, stdout) != (size_t)n) {
            return EX_IOERR;
        }
        offset += n;
    }
    return n == 0 && fflush(stdout) == 0 ? 0 : EX_IOERR;
}

static int
show(struct request *request, const char *id)
{
    struct fetched fetched;
    struct arena *arena = arena_new(ARENA_MAX);
    struct scan_report report = {0};
    int status = fetch(request, id, &fetched);

    if (status == 0 && request->with_content) {
        status = copy_content(fetched.content_fd);
    } else if (status == 0) {
        /* Entries from before a change of the report's form are shown without it. */
        if (arena == NULL || scan_report_unpack(arena, fetched.entry.report, &report) != 0) {
            report.count = 0;
        }
        if (request->as_json) {
            ctl_json_begin(&request->json, stdout);
            ctl_json_open(&request->json, NULL, '{');
            json_entry(&request->json, &fetched.entry, fetched.envelope);
            json_report(&request->json, &report);
            ctl_json_close(&request->json, '}');
        } else {
            print_entry(&fetched.entry, fetched.envelope);
            print_report(&report);
        }
    }
    fetched_free(&fetched);
    arena_free(&arena);
    return status;
}

/* Tells the policy role what was done, for the entry's state and the journal. */
static int
tell(struct request *request, const char *what, const char *id, const char *detail)
{
    char who[WHO_MAX];
    const char *words[] = {"quarantine", what, id, who};
    struct wire_status end;

    (void)snprintf(who, sizeof(who), "by uid %ld%s%.1000s", (long)getuid(), detail[0] != '\0' ? ": " : "",
                   detail);
    int r = ctl_ask(request->config, ROLE_POLICY, words, 4, WAIT_MS, NULL, NULL, &end);
    if (r != 0 || end.code != 0) {
        (void)fprintf(stderr, "%s: %s: ", request->command, id);
        return ctl_complain(request->command, r != 0 ? r : end.code, &end);
    }
    return 0;
}

static void
report_done(struct request *request, const char *what, const char *id, const char *detail)
{
    if (request->as_json) {
        ctl_json_begin(&request->json, stdout);
        ctl_json_open(&request->json, NULL, '{');
        ctl_json_text(&request->json, "id", bytes_str(id));
        ctl_json_text(&request->json, "done", bytes_str(what));
        ctl_json_text(&request->json, "reply", bytes_str(detail));
        ctl_json_close(&request->json, '}');
    } else {
        (void)printf("%s: %s%s%s\n", id, what, detail[0] != '\0' ? ": " : "", detail);
    }
}

static int
release(struct request *request, const char *id)
{
    struct net_addr addr;
    struct fetched fetched;
    char text[CTL_RELEASE_TEXT_MAX];
    int status;

    if (ctl_release_listener(request->config, &addr) != 0) {
        (void)fprintf(stderr,
                      "%s: fatal: no listener to release through; add to master.cf: "
                      "127.0.0.1:10026 inet n - n - - smtpd -o content_filter= -o mynetworks=127.0.0.0/8\n",
                      request->command);
        return EX_CONFIG;
    }
    if ((status = fetch(request, id, &fetched)) != 0) {
        fetched_free(&fetched);
        return status;
    }
    if (fetched.entry.state == QUARANTINE_RELEASED && !request->again) {
        (void)fprintf(stderr, "%s: %s: released before; --again sends it once more\n", request->command, id);
        status = 1;
    } else {
        int r = ctl_release_send(&addr, config_str(request->config, P_myhostname), fetched.envelope,
                                 fetched.content_fd, fetched.entry.size, text);
        if (r != 0) {
            (void)fprintf(stderr, "%s: %s: not released: %s\n", request->command, id, text);
            status = r == GW_ERR_DENIED ? 1 : EX_TEMPFAIL;
        } else if ((status = tell(request, "released", id, text)) == 0) {
            report_done(request, "released", id, text);
        }
    }
    fetched_free(&fetched);
    return status;
}

static int delete (struct request *request, const char *id)
{
    int status = tell(request, "delete", id, "");

    if (status == 0) {
        report_done(request, "deleted", id, "");
    }
    return status;
}

static const struct {
    const char *verb;
    int (*run)(struct request *request, const char *id);
} VERBS[] = {{"show", show}, {"release", release}, {"delete", delete}};

static int
usage(const char *command)
{
    (void)fprintf(stderr,
                  "usage: %s list [--json] [-c DIR]\n       %s show ID ... [--json|--content]\n"
                  "       %s release ID ... [--again] [--json]\n       %s delete ID ... [--json]\n",
                  command, command, command, command);
    return EX_USAGE;
}

/* Takes the options out of the arguments. */
static bool
take_options(struct request *request, int *argc, char **argv)
{
    int kept = 1;

    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            request->as_json = true;
        } else if (strcmp(argv[i], "--content") == 0) {
            request->with_content = true;
        } else if (strcmp(argv[i], "--again") == 0) {
            request->again = true;
        } else if (strncmp(argv[i], "--", 2) == 0) {
            return false;
        } else {
            argv[kept++] = argv[i];
        }
    }
    *argc = kept;
    return true;
}

static int
run(struct request *request, int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        return list(request);
    }
    for (size_t i = 0; argc > 2 && i < sizeof(VERBS) / sizeof(VERBS[0]); i++) {
        if (strcmp(argv[1], VERBS[i].verb) == 0) {
            int status = 0;

            for (int k = 2; k < argc; k++) {
                int one = VERBS[i].run(request, argv[k]);

                status = one != 0 ? one : status; /* the others are still tried */
            }
            return status;
        }
    }
    return usage(request->command);
}

int
ctl_quarantine(int argc, char **argv)
{
    struct request request = {.command = argv[0]};
    struct config *config = ctl_load_config(&argc, argv);
    int status;

    if (config == NULL) {
        return EX_CONFIG;
    }
    request.config = config;
    status = take_options(&request, &argc, argv) ? run(&request, argc, argv) : usage(argv[0]);
    config_free(&config);
    return status;
}

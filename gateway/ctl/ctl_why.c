/*
 * ctl_why - see the header. Before: the operator; after: service_ctl.c of the policy role, which sends
 * evidence records (gateway/doc/evidence.md) in order of time.
 *
 * Text is for reading, one line per event; --json gives every field as it is. What came from the network is
 * printed with control characters replaced, so that a record cannot speak to the terminal.
 */
#include "ctl/ctl_why.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "base/error.h"
#include "ctl/ctl_ask.h"
#include "ctl/ctl_json.h"
#include "policy/evidence.h"

enum { WAIT_MS = 60000, LINE_MAX_BYTES = 8192 };

struct output {
    bool as_json;
    struct ctl_json json;
    size_t records;
};

static void
print_head(const struct evidence_head *head)
{
    time_t seconds = (time_t)(head->wall_us / 1000000);
    struct tm tm = {0};
    char text[40] = "";

    (void)localtime_r(&seconds, &tm);
    (void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
    (void)printf("%s.%03d  %s  %s\n", text, (int)(head->wall_us / 1000 % 1000), head->role, head->ident);
}

/* What the number of an event means. */
static void
append_number(struct buf *line, const struct evidence_event *event)
{
    switch (event->kind) {
    case EV_SCAN:
        (void)buf_printf(line, "  (%lld.%03lld ms)", (long long)(event->number / 1000),
                         (long long)(event->number % 1000));
        break;
    case EV_LOOKUP:
        if (event->number > 0) {
            (void)buf_printf(line, "  (line %lld)", (long long)event->number);
        }
        break;
    case EV_GREYLIST:
        if (event->number > 0) {
            (void)buf_printf(line, "  (%lld s left)", (long long)event->number);
        }
        break;
    default:
        break; /* a code that is in the text already, or a size nobody asks for */
    }
}

static void
append_text(struct buf *line, const char *before, struct bytes text)
{
    if (text.n > 0) {
        (void)buf_append_str(line, before);
        (void)buf_append_printable(line, text, EVIDENCE_TEXT_MAX, true);
    }
}

static void
print_event(const struct evidence_event *event)
{
    struct buf line;

    buf_init(&line, LINE_MAX_BYTES);
    (void)buf_printf(&line, "  %+9.3f ms  %-11s", (double)event->offset_us / 1000,
                     evidence_kind_name(event->kind));
    append_text(&line, " ", event->subject);
    append_text(&line, "  ", event->key);
    append_text(&line, "  -> ", event->value);
    append_text(&line, "  : ", event->detail);
    append_number(&line, event);
    (void)puts(buf_str(&line));
    buf_free(&line);
}

static void
json_head(struct ctl_json *json, const struct evidence_head *head)
{
    ctl_json_open(json, NULL, '{');
    ctl_json_text(json, "ident", bytes_str(head->ident));
    ctl_json_text(json, "role", bytes_str(head->role));
    ctl_json_time(json, "time", head->wall_us);
    ctl_json_number(json, "dropped", head->dropped);
    ctl_json_open(json, "events", '[');
}

static void
json_event(struct ctl_json *json, const struct evidence_event *event)
{
    ctl_json_open(json, NULL, '{');
    ctl_json_number(json, "offset_us", event->offset_us);
    ctl_json_text(json, "kind", bytes_str(evidence_kind_name(event->kind)));
    ctl_json_text(json, "subject", event->subject);
    ctl_json_text(json, "key", event->key);
    ctl_json_text(json, "value", event->value);
    ctl_json_text(json, "detail", event->detail);
    ctl_json_number(json, "number", event->number);
    ctl_json_close(json, '}');
}

static int
print_record(void *context, struct ipc_message *message)
{
    struct output *output = context;
    struct bytes rest = message->payload;
    struct evidence_head head;
    struct evidence_event event;

    if (message->type != WIRE_CTL_LINE || evidence_read_head(&rest, &head) != 0) {
        return GW_ERR_PEER;
    }
    if (output->as_json) {
        json_head(&output->json, &head);
    } else {
        (void)printf("%s", output->records > 0 ? "\n" : "");
        print_head(&head);
    }
    output->records++;
    while (evidence_read_event(&rest, &event) == 1) {
        if (output->as_json) {
            json_event(&output->json, &event);
        } else {
            print_event(&event);
        }
    }
    if (output->as_json) {
        ctl_json_close(&output->json, ']');
        ctl_json_close(&output->json, '}');
    } else if (head.dropped > 0) {
        (void)printf("  (%u more events did not fit into the record)\n", head.dropped);
    }
    return 0;
}

static int
usage(const char *command)
{
    (void)fprintf(stderr, "usage: %s QUEUE-ID|MESSAGE-ID|ADDRESS|IP [--json] [-c DIR]\n", command);
    return EX_USAGE;
}

static int
run(const struct config *config, const char *command, const char *key, struct output *output)
{
    const char *words[] = {"why", key};
    struct wire_status end;

    if (output->as_json) {
        ctl_json_begin(&output->json, stdout);
        ctl_json_open(&output->json, NULL, '{');
        ctl_json_text(&output->json, "key", bytes_str(key));
        ctl_json_open(&output->json, "records", '[');
    }
    int r = ctl_ask(config, ROLE_POLICY, words, 2, WAIT_MS, print_record, output, &end);
    if (output->as_json) {
        ctl_json_close(&output->json, ']');
        ctl_json_bool(&output->json, "complete", r == 0 && end.code == 0 && end.detail[0] == '\0');
        ctl_json_close(&output->json, '}');
    }
    (void)fflush(stdout);
    if (r != 0 || end.code != 0) {
        return ctl_complain(command, r != 0 ? r : end.code, &end);
    }
    if (end.detail[0] != '\0') {
        (void)fprintf(stderr, "%s: %s\n", command, end.detail);
    }
    if (output->records == 0) {
        (void)fprintf(stderr, "%s: nothing is known of %s\n", command, key);
        return 1;
    }
    return 0;
}

int
ctl_why(int argc, char **argv)
{
    struct output output = {0};
    struct config *config = ctl_load_config(&argc, argv);
    const char *key = NULL;
    int status = 0;

    if (config == NULL) {
        return EX_CONFIG;
    }
    for (int i = 1; i < argc && status == 0; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            output.as_json = true;
        } else if (key == NULL && argv[i][0] != '\0' && strncmp(argv[i], "--", 2) != 0) {
            key = argv[i];
        } else {
            status = usage(argv[0]);
        }
    }
    if (status == 0) {
        status = key == NULL ? usage(argv[0]) : run(config, argv[0], key, &output);
    }
    config_free(&config);
    return status;
}

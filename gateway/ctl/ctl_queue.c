/*
 * ctl_queue - see the header. Before: estafeta.c; after: queue_ctl.c at the other end of the connection.
 *
 * The commands keep no knowledge of the queue: they turn options into words and print what comes back.
 */
#include "ctl/ctl_queue.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/error.h"
#include "ctl/ctl_ask.h"

enum { WAIT_MS = 60000, LINE_SIZE = 256, BATCH = CTL_ASK_WORDS_MAX - 1 };

static int
print_piece(void *context, struct ipc_message *message)
{
    (void)context;
    if (message->type != WIRE_CTL_LINE) {
        return GW_ERR_PEER;
    }
    return fwrite(message->payload.p, 1, message->payload.n, stdout) == message->payload.n ? 0 : GW_ERR_EOF;
}

/* Asks and prints; the exit status. */
static int
run(const char *command, const struct config *config, const char *const *words, size_t count)
{
    static struct wire_status end;
    int r = ctl_ask(config, ROLE_QUEUE, words, count, WAIT_MS, print_piece, NULL, &end);

    if (r == 0) {
        r = end.code;
    }
    if (fflush(stdout) == EOF) {
        return EX_IOERR;
    }
    return r == 0 ? EX_OK : ctl_complain(command, r, &end);
}

int
ctl_mailq(int argc, char **argv)
{
    static const char *const LIST[] = {"list"};
    struct config *config = ctl_load_config(&argc, argv);

    if (config == NULL) {
        return EX_CONFIG;
    }
    int status = run("mailq", config, LIST, 1);
    config_free(&config);
    return status;
}

int
ctl_postqueue(int argc, char **argv)
{
    static const struct {
        int option;
        const char *words[2];
        bool has_argument;
    } ACTIONS[] = {
        {'p', {"list", NULL}, false}, {'j', {"list", "json"}, false},    {'f', {"flush", NULL}, false},
        {'i', {"flush", NULL}, true}, {'s', {"flush-site", NULL}, true},
    };
    struct config *config = ctl_load_config(&argc, argv);
    int option, status = EX_USAGE;
    bool is_done = false;

    if (config == NULL) {
        return EX_CONFIG;
    }
    while ((option = getopt(argc, argv, "pjfi:s:v")) != -1 && option != '?') {
        for (size_t i = 0; i < sizeof(ACTIONS) / sizeof(ACTIONS[0]) && !is_done; i++) {
            if (ACTIONS[i].option == option) {
                const char *words[2] = {ACTIONS[i].words[0],
                                        ACTIONS[i].has_argument ? optarg : ACTIONS[i].words[1]};
                status = run("postqueue", config, words, words[1] != NULL ? 2 : 1);
                is_done = true;
            }
        }
    }
    if (!is_done) {
        (void)fputs("usage: postqueue [-c DIR] -p | -j | -f | -i queue_id | -s site\n", stderr);
    }
    config_free(&config);
    return status;
}

/* ------------------------------------------------------------------ postsuper */

struct change {
    int option;
    const char *verb, *done;
};

static const struct change CHANGES[] = {
    {'d', "delete", "Deleted"},   {'h', "hold", "Placed on hold"}, {'H', "release", "Released from hold"},
    {'r', "requeue", "Requeued"}, {'e', "expire", "Expired"},      {'f', "expire", "Expired"},
};

static int
ask_change(const struct config *config, const char *const *words, size_t count, uint64_t *changed)
{
    static struct wire_status end;
    uint64_t number = 0;
    int r = ctl_ask(config, ROLE_QUEUE, words, count, WAIT_MS, NULL, NULL, &end);

    if (r == 0) {
        r = end.code;
    }
    if (r != 0) {
        return ctl_complain("postsuper", r, &end);
    }
    (void)bytes_to_u64(bytes_str(end.detail), &number);
    *changed += number;
    return EX_OK;
}

/* Ids from standard input, one a line, a batch at a time. */
static int
change_from_input(const struct config *config, const struct change *change, uint64_t *changed)
{
    static char lines[BATCH][LINE_SIZE];
    const char *words[BATCH + 1] = {change->verb};
    size_t count = 1;
    bool is_end = false;
    int status = EX_OK;

    while (!is_end && status == EX_OK) {
        is_end = fgets(lines[count - 1], LINE_SIZE, stdin) == NULL;
        if (!is_end) {
            lines[count - 1][strcspn(lines[count - 1], "\r\n")] = '\0';
            words[count] = lines[count - 1];
            count += words[count][0] != '\0';
        }
        if (count > BATCH || (is_end && count > 1)) {
            status = ask_change(config, words, count, changed);
            count = 1;
        }
    }
    return status;
}

static int
run_change(const struct config *config, const struct change *change, const char *id, const char *queue_name)
{
    const char *words[3] = {change->verb, id, queue_name};
    uint64_t changed = 0;
    int status;

    if (strcmp(id, "-") == 0) {
        status = change_from_input(config, change, &changed);
    } else {
        status = ask_change(config, words, queue_name != NULL && strcmp(id, "ALL") == 0 ? 3 : 2, &changed);
    }
    if (changed > 0) {
        (void)fprintf(stderr, "postsuper: %s: %llu message%s\n", change->done, (unsigned long long)changed,
                      changed == 1 ? "" : "s");
    }
    return status;
}

int
ctl_postsuper(int argc, char **argv)
{
    struct {
        const struct change *change;
        const char *id;
    } todo[64];
    struct config *config = ctl_load_config(&argc, argv);
    size_t count = 0;
    int option, status = EX_OK;

    if (config == NULL) {
        return EX_CONFIG;
    }
    while ((option = getopt(argc, argv, "d:h:H:r:e:f:spSv")) != -1 && option != '?') {
        for (size_t i = 0; i < sizeof(CHANGES) / sizeof(CHANGES[0]) && count < sizeof(todo) / sizeof(todo[0]);
             i++) {
            if (CHANGES[i].option == option) {
                todo[count].change = &CHANGES[i];
                todo[count++].id = optarg;
            }
        }
    }
    if (option == '?') {
        (void)fputs(
            "usage: postsuper [-c DIR] [-d|-h|-H|-r|-e queue_id|ALL|-] [hold|incoming|active|deferred]\n",
            stderr);
        status = EX_USAGE;
    }
    /* Without an action: the check of the queue's structure, which the store does not need. */
    for (size_t i = 0; i < count && status == EX_OK; i++) {
        status = run_change(config, todo[i].change, todo[i].id, optind < argc ? argv[optind] : NULL);
    }
    config_free(&config);
    return status;
}

/* ------------------------------------------------------------------ postcat */

struct cat {
    bool envelope, header, body;
};

/* The content has CRLF; the terminal wants LF. The header ends at the first empty line. */
static int
print_content(const struct cat *cat, int fd)
{
    FILE *file = fdopen(fd, "re");
    bool in_header = true;
    char *line = NULL;
    size_t size = 0;
    ssize_t n;

    if (file == NULL) {
        return GW_ERR_SYS;
    }
    rewind(file);
    while ((n = getline(&line, &size, file)) > 0) {
        bool is_shown = in_header ? cat->header : cat->body;

        if (n >= 2 && line[n - 2] == '\r') {
            line[n - 2] = '\n';
            n--;
        }
        if (is_shown) {
            (void)fwrite(line, 1, (size_t)n, stdout);
        }
        in_header = in_header && n > 1;
    }
    free(line);
    (void)fclose(file);
    return 0;
}

static int
show_piece(void *context, struct ipc_message *message)
{
    const struct cat *cat = context;

    if (message->type == WIRE_CTL_LINE) {
        return cat->envelope ? print_piece(NULL, message) : 0;
    }
    if (message->type != WIRE_CTL_FILE) {
        return GW_ERR_PEER;
    }
    int fd = message->fds[0];
    message->fds[0] = -1; /* transferred */
    return print_content(cat, fd);
}

int
ctl_postcat(int argc, char **argv)
{
    static struct wire_status end;
    struct config *config = ctl_load_config(&argc, argv);
    struct cat cat = {0};
    int option, status = EX_OK;

    if (config == NULL) {
        return EX_CONFIG;
    }
    while ((option = getopt(argc, argv, "behqnv")) != -1 && option != '?') {
        cat.envelope |= option == 'e';
        cat.header |= option == 'h';
        cat.body |= option == 'b';
    }
    if (!cat.envelope && !cat.header && !cat.body) {
        cat = (struct cat){.envelope = true, .header = true, .body = true};
    }
    if (option == '?' || optind >= argc) {
        (void)fputs("usage: postcat [-c DIR] [-e] [-h] [-b] -q queue_id ...\n", stderr);
        status = EX_USAGE;
    }
    for (int i = optind; i < argc && status == EX_OK; i++) {
        const char *words[] = {"cat", argv[i]};
        int r = ctl_ask(config, ROLE_QUEUE, words, 2, WAIT_MS, show_piece, &cat, &end);

        r = r == 0 ? end.code : r;
        status = r == 0 ? EX_OK : ctl_complain("postcat", r, &end);
    }
    (void)fflush(stdout);
    config_free(&config);
    return status;
}

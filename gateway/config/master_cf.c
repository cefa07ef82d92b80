/*
 * master_cf - the rows of master.cf (master(5)): eight columns and the command with its -o pairs.
 *
 * Before: config_load(); after: master starts what the rows name. A row that is not understood is refused
 * with its line; programs that nobody here implements are only warned about when the gateway starts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "config/config_internal.h"
#include "config/main_cf.h"

enum { COLUMNS = 8, ARGUMENTS_MAX = 256, PATH_BYTES_MAX = 4096 };

struct reading {
    struct config *config;
    const char *path;
    struct buf *why;
};

struct config_service *
config_add_service(struct config *config)
{
    struct config_service *grown =
        config->service_count >= CONFIG_SERVICES_MAX
            ? NULL
            : realloc(config->services, (config->service_count + 1) * sizeof(*grown));

    if (grown == NULL) {
        return NULL;
    }
    config->services = grown;
    grown[config->service_count] = (struct config_service){.max_processes = -1};
    return &grown[config->service_count++];
}

/* Words are separated by blanks; "{...}" is one word, without its braces. */
static bool
next_word(struct bytes *rest, struct bytes *word_r)
{
    *rest = bytes_trim(*rest);
    if (rest->n == 0) {
        return false;
    }
    size_t i = 0, depth = 0;
    for (; i < rest->n; i++) {
        depth += rest->p[i] == '{';
        depth -= rest->p[i] == '}' && depth > 0;
        if (depth == 0 && (rest->p[i] == ' ' || rest->p[i] == '\t')) {
            break;
        }
    }
    *word_r = bytes_sub(*rest, 0, i);
    *rest = bytes_sub(*rest, i, rest->n);
    if (word_r->n >= 2 && word_r->p[0] == '{' && word_r->p[word_r->n - 1] == '}') {
        *word_r = bytes_trim(bytes_sub(*word_r, 1, word_r->n - 2));
    }
    return true;
}

static int
complain(const struct reading *reading, int line, const char *what, struct bytes word, const char *remedy)
{
    (void)buf_printf(reading->why, "%s:%d: %s \"%.*s\"; %s\n", reading->path, line, what,
                     (int)(word.n < 80 ? word.n : 80), word.p, remedy);
    return GW_ERR_CONFIG;
}

/* "y", "n" or "-". */
static int
take_flag(const struct reading *reading, int line, struct bytes word, bool fallback, bool *value_r)
{
    *value_r = fallback;
    if (word.n != 1 || memchr("yn-", word.p[0], 3) == NULL) {
        return complain(reading, line, "bad yes/no column", word, "write y, n or -");
    }
    if (word.p[0] != '-') {
        *value_r = word.p[0] == 'y';
    }
    return 0;
}

/* "-", a number, or a number with "?" (wake up only when the service is in use). */
static int
take_number(const struct reading *reading, int line, struct bytes word, int fallback, int *value_r)
{
    uint64_t value;

    *value_r = fallback;
    if (bytes_equal(word, BYTES_LIT("-")) || bytes_equal(word, BYTES_LIT("$default_process_limit"))) {
        return 0;
    }
    if (word.n > 1 && word.p[word.n - 1] == '?') {
        word.n--;
    }
    if (bytes_to_u64(word, &value) != 0 || value > 1000000) {
        return complain(reading, line, "bad numeric column", word, "write a number or -");
    }
    *value_r = (int)value;
    return 0;
}

static bool
is_type(struct bytes word)
{
    static const char *const TYPES[] = {"inet", "unix", "fifo", "pass", "unix-dgram"};

    for (size_t i = 0; i < sizeof(TYPES) / sizeof(TYPES[0]); i++) {
        if (bytes_equal(word, bytes_str(TYPES[i]))) {
            return true;
        }
    }
    return false;
}

static int
add_override(const struct reading *reading, struct config_service *service, struct bytes word)
{
    struct bytes name, value;

    if (config_split_setting(word, &name, &value) != 0) {
        return complain(reading, service->line, "missing '=' in -o", word,
                        "write -o name=value or -o {name = value}");
    }
    struct config_override *grown =
        realloc(service->overrides, (service->override_count + 1) * sizeof(*grown));
    if (grown == NULL) {
        return GW_ERR_NOMEM;
    }
    service->overrides = grown;
    struct config_override *override = &grown[service->override_count++];
    override->name = bytes_dup_str(name);
    override->value = bytes_dup_str(value);
    return override->name == NULL || override->value == NULL ? GW_ERR_NOMEM : 0;
}

static int
take_arguments(const struct reading *reading, struct config_service *service, struct bytes rest)
{
    struct bytes word;
    size_t count = 0;
    bool options = true; /* until the first word that is none: "pipe argv=/bin/x -o file" keeps its -o */
    int r = 0;

    service->arguments = calloc(ARGUMENTS_MAX + 1, sizeof(char *));
    if (service->arguments == NULL) {
        return GW_ERR_NOMEM;
    }
    while (r == 0 && next_word(&rest, &word)) {
        options = options && word.n > 0 && word.p[0] == '-';
        bool option = options && word.n >= 2 && word.p[1] == 'o';

        if (option && word.n > 2) {
            r = add_override(reading, service, bytes_sub(word, 2, word.n));
        } else if (option) {
            r = next_word(&rest, &word)
                    ? add_override(reading, service, word)
                    : complain(reading, service->line, "nothing after", word, "write -o name=value");
        } else if (count >= ARGUMENTS_MAX) {
            r = complain(reading, service->line, "too many arguments at", word, "shorten the command");
        } else {
            service->arguments[count] = bytes_dup_str(word);
            r = service->arguments[count++] == NULL ? GW_ERR_NOMEM : 0;
        }
    }
    return r;
}

static int
take_columns(const struct reading *reading, struct config_service *service, const struct bytes *column)
{
    int line = service->line, r;

    if (!is_type(column[1])) {
        return complain(reading, line, "bad service type", column[1], "write inet, unix, fifo or pass");
    }
    service->name = bytes_dup_str(column[0]);
    service->type = bytes_dup_str(column[1]);
    service->program = bytes_dup_str(column[7]);
    if (service->name == NULL || service->type == NULL || service->program == NULL) {
        return GW_ERR_NOMEM;
    }
    if ((r = take_flag(reading, line, column[2], true, &service->is_private)) != 0 ||
        (r = take_flag(reading, line, column[3], true, &service->unprivileged)) != 0 ||
        (r = take_flag(reading, line, column[4], false, &service->chroot)) != 0 ||
        (r = take_number(reading, line, column[5], 0, &service->wakeup_s)) != 0) {
        return r;
    }
    service->chroot_is_default = column[4].p[0] == '-';
    if (service->is_private && strcmp(service->type, "inet") == 0) {
        return complain(reading, line, "inet service with bad \"private\" column:", column[2],
                        "write n: what listens on the network is not private");
    }
    return take_number(reading, line, column[6], -1, &service->max_processes);
}

static int
take_line(void *context, struct bytes line, int number)
{
    struct reading *reading = context;
    struct bytes column[COLUMNS], rest = line;
    int r;

    for (size_t i = 0; i < COLUMNS; i++) {
        if (!next_word(&rest, &column[i])) {
            return complain(reading, number, "a row needs eight columns:", line,
                            "name type private unprivileged chroot wakeup maxproc command");
        }
    }
    struct config_service *service = config_add_service(reading->config);
    if (service == NULL) {
        return complain(reading, number, "too many rows at", line, "remove some");
    }
    service->line = number;
    r = take_columns(reading, service, column);
    return r == 0 ? take_arguments(reading, service, rest) : r;
}

int
config_read_master(struct config *config, struct buf *why_r)
{
    char path[PATH_BYTES_MAX];
    struct reading reading = {.config = config, .path = path, .why = why_r};

    (void)snprintf(path, sizeof(path), "%s/master.cf", config->directory);
    return config_read_lines(path, take_line, &reading, why_r);
}

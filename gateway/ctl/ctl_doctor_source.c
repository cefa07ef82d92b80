/*
 * ctl_doctor_source - what the rules of the doctor read: where a setting stands, and the texts of tables.
 *
 * Before: the rules of ctl_doctor_*.c; after: config/ for forms of lines. A file that cannot be read has no
 * lines here: that it is missing is told by the check itself and by the rules about files.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "config/main_cf.h"
#include "config/table_text.h"
#include "ctl/ctl_doctor_private.h"

enum { WHY_MAX = 4096, DISTANCE_NAME_MAX = 256 };

char *
doctor_where_line(const char *path, int line)
{
    char *text = NULL;

    return asprintf(&text, "%s:%d", path, line) < 0 ? NULL : text;
}

char *
doctor_where_service(const struct doctor *doctor, const struct config_service *service)
{
    char *text = NULL;

    return asprintf(&text, "%s/master.cf:%d", config_directory(doctor->config), service->line) < 0 ? NULL
                                                                                                   : text;
}

static bool
is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* Not as a part of a longer word: "permit" is not in "permit_mynetworks". */
static bool
has_whole_word(const char *line, const char *word)
{
    size_t n = strlen(word);

    for (const char *at = line; n > 0 && (at = strstr(at, word)) != NULL; at++) {
        if ((at == line || !is_word_byte(at[-1]) || !is_word_byte(word[0])) && !is_word_byte(at[n])) {
            return true;
        }
    }
    return false;
}

/* The physical line of a logical one that holds the word; `first` when none does. */
static int
find_physical_line(const char *path, int first, const char *word)
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;
    int number = 0, found = first;

    while (file != NULL && getline(&line, &size, file) != -1) {
        number++;
        bool continues = line[0] == ' ' || line[0] == '\t' || line[0] == '#' || line[0] == '\n';

        if (number > first && !continues) {
            break;
        }
        if (number >= first && line[0] != '#' && has_whole_word(line, word)) {
            found = number;
            break;
        }
    }
    free(line);
    if (file != NULL) {
        (void)fclose(file);
    }
    return found;
}

char *
doctor_where(const struct config *view, enum param param, const char *word)
{
    struct buf out;
    char *text, *colon;

    buf_init(&out, DOCTOR_PATH_MAX);
    config_locate(view, param, &out);
    text = strdup(buf_str(&out));
    buf_free(&out);
    if (text == NULL || word == NULL || (colon = strrchr(text, ':')) == NULL) {
        return text;
    }
    int first = (int)strtol(colon + 1, NULL, 10);
    *colon = '\0';
    char *exact = first > 0 ? doctor_where_line(text, find_physical_line(text, first, word)) : NULL;
    *colon = ':';
    if (exact != NULL) {
        free(text);
        text = exact; /* transferred */
    }
    return text;
}

/* --- entries of keyed tables --- */

struct entries {
    doctor_entry_visitor *visit;
    void *context;
    size_t count;
};

static int
take_entry(void *context, struct bytes line, int number)
{
    struct entries *entries = context;
    struct bytes key, value;
    enum table_text_fault fault = table_text_split(line, &key, &value);

    if (entries->count++ >= DOCTOR_ENTRIES_MAX) {
        return GW_ERR_LIMIT;
    }
    if (fault == TABLE_TEXT_UNBALANCED || fault == TABLE_TEXT_NO_VALUE) {
        value = (struct bytes){0};
    }
    if (fault == TABLE_TEXT_ALIAS) {
        key = bytes_sub(key, 0, key.n - 1);
    }
    return entries->visit(entries->context, key, value, number) ? 0 : GW_ERR_LIMIT;
}

void
doctor_entries(const char *path, doctor_entry_visitor *visit, void *context)
{
    struct entries entries = {visit, context, 0};
    struct buf why;

    buf_init(&why, WHY_MAX);
    if (path != NULL) {
        (void)config_read_lines(path, take_entry, &entries, &why);
    }
    buf_free(&why);
}

struct search {
    struct bytes key;
    struct buf *value;
    int line;
};

static bool
match_key(void *context, struct bytes key, struct bytes value, int line)
{
    struct search *search = context;

    if (!bytes_equal_nocase(key, search->key)) {
        return true;
    }
    search->line = line;
    if (search->value != NULL) {
        buf_clear(search->value);
        (void)buf_append_bytes(search->value, value);
    }
    return false;
}

int
doctor_find_key(const char *path, struct bytes key, struct buf *value_r)
{
    struct search search = {key, value_r, 0};

    doctor_entries(path, match_key, &search);
    return search.line;
}

/* --- rules of pattern tables --- */

struct patterns {
    doctor_pattern_visitor *visit;
    void *context;
    unsigned depth;
};

static int
take_pattern(void *context, struct bytes line, int number)
{
    struct patterns *patterns = context;
    struct doctor_pattern pattern = {.line = number, .depth = patterns->depth};
    size_t end = 1;

    if (bytes_equal_nocase(line, BYTES_LIT("endif"))) {
        patterns->depth -= patterns->depth > 0;
        return 0;
    }
    if (bytes_has_prefix_nocase(line, BYTES_LIT("if ")) || bytes_has_prefix_nocase(line, BYTES_LIT("if\t"))) {
        pattern.is_condition = true;
        patterns->depth++;
        line = bytes_trim(bytes_sub(line, 2, line.n));
    }
    if (line.n > 0 && line.p[0] == '!') {
        pattern.negated = true;
        line = bytes_trim(bytes_sub(line, 1, line.n));
    }
    while (end < line.n && line.p[end] != line.p[0]) {
        end += line.p[end] == '\\' ? 2 : 1;
    }
    if (line.n < 2 || end >= line.n) {
        return 0; /* told when the table is opened */
    }
    pattern.pattern = bytes_sub(line, 1, end - 1);
    line = bytes_sub(line, end + 1, line.n);
    size_t n = 0;
    while (n < line.n && line.p[n] != ' ' && line.p[n] != '\t') {
        n++;
    }
    pattern.flags = bytes_sub(line, 0, n);
    pattern.result = bytes_trim(bytes_sub(line, n, line.n));
    return patterns->visit(patterns->context, &pattern) ? 0 : GW_ERR_LIMIT;
}

void
doctor_patterns(const char *path, doctor_pattern_visitor *visit, void *context)
{
    struct patterns patterns = {visit, context, 0};
    struct buf why;

    buf_init(&why, WHY_MAX);
    if (path != NULL) {
        (void)config_read_lines(path, take_pattern, &patterns, &why);
    }
    buf_free(&why);
}

/* --- views and names of services --- */

void
doctor_views(struct doctor *doctor, const char *program,
             void (*visit)(struct doctor *doctor, const struct config *view,
                           const struct config_service *service))
{
    for (size_t i = 0; i < config_service_count(doctor->config); i++) {
        const struct config_service *service = config_service(doctor->config, i);

        if (strcmp(service->program, program) == 0) {
            visit(doctor, config_view(doctor->config, i), service);
        }
    }
}

static bool
is_loopback_name(struct bytes host)
{
    struct net_addr addr;

    if (host.n >= 2 && host.p[0] == '[') {
        host = bytes_sub(host, 1, host.n - 2);
    }
    if (bytes_equal_nocase(host, BYTES_LIT("localhost")) ||
        bytes_equal_nocase(host, BYTES_LIT("loopback-only"))) {
        return true;
    }
    if (net_addr_parse(host, &addr) != 0) {
        return false;
    }
    return (addr.family == AF_INET && addr.ip[0] == 127) ||
           (addr.family == AF_INET6 && addr.ip[15] == 1 && bytes_equal(host, BYTES_LIT("::1")));
}

bool
doctor_is_loopback(const struct config *config, const char *service_name)
{
    struct bytes name = bytes_str(service_name), rest, word;
    ptrdiff_t colon = bytes_rindex(name, ':');
    size_t count = 0;

    if (colon > 0) {
        return is_loopback_name(bytes_sub(name, 0, (size_t)colon));
    }
    rest = bytes_str(config_str(config, P_inet_interfaces));
    while (bytes_next_token(&rest, ", \t\r\n", &word)) {
        count++;
        if (!is_loopback_name(word)) {
            return false;
        }
    }
    return count > 0;
}

unsigned
doctor_port(const char *service_name)
{
    static const struct {
        const char *name;
        unsigned port;
    } PORTS[] = {{"smtp", 25}, {"smtps", 465}, {"submissions", 465}, {"submission", 587}, {"lmtp", 24}};
    const char *colon = strrchr(service_name, ':');
    const char *port = colon != NULL ? colon + 1 : service_name;
    uint64_t number;

    for (size_t i = 0; i < sizeof(PORTS) / sizeof(PORTS[0]); i++) {
        if (strcmp(port, PORTS[i].name) == 0) {
            return PORTS[i].port;
        }
    }
    return bytes_to_u64(bytes_str(port), &number) == 0 && number <= UINT16_MAX ? (unsigned)number : 0;
}

bool
doctor_word(const char *list, size_t n, char *word_r, size_t size)
{
    struct bytes rest = bytes_str(list), word;

    while (bytes_next_token(&rest, ", \t\r\n", &word)) {
        if (n-- == 0) {
            (void)snprintf(word_r, size, "%.*s", BYTES_FMT(word));
            return true;
        }
    }
    return false;
}

bool
doctor_has_word(const char *list, const char *word)
{
    struct bytes rest = bytes_str(list), at;

    while (bytes_next_token(&rest, ", \t\r\n", &at)) {
        if (bytes_equal_nocase(at, bytes_str(word))) {
            return true;
        }
    }
    return false;
}

size_t
doctor_distance(const char *a, const char *b, size_t limit)
{
    size_t row[DISTANCE_NAME_MAX], n = strlen(a), m = strlen(b);

    if (m + 1 > DISTANCE_NAME_MAX || n > m + limit || m > n + limit) {
        return limit + 1;
    }
    for (size_t k = 0; k <= m; k++) {
        row[k] = k;
    }
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t k = 1; k <= m; k++) {
            size_t least = diagonal + (a[i - 1] != b[k - 1]);

            diagonal = row[k];
            least = row[k] + 1 < least ? row[k] + 1 : least;
            row[k] = row[k - 1] + 1 < least ? row[k - 1] + 1 : least;
        }
    }
    return row[m] <= limit ? row[m] : limit + 1;
}

bool
doctor_is_ours(struct doctor *doctor, struct bytes domain)
{
    enum address_class class;

    return doctor->router != NULL && router_class(doctor->router, domain, &class) == 0 &&
           class != CLASS_DEFAULT;
}

/*
 * ctl_import_repair - which lines of a broken text belong together.
 *
 * Before: ctl_import.c; after: the diff. A page's width breaks a line and the rest begins in the first
 * column, where a new setting, row or rule should. What can stand there is known for each kind of file; what
 * cannot is the rest of the line before, if that line asks for more. All else is told and left as it is.
 * Letters that a scanner misread (lmtpl) are told, never changed.
 */
#include <string.h>

#include "base/error.h"
#include "ctl/ctl_import_private.h"

enum { WIDTH_MIN = 58, COLUMNS = 8 }; /* a line this long may have met the margin */

static bool
is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static bool
is_plain(struct bytes line) /* empty, a comment, or a continuation already */
{
    return bytes_trim(line).n == 0 || line.p[0] == '#' || is_blank(line.p[0]);
}

static bool
is_name_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
}

/* --- main.cf --- */

static bool
is_setting(struct bytes line)
{
    size_t i = 0;

    while (i < line.n && is_name_byte(line.p[i])) {
        i++;
    }
    size_t name = i;
    while (i < line.n && is_blank(line.p[i])) {
        i++;
    }
    return name > 0 && i < line.n && line.p[i] == '=';
}

/* "type:name", "/path", "192.168.1.0/24", "host.domain": what lists are made of, and sentences are not. */
static bool
is_list_item(struct bytes line)
{
    struct bytes rest = line, word;

    return bytes_next_token(&rest, ", \t", &word) &&
           (bytes_index(word, ':') > 0 || bytes_index(word, '/') >= 0 || bytes_index(word, '.') > 0 ||
            bytes_index(word, '_') > 0);
}

static bool
asks_for_more(struct bytes before, struct bytes line)
{
    struct bytes text = bytes_trim(before);

    if (bytes_find(line, BYTES_LIT("...")) >= 0) {
        return false; /* "[...]": what a guide leaves out */
    }
    return text.n > 0 && (text.p[text.n - 1] == ',' || text.p[text.n - 1] == '=' ||
                          (text.n >= WIDTH_MIN && is_list_item(line)));
}

/* A name cut in two behind a mark that ends no name goes together without a blank. */
static const char *
glue_of(struct bytes before)
{
    struct bytes text = bytes_trim(before);

    return text.n > 0 && memchr("-/:@", text.p[text.n - 1], 4) != NULL ? "" : " ";
}

static int
repair_main(struct import_text *text)
{
    bool in_setting = false, in_comment = false;
    int r = 0;

    for (size_t i = 0; i < text->old_count && r == 0; i++) {
        struct bytes line = text->old[i];
        bool can_stand = is_plain(line) || is_setting(line);

        if (!can_stand && in_comment) {
            r = import_text_join(text, i, " ");
            continue;
        }
        if (!can_stand && in_setting && asks_for_more(bytes_str(import_text_last(text)), line)) {
            r = import_text_join(text, i, glue_of(bytes_str(import_text_last(text))));
            continue;
        }
        if (!can_stand) {
            import_text_complain(text, i, "neither a setting nor the rest of one", "");
        }
        r = import_text_keep(text, i);
        in_comment = line.n > 0 && line.p[0] == '#' && bytes_trim(line).n >= WIDTH_MIN;
        in_setting = can_stand && bytes_trim(line).n > 0 && line.p[0] != '#';
    }
    return r;
}

/* --- master.cf --- */

static size_t
split_columns(struct bytes line, struct bytes columns[COLUMNS])
{
    size_t n = 0;

    while (n < COLUMNS && bytes_next_token(&line, " \t", &columns[n])) {
        n++;
    }
    return n;
}

static bool
is_row(struct bytes line)
{
    static const char *const TYPES[] = {"inet", "unix", "fifo", "pass", "unix-dgram"};
    struct bytes columns[COLUMNS];

    if (split_columns(line, columns) < COLUMNS) {
        return false;
    }
    for (size_t i = 0; i < sizeof(TYPES) / sizeof(TYPES[0]); i++) {
        if (bytes_equal(columns[1], bytes_str(TYPES[i]))) {
            return true;
        }
    }
    return false;
}

/* "-o name=value", "flags=Rq user=...", "argv=/path ...", "${recipient}" */
static bool
is_argument(struct bytes line)
{
    struct bytes rest = line, word;

    return bytes_next_token(&rest, " \t", &word) &&
           ((word.n >= 2 && word.p[0] == '-' && !is_blank(word.p[1])) || bytes_index(word, '=') > 0 ||
            word.p[0] == '$' || word.p[0] == '/');
}

/* The word that a word is with a letter too many at its end; NULL. exact_r: it is one of them itself. */
static const char *
without_last(struct bytes word, const char *const *known, size_t count, bool *exact_r)
{
    const char *found = NULL;

    *exact_r = false;
    for (size_t i = 0; i < count; i++) {
        *exact_r = *exact_r || bytes_equal(word, bytes_str(known[i]));
        if (word.n == strlen(known[i]) + 1 &&
            bytes_equal(bytes_sub(word, 0, word.n - 1), bytes_str(known[i]))) {
            found = known[i];
        }
    }
    return *exact_r ? NULL : found;
}

/* Services and programs end in a letter too many where a scanner took the edge of a table for an l. */
static void
look_for_damage(struct import_text *text, size_t index)
{
    static const char *const PROGRAMS[] = {
        "anvil",      "bounce",   "cleanup", "discard",  "dnsblog",         "error",  "flush",
        "lmtp",       "local",    "nqmgr",   "oqmgr",    "pickup",          "pipe",   "postlogd",
        "postscreen", "proxymap", "qmgr",    "qmqpd",    "scache",          "showq",  "smtp",
        "smtpd",      "spawn",    "tlsmgr",  "tlsproxy", "trivial-rewrite", "verify", "virtual"};
    static const char *const SERVICES[] = {"bsmtp",    "cyrus", "ifmail", "lmtp",
                                           "maildrop", "relay", "smtp",   "uucp"};
    struct bytes columns[COLUMNS];
    bool exact;

    if (split_columns(text->old[index], columns) < COLUMNS) {
        return;
    }
    const char *near =
        without_last(columns[COLUMNS - 1], PROGRAMS, sizeof(PROGRAMS) / sizeof(PROGRAMS[0]), &exact);
    if (!exact) {
        import_text_complain(text, index, "unknown program", "");
    }
    if (near != NULL) {
        import_text_complain(text, index, "its program is perhaps ", near);
    }
    near = without_last(columns[0], SERVICES, sizeof(SERVICES) / sizeof(SERVICES[0]), &exact);
    if (near != NULL) {
        import_text_complain(text, index, "the service is perhaps ", near);
    }
}

static int
repair_master(struct import_text *text)
{
    bool in_row = false;
    int r = 0;

    for (size_t i = 0; i < text->old_count && r == 0; i++) {
        struct bytes line = text->old[i];
        char words[IMPORT_LINE_MAX];

        if (is_plain(line) || is_row(line)) {
            in_row = bytes_trim(line).n > 0 && line.p[0] != '#' && (in_row || is_row(line));
            if (is_row(line) && !is_blank(line.p[0])) {
                look_for_damage(text, i);
            }
            r = import_text_keep(text, i);
        } else if (in_row && is_argument(line)) {
            (void)snprintf(words, sizeof(words), "  %.*s", BYTES_FMT(bytes_trim(line)));
            r = import_text_change(text, i, words);
        } else {
            import_text_complain(text, i, "neither a row of eight columns nor the rest of one", "");
            r = import_text_keep(text, i);
        }
    }
    return r;
}

/* --- rule tables --- */

static bool
is_rule_start(struct bytes line)
{
    return line.n > 0 &&
           (line.p[0] == '/' || line.p[0] == '!' || bytes_has_prefix_nocase(line, BYTES_LIT("if ")) ||
            bytes_has_prefix_nocase(line, BYTES_LIT("if\t")) ||
            bytes_has_prefix_nocase(line, BYTES_LIT("endif")));
}

enum rule_state { RULE_NONE, RULE_OPEN, RULE_BARE, RULE_WHOLE };

/* A rule so far: its pattern has no end; it has no result; it has both. */
static enum rule_state
look_at_rule(struct bytes line)
{
    ptrdiff_t slash = bytes_index(line, '/');
    size_t i = slash < 0 ? line.n : (size_t)slash + 1;

    if (!is_rule_start(line) || slash < 0) {
        return RULE_NONE;
    }
    while (i < line.n && line.p[i] != '/') {
        i += line.p[i] == '\\' ? 2 : 1;
    }
    if (i >= line.n) {
        return RULE_OPEN;
    }
    while (i < line.n && !is_blank(line.p[i])) {
        i++;
    }
    return bytes_trim(bytes_sub(line, i, line.n)).n == 0 && line.p[0] != 'i' ? RULE_BARE : RULE_WHOLE;
}

/* A result goes on where the line before met the margin. */
static bool
belongs(enum rule_state state, struct bytes before, struct bytes line)
{
    static const char *const ACTIONS[] = {"REJECT",  "OK",       "WARN",   "DUNNO", "IGNORE",
                                          "HOLD",    "DISCARD",  "FILTER", "INFO",  "PREPEND",
                                          "REPLACE", "REDIRECT", "BCC"};

    if (state == RULE_OPEN) {
        return bytes_index(line, '/') >= 0;
    }
    for (size_t i = 0; state == RULE_BARE && i < sizeof(ACTIONS) / sizeof(ACTIONS[0]); i++) {
        if (bytes_has_prefix_nocase(line, bytes_str(ACTIONS[i]))) {
            return true;
        }
    }
    return state == RULE_WHOLE && bytes_trim(before).n >= WIDTH_MIN && line.n < WIDTH_MIN;
}

static int
repair_rules(struct import_text *text)
{
    enum rule_state state = RULE_NONE;
    int r = 0;

    for (size_t i = 0; i < text->old_count && r == 0; i++) {
        struct bytes line = text->old[i], last = bytes_str(import_text_last(text));

        if (is_plain(line)) {
            state = line.n > 0 && is_blank(line.p[0]) && bytes_trim(line).n > 0 ? state : RULE_NONE;
            r = import_text_keep(text, i);
        } else if ((state == RULE_OPEN || !is_rule_start(line)) && belongs(state, last, line)) {
            r = import_text_join(text, i, state == RULE_OPEN ? "" : " ");
            state = look_at_rule(bytes_str(import_text_last(text)));
        } else {
            if (!is_rule_start(line)) {
                import_text_complain(text, i, "neither a rule nor the rest of one", "");
            }
            r = import_text_keep(text, i);
            state = look_at_rule(line);
        }
    }
    return r;
}

/* --- which is which --- */

static bool
ends_with(const char *path, const char *name)
{
    size_t n = strlen(path), m = strlen(name);

    return n >= m && strcmp(path + n - m, name) == 0 && (n == m || path[n - m - 1] == '/');
}

/* Rule tables have a rule first, whatever their name. */
static bool
has_rules(const struct import_text *text)
{
    for (size_t i = 0; i < text->old_count; i++) {
        if (!is_plain(text->old[i])) {
            return is_rule_start(text->old[i]);
        }
    }
    return false;
}

int
import_repair(struct import_text *text)
{
    int r = 0;

    if (ends_with(text->path, "main.cf")) {
        return repair_main(text);
    }
    if (ends_with(text->path, "master.cf")) {
        return repair_master(text);
    }
    if (has_rules(text)) {
        return repair_rules(text);
    }
    for (size_t i = 0; i < text->old_count && r == 0;
         i++) { /* keys and values: nothing tells one line from another */
        r = import_text_keep(text, i);
    }
    return r;
}

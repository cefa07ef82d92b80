/*
 * config_mend - see the header. Before: main_cf.c cuts the file into logical lines; after: config.c keeps the
 * settings, postconf shows them.
 */
#include "config/config_mend.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "config/config.h"
#include "config/config_internal.h"
#include "config/main_cf.h"

enum { NAME_BYTES = 256 };

struct mender {
    config_setting_visitor *visit;
    void *context;
    struct buf line, value;
};

/* Ends of names whose value is a text for people or a shell: "#" has no meaning of its own there. */
static const char *const TEXTS[] = {"_banner", "_reply",    "_footer",     "_command",
                                    "_filter", "mail_name", "syslog_name", "mail_version"};

static bool
is_text(struct bytes name)
{
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++) {
        if (bytes_has_suffix_nocase(name, bytes_str(TEXTS[i]))) {
            return true;
        }
    }
    return false;
}

static bool
is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Where a comment begins in one physical line of a value, or line.n. Not in braces or quotes, which may hold
 * patterns; their state goes on over the lines. */
static size_t
find_comment(struct bytes line, bool first, size_t *depth, bool *quoted)
{
    for (size_t i = 0; i < line.n; i++) {
        uint8_t c = line.p[i];

        *quoted ^= c == '"';
        *depth += c == '{';
        *depth -= c == '}' && *depth > 0;
        if (c == '#' && *depth == 0 && !*quoted && (i == 0 ? first : is_blank(line.p[i - 1]))) {
            return i;
        }
    }
    return line.n;
}

/* The length of the blanks between "$" and a name, or 0. */
static size_t
blanks_behind_dollar(struct bytes rest)
{
    size_t n = 1;

    while (n < rest.n && is_blank(rest.p[n])) {
        n++;
    }
    return n > 1 && n < rest.n && ((rest.p[n] | 0x20) >= 'a' && (rest.p[n] | 0x20) <= 'z') ? n - 1 : 0;
}

static int
append_without_gaps(struct bytes line, struct buf *out, bool *cut)
{
    int r = 0;

    for (size_t i = 0; i < line.n && r == 0; i++) {
        r = buf_append_byte(out, line.p[i]);
        if (line.p[i] == '$' && (i == 0 || line.p[i - 1] != '$')) {
            size_t n = blanks_behind_dollar(bytes_sub(line, i, line.n));

            *cut |= n > 0;
            i += n;
        }
    }
    return r;
}

static int
mend_value(struct mender *mender, struct bytes written, struct config_setting *setting)
{
    bool text = is_text(setting->name), quoted = false;
    struct bytes line;
    size_t depth = 0;
    int r = 0;

    buf_clear(&mender->value);
    for (bool first = true; r == 0 && written.n > 0; first = false) {
        ptrdiff_t end = bytes_index(written, '\n');

        line = bytes_sub(written, 0, end < 0 ? written.n : (size_t)end);
        written = end < 0 ? (struct bytes){0} : bytes_sub(written, (size_t)end + 1, written.n);
        size_t comment = find_comment(line, first, &depth, &quoted);
        if (comment < line.n) {
            setting->comment_kept |= text;
            setting->comment_cut |= !text;
            line.n = text ? line.n : comment;
        }
        r = append_without_gaps(line, &mender->value, &setting->blank_cut);
    }
    setting->value = bytes_buf(&mender->value);
    while (setting->value.n > 0 && is_blank(setting->value.p[setting->value.n - 1])) {
        setting->value.n--;
    }
    return r;
}

static int
take_line(void *context, struct bytes line, int number)
{
    struct mender *mender = context;
    struct config_setting setting = {.number = number};
    struct bytes written;
    int r = 0;

    buf_clear(&mender->line);
    for (size_t i = 0; i < line.n && r == 0; i++) {
        r = line.p[i] != '\n' ? buf_append_byte(&mender->line, line.p[i]) : 0;
    }
    setting.line = bytes_buf(&mender->line);
    if (r != 0) {
        return r;
    }
    if (config_line_is_stray(line)) {
        setting.bad = "logical line must not start with whitespace";
    } else if (config_split_setting(line, &setting.name, &written) != 0) {
        setting.bad = line.p[0] == '=' ? "missing attribute name" : "missing '=' after attribute name";
    }
    if (setting.bad != NULL) {
        setting.name = (struct bytes){0};
        return mender->visit(mender->context, &setting);
    }
    const char *right = config_right_name(setting.name);
    if (right != NULL) {
        setting.written = setting.name;
        setting.name = bytes_str(right);
    }
    r = mend_value(mender, written, &setting);
    return r == 0 ? mender->visit(mender->context, &setting) : r;
}

int
config_read_settings(const char *path, config_setting_visitor *visit, void *context, struct buf *why_r)
{
    struct mender mender = {.visit = visit, .context = context};

    buf_init(&mender.line, CONFIG_LINE_MAX);
    buf_init(&mender.value, CONFIG_LINE_MAX);
    int r = config_read_lines_raw(path, take_line, &mender, why_r);
    buf_free(&mender.line);
    buf_free(&mender.value);
    return r;
}

bool
config_is_read_only(struct bytes name)
{
    static const char *const NAMES[] = {"process_id", "process_name", "service_name"};

    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        if (bytes_equal(name, bytes_str(NAMES[i]))) {
            return true;
        }
    }
    return false;
}

static struct config_variable *
find_variable(struct config *config, const char *name)
{
    for (size_t i = 0; i < config->variable_count; i++) {
        if (strcmp(config->variables[i].name, name) == 0) {
            return &config->variables[i];
        }
    }
    return NULL;
}

static bool
runs_commands(const char *program)
{
    const char *slash = strrchr(program, '/');
    const char *name = slash != NULL ? slash + 1 : program;

    return strcmp(name, "pipe") == 0 || strcmp(name, "spawn") == 0;
}

int
config_spread_time_limit(struct config *config, const char *path, struct buf *why_r)
{
    static const char PLACEHOLDER[] = "nombre_servicio_time_limit", SUFFIX[] = "_time_limit";
    const struct config_variable *printed = find_variable(config, PLACEHOLDER);
    char name[NAME_BYTES];
    int r = 0;

    if (printed == NULL) {
        return 0;
    }
    int line = printed->line;
    (void)buf_printf(why_r,
                     "%s:%d: warning: unused parameter: %s; taken as the limit of every pipe and spawn "
                     "service; write NAME%s with the name of one\n",
                     path, line, PLACEHOLDER, SUFFIX);
    for (size_t i = 0; i < config->service_count && r == 0; i++) {
        const struct config_service *service = &config->services[i];

        if (runs_commands(service->program) &&
            snprintf(name, sizeof(name), "%s%s", service->name, SUFFIX) < NAME_BYTES &&
            find_variable(config, name) == NULL) {
            printed = find_variable(config, PLACEHOLDER); /* adding one moves them */
            r = config_set(config, bytes_str(name), bytes_str(printed->raw), line);
        }
    }
    return r;
}

/*
 * smtp_command - see the header. Before: receive_command.c; after: the verbs.
 */
#include "message/smtp_command.h"

#include <string.h>

#include "base/error.h"
#include "base/net.h"
#include "message/address.h"

static const struct {
    const char *name, *log_name;
} VERBS[SMTP_VERB_COUNT] = {
    [SMTP_UNKNOWN] = {"UNKNOWN", "unknown"}, [SMTP_HELO] = {"HELO", "helo"},
    [SMTP_EHLO] = {"EHLO", "ehlo"},          [SMTP_STARTTLS] = {"STARTTLS", "starttls"},
    [SMTP_AUTH] = {"AUTH", "auth"},          [SMTP_MAIL] = {"MAIL", "mail"},
    [SMTP_RCPT] = {"RCPT", "rcpt"},          [SMTP_DATA] = {"DATA", "data"},
    [SMTP_BDAT] = {"BDAT", "bdat"},          [SMTP_RSET] = {"RSET", "rset"},
    [SMTP_NOOP] = {"NOOP", "noop"},          [SMTP_VRFY] = {"VRFY", "vrfy"},
    [SMTP_EXPN] = {"EXPN", "expn"},          [SMTP_ETRN] = {"ETRN", "etrn"},
    [SMTP_HELP] = {"HELP", "help"},          [SMTP_QUIT] = {"QUIT", "quit"},
    [SMTP_XCLIENT] = {"XCLIENT", "xclient"}, [SMTP_XFORWARD] = {"XFORWARD", "xforward"},
};

const char *
smtp_verb_name(enum smtp_verb verb)
{
    return VERBS[(unsigned)verb < SMTP_VERB_COUNT ? verb : SMTP_UNKNOWN].name;
}

const char *
smtp_verb_log_name(enum smtp_verb verb)
{
    return VERBS[(unsigned)verb < SMTP_VERB_COUNT ? verb : SMTP_UNKNOWN].log_name;
}

static bool
is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* Bytes of the UTF-8 character at v.p[i], 0 when it is none: no overlong forms, no surrogates, nothing beyond
 * U+10FFFF (RFC 3629 section 4). */
static size_t
measure_utf8(struct bytes v, size_t i)
{
    uint8_t c = v.p[i];
    size_t n = c < 0x80                 ? 1
               : c >= 0xc2 && c <= 0xdf ? 2
               : (c & 0xf0) == 0xe0     ? 3
               : c >= 0xf0 && c <= 0xf4 ? 4
                                        : 0;

    if (n == 0 || n > v.n - i) {
        return 0;
    }
    for (size_t k = 1; k < n; k++) {
        if ((v.p[i + k] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool second_fits = n < 3 || (c == 0xe0   ? v.p[i + 1] >= 0xa0
                                 : c == 0xed ? v.p[i + 1] < 0xa0
                                 : c == 0xf0 ? v.p[i + 1] >= 0x90
                                 : c == 0xf4 ? v.p[i + 1] < 0x90
                                             : true);
    return second_fits ? n : 0;
}

/* Control characters and broken UTF-8 have no place in a command (RFC 6531 section 3.3). */
static bool
is_text(struct bytes line)
{
    for (size_t i = 0; i < line.n;) {
        uint8_t c = line.p[i];
        size_t n = measure_utf8(line, i);

        if (n == 0 || (c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
        i += n;
    }
    return true;
}

int
smtp_command_parse(struct bytes line, struct smtp_command *command_r)
{
    size_t n = 0;

    command_r->verb = SMTP_UNKNOWN;
    command_r->word = command_r->argument = command_r->path = (struct bytes){0};
    command_r->parameter_count = 0;
    while (line.n > 0 && is_blank(line.p[0])) {
        line = bytes_sub(line, 1, line.n);
    }
    if (line.n == 0 || !is_text(line)) {
        return GW_ERR_SYNTAX;
    }
    while (n < line.n && !is_blank(line.p[n])) {
        n++;
    }
    command_r->word = bytes_sub(line, 0, n);
    command_r->argument = bytes_trim(bytes_sub(line, n, line.n));
    for (int verb = SMTP_UNKNOWN + 1; verb < SMTP_VERB_COUNT; verb++) {
        if (bytes_equal_nocase(command_r->word, bytes_str(VERBS[verb].name))) {
            command_r->verb = (enum smtp_verb)verb;
            break;
        }
    }
    return 0;
}

/* Behind the comment that begins at `at` (RFC 5322 section 3.2.2, nested); 0 when it does not end. */
static size_t
skip_comment(struct bytes v, size_t at)
{
    size_t depth = 0;

    for (size_t i = at; i < v.n; i++) {
        if (v.p[i] == '\\') {
            i++;
        } else if (v.p[i] == '(') {
            depth++;
        } else if (v.p[i] == ')' && --depth == 0) {
            return i + 1;
        }
    }
    return 0;
}

struct mailbox_writer {
    struct smtp_command *command;
    size_t n;
    size_t domain; /* offset behind the last @ outside quotes; 0: none yet */
    bool has_gap;  /* blanks were left out just before */
};

static int
put_mailbox_byte(struct mailbox_writer *writer, uint8_t c)
{
    if (writer->n >= sizeof(writer->command->storage)) {
        return GW_ERR_LIMIT;
    }
    writer->command->storage[writer->n++] = c;
    return 0;
}

/* Blanks and comments may stand around @ and the dots of an address, not between two words. */
static int
close_gap(struct mailbox_writer *writer, uint8_t c)
{
    uint8_t last = writer->n > 0 ? writer->command->storage[writer->n - 1] : '@';
    bool joins = !writer->has_gap || c == '@' || c == '.' || last == '@' || last == '.';

    writer->has_gap = false;
    return joins ? 0 : GW_ERR_SYNTAX;
}

/* A byte outside quotes. Commas and semicolons would make it several addresses; a bracket begins a domain or
 * is none. */
static int
put_mailbox_plain(struct mailbox_writer *writer, uint8_t c)
{
    bool is_stray = c == ',' || c == ';' || c == '<' || c == '>' ||
                    (c == '[' && (writer->n == 0 || writer->domain != writer->n));
    int r = is_stray ? GW_ERR_SYNTAX : close_gap(writer, c);

    if (r == 0 && (r = put_mailbox_byte(writer, c)) == 0 && c == '@') {
        writer->domain = writer->n;
    }
    return r;
}

/* What stands behind the last @: a host name, or an address in brackets. Nothing at all, or an address
 * without them, may be meant for something too (resolve_null_domain, resolve_numeric_domain): who knows the
 * parameters decides. */
static bool
is_domain_good(struct bytes mailbox, size_t at)
{
    struct bytes domain = bytes_sub(mailbox, at, mailbox.n);
    struct net_addr addr;

    if (domain.n > 1 && domain.p[domain.n - 1] == '.' && domain.p[domain.n - 2] != '.') {
        domain.n--; /* the root, as in DNS */
    }
    return at == 0 || domain.n == 0 || address_is_literal(domain) ||
           (address_is_hostname(domain) && domain.p[domain.n - 1] != '.') ||
           (bytes_index(domain, ':') < 0 && net_addr_parse(domain, &addr) == 0);
}

/* Copies the mailbox without comments, and without the quotes and backslashes of a local part, which say
 * nothing about the name itself. */
static int
store_mailbox(struct smtp_command *command, struct bytes mailbox, bool strict)
{
    struct mailbox_writer writer = {.command = command};
    bool quoted = false;
    int r = 0;

    for (size_t i = 0; r == 0 && i < mailbox.n; i++) {
        uint8_t c = mailbox.p[i];

        if (c == '"') {
            r = quoted ? 0 : close_gap(&writer, c);
            quoted = !quoted;
        } else if (c == '\\') {
            r = ++i < mailbox.n ? put_mailbox_byte(&writer, mailbox.p[i]) : GW_ERR_SYNTAX;
        } else if (quoted) {
            r = put_mailbox_byte(&writer, c);
        } else if (c == '(' || is_blank(c)) {
            size_t end = c == '(' ? skip_comment(mailbox, i) : i + 1;

            r = strict || end == 0 ? GW_ERR_SYNTAX : 0;
            writer.has_gap = true;
            i = end - 1; /* not used when it is 0 */
        } else {
            r = put_mailbox_plain(&writer, c);
        }
    }
    command->path = bytes_of(command->storage, writer.n);
    if (r == 0 &&
        (quoted || (mailbox.n > 0 && writer.n == 0) || (strict && mailbox.n > 0 && mailbox.p[0] == '@') ||
         (writer.n > 0 && !is_domain_good(command->path, writer.domain)))) {
        r = GW_ERR_SYNTAX;
    }
    return r;
}

/* Offset of the first byte of `set` outside quotes, or v.n. */
static size_t
find_outside_quotes(struct bytes v, const char *set)
{
    bool quoted = false;

    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] == '\\') {
            i++;
        } else if (v.p[i] == '"') {
            quoted = !quoted;
        } else if (!quoted && strchr(set, v.p[i]) != NULL && v.p[i] != '\0') {
            return i;
        }
    }
    return v.n;
}

/* Takes "<path>" or, when not strict, a bare path off *rest. */
static int
take_path(struct bytes *rest, bool strict, struct bytes *path_r)
{
    if (rest->n > 0 && rest->p[0] == '<') {
        struct bytes inner = bytes_sub(*rest, 1, rest->n);
        size_t end = find_outside_quotes(inner, ">");

        if (end >= inner.n) {
            return GW_ERR_SYNTAX;
        }
        *path_r = bytes_trim(bytes_sub(inner, 0, end));
        *rest = bytes_sub(inner, end + 1, inner.n);
        return rest->n == 0 || is_blank(rest->p[0]) ? 0 : GW_ERR_SYNTAX;
    }
    if (strict || rest->n == 0) {
        return GW_ERR_SYNTAX;
    }
    size_t end = find_outside_quotes(*rest, " \t<>");
    *path_r = bytes_sub(*rest, 0, end);
    *rest = bytes_sub(*rest, end, rest->n);
    return path_r->n > 0 && (rest->n == 0 || is_blank(rest->p[0])) ? 0 : GW_ERR_SYNTAX;
}

/* "@a,@b:user@dom" (RFC 5321 appendix C): the route is ignored. */
static struct bytes
strip_route(struct bytes path)
{
    if (path.n > 0 && path.p[0] == '@') {
        ptrdiff_t colon = bytes_index(path, ':');

        if (colon > 0) {
            return bytes_sub(path, (size_t)colon + 1, path.n);
        }
    }
    return path;
}

static int
parse_parameters(struct smtp_command *command, struct bytes rest)
{
    struct bytes word;

    command->parameter_count = 0;
    while (bytes_next_token(&rest, " \t", &word)) {
        if (command->parameter_count >= SMTP_PARAMETERS_MAX) {
            return GW_ERR_LIMIT;
        }
        struct smtp_parameter *parameter = &command->parameters[command->parameter_count++];
        ptrdiff_t equals = bytes_index(word, '=');

        parameter->name = bytes_sub(word, 0, equals < 0 ? word.n : (size_t)equals);
        parameter->value = equals < 0 ? (struct bytes){0} : bytes_sub(word, (size_t)equals + 1, word.n);
        if (parameter->name.n == 0) {
            return GW_ERR_SYNTAX;
        }
    }
    return 0;
}

int
smtp_command_path(struct smtp_command *command, struct bytes prefix, bool strict)
{
    struct bytes rest = command->argument, path;
    int r;

    if (!bytes_has_prefix_nocase(rest, prefix)) {
        return GW_ERR_SYNTAX;
    }
    rest = bytes_sub(rest, prefix.n, rest.n);
    if (rest.n > 0 && is_blank(rest.p[0])) {
        if (strict) {
            return GW_ERR_SYNTAX;
        }
        rest = bytes_trim(rest);
    }
    if ((r = take_path(&rest, strict, &path)) != 0 ||
        (r = store_mailbox(command, strip_route(path), strict)) != 0) {
        return r;
    }
    return parse_parameters(command, rest);
}

int
smtp_command_attributes(struct smtp_command *command)
{
    return parse_parameters(command, command->argument);
}

static int
hex_value(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

int
xtext_decode(struct bytes text, uint8_t *out, size_t size, size_t *n_r)
{
    size_t n = 0;

    *n_r = 0;
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];

        if (c == '+') {
            if (text.n - i < 3 || hex_value(text.p[i + 1]) < 0 || hex_value(text.p[i + 2]) < 0) {
                return GW_ERR_SYNTAX;
            }
            c = (uint8_t)(hex_value(text.p[i + 1]) * 16 + hex_value(text.p[i + 2]));
            i += 2;
        }
        if (n >= size) {
            return GW_ERR_LIMIT;
        }
        out[n++] = c;
    }
    *n_r = n;
    return 0;
}

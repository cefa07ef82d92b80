/*
 * smtp_command_test - command lines as clients write them, well and badly: verbs, paths, parameters, xtext.
 */
#include "message/smtp_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/ipc.h"

static int failures;

#define CHECK(cond, text)                                                     \
    do {                                                                      \
        if (!(cond)) {                                                        \
            (void)printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #cond, text); \
            failures++;                                                       \
        }                                                                     \
    } while (0)

static const struct {
    const char *line;
    int r;
    enum smtp_verb verb;
    const char *argument;
} LINES[] = {
    {"EHLO client.example", 0, SMTP_EHLO, "client.example"},
    {"ehlo  client.example  ", 0, SMTP_EHLO, "client.example"},
    {"\tQuit", 0, SMTP_QUIT, ""},
    {"MAIL FROM:<a@b>", 0, SMTP_MAIL, "FROM:<a@b>"},
    {"RCPT\tTO:<a@b>", 0, SMTP_RCPT, "TO:<a@b>"},
    {"BDAT 10 LAST", 0, SMTP_BDAT, "10 LAST"},
    {"STARTTLS", 0, SMTP_STARTTLS, ""},
    {"XCLIENT NAME=a ADDR=192.0.2.1", 0, SMTP_XCLIENT, "NAME=a ADDR=192.0.2.1"},
    {"XFORWARD NAME=a", 0, SMTP_XFORWARD, "NAME=a"},
    {"GET / HTTP/1.1", 0, SMTP_UNKNOWN, "/ HTTP/1.1"},
    {"MAILFROM:<a@b>", 0, SMTP_UNKNOWN, ""},
    {"UNKNOWN", 0, SMTP_UNKNOWN, ""},
    {"", GW_ERR_SYNTAX, SMTP_UNKNOWN, ""},
    {" \t ", GW_ERR_SYNTAX, SMTP_UNKNOWN, ""},
    {"NOOP\rQUIT", GW_ERR_SYNTAX, SMTP_UNKNOWN, ""},
    {"NOOP\nQUIT", GW_ERR_SYNTAX, SMTP_UNKNOWN, ""},
    {"NOOP \x1b[2J", GW_ERR_SYNTAX, SMTP_UNKNOWN, ""},
    {"NOOP \x7f", GW_ERR_SYNTAX, SMTP_UNKNOWN, ""},
    {"EHLO caf\xc3\xa9.example", 0, SMTP_EHLO, "caf\xc3\xa9.example"},
    {"EHLO \xf0\x9f\x93\xa7.example", 0, SMTP_EHLO, "\xf0\x9f\x93\xa7.example"},
    {"EHLO caf\xe9.example", GW_ERR_SYNTAX, SMTP_UNKNOWN, ""}, /* Latin-1 */
    {"EHLO \xc0\xaf", GW_ERR_SYNTAX, SMTP_UNKNOWN, ""},        /* overlong */
    {"EHLO \xe0\x80\xaf", GW_ERR_SYNTAX, SMTP_UNKNOWN, ""},
    {"EHLO \xf0\x80\x80\xaf", GW_ERR_SYNTAX, SMTP_UNKNOWN, ""},
    {"EHLO \xed\xa0\x80", GW_ERR_SYNTAX, SMTP_UNKNOWN, ""}, /* a surrogate */
    {"EHLO \xf4\x90\x80\x80", GW_ERR_SYNTAX, SMTP_UNKNOWN, ""},
    {"EHLO \xc3", GW_ERR_SYNTAX, SMTP_UNKNOWN, ""}, /* cut */
    {"EHLO \xf0\x9f\x93", GW_ERR_SYNTAX, SMTP_UNKNOWN, ""},
};

/* RCPT TO; parameters: how many, and the last one's name and value. */
static const struct {
    const char *argument;
    bool strict;
    int r;
    const char *path;
    size_t parameters;
    const char *name, *value;
} PATHS[] = {
    {"TO:<ana@example.com>", true, 0, "ana@example.com", 0, NULL, NULL},
    {"to:<ana@example.com>", true, 0, "ana@example.com", 0, NULL, NULL},
    {"TO:<>", true, 0, "", 0, NULL, NULL},
    {"TO:<ana@example.com> NOTIFY=NEVER ORCPT=rfc822;a+2Bb@x", true, 0, "ana@example.com", 2, "ORCPT",
     "rfc822;a+2Bb@x"},
    {"TO:<ana@example.com>  SMTPUTF8", true, 0, "ana@example.com", 1, "SMTPUTF8", NULL},
    {"TO:<ana@example.com> X=", true, 0, "ana@example.com", 1, "X", ""},
    {"TO:<ana@example.com> X=a=b", true, 0, "ana@example.com", 1, "X", "a=b"},
    {"TO:<@a.example,@b.example:ana@example.com>", true, 0, "ana@example.com", 0, NULL, NULL},
    {"TO:<\"a b\"@example.com>", true, 0, "a b@example.com", 0, NULL, NULL},
    {"TO:<\"a\\\"b\"@example.com>", true, 0, "a\"b@example.com", 0, NULL, NULL},
    {"TO:<\"a> X=1\"@example.com> Y=2", true, 0, "a> X=1@example.com", 1, "Y", "2"},
    {"TO:<a\\@b@example.com>", true, 0, "a@b@example.com", 0, NULL, NULL},
    {"TO:<ana@[IPv6:2001:db8::1]>", true, 0, "ana@[IPv6:2001:db8::1]", 0, NULL, NULL},
    {"TO: <ana@example.com>", false, 0, "ana@example.com", 0, NULL, NULL},
    {"TO: <ana@example.com>", true, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:ana@example.com", false, 0, "ana@example.com", 0, NULL, NULL},
    {"TO:ana@example.com NOTIFY=NEVER", false, 0, "ana@example.com", 1, "NOTIFY", "NEVER"},
    {"TO:ana@example.com", true, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:< ana@example.com >", false, 0, "ana@example.com", 0, NULL, NULL},
    {"TO:", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO: ", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"FROM:<a@b>", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<ana@example.com", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:ana@example.com>", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<ana@example.com>NOTIFY=NEVER", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<\"ana@example.com>", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<ana\\>", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:Ana <ana@example.com>", false, 0, "Ana", 1, "<ana@example.com>", NULL},
    {"TO:<(c)ana@example.com>", false, 0, "ana@example.com", 0, NULL, NULL},
    {"TO:<ana(c (d) e)@example.com>", false, 0, "ana@example.com", 0, NULL, NULL},
    {"TO:<ana@example.com(c)>", false, 0, "ana@example.com", 0, NULL, NULL},
    {"TO:<(c)ana@example.com>", true, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<ana@example.com(c)>", true, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<\"(c)\"@example.com>", true, 0, "(c)@example.com", 0, NULL, NULL},
    {"TO:<ana @ example.com>", false, 0, "ana@example.com", 0, NULL, NULL},
    {"TO:<ana @ example.com>", true, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<ana . b@example.com>", false, 0, "ana.b@example.com", 0, NULL, NULL},
    {"TO:<a b@example.com>", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<a(c)b@example.com>", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<a,b@example.com>", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<a;b@example.com>", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<\"a,b\"@example.com>", false, 0, "a,b@example.com", 0, NULL, NULL},
    {"TO:<\"@a.example\"@example.com>", true, 0, "@a.example@example.com", 0, NULL, NULL},
    {"TO:<\"a[b\"@example.com>", true, 0, "a[b@example.com", 0, NULL, NULL},
    {"TO:<[192.0.2.1]>", true, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<a[b@example.com>", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<ana@>", false, 0, "ana@", 0, NULL, NULL}, /* parameters decide about these two */
    {"TO:<ana@[192.0.2]>", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<ana@192.0.2.1>", false, 0, "ana@192.0.2.1", 0, NULL, NULL},
    {"TO:<ana@2001:db8::1>", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<ana@example.com..>", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<ana@-bad-.example>", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<ana@a..example>", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<ana@example.com.>", false, 0, "ana@example.com.", 0, NULL, NULL},
    {"TO:<ana@under_score.example>", false, 0, "ana@under_score.example", 0, NULL, NULL},
    {"TO:<@example.com>", false, 0, "@example.com", 0, NULL, NULL},
    {"TO:<@example.com>", true, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<ana>", true, 0, "ana", 0, NULL, NULL},
    {"TO:<(ana@example.com>", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<(ana@example.com)>", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<\"\">", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<a \"b\"@example.com>", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<(ana@example.com>", true, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
    {"TO:<ana@example.com> =x", false, GW_ERR_SYNTAX, NULL, 0, NULL, NULL},
};

static const struct {
    const char *text;
    size_t room;
    int r;
    const char *decoded;
} XTEXTS[] = {
    {"", 8, 0, ""},
    {"abc", 8, 0, "abc"},
    {"a+3Db", 8, 0, "a=b"},
    {"+2b", 8, 0, "+"},
    {"abc", 3, 0, "abc"},
    {"abcd", 3, GW_ERR_LIMIT, NULL},
    {"a+", 8, GW_ERR_SYNTAX, NULL},
    {"a+3", 8, GW_ERR_SYNTAX, NULL},
    {"a+3G", 8, GW_ERR_SYNTAX, NULL},
};

/* Behind the line's last byte lies memory that must not be read. */
static struct bytes
exact_copy(const char *text)
{
    size_t n = strlen(text);
    uint8_t *p = malloc(n > 0 ? n : 1);

    if (p == NULL) {
        exit(2);
    }
    memcpy(p, text, n);
    return bytes_of(p, n);
}

static void
test_lines(void)
{
    struct smtp_command command;

    for (size_t i = 0; i < sizeof(LINES) / sizeof(LINES[0]); i++) {
        struct bytes line = exact_copy(LINES[i].line);
        int r = smtp_command_parse(line, &command);

        CHECK(r == LINES[i].r, LINES[i].line);
        CHECK(command.verb == LINES[i].verb, LINES[i].line);
        CHECK(r != 0 || bytes_equal(command.argument, bytes_str(LINES[i].argument)), LINES[i].line);
        free((void *)(uintptr_t)line.p);
    }
    CHECK(smtp_command_parse(bytes_of("NOOP\0x", 6), &command) == GW_ERR_SYNTAX, "NUL");
    for (int verb = SMTP_UNKNOWN + 1; verb < SMTP_VERB_COUNT; verb++) {
        const char *name = smtp_verb_name((enum smtp_verb)verb);

        CHECK(smtp_command_parse(bytes_str(name), &command) == 0 && (int)command.verb == verb, name);
        CHECK(bytes_equal_nocase(bytes_str(name), bytes_str(smtp_verb_log_name((enum smtp_verb)verb))), name);
    }
    CHECK(strcmp(smtp_verb_log_name((enum smtp_verb)99), "unknown") == 0, "out of range");
}

static void
test_paths(void)
{
    struct smtp_command command;

    for (size_t i = 0; i < sizeof(PATHS) / sizeof(PATHS[0]); i++) {
        char line[256];

        (void)snprintf(line, sizeof(line), "RCPT %s", PATHS[i].argument);
        CHECK(smtp_command_parse(bytes_str(line), &command) == 0, line);
        int r = smtp_command_path(&command, BYTES_LIT("TO:"), PATHS[i].strict);
        CHECK(r == PATHS[i].r, line);
        if (r != 0) {
            continue;
        }
        CHECK(bytes_equal(command.path, bytes_str(PATHS[i].path)), line);
        CHECK(command.parameter_count == PATHS[i].parameters, line);
        if (PATHS[i].parameters > 0 && command.parameter_count == PATHS[i].parameters) {
            const struct smtp_parameter *last = &command.parameters[command.parameter_count - 1];

            CHECK(bytes_equal(last->name, bytes_str(PATHS[i].name)), line);
            CHECK((last->value.p == NULL) == (PATHS[i].value == NULL), line);
            CHECK(bytes_equal(last->value, bytes_str(PATHS[i].value)), line);
        }
    }
}

static void
test_limits(void)
{
    struct smtp_command command;
    struct buf line;

    buf_init(&line, 65536);
    for (size_t n = SMTP_PATH_MAX; n <= SMTP_PATH_MAX + 1; n++) {
        buf_clear(&line);
        (void)buf_append_str(&line, "RCPT TO:<");
        for (size_t i = 0; i < n; i++) {
            (void)buf_append_byte(&line, 'a');
        }
        (void)buf_append_byte(&line, '>');
        CHECK(smtp_command_parse(bytes_buf(&line), &command) == 0, "long path");
        CHECK(smtp_command_path(&command, BYTES_LIT("TO:"), false) == (n <= SMTP_PATH_MAX ? 0 : GW_ERR_LIMIT),
              "long path");
    }
    for (size_t n = SMTP_PARAMETERS_MAX; n <= SMTP_PARAMETERS_MAX + 1; n++) {
        buf_clear(&line);
        (void)buf_append_str(&line, "XFORWARD");
        for (size_t i = 0; i < n; i++) {
            (void)buf_printf(&line, " A%zu=%zu", i, i);
        }
        CHECK(smtp_command_parse(bytes_buf(&line), &command) == 0, "many attributes");
        CHECK(smtp_command_attributes(&command) == (n <= SMTP_PARAMETERS_MAX ? 0 : GW_ERR_LIMIT), "many");
    }
    buf_free(&line);
}

static void
test_xtext(void)
{
    for (size_t i = 0; i < sizeof(XTEXTS) / sizeof(XTEXTS[0]); i++) {
        uint8_t out[8];
        size_t n = 99;
        int r = xtext_decode(bytes_str(XTEXTS[i].text), out, XTEXTS[i].room, &n);

        CHECK(r == XTEXTS[i].r, XTEXTS[i].text);
        CHECK(r == 0 ? bytes_equal(bytes_of(out, n), bytes_str(XTEXTS[i].decoded)) : n == 0, XTEXTS[i].text);
    }
}

int
main(void)
{
    CHECK(IPC_RULES[0].type != 0, "links the table of messages, which base needs and message holds");
    test_lines();
    test_paths();
    test_limits();
    test_xtext();
    return failures != 0;
}

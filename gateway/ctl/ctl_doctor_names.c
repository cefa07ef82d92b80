/*
 * ctl_doctor_names - what loading main.cf told, as findings: misspelt names, comments behind values, blanks.
 *
 * Before: ctl_doctor.c with the lines of config_load(); after: nobody. The texts are config.c's and
 * config_warn.c's; a line that no row knows is a finding all the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl_doctor_private.h"

/* Which line belongs to which rule: the first text that it holds. */
static const struct {
    const char *text, *rule;
} LINES[] = {
    {"; taken as ", "misspelt-name"},
    {"nombre_servicio_time_limit", "misspelt-name"},
    {"unused parameter: ", "unused-name"},
    {"#comment after", "comment-behind-value"},
    {" is blank; ", "blank-value"},
    {"a blank between $", "blank-value"},
    {"overriding earlier entry", "set-twice"},
    {" protects nothing here", "idle-guard"},
    {"accepted without effect", "without-effect"},
    {"no compatibility_level", "old-defaults"},
    {"using backwards-compatible default", "old-defaults"},
    {": unknown program ", "unknown-program"},
    {"must be a single process", "single-service"},
    {"cannot run chrooted", "unfit-column"},
    {"unprivileged column", "unfit-column"},
    {"; the later one counts", "repeated-row"},
    {" is called ", "former-program"},
    {"unexpected command-line argument", "unused-argument"},
};

static const char *const MARKS[] = {": warning: ", ": error: "};

static const char *
rule_of(struct bytes line)
{
    for (size_t i = 0; i < sizeof(LINES) / sizeof(LINES[0]); i++) {
        if (bytes_find(line, bytes_str(LINES[i].text)) >= 0) {
            return LINES[i].rule;
        }
    }
    return "other-warning";
}

/* "FILE:LINE: text", "FILE: text": where the first colon with a blank behind it is. A line without a file is
 * all text.
 */
static void
tell_line(struct doctor *doctor, struct bytes line)
{
    ptrdiff_t colon = line.n > 0 && line.p[0] == '/' ? bytes_find(line, BYTES_LIT(": ")) : -1;
    char where[DOCTOR_PATH_MAX];
    struct bytes text = line;

    where[0] = '\0';
    if (colon > 0) {
        (void)snprintf(where, sizeof(where), "%.*s", (int)colon, (const char *)line.p);
        text = bytes_sub(line, (size_t)colon + 2, line.n);
    }
    for (size_t i = 0; i < sizeof(MARKS) / sizeof(MARKS[0]); i++) {
        size_t n = strlen(MARKS[i]) - 2;

        if (bytes_has_prefix_nocase(text, bytes_of(MARKS[i] + 2, n))) {
            text = bytes_sub(text, n, text.n);
        }
    }
    doctor_tell(doctor, where[0] != '\0' ? where : NULL, "%.*s", BYTES_FMT(text));
}

/* What does not keep the gateway down: warnings, and errors of rows that are left out. */
static bool
is_survived(struct bytes line)
{
    return bytes_find(line, bytes_str(MARKS[0])) >= 0 || bytes_find(line, bytes_str(MARKS[1])) >= 0;
}

static void
tell_lines(struct doctor *doctor)
{
    struct bytes rest = doctor->said, line;

    while (bytes_next_line(&rest, &line)) {
        if (line.n > 0 && is_survived(line) && strcmp(rule_of(line), doctor->rule->id) == 0) {
            tell_line(doctor, line);
        }
    }
}

static void
tell_mistakes(struct doctor *doctor)
{
    struct bytes texts[] = {doctor->said, doctor->refused}, line;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        while (bytes_next_line(&texts[i], &line)) {
            if (line.n > 0 && !is_survived(line)) {
                tell_line(doctor, line);
            }
        }
    }
}

const struct doctor_rule DOCTOR_NAMES[] = {
    {"does-not-start", DOCTOR_ERROR, "CFG9", "The gateway cannot start with this", tell_mistakes,
     "correct what the text names", true},
    {"misspelt-name", DOCTOR_WARNING, "D7 CFG6", "A misspelt or former name of a parameter", tell_lines,
     "write the right name: Postfix ignores this one", true},
    {"unused-name", DOCTOR_WARNING, "CFG9", "A name that nothing uses", tell_lines,
     "correct or remove it: it has no effect", true},
    {"comment-behind-value", DOCTOR_WARNING, "D8 CFG4", "A comment behind a value", tell_lines,
     "move the comment to a line of its own: in Postfix its words are part of the value", true},
    {"blank-value", DOCTOR_WARNING, "D8 PAR1 SCE22", "A value that was left blank", tell_lines,
     "give it a value, or remove the line: Postfix does not start with it", true},
    {"set-twice", DOCTOR_WARNING, "CFG1", "A parameter is set twice", tell_lines, "remove one of the lines",
     true},
    {"idle-guard", DOCTOR_WARNING, "", "A guard that this version does not have", tell_lines,
     "remove it, and use what the text names", true},
    {"without-effect", DOCTOR_NOTE, "", "A parameter that this version accepts without effect", tell_lines,
     "do not rely on it", true},
    {"old-defaults", DOCTOR_NOTE, "D5 CFG8", "Defaults of another age", tell_lines,
     "set those that you want to keep, then compatibility_level = 3.6", true},
    {"unknown-program", DOCTOR_ERROR, "MST11", "A row names a program that does not exist", tell_lines,
     "correct the last column; estafeta import --repair shows rows that a document broke", true},
    {"single-service", DOCTOR_WARNING, "MST10", "More than one process of a service that runs once",
     tell_lines, "write 1 in the column maxproc", true},
    {"unfit-column", DOCTOR_WARNING, "CHR1", "A right or a root that the program cannot have", tell_lines,
     "write n in the column", true},
    {"repeated-row", DOCTOR_WARNING, "", "A row of master.cf stands twice", tell_lines, "remove one of them",
     true},
    {"former-program", DOCTOR_NOTE, "", "A former name of a program", tell_lines, "write the name of today",
     true},
    {"unused-argument", DOCTOR_WARNING, "", "A word behind a program that takes none", tell_lines,
     "write -o before a setting, or remove the word", true},
    {"other-warning", DOCTOR_WARNING, "", "A warning of the configuration's reader", tell_lines,
     "see the text of the warning", true},
    {NULL, DOCTOR_NOTE, NULL, NULL, NULL, NULL, false},
};

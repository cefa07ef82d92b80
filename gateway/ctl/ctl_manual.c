/*
 * ctl_manual - see the header. Before: the build, which writes the page, or an operator; after: PARAMS alone,
 * so that the page cannot say anything else than the parser does.
 *
 * One section for each status: parameters with their effect, those accepted without (and why), former names.
 * A row is the name, its default and type, what it does and which roles read it.
 */
#include "ctl/ctl_manual.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "config/params.h"

static const char *const TYPE_WORDS[] = {
    [PARAM_STR] = "text",   [PARAM_RAW] = "text, not expanded",
    [PARAM_INT] = "number", [PARAM_BOOL] = "yes or no",
    [PARAM_TIME] = "time",  [PARAM_SIZE] = "bytes",
};

static const struct {
    enum param_status status;
    const char *title, *text;
} SECTIONS[] = {
    {PARAM_LIVE, "PARAMETERS", "These have their effect."},
    {PARAM_IDLE, "ACCEPTED WITHOUT EFFECT",
     "These load, so that a configuration made for Postfix does; each says why nothing follows from it.\n"
     ".Nm estafeta check\nnames those that are set."},
    {PARAM_OLD, "FORMER NAMES", "Names of older guides, with the effect they had."},
};

/* Text for mdoc: a backslash is escaped, and no line begins as a request. */
static void
put_text(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '\\') {
            (void)fputs("\\e", stdout);
        } else if ((*p == '.' || *p == '\'') && (p == text || p[-1] == '\n')) {
            (void)printf("\\&%c", *p);
        } else {
            (void)putchar(*p);
        }
    }
}

static void
put_row(const struct param_row *row)
{
    (void)fputs(".It Ic ", stdout);
    put_text(row->name);
    (void)fputs("\n(default: ", stdout);
    put_text(row->value[0] != '\0' ? row->value : "empty");
    (void)printf("; %s", TYPE_WORDS[row->type]);
    if (row->min != 0 || row->max != 0) {
        (void)printf(" from %lld to %lld", (long long)row->min, (long long)row->max);
    }
    (void)fputs(")\n.br\n", stdout);
    put_text(row->description);
    if (row->status == PARAM_LIVE) {
        (void)fputs(".\nRead by: ", stdout);
        put_text(row->roles);
    }
    (void)fputs(".\n", stdout);
}

static void
put_page(void)
{
    (void)fputs(
        ".Dd 2026\n.Dt MAIN.CF 5\n.Os Estafeta\n.Sh NAME\n.Nm main.cf\n.Nd parameters of Estafeta\n"
        ".Sh DESCRIPTION\n"
        "A line is\n.Dq name = value ;\na line that begins with a blank goes on with the one before, and one "
        "that begins with\n.Dq #\nis a comment.\n"
        "Values may refer to others as $name, ${name}, ${name?text} and ${name:text}, and to names of one's "
        "own.\nTimes have the units s, m, h, d, w.\n"
        "Where Postfix has a parameter of the name, the meaning and the default are Postfix 3.7's; defaults "
        "that depend on\n.Ic compatibility_level\nare printed as postconf -d prints them.\n",
        stdout);
    for (size_t s = 0; s < sizeof(SECTIONS) / sizeof(SECTIONS[0]); s++) {
        (void)printf(".Sh %s\n%s\n.Bl -tag -width indent\n", SECTIONS[s].title, SECTIONS[s].text);
        for (int i = 0; i < PARAM_COUNT; i++) {
            if (PARAMS[i].status == SECTIONS[s].status) {
                put_row(&PARAMS[i]);
            }
        }
        (void)fputs(".El\n", stdout);
    }
    (void)fputs(".Sh SEE ALSO\n.Xr estafeta 8\n", stdout);
}

int
ctl_manual(int argc, char **argv)
{
    if (argc != 2 || strcmp(argv[1], "parameters") != 0) {
        (void)fputs("usage: estafeta manual parameters\n", stderr);
        return EX_USAGE;
    }
    put_page();
    return fflush(stdout) == 0 && ferror(stdout) == 0 ? 0 : EX_IOERR;
}

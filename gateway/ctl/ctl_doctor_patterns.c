/*
 * ctl_doctor_patterns - rules of regexp:, pcre: and cidr: tables that load and match something else, or
 * nothing.
 *
 * Before: ctl_doctor.c; after: the rules as ctl_doctor_source.c reads them. Nothing here judges what a rule
 * is for: only what its expression says against what a reader would take it for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/net.h"
#include "ctl/ctl_doctor_private.h"

enum { PATTERN_ROOM = 400, RULES_MAX = 2000 };

struct rule_text {
    char *pattern, *flags;
    int line;
    unsigned depth; /* conditions around it, those of the rule that is looked at now or fewer */
};

/* One table's walk. */
struct walk {
    struct doctor *doctor;
    const struct doctor_table *table;
    struct rule_text *seen; /* unconditional rules so far */
    size_t seen_count;
    bool is_body, is_header;
    bool sees_parts; /* body rules see the headers of MIME parts */
};

static bool
starts_with(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static void
walk_tables(struct doctor *doctor, doctor_pattern_visitor *visit)
{
    for (size_t i = 0; i < doctor->table_count; i++) {
        const struct doctor_table *table = &doctor->tables[i];
        struct walk walk = {.doctor = doctor,
                            .table = table,
                            .is_body = table->param == P_body_checks,
                            .is_header = strstr(table->setting, "header_checks") != NULL};

        walk.sees_parts = strcmp(config_str(table->view, P_body_checks_mime_headers), "no") != 0;
        if (doctor_is_pattern(table) && table->path != NULL) {
            doctor_patterns(table->path, visit, &walk);
        }
        for (size_t k = 0; k < walk.seen_count; k++) {
            free(walk.seen[k].pattern);
            free(walk.seen[k].flags);
        }
        free(walk.seen);
    }
}

static char *
where_of(const struct walk *walk, const struct doctor_pattern *pattern)
{
    return doctor_where_line(walk->table->path, pattern->line);
}

/* --- flag-i: D1 --- */

static bool
look_for_flag(void *context, const struct doctor_pattern *pattern)
{
    struct walk *walk = context;

    if (bytes_index(pattern->flags, 'i') >= 0) {
        char *where = where_of(walk, pattern);

        doctor_tell(
            walk->doctor, where,
            "flag i turns case-insensitivity off, it is on by default: /%.*s/ matches these letters in "
            "this case only",
            BYTES_FMT(pattern->pattern));
        free(where);
    }
    return true;
}

static void
find_flags(struct doctor *doctor)
{
    walk_tables(doctor, look_for_flag);
}

/* --- part-header-in-body: D2 --- */

static bool
names_attachment(struct bytes pattern)
{
    return bytes_find(pattern, BYTES_LIT("name=")) >= 0 || bytes_find(pattern, BYTES_LIT("name)=")) >= 0 ||
           bytes_find(pattern, BYTES_LIT("name?=")) >= 0 || bytes_find(pattern, BYTES_LIT("name\\s*=")) >= 0;
}

static bool
look_for_part_header(void *context, const struct doctor_pattern *pattern)
{
    struct walk *walk = context;

    if (!walk->is_body || !names_attachment(pattern->pattern)) {
        return walk->is_body;
    }
    char *where = where_of(walk, pattern);
    walk->doctor->severity = walk->sees_parts ? DOCTOR_NOTE : DOCTOR_WARNING;
    doctor_tell(
        walk->doctor, where,
        "/%.*s/ looks for the name of an attachment, which stands in the header of a MIME part and not in "
        "the body; %s",
        BYTES_FMT(pattern->pattern),
        walk->sees_parts ? "body_checks are shown part headers here because of it, Postfix never does"
                         : "with body_checks_mime_headers = no it never matches");
    free(where);
    return true;
}

static void
find_part_headers(struct doctor *doctor)
{
    walk_tables(doctor, look_for_part_header);
}

/* --- header-in-body --- */

static bool
look_for_header(void *context, const struct doctor_pattern *pattern)
{
    static const char *const NAMES[] = {
        "^from:",     "^to:",       "^cc:",       "^subject:",    "^date:",       "^sender:",
        "^reply-to:", "^received:", "^x-mailer:", "^message-id:", "^return-path:"};
    struct walk *walk = context;

    for (size_t i = 0; walk->is_body && i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        if (bytes_has_prefix_nocase(pattern->pattern, bytes_str(NAMES[i]))) {
            char *where = where_of(walk, pattern);

            doctor_tell(
                walk->doctor, where,
                "/%.*s/ is a pattern for header lines, and body_checks never see the message's header",
                BYTES_FMT(pattern->pattern));
            free(where);
        }
    }
    return walk->is_body;
}

static void
find_headers(struct doctor *doctor)
{
    walk_tables(doctor, look_for_header);
}

/* --- literal-star: D11 --- */

static bool
is_address_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_' || c == '\\';
}

/* "^to: *amigo@": a header name, a repeated blank, and at once an address without anything that repeats. */
static bool
is_anchored_address(struct bytes pattern)
{
    ptrdiff_t star = bytes_find(pattern, BYTES_LIT(": *"));
    size_t i = star < 0 ? 0 : (size_t)star + 3;

    if (pattern.n == 0 || pattern.p[0] != '^' || star < 0) {
        return false;
    }
    size_t from = i;
    while (i < pattern.n && is_address_byte(pattern.p[i])) {
        i++;
    }
    return i > from && i < pattern.n && pattern.p[i] == '@';
}

static bool
look_for_star(void *context, const struct doctor_pattern *pattern)
{
    struct walk *walk = context;

    if (is_anchored_address(pattern->pattern)) {
        char *where = where_of(walk, pattern);

        doctor_tell(
            walk->doctor, where,
            "/%.*s/ matches where the address begins right behind the colon: \" *\" repeats the blank, "
            "it does not stand for any text; longer addresses (xname@) and \"Name <address>\" pass",
            BYTES_FMT(pattern->pattern));
        free(where);
    } else if (pattern->pattern.n > 1 && pattern->pattern.p[0] == '*') {
        char *where = where_of(walk, pattern);

        doctor_tell(walk->doctor, where,
                    "/%.*s/ begins with \"*\", which repeats what stands before it, and nothing does",
                    BYTES_FMT(pattern->pattern));
        free(where);
    }
    return true;
}

static void
find_stars(struct doctor *doctor)
{
    walk_tables(doctor, look_for_star);
}

/* --- unreachable-rule --- */

static bool
matches_all(const char *pattern)
{
    static const char *const ALL[] = {"", ".", "^", ".*", "^.", "^.*", "^.*$", ".*$", "$", "^(.*)$", "(.*)"};

    for (size_t i = 0; i < sizeof(ALL) / sizeof(ALL[0]); i++) {
        if (strcmp(pattern, ALL[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool
is_literal(const char *pattern)
{
    return strpbrk(pattern, "\\.[](){}*+?|$^") == NULL;
}

/* Whether all that `later` can match `earlier` matches, as far as their texts tell. */
static bool
covers(const struct rule_text *earlier, const char *later, const char *later_flags)
{
    const char *first = earlier->pattern;

    if (matches_all(first)) {
        return true;
    }
    if (strcmp(earlier->flags, later_flags) != 0) {
        return false;
    }
    if (strcmp(first, later) == 0) {
        return true;
    }
    if (first[0] == '^' && later[0] == '^') {
        return is_literal(first + 1) && is_literal(later + 1) && starts_with(later, first);
    }
    const char *rest = later[0] == '^' ? later + 1 : later;
    return is_literal(first) && is_literal(rest) &&
           (strchr(later_flags, 'i') != NULL ? strstr(rest, first) : strcasestr(rest, first)) != NULL;
}

static const struct rule_text *
find_cover(const struct walk *walk, const char *pattern, const char *flags)
{
    for (size_t i = 0; i < walk->seen_count; i++) {
        if (covers(&walk->seen[i], pattern, flags)) {
            return &walk->seen[i];
        }
    }
    return NULL;
}

/* Rules of conditions that have ended say nothing about what follows. */
static void
leave_conditions(struct walk *walk, unsigned depth)
{
    while (walk->seen_count > 0 && walk->seen[walk->seen_count - 1].depth > depth) {
        walk->seen_count--;
        free(walk->seen[walk->seen_count].pattern);
        free(walk->seen[walk->seen_count].flags);
    }
}

static bool
remember(struct walk *walk, struct rule_text *text)
{
    struct rule_text *grown =
        walk->seen_count >= RULES_MAX ? NULL : realloc(walk->seen, (walk->seen_count + 1) * sizeof(*grown));

    if (grown == NULL) {
        return false;
    }
    walk->seen = grown;
    walk->seen[walk->seen_count++] = *text;
    *text = (struct rule_text){0}; /* transferred */
    return true;
}

static bool
look_for_cover(void *context, const struct doctor_pattern *pattern)
{
    struct walk *walk = context;
    bool goes_on = false;

    leave_conditions(walk, pattern->depth);
    if (pattern->negated || pattern->is_condition) {
        return true;
    }
    struct rule_text text = {bytes_dup_str(pattern->pattern), bytes_dup_str(pattern->flags), pattern->line,
                             pattern->depth};
    if (text.pattern != NULL && text.flags != NULL) {
        const struct rule_text *cover = find_cover(walk, text.pattern, text.flags);

        if (cover != NULL) {
            char *where = where_of(walk, pattern);

            doctor_tell(walk->doctor, where, "/%s/ is never reached: /%s/ in line %d matches all of it first",
                        text.pattern, cover->pattern, cover->line);
            free(where);
        }
        goes_on = remember(walk, &text);
    }
    free(text.pattern);
    free(text.flags);
    return goes_on;
}

/* cidr: the first network that has the address answers. */
struct networks {
    struct doctor *doctor;
    const struct doctor_table *table;
    struct net_prefix seen[RULES_MAX];
    int lines[RULES_MAX];
    size_t count;
};

static bool
look_at_network(void *context, struct bytes key, struct bytes value, int line)
{
    struct networks *networks = context;
    struct net_prefix prefix;
    char text[PATTERN_ROOM];

    (void)value;
    if (net_prefix_parse(key, &prefix) != 0) {
        return false; /* conditions: what follows hangs on them */
    }
    for (size_t i = 0; i < networks->count; i++) {
        const struct net_prefix *earlier = &networks->seen[i];

        if (earlier->bits <= prefix.bits && net_prefix_has(earlier, &prefix.base)) {
            char *where = doctor_where_line(networks->table->path, line);

            net_addr_format(&earlier->base, text);
            doctor_tell(networks->doctor, where, "%.*s is never reached: line %d has %s/%u, which holds it",
                        BYTES_FMT(key), networks->lines[i], text, (unsigned)earlier->bits);
            free(where);
            break;
        }
    }
    networks->seen[networks->count] = prefix;
    networks->lines[networks->count++] = line;
    return networks->count < RULES_MAX;
}

static void
find_covered(struct doctor *doctor)
{
    struct networks *networks = calloc(1, sizeof(*networks));

    walk_tables(doctor, look_for_cover);
    for (size_t i = 0; networks != NULL && i < doctor->table_count; i++) {
        if (strcmp(doctor->tables[i].type, "cidr") == 0) {
            networks->doctor = doctor;
            networks->table = &doctor->tables[i];
            networks->count = 0;
            doctor_entries(doctor->tables[i].path, look_at_network, networks);
        }
    }
    free(networks);
}

/* --- unknown-action --- */

static bool
look_for_action(void *context, const struct doctor_pattern *pattern)
{
    static const char *const ACTIONS[] = {"REJECT",  "WARN",    "HOLD",     "DISCARD", "FILTER",
                                          "PREPEND", "REPLACE", "REDIRECT", "STRIP",   "PASS",
                                          "INFO",    "BCC",     "DUNNO",    "IGNORE",  "OK"};
    struct walk *walk = context;
    struct bytes rest = pattern->result, word = {0};
    bool known = false;

    if (pattern->is_condition || (!walk->is_body && !walk->is_header) || pattern->result.n == 0) {
        return walk->is_body || walk->is_header;
    }
    (void)bytes_next_token(&rest, " \t", &word);
    for (size_t i = 0; i < sizeof(ACTIONS) / sizeof(ACTIONS[0]) && !known; i++) {
        known = bytes_equal_nocase(word, bytes_str(ACTIONS[i]));
    }
    if (!known) {
        char *where = where_of(walk, pattern);

        doctor_tell(walk->doctor, where, "\"%.*s\" is no action of %s: the rule does nothing",
                    BYTES_FMT(word), walk->table->setting);
        free(where);
    }
    return true;
}

static void
find_actions(struct doctor *doctor)
{
    walk_tables(doctor, look_for_action);
}

const struct doctor_rule DOCTOR_PATTERNS[] = {
    {"flag-i", DOCTOR_WARNING, "D1", "Flag i makes a pattern case-sensitive", find_flags,
     "remove the flag i: letters match in both cases without it", false},
    {"part-header-in-body", DOCTOR_WARNING, "D2 HBC3", "A body rule looks for a part's header",
     find_part_headers, "move the rule to mime_header_checks, or name what is banned in banned_name_checks",
     false},
    {"header-in-body", DOCTOR_WARNING, "", "A body rule looks for the message's header", find_headers,
     "move the rule to header_checks", false},
    {"literal-star", DOCTOR_WARNING, "D11 HBC9", "\"*\" taken for \"any text\"", find_stars,
     "write \".*\" where any text may stand", false},
    {"unreachable-rule", DOCTOR_WARNING, "", "An earlier rule matches all that this one could", find_covered,
     "move the narrower rule to the front, or remove it", false},
    {"unknown-action", DOCTOR_WARNING, "HBC13", "A rule whose result is no action", find_actions,
     "write one of the actions of header_checks(5), such as REJECT", false},
    {NULL, DOCTOR_NOTE, NULL, NULL, NULL, NULL, false},
};

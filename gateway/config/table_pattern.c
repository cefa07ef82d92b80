/*
 * table_pattern - regexp:, pcre: and cidr: tables: rules in order, the first that matches answers.
 *
 * Rules: "/pattern/flags result", "!/pattern/flags result", "if /pattern/flags" ... "endif". Flags toggle, as
 * in Postfix: "i" turns case-insensitivity off, which is on by default. regexp: is POSIX extended
 * (regcomp(3)), pcre: is PCRE2 with JIT and match limits. $1, ${1}, $(1) in the result stand for what the
 * parentheses matched.
 */
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"
#include "base/log.h"
#include "config/main_cf.h"
#include "config/table_type.h"

enum {
    RULES_MAX = 100000,
    GROUPS_MAX = 32,
    NESTING_MAX = 32,
    PCRE_MATCH_LIMIT = 100000,
    PCRE_DEPTH_LIMIT = 5000,
    KEY_TEXT_MAX = 65536,
};

enum kind { KIND_REGEXP, KIND_PCRE, KIND_CIDR };
enum rule_type { RULE_MATCH, RULE_IF, RULE_ENDIF };

struct rule {
    enum rule_type type;
    bool negated;
    unsigned line;
    size_t skip_to; /* of an "if": the rule behind its "endif" */
    char *result;
    bool compiled;
    regex_t posix;
    pcre2_code *pcre;
    struct net_prefix network;
};

struct rules {
    enum kind kind;
    struct rule *rules;
    size_t count;
    size_t open_ifs[NESTING_MAX];
    size_t depth;
    struct buf *error;
    bool skip_broken; /* TABLE_SKIP_BROKEN */
    const char *path;
    char *name;
    pcre2_match_context *limits;
};

/* What a rule matched in the key. */
struct groups {
    struct bytes text[GROUPS_MAX];
    size_t count;
};

static void
free_rule(const struct rules *rules, struct rule *rule)
{
    if (rule->compiled && rules->kind == KIND_REGEXP) {
        regfree(&rule->posix);
    }
    pcre2_code_free(rule->pcre);
    free(rule->result);
}

static void
close_rules(void *state)
{
    struct rules *rules = state;

    for (size_t i = 0; i < rules->count; i++) {
        free_rule(rules, &rules->rules[i]);
    }
    pcre2_match_context_free(rules->limits);
    free(rules->rules);
    free(rules->name);
    free(rules);
}

static int
complain(struct rules *rules, int line, const char *what)
{
    (void)buf_printf(rules->error, "%s:%d: %s", rules->path, line, what);
    return GW_ERR_CONFIG;
}

static int
compile_posix(struct rules *rules, struct rule *rule, const char *pattern, struct bytes flags)
{
    int options = REG_EXTENDED | REG_ICASE;
    char reason[256];

    for (size_t i = 0; i < flags.n; i++) {
        switch (flags.p[i]) {
        case 'i':
            options ^= REG_ICASE;
            break;
        case 'm':
            options ^= REG_NEWLINE;
            break;
        case 'x':
            options ^= REG_EXTENDED;
            break;
        default:
            return complain(rules, (int)rule->line, "unknown regexp flag; use i, m or x");
        }
    }
    int error = regcomp(&rule->posix, pattern, options);
    if (error != 0) {
        (void)regerror(error, &rule->posix, reason, sizeof(reason));
        return complain(rules, (int)rule->line, reason);
    }
    rule->compiled = true;
    return 0;
}

static int
compile_pcre(struct rules *rules, struct rule *rule, const char *pattern, struct bytes flags)
{
    static const struct {
        uint8_t flag;
        uint32_t option;
    } FLAGS[] = {
        {'i', PCRE2_CASELESS}, {'m', PCRE2_MULTILINE},      {'s', PCRE2_DOTALL},   {'x', PCRE2_EXTENDED},
        {'A', PCRE2_ANCHORED}, {'E', PCRE2_DOLLAR_ENDONLY}, {'U', PCRE2_UNGREEDY}, {'X', 0}};
    uint32_t options = PCRE2_CASELESS | PCRE2_DOTALL;
    PCRE2_SIZE at;
    int error;

    for (size_t i = 0; i < flags.n; i++) {
        bool known = false;

        for (size_t k = 0; k < sizeof(FLAGS) / sizeof(FLAGS[0]); k++) {
            if (FLAGS[k].flag == flags.p[i]) {
                options ^= FLAGS[k].option;
                known = true;
            }
        }
        if (!known) {
            return complain(rules, (int)rule->line, "unknown pcre flag; use i, m, s, x, A, E, U or X");
        }
    }
    rule->pcre = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &error, &at, NULL);
    if (rule->pcre == NULL) {
        PCRE2_UCHAR reason[256];

        (void)pcre2_get_error_message(error, reason, sizeof(reason));
        return complain(rules, (int)rule->line, (const char *)reason);
    }
    (void)pcre2_jit_compile(rule->pcre, PCRE2_JIT_COMPLETE);
    rule->compiled = true;
    return 0;
}

/* "/pattern/flags" at the start of *rest: any delimiter, a backslash keeps it from ending the pattern. */
static int
take_pattern(struct rules *rules, struct rule *rule, struct bytes *rest)
{
    struct buf pattern;
    size_t i = 1;
    int r = 0;

    if (rest->n < 2) {
        return complain(rules, (int)rule->line, "a pattern is missing; write /pattern/ result");
    }
    uint8_t delimiter = rest->p[0];
    buf_init(&pattern, KEY_TEXT_MAX);
    for (; i < rest->n && rest->p[i] != delimiter && r == 0; i++) {
        if (rest->p[i] == '\\' && i + 1 < rest->n) {
            if (rest->p[i + 1] == delimiter) {
                i++;
            } else {
                r = buf_append_byte(&pattern, rest->p[i++]);
            }
        }
        r = r == 0 ? buf_append_byte(&pattern, rest->p[i]) : r;
    }
    if (r != 0 || i >= rest->n) {
        buf_free(&pattern);
        return complain(rules, (int)rule->line, "no closing delimiter of the pattern");
    }
    size_t flags = i + 1, end = flags;
    while (end < rest->n && rest->p[end] != ' ' && rest->p[end] != '\t') {
        end++;
    }
    struct bytes words = bytes_sub(*rest, flags, end - flags);
    r = rules->kind == KIND_PCRE ? compile_pcre(rules, rule, buf_str(&pattern), words)
                                 : compile_posix(rules, rule, buf_str(&pattern), words);
    buf_free(&pattern);
    *rest = bytes_trim(bytes_sub(*rest, end, rest->n));
    return r;
}

static int
take_network(struct rules *rules, struct rule *rule, struct bytes *rest)
{
    size_t n = 0;

    while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\t') {
        n++;
    }
    if (net_prefix_parse(bytes_sub(*rest, 0, n), &rule->network) != 0) {
        return complain(rules, (int)rule->line, "bad network; write address/bits with the host bits zero");
    }
    *rest = bytes_trim(bytes_sub(*rest, n, rest->n));
    return 0;
}

static struct rule *
add_rule(struct rules *rules, unsigned line)
{
    struct rule *grown =
        rules->count >= RULES_MAX ? NULL : realloc(rules->rules, (rules->count + 1) * sizeof(*grown));

    if (grown == NULL) {
        return NULL;
    }
    rules->rules = grown;
    grown[rules->count] = (struct rule){.line = line};
    return &grown[rules->count++];
}

static int
close_if(struct rules *rules, struct rule *rule)
{
    if (rules->depth == 0) {
        return complain(rules, (int)rule->line, "endif without if");
    }
    rule->type = RULE_ENDIF;
    rules->rules[rules->open_ifs[--rules->depth]].skip_to = rules->count;
    return 0;
}

/* $1 in a result needs a first pair of parentheses, and a match. */
static int
check_result(struct rules *rules, const struct rule *rule)
{
    uint32_t groups = 0;

    if (rules->kind == KIND_REGEXP) {
        groups = (uint32_t)rule->posix.re_nsub;
    } else if (rules->kind == KIND_PCRE) {
        (void)pcre2_pattern_info(rule->pcre, PCRE2_INFO_CAPTURECOUNT, &groups);
    } else {
        return 0;
    }
    for (const char *p = strchr(rule->result, '$'); p != NULL; p = strchr(p, '$')) {
        const char *digits = p + 1 + (p[1] == '{' || p[1] == '(');

        p += p[1] == '$' ? 2 : 1;
        if (*digits < '0' || *digits > '9') {
            continue;
        }
        if (rule->negated) {
            return complain(rules, (int)rule->line, "$number found in negative match replacement text");
        }
        if (strtoul(digits, NULL, 10) > groups) {
            return complain(rules, (int)rule->line, "out of range replacement index");
        }
    }
    return 0;
}

static int
parse_line(struct rules *rules, struct bytes line, int number)
{
    struct rule *rule = add_rule(rules, (unsigned)number);
    int r;

    if (rule == NULL) {
        return complain(rules, number, "too many rules");
    }
    if (bytes_equal_nocase(line, BYTES_LIT("endif"))) {
        return close_if(rules, rule);
    }
    if (bytes_has_prefix_nocase(line, BYTES_LIT("if")) && line.n > 2 &&
        (line.p[2] == ' ' || line.p[2] == '\t')) {
        if (rules->depth >= NESTING_MAX) {
            return complain(rules, number, "if nested too deeply");
        }
        rule->type = RULE_IF;
        rules->open_ifs[rules->depth++] = rules->count - 1;
        line = bytes_trim(bytes_sub(line, 2, line.n));
    }
    if (line.n > 0 && line.p[0] == '!') {
        rule->negated = true;
        line = bytes_trim(bytes_sub(line, 1, line.n));
    }
    r = rules->kind == KIND_CIDR ? take_network(rules, rule, &line) : take_pattern(rules, rule, &line);
    if (r != 0 || rule->type == RULE_IF) {
        return r;
    }
    rule->result = bytes_dup_str(line);
    return rule->result == NULL ? GW_ERR_NOMEM : check_result(rules, rule);
}

/* Without the rule that is broken the table says less than its author meant: only where that is asked for. */
static int
take_line(void *context, struct bytes line, int number)
{
    struct rules *rules = context;
    size_t count = rules->count, depth = rules->depth, told = rules->error->n;
    int r = parse_line(rules, line, number);

    if (r != GW_ERR_CONFIG || !rules->skip_broken) {
        return r;
    }
    log_warning("table", "%s; this line is left out", buf_str(rules->error) + told);
    buf_truncate(rules->error, told);
    if (rules->count > count) {
        free_rule(rules, &rules->rules[count]);
        rules->count = count;
    }
    rules->depth = depth;
    return 0;
}

static int
close_last_ifs(struct rules *rules)
{
    while (rules->depth > 0) {
        struct rule *rule = &rules->rules[rules->open_ifs[--rules->depth]];

        if (!rules->skip_broken) {
            return complain(rules, (int)rule->line, "if without endif");
        }
        log_warning("table", "%s:%u: if without endif", rules->path, rule->line);
        rule->skip_to = rules->count;
    }
    return 0;
}

/* "regexp:{ {/pattern/ result}, ... }": each inner group is a line. */
static int
take_inline(struct rules *rules, struct bytes rest)
{
    int number = 0, r = 0;

    while (r == 0 && (rest = bytes_trim(rest)).n > 0) {
        size_t depth = 0, i = 0;

        if (rest.p[0] == ',') {
            rest = bytes_sub(rest, 1, rest.n);
            continue;
        }
        for (; i < rest.n; i++) {
            depth += rest.p[i] == '{';
            depth -= rest.p[i] == '}' && depth > 0;
            if (depth == 0) {
                break;
            }
        }
        r = rest.p[0] != '{' || i >= rest.n
                ? complain(rules, 0, "bad syntax; write { {/pattern/ result}, ... }")
                : take_line(rules, bytes_trim(bytes_sub(rest, 1, i - 1)), ++number);
        rest = bytes_sub(rest, i + 1, rest.n);
    }
    return r;
}

static int
open_rules(enum kind kind, const struct config *config, const char *name, unsigned flags, void **state_r,
           struct buf *error_r)
{
    struct rules *rules = calloc(1, sizeof(*rules));
    struct bytes text = bytes_trim(bytes_str(name));
    char path[TABLE_PATH_MAX];
    int r = GW_ERR_NOMEM;

    *state_r = NULL;
    if (rules == NULL) {
        return r;
    }
    rules->kind = kind;
    rules->skip_broken = (flags & TABLE_SKIP_BROKEN) != 0;
    rules->name = bytes_dup_str(text);
    if (kind == KIND_PCRE && (rules->limits = pcre2_match_context_create(NULL)) != NULL) {
        (void)pcre2_set_match_limit(rules->limits, PCRE_MATCH_LIMIT);
        (void)pcre2_set_depth_limit(rules->limits, PCRE_DEPTH_LIMIT);
    }
    if (rules->name == NULL || (kind == KIND_PCRE && rules->limits == NULL)) {
        close_rules(rules);
        return r;
    }
    rules->error = error_r;
    rules->path = path;
    if (text.n >= 2 && text.p[0] == '{') {
        (void)snprintf(path, sizeof(path), "inline");
        r = take_inline(rules, bytes_sub(text, 1, text.n - 2));
    } else {
        r = table_path(config, name, path);
        r = r == 0 ? config_read_lines(path, take_line, rules, error_r) : r;
    }
    r = r == 0 ? close_last_ifs(rules) : r;
    rules->error = NULL;
    rules->path = NULL;
    if (r != 0) {
        close_rules(rules);
        return r;
    }
    *state_r = rules;
    return 0;
}

static int
match_posix(const struct rule *rule, const char *key, struct groups *groups)
{
    regmatch_t found[GROUPS_MAX];

    if (regexec(&rule->posix, key, GROUPS_MAX, found, 0) != 0) {
        return 0;
    }
    for (size_t i = 0; i < GROUPS_MAX && i <= rule->posix.re_nsub; i++) {
        groups->text[i] = found[i].rm_so < 0
                              ? (struct bytes){0}
                              : bytes_of(key + found[i].rm_so, (size_t)(found[i].rm_eo - found[i].rm_so));
        groups->count = i + 1;
    }
    return 1;
}

/* data has room for GROUPS_MAX groups and serves a whole lookup. */
static int
match_pcre(const struct rules *rules, const struct rule *rule, struct bytes key, pcre2_match_data *data,
           struct groups *groups)
{
    PCRE2_SPTR subject = key.p != NULL ? key.p : (PCRE2_SPTR) "";
    int found = pcre2_match(rule->pcre, subject, key.n, 0, 0, data, rules->limits);

    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
        found = pcre2_match(rule->pcre, subject, key.n, 0, PCRE2_NO_JIT, data, rules->limits);
    }
    if (found == PCRE2_ERROR_NOMATCH) {
        return 0;
    }
    if (found < 0) {
        /* A pattern that runs away says nothing about the key: neither match nor "no match". */
        log_warning("table", "%s: rule of line %u: match limit or error %d", rules->name, rule->line, found);
        return GW_ERR_TEMP;
    }
    const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(data);
    size_t count = found == 0 ? GROUPS_MAX : (size_t)found; /* 0: more groups than there is room for */
    for (size_t i = 0; i < count && i < GROUPS_MAX; i++) {
        groups->text[i] = offsets[2 * i] == PCRE2_UNSET
                              ? (struct bytes){0}
                              : bytes_sub(key, offsets[2 * i], offsets[2 * i + 1] - offsets[2 * i]);
        groups->count = i + 1;
    }
    return 1;
}

/* What is no address of the rule's family is outside of the rule, whether that is negated or not. */
static int
match_cidr(const struct rule *rule, struct bytes key)
{
    struct net_addr addr;

    if (net_addr_parse(key, &addr) != 0 || addr.family != rule->network.base.family) {
        return rule->negated;
    }
    return net_prefix_has(&rule->network, &addr);
}

/* $1, ${1}, $(1), $$ in a result. */
static int
append_result(const char *result, const struct groups *groups, struct buf *out)
{
    int r = 0;

    for (const char *p = result; *p != '\0' && r == 0; p++) {
        if (*p != '$') {
            r = buf_append_byte(out, (uint8_t)*p);
            continue;
        }
        const char *digits = p + 1;
        bool bracket = *digits == '{' || *digits == '(';
        if (*digits == '$') {
            r = buf_append_byte(out, '$');
            p++;
            continue;
        }
        digits += bracket;
        char *end;
        unsigned long number = strtoul(digits, &end, 10);
        if (end == digits || *digits < '0' || *digits > '9') {
            r = buf_append_byte(out, '$');
            continue;
        }
        if (number < groups->count) {
            r = buf_append_bytes(out, groups->text[number]);
        }
        p = end - 1 + (bracket && *end != '\0');
    }
    return r;
}

/* regexec() reads up to a NUL: one inside the key must not hide what follows. */
static void
copy_key(struct bytes key, char text[KEY_TEXT_MAX])
{
    for (size_t i = 0; i < key.n; i++) {
        text[i] = key.p[i] == '\0' ? '?' : (char)key.p[i];
    }
    text[key.n] = '\0';
}

static int
match_rule(const struct rules *rules, const struct rule *rule, struct bytes key, const char *text,
           pcre2_match_data *data, struct groups *groups)
{
    groups->count = 0;
    switch (rules->kind) {
    case KIND_REGEXP:
        return match_posix(rule, text, groups);
    case KIND_PCRE:
        return match_pcre(rules, rule, key, data, groups);
    default:
        return match_cidr(rule, key);
    }
}

static int
find_rule(void *state, struct bytes key, struct table_hit *hit)
{
    const struct rules *rules = state;
    pcre2_match_data *data = NULL;
    char text[KEY_TEXT_MAX];
    struct groups groups;
    size_t i = 0;
    int r = GW_ERR_NOTFOUND;

    if (key.n >= sizeof(text)) {
        key.n = sizeof(text) - 1;
    }
    if (rules->kind == KIND_REGEXP) {
        copy_key(key, text);
    } else if (rules->kind == KIND_PCRE && (data = pcre2_match_data_create(GROUPS_MAX, NULL)) == NULL) {
        return GW_ERR_TEMP;
    }
    while (i < rules->count) {
        const struct rule *rule = &rules->rules[i++];

        if (rule->type == RULE_ENDIF) {
            continue;
        }
        int matched = match_rule(rules, rule, key, text, data, &groups);
        if (matched < 0) {
            r = matched;
            break;
        }
        bool holds = (matched == 1) != rule->negated;
        if (rule->type == RULE_IF) {
            i = holds ? i : rule->skip_to;
        } else if (holds) {
            hit->line = rule->line;
            groups.count = rule->negated ? 0 : groups.count;
            r = rules->kind == KIND_CIDR ? buf_append_str(&hit->value, rule->result) /* has no groups */
                                         : append_result(rule->result, &groups, &hit->value);
            break;
        }
    }
    pcre2_match_data_free(data);
    return r;
}

static int
open_regexp(const struct config *config, const char *name, unsigned flags, void **state_r,
            struct buf *error_r)
{
    return open_rules(KIND_REGEXP, config, name, flags, state_r, error_r);
}

static int
open_pcre(const struct config *config, const char *name, unsigned flags, void **state_r, struct buf *error_r)
{
    return open_rules(KIND_PCRE, config, name, flags, state_r, error_r);
}

static int
open_cidr(const struct config *config, const char *name, unsigned flags, void **state_r, struct buf *error_r)
{
    return open_rules(KIND_CIDR, config, name, flags, state_r, error_r);
}

const struct table_type TABLE_REGEXP = {"regexp", true, open_regexp, close_rules, find_rule};
const struct table_type TABLE_PCRE = {"pcre", true, open_pcre, close_rules, find_rule};
const struct table_type TABLE_CIDR = {"cidr", true, open_cidr, close_rules, find_rule};

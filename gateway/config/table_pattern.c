/*
 * table_pattern - regexp:, pcre: and cidr: tables: rules in order, the first that matches answers.
 *
 * Rules: "/pattern/flags result", "!/pattern/flags result", "if /pattern/flags" ... "endif". Flags toggle, as in
 * Postfix: "i" turns case-insensitivity off, which is on by default. regexp: is POSIX extended (regcomp(3)), pcre: is
 * PCRE2 with JIT and match limits. $1, ${1}, $(1) in the result stand for what the parentheses matched.
 */
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"
#include "config/main_cf.h"
#include "config/table_type.h"

enum {
    RULES_MAX = 100000,
    GROUPS_MAX = 32,
    NESTING_MAX = 32,
    PCRE_MATCH_LIMIT = 500000,
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
    const char *path;
};

/* What a rule matched in the key. */
struct groups {
    struct bytes text[GROUPS_MAX];
    size_t count;
};

static void
close_rules(void *state)
{
    struct rules *rules = state;

    for (size_t i = 0; i < rules->count; i++) {
        struct rule *rule = &rules->rules[i];

        if (rule->compiled && rules->kind == KIND_REGEXP) {
            regfree(&rule->posix);
        }
        pcre2_code_free(rule->pcre);
        free(rule->result);
    }
    free(rules->rules);
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
    } FLAGS[] = {{'i', PCRE2_CASELESS},       {'m', PCRE2_MULTILINE}, {'s', PCRE2_DOTALL}, {'x', PCRE2_EXTENDED},
                 {'A', PCRE2_ANCHORED},       {'E', PCRE2_DOLLAR_ENDONLY}, {'U', PCRE2_UNGREEDY}, {'X', 0}};
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
    struct rule *grown = rules->count >= RULES_MAX ? NULL : realloc(rules->rules, (rules->count + 1) * sizeof(*grown));

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

static int
take_line(void *context, struct bytes line, int number)
{
    struct rules *rules = context;
    struct rule *rule = add_rule(rules, (unsigned)number);
    int r;

    if (rule == NULL) {
        return complain(rules, number, "too many rules");
    }
    if (bytes_equal_nocase(line, BYTES_LIT("endif"))) {
        return close_if(rules, rule);
    }
    if (bytes_has_prefix_nocase(line, BYTES_LIT("if")) && line.n > 2 && (line.p[2] == ' ' || line.p[2] == '\t')) {
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
    return rule->result == NULL ? GW_ERR_NOMEM : 0;
}

static int
open_rules(enum kind kind, const struct config *config, const char *name, void **state_r, struct buf *error_r)
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
    rules->error = error_r;
    rules->path = path;
    if (text.n >= 2 && text.p[0] == '{') {
        /* "regexp:{ {/pattern/ result}, ... }": each inner group is a line (Postfix 3.7 inline pattern tables). */
        struct bytes rest = bytes_sub(text, 1, text.n - 2);
        int number = 0;

        (void)snprintf(path, sizeof(path), "inline");
        r = 0;
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
    } else {
        r = table_path(config, name, path);
        r = r == 0 ? config_read_lines(path, take_line, rules, error_r) : r;
    }
    if (r == 0 && rules->depth > 0) {
        r = complain(rules, (int)rules->rules[rules->open_ifs[rules->depth - 1]].line, "if without endif");
    }
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
        groups->text[i] = found[i].rm_so < 0 ? (struct bytes){0}
                                             : bytes_of(key + found[i].rm_so, (size_t)(found[i].rm_eo - found[i].rm_so));
        groups->count = i + 1;
    }
    return 1;
}

static int
match_pcre(const struct rule *rule, struct bytes key, struct groups *groups)
{
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(rule->pcre, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    int found = PCRE2_ERROR_NOMEMORY;

    if (data != NULL && limits != NULL) {
        (void)pcre2_set_match_limit(limits, PCRE_MATCH_LIMIT);
        (void)pcre2_set_depth_limit(limits, PCRE_DEPTH_LIMIT);
        found = pcre2_match(rule->pcre, key.p != NULL ? key.p : (PCRE2_SPTR) "", key.n, 0, 0, data, limits);
    }
    const PCRE2_SIZE *offsets = found > 0 ? pcre2_get_ovector_pointer(data) : NULL;
    for (int i = 0; i < found && i < GROUPS_MAX; i++) {
        groups->text[i] = offsets[2 * i] == PCRE2_UNSET
                              ? (struct bytes){0}
                              : bytes_sub(key, offsets[2 * i], offsets[2 * i + 1] - offsets[2 * i]);
        groups->count = (size_t)i + 1;
    }
    pcre2_match_data_free(data);
    pcre2_match_context_free(limits);
    /* A pattern that runs away says nothing about the key: neither match nor "no match". */
    return found == PCRE2_ERROR_NOMATCH ? 0 : found < 0 ? GW_ERR_TEMP : 1;
}

static int
match_cidr(const struct rule *rule, struct bytes key)
{
    struct net_addr addr;

    return net_addr_parse(key, &addr) == 0 && net_prefix_has(&rule->network, &addr);
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

static int
find_rule(void *state, struct bytes key, struct table_hit *hit)
{
    const struct rules *rules = state;
    char text[KEY_TEXT_MAX];
    size_t i = 0;

    if (key.n >= sizeof(text)) {
        key.n = sizeof(text) - 1;
    }
    if (rules->kind == KIND_REGEXP) {
        /* regexec() reads up to a NUL: one inside the key must not hide what follows. */
        for (size_t k = 0; k < key.n; k++) {
            text[k] = key.p[k] == '\0' ? '?' : (char)key.p[k];
        }
        text[key.n] = '\0';
    }
    while (i < rules->count) {
        const struct rule *rule = &rules->rules[i];
        struct groups groups = {.count = 0};

        if (rule->type == RULE_ENDIF) {
            i++;
            continue;
        }
        int matched = rules->kind == KIND_REGEXP ? match_posix(rule, text, &groups)
                      : rules->kind == KIND_PCRE ? match_pcre(rule, key, &groups)
                                                 : match_cidr(rule, key);
        if (matched < 0) {
            return matched;
        }
        bool holds = (matched == 1) != rule->negated;
        if (rule->type == RULE_IF) {
            i = holds ? i + 1 : rule->skip_to;
            continue;
        }
        if (holds) {
            hit->line = rule->line;
            if (rule->negated) {
                groups.count = 0;
            }
            return append_result(rule->result, &groups, &hit->value);
        }
        i++;
    }
    return GW_ERR_NOTFOUND;
}

static int
open_regexp(const struct config *config, const char *name, unsigned flags, void **state_r, struct buf *error_r)
{
    (void)flags;
    return open_rules(KIND_REGEXP, config, name, state_r, error_r);
}

static int
open_pcre(const struct config *config, const char *name, unsigned flags, void **state_r, struct buf *error_r)
{
    (void)flags;
    return open_rules(KIND_PCRE, config, name, state_r, error_r);
}

static int
open_cidr(const struct config *config, const char *name, unsigned flags, void **state_r, struct buf *error_r)
{
    (void)flags;
    return open_rules(KIND_CIDR, config, name, state_r, error_r);
}

const struct table_type TABLE_REGEXP = {"regexp", true, open_regexp, close_rules, find_rule};
const struct table_type TABLE_PCRE = {"pcre", true, open_pcre, close_rules, find_rule};
const struct table_type TABLE_CIDR = {"cidr", true, open_cidr, close_rules, find_rule};

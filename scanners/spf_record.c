/*
 * spf_record - parses an SPF record (RFC 7208 section 12, collected ABNF) into terms.
 *
 * Before: spf_eval.c with the joined TXT strings; after: spf_eval.c walks the terms. A single wrong term
 * makes the whole record a permerror, wherever it stands (section 4.6).
 */
#include <string.h>

#include "base/error.h"
#include "scanners/spf.h"

static bool
is_alpha(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

bool
spf_record_is_one(struct bytes text)
{
    return bytes_has_prefix_nocase(text, BYTES_LIT("v=spf1")) && (text.n == 6 || text.p[6] == ' ');
}

/* toplabel: letters, digits, hyphens; not all digits; no hyphen at either end. */
static bool
is_toplabel(struct bytes label)
{
    bool letter = false;

    if (label.n == 0 || label.p[0] == '-' || label.p[label.n - 1] == '-') {
        return false;
    }
    for (size_t i = 0; i < label.n; i++) {
        letter = letter || is_alpha(label.p[i]) || label.p[i] == '-';
        if (!is_alpha(label.p[i]) && !is_digit(label.p[i]) && label.p[i] != '-') {
            return false;
        }
    }
    return letter;
}

/* domain-spec = macro-string domain-end: ends in a macro or in "." toplabel. */
static bool
is_domain_spec(struct bytes text)
{
    if (text.n == 0 || spf_macro_check(text, false) != 0) {
        return false;
    }
    if (text.p[text.n - 1] == '}') {
        return true;
    }
    struct bytes name = text;
    if (name.p[name.n - 1] == '.') {
        name.n--;
    }
    ptrdiff_t dot = bytes_rindex(name, '.');
    /* "%%", "%_" and "%-" are macro-expands as well. */
    if (text.n >= 2 && text.p[text.n - 2] == '%' && memchr("%_-", text.p[text.n - 1], 3) != NULL) {
        return true;
    }
    return dot >= 0 && is_toplabel(bytes_sub(name, (size_t)dot + 1, name.n));
}

/* "0" or a number without leading zero, up to max. */
static int
parse_bits(struct bytes text, unsigned max, uint8_t *bits_r)
{
    uint64_t value;

    if (text.n == 0 || text.n > 3 || (text.n > 1 && text.p[0] == '0') || bytes_to_u64(text, &value) != 0 ||
        value > max) {
        return GW_ERR_SYNTAX;
    }
    *bits_r = (uint8_t)value;
    return 0;
}

/* Position of "/digits" at the end of text, or -1. */
static ptrdiff_t
find_cidr(struct bytes text)
{
    size_t i = text.n;

    while (i > 0 && is_digit(text.p[i - 1])) {
        i--;
    }
    return i > 0 && i < text.n && text.p[i - 1] == '/' ? (ptrdiff_t)i - 1 : -1;
}

/* Takes dual-cidr-length off the end of *text: "/24", "//64", "/24//64". */
static int
take_cidr(struct bytes *text, uint8_t *bits4_r, uint8_t *bits6_r)
{
    ptrdiff_t at = find_cidr(*text);

    *bits4_r = 32;
    *bits6_r = 128;
    if (at > 0 && text->p[at - 1] == '/') {
        if (parse_bits(bytes_sub(*text, (size_t)at + 1, text->n), 128, bits6_r) != 0) {
            return GW_ERR_SYNTAX;
        }
        *text = bytes_sub(*text, 0, (size_t)at - 1);
        at = find_cidr(*text);
        if (at > 0 && text->p[at - 1] == '/') {
            return GW_ERR_SYNTAX;
        }
    }
    if (at >= 0) {
        if (parse_bits(bytes_sub(*text, (size_t)at + 1, text->n), 32, bits4_r) != 0) {
            return GW_ERR_SYNTAX;
        }
        *text = bytes_sub(*text, 0, (size_t)at);
    }
    return 0;
}

/* The argument of a, mx: [":" domain-spec] [dual-cidr]. `rest` begins behind the name. */
static int
parse_domain_cidr(struct bytes rest, struct spf_term *term)
{
    if (take_cidr(&rest, &term->bits4, &term->bits6) != 0) {
        return GW_ERR_SYNTAX;
    }
    if (rest.n == 0) {
        return 0;
    }
    if (rest.p[0] != ':') {
        return GW_ERR_SYNTAX;
    }
    term->domain = bytes_sub(rest, 1, rest.n);
    return is_domain_spec(term->domain) ? 0 : GW_ERR_SYNTAX;
}

/* The argument of include, exists (needed) and ptr (optional). */
static int
parse_domain(struct bytes rest, bool needed, struct spf_term *term)
{
    if (rest.n == 0) {
        return needed ? GW_ERR_SYNTAX : 0;
    }
    if (rest.p[0] != ':') {
        return GW_ERR_SYNTAX;
    }
    term->domain = bytes_sub(rest, 1, rest.n);
    return is_domain_spec(term->domain) ? 0 : GW_ERR_SYNTAX;
}

static int
parse_network(struct bytes rest, uint8_t family, struct spf_term *term)
{
    unsigned max = family == AF_INET ? 32 : 128;
    uint8_t bits = (uint8_t)max;

    if (rest.n == 0 || rest.p[0] != ':') {
        return GW_ERR_SYNTAX;
    }
    rest = bytes_sub(rest, 1, rest.n);
    ptrdiff_t slash = bytes_index(rest, '/');
    if (slash >= 0) {
        if (parse_bits(bytes_sub(rest, (size_t)slash + 1, rest.n), max, &bits) != 0) {
            return GW_ERR_SYNTAX;
        }
        rest = bytes_sub(rest, 0, (size_t)slash);
    }
    bool colon = bytes_index(rest, ':') >= 0;
    if (colon != (family == AF_INET6) || net_addr_parse(rest, &term->network.base) != 0) {
        return GW_ERR_SYNTAX;
    }
    if (term->network.base.family != family) {
        /* "::ffff:192.0.2.1" names an IPv4 address; only its own bits count then. */
        bits = bits >= 96 ? (uint8_t)(bits - 96) : 0;
    }
    term->network.bits = bits;
    net_addr_mask(&term->network.base, bits);
    return 0;
}

static const struct {
    const char *name;
    enum spf_mechanism mechanism;
} MECHANISMS[] = {
    {"all", SPF_ALL}, {"include", SPF_INCLUDE}, {"a", SPF_A},     {"mx", SPF_MX},
    {"ptr", SPF_PTR}, {"ip4", SPF_IP4},         {"ip6", SPF_IP6}, {"exists", SPF_EXISTS},
};

static int
parse_argument(struct bytes rest, struct spf_term *term)
{
    switch (term->mechanism) {
    case SPF_ALL:
        return rest.n == 0 ? 0 : GW_ERR_SYNTAX;
    case SPF_INCLUDE:
    case SPF_EXISTS:
        return parse_domain(rest, true, term);
    case SPF_PTR:
        return parse_domain(rest, false, term);
    case SPF_A:
    case SPF_MX:
        return parse_domain_cidr(rest, term);
    case SPF_IP4:
        return parse_network(rest, AF_INET, term);
    case SPF_IP6:
        return parse_network(rest, AF_INET6, term);
    default:
        return GW_ERR_SYNTAX;
    }
}

static int
parse_mechanism(struct bytes text, struct spf_term *term)
{
    size_t n = 0;

    term->qualifier = AUTH_PASS;
    if (text.n > 0 && memchr("+-~?", text.p[0], 4) != NULL) {
        term->qualifier = text.p[0] == '-'   ? AUTH_FAIL
                          : text.p[0] == '~' ? AUTH_SOFTFAIL
                          : text.p[0] == '?' ? AUTH_NEUTRAL
                                             : AUTH_PASS;
        text = bytes_sub(text, 1, text.n);
    }
    while (n < text.n && text.p[n] != ':' && text.p[n] != '/') {
        n++;
    }
    for (size_t i = 0; i < sizeof(MECHANISMS) / sizeof(MECHANISMS[0]); i++) {
        if (bytes_equal_nocase(bytes_sub(text, 0, n), bytes_str(MECHANISMS[i].name))) {
            term->mechanism = MECHANISMS[i].mechanism;
            return parse_argument(bytes_sub(text, n, text.n), term);
        }
    }
    return GW_ERR_SYNTAX;
}

/* name = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." ), then "=". Its length, or 0 when this is no modifier. */
static size_t
modifier_name_length(struct bytes text)
{
    size_t n = 0;

    while (n < text.n && (is_alpha(text.p[n]) || (n > 0 && (is_digit(text.p[n]) || text.p[n] == '-' ||
                                                            text.p[n] == '_' || text.p[n] == '.')))) {
        n++;
    }
    return n > 0 && n < text.n && text.p[n] == '=' ? n : 0;
}

static int
parse_modifier(struct bytes text, size_t name_length, struct spf_record *record)
{
    struct bytes name = bytes_sub(text, 0, name_length), value = bytes_sub(text, name_length + 1, text.n);
    struct bytes *target = bytes_equal_nocase(name, BYTES_LIT("redirect")) ? &record->redirect
                           : bytes_equal_nocase(name, BYTES_LIT("exp"))    ? &record->explanation
                                                                           : NULL;

    if (target == NULL) {
        return spf_macro_check(value, false);
    }
    if (target->p != NULL || !is_domain_spec(value)) {
        return GW_ERR_SYNTAX; /* each at most once (section 6) */
    }
    *target = value;
    return 0;
}

int
spf_record_parse(struct arena *arena, struct bytes text, struct spf_record *record_r, const char **problem_r)
{
    struct bytes rest = bytes_sub(text, 6, text.n), word;

    *record_r = (struct spf_record){0};
    *problem_r = "record too long";
    if (text.n > SPF_RECORD_MAX) {
        return GW_ERR_SYNTAX;
    }
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < 0x20 || text.p[i] > 0x7e) {
            *problem_r = "character outside of ASCII in the record";
            return GW_ERR_SYNTAX;
        }
    }
    record_r->terms = arena_alloc(arena, sizeof(*record_r->terms) * (text.n / 2 + 1));
    if (record_r->terms == NULL) {
        *problem_r = "out of memory";
        return GW_ERR_NOMEM;
    }
    while (bytes_next_token(&rest, " ", &word)) {
        size_t name_length = modifier_name_length(word);
        struct spf_term term = {0};
        int r = name_length > 0 ? parse_modifier(word, name_length, record_r) : parse_mechanism(word, &term);

        if (r != 0 || record_r->count >= SPF_TERMS_MAX) {
            const char *words =
                arena_printf(arena, "bad term \"%.*s\"", (int)(word.n < 100 ? word.n : 100), word.p);
            *problem_r = words != NULL ? words : "bad term";
            return GW_ERR_SYNTAX;
        }
        if (name_length == 0) {
            record_r->terms[record_r->count++] = term;
        }
    }
    return 0;
}

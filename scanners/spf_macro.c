/*
 * spf_macro - macro-strings (RFC 7208 section 7): "%{d2r.}" and its kind.
 *
 * Before: spf_record.c checks, spf_eval.c expands for domain-specs and explanations. Bounded by the buffer's
 * limit.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "scanners/spf.h"

enum { PARTS_MAX = 256 };

struct macro {
    uint8_t letter; /* lower case */
    bool escape;    /* the letter was upper case */
    bool reverse;
    unsigned keep; /* right-most parts; 0: all */
    struct bytes delimiters;
};

/* One "%{...}" at the start of *text, which begins behind "%{". Moves *text behind "}". */
static int
parse_macro(struct bytes *text, bool exp, struct macro *macro)
{
    static const char LETTERS[] = "slodiphv", MORE[] = "crt";
    size_t i = 1;

    *macro = (struct macro){0};
    if (text->n < 2) {
        return GW_ERR_SYNTAX;
    }
    uint8_t c = text->p[0];
    macro->escape = c >= 'A' && c <= 'Z';
    macro->letter = macro->escape ? (uint8_t)(c + 32) : c;
    if (macro->letter == '\0' ||
        (strchr(LETTERS, macro->letter) == NULL && !(exp && strchr(MORE, macro->letter) != NULL))) {
        return GW_ERR_SYNTAX;
    }
    bool digits = false;
    for (; i < text->n && text->p[i] >= '0' && text->p[i] <= '9'; i++) {
        macro->keep = macro->keep > 1000 ? macro->keep : macro->keep * 10 + (unsigned)(text->p[i] - '0');
        digits = true;
    }
    if (digits && macro->keep == 0) {
        return GW_ERR_SYNTAX;
    }
    if (i < text->n && (text->p[i] == 'r' || text->p[i] == 'R')) {
        macro->reverse = true;
        i++;
    }
    size_t from = i;
    while (i < text->n && strchr(".-+,/_=", text->p[i]) != NULL && text->p[i] != '\0') {
        i++;
    }
    macro->delimiters = i > from ? bytes_sub(*text, from, i - from) : BYTES_LIT(".");
    if (i >= text->n || text->p[i] != '}') {
        return GW_ERR_SYNTAX;
    }
    *text = bytes_sub(*text, i + 1, text->n);
    return 0;
}

/* "%%", "%_", "%-": the text it stands for, or NULL. */
static const char *
short_macro(uint8_t c)
{
    return c == '%' ? "%" : c == '_' ? " " : c == '-' ? "%20" : NULL;
}

int
spf_macro_check(struct bytes text, bool exp)
{
    struct macro macro;

    while (text.n > 0) {
        if (text.p[0] != '%') {
            if (!exp && (text.p[0] < 0x21 || text.p[0] > 0x7e)) {
                return GW_ERR_SYNTAX;
            }
            text = bytes_sub(text, 1, text.n);
        } else if (text.n >= 2 && short_macro(text.p[1]) != NULL) {
            text = bytes_sub(text, 2, text.n);
        } else if (text.n >= 2 && text.p[1] == '{') {
            text = bytes_sub(text, 2, text.n);
            if (parse_macro(&text, exp, &macro) != 0) {
                return GW_ERR_SYNTAX;
            }
        } else {
            return GW_ERR_SYNTAX;
        }
    }
    return 0;
}

/* %{i}: dotted quad, or 32 nibbles with dots (section 7.3). */
static void
put_address(const struct net_addr *addr, char out[80])
{
    if (addr->family != AF_INET6) {
        net_addr_format(addr, out);
        return;
    }
    for (size_t i = 0; i < 16; i++) {
        (void)snprintf(out + i * 4, 5, "%x.%x.", (unsigned)(addr->ip[i] >> 4), (unsigned)(addr->ip[i] & 15));
    }
    out[63] = '\0'; /* without the final dot */
}

/* What the letter stands for; numbers are formed in `scratch`. */
static struct bytes
value_of(const struct spf_macros *macros, uint8_t letter, char scratch[512])
{
    const struct spf_request *request = macros->request;

    scratch[0] = '\0';
    switch (letter) {
    case 's':
        (void)snprintf(scratch, 512, "%.*s@%.*s",
                       (int)(macros->sender_local.n < 200 ? macros->sender_local.n : 200),
                       (const char *)macros->sender_local.p, BYTES_FMT(macros->sender_domain));
        return bytes_str(scratch);
    case 'l':
        return macros->sender_local;
    case 'o':
        return macros->sender_domain;
    case 'd':
        return macros->domain;
    case 'i':
        put_address(request->client, scratch);
        return bytes_str(scratch);
    case 'p':
        return macros->validated_name(macros->validated_context);
    case 'v':
        return request->client->family == AF_INET6 ? BYTES_LIT("ip6") : BYTES_LIT("in-addr");
    case 'h':
        return request->helo;
    case 'c':
        net_addr_format(request->client, scratch);
        return bytes_str(scratch);
    case 'r':
        return bytes_str(request->receiver);
    case 't':
        (void)snprintf(scratch, 512, "%lld", (long long)clock_wall_s());
        return bytes_str(scratch);
    default:
        return (struct bytes){0};
    }
}

/* URL escapes everything but the unreserved characters (RFC 3986 section 2.3). */
static int
append_value(struct buf *out, struct bytes v, bool escape)
{
    static const char HEX[] = "0123456789ABCDEF";
    int r = 0;

    if (!escape) {
        return buf_append_bytes(out, v);
    }
    for (size_t i = 0; i < v.n && r == 0; i++) {
        uint8_t c = v.p[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            (c != '\0' && strchr("-._~", c) != NULL)) {
            r = buf_append_byte(out, c);
        } else {
            const uint8_t escaped[3] = {'%', (uint8_t)HEX[c >> 4], (uint8_t)HEX[c & 15]};
            r = buf_append(out, escaped, 3);
        }
    }
    return r;
}

/* Splits at the delimiters, turns the parts round, keeps the right-most, joins with dots. */
static int
append_transformed(struct buf *out, const struct macro *macro, struct bytes value)
{
    struct bytes parts[PARTS_MAX];
    size_t count = 0, from = 0;
    int r = 0;

    for (size_t i = 0; i <= value.n; i++) {
        if (i < value.n && bytes_index(macro->delimiters, value.p[i]) < 0) {
            continue;
        }
        if (count >= PARTS_MAX) {
            return GW_ERR_LIMIT;
        }
        parts[count++] = bytes_sub(value, from, i - from);
        from = i + 1;
    }
    for (size_t i = 0; macro->reverse && i < count / 2; i++) {
        struct bytes other = parts[i];

        parts[i] = parts[count - 1 - i];
        parts[count - 1 - i] = other;
    }
    size_t first = macro->keep > 0 && macro->keep < count ? count - macro->keep : 0;
    for (size_t i = first; i < count && r == 0; i++) {
        if (i > first) {
            r = buf_append_byte(out, '.');
        }
        if (r == 0) {
            r = append_value(out, parts[i], macro->escape);
        }
    }
    return r;
}

int
spf_macro_expand(const struct spf_macros *macros, struct bytes text, bool exp, struct buf *out)
{
    char scratch[512];
    struct macro macro;
    int r = spf_macro_check(text, exp);

    while (r == 0 && text.n > 0) {
        ptrdiff_t percent = bytes_index(text, '%');
        size_t plain = percent < 0 ? text.n : (size_t)percent;

        r = buf_append_bytes(out, bytes_sub(text, 0, plain));
        text = bytes_sub(text, plain, text.n);
        if (r != 0 || text.n < 2) {
            break;
        }
        if (text.p[1] != '{') {
            r = buf_append_str(out, short_macro(text.p[1]));
            text = bytes_sub(text, 2, text.n);
            continue;
        }
        text = bytes_sub(text, 2, text.n);
        if ((r = parse_macro(&text, exp, &macro)) == 0) {
            r = append_transformed(out, &macro, value_of(macros, macro.letter, scratch));
        }
    }
    return r;
}

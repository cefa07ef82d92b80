/*
 * table_text - see the header. Before: main_cf.c with logical lines; after: table_simple.c (texthash) and
 * ctl_postmap.c. What counts as a blank is what isspace(3) says in the C locale, as in Postfix.
 */
#include "config/table_text.h"

static bool
is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct bytes
trim(struct bytes text)
{
    while (text.n > 0 && is_blank(text.p[text.n - 1])) {
        text.n--;
    }
    while (text.n > 0 && is_blank(text.p[0])) {
        text = bytes_sub(text, 1, text.n);
    }
    return text;
}

enum table_text_fault
table_text_split(struct bytes line, struct bytes *key_r, struct bytes *value_r)
{
    bool quoted = false;
    size_t n = 0;

    for (; n < line.n && (quoted || !is_blank(line.p[n])); n++) {
        if (line.p[n] == '\\') {
            n += n + 1 < line.n;
        } else {
            quoted ^= line.p[n] == '"';
        }
    }
    *key_r = bytes_sub(line, 0, n);
    *value_r = trim(bytes_sub(line, n, line.n));
    if (quoted) {
        return TABLE_TEXT_UNBALANCED;
    }
    if (value_r->n == 0 || n == 0) {
        return TABLE_TEXT_NO_VALUE;
    }
    return line.p[n - 1] == ':' ? TABLE_TEXT_ALIAS : TABLE_TEXT_GOOD;
}

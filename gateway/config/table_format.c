/*
 * table_format - see the header. Before: table_sql.c, table_ldap.c.
 *
 * The behaviour is that of Postfix's mysql_table(5) and its kin: what a format mentions must be there, or the
 * key is not asked for, or the value is skipped. Parts of a key go through the caller's quoting, the format's
 * own text does not.
 */
#include "config/table_format.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "config/table.h"

enum { LABELS_MAX = 128 };

struct table_formats {
    bool key_user, key_domain, value_user, value_domain;
    size_t labels; /* of the key's domain, at least */
    struct match_list *domains;
};

/* A key or value in parts. */
struct address {
    struct bytes whole, user, domain;
    bool has_domain; /* there is an @ and something behind it */
};

struct table_formats *
table_formats_new(void)
{
    return calloc(1, sizeof(struct table_formats));
}

void
table_formats_free(struct table_formats **formats)
{
    if (*formats != NULL) {
        match_list_free(&(*formats)->domains);
        free(*formats);
        *formats = NULL;
    }
}

static bool
note_letter(struct table_formats *formats, char letter, bool is_query)
{
    switch (letter) {
    case '%':
    case 's':
    case 'S':
        return true;
    case 'u':
        *(is_query ? &formats->key_user : &formats->value_user) = true;
        return true;
    case 'd':
        *(is_query ? &formats->key_domain : &formats->value_domain) = true;
        return true;
    case 'U':
        formats->key_user = true;
        return true;
    case 'D':
        formats->key_domain = true;
        return true;
    default:
        break;
    }
    if (letter < '1' || letter > '9') {
        return false;
    }
    formats->key_domain = true;
    if ((size_t)(letter - '0') > formats->labels) {
        formats->labels = (size_t)(letter - '0');
    }
    return true;
}

int
table_formats_add(struct table_formats *formats, const char *format, bool is_query, struct buf *error_r)
{
    for (const char *at = strchr(format, '%'); at != NULL; at = strchr(at + 2, '%')) {
        if (!note_letter(formats, at[1], is_query)) {
            (void)buf_printf(error_r, "invalid %s template: \"%s\"; write %%%% for a percent sign",
                             is_query ? "query" : "result", format);
            return GW_ERR_CONFIG;
        }
    }
    return 0;
}

int
table_formats_limit(struct table_formats *formats, const struct config *config, const char *domains,
                    struct buf *error_r)
{
    return domains == NULL || domains[0] == '\0'
               ? 0
               : match_list_open(config, domains, MATCH_EXACT, &formats->domains, error_r);
}

static struct address
split(struct bytes text)
{
    ptrdiff_t at = bytes_rindex(text, '@');
    struct address address = {.whole = text, .user = text};

    if (at >= 0) {
        address.user = bytes_sub(text, 0, (size_t)at);
        address.domain = bytes_sub(text, (size_t)at + 1, text.n);
        address.has_domain = address.domain.n > 0;
    }
    return address;
}

/* The labels of a domain, empty ones left out. */
static size_t
split_labels(struct bytes domain, struct bytes labels[LABELS_MAX])
{
    struct bytes label;
    size_t count = 0;

    while (count < LABELS_MAX && bytes_next_token(&domain, ".", &label)) {
        if (label.n > 0) {
            labels[count++] = label;
        }
    }
    return count;
}

static bool
has_key_parts(const struct table_formats *formats, const struct address *key)
{
    struct bytes labels[LABELS_MAX];

    if ((formats->key_domain && !key->has_domain) || (formats->key_user && key->user.n == 0)) {
        return false;
    }
    return formats->labels == 0 || split_labels(key->domain, labels) >= formats->labels;
}

int
table_formats_allow(const struct table_formats *formats, struct bytes key)
{
    struct address address = split(key);

    if (formats->domains != NULL) {
        int r =
            address.has_domain && address.user.n > 0 ? match_list_name(formats->domains, address.domain) : 0;

        if (r != 1) {
            return r;
        }
    }
    return address.whole.n > 0 && has_key_parts(formats, &address);
}

static int
put_part(table_format_quote *quote, void *context, struct bytes text, struct buf *out)
{
    return quote == NULL ? buf_append_bytes(out, text) : quote(context, text, out);
}

/* The part a letter stands for. subject: what lower-case letters speak of. */
static struct bytes
find_part(char letter, const struct address *subject, const struct address *key, const struct bytes *labels,
          size_t count)
{
    switch (letter) {
    case 's':
        return subject->whole;
    case 'u':
        return subject->user;
    case 'd':
        return subject->domain;
    case 'S':
        return key->whole;
    case 'U':
        return key->user;
    case 'D':
        return key->domain;
    default:
        break;
    }
    size_t number = (size_t)(letter - '0');
    return number <= count ? labels[count - number] : (struct bytes){0};
}

static int
expand(const char *format, const struct address *subject, const struct address *key,
       table_format_quote *quote, void *context, struct buf *out)
{
    struct bytes labels[LABELS_MAX];
    size_t count = split_labels(key->domain, labels);
    int r = 0;

    for (const char *at = format; r == 0 && *at != '\0'; at++) {
        if (*at != '%') {
            r = buf_append_byte(out, (uint8_t)*at);
        } else if (*++at == '%') {
            r = buf_append_byte(out, '%');
        } else {
            r = put_part(quote, context, find_part(*at, subject, key, labels, count), out);
        }
    }
    return r == 0 ? 1 : r;
}

int
table_formats_query(const struct table_formats *formats, const char *format, struct bytes key,
                    table_format_quote *quote, void *context, struct buf *out)
{
    struct address address = split(key);

    return key.n > 0 && has_key_parts(formats, &address)
               ? expand(format, &address, &address, quote, context, out)
               : 0;
}

int
table_formats_result(const struct table_formats *formats, const char *format, struct bytes key,
                     struct bytes value, struct buf *out)
{
    struct address subject = split(value), whole = split(key);
    bool empty_user = value.n > 0 && value.p[0] == '@' && subject.user.n == 0;

    if (value.n == 0 || (formats->value_domain && !subject.has_domain) ||
        (formats->value_user && empty_user) || !has_key_parts(formats, &whole)) {
        return 0;
    }
    if (out->n > 0) {
        int r = buf_append_byte(out, ',');

        if (r != 0) {
            return r;
        }
    }
    return expand(format, &subject, &whole, NULL, NULL, out);
}

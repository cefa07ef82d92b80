/*
 * table_find - the keys of access(5): names and their parents, addresses and their networks, mail addresses.
 *
 * Before: restriction_access.c and match lists; after: table_find() with one key at a time. A pattern table
 * sees the whole thing once.
 */
#include <string.h>

#include "base/error.h"
#include "config/table.h"

size_t
table_extension(struct bytes local, const char *delimiters, bool keep_lists)
{
    static const char *const WHOLE[] = {"postmaster", "mailer-daemon", "double-bounce"};

    for (size_t i = 0; i < sizeof(WHOLE) / sizeof(WHOLE[0]); i++) {
        if (bytes_equal_nocase(local, bytes_str(WHOLE[i]))) {
            return local.n;
        }
    }
    if (keep_lists && strchr(delimiters, '-') != NULL &&
        (bytes_has_prefix_nocase(local, BYTES_LIT("owner-")) ||
         (local.n > 8 && bytes_has_suffix_nocase(local, BYTES_LIT("-request"))))) {
        return local.n;
    }
    for (size_t i = 0; i < local.n; i++) {
        if (local.p[i] != '\0' && strchr(delimiters, local.p[i]) != NULL) {
            return i > 0 ? i : local.n; /* "+user" has no name in front */
        }
    }
    return local.n;
}

int
table_find_domain(struct table *table, struct bytes name, bool parents, struct table_hit *hit)
{
    struct net_addr addr;
    int r = table_find(table, name, hit);

    if (r != GW_ERR_NOTFOUND || table_is_pattern(table) || net_addr_parse(name, &addr) == 0) {
        return r; /* a number has no parents */
    }
    while (r == GW_ERR_NOTFOUND && name.n > 0) {
        ptrdiff_t dot = bytes_index(bytes_sub(name, 1, name.n), '.');

        if (dot < 0) {
            break;
        }
        name = bytes_sub(name, (size_t)dot + (parents ? 2 : 1), name.n);
        r = name.n > 0 ? table_find(table, name, hit) : r;
    }
    return r;
}

int
table_find_client_address(struct table *table, const struct net_addr *addr, struct table_hit *hit)
{
    char text[NET_ADDR_TEXT_MAX];
    char separator = addr->family == AF_INET6 ? ':' : '.';
    int r;

    net_addr_format(addr, text);
    r = table_find(table, bytes_str(text), hit);
    while (r == GW_ERR_NOTFOUND && !table_is_pattern(table)) {
        char *last = strrchr(text, separator);

        if (last == NULL || last == text) {
            break;
        }
        *last = '\0';
        r = table_find(table, bytes_str(text), hit);
    }
    return r;
}

int
table_find_mail(struct table *table, struct bytes address, const char *delimiter, bool parents,
                struct table_hit *hit)
{
    /* "user@example.com." is user@example.com. */
    while (address.n > 0 && address.p[address.n - 1] == '.') {
        address.n--;
    }
    ptrdiff_t at = bytes_rindex(address, '@');
    struct bytes local = bytes_sub(address, 0, at < 0 ? address.n : (size_t)at);
    struct bytes domain = at < 0 ? (struct bytes){0} : bytes_sub(address, (size_t)at + 1, address.n);
    struct buf key;
    int r = table_find(table, address, hit);
    size_t bare = table_extension(local, delimiter, table_keeps_lists(table));

    if (r != GW_ERR_NOTFOUND || table_is_pattern(table)) {
        return r;
    }
    buf_init(&key, TABLE_KEY_MAX);
    if (bare < local.n && at >= 0 && buf_append_bytes(&key, bytes_sub(local, 0, bare)) == 0 &&
        buf_append_bytes(&key, bytes_sub(address, (size_t)at, address.n)) == 0) {
        r = table_find(table, bytes_buf(&key), hit);
    }
    if (r == GW_ERR_NOTFOUND && domain.n > 0) {
        r = table_find_domain(table, domain, parents, hit);
    }
    buf_clear(&key);
    if (r == GW_ERR_NOTFOUND && buf_append_bytes(&key, local) == 0 && buf_append_byte(&key, '@') == 0) {
        r = table_find(table, bytes_buf(&key), hit);
    }
    if (r == GW_ERR_NOTFOUND && bare < local.n) {
        buf_clear(&key);
        if (buf_append_bytes(&key, bytes_sub(local, 0, bare)) == 0 && buf_append_byte(&key, '@') == 0) {
            r = table_find(table, bytes_buf(&key), hit);
        }
    }
    buf_free(&key);
    return r;
}

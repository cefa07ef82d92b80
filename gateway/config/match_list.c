/*
 * match_list - mydestination, relay_domains, mynetworks and their kin: names, .parents, networks, files,
 * tables.
 *
 * Before: receive_port.c, route.c; the items are tried in order, the first that matches decides ("!" says
 * no).
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "config/main_cf.h"
#include "config/table.h"
#include "config/table_type.h"

enum { ITEMS_MAX = 10000, FILES_DEEP_MAX = 4 };

struct item {
    enum { ITEM_NAME, ITEM_NETWORK, ITEM_TABLE } kind;
    bool negated;
    char *name; /* lower case */
    struct net_prefix network;
    struct table *table;
};

struct match_list {
    struct item *items;
    size_t count;
    unsigned flags;
    /* while it is opened */
    const struct config *config;
    struct buf *error;
    unsigned depth;
};

static int add_words(struct match_list *list, struct bytes text);

static int
take_file_line(void *context, struct bytes line, int number)
{
    (void)number;
    return add_words(context, line);
}

static int
add_item(struct match_list *list, const struct item *item)
{
    struct item *grown =
        list->count >= ITEMS_MAX ? NULL : realloc(list->items, (list->count + 1) * sizeof(*grown));

    if (grown == NULL) {
        return GW_ERR_LIMIT;
    }
    list->items = grown;
    grown[list->count++] = *item;
    return 0;
}

static bool
is_table(struct bytes word)
{
    ptrdiff_t colon = bytes_index(word, ':');

    for (ptrdiff_t i = 0; i < colon; i++) {
        uint8_t c = word.p[i];

        if (!((c >= 'a' && c <= 'z') || c == '_')) {
            return false;
        }
    }
    /* "fd00::1" begins with letters too, but what follows its colon is no file. */
    struct net_prefix prefix;
    return colon > 1 && net_prefix_parse(word, &prefix) != 0;
}

/* Bits behind the mask are a slip: the network that was most likely meant is named. */
static void
complain_of_network(struct match_list *list, struct bytes word)
{
    ptrdiff_t slash = bytes_rindex(word, '/');
    char text[NET_ADDR_TEXT_MAX];
    struct net_addr base;
    uint64_t bits;

    (void)buf_printf(list->error, "bad net/mask pattern: \"%.*s\"; write ", BYTES_FMT(word));
    if (net_addr_parse(bytes_sub(word, 0, (size_t)slash), &base) == 0 &&
        bytes_to_u64(bytes_sub(word, (size_t)slash + 1, word.n), &bits) == 0 &&
        bits <= (base.family == AF_INET ? 32 : 128)) {
        net_addr_mask(&base, (uint8_t)bits);
        net_addr_format(&base, text);
        (void)buf_printf(list->error, "%s/%u, or %.*s alone", text, (unsigned)bits, (int)slash,
                         (const char *)word.p);
    } else {
        (void)buf_append_str(list->error, "address/bits with the host bits zero");
    }
}

static int
add_word(struct match_list *list, struct bytes word)
{
    struct item item = {.negated = word.p[0] == '!'};
    int r;

    if (item.negated) {
        word = bytes_sub(word, 1, word.n);
    }
    if (word.n == 0) {
        return 0;
    }
    if (word.p[0] == '/') {
        char path[TABLE_PATH_MAX];

        if (list->depth >= FILES_DEEP_MAX || word.n >= sizeof(path)) {
            return GW_ERR_LIMIT;
        }
        memcpy(path, word.p, word.n);
        path[word.n] = '\0';
        list->depth++;
        r = config_read_lines(path, take_file_line, list, list->error);
        list->depth--;
        return r;
    }
    if (is_table(word)) {
        item.kind = ITEM_TABLE;
        r = table_open(list->config, word, TABLE_FOLD, &item.table, list->error);
    } else if ((list->flags & MATCH_ADDRESSES) != 0 && net_prefix_parse(word, &item.network) == 0) {
        item.kind = ITEM_NETWORK;
        r = 0;
    } else if ((list->flags & MATCH_ADDRESSES) != 0 && bytes_index(word, '/') > 0) {
        complain_of_network(list, word);
        return GW_ERR_CONFIG;
    } else {
        item.kind = ITEM_NAME;
        item.name = bytes_dup_str(word);
        r = item.name == NULL ? GW_ERR_NOMEM : 0;
        if (r == 0) {
            ascii_lower((uint8_t *)item.name, word.n);
        }
    }
    r = r == 0 ? add_item(list, &item) : r;
    if (r != 0) {
        table_free(&item.table);
        free(item.name);
    }
    return r;
}

static int
add_words(struct match_list *list, struct bytes text)
{
    int r = 0;

    while (r == 0) {
        size_t n = 0, depth = 0;

        while (text.n > 0 && memchr(", \t\r\n", text.p[0], 5) != NULL) {
            text = bytes_sub(text, 1, text.n);
        }
        if (text.n == 0) {
            break;
        }
        for (; n < text.n; n++) {
            depth += text.p[n] == '{';
            depth -= text.p[n] == '}' && depth > 0;
            if (depth == 0 && memchr(", \t\r\n", text.p[n], 5) != NULL) {
                break;
            }
        }
        r = add_word(list, bytes_sub(text, 0, n));
        text = bytes_sub(text, n, text.n);
    }
    return r;
}

int
match_list_open(const struct config *config, const char *text, unsigned flags, struct match_list **list_r,
                struct buf *error_r)
{
    struct match_list *list = calloc(1, sizeof(*list));
    int r = GW_ERR_NOMEM;

    *list_r = NULL;
    if (list == NULL) {
        return r;
    }
    list->flags = flags;
    list->config = config;
    list->error = error_r;
    r = add_words(list, bytes_str(text));
    list->error = NULL;
    if (r == 0) {
        *list_r = list;
        list = NULL; /* transferred */
    }
    match_list_free(&list);
    return r;
}

void
match_list_free(struct match_list **list)
{
    if (*list == NULL) {
        return;
    }
    for (size_t i = 0; i < (*list)->count; i++) {
        free((*list)->items[i].name);
        table_free(&(*list)->items[i].table);
    }
    free((*list)->items);
    free(*list);
    *list = NULL;
}

/* 1, 0, GW_ERR_TEMP */
static int
in_table(struct table *table, struct bytes key)
{
    struct table_hit hit;

    buf_init(&hit.value, TABLE_VALUE_MAX);
    int r = table_find(table, key, &hit);
    buf_free(&hit.value);
    return r == 0 ? 1 : r == GW_ERR_NOTFOUND ? 0 : GW_ERR_TEMP;
}

static int
table_has_name(const struct match_list *list, struct table *table, struct bytes name)
{
    int r = in_table(table, name);

    while (r == 0 && (list->flags & MATCH_PARENT) != 0 && !table_is_pattern(table)) {
        ptrdiff_t dot = bytes_index(name, '.');

        if (dot < 0) {
            break;
        }
        name = bytes_sub(name, (size_t)dot + 1, name.n);
        r = in_table(table, name);
    }
    return r;
}

static bool
name_matches(const struct match_list *list, const char *pattern, struct bytes name)
{
    struct bytes p = bytes_str(pattern);

    if (bytes_equal_nocase(p, name)) {
        return true;
    }
    if ((list->flags & MATCH_EXACT) != 0 || name.n <= p.n || !bytes_has_suffix_nocase(name, p)) {
        return false;
    }
    /* ".example.com" names subdomains; "example.com" does where parent_domain_matches_subdomains says so. */
    return p.n > 0 &&
           (p.p[0] == '.' || ((list->flags & MATCH_PARENT) != 0 && name.p[name.n - p.n - 1] == '.'));
}

static int
item_matches(const struct match_list *list, const struct item *item, struct bytes name,
             const struct net_addr *addr)
{
    char text[NET_ADDR_TEXT_MAX];
    int r = 0;

    switch (item->kind) {
    case ITEM_NETWORK:
        return addr != NULL && net_prefix_has(&item->network, addr);
    case ITEM_NAME:
        return name.n > 0 && name_matches(list, item->name, name);
    case ITEM_TABLE:
        if (name.n > 0) {
            r = table_has_name(list, item->table, name);
        }
        if (r == 0 && addr != NULL) {
            net_addr_format(addr, text);
            r = in_table(item->table, bytes_str(text));
        }
        return r;
    }
    return 0;
}

static int
match(const struct match_list *list, struct bytes name, const struct net_addr *addr)
{
    for (size_t i = 0; i < list->count; i++) {
        int r = item_matches(list, &list->items[i], name, addr);

        if (r < 0) {
            return r;
        }
        if (r == 1) {
            return !list->items[i].negated;
        }
    }
    return 0;
}

int
match_list_name(struct match_list *list, struct bytes name)
{
    return match(list, name, NULL);
}

int
match_list_client(struct match_list *list, const char *name, const struct net_addr *addr)
{
    bool named = name != NULL && strcmp(name, "unknown") != 0;

    return match(list, named ? bytes_str(name) : (struct bytes){0}, addr);
}

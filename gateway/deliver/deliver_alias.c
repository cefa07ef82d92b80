/*
 * deliver_alias - see the header. Before: deliver_local.c; after: the queue, which gets the leaves as new
 * recipients.
 *
 * The whole expansion happens here, not by sending each step through the queue again: so a loop among aliases
 * ends here, where it can be seen, and an alias that names itself means the mailbox of that name.
 */
#include "deliver/deliver_alias.h"

#include <string.h>

#include "base/error.h"

struct expansion {
    const struct deliver_transport *transport;
    struct arena *arena;
    struct bytes self;
    struct bytes seen[DELIVER_ALIAS_LEAVES_MAX];
    size_t seen_count;
    struct deliver_alias *out;
    const char *why;
};

bool
deliver_alias_next(struct bytes *rest, struct bytes *item_r)
{
    while (rest->n > 0) {
        bool quoted = false;
        size_t n = 0;

        for (; n < rest->n && (quoted || (rest->p[n] != ',' && rest->p[n] != '\n')); n++) {
            if (rest->p[n] == '\\' && n + 1 < rest->n) {
                n++;
            } else if (rest->p[n] == '"') {
                quoted = !quoted;
            }
        }
        if (n > rest->n) {
            n = rest->n;
        }
        struct bytes item = bytes_trim(bytes_sub(*rest, 0, n));

        *rest = bytes_sub(*rest, n + 1, rest->n);
        if (item.n > 1 && item.p[0] == '"' && item.p[item.n - 1] == '"') {
            item = bytes_sub(item, 1, item.n - 2);
        }
        if (item.n > 1 && item.p[0] == '<' && item.p[item.n - 1] == '>') {
            item = bytes_sub(item, 1, item.n - 2);
        }
        if (item.n > 0) {
            *item_r = item;
            return true;
        }
    }
    return false;
}

static bool
has_seen(const struct expansion *e, struct bytes name)
{
    for (size_t i = 0; i < e->seen_count; i++) {
        if (bytes_equal(e->seen[i], name)) {
            return true;
        }
    }
    return false;
}

static int
add_leaf(struct expansion *e, struct bytes address)
{
    for (size_t i = 0; i < e->out->count; i++) {
        if (bytes_equal_nocase(e->out->leaves[i], address)) {
            return 0;
        }
    }
    if (e->out->count == DELIVER_ALIAS_LEAVES_MAX) {
        e->why = "alias expansion is too large";
        return GW_ERR_TEMP;
    }
    e->out->leaves[e->out->count++] = address;
    return 0;
}

/* The local part in lower case when the item is an address of ours, else an empty view. GW_ERR_TEMP. */
static int
local_name(struct expansion *e, struct bytes item, struct bytes *name_r)
{
    ptrdiff_t at = bytes_rindex(item, '@');
    int match = 1;

    *name_r = bytes_of(NULL, 0);
    if (at >= 0) {
        struct bytes domain = bytes_sub(item, (size_t)at + 1, item.n);

        match =
            e->transport->local_domains != NULL ? match_list_name(e->transport->local_domains, domain) : 0;
        item = bytes_sub(item, 0, (size_t)at);
    }
    if (match < 0) {
        e->why = "domain table lookup failure";
        return GW_ERR_TEMP;
    }
    if (match == 1) {
        struct bytes name = arena_dup(e->arena, item);

        if (name.p == NULL) {
            e->why = "alias expansion is too large";
            return GW_ERR_TEMP;
        }
        ascii_lower((uint8_t *)(uintptr_t)name.p, name.n);
        *name_r = name;
    }
    return 0;
}

static int expand(struct expansion *e, struct bytes name, int depth, bool *is_alias_r);

static int
take_item(struct expansion *e, struct bytes item, int depth)
{
    struct bytes name;
    bool is_alias = false;

    if (item.p[0] == '|' || item.p[0] == '/' || bytes_has_prefix_nocase(item, BYTES_LIT(":include:"))) {
        e->why = "alias to a command, file or :include: list is not supported";
        return GW_ERR_TEMP;
    }
    bool escaped = item.p[0] == '\\'; /* "\name": no more aliases */

    item = escaped ? bytes_sub(item, 1, item.n) : item;
    int r = local_name(e, item, &name);
    if (r != 0) {
        return r;
    }
    if (name.n > 0 && bytes_equal(name, e->self)) {
        e->out->has_self = true;
        return 0;
    }
    if (name.n > 0 && !escaped && !has_seen(e, name)) {
        if ((r = expand(e, name, depth + 1, &is_alias)) != 0 || is_alias) {
            return r;
        }
    }
    return add_leaf(e, arena_dup(e->arena, item));
}

static int
expand(struct expansion *e, struct bytes name, int depth, bool *is_alias_r)
{
    struct table_hit hit = {0};
    struct bytes item;

    *is_alias_r = false;
    if (depth > DELIVER_ALIAS_DEPTH_MAX || e->seen_count == DELIVER_ALIAS_LEAVES_MAX) {
        e->why = "alias expansion is too deep";
        return GW_ERR_TEMP;
    }
    e->seen[e->seen_count++] = name;
    buf_init(&hit.value, TABLE_VALUE_MAX);
    int r = table_list_find(e->transport->aliases, name, &hit);
    if (r == 0) {
        struct bytes rest = arena_dup(e->arena, bytes_buf(&hit.value));

        *is_alias_r = true;
        while (r == 0 && deliver_alias_next(&rest, &item)) {
            r = take_item(e, item, depth);
        }
    } else if (r == GW_ERR_NOTFOUND) {
        r = 0;
    } else {
        e->why = "alias database unavailable";
        r = GW_ERR_TEMP;
    }
    buf_free(&hit.value);
    return r;
}

int
deliver_alias_expand(const struct deliver_transport *transport, struct arena *arena, struct bytes name,
                     struct deliver_alias *alias_r, const char **why_r)
{
    struct expansion *e = arena_alloc(arena, sizeof(*e));
    int r = GW_ERR_TEMP;

    memset(alias_r, 0, sizeof(*alias_r));
    *why_r = "out of memory";
    if (e == NULL) {
        return r;
    }
    if (transport->aliases_broken) {
        *why_r = "alias database unavailable";
        return r;
    }
    *e = (struct expansion){.transport = transport, .arena = arena, .self = name, .out = alias_r};
    if (transport->aliases == NULL || table_list_is_empty(transport->aliases)) {
        return 0;
    }
    r = expand(e, name, 0, &alias_r->is_alias);
    *why_r = e->why;
    return r;
}

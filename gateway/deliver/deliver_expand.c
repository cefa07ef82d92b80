/*
 * deliver_expand - walks what a local recipient stands for (local(8)). Before: deliver_local.c; after:
 * deliver_alias.c, deliver_dotforward.c for further items, deliver_target.c and deliver_forward.c for leaves.
 *
 * Order as in Postfix: alias of the whole local part, alias without the extension, .forward, mailbox. The
 * name of an alias in its own expansion means the mailbox. What is listed by somebody else's list (an alias
 * with an owner, a .forward, an :include:) gets a message of its own when it leads to another local user.
 * Depth and number of items are bounded; the filter against duplicates looks at address and depth together,
 * so that the same alias may be met again and a loop still ends.
 */
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "deliver/deliver_alias.h"
#include "deliver/deliver_forward.h"
#include "deliver/deliver_seen.h"

static struct bytes
lower(struct arena *arena, struct bytes text)
{
    struct bytes copy = arena_dup(arena, text);

    if (copy.p != NULL) {
        ascii_lower((uint8_t *)(uintptr_t)copy.p, copy.n);
    }
    return copy;
}

/* Names that no delimiter splits: list-request, owner-list, and those of the mail system itself. */
static bool
is_whole_name(const struct config *view, struct bytes local, char delimiter)
{
    return bytes_equal(local, BYTES_LIT("mailer-daemon")) || bytes_equal(local, BYTES_LIT("double-bounce")) ||
           bytes_equal(local, BYTES_LIT("postmaster")) ||
           (delimiter == '-' && config_bool(view, P_owner_request_special) &&
            (bytes_has_prefix_nocase(local, BYTES_LIT("owner-")) ||
             bytes_has_suffix_nocase(local, BYTES_LIT("-request"))));
}

bool
deliver_expand_split(struct deliver_run *run, struct bytes address, struct deliver_step *step)
{
    const struct config *view = run->transport->view;
    const char *delimiters = config_str(view, P_recipient_delimiter);
    ptrdiff_t at = bytes_rindex(address, '@');
    struct bytes local = at < 0 ? address : bytes_sub(address, 0, (size_t)at);
    size_t cut = 1;

    step->address = address;
    step->domain = at < 0 ? bytes_of(NULL, 0) : bytes_sub(address, (size_t)at + 1, address.n);
    step->local = lower(run->arena, local);
    if (step->local.p == NULL || local.n == 0 || local.n >= DELIVER_NAME_MAX ||
        bytes_index(local, '\0') >= 0) {
        deliver_run_say(run, DELIVERY_BOUNCED, "5.1.3", "bad address syntax");
        return false;
    }
    local = step->local;
    while (cut < local.n && strchr(delimiters, local.p[cut]) == NULL) {
        cut++;
    }
    if (cut < local.n && is_whole_name(view, local, (char)local.p[cut])) {
        cut = local.n;
    }
    step->user = bytes_sub(local, 0, cut);
    step->extension = bytes_sub(local, cut + 1, local.n);
    if (bytes_index(step->extension, '/') >= 0) {
        step->extension = bytes_of(NULL, 0); /* would lead out of $home in forward_path */
    }
    return true;
}

/* Sent on as part of a new message. */
static void
send_on(struct deliver_run *run, const struct deliver_step *step, struct bytes address)
{
    if (!deliver_seen_before(run->seen, "indirect %.*s", BYTES_FMT(address)) &&
        deliver_forward_add(run, step->sender, address, bytes_of(NULL, 0)) != 0) {
        deliver_run_say(run, DELIVERY_DEFERRED, "4.3.0", "alias expansion is too large");
    }
}

static int
add_address(void *context, struct bytes address)
{
    struct deliver_run *run = context;

    return deliver_forward_add(run, run->forward_sender, address, bytes_of(NULL, 0));
}

/* Addresses of other hosts go through canonical_maps and virtual_alias_maps, as new mail does. */
static void
send_away(struct deliver_run *run, const struct deliver_step *step, struct bytes address)
{
    struct router *router = run->transport->local->router;
    struct buf rewritten;
    int r;

    if (deliver_seen_before(run->seen, "indirect %.*s", BYTES_FMT(address))) {
        return;
    }
    buf_init(&rewritten, ENVELOPE_ADDRESS_MAX);
    run->forward_sender = step->sender;
    if ((r = router_rewrite(router, address, ADDRESS_ENVELOPE_RECIPIENT, &rewritten)) != 0 ||
        (r = router_expand(router, bytes_buf(&rewritten), add_address, run)) != 0) {
        deliver_run_say(run, DELIVERY_DEFERRED, "4.3.0", "address rewriting failed: %s", gw_strerror(r));
    }
    buf_free(&rewritten);
}

/* An address of a list: here or elsewhere? */
static void
take_address(struct deliver_run *run, const struct deliver_step *step, struct bytes item)
{
    struct router *router = run->transport->local->router;
    struct deliver_step next = *step;
    struct route *route = arena_alloc(run->arena, sizeof(*route));
    struct bytes address = bytes_of(NULL, 0);
    struct buf full;

    next.is_plain = item.p[0] == '\\';
    item = next.is_plain ? bytes_sub(item, 1, item.n) : item;
    buf_init(&full, ENVELOPE_ADDRESS_MAX);
    int r = router == NULL || route == NULL ? GW_ERR_TEMP : router_canonical_form(router, item, &full);
    if (r == 0) {
        address = arena_dup(run->arena, bytes_buf(&full));
        r = address.p == NULL ? GW_ERR_NOMEM : router_route(router, step->sender, address, route);
    }
    buf_free(&full);
    if (r == GW_ERR_SYNTAX || (r == 0 && address.n == 0)) {
        deliver_run_say(run, DELIVERY_BOUNCED, "5.1.3", "bad address syntax: \"%.*s\"",
                        BYTES_FMT(bytes_sub(item, 0, 200)));
    } else if (r != 0) {
        deliver_run_say(run, DELIVERY_DEFERRED, "4.3.0", "address resolver failure");
    } else if (strcmp(route->transport, run->transport->name) != 0) {
        send_away(run, step, address);
    } else if (deliver_expand_split(run, address, &next)) {
        deliver_expand_recipient(run, &next);
    }
}

static void
take_item(struct deliver_run *run, const struct deliver_step *step, struct bytes item)
{
    static const struct bytes INCLUDE = {(const uint8_t *)":include:", 9};
    struct deliver_step next = *step;

    if (++run->items > DELIVER_ITEMS_MAX) {
        deliver_run_say(run, DELIVERY_DEFERRED, "4.3.0", "alias expansion is too large");
        return;
    }
    next.level++;
    if (item.p[0] == '|') {
        deliver_target_command(run, step, bytes_sub(item, 1, item.n));
    } else if (item.p[0] == '/') {
        deliver_target_file(run, step, item);
    } else if (bytes_has_prefix_nocase(item, INCLUDE)) {
        deliver_include_run(run, step, bytes_trim(bytes_sub(item, INCLUDE.n, item.n)));
    } else {
        take_address(run, &next, item);
    }
}

unsigned
deliver_expand_list(struct deliver_run *run, const struct deliver_step *step, struct bytes list)
{
    struct bytes item;
    unsigned count = 0;

    while (run->items <= DELIVER_ITEMS_MAX && deliver_alias_next(run->arena, &list, &item)) {
        take_item(run, step, item);
        count++;
    }
    return count;
}

unsigned
deliver_expand_lines(struct deliver_run *run, const struct deliver_step *step, struct bytes text)
{
    struct bytes line;
    unsigned count = 0;

    while (bytes_next_line(&text, &line)) {
        if (line.n > 0 && line.p[0] != '#') {
            count += deliver_expand_list(run, step, line);
        }
    }
    return count;
}

/* owner-NAME becomes the sender of what NAME leads to (aliases(5)). False: it was said that the mail waits.
 */
static bool
take_list_owner(struct deliver_run *run, struct deliver_step *next, struct bytes name)
{
    const struct config *view = run->transport->view;
    const struct deliver_alias_source *source;
    struct bytes value, owner;

    if (bytes_has_prefix_nocase(name, BYTES_LIT("owner-")) ||
        bytes_has_suffix_nocase(name, BYTES_LIT("-request")) || !config_bool(view, P_owner_request_special)) {
        return true;
    }
    owner = bytes_str(arena_printf(run->arena, "owner-%.*s", BYTES_FMT(name)));
    int r = deliver_alias_find(run, owner, &value, &source);
    if (r == GW_ERR_NOTFOUND) {
        if (config_bool(view, P_reset_owner_alias)) {
            next->list_owner = bytes_of(NULL, 0);
        }
        return true;
    }
    if (r != 0) {
        return false;
    }
    struct bytes sender = owner;
    if (config_bool(view, P_expand_owner_alias)) {
        (void)deliver_alias_next(run->arena, &value, &sender);
    }
    const char *origin =
        bytes_rindex(sender, '@') >= 0 ? "" : arena_printf(run->arena, "@%s", config_str(view, P_myorigin));
    next->list_owner = owner;
    next->sender = bytes_str(arena_printf(run->arena, "%.*s%s", BYTES_FMT(sender), origin));
    return true;
}

/* True: `name` is an alias, and what it leads to was settled. */
static bool
try_alias(struct deliver_run *run, const struct deliver_step *step, struct bytes name)
{
    const struct deliver_alias_source *source;
    struct deliver_step next = *step;
    struct bytes value;

    if (bytes_equal_nocase(step->alias, name)) {
        return false; /* its own name in its expansion: the mailbox */
    }
    int r = deliver_alias_find(run, name, &value, &source);
    if (r != 0) {
        return r != GW_ERR_NOTFOUND;
    }
    if (step->level > DELIVER_LEVEL_MAX) {
        log_warning("local", "alias database loop for %.*s", BYTES_FMT(bytes_sub(name, 0, 200)));
        deliver_run_say(run, DELIVERY_BOUNCED, "5.4.6", "alias database loop for %.*s",
                        BYTES_FMT(bytes_sub(name, 0, 200)));
        return true;
    }
    if (!source->is_known) {
        deliver_run_say(run, DELIVERY_DEFERRED, "4.3.0", "cannot find alias database owner");
        return true;
    }
    next.alias = name;
    next.origin = DELIVER_FROM_ALIAS;
    next.user_rights = source->is_root ? NULL : &source->user;
    if (take_list_owner(run, &next, name) && deliver_expand_list(run, &next, value) == 0) {
        log_warning("local", "no recipient in alias lookup result for %.*s",
                    BYTES_FMT(bytes_sub(name, 0, 200)));
        deliver_run_say(run, DELIVERY_DEFERRED, "4.3.0", "alias database unavailable");
    }
    return true;
}

/* The name as an account may have it: no path, no option, nothing unprintable. */
static bool
is_account_name(struct bytes name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == '/' || name.p[i] <= 32 || name.p[i] == 127) {
            return false;
        }
    }
    return name.n > 0 && name.p[0] != '-' && !bytes_equal(name, BYTES_LIT(".")) &&
           !bytes_equal(name, BYTES_LIT(".."));
}

int
deliver_user_find(struct deliver_run *run, struct bytes name, const struct deliver_user **user_r)
{
    const struct config *view = run->transport->view;
    struct deliver_user *user = arena_alloc(run->arena, sizeof(*user));
    const char *text = arena_strdup(run->arena, name);

    *user_r = user;
    if (user == NULL || text == NULL) {
        return GW_ERR_TEMP;
    }
    int r = is_account_name(name) ? deliver_owner_user(text, user) : GW_ERR_NOTFOUND;
    user->owner.fork_attempts = (int)config_int(view, P_fork_attempts);
    user->owner.fork_delay_ms = config_int(view, P_fork_delay) * 1000;
    return r;
}

/* Hands the message as it is to another transport. */
static void
pass_on(struct deliver_run *run, const struct deliver_step *step, const char *transport)
{
    if (deliver_forward_add(run, step->sender, step->address, bytes_str(transport)) != 0) {
        deliver_run_say(run, DELIVERY_DEFERRED, "4.3.0", "out of memory");
    }
}

static void
unknown_user(struct deliver_run *run, const struct deliver_step *step)
{
    const struct config *view = run->transport->view;
    const char *transport = config_str(view, P_fallback_transport), *relay = config_str(view, P_luser_relay);
    struct buf address;

    if (transport[0] != '\0') {
        pass_on(run, step, transport);
        return;
    }
    buf_init(&address, ENVELOPE_ADDRESS_MAX);
    if (relay[0] != '\0' && step->level <= DELIVER_LEVEL_MAX &&
        deliver_target_expand(run, step, NULL, bytes_str(relay), config_str(view, P_forward_expansion_filter),
                              &address) == 0) {
        send_on(run, step, bytes_buf(&address));
    } else {
        deliver_run_say(run, DELIVERY_BOUNCED, "5.1.1", "unknown user: \"%.*s\"", BYTES_FMT(step->user));
    }
    buf_free(&address);
}

/* The account of that name. */
static void
deliver_account(struct deliver_run *run, const struct deliver_step *step)
{
    const char *transport = config_str(run->transport->view, P_mailbox_transport);
    const struct deliver_user *user;
    int r = deliver_user_find(run, step->user, &user);

    if (r != 0 && r != GW_ERR_NOTFOUND) {
        deliver_run_say(run, DELIVERY_DEFERRED, "4.3.0", "cannot find alias or user database");
    } else if (r == 0 && !step->is_plain && deliver_dotforward_run(run, step, user)) {
        return;
    } else if (deliver_seen_before(run->seen, "mailbox %.*s", BYTES_FMT(step->local))) {
        return;
    } else if (transport[0] != '\0') {
        pass_on(run, step, transport);
    } else if (r == 0) {
        deliver_target_mailbox(run, step, user);
    } else {
        unknown_user(run, step);
    }
}

void
deliver_expand_recipient(struct deliver_run *run, const struct deliver_step *step)
{
    bool is_other = step->list_owner.n > 0 && !bytes_equal(step->list_owner, step->user);

    if (deliver_seen_before(run->seen, "recipient %u %d %.*s", step->level, step->is_plain,
                            BYTES_FMT(step->address))) {
        return;
    }
    if (!step->is_plain &&
        (try_alias(run, step, step->local) || (step->extension.n > 0 && try_alias(run, step, step->user)))) {
        return;
    }
    if (!step->is_plain && (is_other || step->origin == DELIVER_FROM_INCLUDE)) {
        send_on(run, step, step->address);
        return;
    }
    deliver_account(run, step);
}

/*
 * deliver_virtual - the virtual mailbox agent (virtual(8)). Before: deliver_worker.c; after:
 * deliver_maildir.c or deliver_mbox.c, as the owner that virtual_uid_maps and virtual_gid_maps name.
 *
 * A table that cannot be read defers the mail; only a definite "not there" returns it. A mailbox path with
 * ".." is refused: a table that builds paths from addresses (regexp, pcre) must not lead out of
 * virtual_mailbox_base.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "deliver/deliver_maildir.h"
#include "deliver/deliver_mbox.h"
#include "deliver/deliver_owner.h"
#include "deliver/deliver_transport.h"

enum { STORE_LIMIT_MS = 600000, FORM = DELIVER_RETURN_PATH | DELIVER_ORIGINAL_TO | DELIVER_DELIVERED_TO };

int
deliver_virtual_open(const struct config *config, struct deliver_transport *transport, struct buf *why)
{
    const struct config *view = transport->view;
    const struct {
        enum param param;
        struct table_list **list;
    } LISTS[] = {
        {P_virtual_mailbox_maps, &transport->mailboxes},
        {P_virtual_uid_maps, &transport->uids},
        {P_virtual_gid_maps, &transport->gids},
    };

    (void)config;
    for (size_t i = 0; i < sizeof(LISTS) / sizeof(LISTS[0]); i++) {
        int r = table_list_open(view, config_str(view, LISTS[i].param), TABLE_FOLD, LISTS[i].list, why);

        if (r != 0) {
            return r;
        }
    }
    return 0;
}

static int
find_id(const struct deliver_transport *transport, struct table_list *list, struct bytes recipient,
        const char *name, struct table_hit *hit, uint64_t *id_r, struct deliver_outcome *outcome)
{
    buf_clear(&hit->value);
    int r = table_list_find_address(list, recipient, config_str(transport->view, P_recipient_delimiter),
                                    false, hit);

    if (r == 0 && bytes_to_u64(bytes_trim(bytes_buf(&hit->value)), id_r) == 0 && *id_r > 0 &&
        *id_r < UINT32_MAX) {
        return 0;
    }
    log_warning("virtual", "recipient %.*s: %s in %s", BYTES_FMT(bytes_sub(recipient, 0, 200)),
                r == GW_ERR_NOTFOUND ? "not found"
                : r == 0             ? "bad number"
                                     : "lookup failed",
                name);
    deliver_outcome_set(outcome, DELIVERY_DEFERRED, "4.3.5", "mail system configuration error");
    return GW_ERR_TEMP;
}

/* Relative to the base, without a way out of it. */
static bool
is_safe_path(struct bytes path)
{
    struct bytes part;

    while (bytes_next_token(&path, "/", &part)) {
        if (bytes_equal(part, BYTES_LIT("..")) || bytes_index(part, '\0') >= 0) {
            return false;
        }
    }
    return true;
}

/* base/value into path. */
static int
find_mailbox(const struct deliver_transport *transport, struct bytes recipient, struct table_hit *hit,
             char *path, size_t size, struct deliver_outcome *outcome)
{
    const char *base = config_str(transport->view, P_virtual_mailbox_base);
    int r = table_list_find_address(transport->mailboxes, recipient,
                                    config_str(transport->view, P_recipient_delimiter), false, hit);

    if (r == GW_ERR_NOTFOUND) {
        deliver_outcome_set(outcome, DELIVERY_BOUNCED, "5.1.1", "unknown user: \"%.*s\"",
                            BYTES_FMT(bytes_sub(recipient, 0, 200)));
        return r;
    }
    if (r != 0) {
        deliver_outcome_set(outcome, DELIVERY_DEFERRED, "4.3.0", "mailbox lookup failure");
        return r;
    }
    struct bytes value = bytes_buf(&hit->value);

    if (!is_safe_path(value) || value.n == 0 || base[0] != '/' ||
        (size_t)snprintf(path, size, "%s/%.*s", base, BYTES_FMT(value)) >= size) {
        log_warning("virtual",
                    "recipient %.*s: bad mailbox path in %s, or virtual_mailbox_base is not absolute",
                    BYTES_FMT(bytes_sub(recipient, 0, 200)),
                    hit->table != NULL ? hit->table : "virtual_mailbox_maps");
        deliver_outcome_set(outcome, DELIVERY_DEFERRED, "4.3.5", "mail system configuration error");
        return GW_ERR_CONFIG;
    }
    return 0;
}

static int
find_owner(const struct deliver_transport *transport, struct bytes recipient, struct table_hit *hit,
           struct deliver_owner *owner, struct deliver_outcome *outcome)
{
    uint64_t uid, gid;

    if (find_id(transport, transport->uids, recipient, "virtual_uid_maps", hit, &uid, outcome) != 0 ||
        find_id(transport, transport->gids, recipient, "virtual_gid_maps", hit, &gid, outcome) != 0) {
        return GW_ERR_TEMP;
    }
    if (uid < (uint64_t)config_int(transport->view, P_virtual_minimum_uid)) {
        log_warning("virtual", "recipient %.*s: user id %llu is under virtual_minimum_uid",
                    BYTES_FMT(bytes_sub(recipient, 0, 200)), (unsigned long long)uid);
        deliver_outcome_set(outcome, DELIVERY_DEFERRED, "4.3.5", "mail system configuration error");
        return GW_ERR_CONFIG;
    }
    *owner = (struct deliver_owner){.uid = (uid_t)uid, .gid = (gid_t)gid};
    return 0;
}

static void
store(const struct deliver_transport *transport, const struct deliver_task *task, size_t index, unsigned slot,
      const char *path, const struct deliver_owner *owner, struct deliver_outcome *outcome)
{
    const struct config *view = transport->view;
    struct deliver_message message;
    bool maildir = path[strlen(path) - 1] == '/';
    const char *locks = config_str(view, P_virtual_mailbox_lock);

    deliver_message_fill(&message, task, index,
                         FORM | (maildir ? 0 : DELIVER_FROM_LINE | DELIVER_QUOTE_FROM | DELIVER_BLANK_LINE));
    if (deliver_writer_has_loop(&message)) {
        deliver_outcome_set(outcome, DELIVERY_BOUNCED, "5.4.6", "mail forwarding loop for %.*s",
                            BYTES_FMT(bytes_sub(message.recipient, 0, 200)));
        return;
    }
    if (maildir) {
        struct deliver_maildir target = {
            .message = &message, .path = path, .hostname = config_str(view, P_myhostname), .serial = slot};

        deliver_owner_run(owner, STORE_LIMIT_MS, deliver_maildir_store, &target, outcome);
        return;
    }
    struct deliver_mbox target = {
        .message = &message,
        .path = path,
        .dotlock = strstr(locks, "dotlock") != NULL,
        .fcntl_lock = strstr(locks, "fcntl") != NULL || strstr(locks, "flock") != NULL,
        .size_limit = config_int(view, P_virtual_mailbox_limit),
        .lock_attempts = (int)config_int(view, P_deliver_lock_attempts),
        .lock_delay_ms = config_int(view, P_deliver_lock_delay) * 1000,
        .stale_s = config_int(view, P_stale_lock_time),
    };
    deliver_owner_run(owner, STORE_LIMIT_MS, deliver_mbox_store, &target, outcome);
}

void
deliver_virtual_run(const struct deliver_transport *transport, struct deliver_task *task, unsigned slot)
{
    struct table_hit hit = {0};

    buf_init(&hit.value, TABLE_VALUE_MAX);
    for (size_t i = 0; i < task->count; i++) {
        struct bytes recipient = task->job->envelope->recipients[i].address;
        struct deliver_outcome *outcome = &task->outcomes[i];
        struct deliver_owner owner;
        char path[PATH_MAX];

        buf_clear(&hit.value);
        if (find_mailbox(transport, recipient, &hit, path, sizeof(path), outcome) == 0 &&
            find_owner(transport, recipient, &hit, &owner, outcome) == 0) {
            store(transport, task, i, slot, path, &owner, outcome);
        }
    }
    buf_free(&hit.value);
}

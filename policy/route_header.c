/*
 * route_header - what cleanup(8) does to the header of a message, but for header_checks: addresses in sender
 * and recipient fields, fields that are dropped, fields that are missing.
 *
 * Before: receive_content.c with a message that just came in, sendmail with one from this host; after: the
 * content as it is scanned and queued. With no context and nothing to drop no byte is looked at again.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "message/address.h"
#include "message/header_rewrite.h"
#include "policy/route_internal.h"

enum { ADDRESS_BUF = 4096, DATE_SIZE = 64, STAMP_SIZE = 32 };

struct editing {
    struct router *router;
    const struct header_edit *edit;
    bool maps_senders, maps_recipients;
};

/* True: the form cannot change, which is so for nearly every address there is. */
static bool
is_whole(struct bytes address)
{
    struct bytes local, domain;

    address_split(address, &local, &domain);
    return local.n < address.n && domain.n > 0 &&
           (domain.p[0] == '[' || (bytes_index(domain, '.') >= 0 && domain.p[domain.n - 1] != '.'));
}

static int
map_address(void *context, unsigned kind, const struct header_address *place, struct bytes address,
            struct buf *out)
{
    const struct editing *editing = context;
    bool is_sender = (kind & FIELD_HAS_SENDERS) != 0;
    struct buf form;
    int r;

    if (address.n == 0 ||
        (is_whole(address) && !(is_sender ? editing->maps_senders : editing->maps_recipients))) {
        return 0;
    }
    buf_init(&form, ADDRESS_BUF);
    r = router_header_form(editing->router, editing->edit->context, address, place->is_one_name, &form);
    if (r == 0) {
        r = router_rewrite(editing->router, bytes_buf(&form),
                           is_sender ? ADDRESS_HEADER_SENDER : ADDRESS_HEADER_RECIPIENT, out);
    }
    buf_free(&form);
    return r == GW_ERR_LIMIT ? 0 : r == 0 ? !bytes_equal(bytes_buf(out), address) : r;
}

/* The sender as the envelope will have it. */
static int
write_sender(const struct editing *editing, struct buf *out)
{
    const struct envelope *envelope = editing->edit->envelope;
    struct buf canonical, rewritten;
    int r = 0;

    if (envelope->sender.n == 0) {
        return buf_append_str(out, "MAILER-DAEMON");
    }
    buf_init(&canonical, ADDRESS_BUF);
    buf_init(&rewritten, ADDRESS_BUF);
    if (router_canonical_form(editing->router, envelope->sender, &canonical) != 0 ||
        (r = router_rewrite(editing->router, bytes_buf(&canonical), ADDRESS_ENVELOPE_SENDER, &rewritten)) !=
            0 ||
        address_append_quoted(out, bytes_buf(&rewritten)) != 0) {
        r = r != 0 ? r : buf_append_printable(out, envelope->sender, ENVELOPE_ADDRESS_MAX, true);
    }
    buf_free(&canonical);
    buf_free(&rewritten);
    return r;
}

static int
add_from(const struct editing *editing, const char *resent, struct buf *out)
{
    bool has_sender = editing->edit->envelope->sender.n > 0;
    const char *name = has_sender ? editing->edit->full_name : NULL;
    bool standard = strcmp(config_str(editing->router->view, P_header_from_format), "obsolete") != 0;
    int r;

    if ((r = buf_printf(out, "%sFrom: ", resent)) != 0) {
        return r;
    }
    if (name != NULL && standard) {
        bool plain = strpbrk(name, "()<>[]:;@\\,.\"") == NULL;

        r = plain ? 0 : buf_append_byte(out, '"');
        for (; r == 0 && *name != '\0'; name++) {
            r = *name == '"' || *name == '\\' ? buf_append_byte(out, '\\') : 0;
            r = r == 0 ? buf_append_printable(out, bytes_of(name, 1), 1, true) : r;
        }
        r = r == 0 ? buf_append_str(out, plain ? " <" : "\" <") : r;
    }
    r = r == 0 ? write_sender(editing, out) : r;
    if (r == 0 && name != NULL) {
        r = standard ? buf_append_byte(out, '>') : buf_append_str(out, " (");
        if (r == 0 && !standard) {
            r = buf_append_printable(out, bytes_str(name), ENVELOPE_ADDRESS_MAX, true);
            r = r == 0 ? buf_append_byte(out, ')') : r;
        }
    }
    return r == 0 ? buf_append_str(out, "\r\n") : r;
}

/* Message-Id, Date, From and To, or their Resent- kin when the message was sent again (RFC 5322
 * section 3.6.6). */
static int
add_missing(const struct editing *editing, unsigned seen, struct buf *out, size_t *id_at_r)
{
    const struct config *view = editing->router->view;
    const struct envelope *envelope = editing->edit->envelope;
    const char *withheld = config_str(view, P_undisclosed_recipients_header);
    time_t arrival = (time_t)(envelope->arrival_us / 1000000);
    char date[DATE_SIZE], stamp[STAMP_SIZE];
    const char *resent = "";
    struct tm utc;
    int r = 0;

    for (enum header_field f = 0; f < FIELD_COUNT; f++) {
        resent = (seen & HEADER_FIELD_BIT(f)) != 0 && (header_field_kinds(f) & FIELD_IS_RESENT) != 0
                     ? "Resent-"
                     : resent;
    }
    bool again = resent[0] != '\0';
    if ((seen & HEADER_FIELD_BIT(again ? FIELD_RESENT_MESSAGE_ID : FIELD_MESSAGE_ID)) == 0) {
        (void)gmtime_r(&arrival, &utc);
        (void)strftime(stamp, sizeof(stamp), "%Y%m%d%H%M%S", &utc);
        r = buf_printf(out, "%sMessage-Id: ", resent);
        *id_at_r = again ? 0 : out->n;
        r = r == 0
                ? buf_printf(out, "<%s.%s@%s>\r\n", stamp, envelope->queue_id, config_str(view, P_myhostname))
                : r;
    }
    if (r == 0 && (seen & HEADER_FIELD_BIT(again ? FIELD_RESENT_DATE : FIELD_DATE)) == 0) {
        clock_rfc5322(arrival, date, sizeof(date));
        r = buf_printf(out, "%sDate: %s\r\n", resent, date);
    }
    if (r == 0 && (seen & HEADER_FIELD_BIT(again ? FIELD_RESENT_FROM : FIELD_FROM)) == 0) {
        r = add_from(editing, resent, out);
    }
    if (r == 0 && withheld[0] != '\0' &&
        (seen & (HEADER_FIELD_BIT(FIELD_TO) | HEADER_FIELD_BIT(FIELD_CC) | HEADER_FIELD_BIT(FIELD_RESENT_TO) |
                 HEADER_FIELD_BIT(FIELD_RESENT_CC))) == 0) {
        r = buf_printf(out, "%s\r\n", withheld);
    }
    return r;
}

/* The fields that change, or all of them as they stand when `whole`. 1: out holds them. */
static int
edit_fields(struct editing *editing, struct bytes header, bool whole, struct buf *out)
{
    struct router *router = editing->router;
    struct header_rules rules = {
        .map = editing->edit->context != HEADER_UNTOUCHED ? map_address : NULL,
        .context = editing,
        .drop = router->drop,
        .drop_others = router->drops_others ? config_str(router->view, P_message_drop_headers) : NULL,
        .field_limit = (size_t)config_int(router->view, P_header_size_limit),
    };
    int r = header_rewrite(header, &rules, out);

    if (r == 0 && whole) {
        r = buf_append_bytes(out, header);
        r = r == 0 ? 1 : r;
    }
    return r;
}

int
router_edit_header(struct router *router, const struct header_edit *edit, struct bytes content,
                   const struct trace_summary *summary, struct buf *out, struct bytes *message_id_r)
{
    struct editing editing = {router, edit, router_rewrites(router, ADDRESS_HEADER_SENDER),
                              router_rewrites(router, ADDRESS_HEADER_RECIPIENT)};
    bool adds = edit->context != HEADER_UNTOUCHED || config_bool(router->view, P_always_add_missing_headers);
    struct bytes header = bytes_sub(content, 0, summary->fields_end);
    bool more = content.n > header.n,
         blank = more && (content.p[header.n] == '\r' || content.p[header.n] == '\n');
    struct buf missing;
    size_t id_at = 0;
    int r = 0;

    *message_id_r = (struct bytes){0};
    if (edit->context == HEADER_UNTOUCHED && !adds && !router->drops_others &&
        (summary->seen & router->drop) == 0) {
        return 0;
    }
    buf_init(&missing, 4 * ADDRESS_BUF);
    if (adds && (r = add_missing(&editing, summary->seen, &missing, &id_at)) != 0) {
        goto out;
    }
    if ((r = edit_fields(&editing, header, missing.n > 0, out)) == 1 && missing.n > 0) {
        size_t before = out->n;

        if ((r = buf_append_bytes(out, bytes_buf(&missing))) == 0 && more && !blank) {
            r = buf_append_str(
                out, "\r\n"); /* what follows is no field: it was the text, without its empty line */
        }
        if (r == 0 && id_at > 0) {
            struct bytes rest = bytes_sub(bytes_buf(out), before + id_at, missing.n - id_at);

            (void)bytes_next_line(&rest, message_id_r);
        }
        r = r == 0 ? 1 : r;
    }
out:
    buf_free(&missing);
    return r;
}

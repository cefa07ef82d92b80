/*
 * trace - see the header. Before: receive_content.c; after: the field stands on top of the message.
 */
#include "message/trace.h"

#include "base/clock.h"
#include "base/error.h"
#include "message/address.h"

enum { DATE_MAX = 64 };

/* "[192.0.2.1]" or "[IPv6:2001:db8::1]" */
static int
append_literal(struct buf *out, const struct net_addr *addr)
{
    char text[NET_ADDR_TEXT_MAX];

    net_addr_format(addr, text);
    return buf_printf(out, "[%s%s]", addr->family == AF_INET6 ? "IPv6:" : "", text);
}

int
trace_received(struct buf *out, const struct envelope *envelope, const char *myhostname,
               const char *mail_name)
{
    const struct session_facts *session = &envelope->session;
    char date[DATE_MAX];
    int r = buf_append_str(out, "Received: from ");

    r = r == 0
            ? buf_append_printable(out, bytes_str(session->helo[0] != '\0' ? session->helo : session->name),
                                   SESSION_HELO_MAX, true)
            : r;
    r = r == 0 ? buf_printf(out, " (%s ", session->name) : r;
    r = r == 0 ? append_literal(out, &session->client) : r;
    r = r == 0 ? buf_append_str(out, ")\r\n") : r;
    if (r == 0 && session->tls_protocol[0] != '\0') {
        r = buf_printf(out,
                       "\t(using %s with cipher %s (%u/%u bits))\r\n\t(No client certificate requested)\r\n",
                       session->tls_protocol, session->tls_cipher, session->tls_bits, session->tls_bits);
    }
    r = r == 0 ? buf_printf(out, "\tby %s (%s) with %s id %s", myhostname, mail_name, session->protocol,
                            envelope->queue_id)
               : r;
    if (r == 0 && envelope->recipient_count == 1) {
        size_t before = out->n;

        r = buf_append_str(out, "\r\n\tfor <");
        r = r == 0 ? address_append_quoted(out, envelope->recipients[0].original) : r;
        r = r == 0 ? buf_append_byte(out, '>') : r;
        if (r == GW_ERR_SYNTAX) {
            buf_truncate(out, before); /* it cannot be written in a header: leave it out */
            r = 0;
        }
    }
    clock_rfc5322(envelope->arrival_us / 1000000, date, sizeof(date));
    return r == 0 ? buf_printf(out, "; %s\r\n", date) : r;
}

void
trace_summarize(struct bytes content, struct trace_summary *summary_r)
{
    struct bytes rest = content, field, name, value;

    *summary_r = (struct trace_summary){0};
    while (header_field_next(&rest, &field, &name, &value)) {
        enum header_field known = header_field_known(name);

        summary_r->seen |= HEADER_FIELD_BIT(known);
        summary_r->hops += known == FIELD_RECEIVED || known == FIELD_DELIVERED_TO;
        if (known == FIELD_MESSAGE_ID && summary_r->message_id.n == 0) {
            summary_r->message_id = bytes_trim(value);
            ptrdiff_t lf = bytes_index(summary_r->message_id, '\n');
            if (lf >= 0) { /* an id is one word; what is folded behind it is none */
                summary_r->message_id = bytes_trim(bytes_sub(summary_r->message_id, 0, (size_t)lf));
            }
        }
    }
    summary_r->fields_end = content.n - rest.n;
    if (rest.n > 0 && rest.p[0] == '\n') {
        rest = bytes_sub(rest, 1, rest.n);
    } else if (rest.n > 1 && rest.p[0] == '\r' && rest.p[1] == '\n') {
        rest = bytes_sub(rest, 2, rest.n);
    }
    summary_r->body_offset = content.n - rest.n;
}

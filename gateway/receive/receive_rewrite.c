/*
 * receive_rewrite - see the header. Before: receive_content.c, when the content is complete; after:
 * policy/route_header.c.
 *
 * The client is looked at once for each message, and only when some word may let it: most gateways talk to
 * strangers, whose header fields stay as they came. A table that cannot tell leaves them so too.
 */
#include "receive/receive_rewrite.h"

#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "receive/receive_session.h"

static bool
is_own_interface(const struct receive_session *session, const struct rewrite_client *client)
{
    (void)client;
    return router_is_own_address(session->port->router, &session->facts.client);
}

static bool
is_in_mynetworks(const struct receive_session *session, const struct rewrite_client *client)
{
    (void)client;
    return session->trusted_client;
}

static bool
is_authenticated(const struct receive_session *session, const struct rewrite_client *client)
{
    (void)client;
    return session->facts.sasl_user[0] != '\0';
}

/* Certificates of clients are not looked at in this version, so none is known. */
static bool
has_certificate(const struct receive_session *session, const struct rewrite_client *client)
{
    (void)session;
    (void)client;
    return false;
}

static bool
is_in_table(const struct receive_session *session, const struct rewrite_client *client)
{
    struct table_hit hit = {0};
    char text[NET_ADDR_TEXT_MAX];

    buf_init(&hit.value, TABLE_VALUE_MAX);
    net_addr_format(&session->facts.client, text);
    int r = table_find(client->table, bytes_str(text), &hit);
    buf_free(&hit.value);
    if (r != 0 && r != GW_ERR_NOTFOUND) {
        log_warning("smtpd", "%s: %s: lookup problem: header fields stay as they are",
                    session->envelope->queue_id, table_spec(client->table));
    }
    return r == 0;
}

static const struct {
    const char *word;
    bool (*is_it)(const struct receive_session *session, const struct rewrite_client *client);
} WORDS[] = {
    {"permit_inet_interfaces", is_own_interface},    {"permit_mynetworks", is_in_mynetworks},
    {"permit_sasl_authenticated", is_authenticated}, {"permit_tls_clientcerts", has_certificate},
    {"permit_tls_all_clientcerts", has_certificate},
};

/* The next word; blanks and commas inside braces do not end it. */
static bool
next_word(struct bytes *rest, struct bytes *word_r)
{
    size_t from = 0, to, depth = 0;

    while (from < rest->n && strchr(", \t\r\n", rest->p[from]) != NULL) {
        from++;
    }
    for (to = from; to < rest->n && (depth > 0 || strchr(", \t\r\n", rest->p[to]) == NULL); to++) {
        depth += rest->p[to] == '{';
        depth -= rest->p[to] == '}' && depth > 0;
    }
    *word_r = bytes_sub(*rest, from, to - from);
    *rest = bytes_sub(*rest, to, rest->n);
    return word_r->n > 0;
}

static int
add_word(const struct config *view, struct rewrite_clients *clients, struct bytes word, struct buf *error_r)
{
    struct rewrite_client *client = &clients->list[clients->count];
    size_t before = error_r->n;

    if (clients->count >= REWRITE_CLIENTS_MAX) {
        return buf_printf(error_r, "local_header_rewrite_clients: more than %d words", REWRITE_CLIENTS_MAX) ==
                       0
                   ? GW_ERR_CONFIG
                   : GW_ERR_NOMEM;
    }
    for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++) {
        if (bytes_equal_nocase(word, bytes_str(WORDS[i].word))) {
            client->is_it = WORDS[i].is_it;
            clients->count++;
            return 0;
        }
    }
    if (bytes_index(word, ':') < 0) {
        (void)buf_printf(error_r,
                         "local_header_rewrite_clients: unknown word \"%.*s\"; a table is written type:name",
                         BYTES_FMT(word));
        return GW_ERR_CONFIG;
    }
    (void)buf_append_str(error_r, "local_header_rewrite_clients: ");
    int r = table_open(view, word, TABLE_FOLD, &client->table, error_r);
    if (r == 0) {
        buf_truncate(error_r, before);
        client->is_it = is_in_table;
        clients->count++;
    }
    return r;
}

int
receive_rewrite_open(const struct config *view, struct rewrite_clients *clients_r, struct buf *error_r)
{
    struct bytes rest = bytes_str(config_str(view, P_local_header_rewrite_clients)), word;
    int r = 0;

    *clients_r = (struct rewrite_clients){0};
    while (r == 0 && next_word(&rest, &word)) {
        if (!bytes_equal_nocase(word, BYTES_LIT("check_address_map"))) { /* a table follows, as without it */
            r = add_word(view, clients_r, word, error_r);
        }
    }
    return r;
}

void
receive_rewrite_close(struct rewrite_clients *clients)
{
    for (size_t i = 0; i < clients->count; i++) {
        table_free(&clients->list[i].table);
    }
    clients->count = 0;
}

static enum header_context
find_context(const struct receive_session *session)
{
    const struct rewrite_clients *clients = &session->port->rewrite_clients;

    for (size_t i = 0; i < clients->count; i++) {
        if (clients->list[i].is_it(session, &clients->list[i])) {
            return HEADER_LOCAL;
        }
    }
    return config_str(session->port->view, P_remote_header_rewrite_domain)[0] != '\0' ? HEADER_REMOTE
                                                                                      : HEADER_UNTOUCHED;
}

int
receive_rewrite_header(struct receive_session *session, struct bytes content,
                       const struct trace_summary *summary, struct buf *out, struct bytes *message_id_r)
{
    const struct header_edit edit = {.context = find_context(session), .envelope = session->envelope};

    return router_edit_header(session->port->router, &edit, content, summary, out, message_id_r);
}

/*
 * receive_client_name - the client's verified host name: PTR of its address, and the name's addresses must
 * hold it.
 *
 * Before: receive_session.c at connect. As Postfix's smtpd_peer: the name is "unknown" unless both directions
 * agree; a resolver that cannot answer gives the TEMP state, which restrictions answer with 450, never with a
 * refusal for good. Loopback is known without asking, as any hosts file would say.
 */
#include "receive/receive_session.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "message/address.h"

enum { NAME_LOOKUP_MS = 10000, PTR_RECORDS_MAX = 4 };

static enum client_name_state
state_of(const struct dns_answer *answer)
{
    return answer->status == DNS_TEMPFAIL ? CLIENT_NAME_TEMP : CLIENT_NAME_NONE;
}

static bool
has_address(const struct dns_answer *answer, const struct net_addr *client)
{
    size_t length = client->family == AF_INET ? 4 : 16;

    for (size_t i = 0; i < answer->record_count; i++) {
        struct bytes data = answer->records[i].data;

        if (data.n == length && memcmp(data.p, client->ip, length) == 0) {
            return true;
        }
    }
    return false;
}

/* Does the name lead back to the client? */
static enum client_name_state
check_forward(struct receive_session *session, const char *name, int64_t deadline_ms)
{
    enum client_name_state state = CLIENT_NAME_FAIL;
    struct dns_answer *answer = NULL;
    enum dns_type type = session->facts.client.family == AF_INET ? DNS_A : DNS_AAAA;

    if (dns_query(session->tools->dns, name, type, deadline_ms, &answer) != 0) {
        return CLIENT_NAME_TEMP;
    }
    if (answer->status == DNS_TEMPFAIL) {
        state = CLIENT_NAME_TEMP;
    } else if (answer->status == DNS_FOUND && has_address(answer, &session->facts.client)) {
        state = CLIENT_NAME_OK;
    }
    dns_answer_free(&answer);
    return state;
}

static bool
is_loopback(const struct net_addr *addr)
{
    static const uint8_t v6[16] = {[15] = 1};

    return (addr->family == AF_INET && addr->ip[0] == 127) ||
           (addr->family == AF_INET6 && memcmp(addr->ip, v6, sizeof(v6)) == 0);
}

static void
take_name(struct receive_session *session, const char *name, enum client_name_state forward)
{
    struct session_facts *facts = &session->facts;

    (void)snprintf(facts->reverse_name, sizeof(facts->reverse_name), "%s", name);
    facts->reverse_state = CLIENT_NAME_OK;
    facts->name_state = forward;
    if (forward == CLIENT_NAME_OK) {
        (void)snprintf(facts->name, sizeof(facts->name), "%s", name);
    }
}

void
receive_client_name(struct receive_session *session)
{
    struct session_facts *facts = &session->facts;
    char query[DNS_NAME_MAX + 1];
    struct dns_answer *answer = NULL;
    int64_t deadline_ms = clock_monotonic_ms() + NAME_LOOKUP_MS;
    const char *suffix = facts->client.family == AF_INET6 ? "ip6.arpa" : "in-addr.arpa";

    facts->name_state = facts->reverse_state = CLIENT_NAME_TEMP;
    if (is_loopback(&facts->client)) {
        take_name(session, "localhost", CLIENT_NAME_OK);
        return;
    }
    if (net_addr_reversed(&facts->client, suffix, query, sizeof(query)) != 0 ||
        dns_query(session->tools->dns, query, DNS_PTR, deadline_ms, &answer) != 0) {
        return;
    }
    facts->name_state = facts->reverse_state = state_of(answer);
    for (size_t i = 0; i < answer->record_count && i < PTR_RECORDS_MAX; i++) {
        const char *name = answer->records[i].name;

        if (name == NULL || !address_is_hostname(bytes_str(name)) || strlen(name) >= sizeof(facts->name)) {
            continue;
        }
        take_name(session, name, check_forward(session, name, deadline_ms));
        if (facts->name_state == CLIENT_NAME_OK) {
            break;
        }
    }
    dns_answer_free(&answer);
}

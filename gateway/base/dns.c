/*
 * dns - blocking queries to the resolver role, one connection per thread; see the header.
 *
 * A resolver that went away gives DNS_TEMPFAIL after one attempt to connect again.
 */
#include "base/dns.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/dns_internal.h"
#include "base/error.h"
#include "base/ipc.h"

struct dns_client {
    enum role self;
    struct ipc_channel *channel;
};

bool
dns_name_is_askable(const char *name)
{
    size_t length = strlen(name), label = 0;

    if (length > 0 && name[length - 1] == '.') {
        length--;
    }
    if (length == 0 || length > 253) {
        return false;
    }
    for (size_t i = 0; i <= length; i++) {
        if (i == length || name[i] == '.') {
            if (label == 0 || label > 63) {
                return false;
            }
            label = 0;
        } else if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f) {
            return false;
        } else {
            label++;
        }
    }
    return true;
}

struct dns_answer *
dns_tempfail(void)
{
    struct dns_answer *answer = calloc(1, sizeof(*answer));

    if (answer != NULL) {
        answer->status = DNS_TEMPFAIL;
        answer->rcode = 2; /* SERVFAIL */
    }
    return answer;
}

struct dns_client *
dns_client_new(int self)
{
    struct dns_client *client = calloc(1, sizeof(*client));

    if (client != NULL) {
        client->self = (enum role)self;
    }
    return client;
}

void
dns_client_free(struct dns_client **client)
{
    if (*client != NULL) {
        ipc_channel_free(&(*client)->channel);
        free(*client);
        *client = NULL;
    }
}

/* 0, or an error after which the connection is gone. */
static int
ask_once(struct dns_client *client, struct bytes query, int64_t deadline_ms, struct dns_answer **answer_r)
{
    struct ipc_message message;
    int r;

    if (client->channel == NULL && (r = ipc_connect(client->self, ROLE_RESOLVER, &client->channel)) != 0) {
        return r;
    }
    r = ipc_call(client->channel, DNS_IPC_QUERY, query, NULL, 0, deadline_ms + DNS_GRACE_MS, &message);
    if (r == 0) {
        r = message.type == DNS_IPC_ANSWER ? dns_wire_get_answer(message.payload, answer_r) : GW_ERR_PEER;
        ipc_message_free(&message);
    }
    if (r != 0) {
        ipc_channel_free(&client->channel);
    }
    return r;
}

int
dns_query(struct dns_client *client, const char *name, enum dns_type type, int64_t deadline_ms,
          struct dns_answer **answer_r)
{
    struct buf query;
    int r;

    *answer_r = NULL;
    if (!dns_name_is_askable(name)) {
        return GW_ERR_SYNTAX;
    }
    buf_init(&query, DNS_QUERY_BYTES_MAX);
    r = dns_wire_put_query(&query, name, type, (uint32_t)clock_left_ms(deadline_ms));
    if (r == 0) {
        r = ask_once(client, bytes_buf(&query), deadline_ms, answer_r);
        if (r == GW_ERR_EOF || r == GW_ERR_SYS) {
            r = ask_once(client, bytes_buf(&query), deadline_ms, answer_r); /* the resolver was restarted */
        }
    }
    buf_free(&query);
    if (r != 0 && r != GW_ERR_NOMEM) {
        *answer_r = dns_tempfail();
        r = *answer_r == NULL ? GW_ERR_NOMEM : 0;
    }
    return r;
}

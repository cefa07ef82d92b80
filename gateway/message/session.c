/*
 * session - the byte form of session facts, as it travels in envelopes.
 */
#include "message/session.h"

#include "message/wire_addr.h"

int
wire_addr_pack(struct buf *buf, const struct net_addr *addr)
{
    int r = pack_u8(buf, addr->family);

    r = r == 0 ? pack_bytes(buf, bytes_of(addr->ip, sizeof(addr->ip))) : r;
    return r == 0 ? pack_u16(buf, addr->port) : r;
}

void
wire_addr_unpack(struct unpack *u, struct net_addr *addr_r)
{
    addr_r->family = unpack_u8(u);
    struct bytes ip = unpack_bytes(u, sizeof(addr_r->ip));
    for (size_t i = 0; i < sizeof(addr_r->ip); i++) {
        addr_r->ip[i] = i < ip.n ? ip.p[i] : 0;
    }
    addr_r->port = unpack_u16(u);
}

int
session_facts_pack(struct buf *buf, const struct session_facts *facts)
{
    const char *const texts[] = {
        facts->name,        facts->reverse_name, facts->helo,       facts->protocol, facts->sasl_user,
        facts->sasl_method, facts->tls_protocol, facts->tls_cipher, facts->service,  facts->ident};
    int r = wire_addr_pack(buf, &facts->client);

    r = r == 0 ? wire_addr_pack(buf, &facts->server) : r;
    r = r == 0 ? pack_u8(buf, (uint8_t)facts->name_state) : r;
    r = r == 0 ? pack_u8(buf, (uint8_t)facts->reverse_state) : r;
    r = r == 0 ? pack_u16(buf, facts->tls_bits) : r;
    for (size_t i = 0; r == 0 && i < sizeof(texts) / sizeof(texts[0]); i++) {
        r = pack_str(buf, texts[i]);
    }
    return r;
}

void
session_facts_unpack(struct unpack *u, struct session_facts *facts_r)
{
    *facts_r = (struct session_facts){0};
    wire_addr_unpack(u, &facts_r->client);
    wire_addr_unpack(u, &facts_r->server);
    facts_r->name_state = (enum client_name_state)(unpack_u8(u) & 3);
    facts_r->reverse_state = (enum client_name_state)(unpack_u8(u) & 3);
    facts_r->tls_bits = unpack_u16(u);
    unpack_str(u, facts_r->name, sizeof(facts_r->name));
    unpack_str(u, facts_r->reverse_name, sizeof(facts_r->reverse_name));
    unpack_str(u, facts_r->helo, sizeof(facts_r->helo));
    unpack_str(u, facts_r->protocol, sizeof(facts_r->protocol));
    unpack_str(u, facts_r->sasl_user, sizeof(facts_r->sasl_user));
    unpack_str(u, facts_r->sasl_method, sizeof(facts_r->sasl_method));
    unpack_str(u, facts_r->tls_protocol, sizeof(facts_r->tls_protocol));
    unpack_str(u, facts_r->tls_cipher, sizeof(facts_r->tls_cipher));
    unpack_str(u, facts_r->service, sizeof(facts_r->service));
    unpack_str(u, facts_r->ident, sizeof(facts_r->ident));
}

/*
 * wire_addr - the byte form of a network address; private to message/.
 */
#ifndef MESSAGE_WIRE_ADDR_H
#define MESSAGE_WIRE_ADDR_H

#include "base/net.h"
#include "base/pack.h"

int wire_addr_pack(struct buf *buf, const struct net_addr *addr);
void wire_addr_unpack(struct unpack *u, struct net_addr *addr_r);

#endif

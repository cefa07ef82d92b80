#!/usr/bin/env python3
"""A small DNS server on loopback for tests and the demo: UDP and TCP, authoritative for everything it is asked.

  dns = FakeDNS(); port = dns.start({"example.test": {"A": ["192.0.2.1"], "MX": ["10 mx.example.test"]}}); dns.stop()

A zone maps a name to types; "*" as a type answers for every type. Values: text as in a zone file; TXT may be str or
bytes, longer ones are split. The words TIMEOUT (no answer), SERVFAIL and NODATA stand for what they say. A name that is
not there is NXDOMAIN, unless names below it exist. "*.zone" names match everything below zone. As a program it reads
the same as JSON: fakedns.py ZONES.json [PORT [LOG]], prints its port, reads the file again at SIGHUP and writes each
question to LOG.
"""

import ipaddress
import json
import signal
import socket
import socketserver
import struct
import sys
import threading

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "TLSA": 52, "SPF": 99}
NAMES = {number: name for name, number in TYPES.items()}
TTL = 1


def wire_name(name):
    out = b""
    for label in name.rstrip(".").split("."):
        raw = label if isinstance(label, bytes) else label.encode("utf-8", "surrogateescape")
        out += bytes([len(raw)]) + raw
    return out + b"\0" if name.rstrip(".") else b"\0"


def rdata(kind, value):
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(value).packed
    if kind in ("TXT", "SPF"):
        strings = (value or [""]) if isinstance(value, list) else [value]  # no strings at all cannot be sent
        out = b""
        for text in strings:
            raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
            pieces = [raw[i:i + 255] for i in range(0, len(raw), 255)] or [b""]
            out += b"".join(bytes([len(p)]) + p for p in pieces)
        return out
    if kind == "MX":
        preference, host = value.split(None, 1) if " " in value.strip() else (value, "")
        return struct.pack("!H", int(preference)) + wire_name(host)
    return wire_name(value)


class FakeDNS:
    def __init__(self):
        self.zone, self.queries, self.servers, self.log = {}, [], [], None
        self.asked = []  # as queries, with the address that asked: (name, type, address)

    def set(self, zone):
        self.zone = {name.lower().rstrip("."): types for name, types in zone.items()}

    def find(self, name):
        """The types of a name; None: NXDOMAIN; {}: exists without data."""
        if name in self.zone:
            return self.zone[name]
        labels = name.split(".")
        for i in range(1, len(labels)):
            star = "*." + ".".join(labels[i:])
            if star in self.zone:
                return self.zone[star]
        return {} if any(known.endswith("." + name) for known in self.zone) else None

    def answer(self, packet, asker=None):
        """The reply's bytes; None for silence."""
        ident, flags, questions = struct.unpack("!HHH", packet[:6])
        at, labels = 12, []
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode("utf-8", "surrogateescape"))
            at += 1 + packet[at]
        kind_number = struct.unpack("!H", packet[at + 1:at + 3])[0]
        question = packet[12:at + 5]
        name, kind = ".".join(labels).lower(), NAMES.get(kind_number, str(kind_number))
        self.asked.append((name, kind, asker))
        self.queries.append((name, kind))
        if self.log:
            print(name, kind, file=self.log, flush=True)
        records, rcode = [], 0
        for _ in range(10):  # CNAMEs are followed here, as a recursive server does
            types = self.find(name)
            if types is None:
                rcode = 3
                break
            values = types.get(kind, types.get("*", []))
            if "TIMEOUT" in values:
                return None
            if "SERVFAIL" in values:
                rcode = 2
                break
            records += [(name, kind, v) for v in values if v != "NODATA"]
            if values or "CNAME" not in types or kind == "CNAME":
                break
            records.append((name, "CNAME", types["CNAME"][0]))
            name = types["CNAME"][0].lower().rstrip(".")
        body = b""
        for owner, record_kind, value in records:
            data = rdata(record_kind, value)
            body += wire_name(owner) + struct.pack("!HHIH", TYPES[record_kind], 1, TTL, len(data)) + data
        authority = b""
        if not records:
            soa = wire_name("ns.invalid") + wire_name("root.invalid") + struct.pack("!IIIII", 1, 1, 1, 1, TTL)
            authority = wire_name(name.split(".", 1)[-1]) + struct.pack("!HHIH", 6, 1, TTL, len(soa)) + soa
        head = struct.pack("!HHHHHH", ident, 0x8580 | (flags & 0x0100) | rcode, 1, len(records), 1 if authority else 0, 0)
        return head + question + body + authority

    def start(self, zone=None, port=0, address="127.0.0.1"):
        """Listens on UDP and TCP of the same port and returns it."""
        self.set(zone or {})
        owner = self

        class Udp(socketserver.BaseRequestHandler):
            def handle(self):
                packet, server = self.request
                reply = owner.answer(packet, self.client_address[0])
                if reply is None:
                    return
                if len(reply) > 1232:
                    reply = reply[:2] + struct.pack("!H", struct.unpack("!H", reply[2:4])[0] | 0x0200) + struct.pack(
                        "!HHHH", 1, 0, 0, 0) + reply[12:12 + len(packet) - 12]
                    end = 12
                    while reply[end]:
                        end += 1 + reply[end]
                    reply = reply[:end + 5]
                server.sendto(reply, self.client_address)

        class Tcp(socketserver.BaseRequestHandler):
            def handle(self):
                stream = self.request.makefile("rb")
                while True:
                    head = stream.read(2)
                    if len(head) < 2:
                        return
                    reply = owner.answer(stream.read(struct.unpack("!H", head)[0]), self.client_address[0])
                    if reply is None:
                        return
                    self.request.sendall(struct.pack("!H", len(reply)) + reply)

        class UdpServer(socketserver.ThreadingUDPServer):
            daemon_threads = True

        class TcpServer(socketserver.ThreadingTCPServer):
            daemon_threads, allow_reuse_address = True, True

        for _ in range(20):  # the same port must be free for both
            tcp = TcpServer((address, port), Tcp)
            try:
                udp = UdpServer((address, tcp.server_address[1]), Udp)
                break
            except OSError:
                tcp.server_close()
                if port:
                    raise
        udp.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.servers = [tcp, udp]
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return tcp.server_address[1]

    def stop(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()
        self.servers = []


def main():
    dns = FakeDNS()
    if len(sys.argv) > 3:
        dns.log = open(sys.argv[3], "a")

    def load(*_):
        with open(sys.argv[1]) as f:
            dns.set(json.load(f))

    signal.signal(signal.SIGHUP, load)
    port = dns.start({}, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    load()
    print(port, flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()

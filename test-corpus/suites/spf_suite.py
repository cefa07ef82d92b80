#!/usr/bin/env python3
"""The openspf suite for RFC 7208 through the running gateway: XCLIENT gives the client's address, a fake DNS the zones.

  ESTAFETA=build/estafeta test-corpus/suites/spf_suite.py rfc7208-tests.json

Prints each case that differs and a closing count. The result is read from the Received-SPF field of the delivered
message, or from the refusal.
"""
# Shows of contract.tsv: SPF1 SPF3 SPF4 SPF5 SPF7.

import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
from fakedns import FakeDNS  # noqa: E402
from gateway import Dialogue, Gateway, wait_for  # noqa: E402
from sink import Sink  # noqa: E402


def zone_of(data):
    """The suite's zone data as FakeDNS wants it. SPF entries stand for TXT unless TXT ones are given beside them."""
    zone = {}
    for name, entries in data.items():
        out = zone.setdefault(name.lower().rstrip("."), {})
        typed = any(isinstance(e, dict) and "TXT" in e for e in entries)
        for entry in entries:
            if entry == "TIMEOUT":
                out.setdefault("*", []).append("TIMEOUT")
                continue
            for kind, value in entry.items():
                if kind == "SPF" and typed:
                    continue
                kind = "TXT" if kind == "SPF" else kind
                if value == "NONE":
                    continue
                if value == "TIMEOUT":
                    out.setdefault(kind, []).append("TIMEOUT")
                elif kind == "MX":
                    out.setdefault(kind, []).append("%d %s" % (value[0], value[1]))
                else:
                    out.setdefault(kind, []).append(value)
    return zone


def quote(mailfrom):
    local, at, domain = mailfrom.rpartition("@")
    if not at:
        return mailfrom
    if not local or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+", local):
        local = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return local + "@" + domain


def run_case(gateway, sink, test):
    dialogue = Dialogue(gateway.port, timeout=60)
    try:
        dialogue.reply()
        dialogue.ask("EHLO test.example.test")
        host = test["host"]
        reply = dialogue.ask("XCLIENT NAME=[UNAVAILABLE] ADDR=%s" % ("IPV6:" + host if ":" in host else host))
        if not reply.startswith("220"):
            return "XCLIENT: " + reply.strip()
        reply = dialogue.ask("EHLO " + test["helo"])
        if not reply.startswith("250"):
            return "EHLO: " + reply.strip()
        before = len(sink.messages)
        reply = dialogue.message(quote(test["mailfrom"]), ["user@example.test"],
                                 b"From: x@example.test\r\nSubject: spf\r\n\r\nbody\r\n")
        if not reply.startswith("250"):
            return "reply: " + reply.strip()
        if not wait_for(lambda: len(sink.messages) > before, 10, 0.005):
            return "not delivered"
        field = re.search(rb"(?im)^Received-SPF: (\w+)", sink.messages[before].content)
        return field.group(1).decode().lower() if field else "no Received-SPF"
    finally:
        dialogue.close()


def main():
    scenarios = json.load(open(sys.argv[1]))
    only = sys.argv[2] if len(sys.argv) > 2 else None
    good, total, wrong = 0, 0, []
    sink = Sink()
    for scenario in scenarios:
        dns = FakeDNS()
        port = dns.start(zone_of(scenario["zonedata"]))
        gateway = Gateway({
            "relay_domains": "example.test",
            "transport_maps": "inline:{ example.test=smtp:[127.0.0.1]:%d }" % sink.port,
            "smtpd_authorized_xclient_hosts": "127.0.0.0/8",
            "dns_servers": "127.0.0.1:%d" % port,
            "content_filter": "scan:", "scan_pipeline": "spf", "spf_action": "tag",
        }).start()
        for name, test in scenario["tests"].items():
            if only and name != only:
                continue
            expected = test["result"] if isinstance(test["result"], list) else [test["result"]]
            got = run_case(gateway, sink, test)
            total += 1
            if got in expected:
                good += 1
            else:
                wrong.append(name)
                print("%s: %s: expected %s, got %s" % (scenario["description"], name, "/".join(expected), got), flush=True)
        gateway.stop()
        gateway.remove()
        dns.stop()
    print("%d of %d cases agree; not: %s" % (good, total, " ".join(wrong) or "none"))
    return 0 if total - good <= 3 else 1


if __name__ == "__main__":
    sys.exit(main())

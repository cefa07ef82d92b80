#!/usr/bin/env python3
"""The printed configurations under Debian's Postfix and under the gateway, side by side: every reply to the same sessions.

ESTAFETA=build/estafeta test-corpus/suites/guide_differential.py [NAME]: all configurations below, or those whose name has
NAME. About half a minute each; needs root, and Debian's postfix package, whose master never leaves the laboratory's namespaces.
Prints how many replies were compared and every difference that has no reason below. Not one of the tests: Postfix 3.7 is not
installed everywhere, and files of 2003 lack rows that it needs (anvil, proxymap ...), which are added for it here.
"""

import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "harness"))
from gateway import finish  # noqa: E402
from lab import Lab  # noqa: E402

OUTSIDE, INSIDE, NAMELESS = "203.0.113.5", "192.168.3.4", "203.0.113.77"
CONFIGURATIONS = (
    ("guide-relay/etc/s0", "relay"),
    ("guide-smarthost/etc/s0", "smtp"),
    ("guide-virtual-domain/etc/s0", "smtp"),
    ("guide-virtual-domain/etc/s1", "smtp"),
    ("guide-shared-domain/etc/s0", "smtp"),
    ("guide-shared-domain/etc/s0-relay", "relay"),
)
RECIPIENTS = (
    "<x@depart1.univ.es>", "<x@sub.depart1.univ.es>", "<x@univ.es>", "<x@gmail.test>", "<postmaster>", "<postmaster@relay.univ.es>",
    "<nadie@relay.univ.es>", "<x@depart3.univ.es>", "<x%gmail.test@relay.univ.es>", "<gmail.test!x@relay.univ.es>",
    "<@relay.univ.es:x@gmail.test>", "x@gmail.test", "<gerente@fund-univ.es>", "<nadie@fund-univ.es>", "<gramos@univ.es>",
    "<gramos@fund-univ.es>", "<gramos@localhost.univ.es>", "<gramos@[192.168.1.1]>", "<>", "<x@>", "<GRAMOS@UNIV.ES>",
    "<gramos+x@univ.es>", "<\"gramos\"@univ.es>", "<x@univ.es.>", "<x@sub.fund-univ.es>", "<x@smtp.univ.es>",
)
SENDERS = ("ana@ext.test", "")
# Rows that Postfix 3.7 needs and a master.cf of 2003 does not have.
MODERN_ROWS = """anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
scache unix - - n - 1 scache
verify unix - - n - 1 verify
trace unix - - n - 0 bounce
retry unix - - n - - error
"""
# Differences with their reason: step, pattern of ours, pattern of Postfix's.
MEANT = (
    ("EHLO", r"(?s)(?!.*ETRN)250", r"(?s).*250-ETRN"),  # no ETRN in this version
    ("RCPT", r"554 5\.7\.1 .*Recipient address rejected: Relay access denied|250 2\.1\.5", r"451 4\.3\.5 Server configuration error"),
    # ^ check_relay_domains: removed from Postfix, here with its old meaning
)

lab = Lab()
lab.dns({
    "5.113.0.203.in-addr.arpa": {"PTR": ["mx.ext.test"]}, "mx.ext.test": {"A": [OUTSIDE]},
    "client.example.test": {"A": [OUTSIDE]},
})


def files_of(path):
    directory = os.path.join(HERE, "..", "scenarios", path)
    files = {}
    for name in os.listdir(directory):
        with open(os.path.join(directory, name)) as f:
            files[name] = f.read()
    return files


def start_postfix(host):
    """Debian's own program, with its own files beside the printed ones."""
    host.write("master.cf", host.read("master.cf").decode() + MODERN_ROWS)
    for name in ("postfix-files", "dynamicmaps.cf", "postfix-script", "post-install", "makedefs.out"):
        if os.path.exists("/etc/postfix/" + name):
            with open("/etc/postfix/" + name) as f:
                host.write(name, f.read())
    for directory in ("postfix-files.d", "dynamicmaps.cf.d"):
        host.run("mkdir", "-p", "/etc/postfix/" + directory)
        for name in os.listdir("/etc/postfix/" + directory):
            with open(os.path.join("/etc/postfix", directory, name)) as f:
                host.write("/etc/postfix/%s/%s" % (directory, name), f.read())
    host.run("sh", "-c", "umount /usr/sbin/sendmail; chown postfix /var/lib/postfix; postalias /etc/aliases; "
             "for t in transport virtual; do [ ! -f /etc/postfix/$t ] || postmap hash:/etc/postfix/$t; done")
    host.run("postfix", "start")


def start_ours(host):
    for table in ("transport", "virtual"):
        if os.path.exists(os.path.join(host.directory, "etc", table)):
            host.tool("postmap", "/etc/postfix/" + table)
    host.tool("newaliases")
    host.start()


def ask(host):
    """All sessions; (case, step) and the reply."""
    replies = {}
    for sender in SENDERS:
        for recipient in RECIPIENTS:
            for source in (OUTSIDE, INSIDE, NAMELESS):
                dialogue = host.dialogue(source)
                said = {"banner": dialogue.reply(), "EHLO": dialogue.ask("EHLO client.example.test"),
                        "MAIL": dialogue.ask("MAIL FROM:<%s>" % sender), "RCPT": dialogue.ask("RCPT TO:" + recipient),
                        "RSET": dialogue.ask("RSET"), "VRFY": dialogue.ask("VRFY " + recipient)}
                dialogue.close()
                for step, reply in said.items():
                    replies[(sender, recipient, source, step)] = reply
    return replies


def is_meant(step, ours, theirs):
    return any(step == s and re.match(a, ours) and re.match(b, theirs) for s, a, b in MEANT)


def compare(path, hostname):
    answers = []
    for kind, start in (("ours", start_ours), ("postfix", start_postfix)):
        host = lab.host("%s-%s" % (path.replace("/", "-"), kind), "192.168.1.1/16", files=files_of(path),
                        users=["gramos", "rgarcia", "laurar"], hostname=hostname, aliases="postmaster: root\n")
        start(host)
        answers.append(ask(host))
        if kind == "ours":
            host.stop()
        else:
            host.run("postfix", "stop", check_status=False)
        host.leave()
    differences, meant, told = 0, 0, set()
    for key, ours in answers[0].items():
        theirs = answers[1][key]
        if ours == theirs:
            continue
        if is_meant(key[3], ours, theirs):
            meant += 1
            continue
        differences += 1
        if (key[1], key[3], ours, theirs) not in told:
            told.add((key[1], key[3], ours, theirs))
            print("  %s\n    ours    %r\n    postfix %r" % (key, ours, theirs))
    print("%s: %d replies, %d differences, %d meant" % (path, len(answers[0]), differences, meant), flush=True)
    return differences


wanted = sys.argv[1] if len(sys.argv) > 1 else ""
total = sum(compare(path, hostname) for path, hostname in CONFIGURATIONS if wanted in path)
try:
    finish()
finally:
    sys.exit(1 if total else 0)

#!/usr/bin/env python3
"""Addresses as Debian's Postfix rewrites them and as the gateway does: envelopes, header fields, refusals, side by side.

  ESTAFETA=build/estafeta test-corpus/suites/rewrite_differential.py [-v] [NAME]

All configurations below, or those whose name has NAME. Each message goes through both; compared are the replies to MAIL,
RCPT and the end of DATA, and the envelopes and header fields that arrive at a sink. Needs root (Postfix does) and Debian's
postfix package; its master is started in a directory of its own, on loopback ports, and stopped again. Prints every
difference that has no reason below and, at the end, how many messages were compared.

Meant, and levelled before comparing:
- Postfix writes a changed address field anew, one blank behind each comma and lines of about 70; the gateway puts the new
  address in the place of the old one and leaves the rest as it was. White space in fields counts as one blank.
- A source route in front of an address goes away in Postfix's headers; here it stays when nothing else changes.
- Received, Message-Id, Date and queue ids: only that they are there.
- Aliases that lead back to themselves are refused at RCPT with 5.4.6, not after the content with 4.6.0.
- What is no address (ODD below: words without a sign between them, quotes and brackets without an end) stays as it is, and so
  do comments and separators around addresses. Postfix makes something of it.
- An address that means the same before and after stays as it was written (UNCHANGED, where nothing is completed); Postfix takes
  quotes and routes away, or puts quotes, whenever it looks at one.
- Before text that follows fields without an empty line, Postfix puts one; here only when fields are added.
- Senders "user@" and "user@127.0.0.1", where parameters allow them, go on in the form that resolves.
"""

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "harness"))
from gateway import Dialogue, Gateway, finish, free_port, wait_for  # noqa: E402
from sink import Sink  # noqa: E402

MASTER = """127.0.0.1:{local} inet n - n - 20 smtpd
  -o local_header_rewrite_clients=permit_mynetworks
127.0.0.1:{remote} inet n - n - 20 smtpd
  -o local_header_rewrite_clients= -o smtpd_relay_restrictions=reject_unauth_destination
smtp unix - - n - 20 smtp
relay unix - - n - 20 smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
"""
POSTFIX_ROWS = """cleanup unix n - n - 0 cleanup
pickup unix n - n 60 1 pickup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
showq unix n - n - - showq
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
COMMON = {
    "myhostname": "gw.ours.test", "mydomain": "ours.test", "myorigin": "ours.test",
    "mydestination": "$myhostname, ours.test, localhost", "local_recipient_maps": "", "relay_domains": "behind.test",
    "append_dot_mydomain": "yes", "recipient_delimiter": "+", "content_filter": "", "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
    "smtpd_error_sleep_time": "0", "smtpd_hard_error_limit": "1000", "smtpd_soft_error_limit": "1000", "disable_dns_lookups": "yes",
    "smtp_tls_security_level": "none", "smtputf8_enable": "no", "smtpd_client_connection_rate_limit": "0",
    "smtpd_client_connection_count_limit": "0",
}
LOCAL, REMOTE, COMMAND = "local", "remote", "sendmail"  # where a message comes in; recipients of the last are arguments
TO = "x@behind.test"


def text(*lines):
    return "".join(line + "\r\n" for line in lines).encode("utf-8", "surrogateescape") + b"\r\ntext\r\n"


ADDRESSES = [  # as one header field holds them
    "user", "user@host", "user@host.ours.test", "user@foreign.test", "user@foreign.test.", "user@host.", "user@", "@foreign.test", "@",
    "host!user", "a!b!user", "user%host", "user%a%b", "a!user%b", "user%foreign.test@ours.test", "foreign.test!user@ours.test",
    "user@[192.0.2.1]", "user@[IPv6:2001:db8::1]", "user+ext", "user+ext@host", "\"quoted user\"", "\"quoted user\"@host", "\"a@b\"", "\"a!b\"",
    "\"a%b\"@host", "first.last", "first..last@host", ".user@host", "user.@host", "User@HOST", "User@Foreign.TEST",
    "Name <user>", "Name <user@host>", "\"Na, me\" <user>", "=?utf-8?q?N=C3=A1me?= <user>", "Name (comment) <user>", "user (Real Name)",
    "(before) user (behind)", "<user>", "<>", "Name <>", "<@a.test,@b.test:user@host>", "<@a.test:user>", "user, other@host, x@foreign.test",
    "user,other", "user ,other", "user,", ",user", ", ,user", "list: user, other@host;", "list: user;, z@foreign.test", "undisclosed-recipients:;",
    "Name <user>, Other <other@host>, third@foreign.test (Third)", "two words", "two words@host", "user @ host", "first . last @ host",
    "\"esc\\\"aped\"@host", "user@host (com(nest)ment)", "O'Neil <o'neil@host>", "a/b=c@host", "user\r\n\t(folded)", "Name\r\n <user>,\r\n other@host",
    "user@host; other", "user;other", "a@b@host", "<user> trailing", "Name <user@host", "Name user@host>", "\"unterminated", "user (unterminated",
    "user@[unterminated", "user@host.test.", "Náme <user@host>", "user@hóst", "n\\ame <us\\er>", "",
    "user@foreign.test, " * 12 + "user@foreign.test", "user, " * 30 + "last@host", "perez", "j.perez@ours.test", "j.perez+ext@ours.test",
    "old@former.test", "any+ext@former.test", "x@deep.sub.masq.test", "root@deep.sub.masq.test", "x@kept.masq.test", "loop", "chain1",
    "Pérez <j.perez>", "multi@ours.test", "weird@ours.test", "J.Perez@OURS.TEST", "gen@ours.test", "gen+ext@ours.test", "gen", "x@internal.test",
]
FIELDS = ["To", "From"]

SENDERS = ["user@client.test", "user", "user@host", "", "j.perez", "j.perez+ext@ours.test", "root@deep.sub.masq.test", "x@deep.sub.masq.test",
           "old@former.test", "host!user", "user%host", "\"quoted user\"@host", "User@HOST", "gen@ours.test", "gen+ext", "chain1", "loop",
           "watched@client.test", "via1@client.test", "via2@ours.test", "@foreign.test:user@client.test",
           "\"\"@ours.test", "user@host.", "user@", "@ours.test", "user@127.0.0.1", "-dash@client.test", "user@a..test", "user@-a.test", "a..b@client.test"]
RECIPIENTS = ["user", "user@host", "user@ours.test", "User@OURS.test", "user@ours.test.", "user@behind.test", "host!user", "user%host",
              "user%foreign.test@ours.test", "foreign.test!user@ours.test", "user@foreign.test@ours.test", "\"user@foreign.test\"@ours.test", "\"user@foreign.test\"",
              "user%a%b@ours.test", "a!b!user@ours.test", "user@[127.0.0.1]", "user@[192.0.2.77]", "user@127.0.0.1", "j.perez", "j.perez+ext",
              "j.perez@ours.test", "old@former.test", "any@former.test", "chain1", "one@alias.test", "list@alias.test", "nobody@alias.test",
              "any@catch.test", "any+ext@catch.test", "user+ext@plus.test", "user@plus.test", "self@ours.test", "selfplus@ours.test", "moved@ours.test", "moved+x@ours.test",
              "any@gone.test", "closed@closed.test", "x@closed.test", "x@disc.test", "x@sub.disc.test", "x@sub.behind.test", "x@nexthop.test", "x@local.test", "x@.test", "x@a..test", "x@-a.test",
              "\"quoted user\"@behind.test", "quoted\\ user@behind.test", "root@deep.sub.masq.test", "x@deep.sub.masq.test", "gen@ours.test", "x@internal.test",
              "round@alias.test", "user@foreign.test", "postmaster", "abuse@", "bcced@behind.test", "x@", "@foreign.test:user@ours.test",
              "user%foreign.test@behind.test", "foreign.test!user@behind.test", "user%foreign.test@foreign2.test", "user@ours.test%foreign.test",
              "a%b%ours.test", "\"\"@ours.test", "missing@deep.loop.test", "ext+ext@alias.test", "dot.test@alias.test", "\"\"@behind.test",
              "\"\"@foreign.test", "@ours.test", "@", "user@host.", "user@host..", "user.@ours.test", ".user@ours.test", "-dash@ours.test", "+plus@ours.test",
              "user@999.1.1.1", "user@[999.1.1.1]", "user@[IPv6:2001:db8::9]", "us\\er@ours.test", "a..b@ours.test", "x@under_score.test", "user@ours_.test"]

TABLES = {
    "canonical": "j.perez perez\n@former.test @behind.test\nchain1 chain2\nchain2 chain3@foreign.test\nloop loop\nmulti@ours.test a@foreign.test, b@foreign.test\n"
                 "weird@ours.test \"odd name\"@foreign.test\n",
    "generic": "gen@ours.test outside@provider.test\n@internal.test @provider.test\nperez isp.perez@provider.test\n",
    "virtual": "one@alias.test two@alias.test\ntwo@alias.test three@alias.test\nthree@alias.test user, out@foreign.test\n"
               "list@alias.test a@behind.test, b@behind.test b, user\nalias.test anything\n@catch.test all@behind.test\n@plus.test @behind.test\n"
               "self@ours.test self@ours.test, copy@behind.test\nselfplus@ours.test selfplus, selfplus+x@behind.test\n"
               "round@alias.test about@alias.test\nabout@alias.test round@alias.test\next@alias.test target@behind.test\ndot.test@alias.test host!user, user%behind.test\n",
    "relocated": "moved new@elsewhere.test\n@gone.test their new host\n",
    "transport": "closed.test error:5.1.1 cerrado\n.disc.test discard:\ndisc.test discard:\nnexthop.test :[127.0.0.1]:{sink}\nlocal.test local:\n",
    "sbcc": "watched@client.test watcher@behind.test\n@host.ours.test hostwatch@behind.test\n",
    "rbcc": "bcced@behind.test keeper@behind.test\n",
}


def messages(remote=False, senders=SENDERS, recipients=RECIPIENTS, addresses=ADDRESSES, more=()):
    cases = []
    for port in (LOCAL, REMOTE) if remote else (LOCAL,):
        cases += [(port, "s@client.test", [TO], text("%s: %s" % (field, address), "Subject: x")) for address in addresses for field in FIELDS]
        cases += [(port, sender, [TO], text("Subject: x")) for sender in senders]
        cases += [(port, "s@client.test", [recipient], text("From: a@client.test", "To: b@client.test")) for recipient in recipients]
        cases += [(port, sender, rcpts, data) for sender, rcpts, data in more]
    return cases


EVERY = ["Apparently-To", "Bcc", "Cc", "Disposition-Notification-To", "Errors-To", "Mail-Followup-To", "Reply-To", "Resent-Bcc", "Resent-Cc",
         "Resent-From", "Resent-Reply-To", "Resent-Sender", "Resent-To", "Return-Path", "Return-Receipt-To", "Sender", "To", "From", "Subject",
         "Content-Length", "X-To", "Delivered-To", "Message-ID", "Resent-Message-ID", "List-Post", "Mail-Reply-To"]
HEADERS = [("s@client.test", [TO], text("%s: user@host" % name)) for name in EVERY] + [
    ("s@client.test", [TO], text(*["%s: user@host" % name for name in EVERY])),
    ("", [TO], text("Subject: no sender")), ("s@client.test", [TO], b"\r\nno header\r\n"), ("s@client.test", [TO], b"no header at all\r\n"),
    ("s@client.test", [TO], b"To: user\r\nnot a field\r\nCc: user\r\n\r\ntext\r\n"), ("s@client.test", [TO], b" To: user\r\n\r\ntext\r\n"),
    ("s@client.test", [TO], text("to : user", "FROM:user", "cC:\tuser")), ("s@client.test", [TO], text("To: ", "Cc:", "From: user")),
    ("s@client.test", [TO, "y@behind.test", "user"], text("To: user, other", "Bcc: secret@behind.test")),
    ("s@client.test", [TO], text("Resent-From: user", "From: user")), ("s@client.test", [TO], text("Resent-To: user", "Resent-Date: x", "To: user")),
    ("s@client.test", [TO], text("To: user") + b"From: user\r\n"), ("s@client.test", [TO], text("X: 1", "To: user", "To: other", "From: a", "From: b")),
    ("s@client.test", [TO], b"To: user"), ("s@client.test", [TO], b"To: user\r\n"), ("s@client.test", [TO], b"From: a@b.test\r\n\r\n"),
]
LETTERS = [(COMMAND, "", arguments, content) for arguments, content in [
    (["x@behind.test"], b"Subject: x\n\ntext\n"), (["-f", "user", "x@behind.test"], b"Subject: x\n\ntext\n"),
    (["-F", "Ana Ruiz", "-f", "ana@foreign.test", "x@behind.test"], b"Subject: x\n\ntext\n"),
    (["-F", "Ruiz, \"Ana\" (x)", "x@behind.test"], b"\ntext\n"), (["-t"], b"To: user, x@behind.test\nBcc: y@behind.test\n\ntext\n"),
    (["-t"], b"To: user\nResent-To: x@behind.test\nResent-Bcc: z@behind.test\n\ntext\n"), (["-t", "w@behind.test"], b"To: x@behind.test\n\ntext\n"),
    (["-f", "", "x@behind.test"], b"From: user\n\ntext\n"), (["-f", "<>", "x@behind.test"], b"text without a header\n"),
    (["x@behind.test,user", "y@behind.test"], b"From: a\nTo: b\n\ntext\n"), (["Ana <x@behind.test>"], b"Cc: list: a, b;\n\n.\nnot sent\n"),
    (["-i", "x@behind.test"], b"Return-Path: <user>\nDate: today\nMessage-Id: <1@x>\nContent-Length: 3\n\n.\nsent\n"),
    (["-oi", "-f", "first..last@host", "x@behind.test"], b"From someone Mon Jan  1 00:00:00 2001\nTo: user\n\ntext\n"),
]]
MAPS = {"canonical_maps": "hash:{dir}/canonical", "virtual_alias_maps": "hash:{dir}/virtual", "relocated_maps": "hash:{dir}/relocated",
        "transport_maps": "hash:{dir}/transport", "sender_bcc_maps": "hash:{dir}/sbcc", "recipient_bcc_maps": "hash:{dir}/rbcc"}
SHORT = [a for a in ADDRESSES if len(a) < 60]

CONFIGURATIONS = {
    "sendmail": ({}, LETTERS),
    "sendmail-maps": (dict(MAPS, masquerade_domains="ours.test", header_from_format="obsolete", undisclosed_recipients_header="To: nobody:;"), LETTERS),
    "plain": ({}, messages(True, more=HEADERS)),
    "bare": ({"append_dot_mydomain": "no", "swap_bangpath": "no", "allow_percent_hack": "no", "append_at_myorigin": "no"}, messages(more=HEADERS)),
    "untrusted": ({"allow_untrusted_routing": "yes", "resolve_dequoted_address": "no", "append_dot_mydomain": "no"}, messages(True, addresses=())),
    "missing": ({"always_add_missing_headers": "yes", "remote_header_rewrite_domain": "domain.invalid", "undisclosed_recipients_header":
                 "To: undisclosed-recipients:;", "message_drop_headers": "subject, resent-bcc"}, messages(True, addresses=SHORT, more=HEADERS)),
    "maps": (dict(MAPS, always_bcc="archive@behind.test"), messages(True, more=HEADERS[:3])),
    "classes": (dict(MAPS, canonical_maps="", sender_canonical_maps="hash:{dir}/canonical", recipient_canonical_maps="inline:{{ perez=rcpt@foreign.test, user=ruser }}",
                     masquerade_domains="!kept.masq.test masq.test ours.test", masquerade_exceptions="root", propagate_unmatched_extensions="virtual",
                     masquerade_classes="envelope_sender, envelope_recipient, header_sender"), messages(more=HEADERS)),
    "masquerade": ({"masquerade_domains": "sub.masq.test masq.test $mydomain", "masquerade_exceptions": "root", "recipient_delimiter": "+-",
                    "canonical_maps": "hash:{dir}/canonical", "canonical_classes": "header_sender, envelope_recipient"}, messages()),
    "generic": ({"smtp_generic_maps": "hash:{dir}/generic", "propagate_unmatched_extensions": "generic"}, messages(True, more=HEADERS)),
    "generic-plain": ({"smtp_generic_maps": "hash:{dir}/generic", "canonical_maps": "hash:{dir}/canonical", "local_header_rewrite_clients": ""}, messages(more=HEADERS[:4])),
    "refused": ({"smtpd_relay_restrictions": "reject_unauth_destination", "relocated_maps": "hash:{dir}/relocated", "transport_maps": "hash:{dir}/transport",
                 "virtual_alias_maps": "hash:{dir}/virtual", "local_recipient_maps": "inline:{{ user=1, postmaster=1 }}",
                 "relay_recipient_maps": "inline:{{ user@behind.test=1, x@behind.test=1, bcced@behind.test=1}}"}, messages(addresses=())),
    "numeric": ({"resolve_numeric_domain": "yes", "resolve_null_domain": "yes", "append_dot_mydomain": "no"}, messages(addresses=())),
    "extensions": ({"recipient_delimiter": "-+.", "virtual_alias_maps": "inline:{{ target@alias.test=final@behind.test, user@behind.test=u@foreign.test }}",
                    "virtual_alias_domains": "alias.test", "canonical_maps": "inline:{{ perez=p.canon }}"},
                   messages(addresses=["perez-x", "perez+x", "perez.x.y", "owner-perez", "perez-request", "x-owner"],
                            recipients=["perez-x", "perez.y", "target-a@alias.test", "target.b@alias.test", "user+c@behind.test", "owner-target@alias.test",
                                        "target-request@alias.test", "-x@alias.test", "mailer-daemon", "double-bounce", "perez-"])),
    "senders": ({"sender_dependent_relayhost_maps": "inline:{{ via1@client.test=[127.0.0.1]:{sink}, @host.ours.test=DUNNO }}", "relayhost": "[127.0.0.1]:{sink}",
                 "default_transport": "smtp", "sender_dependent_default_transport_maps": "inline:{{ {{via2@ours.test = error:5.7.1 no such way}} }}",
                 "empty_address_default_transport_maps_lookup_key": "null@ours.test"},
                messages(addresses=(), recipients=["x@foreign.test"], more=[(s, ["x@foreign.test"], text("Subject: y")) for s in SENDERS])),
}


ODD = {"@foreign.test", "@", "(before) user (behind)", "two words", "two words@host", "user@host; other", "user;other", "<user> trailing",
       "Name <user@host", "Name user@host>", "\"unterminated", "user (unterminated", "n\\ame <us\\er>"}

UNCHANGED = {"\"a@b\"", "\"a!b\"", "\"a%b\"@host", "first..last@host", ".user@host", "user.@host", "<@a.test,@b.test:user@host>", "<@a.test:user>",
             "a@b@host"}


def is_meant(name, case):
    first = case[3].decode("utf-8", "surrogateescape").partition(": ")[2].partition("\r\nSubject: x")[0]
    return "round@alias.test" in case[2] or first in ODD or (name == "bare" and first in UNCHANGED) or case[3].startswith((b"no header at all", b"To: user\r\nnot a field")) or (name == "numeric" and case[1] in ("user@", "user@127.0.0.1"))


class Side:
    """What both programs have: a sink, two ports, and a way to wait until all mail is through."""

    def __init__(self, name):
        self.name, self.sink = name, Sink()
        self.ports = {LOCAL: free_port(), REMOTE: free_port()}
        self.taken = []

    def settings(self, extra, directory):
        here = "smtp:[127.0.0.1]:%d" % self.sink.port
        values = dict(COMMON, local_transport=here, relay_transport=here, default_transport=here, virtual_transport=here)
        values.update(extra)
        return {k: v.replace("{{", "{").replace("}}", "}").replace("{dir}", directory).replace("{sink}", str(self.sink.port)) for k, v in values.items()}

    def files(self):
        return {name: content.replace("{sink}", str(self.sink.port)) for name, content in TABLES.items()}

    def run(self, cases):
        """[(replies, {(sender, recipient): fields})], one for each case."""
        outcomes, identities = [], []
        for number, (port, sender, recipients, content) in enumerate(cases):
            if port == COMMAND:
                said = self.sendmail(recipients, b"X-Case: %d\n" % number + content)
                outcomes.append(([str(said.returncode)], {}))
                continue
            dialogue = Dialogue(self.ports[port], timeout=60)
            dialogue.hello("client.test")
            replies = [dialogue.ask(b"MAIL FROM:<" + sender.encode() + b">")]
            if replies[0].startswith("250"):
                replies += [dialogue.ask(b"RCPT TO:<" + r.encode() + b">") for r in recipients]
                if any(r.startswith("250") for r in replies[1:]):
                    dialogue.ask("DATA")
                    dialogue.send(b"X-Case: %d\r\n" % number + content + b"\r\n.\r\n" if not content.endswith(b"\r\n") else b"X-Case: %d\r\n" % number + content + b".\r\n")
                    replies.append(dialogue.reply())
                    if replies[-1].startswith("250"):
                        identities.append(replies[-1].split()[-1])
                        replies[-1] = "250 queued"
            dialogue.close()
            outcomes.append(([r.rstrip() for r in replies], {}))
        self.wait(identities)
        for message in self.sink.messages:
            found = re.search(rb"^X-Case: (\d+)", message.content, re.M)
            if found:
                for recipient in message.recipients:
                    outcomes[int(found.group(1))][1].setdefault((message.sender, recipient), () if arguments.e else fields_of(message.content))
        return outcomes

    def wait(self, identities):
        def is_through():
            log = self.log()
            started = re.findall(r": (\w+): from=<.*nrcpt=", log)
            return log.count("uid=") <= len(started) and all(identity + ": removed" in log for identity in started) and all(identity + ": removed" in log for identity in identities)

        if not wait_for(is_through, 60, 0.2):
            log = self.log()
            print("  %s: not through: %s" % (self.name, [i for i in identities if i + ": removed" not in log][:5]))
            print(log[-2000:])


class Ours(Side):
    def __init__(self, extra):
        super().__init__("ours")
        self.gateway = Gateway({}, master=MASTER.format(**self.ports), files=self.files())
        for name, value in self.settings(extra, self.gateway.config).items():
            self.gateway.settings[name] = value
        self.gateway.write("main.cf", "".join("%s = %s\n" % item for item in self.gateway.settings.items()))
        for table in TABLES:
            self.gateway.tool("postmap", os.path.join(self.gateway.config, table))
        self.gateway.start()

    def sendmail(self, words, content):
        return self.gateway.tool("sendmail", *words, data=content, check_status=False)

    def log(self):
        return self.gateway.log()

    def stop(self):
        self.gateway.stop()


class Postfix(Side):
    def __init__(self, extra):
        super().__init__("postfix")
        self.directory = tempfile.mkdtemp(prefix="postfix-oracle-")
        os.chmod(self.directory, 0o755)
        for sub in ("etc", "spool", "data"):
            os.mkdir(os.path.join(self.directory, sub))
        shutil.chown(os.path.join(self.directory, "data"), "postfix")
        etc = os.path.join(self.directory, "etc")
        settings = {"compatibility_level": "3.7", "queue_directory": self.directory + "/spool", "data_directory": self.directory + "/data",
                    "command_directory": "/usr/sbin", "daemon_directory": "/usr/lib/postfix/sbin", "shlib_directory": "/usr/lib/postfix",
                    "meta_directory": "/etc/postfix", "mail_owner": "postfix", "setgid_group": "postdrop", "inet_interfaces": "127.0.0.1",
                    "inet_protocols": "ipv4", "mynetworks": "127.0.0.0/8", "maillog_file": self.directory + "/maillog",
                    "maillog_file_prefixes": "/tmp, /var", "smtpd_peername_lookup": "no", "alias_maps": "", "alias_database": "",
                    "smtp_destination_concurrency_limit": "10", "address_verify_map": "", "enable_long_queue_ids": "yes"}
        settings.update(self.settings(extra, etc))
        with open(etc + "/main.cf", "w") as f:
            f.writelines("%s = %s\n" % item for item in settings.items())
        with open(etc + "/master.cf", "w") as f:
            f.write(MASTER.format(**self.ports) + POSTFIX_ROWS)
        for name, content in self.files().items():
            with open(os.path.join(etc, name), "w") as f:
                f.write(content)
            subprocess.run(["/usr/sbin/postmap", "-c", etc, "hash:" + os.path.join(etc, name)], check=True)
        self.etc = etc
        self.control("start")
        if not wait_for(self.is_up, 30, 0.2):
            raise RuntimeError("Postfix does not start:\n" + self.log())

    def sendmail(self, words, content):
        return subprocess.run(["/usr/sbin/sendmail", "-C", self.etc] + words, input=content, capture_output=True, timeout=30)

    def is_up(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.ports[LOCAL])) == 0

    def control(self, word):
        subprocess.run(["/usr/sbin/postfix", "-c", self.etc, word], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)

    def log(self):
        try:
            with open(self.directory + "/maillog", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def stop(self):
        self.control("stop")
        time.sleep(0.5)
        shutil.rmtree(self.directory, ignore_errors=True)


def fields_of(content):
    """The header as [(name, value with single blanks)], levelled, and what follows."""
    if b"report-type=delivery-status" in content:
        return "a bounce"
    header, _, body = content.partition(b"\r\n\r\n")
    unfolded = re.sub(rb"\r\n(?=[ \t])", b"", header).split(b"\r\n")
    fields = []
    for line in unfolded:
        value = re.sub(rb"^([^ :]+) *: *", rb"\1: ", re.sub(rb"[ \t]+", b" ", line)).strip()
        name = value.split(b":")[0].lower()
        if name in (b"received", b"x-case"):
            continue
        if name in (b"message-id", b"date", b"resent-message-id", b"resent-date") and b"user@host" not in value:
            value = line.split(b":")[0] + b": added"
        fields.append(re.sub(rb" ?, ?", b", ", value).decode("utf-8", "surrogateescape"))
    return tuple(fields), body


def compare(name, verbose):
    extra, cases = CONFIGURATIONS[name]
    outcomes = []
    for side_type in (Ours, Postfix):
        side = side_type(extra)
        try:
            outcomes.append(side.run(cases))
        finally:
            side.stop()
    differences, meant = 0, 0
    for case, ours, theirs in zip(cases, *outcomes):
        if ours == theirs:
            continue
        if is_meant(name, case):
            meant += 1
            continue
        differences += 1
        if verbose or differences <= 400:
            print("  %s MAIL <%s> RCPT %s DATA %r" % (case[0], case[1], case[2], case[3][:110]))
            if ours[0] != theirs[0]:
                print("    ours    %s\n    postfix %s" % (ours[0], theirs[0]))
            for key in sorted(set(ours[1]) | set(theirs[1])):
                if ours[1].get(key) != theirs[1].get(key):
                    print("    %s\n      ours    %s\n      postfix %s" % (key, ours[1].get(key), theirs[1].get(key)))
    print("%s: %d messages, %d differences, %d meant" % (name, len(cases), differences, meant), flush=True)
    return len(cases), differences


parser = argparse.ArgumentParser()
parser.add_argument("name", nargs="?", default="")
parser.add_argument("-v", action="store_true", help="all differences, however many")
parser.add_argument("-e", action="store_true", help="envelopes and replies only")
arguments = parser.parse_args()
counts = [compare(name, arguments.v) for name in CONFIGURATIONS if arguments.name in (name, "")]
print("%d messages compared, %d differences" % tuple(sum(column) for column in zip(*counts)))
finish()

#!/usr/bin/env python3
"""Ten real messages through a running gateway, and a table of what became of each. `sh gateway/start.sh --demo`.

Starts, on loopback and in a temporary directory: a DNS server with the demo's zones, a spamd, the gateway. Everything
it started is gone when it ends.
"""

import base64
import glob
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "test-corpus", "harness"))
os.environ.setdefault("ESTAFETA", os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else "")
from fakedns import FakeDNS  # noqa: E402
from gateway import Dialogue, Gateway, free_port, wait_for  # noqa: E402
import dkimsign  # noqa: E402

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
OUTSIDE = "127.0.0.9"  # not in mynetworks: a stranger


def mail(subject, body=b"Hello.\r\n", sender="ana@sender.test", extra=b""):
    return (b"From: <%s>\r\nTo: <user@example.test>\r\nSubject: %s\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n"
            b"Message-ID: <%d@sender.test>\r\nMIME-Version: 1.0\r\n%s\r\n%s"
            % (sender.encode(), subject.encode(), time.monotonic_ns(), extra, body))


def with_attachment(subject, name, data):
    encoded = b"\r\n".join(re.findall(b".{1,76}", base64.b64encode(data)))
    return mail(subject, b"--b\r\nContent-Type: text/plain\r\n\r\nSee the attachment.\r\n--b\r\n"
                b"Content-Type: application/octet-stream; name=\"" + name + b"\"\r\n"
                b"Content-Disposition: attachment; filename=\"" + name + b"\"\r\n"
                b"Content-Transfer-Encoding: base64\r\n\r\n" + encoded + b"\r\n--b--\r\n",
                extra=b"Content-Type: multipart/mixed; boundary=b\r\n")


def zipped(name, data):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr(name, data)
    return out.getvalue()


def start_spamd(directory):
    socket_path = os.path.join(directory, "spamd.sock")
    argv = ["spamd", "--local", "--max-children=2", "--socketpath=" + socket_path, "--socketmode=0666",
            "--syslog=" + os.path.join(directory, "spamd.log")]
    if os.getuid() == 0:
        argv += ["-u", "nobody"]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if not wait_for(lambda: os.path.exists(socket_path), 60, 0.1):
        sys.exit("demo: spamd did not start; see %s/spamd.log" % directory)
    return process, socket_path


def where_it_went(gateway, maildir, before, queue_id, seconds=5):
    def found():
        return len(glob.glob(maildir + "/new/*")) > before
    if queue_id and wait_for(found, seconds):
        return "Maildir"
    if queue_id and re.search(re.escape(queue_id) + ": quarantine", gateway.log()):
        return "quarantine"
    return "queue" if queue_id else "refused"


def main():
    private, record = dkimsign.make_key()
    directory = tempfile.mkdtemp(prefix="estafeta-demo-")
    os.chmod(directory, 0o755)
    dns = FakeDNS()
    spamd = None
    gateway = None
    try:
        dns_port = dns.start({
            "sender.test": {"MX": ["10 mx.sender.test"], "TXT": ["v=spf1 ip4:%s -all" % OUTSIDE], "A": [OUTSIDE]},
            "mx.sender.test": {"A": [OUTSIDE]},
            "forged.test": {"MX": ["10 mx.forged.test"], "TXT": ["v=spf1 ip4:192.0.2.25 -all"]},
            "mx.forged.test": {"A": ["192.0.2.25"]},
            "demo._domainkey.sender.test": {"TXT": [record]},
            "9.0.0.127.in-addr.arpa": {"PTR": ["mx.sender.test"]},
            "client.sender.test": {"A": [OUTSIDE]},
        })
        spamd, spamd_socket = start_spamd(directory)
        gateway = Gateway({
            "mynetworks": "127.0.0.1/32",
            "content_filter": "scan:",
            "dns_servers": "127.0.0.1:%d" % dns_port,
            "disable_dns_lookups": "no",
            "smtpd_peername_lookup": "yes",
            "header_checks": "regexp:header_checks",
            "banned_name_checks": "pcre:" + os.path.join(ROOT, "rules", "banned_names"),
            "clamav_database_directory": "/var/lib/clamav",
            "spamassassin_server": "unix:" + spamd_socket,
            "virtual_mailbox_domains": "example.test",
            "virtual_mailbox_base": os.path.join(directory, "mail"),
            "virtual_mailbox_maps": "static:example.test/",
            "virtual_uid_maps": "static:%d" % os.getuid() if os.getuid() else "static:65534",
            "virtual_gid_maps": "static:%d" % os.getgid() if os.getuid() else "static:65534",
            "virtual_minimum_uid": "1",
            "virtual_transport": "virtual",
        }, files={"header_checks": "/^Subject:.*cheap watches/ REJECT we do not buy watches\n"})
        maildir = os.path.join(directory, "mail", "example.test")
        os.mkdir(os.path.join(directory, "mail"))
        if os.getuid() == 0:
            os.chown(os.path.join(directory, "mail"), 65534, 65534)
        gateway.start()
        clean = mail("quarterly report")
        signed = dkimsign.sign(mail("signed"), private, "sender.test", "demo")
        rows = [
            ("clean", "ana@sender.test", clean),
            ("EICAR inside a zip", "ana@sender.test", with_attachment("invoice", b"invoice.zip", zipped("a.com", EICAR))),
            ("GTUBE", "ana@sender.test", mail("offer", GTUBE + b"\r\n")),
            ("forged sender, SPF -all", "boss@forged.test", mail("wire transfer", sender="boss@forged.test")),
            ("DKIM valid", "ana@sender.test", signed),
            ("DKIM broken", "ana@sender.test", signed.replace(b"Hello.", b"Hullo.")),
            ("dangerous attachment name", "ana@sender.test", with_attachment("photo", b"photo.jpg.exe", b"MZ harmless")),
            ("header rule", "ana@sender.test", mail("cheap watches")),
            ("5 MB attachment", "ana@sender.test", with_attachment("plans", b"plans.bin", os.urandom(5 * 1024 * 1024))),
            ("null sender", "", mail("Undelivered", sender="mailer-daemon@sender.test")),
        ]
        print("%-26s %-11s %-58s %-10s %8s" % ("message", "verdict", "reply to DATA", "went to", "time"))
        for what, sender, content in rows:
            before = len(glob.glob(maildir + "/new/*"))
            start = time.monotonic()
            dialogue = Dialogue(gateway.port, source=OUTSIDE, timeout=60)
            dialogue.hello("client.sender.test")
            reply = dialogue.message(sender, ["user@example.test"], content).strip()
            took = (time.monotonic() - start) * 1000
            dialogue.close()
            queued = re.search(r"queued as (\S+)", reply)
            went = where_it_went(gateway, maildir, before, queued.group(1) if queued else None)
            verdict = {"Maildir": "accept", "queue": "accept"}.get(went, went if queued else
                                                                   "reject" if reply.startswith("5") else "tempfail")
            print("%-26s %-11s %-58s %-10s %5d ms" % (what, verdict, reply[:58], went, took), flush=True)
    finally:
        if gateway is not None:
            gateway.stop()
            shutil.rmtree(gateway.directory, ignore_errors=True)
        if spamd is not None:
            spamd.send_signal(signal.SIGTERM)
            spamd.wait(20)
        dns.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()

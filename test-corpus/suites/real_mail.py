#!/usr/bin/env python3
"""Real messages through the whole pipeline: each comes out byte-identical apart from prepended headers.

  ESTAFETA=build/estafeta test-corpus/suites/real_mail.py DIR

DIR holds one raw message a file. Line ends are made CRLF first, as a client would send them. A real spamd runs when
there is one; no message is refused here (actions are set to tag), so that every one can be compared.
"""

import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
from gateway import ROOT, Dialogue, Gateway, wait_for  # noqa: E402
from sink import Sink  # noqa: E402


def as_sent(raw):
    """The file as a client sends it: CRLF line ends; the mbox line that some files begin with is not part of it."""
    lines = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    if lines and lines[0].startswith(b"From "):
        lines = lines[1:]
    if lines and lines[-1] == b"":
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def main():
    directory = sys.argv[1]
    work = tempfile.mkdtemp(prefix="estafeta-mail-")
    os.chmod(work, 0o755)
    socket_path = os.path.join(work, "spamd.sock")
    spamd = subprocess.Popen(["spamd", "--local", "--max-children=2", "--socketpath=" + socket_path,
                              "--socketmode=0666", "--syslog=" + os.path.join(work, "spamd.log")]
                             + (["-u", "nobody"] if os.getuid() == 0 else []))
    if not wait_for(lambda: os.path.exists(socket_path), 60, 0.1):
        sys.exit("spamd did not start")
    sink = Sink()
    gateway = Gateway({
        "local_header_rewrite_clients": "",  # byte by byte
        "relay_domains": "example.test", "content_filter": "scan:", "message_size_limit": "0", "mailbox_size_limit": "0",
        "transport_maps": "inline:{ example.test=smtp:[127.0.0.1]:%d }" % sink.port,
        "virus_action": "tag", "spf_action": "tag", "dkim_action": "tag", "banned_action": "tag",
        "spam_reject_level": "", "spamassassin_server": "unix:" + socket_path,
        "header_checks": "regexp:header_checks", "body_checks": "regexp:body_checks",
        "banned_name_checks": "pcre:" + os.path.join(ROOT, "rules", "banned_names"),
    }, files={"header_checks": "/^X-Nobody-Sends-This:/ REJECT\n", "body_checks": "/nobody writes this line/ REJECT\n"})
    gateway.start()
    same, wrong = 0, []
    try:
        for name in sorted(os.listdir(directory)):
            with open(os.path.join(directory, name), "rb") as f:
                content = as_sent(f.read())
            before = len(sink.messages)
            dialogue = Dialogue(gateway.port, timeout=120)
            dialogue.hello()
            reply = dialogue.message("s@client.test", ["user@example.test"], content)
            dialogue.close()
            if not reply.startswith("250"):
                wrong.append(name)
                print("%s: %s" % (name, reply.strip()))
                continue
            arrived = wait_for(lambda: len(sink.messages) > before, 20, 0.005)
            got = sink.messages[before].content if arrived else b""
            if got.endswith(content) and got[:len(got) - len(content)].endswith(b"\r\n"):
                same += 1
            else:
                wrong.append(name)
                print("%s: %s" % (name, "differs" if arrived else "not delivered"))
    finally:
        gateway.stop()
        gateway.remove()
        spamd.terminate()
        spamd.wait(20)
        shutil.rmtree(work, ignore_errors=True)
    print("%d of %d came out byte-identical behind prepended headers" % (same, same + len(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

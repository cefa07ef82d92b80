#!/usr/bin/env python3
"""Messages per second and CPU per message, scanning off and with each scanner: prints a table.

  ESTAFETA=build/estafeta test-corpus/bench/scanners.py [MESSAGES]

Load by Debian's smtp-source (20 sessions, 4 KB messages), delivery to Debian's smtp-sink, all on 127.0.0.1. CPU is that
of the gateway's processes alone (spamd's own is not in it). ClamAV has the database that is installed, or 60,001
signatures made from a fixed seed.
"""

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
from fakedns import FakeDNS  # noqa: E402
from gateway import ROOT, Gateway, free_port, wait_for  # noqa: E402

SESSIONS, SIZE = 20, 4096
TICK = os.sysconf("SC_CLK_TCK")
PIPELINES = ["", "header", "body", "banned", "clamav", "spf", "dkim", "spamassassin",
             "header body banned clamav spf dkim"]


def make_signatures(directory):
    rng = random.Random(7)
    os.makedirs(directory)
    shutil.copy(os.path.join(ROOT, "rules", "clamav", "test-files.ndb"), directory)
    with open(os.path.join(directory, "synthetic.ndb"), "w") as f:
        for i in range(60000):
            f.write("Synth.Body-%d:%d:*:%s\n" % (i, rng.choice([0, 1, 2, 3, 4, 6, 7]), rng.randbytes(rng.randint(16, 60)).hex()))
    return directory


def cpu_seconds(gateway):
    """User and system time of the gateway's processes, dead children included."""
    total = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if gateway._is_ours(int(name)):
                    with open("/proc/%s/stat" % name) as f:
                        fields = f.read().rsplit(")", 1)[1].split()
                    total += sum(int(fields[i]) for i in (11, 12, 13, 14))
            except OSError:
                pass
    return total / TICK


def count_delivered(sink, state):
    chunk = sink.stdout.read()
    if chunk:
        state["text"] = (state["text"] + chunk)[-64:]
        found = re.findall(rb"mesg=(\d+)", state["text"][:-1])
        if found:
            state["count"] = int(found[-1])
    return state["count"]


def run(pipeline, messages, dns_port, clamav, spamd_socket):
    port = free_port()
    sink = subprocess.Popen(["smtp-sink", "-c", "127.0.0.1:%d" % port, "1000"]
                            if os.getuid() else ["smtp-sink", "-c", "-u", "nobody", "127.0.0.1:%d" % port, "1000"],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    os.set_blocking(sink.stdout.fileno(), False)
    gateway = Gateway({
        "mynetworks": "127.0.0.2/32", "relay_domains": "example.test", "dns_servers": "127.0.0.1:%d" % dns_port,
        "transport_maps": "inline:{ example.test=smtp:[127.0.0.1]:%d }" % port,
        "smtpd_client_connection_count_limit": "0", "default_destination_concurrency_limit": "50",
        "content_filter": "scan:" if pipeline else "", "scan_pipeline": pipeline or "header",
        "header_checks": "pcre:" + os.path.join(ROOT, "rules", "header_checks"),
        "body_checks": "pcre:" + os.path.join(ROOT, "rules", "body_checks"),
        "banned_name_checks": "pcre:" + os.path.join(ROOT, "rules", "banned_names"),
        "clamav_database_directory": clamav, "spamassassin_server": "unix:" + spamd_socket, "spam_reject_level": "",
    })
    gateway.start()
    state = {"text": b"", "count": 0}
    try:
        for number, warm in ((max(100, messages // 10), True), (messages, False)):
            before, start, cpu = state["count"], time.monotonic(), cpu_seconds(gateway)
            subprocess.run(["smtp-source", "-s", str(SESSIONS), "-m", str(number), "-l", str(SIZE), "-f", "s@bench.test",
                            "-t", "u@example.test", "127.0.0.1:%d" % gateway.port], check=True, capture_output=True)
            if not wait_for(lambda: count_delivered(sink, state) >= before + number, 120, 0.01):
                raise RuntimeError("%s: only %d arrived" % (pipeline, state["count"] - before))
            if not warm:
                took = time.monotonic() - start
                print("| %s | %d | %.0f |" % (pipeline or "no scanning", number / took,
                                              (cpu_seconds(gateway) - cpu) / number * 1e6), flush=True)
    finally:
        gateway.stop()
        gateway.remove()
        sink.kill()
        sink.wait()


def main():
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    work = tempfile.mkdtemp(prefix="estafeta-bench-")
    os.chmod(work, 0o755)
    dns = FakeDNS()
    dns_port = dns.start({"bench.test": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"], "MX": ["10 mx.bench.test"]},
                          "mx.bench.test": {"A": ["127.0.0.1"]}})
    installed = any(n.endswith((".cvd", ".cld")) for n in os.listdir("/var/lib/clamav")) if os.path.isdir("/var/lib/clamav") else False
    clamav = "/var/lib/clamav" if installed else make_signatures(os.path.join(work, "clamav"))
    spamd_socket = os.path.join(work, "spamd.sock")
    spamd = subprocess.Popen(["spamd", "--local", "--max-children=4", "--socketpath=" + spamd_socket, "--socketmode=0666",
                              "--syslog=" + os.path.join(work, "spamd.log")]
                             + ([] if os.getuid() else ["-u", "nobody"]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: os.path.exists(spamd_socket), 60, 0.1)
        print("| scan_pipeline | messages/s | gateway CPU, us a message |\n|---|---|---|")
        for pipeline in PIPELINES:
            run(pipeline, 200 if "spamassassin" in pipeline else messages, dns_port, clamav, spamd_socket)
    finally:
        spamd.terminate()
        spamd.wait(20)
        dns.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()

"""A gateway under test: its own configuration directory, ports and log, started and stopped for one scenario.

Used by every test-corpus/scenarios/*/run. Ports are free ones on loopback; nothing outside the scenario's temporary
directory is touched. The program under test is $ESTAFETA. A scenario ends with finish(), which stops what it started
and exits 1 when a check did not hold.
"""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
# In front of a program: a scenario that breaks leaves nothing behind. Not preexec_fn, which may hang where threads run.
DIES_WITH_PARENT = ["setpriv", "--pdeathsig", "KILL"]
READY_S = 60  # ASan builds on a busy machine are slow to start

_failures = []
_ports = set()
_cleanups = []


def check(condition, what):
    """Notes a failure and goes on, so that one run tells all of them."""
    if not condition:
        _failures.append(what)
        print("FAILED: " + what, flush=True)
    return bool(condition)


def finish():
    for cleanup in reversed(_cleanups):
        cleanup()
    _cleanups.clear()
    print("%d failures" % len(_failures))
    sys.exit(1 if _failures else 0)


def free_port(address="127.0.0.1"):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    while True:
        with socket.socket(family) as s:
            s.bind((address, 0))
            port = s.getsockname()[1]
        if port not in _ports:  # a port given out and not yet in use may be offered again
            _ports.add(port)
            return port


def wait_for(predicate, seconds=15, step=0.02):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if predicate():
            return True
        time.sleep(step)
    return bool(predicate())


class Gateway:
    """main: parameters of main.cf over the defaults below. master: rows of master.cf; {port} and {reinject} are
    filled in."""

    MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
127.0.0.1:{reinject} inet n - n - - smtpd -o content_filter= -o local_header_rewrite_clients= -o smtpd_client_restrictions=
  -o smtpd_recipient_restrictions=permit_mynetworks,reject -o smtpd_authorized_xforward_hosts=127.0.0.0/8
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
"""

    def __init__(self, main=None, master=None, files=None, tables=()):
        self.directory = tempfile.mkdtemp(prefix="estafeta-test-")
        _cleanups.append(self.remove)
        self.config = os.path.join(self.directory, "conf")
        os.mkdir(self.config)
        os.chmod(self.directory, 0o755)
        self.port = free_port()
        self.reinject = free_port()
        self.maillog = os.path.join(self.directory, "maillog")
        self.process = None
        owner = "postfix" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        settings = {
            "compatibility_level": "3.7",
            "queue_directory": os.path.join(self.directory, "queue"),
            "data_directory": os.path.join(self.directory, "data"),
            "mail_owner": owner,
            "maillog_file": self.maillog,
            "maillog_file_prefixes": self.directory,
            "myhostname": "gw.example.test",
            "mydomain": "example.test",
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "inet_interfaces": "loopback-only",
            "smtpd_peername_lookup": "no",
            "dns_servers": "127.0.0.1:9",
            "disable_dns_lookups": "yes",
            "clamav_fallback_database_directory": os.path.join(ROOT, "rules", "clamav"),
        }
        settings.update(main or {})
        self.settings = settings
        with open(os.path.join(self.config, "main.cf"), "w") as f:
            for name, value in settings.items():
                if value is not None:
                    f.write("%s = %s\n" % (name, value))
        with open(os.path.join(self.config, "master.cf"), "w") as f:
            f.write((master or self.MASTER).replace("{port}", str(self.port)).replace("{reinject}", str(self.reinject)))
        for name, text in (files or {}).items():
            self.write(name, text)
        for table in tables:
            self.tool("postmap", os.path.join(self.config, table))

    def write(self, name, text):
        with open(os.path.join(self.config, name), "w") as f:
            f.write(text)

    def tool(self, name, *arguments, check_status=True, data=None):
        """Runs a command of the gateway (postmap, mailq, estafeta ...) on this configuration."""
        program = os.environ["ESTAFETA"]
        argv0 = name if name == "estafeta" else os.path.join(os.path.dirname(program), "bin", name)
        words = [argv0] + list(arguments) if name != "estafeta" else [program] + list(arguments)
        where = 2 if name == "estafeta" and arguments else 1
        words[where:where] = ["-c", self.config]
        result = subprocess.run(words, capture_output=True, input=data, timeout=60)
        if check_status and result.returncode != 0:
            raise RuntimeError("%s: %d: %s" % (words, result.returncode, result.stderr.decode("utf-8", "replace")))
        return result

    def start(self, expect_ready=True):
        self.errors = open(os.path.join(self.directory, "stderr"), "wb")
        # Looking for leaks at exit needs ptrace(2), which the jail of a role forbids; unit tests look for them.
        environment = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
        self.process = subprocess.Popen(DIES_WITH_PARENT + [os.environ["ESTAFETA"], "start-fg", "-c", self.config],
                                        stdout=subprocess.PIPE, stderr=self.errors, env=environment)
        _cleanups.append(self.stop)
        if not expect_ready:
            return self
        end = time.monotonic() + READY_S
        os.set_blocking(self.process.stdout.fileno(), False)
        said = b""
        while b"estafeta: ready\n" not in said:
            said += self.process.stdout.read() or b""
            if self.process.poll() is not None or time.monotonic() > end:
                self.show()
                raise RuntimeError("the gateway did not start: %r" % said)
            time.sleep(0.02)
        return self

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                check(False, "the gateway did not stop within 20 s")
                self.process.kill()
                self.process.wait()
        if self.process is not None:
            stderr = self.stderr()
            check("ERROR: AddressSanitizer" not in stderr and "runtime error:" not in stderr
                  and "ERROR: LeakSanitizer" not in stderr, "sanitizer report:\n" + stderr[-6000:])
        self.process = None

    def remove(self):
        if _failures:
            self.show()
        shutil.rmtree(self.directory, ignore_errors=True)

    def show(self):
        print("--- log (last 60 lines)")
        print("\n".join(self.log().splitlines()[-60:]))
        print("--- standard error\n" + self.stderr()[-4000:], flush=True)

    def log(self):
        try:
            with open(self.maillog, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def stderr(self):
        try:
            with open(os.path.join(self.directory, "stderr"), errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def has_logged(self, pattern, seconds=10):
        return wait_for(lambda: re.search(pattern, self.log()), seconds)

    def pids(self, role):
        """Process ids of a role of this gateway, its children included (scan workers), parents first."""
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open("/proc/%s/cmdline" % name, "rb") as f:
                    words = f.read().split(b"\0")
                if b"--role=" + role.encode() in words and self._is_ours(int(name)):
                    found.append(int(name))
            except OSError:
                pass
        return sorted(found)

    def _is_ours(self, pid):
        while pid > 1:
            if pid == self.process.pid:
                return True
            with open("/proc/%d/stat" % pid) as f:
                pid = int(f.read().rsplit(")", 1)[1].split()[1])
        return False


class Dialogue:
    """A raw SMTP client: what is sent is exactly what the test says."""

    def __init__(self, port, address="127.0.0.1", source=None, timeout=20):
        self.socket = socket.create_connection((address, port), timeout, (source, 0) if source else None)
        self.buffer = b""

    def line(self):
        while b"\n" not in self.buffer:
            piece = self.socket.recv(65536)
            if not piece:
                rest, self.buffer = self.buffer, b""
                return rest
            self.buffer += piece
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line + b"\n"

    def reply(self):
        """One whole reply as text; '' at the end of the connection."""
        lines = []
        while True:
            try:
                line = self.line()
            except (ConnectionError, socket.timeout):
                return "".join(lines)
            lines.append(line.decode("utf-8", "replace"))
            if len(line) < 4 or line[3:4] != b"-":
                return "".join(lines)

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def ask(self, line):
        self.send(line + "\r\n" if isinstance(line, str) else line + b"\r\n")
        return self.reply()

    def hello(self, name="client.example.test"):
        self.reply()
        return self.ask("EHLO " + name)

    def message(self, sender, recipients, content):
        """A whole transaction; the reply to the final dot, or the first refusal."""
        reply = self.ask("MAIL FROM:<%s>" % sender)
        if not reply.startswith("250"):
            return reply
        for recipient in recipients:
            reply = self.ask("RCPT TO:<%s>" % recipient)
            if not reply.startswith("250"):
                return reply
        reply = self.ask("DATA")
        if not reply.startswith("354"):
            return reply
        body = content.replace(b"\r\n.", b"\r\n..")
        if body.startswith(b"."):
            body = b"." + body
        self.send(body + (b"" if body.endswith(b"\r\n") else b"\r\n") + b".\r\n")
        return self.reply()

    def close(self):
        self.socket.close()


def send_mail(gateway, content, sender="sender@client.test", recipient="user@example.test", port=None, **facts):
    """One message in one session; facts are XCLIENT attributes. Returns the last reply."""
    dialogue = Dialogue(port or gateway.port)
    try:
        helo = facts.pop("helo", "client.example.test")
        dialogue.hello(helo)
        if facts:
            dialogue.ask("XCLIENT " + " ".join("%s=%s" % (k.upper(), v) for k, v in facts.items()))
            dialogue.ask("EHLO " + helo)
        recipients = [recipient] if isinstance(recipient, str) else recipient
        return dialogue.message(sender, recipients, content)
    finally:
        dialogue.close()

"""A laboratory network: hosts with addresses, ports and files of their own, so that a guide's configuration runs as
printed - in /etc/postfix, on port 25, at the addresses it names.

  lab = Lab()                                        # must be the first thing a scenario does: it starts over inside
  lab.dns({"ext.test": {"MX": ["10 mx.ext.test"]}})  # fake DNS, the resolver of every host
  relay = lab.host("relay", "192.168.1.1/16", files={"main.cf": "...", "master.cf": "...", "transport": "..."})
  sink = lab.sink("203.0.113.9")                     # an outside server on port 25
  talk = relay.dialogue(source="203.0.113.5")        # an outside client

Namespaces keep all of it from the machine: a mount and a network namespace for the scenario, holding a bridge, and
one of each per host. Every address is on link everywhere, so any address may be given to anything; nothing leaves
the bridge. Files of a host lie on file systems in memory over /etc/postfix, /var/spool/postfix, /var/lib/postfix,
/var/mail and /home; its /etc/passwd, /etc/aliases, /etc/resolv.conf and /dev/log are its own, and what it writes to
/etc, /usr/sbin, /usr/local and /var/lib is seen by nobody else. /usr/sbin/sendmail is the gateway's. Everything is
gone with the processes.
"""

import ipaddress
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from fakedns import FakeDNS
from gateway import DIES_WITH_PARENT, READY_S, ROOT, Dialogue, _cleanups, _failures, check, wait_for
from sink import Sink

DNS_ADDRESS = "10.255.255.53"
USER_ID = 5000  # of the first account made for a host
LAB_MARK = "ESTAFETA_LAB"
COVERED = ("/etc/postfix", "/var/spool/postfix", "/var/lib/postfix", "/var/mail", "/home", "/var/lib/clamav")
LAYERED = ("/etc", "/usr/sbin", "/usr/local", "/var/lib")  # the machine's, with the host's own files on top
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def _run(*words, **more):
    result = subprocess.run(words, capture_output=True, timeout=30, **more)
    if result.returncode != 0:
        raise RuntimeError("%s: %s" % (" ".join(words), result.stderr.decode("utf-8", "replace")))
    return result.stdout


def printed(*subdirectory):
    """The files that a guide prints, from etc/... beside the scenario: what Host(files=) takes."""
    directory = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "etc", *subdirectory))
    files = {}
    for name in os.listdir(directory):
        if os.path.isfile(os.path.join(directory, name)):
            with open(os.path.join(directory, name)) as f:
                files[name] = f.read()
    return files


def debian_master():
    """The master.cf that comes with Debian's package, for guides that print none."""
    with open("/usr/share/postfix/master.cf.dist") as f:
        return f.read()


def swaks(server, source, *arguments, timeout=30):
    """One message by swaks from an address of the outside world (lab.outside). Exit status and dialogue."""
    result = subprocess.run(["swaks", "--server", server, "--local-interface", source, "--timeout", "20s"] + list(arguments),
                            capture_output=True, timeout=timeout)
    return result.returncode, result.stdout.decode("utf-8", "replace") + result.stderr.decode("utf-8", "replace")


class Lab:
    def __init__(self):
        if os.environ.get(LAB_MARK) != str(os.getpid()):
            self._start_over()
        self.directory = tempfile.mkdtemp(prefix="estafeta-lab-")
        os.chmod(self.directory, 0o755)
        _cleanups.append(lambda: shutil.rmtree(self.directory, ignore_errors=True))
        self.hosts, self.sinks, self.addresses = {}, [], set()
        _run("ip", "link", "set", "lo", "up")
        # With an address of its own, since it would take that of a port, and another when that one is gone.
        _run("ip", "link", "add", "bridge", "address", "02:00:00:00:00:01", "type", "bridge")
        _run("ip", "link", "set", "bridge", "up")
        _run("ip", "route", "add", "default", "dev", "bridge")
        _run("ip", "-6", "route", "add", "default", "dev", "bridge")
        self.fake_dns = FakeDNS()
        self._address(DNS_ADDRESS)

    @staticmethod
    def _start_over():
        """unshare(1) runs this same program again, with the mark that says where it is."""
        words = ["unshare", "--mount", "--net", "--propagation", "private"]
        if os.getuid() != 0:
            words.append("--map-root-user")
        inner = 'export %s=$$; exec "$@"' % LAB_MARK
        os.execvp(words[0], words + ["sh", "-c", inner, "lab", sys.executable] + sys.argv)

    def _address(self, address):
        """An address of the outside world, held by the bridge; told to nobody twice."""
        if address not in self.addresses:
            self.addresses.add(address)
            width = "128" if ":" in address else "32"
            _run("ip", "addr", "add", "%s/%s" % (address, width), "dev", "bridge", *(["nodad"] if width == "128" else []))
        return address

    def dns(self, zone):
        """What the world's DNS says; may be called again to change it. The questions are in lab.fake_dns.queries."""
        if self.fake_dns.servers:
            self.fake_dns.set(zone)
        else:
            self.fake_dns.start(zone, 53, DNS_ADDRESS)
            _cleanups.append(self.fake_dns.stop)
        return self.fake_dns

    def sink(self, address, port=25, **more):
        """A mail server that is not under test, at an address of its own."""
        sink = Sink(address=self._address(address), port=port, **more)
        self.sinks.append(sink)
        _cleanups.append(sink.stop)
        return sink

    def outside(self, address):
        """An address that test clients and servers may use as theirs."""
        return self._address(address)

    def host(self, name, *addresses, **more):
        host = Host(self, name, addresses, **more)
        self.hosts[name] = host
        return host


class Host:
    """A machine with a gateway. files: names below /etc/postfix, or absolute ones, with their text. users: accounts
    made beside the machine's. hostname: what gethostname() says there. tables: handed to postmap before the start."""

    def __init__(self, lab, name, addresses, files=None, users=(), hostname=None, tables=(), aliases=""):
        self.lab, self.name, self.process = lab, name, None
        self.address = str(ipaddress.ip_interface(addresses[0]).ip)
        self.maillog = os.path.join(lab.directory, name + ".log")
        self.directory = os.path.join(lab.directory, name)  # of the host's files as this side sees them
        os.mkdir(self.directory)
        self.holder = self._namespaces(hostname or name)
        _cleanups.append(self.remove)
        self._connect(addresses)
        self._mount(users, aliases)
        for path, text in (files or {}).items():
            self.write(path, text)
        for table in tables:
            self.tool("postmap", table if table.startswith("/") else "/etc/postfix/" + table)

    # -- making it

    def _namespaces(self, hostname):
        """A process that does nothing but hold the host's namespaces."""
        holder = subprocess.Popen(
            DIES_WITH_PARENT + ["unshare", "--mount", "--net", "--uts", "--propagation", "private", "sh", "-c",
             "hostname '%s'; echo up; exec sleep 1000" % hostname], stdout=subprocess.PIPE)
        holder.stdout.readline()
        return holder

    def _inside(self, *words):
        return ["nsenter", "--target", str(self.holder.pid), "--mount", "--net", "--uts", "--wdns=/"] + list(words)

    def _connect(self, addresses):
        port = "port%d" % len(self.lab.hosts)
        _run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(self.holder.pid))
        _run("ip", "link", "set", port, "master", "bridge", "up")
        # The hardware address follows from the first address: whoever takes over an address is found at once.
        mac = "02:00:" + ":".join("%02x" % byte for byte in ipaddress.ip_address(self.address).packed[-4:])
        lines = ["ip link set lo up", "ip link set eth0 address %s" % mac, "ip link set eth0 up"]
        lines += ["ip addr add %s dev eth0%s" % (a, " nodad" if ":" in a else "") for a in addresses]
        lines += ["ip route add default dev eth0", "ip -6 route add default dev eth0"]
        _run(*self._inside("sh", "-ec", "; ".join(lines)))

    def _mount(self, users, aliases):
        lines = self._layers()
        for path in COVERED:
            lines.append("mkdir -p %s; mount -t tmpfs -o mode=755 tmpfs %s" % (path, path))
        lines.append("mount --bind '%s' /var/lib/clamav" % os.path.join(ROOT, "rules", "clamav"))
        lines.append("mount --bind '%s' /etc/postfix" % self._make("etc"))
        with open("/etc/passwd") as f:
            accounts = f.read()
        for number, user in enumerate(users):
            accounts += "%s:x:%d:%d:%s:/home/%s:/bin/sh\n" % (user, USER_ID + number, USER_ID + number, user, user)
            lines.append("mkdir /home/%s; chown %d:%d /home/%s" % (user, USER_ID + number, USER_ID + number, user))
        for path, text in (("/etc/passwd", accounts), ("/etc/aliases", aliases),
                           ("/etc/resolv.conf", "nameserver %s\n" % DNS_ADDRESS)):
            own = os.path.join(self.directory, os.path.basename(path))
            with open(own, "w") as f:
                f.write(text)
            lines.append("[ -e %s ] || : > %s; mount --bind '%s' %s" % (path, path, own, path))
        lines.append("chmod 1777 /var/mail")
        lines += self._devices()
        _run(*self._inside("sh", "-ec", "; ".join(lines)))

    def _layers(self):
        own = self._make("layers")
        lines = ["mount -t tmpfs -o mode=755 tmpfs '%s'" % own]
        for path in LAYERED:
            upper, work = (own + path.replace("/", "-") + end for end in ("", "-work"))
            lines.append("mkdir '%s' '%s'; mount -t overlay -o 'lowerdir=%s,upperdir=%s,workdir=%s' overlay %s" %
                         (upper, work, path, upper, work, path))
        return lines + ["rm -f /etc/aliases.db", ": > /usr/sbin/sendmail",
                        "mount --bind '%s' /usr/sbin/sendmail" % os.path.realpath(os.environ["ESTAFETA"])]

    def _devices(self):
        """A /dev of the host's own, because its /dev/log is a socket that this process reads."""
        dev, log = self._make("dev"), os.path.join(self.directory, "syslog")
        syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        syslog.bind(log)
        os.chmod(log, 0o666)
        threading.Thread(target=self._read_syslog, args=(syslog,), daemon=True).start()
        lines = ["mount -t tmpfs -o mode=755 tmpfs '%s'" % dev]
        for name in DEVICES + ("log",):
            lines.append(": > '%s/%s'; mount --bind '%s' '%s/%s'" %
                         (dev, name, log if name == "log" else "/dev/" + name, dev, name))
        lines.append("mkdir -m 1777 '%s/shm'; mount -t tmpfs tmpfs '%s/shm'; ln -s /proc/self/fd '%s/fd'" % (dev, dev, dev))
        return lines + ["mount --move '%s' /dev" % dev]

    def _read_syslog(self, syslog):
        with open(self.maillog, "a") as f:
            while True:
                line = syslog.recv(65536).decode("utf-8", "replace")
                f.write(re.sub(r"^<\d+>", "", line).rstrip("\n\0") + "\n")
                f.flush()

    def _make(self, name):
        path = os.path.join(self.directory, name)
        os.mkdir(path)
        return path

    # -- using it

    def write(self, path, text):
        """A file of the host: a name below /etc/postfix, or an absolute one."""
        mode = "wb" if isinstance(text, bytes) else "w"
        if not path.startswith("/"):
            with open(os.path.join(self.directory, "etc", path), mode) as f:
                f.write(text)
            return
        data = text if isinstance(text, bytes) else text.encode()
        _run(*self._inside("sh", "-ec", 'mkdir -p "$(dirname "$1")"; cat > "$1"', "write", path), input=data)

    def read(self, path):
        return _run(*self._inside("cat", path if path.startswith("/") else "/etc/postfix/" + path))

    def run(self, *words, data=None, check_status=True, timeout=60):
        """Any program, on the host."""
        result = subprocess.run(self._inside(*words), capture_output=True, input=data, timeout=timeout)
        if check_status and result.returncode != 0:
            raise RuntimeError("%s: %d: %s" % (words, result.returncode, result.stderr.decode("utf-8", "replace")))
        return result

    def spawn(self, *words):
        """A program that runs on the host until the scenario ends; what it says on standard output is the caller's."""
        process = subprocess.Popen(DIES_WITH_PARENT + self._inside(*words), stdout=subprocess.PIPE)
        _cleanups.append(process.kill)
        return process

    def tool(self, name, *arguments, **more):
        """A command of the gateway (postmap, mailq, estafeta ...), on the host."""
        program = os.environ["ESTAFETA"]
        path = program if name == "estafeta" else os.path.join(os.path.dirname(program), "bin", name)
        return self.run(path, *arguments, **more)

    def start(self, expect_ready=True):
        """estafeta start-fg with the configuration of /etc/postfix and nothing else. The log is what the host's
        syslog gets, unless main.cf names a maillog_file."""
        self.errors = open(os.path.join(self.directory, "stderr"), "wb")
        environment = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
        self.process = subprocess.Popen(DIES_WITH_PARENT + self._inside(os.environ["ESTAFETA"], "start-fg"),
                                        stdout=subprocess.PIPE, stderr=self.errors, env=environment)
        _cleanups.append(self.stop)
        if not expect_ready:
            return self
        os.set_blocking(self.process.stdout.fileno(), False)
        said, end = b"", time.monotonic() + READY_S
        while b"estafeta: ready\n" not in said:
            said += self.process.stdout.read() or b""
            if self.process.poll() is not None or time.monotonic() > end:
                self.show()
                raise RuntimeError("%s did not start: %r" % (self.name, said))
            time.sleep(0.02)
        return self

    def stop(self):
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(20)
                except subprocess.TimeoutExpired:
                    check(False, "%s did not stop within 20 s" % self.name)
                    self.process.kill()
                    self.process.wait()
            stderr = self.stderr()
            check("ERROR: AddressSanitizer" not in stderr and "runtime error:" not in stderr
                  and "ERROR: LeakSanitizer" not in stderr, "sanitizer report:\n" + stderr[-6000:])
        self.process = None

    def leave(self):
        """The stopped host's addresses may be another's from now on."""
        self.run("ip", "link", "del", "eth0")

    def remove(self):
        if _failures:
            self.show()
        self.holder.kill()
        self.holder.wait()

    def show(self):
        print("--- %s: log (last 80 lines)" % self.name)
        print("\n".join(self.log().splitlines()[-80:]))
        print("--- %s: standard error\n%s" % (self.name, self.stderr()[-4000:]), flush=True)

    @staticmethod
    def _text(path):
        if not os.path.exists(path):
            return ""
        with open(path, errors="replace") as f:
            return f.read()

    def stderr(self):
        return self._text(os.path.join(self.directory, "stderr"))

    def log(self):
        """What the host's syslog got."""
        return self._text(self.maillog)

    def has_logged(self, pattern, seconds=10):
        return wait_for(lambda: re.search(pattern, self.log()), seconds)

    def dialogue(self, source=None, port=25, address=None, **more):
        """A raw SMTP session from the outside; source is made an address of the outside world."""
        if source is not None:
            self.lab.outside(source)
        return Dialogue(port, address or self.address, source, **more)

    def send(self, content, sender, recipients, source=None, port=25, helo="client.example.test", address=None):
        """One message in one session; the last reply."""
        dialogue = self.dialogue(source, port, address)
        try:
            dialogue.hello(helo)
            return dialogue.message(sender, [recipients] if isinstance(recipients, str) else recipients, content)
        finally:
            dialogue.close()

    def mailbox(self, user):
        """What lies in the user's mailbox."""
        result = self.run("sh", "-c", 'cat "/var/mail/$1" 2>/dev/null || :', "mailbox", user)
        return result.stdout

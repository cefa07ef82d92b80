"""A stand-in for amavisd-new: takes mail on 127.0.0.1:10024, marks it, gives it back on 10025 and answers with what that
port said. Each session is told on standard output, as it begins, as it ends, and line by line."""

import socket
import socketserver
import sys
import threading
import time

lock = threading.Lock()


def tell(*words):
    with lock:
        print(*words, flush=True)


class Session(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def give_back(self, sender, recipients, content):
        with socket.create_connection(("127.0.0.1", 10025), 20) as s:
            stream = s.makefile("rwb")

            def ask(line):
                if line is not None:
                    stream.write(line + b"\r\n")
                    stream.flush()
                while True:
                    reply = stream.readline().decode()
                    if reply[3:4] != "-":
                        return reply.strip()

            ask(None)
            for line in [b"EHLO localhost", b"MAIL FROM:<%s>" % sender] + [b"RCPT TO:<%s>" % r for r in recipients] + [b"DATA"]:
                reply = ask(line)
                if reply[0] not in "23":
                    return reply
            return ask(b"X-Virus-Scanned: by the stub\r\n" + content + b".")

    def handle(self):
        tell("+")
        self.say("220 [127.0.0.1] ESMTP amavisd-new service ready")
        sender, recipients = b"", []
        for raw in self.rfile:
            line = raw.rstrip(b"\r\n")
            verb = line[:4].upper()
            tell("line", line.decode())
            if verb == b"EHLO":
                self.wfile.write(b"250-[127.0.0.1]\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n"
                                 b"250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n")
            elif verb == b"DATA":
                self.say("354 End data with <CR><LF>.<CR><LF>")
                content = b"".join(iter(self.rfile.readline, b".\r\n"))
                if b"\r\nSubject: slow" in content:
                    time.sleep(0.3)
                if b"EICAR" in content:
                    self.say("554 5.7.0 Reject, id=1 - INFECTED: EICAR")
                else:
                    reply = self.give_back(sender, recipients, content)
                    self.say("%s from MTA(smtp:[127.0.0.1]:10025): %s" % (reply[:9], reply))
            elif verb == b"QUIT":
                self.say("221 2.0.0 Bye")
                break
            else:
                if verb == b"MAIL":
                    sender, recipients = line[11:].split(b">")[0], []
                elif verb == b"RCPT":
                    recipients.append(line[9:].split(b">")[0])
                self.say("250 2.0.0 Ok")
        tell("-")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 100


with Server(("127.0.0.1", 10024), Session) as server:
    print("ready", flush=True)
    try:
        server.serve_forever(0.05)
    except KeyboardInterrupt:
        sys.exit(0)

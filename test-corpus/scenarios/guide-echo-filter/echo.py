#!/usr/bin/env python3
"""The program "scan" of the guide's figure 4: takes mail by SMTP, marks it, gives it on by SMTP, and says what it was told.

echo.py PORT NEXT-PORT. A subject with "answer-CODE" is answered with that code. Prints "ready", then at each message's end how
many sessions are open and what the gateway's XFORWARD said, if anything.
"""

import os
import re
import smtplib
import socketserver
import sys
import time

PORT, NEXT = int(sys.argv[1]), int(sys.argv[2])
open_sessions = set()


class Session(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def read_content(self):
        lines = []
        for line in self.rfile:
            if line == b".\r\n":
                return b"".join(lines)
            lines.append(line[1:] if line.startswith(b".") else line)
        return None

    def pass_on(self, sender, recipients, content):
        asked = re.search(rb"^Subject:.*answer-(\d{3})", content, re.M)
        if asked:
            return "%s 5.7.1 as the subject asks" % asked.group(1).decode()
        if b"slow" in content:
            time.sleep(0.3)
        try:
            with smtplib.SMTP("127.0.0.1", NEXT, "echo.test", 20) as server:
                server.ehlo_or_helo_if_needed()
                server.docmd("MAIL FROM:<%s>" % sender)
                for recipient in recipients:
                    code, text = server.docmd("RCPT TO:<%s>" % recipient)
                    if code != 250:
                        return "%d %s" % (code, text.decode())
                code, text = server.data(b"X-Echo: passed\r\n" + content)
                return "%d %s" % (code, text.decode())
        except (OSError, smtplib.SMTPException) as error:
            return "451 4.3.0 %s" % error

    def handle(self):
        open_sessions.add(self)
        sender, recipients = "", []
        self.say("220 echo.test ESMTP")
        for raw in self.rfile:
            line = raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
            verb = line[:4].upper()
            if verb == "EHLO":
                self.say("250-echo.test\r\n250-XFORWARD NAME ADDR PROTO HELO\r\n250 8BITMIME")
            elif verb == "MAIL":
                sender, recipients = re.search("<(.*?)>", line).group(1), []
                self.say("250 2.1.0 Ok")
            elif verb == "RCPT":
                recipients.append(re.search("<(.*?)>", line).group(1))
                self.say("250 2.1.5 Ok")
            elif verb == "DATA":
                self.say("354 go on")
                content = self.read_content()
                if content is None:
                    break
                reply = self.pass_on(sender, recipients, content)
                os.write(1, b"sessions %d\n" % len(open_sessions))  # in one piece: threads
                self.say(reply)
            elif verb == "QUIT":
                self.say("221 2.0.0 Bye")
                break
            else:
                self.say("250 2.0.0 Ok")
        open_sessions.discard(self)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 100


server = Server(("127.0.0.1", PORT), Session)
print("ready", flush=True)
server.serve_forever()

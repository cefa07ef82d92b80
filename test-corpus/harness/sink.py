"""An internal mail server for tests: takes mail and keeps every message byte for byte, with its envelope.

Replies can be scripted per command: replies={"RCPT": "450 4.2.1 busy"}; a callable gets the command line and returns
a reply or None for the ordinary one.
"""

import socketserver
import threading


class Message:
    def __init__(self, sender, recipients, content, helo):
        self.sender, self.recipients, self.content, self.helo = sender, recipients, content, helo


class _Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def scripted(self, verb, line):
        reply = self.server.sink.replies.get(verb)
        return reply(line) if callable(reply) else reply

    def read_content(self):
        lines = []
        for line in self.rfile:
            if line == b".\r\n":
                return b"".join(lines)
            lines.append(line[1:] if line.startswith(b".") else line)
        return None

    def handle(self):
        sink = self.server.sink
        sender, recipients, helo = None, [], ""
        with sink.lock:
            sink.connections += 1
        try:
            self.say(self.scripted("CONNECT", "") or "220 sink.example.test ESMTP")
            for raw in self.rfile:
                line = raw.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
                verb = line.split(" ", 1)[0].upper()
                sink.commands.append(line)
                reply = self.scripted(verb, line)
                if reply == "close":
                    return
                if reply:
                    self.say(reply)
                elif verb == "EHLO":
                    helo = line[5:]
                    self.wfile.write(b"".join(b"250-%s\r\n" % k.encode() for k in ["sink"] + sink.keywords))
                    self.say("250 ENHANCEDSTATUSCODES")
                elif verb == "MAIL":
                    sender, recipients = line[10:].split(">", 1)[0].lstrip("<"), []
                    self.say("250 2.1.0 Ok")
                elif verb == "RCPT":
                    recipients.append(line[8:].split(">", 1)[0].lstrip("<"))
                    self.say("250 2.1.5 Ok")
                elif verb == "DATA":
                    self.say("354 End data with <CR><LF>.<CR><LF>")
                    content = self.read_content()
                    if content is None:
                        return
                    with sink.lock:
                        sink.messages.append(Message(sender, recipients, content, helo))
                    self.say(self.scripted("END", "") or "250 2.0.0 Ok: taken")
                elif verb == "QUIT":
                    self.say("221 2.0.0 Bye")
                    return
                else:
                    self.say("250 2.0.0 Ok")
        except (ConnectionError, BrokenPipeError):
            pass


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256


class Sink:
    def __init__(self, replies=None, keywords=("PIPELINING", "8BITMIME", "SIZE 104857600"), address="127.0.0.1", port=0):
        self.replies, self.keywords = replies or {}, list(keywords)
        self.messages, self.commands, self.connections = [], [], 0
        self.lock = threading.Lock()
        self.server = _Server((address, port), _Handler)
        self.server.sink = self
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

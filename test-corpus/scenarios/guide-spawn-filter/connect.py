#!/usr/bin/env python3
"""Opens COUNT connections to 127.0.0.1:10025 and says how many were greeted, then closes one and says it again."""

import select
import socket
import sys
import time

count = int(sys.argv[1])
sockets = [socket.create_connection(("127.0.0.1", 10025), 10) for _ in range(count)]
greeted = set()


def wait(expected, seconds):
    end = time.monotonic() + seconds
    while len(greeted) < expected and time.monotonic() < end:
        for ready in select.select([s for s in sockets if s not in greeted], [], [], 0.1)[0]:
            if ready.recv(100):
                greeted.add(ready)


wait(count - 1, 20)
wait(count, 1)
print(len(greeted), flush=True)
list(greeted)[0].close()
sockets = [s for s in sockets if s.fileno() != -1]
wait(count, 10)
print(len(greeted), flush=True)

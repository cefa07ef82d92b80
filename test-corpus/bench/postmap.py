#!/usr/bin/env python3
"""postmap of a large table beside Postfix's: building it, and looking up every key, as ratios of our time to theirs.

  ESTAFETA=build/estafeta test-corpus/bench/postmap.py [ENTRIES]

Entries (default a million) are mail addresses in random order; lookups come from standard input in another random
order, one in ten of them not in the table. Each figure is the median of three runs. Postfix's postmap hash:, and
postmap lmdb: where postfix-lmdb is installed. The same file is also looked up by ours as Postfix wrote it.
"""

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

BIN = os.path.join(os.path.dirname(os.environ["ESTAFETA"]), "bin")
OURS, THEIRS = os.path.join(BIN, "postmap"), "/usr/sbin/postmap"
RUNS, LIMIT_S = 3, 300
ENTRIES = int(sys.argv[1]) if len(sys.argv) > 1 else 1000000


def write_inputs(directory):
    chance = random.Random(4711)
    keys = ["user%d.%x@host%d.example.com" % (i, chance.getrandbits(40), chance.randrange(5000)) for i in range(ENTRIES)]
    chance.shuffle(keys)
    with open(os.path.join(directory, "source"), "w") as f:
        f.writelines("%s\tOK %d\n" % (key, number) for number, key in enumerate(keys))
    for i in range(0, ENTRIES, 10):
        keys[i] = "no" + keys[i]
    chance.shuffle(keys)
    with open(os.path.join(directory, "keys"), "w") as f:
        f.writelines(key + "\n" for key in keys)


def seconds(directory, *words, keys=False):
    taken = []
    for _ in range(RUNS):
        with open(os.path.join(directory, "keys") if keys else os.devnull) as source, \
                open(os.path.join(directory, "answers"), "w") as answers:
            start = time.monotonic()
            subprocess.run(words, check=True, stdin=source, stdout=answers, timeout=LIMIT_S)
            taken.append(time.monotonic() - start)
    return statistics.median(taken)


def answers(directory):
    with open(os.path.join(directory, "answers"), "rb") as f:
        return f.read()


def measure(directory, program, kind):
    table = "%s:%s" % (kind, os.path.join(directory, os.path.basename(program) + program.count("/") * "x" + kind))
    shutil.copy(os.path.join(directory, "source"), table.split(":", 1)[1])
    built = seconds(directory, program, "-c", directory, table)
    found = seconds(directory, program, "-c", directory, "-q", "-", table, keys=True)
    return table, built, found, answers(directory)


directory = tempfile.mkdtemp(prefix="estafeta-postmap-")
try:
    with open(os.path.join(directory, "main.cf"), "w") as f:
        f.write("compatibility_level = 3.6\n")
    write_inputs(directory)
    _, our_built, our_found, our_answers = measure(directory, OURS, "hash")
    print("%d entries; ours: built in %.2f s, all looked up in %.2f s" % (ENTRIES, our_built, our_found))
    kinds = subprocess.run(["/usr/sbin/postconf", "-m"], capture_output=True, text=True).stdout.split()
    for kind in [kind for kind in ("hash", "btree", "lmdb") if kind in kinds]:
        table, built, found, their_answers = measure(directory, THEIRS, kind)
        same = "same answers" if their_answers == our_answers else "DIFFERENT ANSWERS"
        read = seconds(directory, OURS, "-c", directory, "-q", "-", table, keys=True)
        same += "" if answers(directory) == our_answers else ", OTHERS FROM ITS FILE"
        print("Postfix %-6s built %.2f s (ratio %.2f), looked up %.2f s (ratio %.2f); its file by ours %.2f s (ratio %.2f); %s"
              % (kind + ":", built, our_built / built, found, our_found / found, read, read / found, same))
finally:
    shutil.rmtree(directory, ignore_errors=True)

#!/usr/bin/env python3
"""postconf and postmap beside Postfix's own programs: random files, random questions, the same bytes.

  ESTAFETA=build/estafeta test-corpus/suites/config_differential.py [--seed N] [--cases N] [PART...]

Parts: main (main.cf through postconf), master (master.cf through -M -F -P), edit (-e -X -# of both), tables (postmap
-q, -s and building), mime (postmap -bmq, -hmq). Every case is made from the seed and its number alone. What differs is
printed whole; the end is a count for each part. Standard output, exit code, files and the warnings are compared.

Differences that are meant, and how a case avoids or levels them:
- parameters of our own, and the defaults of OUR_DEFAULTS: their lines are left out of both.
- Postfix 3.7 cuts "-oname=value" in pieces at each further "o" of it: names joined with -o are made without one.
- Postfix's -Fh prints "pipeflags=..." for programs of four letters: -h goes with other fields here.
- "-Fe service/type/command=x {a b}" loses the braces in Postfix and an empty command ends it by a signal: not asked.
- the first word behind the options loses its braces in Postfix's output: it has none here.
- several new names of one -e are appended in the order of a hash table by Postfix: one at a time here.
- an empty key is not in a table here, and an error of LMDB in Postfix: none is asked.
- a CR at the end of a line is no part of it here: not asked where Postfix goes on behind it, nor for nested messages.
- myhostname and mydomain decide each other's default, in Postfix before other names have defaults: they are plain here.
- where in an expression a mistake is (at: "...") is told in other words.
- a last line without newline is joined with what -e appends by Postfix: files end with one.
- blanks behind $, comments behind values and misspelt names are mended here: test-corpus/scenarios/postconf has those.
- values that refer to each other in a circle end Postfix's postconf by a signal at times: such answers do not count.
- Postfix is fatal when inet_interfaces and its kin have no good value, the gateway when it starts: not asked.
- of two rows with one name and type Postfix knows the settings of the last only: rows differ, but for edits.
- a service called "scan" with pipe or spawn has our scan_time_limit's default: it has another name here.
- the dates that postalias stores, hash order, and the type words of errors of table types.
"""
# Shows of contract.tsv: CMD7 CMD8.

import argparse
import concurrent.futures
import difflib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import golden  # noqa: E402

POSTFIX = "/usr/sbin"
OURS = os.path.join(os.path.dirname(os.path.abspath(os.environ.get("ESTAFETA", "build/estafeta"))), "bin")
HERE = os.path.dirname(os.path.abspath(__file__))
OUR_DEFAULTS = {"alias_maps", "config_directory", "mail_release_date", "smtpd_forbid_bare_newline", "html_directory",
                "readme_directory", "sample_directory", "mail_version", "process_id", "process_name", "shlib_directory",
                "meta_directory"}
PAST = time.time() - 1000  # a fresh file is read again and again by Postfix, with all its warnings and with pauses


def our_names():
    with open(os.path.join(HERE, "..", "..", "gateway", "config", "params.def"), encoding="utf-8") as f:
        ours = set(re.findall(r"^P\((\w+),", f.read(), re.M))
    out = subprocess.run([POSTFIX + "/postconf", "-H", "-d"], capture_output=True, text=True).stdout
    return sorted(ours & set(out.split())), ours - set(out.split())


COMMON, OWN = our_names()
OWN |= OUR_DEFAULTS


class Sides:
    """One directory for each program, with the same files."""

    def __init__(self):
        self.top = tempfile.mkdtemp(prefix="estafeta-differential-")
        self.homes = {OURS: self.top + "/ours", POSTFIX: self.top + "/them"}  # of one length: lines are folded by it
        for home in self.homes.values():
            os.mkdir(home)

    def close(self):
        shutil.rmtree(self.top, ignore_errors=True)

    def write(self, name, data):
        for home in self.homes.values():
            with open(os.path.join(home, name), "wb") as f:
                f.write(data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape"))
            os.utime(os.path.join(home, name), (PAST, PAST))

    def read(self, name):
        answers = []
        for home in self.homes.values():
            try:
                with open(os.path.join(home, name), "rb") as f:
                    answers.append(f.read())
            except FileNotFoundError:
                answers.append(None)
        return answers

    def ask(self, tool, arguments, data=b""):
        answers = []
        for where, home in self.homes.items():
            words = [os.path.join(where, tool), "-c", home] + [a.replace("@@", home) for a in arguments]
            r = subprocess.run(words, capture_output=True, input=data, timeout=60, cwd=home)
            warnings = level(r.stderr, home)
            out = r.stdout.replace(home.encode(), b"HOME")
            if any("fatal: " in w for w in warnings):  # how much was told and printed before is chance
                out, warnings = b"", [w for w in warnings if "fatal: " in w]
            answers.append((r.returncode, out, warnings))
        return answers


def level(stderr, home):
    """The warnings as a set: Postfix walks hash tables, and reads a file more than once."""
    lines = set()
    for line in stderr.decode("utf-8", "replace").replace(home, "HOME").splitlines():
        line = re.sub(r"^\S*/", "", line).replace("fatal: dictionary mail_dict: macro", "fatal: macro")
        if "duplicate entry" in line:
            line = re.sub("[^ -~]", "??", line.lower())  # texthash: tells the folded key here, in UTF-8
        if "must not start with whitespace" in line:
            line = re.sub("[^ -~]", "??", line)
        line = line.replace("/dev/stdin", "stdin")
        if "warning: main.cf: " in line:
            continue  # braces of table names in values are read as such there
        line = re.sub(r' at: "\.\.\..*', " at", line)
        line = re.sub(r': "\$?.*', "", line) if "macro" in line or "attribute expression" in line else line
        lines.add(line.replace('"!=""', '"!="').replace('"<""', '"<"').replace('"<=""', '"<="').replace('">=""', '">="'))
    return sorted(lines)


# ------------------------------------------------------------------------------------------------------- main.cf

VARIABLES = ["foo", "bar", "baz", "relay", "x1", "Dominio", "my_net"]
WORDS = ["mx.example.test", "192.0.2.0/24", "permit_mynetworks", "reject", "hash:/etc/postfix/access", "5d", "100", "yes",
         "no", "[mx]", "x=y", "a,b", "smtp", "3.6", "10", "9", "ñandú", "!10.1.2.3", "{a b}", "$$", "ldap:dir", "static:{x y}"]


def expression(rnd, depth=0):
    """A value's text with $ forms; most are right, some are not."""
    name = rnd.choice(VARIABLES + COMMON[::40] + ["nosuch", "mydomain", "myhostname"])
    kind = rnd.randrange(16 if depth < rnd.choice([1, 1, 2, 3]) else 5)
    inner = lambda: expression(rnd, depth + 1)  # noqa: E731
    blank = lambda: rnd.choice(["", "", "", " ", "  "])  # noqa: E731
    if kind < 3:
        return rnd.choice(WORDS)
    if kind == 3:
        return "$" + name
    if kind == 4:
        return rnd.choice(["${%s}", "$(%s)", "${ %s }", "$( %s)"]) % name
    if kind in (5, 6):
        return "${%s%s%s%s}" % (name, blank(), rnd.choice("?:"), inner())
    if kind in (7, 8):
        return "${%s%s?%s{%s}%s:%s{%s}%s}" % (name, blank(), blank(), inner(), blank(), blank(), inner(), blank())
    if kind == 9:
        return "${%s%s{%s}}" % (name, rnd.choice("?:"), inner())
    if kind in (10, 11):
        sign = rnd.choice(["==", "!=", "<", "<=", ">", ">="])
        return "${{%s}%s%s%s{%s}%s?%s{%s}%s:%s{%s}}" % (inner(), blank(), sign, blank(), inner(), blank(), blank(), inner(),
                                                        blank(), blank(), inner())
    if kind == 12:
        levels = ["0", "1", "2", "3.6", "3.10", "3.6.1", "$compatibility_level"]
        return "${{%s} %slevel {%s} ? {%s} : {%s}}" % (rnd.choice(levels), rnd.choice(["==", "!=", "<", "<=", ">", ">="]),
                                                      rnd.choice(levels), inner(), inner())
    if kind == 13:
        return "${{%s} == {%s}%s}" % (inner(), inner(), rnd.choice(["", "?x", ":y", " ? {z}"]))
    if kind == 14 and rnd.random() < 0.06:
        return rnd.choice(["${", "${}", "$()", "$", "${a", "${a b}", "${a?{x}y}", "${{a} ~ {b}?x}", "${a?{x}:{y}z}", "${a.b}"])
    return inner() + rnd.choice([" ", ", ", "", "  "]) + inner()


def main_value(rnd):
    parts = []
    for _ in range(rnd.choice([0, 1, 1, 1, 1, 2, 3, 5])):
        parts.append(expression(rnd))
        parts.append(rnd.choice([" ", ", ", ",", "\n  ", "\n\t", ",\n # a comment\n  ", "\n\n ", " \n \n   "]))
    text = "".join(parts)
    return re.sub(r"\$(\s+)([A-Za-z])", r"$x\1\2", re.sub(r"(^|\s)#(?! a comment)", r"\1", text))  # see the differences


def main_cf(rnd):
    lines = []
    for _ in range(rnd.randrange(14)):
        kind = rnd.randrange(24)
        if kind == 0:
            lines.append(rnd.choice(["# comment = x", "", "   ", "\t# x", "#"]))
        elif kind == 1 and rnd.random() < 0.1:
            lines.append(rnd.choice(["noequals", "= x", "two words = x", "  stray = x"]))
        elif kind == 2:
            lines.append("%s_%s = %s" % (rnd.choice(["smtp", "slow", "policy", "dir", "k1"]),
                                         rnd.choice(["destination_recipient_limit", "time_limit", "server_host", "foo"]),
                                         main_value(rnd)))
        elif kind == 3:
            lines.append("smtpd_restriction_classes = %s" % rnd.choice(["k1, k2", "k1", "foo bar", ""]))
        else:
            name = rnd.choice(VARIABLES + ["k1", "k2"]) if rnd.random() < 0.5 else rnd.choice(COMMON)
            if name in OWN or name in ("compatibility_level", "mynetworks_style", "inet_interfaces", "inet_protocols"):
                name = "foo"
            if name in ("mydomain", "myhostname"):
                lines.append(name + " = mx.example.test")
                continue
            lines.append(name + rnd.choice([" = ", "=", " =", "= ", "\t=  "]) + main_value(rnd) +
                         rnd.choice(["", "", "", " ", "\r"]))
    return "\n".join(lines) + "\n"


def leave_out_own(text, hidden_names):
    kept = []
    for line in text.replace(b", nis:mail.aliases", b"").split(b"\n"):
        if line.split(b" =")[0].decode("utf-8", "replace") not in OWN:
            kept.append(line)
    return kept


def case_main(rnd, sides):
    sides.write("main.cf", main_cf(rnd))
    sides.write("master.cf", master_cf(rnd, 3) if rnd.random() < 0.5 else "")
    asked = [["-n"], ["-nx"], ["-nf"], ["-nxf"], ["-nh"], ["-nH"], ["-C", "user"], ["-C", "service"], ["-nC", "builtin,service"],
             [], ["-x"], ["-d"], ["-p"]]
    for options in rnd.sample(asked, 3) + [named(rnd)]:
        ours, theirs = sides.ask("postconf", options)
        if not options or options[0] in ("-x", "-d", "-p"):
            ours, theirs = [(a[0], leave_out_own(a[1], False), a[2]) for a in (ours, theirs)]
        yield "postconf " + " ".join(options), ours, theirs, ["main.cf", "master.cf"]


def named(rnd):
    options = rnd.choice([[], ["-x"], ["-h"], ["-xh"], ["-H"], ["-n"], ["-f"], ["-d"], ["-C", "user"], ["-o", "foo=1"],
                          ["-xo", "mydomain=$bar", "-o", "bar = 2"]])
    names = rnd.choices(VARIABLES + ["nosuch", "mydomain", "relayhost", "slow_time_limit", "mynetworks", "k1",
                                     "relay_domains", "virtual_alias_domains"], k=3)
    return options + names


# ----------------------------------------------------------------------------------------------------- master.cf

PROGRAMS = ["smtpd", "smtp", "pipe", "spawn", "lmtp", "local", "virtual", "qmgr", "cleanup", "postscreen", "error", "nqmgr",
            "/usr/lib/postfix/sbin/smtpd", "unknown-program"]


def argument(rnd):
    return rnd.choice(["flags=Rq", "user=nobody", "user=vmail:vmail", "argv=/bin/true", "argv=/usr/bin/x -f ${sender} -- ${recipient}",
                       "{a b}", "{ x  y }", "{}", "a{b c}d", "null_sender=", "-o file", "size=10", "eol=\\r\\n", "-v", "x=}",
                       "a-rather-long-argument-that-fills-its-line=with/some/path", "${nexthop}", "{argv=/bin/sh -c {x y}}"])


def option(rnd):
    name = rnd.choice(["content_filter", "mynetworks", "smtpd_banner", "myhostname", "smtpd_recipient_restrictions", "foo",
                       "nosuch", "smtpd_client_restrictions", "bar"])
    value = rnd.choice(["", "x", "127.0.0.0/8", "permit_mynetworks,reject", "$foo", "${bar?x}", "yes", "$myhostname", "a=b",
                        "permit_sasl_authenticated,permit_mynetworks,reject_unauth_destination"])
    return rnd.choice(["-o %s=%s" % (name, value), "-o %s=%s" % (name, value), "-o { %s = %s y }" % (name, value),
                       "-o {%s=%s}" % (name, value), "-v", "-vo %s=%s" % (name, value), "-D", "-ovar=1", "-o {%s = }" % name])


def master_row(rnd, broken=0.02):
    service = rnd.choice(["smtp", "10025", "127.0.0.1:10026", "localhost:10027", "slow", "policy", "filter", "scanner", "pickup",
                          "a-long-name.of.some.host.example.test:12345", "smtps"])
    fields = [service, rnd.choice(["inet", "unix", "fifo", "pass", "unix-dgram"]), rnd.choice("yn-"), rnd.choice("yn-"),
              rnd.choice("yn-"), rnd.choice(["-", "60", "1000?", "0", "007"]), rnd.choice(["-", "0", "1", "10", "100"]),
              rnd.choice(PROGRAMS)]
    if rnd.random() < broken:
        fields[rnd.randrange(1, 7)] = rnd.choice(["x", "yes", "-1", "5?5", "?"])
    if rnd.random() < broken:
        return " ".join(fields[:-1])
    words = [rnd.choice([" ", "  ", "\t", "       "]).join(fields)]
    blank = lambda: rnd.choice([" ", "  ", "\n  ", "\n\t", "\n# inside\n  ", "\n\n  "])  # noqa: E731
    for _ in range(rnd.choice([0, 0, 1, 2, 5])):
        words.append(blank() + option(rnd))
    for n in range(rnd.choice([0, 0, 0, 2, 4, 9])):
        words.append(blank() + (argument(rnd) if n > 0 else rnd.choice(["flags=Rq", "user=nobody"])))
    return "".join(words)


def master_cf(rnd, most=6, broken=0.02, repeated=False):
    lines, seen = [], set()
    for _ in range(rnd.randrange(most + 1)):
        if rnd.random() < 0.25:
            lines.append(rnd.choice(["# comment", "", "#smtp inet n - n - - smtpd", "  # indented"]))
        row = master_row(rnd, broken)
        key = tuple(row.split()[:2])
        if repeated or key not in seen:
            lines.append(row)
        seen.add(key)
    return "\n".join(lines) + "\n"


def request(rnd, parts):
    pool = (["smtp", "slow", "*", "127.0.0.1:10026", "nosuch", "filter"], ["inet", "unix", "*", "pass"],
            ["chroot", "command", "*", "content_filter", "foo", "type", "smtpd_banner"])
    return "/".join(rnd.choice(pool[i]) for i in range(parts))


def case_master(rnd, sides):
    sides.write("main.cf", rnd.choice(["compatibility_level = 3.6\n", "foo = f\nbar = $foo x\n", "mydomain = a.test\nfoo = b c\n"]))
    sides.write("master.cf", master_cf(rnd))
    for options in rnd.sample([["-M"], ["-Mf"], ["-Mx"], ["-F"], ["-Ff"], ["-Fx"], ["-FH"], ["-P"], ["-Pf"], ["-Px"], ["-Ph"],
                               ["-PH"], ["-Mfx"], ["-n"]], 3):
        words = list(options)
        if rnd.random() < 0.4 and options != ["-n"]:
            parts = rnd.randrange(1, 3 if options[0].startswith("-M") else 4)
            words += [request(rnd, parts) for _ in range(rnd.randrange(1, 3))]
        ours, theirs = sides.ask("postconf", words)
        yield "postconf " + " ".join(words), ours, theirs, ["main.cf", "master.cf"]


# ------------------------------------------------------------------------------------------------------- editing

def edit_words(rnd):
    kind = rnd.randrange(9)
    if kind == 0:
        return ["-e", "%s%s%s" % (rnd.choice(VARIABLES), rnd.choice(["=", " = ", " ="]), rnd.choice(WORDS))]
    if kind == 1:
        return ["%s=%s" % (rnd.choice(VARIABLES), rnd.choice(["", "a  b", "$x"]))]
    if kind == 2:
        return [rnd.choice(["-X", "-#"])] + rnd.sample(VARIABLES, rnd.randrange(1, 3))
    if kind == 3:
        row = " ".join(master_row(random.Random(rnd.random()), 0).split())
        row = re.sub(r"# inside ", "", row)
        key = "/".join(row.split()[:2]) if rnd.random() < 0.7 else request(rnd, 2)
        return [rnd.choice(["-M", "-Me"]), "%s=%s" % (key, row)]
    if kind == 4:
        return [rnd.choice(["-MX", "-M#"]), request(rnd, 2)]
    if kind in (5, 6):
        field, value = rnd.choice([("chroot", "y"), ("chroot", "n"), ("wakeup", "7?"), ("process_limit", "3"), ("private", "-"),
                                   ("command", "smtpd -v -o a=b x"), ("type", "fifo"), ("service", "renamed"), ("chroot", "z"),
                                   ("command", "pipe flags=R user=x argv=/bin/a/rather/long/command -f ${sender} ${recipient}")])
        return [rnd.choice(["-F", "-Fe"]), "%s/%s=%s" % (request(rnd, 2), field, value)]
    if kind == 7:
        return [rnd.choice(["-P", "-Pe"]), "%s=%s" % (request(rnd, 3), rnd.choice(["", "x", "$foo", "a=b", "{x}"]))]
    return ["-PX", request(rnd, 3)]


def case_edit(rnd, sides):
    sides.write("main.cf", "\n".join(re.sub(r"\r", "", main_cf(rnd)).split("\n")[-12:]).lstrip())
    sides.write("master.cf", master_cf(rnd, 5, 0, True))
    for _ in range(3):
        words = edit_words(rnd)
        before = sides.read("main.cf")[1] + b"----\n" + sides.read("master.cf")[1]
        ours, theirs = sides.ask("postconf", words)
        files = [sides.read("main.cf"), sides.read("master.cf")]
        ours, theirs = [a + (files[0][i], files[1][i]) for i, a in enumerate((ours, theirs))]
        yield "postconf %s\n%s" % (" ".join(words), before.decode("utf-8", "replace")), ours, theirs, []
        for name in ("main.cf", "master.cf"):
            sides.write(name, sides.read(name)[1])


# -------------------------------------------------------------------------------------------------------- tables

NAMES = ["foo", "Foo", "user@example.test", "example.test", ".example.test", "192.0.2.1", "192.0.2", "@example.test", "a b",
         "ñandú", "x", "key", "KEY", "user+ext@example.test", "*", "10.1", "postmaster@", "dot.", "a:b"]
RESULTS = ["OK", "REJECT", "550 no such user", "smtp:[mx.example.test]", "a,b , c", "DUNNO", "x  y", "ñ", "v # w", "$1", "\"q\""]


def source(rnd):
    lines = []
    for _ in range(rnd.randrange(12)):
        kind = rnd.randrange(12)
        if kind == 0:
            lines.append(rnd.choice(["# comment", "", "  # indented", "   "]))
        elif kind == 1:
            lines.append(rnd.choice(["keyonly", '"open quote', '"q k" v', "colon: v", "tab\tv", '"a\\"b" v', "bs\\ x v"]))
        elif kind == 2 and lines:
            lines.append(rnd.choice(["  ", "\t"]) + rnd.choice(RESULTS))
        else:
            lines.append(rnd.choice(NAMES) + rnd.choice([" ", "\t", "   "]) + rnd.choice(RESULTS))
    return "\n".join(lines) + rnd.choice(["\n", "\n", ""])


def pattern(rnd):
    atoms = ["a", "b", "foo", ".", "x*", "[a-c]", "(a|b)", "(.*)@(.*)", "[0-9]+", "\\.", "^", "$", "test", "ñ", "\\/", "(x)?"]
    return "".join(rnd.choice(atoms) for _ in range(rnd.randrange(1, 6)))


def rules(rnd, kind):
    lines, depth = [], 0
    for _ in range(rnd.randrange(1, 8)):
        what = rnd.randrange(10)
        test = (network(rnd) if kind == "cidr" else "/%s/%s" % (pattern(rnd), rnd.choice(
            ["", "", "", "i", "m", "x" if kind == "pcre" else "i", "ii", "s" if kind == "pcre" else "m"])))
        negated = rnd.choice(["", "", "", "!"])
        if what == 0:
            lines.append("if %s%s" % (negated, test))
            depth += 1
        elif what == 1 and depth > 0:
            lines.append("endif")
            depth -= 1
        elif what == 2:
            lines.append(rnd.choice(["# comment", "", "/(/ broken", "/a", "nonsense", "/a/q x", "endif"]))
        else:
            result = rnd.choice(["OK", "REJECT x", "$$1", "a  b"] if negated else ["OK", "got $1", "${2}-$(1)", "x$$", "REJECT a b"])
            lines.append("%s%s%s%s" % (negated, test, rnd.choice([" ", "\t", "\n  "]), result))
    return "\n".join(lines + ["endif"] * depth) + "\n"


def network(rnd):
    return rnd.choice(["192.0.2.0/24", "192.0.2.1", "10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "::1", "[::1]", "192.0.2.128/25",
                       "192.0.2.1/24", "::/0", "300.1.1.1", "10.0.0.0/33", "192.0.2.1/32"])


def key(rnd):
    return rnd.choice(NAMES + ["ab", "aab@test", "foo@x", "xx", "a@b", "FOO", "192.0.2.200", "10.1.2.3", "::1", "2001:db8::5", "1",
                               "a/b", "abba\tx", "x y", "nosuch", '"q k"', "q k"])


def case_tables(rnd, sides):
    """Tables that postmap writes, then those that are only asked."""
    sides.write("main.cf", "compatibility_level = %s\n" % rnd.choice(["0", "3.6"]))
    sides.write("master.cf", "")
    sides.write("table", source(rnd))
    kind = rnd.choice(["hash", "btree", "lmdb"])
    ours, theirs = sides.ask("postmap", rnd.choice([[], ["-w"], ["-f"], ["-r"]]) + ["%s:table" % kind])
    yield "postmap %s:table" % kind, ours, theirs, ["table"]
    ours, theirs = [(a[0], b"\n".join(sorted(a[1].split(b"\n"))), a[2]) for a in sides.ask("postmap", ["-s", "%s:table" % kind])]
    yield "postmap -s %s:table" % kind, ours, theirs, ["table"]
    words = rnd.choice([["-q", "-"], ["-fq", "-"], ["-q", key(rnd)], ["-d", key(rnd)], ["-d", "-"], ["-i"], ["-ri"], ["-wi"]])
    data = source(rnd) if "i" in words[0] else "\n".join(key(rnd) for _ in range(6)) + "\n"
    ours, theirs = sides.ask("postmap", words + ["%s:table" % kind], data.encode())
    yield "postmap %s %s:table < %r" % (words, kind, data), ours, theirs, ["table"]
    kind = rnd.choice(["texthash", "regexp", "pcre", "cidr", "inline", "static"])
    if kind in ("inline", "static"):
        spec = {"inline": "inline:{ %s }" % ", ".join(rnd.choice(["%s=%s", "{%s = %s}", "{ %s=%s y }"]) % (
            rnd.choice(["foo", "x", "Key", "a.b"]), rnd.choice(["1", "x=y", "OK"])) for _ in range(rnd.randrange(1, 4))),
            "static": "static:" + rnd.choice(["OK", "{a b}", "a,b", "{ x }"])}[kind]
    else:
        sides.write("rules", source(rnd) if kind == "texthash" else rules(rnd, kind))
        spec = kind + ":rules"
    data = "\n".join(key(rnd) for _ in range(8)) + "\n"
    ours, theirs = sides.ask("postmap", ["-q", "-", spec], data.encode())
    if kind in ("regexp", "pcre", "cidr"):  # what is wrong with a rule is told in other words
        ours, theirs = ours[:2], theirs[:2]
    yield "postmap -q - '%s' < %r" % (spec, data), ours, theirs, ["rules"]


# ---------------------------------------------------------------------------------------------------------- mime

TYPES = ["text/plain", "text/html; charset=us-ascii", 'application/octet-stream; name="happy99.EXE"', "image/png",
         'application/x-msdownload;\n name="a.PIF"', "message/delivery-status", "TEXT/plain;\n\tname=foo.js"]
HEADERS = ["Subject: Re: Your password!", "From: \"Ana\" <_ana@x.es>", "date: x", "X-Unsent: 1", "Date: Mon, 6 Jan 2003 10:00:00 +0100",
           "To: amigo@publico.com,\n other@publico.com", "Content-Disposition: attachment;\n filename=\"a.{00020810-0000}\"",
           "Subject: Enanito si, pero con que pedazo!", "X-Long : y", "Received: from a\n\tby b;\n\t x", "From: Hahaha <hahaha@sexyfun.net>"]
LINES = ["we accept credit cards here", "", "keyword", "rem i am sorry", " filename=\"pretty park.exe\"", "begin 644 foo.scr", "--", "-- ",
         "--not a boundary", "<iframe src=\"cid:x\"", "see today.reg", "GUARANTEED!", "x: y", "Te mando este archivo", "ñandú", ".", " name=foo.js"]


def entity(rnd, depth=0):
    """Header and body of a message or part, well formed."""
    head = rnd.sample(HEADERS, rnd.randrange(0 if depth else 1, 4))
    kind = rnd.randrange(6) if depth < 3 else 5
    if kind < 2:
        boundary = "b%d%s" % (rnd.randrange(1000), rnd.choice(["", "=_x", "'()+_,-./:=?"]))
        head.append(rnd.choice(['Content-Type: multipart/mixed; boundary="%s"', 'Content-Type: multipart/alternative;\n boundary="%s"',
                                'content-type: Multipart/mixed; charset=x; Boundary="%s"']) % boundary)
        body = rnd.sample(LINES, rnd.randrange(2))
        for _ in range(rnd.randrange(1, 4)):
            body += ["--" + boundary + rnd.choice(["", "", " "])] + entity(rnd, depth + 1)
        body += ["--%s--" % boundary] + rnd.sample(LINES, rnd.randrange(3))
    elif kind == 2 and depth > 0:
        head.append("Content-Type: message/rfc822")
        body = entity(rnd, depth + 1)
    else:
        if rnd.random() < 0.7:
            head.append("Content-Type: " + rnd.choice(TYPES))
        body = [rnd.choice(LINES) for _ in range(rnd.randrange(6))]
    rnd.shuffle(head)
    return "\n".join(head + [""] + body).split("\n")


def case_mime(rnd, sides):
    sides.write("main.cf", "compatibility_level = 3.6\n")
    sides.write("master.cf", "")
    message = "\n".join(entity(rnd)) + rnd.choice(["\n", ""])
    if rnd.random() < 0.1 and "message/" not in message:
        message = message.replace("\n", "\r\n")
    sides.write("message", message)
    for name in rnd.sample(sorted(golden.TABLES), 2) + ["any"]:
        kind, text = ("regexp", "/^/ M\n") if name == "any" else golden.table(name)
        sides.write("rules", text)
        options = rnd.choice(["-hq", "-bq", "-hmq", "-bmq", "-bmq", "-hmq", "-hbq"])
        ours, theirs = sides.ask("postmap", [options, "-", kind + ":rules"], message.encode())
        yield "postmap %s - %s:%s" % (options, kind, name), ours, theirs, ["message"]


PARTS = {"main": case_main, "master": case_master, "edit": case_edit, "tables": case_tables, "mime": case_mime}


# -------------------------------------------------------------------------------------------------------- running

def difference(ours, theirs):
    """What differs, line by line, "-" theirs and "+" ours."""
    def lines(answer):
        out = ["exit code %d" % answer[0]]
        for part in answer[1:]:
            if isinstance(part, bytes):
                part = part.split(b"\n")
            out += [repr(x) for x in part or []]
        return out
    return "\n".join(x for x in difflib.unified_diff(lines(theirs), lines(ours), lineterm="", n=0) if x[:2] not in ("--", "++", "@@"))


def run_case(part, seed, number, show):
    rnd = random.Random("%s/%s/%s" % (seed, part, number))
    sides = Sides()
    asked, differing = 0, []
    try:
        for what, ours, theirs, files in PARTS[part](rnd, sides):
            if theirs[0] < 0:
                continue  # Postfix ends by a signal where values refer to each other in a circle
            asked += 1
            if ours != theirs and len(differing) < show:
                shown = "".join("\n--- %s\n%s" % (f, (sides.read(f)[1] or b"").decode("utf-8", "replace")) for f in files)
                differing.append("%s case %d: %s\n%s%s" % (part, number, what, difference(ours, theirs), shown))
            elif ours != theirs:
                differing.append("")
    finally:
        sides.close()
    return asked, differing


def run(parts, seed, cases, show=3, seconds=None):
    """True when nothing differed. Prints what differs, and a line of counts for each part."""
    ok = True
    for part in parts:
        start, asked, bad, printed, done = time.monotonic(), 0, 0, 0, 0
        with concurrent.futures.ThreadPoolExecutor(4 * os.cpu_count()) as pool:  # Postfix sleeps before a fatal exit
            pending = [pool.submit(run_case, part, seed, n, show) for n in range(cases)]
            for future in pending:
                if seconds is not None and time.monotonic() - start > seconds and future.cancel():
                    continue
                count, differing = future.result()
                done += 1
                asked += count
                bad += len(differing)
                for text in differing:
                    if printed < show and text:
                        printed += 1
                        print(text, flush=True)
        print("%s: %d cases of seed %s, %d answers compared, %d differ, %.0f s"
              % (part, done, seed, asked, bad, time.monotonic() - start), flush=True)
        ok = ok and bad == 0 and done > 0
    return ok


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=[], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seed", default="1")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--show", type=int, default=3)
    arguments = parser.parse_args()
    sys.exit(0 if run(arguments.parts or list(PARTS), arguments.seed, arguments.cases, arguments.show) else 1)


if __name__ == "__main__":
    main()

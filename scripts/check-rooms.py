#!/usr/bin/python3
"""Holds src/ to its plan: which room may include which, and that headers stand on their own.

Rules, from the table below: a file of room X includes only X's own headers, those of the rooms that X may see, and the
system's; private headers (`_internal.h`) stay in their room; the libraries named below are included only where the table
says so; no two rooms include each other, not even over others; every header compiles alone.

To let a room see another one, change ROOMS here and in ARCHITECTURE.md, and say why in the commit."""
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"

# room -> rooms it may include besides itself. CMakeLists.txt links what this table allows.
ROOMS = {
    "base": [],
    "pgwire": ["base"],
    "config": ["base"],
    "metrics": ["base"],
    "engine": ["base", "metrics"],
    "catalog": ["base", "engine"],
    "wal": ["base", "metrics"],
    "mvstore": ["base", "metrics"],
    "auth": ["base", "config"],
    "net": ["base", "metrics"],
    "pgclient": ["base", "pgwire", "net"],
    "sched": ["base", "metrics", "engine"],
    "repl": ["base", "metrics", "pgwire", "pgclient", "wal", "engine", "sched"],
    "session": ["base", "pgwire", "config", "metrics", "auth", "sched", "engine", "catalog", "pgclient", "repl"],
    "server": None,  # everything
    "client": ["base", "pgwire", "pgclient"],
}
# Headers of net that pgclient may include: it shares TLS and nothing else.
ONLY_HEADERS = {("pgclient", "net"): re.compile(r"^net/tls(_openssl)?\.h$")}

# Library headers -> files (relative to src/) that may include them.
LIBRARIES = [
    (re.compile(r"^sqlite3(ext)?\.h$"), re.compile(r"^(engine|wal|mvstore|server|client)/|^session/native")),
    (re.compile(r"^openssl/"), re.compile(r"^(auth|pgclient)/|^net/tls[a-z_]*\.[ch]$")),
    (re.compile(r"^foundationdb/|^fdb_c"), re.compile(r"^mvstore/[a-z_]*fdb[a-z_]*\.[ch]$")),
    (re.compile(r"^lmdb\.h$"), re.compile(r"^mvstore/[a-z_]*lmdb[a-z_]*\.[ch]$")),
    (re.compile(r"^lz4\.h$"), re.compile(r"^wal/ltx[a-z_]*\.c$")),
    (re.compile(r"^systemd/"), re.compile(r"^server/")),
]
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.M)
COMPILE = ("gcc", "-std=gnu11", "-D_GNU_SOURCE", '-DSQLD_VERSION="0"', "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
           "-I", str(SRC), "-x", "c", "-")


def files():
    return sorted(p for ending in ("*.c", "*.h", "*.inc") for p in SRC.glob(f"*/**/{ending}"))


def check_own(name, room, target, complain):
    """An include in double quotes: one of ours, written from src/ on."""
    if not (SRC / target).exists():
        complain(f'"{target}" is not below src/: write our headers as "room/name.h" and others in <>')
        return None
    other = target.split("/")[0]
    if other == room:
        return None
    allowed = ROOMS[room]
    if allowed is not None and other not in allowed:
        complain(f"room {room} may not include room {other} (\"{target}\"); it may include: {', '.join(allowed)}")
    elif target.endswith("_internal.h"):
        complain(f'"{target}" is private to room {other}')
    elif (room, other) in ONLY_HEADERS and not ONLY_HEADERS[room, other].match(target):
        complain(f'of room {other}, room {room} may include its TLS headers only, not "{target}"')
    return other


def check_library(name, target, complain):
    for header, users in LIBRARIES:
        if header.match(target) and not users.match(name):
            complain(f"<{target}> may be included only by src/ files that match {users.pattern}")


def find_cycle(graph):
    """A list of rooms that include each other in a ring, or None."""
    state, path = {}, []

    def visit(room):
        state[room] = "open"
        path.append(room)
        for other in sorted(graph.get(room, ())):
            if state.get(other) == "open":
                return path[path.index(other):] + [other]
            if other not in state:
                ring = visit(other)
                if ring:
                    return ring
        path.pop()
        state[room] = "done"
        return None

    for room in sorted(graph):
        if room not in state:
            ring = visit(room)
            if ring:
                return ring
    return None


def check_headers_alone(headers):
    """All in a few compiler runs at a time; a header that needs another one before it fails by itself."""
    running, problems = [], []

    def reap(count):
        while len(running) > count:
            header, process = running.pop(0)
            output = process.communicate()[0].decode(errors="replace")
            if process.returncode != 0:
                problems.append(f"{header.relative_to(ROOT)}: does not compile alone:\n{output}")

    flags = subprocess.run(["pkg-config", "--cflags", "sqlite3", "libsystemd"], capture_output=True, text=True, check=True)
    for header in headers:
        process = subprocess.Popen([*COMPILE[:-3], *shlex.split(flags.stdout), *COMPILE[-3:]], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        # Twice, for the include guard; the typedef keeps the translation unit from being empty.
        line = f'#include "{header.relative_to(SRC)}"\n'
        process.stdin.write((line + line + "typedef int not_empty;\n").encode())
        process.stdin.close()
        process.stdin = None
        running.append((header, process))
        reap(3)
    reap(0)
    return problems


def main():
    problems, graph = [], {}
    for path in files():
        name = str(path.relative_to(SRC))
        room = name.split("/")[0]
        if room not in ROOMS:
            problems.append(f"src/{name}: room {room} is not in the table of {Path(__file__).name}")
            continue
        text = path.read_text()
        for found in INCLUDE.finditer(text):
            line = text.count("\n", 0, found.start()) + 1 + found.group(0).count("\n")

            def complain(what, where=f"src/{name}:{line}"):
                problems.append(f"{where}: {what}")

            if found.group(1):
                other = check_own(name, room, found.group(1), complain)
                if other:
                    graph.setdefault(room, set()).add(other)
            else:
                check_library(name, found.group(2), complain)
    ring = find_cycle(graph)
    if ring:
        problems.append(f"rooms include each other in a ring: {' -> '.join(ring)}")
    problems += check_headers_alone([p for p in files() if p.suffix == ".h"])
    for problem in problems:
        print(problem)
    if problems:
        print(f"check-rooms: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

"""Go's mattn/go-sqlite3 with its own tests, from Debian's source package of it, built to use the system's library: each
top-level test in a process of its own.

Built with what its build tags offer, but for those that need SQLite's own source (sqlite_unlock_notify) or a library
with user authentication (sqlite_userauth)."""

import os
import re
import shutil
import subprocess

from results import CRASH, END, FAIL, OK, SKIP
from runner import NotRun, need

NAME = "go-sqlite3"
TITLE = "Go mattn/go-sqlite3 `go test`"
LIMIT_S = 900
LEAST_PASSED = 80
GOPATH = "/usr/share/gocode"
PACKAGE = "github.com/mattn/go-sqlite3"
TAGS = "libsqlite3 sqlite_vtable sqlite_column_metadata sqlite_fts5 sqlite_math_functions sqlite_preupdate_hook"

LINE = re.compile(r"^\s*--- (PASS|FAIL|SKIP): (\S+) ")
OUTCOMES = {"PASS": OK, "FAIL": FAIL, "SKIP": SKIP}


def prepare(work):
    """Builds the test program, once."""
    need(f"{GOPATH}/src/{PACKAGE}", "golang-github-mattn-go-sqlite3-dev")
    if shutil.which("go") is None:
        raise NotRun("no go (Debian: golang-go)")
    made, built_with = test_program(work), test_program(work).with_suffix(".tags")
    if made.exists() and built_with.exists() and built_with.read_text() == TAGS:
        return
    env = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": GOPATH,
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "GOCACHE": str(work / "go-cache"),
        "CGO_ENABLED": "1",
    }
    command = ["go", "test", "-vet=off", "-c", "-tags", TAGS, "-o", made, PACKAGE]
    done = subprocess.run(list(map(str, command)), cwd=work, env=env, capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        raise AssertionError(f"go test -c {PACKAGE}:\n{done.stdout}{done.stderr}")
    built_with.write_text(TAGS)


def test_program(work):
    return work / "go-sqlite3.test"


def versions(work):
    go = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    state = ["dpkg-query", "-W", "-f", "${Version}", "golang-github-mattn-go-sqlite3-dev"]
    package = subprocess.run(state, capture_output=True, text=True, check=False).stdout.strip()
    return f"{package}, {go}"


def play(run):
    run.check_library([test_program(run.work), "-test.list", "^$"])
    listed = run.command("list", [test_program(run.work), "-test.list", "."])
    for unit in re.findall(r"^Test\w+$", listed.out, re.M):
        if run.is_over():
            run.results.add(unit, END, FAIL, "not run: the program's time limit")
            continue
        command = [test_program(run.work), "-test.v", "-test.run", f"^{unit}$", "-test.count=1", "-test.timeout=110s"]
        ended = run.command(unit, command, cwd=run.directory(unit))
        read(run, unit, ended)
        run.finish(unit, ended)


def read(run, unit, ended):
    found = [LINE.match(line) for line in ended.out.split("\n")]
    judged = {match[2]: OUTCOMES[match[1]] for match in found if match}
    for name in dict.fromkeys(re.findall(r"^=== RUN +(\S+)$", ended.out, re.M)):
        cut_off = CRASH if name == unit or not judged else FAIL
        detail = "" if judged.get(name) == OK else run.show((ended.out + ended.err)[-4000:])
        run.results.add(unit, name, judged.get(name, cut_off), detail)

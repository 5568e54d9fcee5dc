"""SQLite's own test scripts (test/*.test of its source), under a stock tclsh with the packaged Tcl binding: the files
of sqlite-tests.txt, each in a process of its own. sqlite-prelude.tcl stands in for testfixture."""

import subprocess

from results import CRASH, END, FAIL, OK
from runner import ROOT, NotRun, need, source

NAME = "sqlite-tests"
TITLE = "SQLite's `.test` files"
LIMIT_S = 2400
LEAST_PASSED = 110000
TCLSH = "/usr/bin/tclsh"
HERE = ROOT / "tests" / "compat"
PRELUDE = HERE / "sqlite-prelude.tcl"


def names():
    return (HERE / "sqlite-tests.txt").read_text().split()


def prepare(work):
    need(TCLSH, "tcl")
    asked = subprocess.run([TCLSH], input="package require sqlite3", capture_output=True, text=True, timeout=60)
    if asked.stderr or asked.returncode != 0:
        raise NotRun("tclsh has no package sqlite3 (Debian: libsqlite3-tcl)")
    source(work, "sqlite3", member="test/tester.tcl")


def versions(work):
    return "SQLite " + (source(work, "sqlite3", member="VERSION") / "VERSION").read_text().strip()


def play(run):
    probe = run.scratch / "probe.tcl"
    probe.write_text("package require sqlite3\nsqlite3 db :memory: -vfs unix\n")
    run.check_library([TCLSH, probe])
    tests = source(run.work, "sqlite3", member="test/tester.tcl") / "test"
    for unit in names():
        if run.is_over():
            run.results.add(unit, END, FAIL, "not run: the program's time limit")
            continue
        log = run.logs / f"{unit}.results"
        command = [TCLSH, PRELUDE, tests / f"{unit}.test"]
        ended = run.command(unit, command, cwd=run.directory(unit), COMPAT_RESULTS=log)
        read(run, unit, log, ended)


def read(run, unit, log, ended):
    """The unit's end is whether the script came to its own one: its exit code only counts the failures again."""
    came_to_end = False
    for line in log.read_text(errors="backslashreplace").split("\n")[:-1] if log.exists() else ():
        word, _, rest = line.partition("\t")
        if word == "end":
            came_to_end = True
            continue
        name, _, detail = rest.partition("\t")
        run.results.add(unit, name, OK if word == "ok" else FAIL, run.show(detail.replace("\\n", "\n")))
    if came_to_end and not ended.is_late and ended.code >= 0:
        run.results.add(unit, END, OK)
    else:
        outcome, detail = ended.outcome()
        text = f"{detail}\n{ended.err[-2000:]}"
        run.results.add(unit, END, CRASH if outcome == CRASH else FAIL, run.show(text))

"""Perl's DBD::SQLite, as Debian packages it with the system's library, and the tests of its package's source: each
file of t/ in a process of its own, as prove(1) runs them; its tests are the lines of its TAP output."""

import re
import shutil
import subprocess

from results import END, FAIL, OK, SKIP
from runner import NotRun, source

NAME = "dbd-sqlite"
TITLE = "Perl DBD::SQLite `prove -r t`"
LIMIT_S = 1200
LEAST_PASSED = 3800
PACKAGE = "libdbd-sqlite3-perl"
PERL = "/usr/bin/perl"
KEPT = ("t", "lib", "inc", "MANIFEST")  # what the tests look at

LINE = re.compile(r"^(not )?ok\b\s*(\d+)?\s*-?\s*(.*?)\s*(?:#\s*(SKIP|TODO)\b\s*(.*))?$", re.I)  # banned-ok: TAP
PLAN = re.compile(r"^1\.\.(\d+)\s*(?:#\s*SKIP\b\s*(.*))?$", re.I)


def prepare(work):
    source(work, PACKAGE, member="t")
    if subprocess.run([PERL, "-MDBD::SQLite", "-e", "1"], capture_output=True, check=False, timeout=60).returncode != 0:
        raise NotRun(f"Perl has no DBD::SQLite (Debian: {PACKAGE})")


def versions(work):
    code = "print qq(DBD::SQLite $DBD::SQLite::VERSION, Perl $^V)"
    return subprocess.run([PERL, "-MDBD::SQLite", "-e", code], capture_output=True, text=True, check=True).stdout


def play(run):
    run.check_library([PERL, "-MDBD::SQLite", "-e", "1"])
    home = run.directory("dbd")
    for name in KEPT:
        origin = source(run.work, PACKAGE, member=name) / name
        shutil.copytree(origin, home / name) if origin.is_dir() else shutil.copy(origin, home / name)
    for path in sorted(home.glob("t/**/*.t")):
        unit = str(path.relative_to(home))
        if run.is_over():
            run.results.add(unit, END, FAIL, "not run: the program's time limit")
            continue
        ended = run.command(unit, [PERL, *switches(path), unit], cwd=home)
        complaint = read(run, unit, ended)
        outcome, detail = ended.outcome()
        if outcome == OK and complaint:
            outcome = FAIL
        text = f"{detail} {complaint}\n{ended.err[-2000:]}" if outcome != OK else ""
        run.results.add(unit, END, outcome, run.show(text))


def switches(path):
    """Of the test's first line; prove passes them on."""
    first = path.read_text(errors="replace").partition("\n")[0]
    return [w for w in first.split()[1:] if w in ("-w", "-T", "-t")] if first.startswith("#!") else []


def read(run, unit, ended):
    """Returns what prove would complain of beside the tests themselves, or ""."""
    number, planned = 0, None
    for line in ended.out.split("\n"):
        plan = PLAN.match(line)
        if plan:
            planned = int(plan[1])
            if planned == 0:
                run.results.add(unit, "all", SKIP, plan[2] or "")
            continue
        match = LINE.match(line)
        if not match:
            continue
        number += 1
        outcome = FAIL if match[1] and (match[4] or "").upper() != "TODO" else OK  # banned-ok: TAP
        if (match[4] or "").upper() == "SKIP":
            outcome = SKIP
        run.results.add(unit, str(number), outcome, run.show(f"{match[3]} {match[5] or ''}".strip()))
    return "" if number == planned else f"planned {planned} tests, ran {number}"

"""CPython's own tests of its sqlite3 module (test.test_sqlite3), each of its files in a process of its own.

The interpreter is $COMPAT_PYTHON or Debian's. Its own copy of the tests is used if it has one; Debian's has none, so
they come from its package's source."""

import json
import os
import subprocess
from pathlib import Path

from results import CRASH, FAIL, OK, SKIP
from runner import ROOT, NotRun, need, source

NAME = "cpython"
TITLE = "CPython `test_sqlite3`"
LIMIT_S = 600
LEAST_PASSED = 420
REMOTE_ENV = {"SQLD_MAP_MEMORY": "1"}
RUNNER = ROOT / "tests" / "client" / "cpython_run.py"

OUTCOMES = {"ok": OK, "expected failure": OK, "failed": FAIL, "error": FAIL, "unexpected success": FAIL}


def interpreter():
    path = os.environ.get("COMPAT_PYTHON", "/usr/bin/python3")
    need(path, "python3")
    return path


def ask(python, code):
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def tests_directory(work):
    python = interpreter()
    own = Path(ask(python, "import test, os; print(os.path.dirname(test.__file__))"))
    if (own / "test_sqlite3").is_dir():
        return own
    package = "python" + ask(python, "import sys; print('%d.%d' % sys.version_info[:2])")
    return source(work, package, member="Lib/test/test_sqlite3") / "Lib" / "test"


def prepare(work):
    if not list(tests_directory(work).glob("test_sqlite3/test_*.py")):
        raise NotRun("test_sqlite3 has no files")


def versions(work):
    return "Python " + ask(interpreter(), "import platform; print(platform.python_version())")


def play(run):
    tests = tests_directory(run.work)
    run.check_library([interpreter(), "-c", "import sqlite3"])
    for path in sorted(tests.glob("test_sqlite3/test_*.py")):
        unit, log = path.stem, run.logs / f"{path.stem}.jsonl"
        ended = run.command(unit, [interpreter(), RUNNER, tests, log, unit], cwd=run.directory(unit))
        read(run, unit, log)
        run.finish(unit, ended)


def read(run, unit, log):
    """A test that began and never ended was cut off by its process's end."""
    begun = None
    for line in log.read_text().split("\n")[:-1] if log.exists() else ():
        record = json.loads(line)
        if "begun" in record:
            begun = record["begun"]
        elif "test" in record:
            name, outcome = record["test"].removeprefix(f"test.test_sqlite3.{unit}."), record["outcome"]
            kind = SKIP if outcome.startswith("skipped") else OUTCOMES[outcome]
            run.results.add(unit, name, kind, run.show(record["why"]))
            begun = None
    if begun is not None:
        name = begun.removeprefix(f"test.test_sqlite3.{unit}.")
        run.results.add(unit, name, CRASH, "the process ended in the middle of this test")

"""Runs CPython's own tests of its sqlite3 module, and writes what becomes of each to a file, a JSON object a line.

    python3 cpython_run.py DIR RESULT [FILE]...    DIR: has test_sqlite3; FILE: test_dbapi, …; default: all

    {"begun": TEST}    {"test": TEST, "outcome": …, "why": …}    {"libraries": [PATH, …]}, last: libsqlite3 as loaded

Each line is written at once, so that one sees where a process that died was. Started by test_cpython.py and
tests/compat, with the tested Python and nothing of pytest's."""

import json
import sys
import unittest
from pathlib import Path

import test  # CPython's package of that name

if sys.argv[1] not in test.__path__:
    test.__path__.append(sys.argv[1])


class Outcomes(unittest.TestResult):
    def __init__(self, file):
        super().__init__()
        self.file = file
        self.outcomes = {}

    def write(self, **record):
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()

    def startTest(self, case):  # noqa: N802
        super().startTest(case)
        self.write(begun=case.id())

    def stopTest(self, case):  # noqa: N802
        super().stopTest(case)
        outcome, why = self.outcomes.pop(case.id(), ("ok", ""))
        self.write(test=case.id(), outcome=outcome, why=why)

    def note(self, case, outcome, why=""):
        self.outcomes[case.id()] = (outcome, why)
        if not isinstance(case, unittest.TestCase):  # a fixture of a class or module, which does not start and stop
            self.stopTest(case)

    def addFailure(self, case, err):  # noqa: N802
        self.note(case, "failed", self._exc_info_to_string(err, case))

    def addError(self, case, err):  # noqa: N802
        self.note(case, "error", self._exc_info_to_string(err, case))

    def addSkip(self, case, reason):  # noqa: N802
        self.note(case, f"skipped: {reason}")

    def addExpectedFailure(self, case, err):  # noqa: N802
        self.note(case, "expected failure")

    def addUnexpectedSuccess(self, case):  # noqa: N802
        self.note(case, "unexpected success")

    def addSubTest(self, case, subtest, err):  # noqa: N802
        if err is not None:
            self.note(case, "failed", self._exc_info_to_string(err, case))


def main():
    files = sys.argv[3:] or sorted(p.stem for p in Path(sys.argv[1]).glob("test_sqlite3/test_*.py"))
    with open(sys.argv[2], "w") as file:
        result = Outcomes(file)
        unittest.defaultTestLoader.loadTestsFromNames([f"test.test_sqlite3.{name}" for name in files]).run(result)
        used = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libsqlite3" in line}
        result.write(libraries=sorted(used))


main()

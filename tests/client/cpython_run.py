"""Runs CPython's own tests of its sqlite3 module, and writes what became of each as JSON: {test: outcome}.

    python3 cpython_run.py DIR RESULT    DIR: has test_sqlite3

Started by test_cpython.py, with the system's Python and nothing of pytest's."""

import json
import sys
import unittest
from pathlib import Path

import test  # CPython's package of that name

test.__path__.append(sys.argv[1])


class Outcomes(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.outcomes = {}
        self.why = {}

    def note(self, case, outcome, why=""):
        self.outcomes[case.id()] = outcome
        self.why[case.id()] = why

    def addSuccess(self, case):  # noqa: N802
        self.outcomes.setdefault(case.id(), "ok")

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
    result = Outcomes()
    names = [f"test.test_sqlite3.{p.stem}" for p in sorted(Path(sys.argv[1]).glob("test_sqlite3/test_*.py"))]
    unittest.defaultTestLoader.loadTestsFromNames(names).run(result)
    used = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libsqlite3" in line}
    Path(sys.argv[2]).write_text(json.dumps({"outcomes": result.outcomes, "why": result.why, "libraries": sorted(used)}))


main()

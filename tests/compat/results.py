"""What became of a program's tests, with one library and with another, and what differs.

A test has a unit (a file, a script: what runs in one process), a name within it, an outcome and sometimes a value,
for tests that only say something (a shell's output) instead of judging it. Two runs are the same where outcome and
value are.

1. Nothing is lost: a test that one of the runs does not have is a difference, and so is a unit that ended otherwise.
2. A difference is "known" if known-differences.txt has it, with its reason. An entry there whose tests do not differ
   any more is stale, and as wrong as an unexpected difference; one that begins with "?" may differ or not.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

OK, FAIL, SKIP, CRASH, ABSENT = "ok", "fail", "skip", "crash", "absent"
OUTCOMES = {OK, FAIL, SKIP, CRASH}
END = "(end)"  # the test of each unit that says how its process ended


@dataclass(frozen=True)
class Outcome:
    outcome: str
    detail: str = ""  # for people; not compared
    value: str = ""  # compared


@dataclass
class Results:
    """One program's run with one library. Tests are kept in the order in which they ran."""

    program: str
    library: str
    versions: str = ""
    tests: dict = field(default_factory=dict)  # {(unit, name): Outcome}

    def add(self, unit, name, outcome, detail="", value=""):
        """A name that comes again in a unit gets a number: " (2)"."""
        assert outcome in OUTCOMES, outcome
        number, key = 1, (unit, name)
        while key in self.tests:
            number += 1
            key = (unit, f"{name} ({number})")
        self.tests[key] = Outcome(outcome, detail, value)

    def count(self, outcome):
        """Tests with that outcome; the units' own ends are no tests."""
        return sum(o.outcome == outcome and key[1] != END for key, o in self.tests.items())

    def units(self):
        return list(dict.fromkeys(unit for unit, _ in self.tests))

    def save(self, path):
        tests = [[unit, name, o.outcome, o.detail, o.value] for (unit, name), o in self.tests.items()]
        record = {"program": self.program, "library": self.library, "versions": self.versions, "tests": tests}
        Path(path).write_text(json.dumps(record, indent=0))

    @staticmethod
    def load(path):
        record = json.loads(Path(path).read_text())
        results = Results(record["program"], record["library"], record["versions"])
        for unit, name, *rest in record["tests"]:
            results.tests[(unit, name)] = Outcome(*rest)
        return results


@dataclass
class Known:
    """A difference that is expected, and why. `pattern` is matched with "UNIT NAME"; * stands for anything."""

    program: str
    pattern: str
    reason: str
    may_be_same: bool = False

    def matches(self, program, unit, name):
        expression = ".*".join(map(re.escape, self.pattern.split("*")))
        return program == self.program and re.fullmatch(expression, f"{unit} {name}", re.S) is not None


def read_known(path, with_memory=False):
    """The entries of known-differences.txt; its head says how they are written."""
    entries, program, applies, text = [], None, True, Path(path).read_text()
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            program, separator, place = line[1:-1].partition(", ")
            if separator and place != "memory":
                raise ValueError(f"{path}:{number}: neither [PROGRAM] nor [PROGRAM, memory]: {line}")
            applies = with_memory or not separator
            continue
        pattern, separator, reason = line.partition(" -- ")
        if program is None or not separator or not pattern.strip() or not reason.strip():
            raise ValueError(f"{path}:{number}: neither [PROGRAM] nor PATTERN -- REASON: {line}")
        may_be_same = pattern.startswith("?")
        pattern = pattern[1:] if may_be_same else pattern
        if applies:
            entries.append(Known(program, pattern.strip(), reason.strip(), may_be_same))
    return entries


@dataclass
class Difference:
    unit: str
    name: str
    baseline: Outcome
    dropin: Outcome
    reason: str = ""  # of the known difference; "": unexpected

    def title(self):
        before, after = self.outcomes()
        return f"{self.unit} {self.name}: {before} -> {after}"

    def outcomes(self):
        before, after = self.baseline.outcome, self.dropin.outcome
        return (before, after) if before != after else (before, "other output")


@dataclass
class Comparison:
    program: str
    baseline: Results
    dropin: Results
    differences: list
    stale: list

    def unexpected(self):
        return [d for d in self.differences if not d.reason]

    def differing_tests(self):
        return sum(d.name != END for d in self.differences)

    def share(self):
        """Differing tests in a hundred of the baseline's."""
        tests = sum(name != END for _, name in self.baseline.tests)
        return 100.0 * self.differing_tests() / tests if tests else 0.0

    def units_same(self):
        different = {d.unit for d in self.differences}
        return sum(unit not in different for unit in self.baseline.units())


def compare(baseline, dropin, known=()):
    """All differences of two runs of one program, in the order of the baseline; then tests that it does not have."""
    assert baseline.program == dropin.program
    absent = Outcome(ABSENT)
    keys = [*baseline.tests, *(key for key in dropin.tests if key not in baseline.tests)]
    differences, used = [], set()
    for key in keys:
        before, after = baseline.tests.get(key, absent), dropin.tests.get(key, absent)
        if (before.outcome, before.value) == (after.outcome, after.value):
            continue
        match = next((k for k in known if k.matches(baseline.program, *key)), None)
        if match is not None:
            used.add(id(match))
        differences.append(Difference(*key, before, after, match.reason if match else ""))
    stale = [k for k in known if k.program == baseline.program and not k.may_be_same and id(k) not in used]
    return Comparison(baseline.program, baseline, dropin, differences, stale)

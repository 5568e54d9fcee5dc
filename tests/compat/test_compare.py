"""The comparison of two runs: nothing that differs gets lost, and a known difference is known only while it is one."""

import os
import sys

import pytest

import cpython
import dbd_sqlite
import compat_report
import sqlite_programs
from results import ABSENT, CRASH, END, FAIL, OK, SKIP, Known, Results, compare, read_known
from runner import Ended, play
from server import poll


def results(library="baseline", **tests):
    """Tests of one unit: name=outcome, or name=(outcome, value)."""
    made = Results("program", library)
    for name, outcome in tests.items():
        outcome, value = outcome if isinstance(outcome, tuple) else (outcome, "")
        made.add("unit", name, outcome, value=value)
    return made


def titles(compared):
    return [(d.name, d.baseline.outcome, d.dropin.outcome) for d in compared.differences]


def test_equal_runs_have_no_difference():
    one = results(a=OK, b=FAIL, c=SKIP, d=(OK, "text"))
    compared = compare(one, results("drop-in", a=OK, b=FAIL, c=SKIP, d=(OK, "text")))
    assert compared.differences == [] and compared.stale == [] and compared.share() == 0
    assert compared.units_same() == 1


@pytest.mark.parametrize("before, after", [(OK, FAIL), (FAIL, OK), (OK, SKIP), (SKIP, OK), (OK, CRASH)])
def test_every_change_of_outcome_is_a_difference(before, after):
    compared = compare(results(a=before, b=OK), results("drop-in", a=after, b=OK))
    assert titles(compared) == [("a", before, after)]
    assert len(compared.unexpected()) == 1 and compared.share() == 50 and compared.units_same() == 0


def test_details_are_not_compared_but_values_are():
    one, other = Results("program", "baseline"), Results("program", "drop-in")
    one.add("unit", "detail", FAIL, detail="line 1")
    other.add("unit", "detail", FAIL, detail="line 2")
    one.add("unit", "value", OK, value="1|2\n")
    other.add("unit", "value", OK, value="1|3\n")
    compared = compare(one, other)
    assert titles(compared) == [("value", OK, OK)]
    assert "-1|2" in compat_report.difference(compared.differences[0])
    assert "+1|3" in compat_report.difference(compared.differences[0])


def test_a_test_that_one_run_does_not_have_is_a_difference():
    compared = compare(results(a=OK, b=OK), results("drop-in", a=OK, c=OK))
    assert titles(compared) == [("b", OK, ABSENT), ("c", ABSENT, OK)]


def test_the_end_of_a_unit_is_compared_but_is_no_test():
    one, other = results(a=OK), results("drop-in", a=OK)
    one.add("unit", END, OK)
    other.add("unit", END, CRASH, "SIGSEGV")
    compared = compare(one, other)
    assert titles(compared) == [(END, OK, CRASH)] and len(compared.unexpected()) == 1
    assert one.count(OK) == 1 and compared.differing_tests() == 0 and compared.units_same() == 0


def test_a_name_that_comes_again_is_another_test():
    one, other = results(), results("drop-in")
    for outcome in (OK, OK):
        one.add("unit", "again", outcome)
    for outcome in (OK, FAIL):
        other.add("unit", "again", outcome)
    assert titles(compare(one, other)) == [("again (2)", OK, FAIL)]


def test_a_known_difference_is_expected_while_it_differs_and_stale_afterwards():
    known = [Known("program", "unit a", "because"), Known("other", "unit a", "of another program")]
    compared = compare(results(a=OK), results("drop-in", a=FAIL), known)
    assert compared.unexpected() == [] and compared.stale == [] and compared.differences[0].reason == "because"
    compared = compare(results(a=OK), results("drop-in", a=OK), known)
    assert compared.stale == [known[0]]
    compared = compare(results(b=OK), results("drop-in", b=FAIL), known)
    assert titles(compared) == [("b", OK, FAIL)] and len(compared.unexpected()) == 1 and compared.stale == [known[0]]


def test_one_that_may_be_the_same_is_never_stale():
    known = [Known("program", "unit a", "chance", may_be_same=True)]
    assert compare(results(a=OK), results("drop-in", a=OK), known).stale == []
    assert compare(results(a=OK), results("drop-in", a=FAIL), known).unexpected() == []


@pytest.mark.parametrize(
    "pattern, name, expected",
    [
        ("unit a", "a", True),
        ("unit a", "ab", False),
        ("unit a*", "ab", True),
        ("*b*", "abc", True),
        ("unit a.b", "aXb", False),
        ("unit [a]", "a", False),
        ("unit *", "two\nlines", True),
    ],
)
def test_a_star_is_the_only_special_character(pattern, name, expected):
    assert Known("program", pattern, "").matches("program", "unit", name) is expected


def test_the_list_is_read_and_what_makes_no_sense_in_it_is_an_error(tmp_path):
    path = tmp_path / "known.txt"
    path.write_text("# head\n\n[one]\nunit a b -- why -- really\n?unit c* -- by chance\n[two]\nunit a -- else\n")
    assert read_known(path) == [
        Known("one", "unit a b", "why -- really"),
        Known("one", "unit c*", "by chance", True),
        Known("two", "unit a", "else"),
    ]
    path.write_text("[one]\na -- why\n[one, memory]\nb -- else\n[two]\nc -- what\n")
    assert [known.pattern for known in read_known(path)] == ["a", "c"]
    assert [(known.program, known.pattern) for known in read_known(path, with_memory=True)] == [
        ("one", "a"),
        ("one", "b"),
        ("two", "c"),
    ]
    for wrong in ("unit a -- before any program\n", "[one, disk]\nunit a -- b\n", "[one]\nunit a\n", "[one]\nunit a -- \n", "[one]\n -- why\n"):
        path.write_text(wrong)
        with pytest.raises(ValueError):
            read_known(path)


def test_the_list_that_is_checked_in_makes_sense():
    import compat

    assert {known.program for known in read_known(compat.KNOWN)} <= set(compat.programs())


def test_many_differences_of_a_kind_are_told_once():
    names = [f"t{i}" for i in range(20)]
    one, other = results(**dict.fromkeys(names, OK), last=OK), results("drop-in", last=FAIL)
    told = compat_report.differences(compare(one, other), details=False)
    assert told == "  unit t0 and 19 more: ok -> absent\n  unit last: ok -> fail\n"
    told = compat_report.differences(compare(one, other), details=True)
    assert all(f"{name}," in told or f"{name}\n" in told for name in names)


def test_results_come_back_from_their_file(tmp_path):
    one = results(a=OK, b=(OK, "text\n"), c=FAIL)
    one.versions = "1.2"
    one.save(tmp_path / "r.json")
    assert Results.load(tmp_path / "r.json") == one


# --- running, and reading what programs say


def run_python(tmp_path, code, limit_s=20):
    command = [sys.executable, "-c", code]
    return play(command, cwd=tmp_path, env=dict(os.environ), limit_s=limit_s, out=tmp_path / "log")


def test_how_a_process_ended_is_told():
    assert Ended(0, False, "", "").outcome() == (OK, "")
    assert Ended(3, False, "", "").outcome() == (FAIL, "exit code 3")
    assert Ended(-11, False, "", "").outcome() == (CRASH, "SIGSEGV")
    assert Ended(-9, True, "", "").outcome() == (FAIL, "ended at its time limit")


def test_a_process_that_is_killed_by_a_signal_has_crashed(tmp_path):
    ended = run_python(tmp_path, "import os; print('before', flush=True); os.kill(os.getpid(), 11)")
    assert ended.outcome() == (CRASH, "SIGSEGV") and ended.out == "before\n"


def test_a_process_that_does_not_end_is_ended(tmp_path):
    ended = run_python(tmp_path, "import time; time.sleep(1000)", limit_s=0.3)
    assert ended.is_late and ended.outcome()[0] == FAIL


def test_children_that_a_process_leaves_behind_are_ended(tmp_path):
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])\n"
        "print(child.pid)\n"
    )
    ended = run_python(tmp_path, code)
    assert ended.outcome() == (OK, "")
    poll(lambda: is_gone(int(ended.out)), "the child is gone")


def is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"  # not reaped yet
    except (FileNotFoundError, ProcessLookupError):
        return True


class FakeRun:
    def __init__(self):
        self.results = Results("program", "baseline")

    def show(self, text):
        return text


def outcomes(run):
    return {name: o.outcome for (_, name), o in run.results.tests.items()}


def test_tap_is_read():
    run = FakeRun()
    text = (
        "1..6\nok 1 - opens\nnot ok 2 - reads\nok 3 # skip no such thing\n"
        "not ok 4 - later # TODO one day\n# ok 9 - a comment\nok 5\nok\n"  # banned-ok: TAP
    )
    assert dbd_sqlite.read(run, "t/a.t", Ended(1, False, text, "")) == ""
    assert outcomes(run) == {"1": OK, "2": FAIL, "3": SKIP, "4": OK, "5": OK, "6": OK}


@pytest.mark.parametrize("text", ["1..3\nok 1\nok 2\n", "ok 1\n", "", "1..1\nok 1\nok 2\n"])
def test_tap_that_does_not_keep_to_its_plan_is_complained_of(text):
    assert dbd_sqlite.read(FakeRun(), "t/a.t", Ended(0, False, text, "")) != ""


def test_a_tap_file_that_skips_all_is_one_skipped_test():
    run = FakeRun()
    assert dbd_sqlite.read(run, "t/a.t", Ended(0, False, "1..0 # SKIP not here\n", "")) == ""
    assert outcomes(run) == {"all": SKIP}


def test_a_python_test_that_never_ended_has_crashed(tmp_path):
    log, run = tmp_path / "log", FakeRun()
    log.write_text(
        '{"begun": "test.test_sqlite3.test_x.C.a"}\n'
        '{"test": "test.test_sqlite3.test_x.C.a", "outcome": "skipped: why", "why": ""}\n'
        '{"begun": "test.test_sqlite3.test_x.C.b"}\n'
    )
    cpython.read(run, "test_x", log)
    assert outcomes(run) == {"C.a": SKIP, "C.b": CRASH}


def test_errors_that_mptest_counts_are_failed_tests():
    run = FakeRun()
    sqlite_programs.read_mptest(run, "mptest x", Ended(1, False, "Summary: 2 errors out of 5 tests\n", "why"))
    assert [o.outcome for o in run.results.tests.values()] == [OK, OK, OK, FAIL, FAIL]
    run = FakeRun()
    sqlite_programs.read_mptest(run, "mptest x", Ended(-6, False, "no summary\n", ""))
    assert outcomes(run) == {"summary": CRASH}

#!/usr/bin/python3
"""Runs sqld's tests and adds them up.

    scripts/run-tests.py [--build DIR] [--unit | --integration] [-- PYTEST ARGUMENT...]

Unit tests are the programs DIR/tests/unit_* (cmocka, one line of TAP a test). Everything else is pytest's, in
DIR/venv or build/venv, with SQLD_BIN naming the server. The last line is always

    N passed, N failed, N skipped

and stands in DIR/tally too; the exit code is 0 only if nothing failed and something passed. A unit program that ends before it has reported all
tests that it announced counts as one failed test more."""
import argparse
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNIT_TIMEOUT_S = 600
PLAN = re.compile(r"^1\.\.(\d+)$")
RESULT = re.compile(r"^(not )?ok \d+ (.*)$")

# Sanitizers stop at the first finding; a report without a stack helps nobody.
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def sanitizer(build):
    """What the build directory was configured with: "", "address,undefined" or "thread"."""
    cache = build / "CMakeCache.txt"
    found = re.search(r"^SQLD_SANITIZE:STRING=(.*)$", cache.read_text(), re.M) if cache.exists() else None
    return found.group(1) if found else ""


def fixed_addresses():
    """ThreadSanitizer of clang 14 and gcc 12 cannot live with kernels that randomize addresses much; setarch -R asks
    for none. Where a container forbids that, the programs run as they are."""
    command = ["setarch", os.uname().machine, "-R"]
    try:
        done = subprocess.run([*command, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return []
    return command if done.returncode == 0 else []


def tap_read(text, tally):
    """Adds a program's TAP output up; how many results it lacked."""
    announced = reported = 0
    for line in text.splitlines():
        plan, result = PLAN.match(line), RESULT.match(line)
        if plan:
            announced += int(plan.group(1))
        elif result:
            reported += 1
            if "# SKIP" in result.group(2):
                tally.skipped += 1
            elif result.group(1):
                tally.failed += 1
            else:
                tally.passed += 1
    return announced - reported


def unit_run(program, prefix, environment):
    tally, started = Tally(), time.monotonic()
    try:
        done = subprocess.run([*prefix, str(program)], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=UNIT_TIMEOUT_S, check=False)
        output, code = done.stdout.decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as late:
        output, code = (late.stdout or b"").decode(errors="replace"), f"no end in {UNIT_TIMEOUT_S} s"
    lacking = tap_read(output, tally)
    # A crash, a leak reported at exit, or a program without tests: failed, whatever the lines said before.
    if lacking != 0 or (code != 0 and tally.failed == 0) or tally.passed + tally.failed + tally.skipped == 0:
        tally.failed += 1
        output += f"\n{program.name}: ended with {code}, {lacking} results are missing"
    state = "ok  " if tally.failed == 0 else "FAIL"
    print(f"{state} {program.name} ({tally}, {time.monotonic() - started:.1f} s)", flush=True)
    if tally.failed:
        print(output, flush=True)
    return tally


def unit_programs(build):
    """One program for each source: a binary whose source has gone is not run."""
    for source in sorted((ROOT / "tests" / "unit").glob("*/test_*.c")):
        yield build / "tests" / f"unit_{source.parent.name}_{source.stem}"
    for folder in ("fault", "crash", "sim"):
        for source in sorted((ROOT / "tests" / folder).glob(f"{folder}_*.c")):
            yield build / "tests" / f"unit_{source.stem}"


def units_run(build, prefix, environment):
    tally = Tally()
    for program in unit_programs(build):
        if program.exists():
            tally.add(unit_run(program, prefix, environment))
        else:
            print(f"FAIL {program.name} was not built")
            tally.failed += 1
    return tally


def junit_read(path, tally):
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            tally.failed += 1
        elif case.find("skipped") is not None:
            tally.skipped += 1
        else:
            tally.passed += 1


def pytest_run(build, prefix, environment, arguments):
    tally = Tally()
    python = next((p for p in (build / "venv/bin/python", ROOT / "build/venv/bin/python") if p.exists()), None)
    if python is None:
        print("FAIL pytest: build/venv is missing; make venv")
        tally.failed += 1
        return tally
    report = build / "pytest.xml"
    report.unlink(missing_ok=True)
    command = [*prefix, str(python), "-m", "pytest", "-q", "-o", f"cache_dir={build / 'pytest-cache'}",
               f"--junitxml={report}", *arguments]
    code = subprocess.run(command, cwd=ROOT / "tests", env=environment, stdin=subprocess.DEVNULL, check=False).returncode
    if report.exists():
        junit_read(report, tally)
    if code not in (0, 1) or not report.exists():  # pytest: 1 is "some tests failed", others are trouble of its own
        print(f"FAIL pytest ended with {code}")
        tally.failed += 1
    return tally


def main():
    parser = argparse.ArgumentParser(description="Runs sqld's tests.")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="build directory (default: build)")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--unit", action="store_true", help="unit tests only")
    only.add_argument("--integration", action="store_true", help="pytest only")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest, behind --")
    chosen = parser.parse_args()
    build = chosen.build.resolve()

    environment = dict(os.environ)
    for name, value in SANITIZER_OPTIONS.items():
        environment.setdefault(name, value)
    environment.setdefault("SQLD_BIN", str(build / "bin" / "sqld"))
    environment["SQLD_TEST_SANITIZE"] = sanitizer(build)
    environment["CMOCKA_MESSAGE_OUTPUT"] = "TAP"
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    prefix = fixed_addresses() if sanitizer(build) == "thread" else []

    tally = Tally()
    if not chosen.integration:
        tally.add(units_run(build, prefix, environment))
    if not chosen.unit:
        tally.add(pytest_run(build, prefix, environment, chosen.pytest))
    (build / "tally").write_text(f"{tally}\n")
    print(tally, flush=True)
    return 0 if tally.failed == 0 and tally.passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())

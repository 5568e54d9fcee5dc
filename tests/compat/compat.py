#!/usr/bin/python3
"""Runs other people's test suites with Debian's libsqlite3 and with the drop-in library, and compares: README.md.

    compat.py [OPTION]... [PROGRAM]...     default: all programs

    --local           the drop-in with no server: all databases local, passed on to the real library
    --memory          private in-memory databases too are remote, for every program
    --baseline        only the baseline
    --keep-baseline   takes the results of an earlier baseline run where there are any
    --docs            writes docs/compatibility-results.md from the results of this run (all programs, with a server)
    --work DIR        default build/compat

The exit code is 0 if every difference is a known one, every known one is still there, and every baseline passed as many
tests as it should."""

import argparse
import importlib
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import compat_report  # noqa: E402
from results import OK, Results, compare, read_known  # noqa: E402
from runner import BASELINE, DROP_IN, LOCAL, REMOTE, REMOTE_WITH_MEMORY, ROOT, NotRun, Run  # noqa: E402

MODULES = ("cpython", "dbd_sqlite", "go_sqlite3", "sqlite_tests", "sqlite_programs", "shell")
KNOWN = Path(__file__).parent / "known-differences.txt"


def programs():
    modules = [importlib.import_module(name) for name in MODULES]
    return {module.NAME: module for module in modules}


def results_path(work, module, library):
    return work / module.NAME / f"{library}.json"


def run_once(module, library, work, place):
    """One program's results with one library."""
    shutil.rmtree(work / module.NAME / library, ignore_errors=True)
    results_path(work, module, library).unlink(missing_ok=True)
    with Run(module, library, work, place) as run:
        module.play(run)
        run.check_place()
    run.results.versions = module.versions(work)
    run.results.save(results_path(work, module, library))
    return run.results


def baseline(module, work, keep):
    path = results_path(work, module, BASELINE)
    results = Results.load(path) if keep and path.exists() else run_once(module, BASELINE, work, LOCAL)
    passed = results.count(OK)
    if passed < module.LEAST_PASSED:
        raise AssertionError(f"{module.NAME}: the baseline passed {passed} tests, less than {module.LEAST_PASSED}")
    return results


def compare_program(module, work, *, place=REMOTE, keep_baseline=False):
    """Both runs of a program, compared; NotRun if something that it needs is not here. For pytest too."""
    work = Path(work).resolve()
    work.mkdir(parents=True, exist_ok=True)
    module.prepare(work)
    before = baseline(module, work, keep_baseline)
    after = run_once(module, DROP_IN, work, place)
    known = read_known(KNOWN, place == REMOTE_WITH_MEMORY) if place != LOCAL else ()
    compared = compare(before, after, known)
    if place == REMOTE_WITH_MEMORY:
        compared.stale.clear()  # the list is about the usual place
    return compared


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", metavar="PROGRAM")
    parser.add_argument("--local", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--baseline", action="store_true")
    parser.add_argument("--keep-baseline", action="store_true")
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "compat")
    given = parser.parse_args()
    unknown = set(given.programs) - set(programs())
    if unknown:
        parser.error(f"no program is named {', '.join(sorted(unknown))}; there are: {' '.join(programs())}")
    if given.docs and (given.local or given.memory or given.baseline or given.programs):
        parser.error("--docs needs all programs, with a server as usual")
    given.work = given.work.resolve()
    return given


def main():
    given = options()
    given.work.mkdir(parents=True, exist_ok=True)
    place = LOCAL if given.local else REMOTE_WITH_MEMORY if given.memory else REMOTE
    chosen = [module for name, module in programs().items() if not given.programs or name in given.programs]
    done, skipped, failed = [], [], []
    for module in chosen:
        print(f"{module.NAME} …", flush=True)
        try:
            if given.baseline:
                module.prepare(given.work)
                print(compat_report.counts(baseline(module, given.work, given.keep_baseline)))
                continue
            compared = compare_program(module, given.work, place=place, keep_baseline=given.keep_baseline)
            done.append((module, compared))
            print(compat_report.differences(compared, details=False), end="")
        except NotRun as why:
            skipped.append((module, str(why)))
            print(f"SKIPPED: {why}")
        except AssertionError as why:
            failed.append((module, str(why)))
            print(f"FAILED: {why}")
    if not given.baseline:
        text = compat_report.table(done, skipped, failed)
        (given.work / "summary.txt").write_text(text)
        (given.work / "differences.txt").write_text("\n".join(compat_report.differences(c, details=True) for _, c in done))
        print(f"\n{text}\n{given.work}/differences.txt has every difference in full.")
    if given.docs:
        (ROOT / "docs" / "compatibility-results.md").write_text(compat_report.page(done, skipped))
    is_as_expected = not any(compared.unexpected() or compared.stale for _, compared in done)
    return 0 if is_as_expected and not failed else 1


if __name__ == "__main__":
    sys.exit(main())

"""SQLite's own test programs, from its source, linked with -lsqlite3: mptest (scripts that several processes play
against one database) and speedtest1 (loads; here for their results, not their times).

mptest only counts its tests, over all of its processes: those of a script are numbered here, the last ones being those
that failed. What speedtest1 computes is hashed by itself; it is the value of the test "verification hash"."""

import re
import subprocess

from results import CRASH, FAIL, OK
from runner import need, source

NAME = "sqlite-programs"
TITLE = "SQLite's mptest and speedtest1"
LIMIT_S = 1200
LEAST_PASSED = 1000
SCRIPTS = ("config01", "config02", "crash01", "multiwrite01")
LOADS = ("main", "cte", "rtree", "orm", "fp")
LOAD_SIZE = 5
SOURCES = {"mptest": "mptest/mptest.c", "speedtest1": "test/speedtest1.c"}


def prepare(work):
    """Builds the two programs, once."""
    need("/usr/include/sqlite3.h", "libsqlite3-dev")
    for name, member in SOURCES.items():
        home = source(work, "sqlite3", member=member)
        if not (work / name).exists():
            command = ["cc", "-O1", "-w", "-DSQLITE_ENABLE_RTREE", "-o", work / name, home / member, "-lsqlite3"]
            subprocess.run(list(map(str, command)), check=True, timeout=120)


def versions(work):
    return "SQLite " + (source(work, "sqlite3", member="VERSION") / "VERSION").read_text().strip()


def play(run):
    run.check_library([run.work / "mptest", "probe.db"])
    for script in SCRIPTS:
        unit = f"mptest {script}"
        path = source(run.work, "sqlite3", member="mptest") / "mptest" / f"{script}.test"
        ended = run.command(unit, [run.work / "mptest", "test.db", path], cwd=run.directory(script), limit_s=240)
        read_mptest(run, unit, ended)
        run.finish(unit, ended)
    for load in LOADS:
        unit = f"speedtest1 {load}"
        command = [run.work / "speedtest1", "--testset", load, "--size", LOAD_SIZE, "--verify", "test.db"]
        ended = run.command(unit, command, cwd=run.directory(load), limit_s=240)
        read_speedtest(run, unit, ended)
        run.finish(unit, ended)


def read_mptest(run, unit, ended):
    summary = re.search(r"^Summary: (\d+) errors out of (\d+) tests$", ended.out, re.M)
    if summary is None:
        run.results.add(unit, "summary", CRASH if ended.code < 0 else FAIL, run.show((ended.out + ended.err)[-4000:]))
        return
    errors, tests = int(summary[1]), int(summary[2])
    detail = run.show((ended.err or ended.out)[-4000:]) if errors else ""
    for number in range(1, tests + 1):
        is_first = number == tests - errors + 1  # the detail is about all of them
        run.results.add(unit, str(number), FAIL if number > tests - errors else OK, detail if is_first else "")


def read_speedtest(run, unit, ended):
    for number, name in re.findall(r"^ *(\d+) - (.*?)\.* +[\d.]+s$", ended.out, re.M):
        run.results.add(unit, f"{number} {name}", OK)
    found = re.search(r"^Verification Hash: (.*)$", ended.out, re.M)
    if found:
        run.results.add(unit, "verification hash", OK, value=found[1])
    else:
        run.results.add(unit, "verification hash", FAIL, run.show((ended.out + ended.err)[-4000:]))

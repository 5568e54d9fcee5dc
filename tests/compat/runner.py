"""Runs a program's test processes with one library or the other.

Each process has a process group of its own, which is gone when the process has ended: children that it left behind
cannot disturb the next one. Its output goes to files, so that such children cannot hold it up either. What the
environment may change (locale, time zone, hash seeds, start-up files) is the same for every run.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lib"))

from server import Sqld, program  # noqa: E402

from results import CRASH, END, FAIL, OK, Results  # noqa: E402

BASELINE, DROP_IN = "baseline", "drop-in"
# Where the drop-in's databases are: all passed on to the real library; files on a server; private in-memory ones too.
LOCAL, REMOTE, REMOTE_WITH_MEMORY = "local", "remote", "remote with memory"
OUTPUT_BYTES_MAX = 256 * 1024 * 1024


class NotRun(Exception):
    """A program that cannot be run here, and why."""


def real_library():
    """The libsqlite3 that the dynamic linker finds without us."""
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    for line in known.splitlines():
        if line.strip().startswith("libsqlite3.so.0 ") and ("x86-64" in line or "AArch64" in line):
            return Path(line.split(" => ")[1]).resolve()
    raise NotRun("ldconfig knows no libsqlite3.so.0")


def drop_in_library():
    return program().resolve().parents[1] / "lib" / "libsqlite3.so.0"


def signal_name(number):
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@dataclass
class Ended:
    """How a process ended, and what it wrote."""

    code: int  # as of subprocess: negative is a signal
    is_late: bool
    out: str
    err: str

    def outcome(self):
        """For the unit's end: (outcome, detail)."""
        if self.is_late:
            return FAIL, "ended at its time limit"
        if self.code < 0:
            return CRASH, signal_name(-self.code)
        return (OK, "") if self.code == 0 else (FAIL, f"exit code {self.code}")


def play(command, *, cwd, env, limit_s, out, stdin=None):
    """Runs `command` with its output in `out`.out and `out`.err. Text that is no UTF-8 is shown with \\x.."""
    begun = time.monotonic()
    paths = [Path(f"{out}.out"), Path(f"{out}.err")]
    with open(paths[0], "wb") as stdout, open(paths[1], "wb") as stderr:
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=cwd,
            env=env,
            stdin=open(stdin, "rb") if stdin else subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        is_late = False
        try:
            process.wait(max(0.1, limit_s))
        except subprocess.TimeoutExpired:
            is_late = True
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
    texts = []
    for path in paths:
        with open(path, "rb") as file:
            texts.append(file.read(OUTPUT_BYTES_MAX).decode(errors="backslashreplace"))
    assert time.monotonic() >= begun
    return Ended(process.returncode, is_late, *texts)


class Run:
    """One program with one library: its directory, environment, server and results.

    With the drop-in library and a place that is not LOCAL, the databases are those of a server that is started for this
    run. The baseline is always local."""

    def __init__(self, module, library, work, place):
        self.module = module
        self.library = library
        self.work = Path(work)
        self.home = self.work / module.NAME / library
        self.place = place if library == DROP_IN else LOCAL
        self.results = Results(module.NAME, library)
        self.server = None
        self.deadline = time.monotonic() + module.LIMIT_S
        self.logs = self.home / "logs"
        self.scratch = self.home / "scratch"
        self._served = []
        self._number = 0

    # ---- life
    def __enter__(self):
        self.logs.mkdir(parents=True)
        (self.scratch / "tmp").mkdir(parents=True)
        if self.place != LOCAL:
            self.server = Sqld(self.home / "data", *getattr(self.module, "SERVER_OPTIONS", ()))
            self.server.start()
        self.env = self._environment()
        return self

    def __exit__(self, *error):
        if self.server is None:
            return
        try:
            self.server.close()
        except AssertionError as e:
            self.results.add("sqld", "stops without complaint", FAIL, str(e)[-4000:])
        finally:
            self._served.append(self.server.log())
            (self.home / "server.log").write_text("\n".join(self._served))

    def _environment(self):
        kept = ("PATH", "USER", "LOGNAME", "SHELL")
        env = {k: os.environ[k] for k in kept if k in os.environ}
        env.update(
            HOME=str(self.scratch),
            TMPDIR=str(self.scratch / "tmp"),
            LC_ALL="C.UTF-8",
            TZ="UTC",
            TERM="dumb",
            PERL_HASH_SEED="0",
            PYTHONHASHSEED="0",
            PYTHONDONTWRITEBYTECODE="1",
        )
        if self.library == DROP_IN:
            env["LD_LIBRARY_PATH"] = str(drop_in_library().parent)
        if self.place != LOCAL:
            env.update(SQLD_URL=self.server.url(), SQLD_FRESH="1", **getattr(self.module, "REMOTE_ENV", {}))
        if self.place == REMOTE_WITH_MEMORY:
            env["SQLD_MAP_MEMORY"] = "1"
        return env

    # ---- processes
    def directory(self, name):
        """A new, empty directory for a unit."""
        made = self.scratch / name
        made.mkdir(parents=True)
        return made

    def command(self, unit, command, *, cwd=None, limit_s=120, stdin=None, **env):
        """Runs a unit's process. How it ended is the unit's test END; the server's death too."""
        self._number += 1
        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in unit)
        ended = play(
            command,
            cwd=cwd or self.scratch,
            env={**self.env, **{k: str(v) for k, v in env.items()}},
            limit_s=min(limit_s, self.deadline - time.monotonic()),
            out=self.logs / f"{self._number:04d}-{name}",
            stdin=stdin,
        )
        self.check_server(unit)
        return ended

    def finish(self, unit, ended):
        self.results.add(unit, END, *ended.outcome())

    def is_over(self):
        return time.monotonic() >= self.deadline

    def check_server(self, unit):
        if self.server is None or self.server.process.poll() is None:
            return
        code = self.server.process.poll()
        how = signal_name(-code) if code < 0 else f"exit code {code}"
        self.results.add(unit, "sqld lives on", CRASH, f"{how}\n{self.server.log()[-4000:]}")
        self._served.append(self.server.log())
        self.server.restart()

    def check_library(self, command, **env):
        """The library that a program of this run really has loaded is the one that is meant."""
        expected = drop_in_library() if self.library == DROP_IN else real_library()
        log = self.logs / "ld"
        environment = {**self.env, "LD_DEBUG": "files", "LD_DEBUG_OUTPUT": str(log), **env}
        play(command, cwd=self.scratch, env=environment, limit_s=60, out=self.logs / "library")
        loaded = set()
        for path in self.logs.glob("ld.*"):
            for line in path.read_text(errors="replace").splitlines():
                if "calling init:" in line and "libsqlite3.so" in line:
                    loaded.add(Path(line.split("calling init:")[1].strip()).resolve())
            path.unlink()
        if expected.resolve() not in loaded:
            raise AssertionError(f"{self.module.NAME} was to load {expected}, but loads {sorted(map(str, loaded))}")

    def check_place(self):
        """A run that was to be remote has made databases on its server: it compared no local ones with local ones."""
        made = {path.name for path in (self.home / "data").glob("*.db")} - {"main.db"}
        if self.server is not None and not made:
            raise AssertionError(f"{self.module.NAME} was to use the server, but made no database there")

    def show(self, text):
        """Without what differs between two runs by itself: directories."""
        return text.replace(str(self.scratch), "SCRATCH")


def source(work, package, *, member):
    """The directory of a Debian package's source that scripts/compat-deps.sh has fetched."""
    home = Path(work) / "src" / package
    if not (home / member).exists():
        raise NotRun(f"no source of the package {package} in {home}: scripts/compat-deps.sh fetches it")
    return home


def need(path, package):
    if not Path(path).exists():
        raise NotRun(f"no {path} (Debian: {package})")

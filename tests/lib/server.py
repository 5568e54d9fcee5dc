"""Starts, watches and stops one sqld for a test.

The program is $SQLD_BIN, else build/bin/sqld of this tree. Each server has its own data directory and port on 127.0.0.1.
Its log (stderr) is collected; a server that ended by itself, or whose log shows a sanitizer's report or a failed
assertion, fails the test that used it.
"""

import os
import re
import resource
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from wire import Wire

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("SQLD_TEST_BUILD", ROOT / "build" / "tests"))
# Sanitizers keep freed memory and pad what is used: bounds on memory mean less there.
MEMORY_FACTOR = 8 if os.environ.get("SQLD_TEST_SANITIZE") else 1
READY_S = 30.0
STOP_S = 30.0
TROUBLE = re.compile(
    r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|UndefinedBehaviorSanitizer|runtime error:|"
    r"[Aa]ssertion.*failed|stack smashing|buffer overflow detected"
)


def program():
    path = Path(os.environ.get("SQLD_BIN", ROOT / "build" / "bin" / "sqld"))
    assert path.exists(), f"{path} is missing: run make first, or set SQLD_BIN"
    return path


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def poll(condition, what, timeout=20.0, interval=0.01):
    """Waits until condition() is true and returns its value; fails the test with `what` at the deadline."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {timeout} s: {what}"
        time.sleep(interval)


class Sqld:
    def __init__(self, data_dir, *options, port=None, env=None, limits=None):
        """`limits`: {resource.RLIMIT_…: value} for the server process."""
        self.data_dir = Path(data_dir)
        self.options = [str(o) for o in options]
        self.port = port or free_port()
        self.env = env or {}
        self.limits = limits or {}
        self.process = None
        self.lines = []
        self._lines_changed = threading.Condition()
        self._reader = None

    # ---- life
    def start(self, wait=True):
        assert self.process is None or self.process.poll() is not None
        command = [
            str(program()),
            "--data-dir",
            str(self.data_dir),
            "--listen",
            f"127.0.0.1:{self.port}",
            *self.options,
        ]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("SQLD_", "PG"))}
        environment.update(self.env)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            preexec_fn=self._limit if self.limits else None,
        )
        self._reader = threading.Thread(target=self._read_log, args=(self.process,), daemon=True)
        self._reader.start()
        if wait:
            self.wait_ready()
        return self

    def _limit(self):
        for what, value in self.limits.items():
            resource.setrlimit(what, (value, value))

    def _read_log(self, process):
        for raw in process.stderr:
            with self._lines_changed:
                self.lines.append(raw.decode(errors="replace").rstrip("\n"))
                self._lines_changed.notify_all()
        with self._lines_changed:
            self._lines_changed.notify_all()

    def wait_ready(self):
        self.wait_log(r'msg="?ready"?', READY_S)

    def wait_log(self, pattern, timeout=20.0):
        """Waits for a log line that matches; the line."""
        expression, deadline = re.compile(pattern), time.monotonic() + timeout
        with self._lines_changed:
            while True:
                for line in self.lines:
                    if expression.search(line):
                        return line
                assert (
                    self.process.poll() is None or self._reader.is_alive()
                ), f"sqld ended with {self.process.poll()} before /{pattern}/ was logged:\n{self.log()}"
                left = deadline - time.monotonic()
                assert left > 0, f"no log line /{pattern}/ in {timeout} s:\n{self.log()}"
                self._lines_changed.wait(min(left, 0.5))

    def stop(self, expect=0):
        """SIGTERM; waits; the exit code must be `expect`."""
        self.process.send_signal(signal.SIGTERM)
        self.wait_exit(expect)
        self.check_log()

    def wait_exit(self, expect=0, timeout=STOP_S):
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"sqld did not stop in {timeout} s:\n{self.log()}") from None
        self._reader.join(10)
        assert code == expect, f"sqld ended with {code}, expected {expect}:\n{self.log()}"

    def kill9(self):
        self.process.kill()
        self.process.wait()
        self._reader.join(10)

    def restart(self):
        """Starts again after stop() or kill9(), on the same data and port."""
        self.lines.clear()
        return self.start()

    def close(self):
        """End of a test: a live server must stop well; a dead one must have been stopped by the test."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.stop()
        else:
            self._reader.join(10)
            self.check_log()

    # ---- looking at it
    def log(self):
        return "\n".join(self.lines)

    def check_log(self):
        assert not TROUBLE.search(self.log()), f"sqld's log shows trouble:\n{self.log()[-20000:]}"

    def check_alive(self):
        assert self.process.poll() is None, f"sqld ended by itself with {self.process.poll()}:\n{self.log()[-20000:]}"
        self.check_log()

    def status(self, field):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
        raise KeyError(field)

    def rss_kb(self):
        """Resident memory, in units that a bound for a build without sanitizers can be held to."""
        return self.status("VmRSS") // MEMORY_FACTOR

    def cpu_ticks(self):
        """CPU time used so far, in clock ticks (proc(5), fields 14 and 15 of stat)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def wait_busy(self, since):
        """Waits until a statement that was sent after cpu_ticks() said `since` is running."""
        poll(lambda: self.cpu_ticks() > since + 5, "the statement runs")

    def fd_count(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def socket_count(self):
        """Connections and listeners: files of databases stay open for a while when their sessions have gone."""
        count = 0
        for fd in os.scandir(f"/proc/{self.process.pid}/fd"):
            try:
                count += os.readlink(fd.path).startswith("socket:")
            except FileNotFoundError:  # closed meanwhile
                pass
        return count

    # ---- using it
    def connect(self, **kw):
        return Wire(self.port, **kw)

    def dsn(self, database="main", user="tester"):
        return f"host=127.0.0.1 port={self.port} dbname={database} user={user} sslmode=disable"

    def url(self, database="main", user="tester"):
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def pg_env(self, database="main", user="tester"):
        """Environment for libpq programs: this server, and none of the caller's PG settings or start-up files."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        env.update(
            PGHOST="127.0.0.1",
            PGPORT=str(self.port),
            PGUSER=user,
            PGDATABASE=database,
            PGSSLMODE="disable",
            PGGSSENCMODE="disable",
            PGCONNECT_TIMEOUT="20",
            PSQLRC="/dev/null",
            PGCLIENTENCODING="UTF8",
            PAGER="cat",
            HOME=str(self.data_dir),
        )
        return env

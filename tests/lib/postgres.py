"""A temporary PostgreSQL, the reference that sqld's protocol is compared with, message by message.

One cluster for a whole test run, without TLS and passwords, on 127.0.0.1. PostgreSQL refuses to run as root, so root
runs it as `postgres` or `nobody`.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from server import free_port
from wire import Wire


def find_programs():
    """The directory with initdb and postgres, newest version first; None if PostgreSQL's server is not installed."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True)
    for directory in candidates:
        if (directory / "initdb").exists() and (directory / "postgres").exists():
            return directory
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _unprivileged():
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return dict(user=user.pw_uid, group=user.pw_gid, extra_groups=[])
    raise AssertionError("no unprivileged user to run PostgreSQL as")


class Postgres:
    def __init__(self, programs):
        self.programs = programs
        self.identity = _unprivileged()
        self.home = Path(tempfile.mkdtemp(prefix="sqld-test-pg-"))
        if self.identity:
            os.chown(self.home, self.identity["user"], self.identity["group"])
        self.data = self.home / "data"
        self.port = free_port()
        self._run("initdb", "-D", self.data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        settings = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.home} -c fsync=off"
        self._run("pg_ctl", "-D", self.data, "-o", settings, "-l", self.home / "log", "-w", "start")
        with Wire(self.port, database="postgres") as client:
            client.ok("CREATE DATABASE main")

    def _run(self, name, *arguments):
        done = subprocess.run(
            [str(self.programs / name), *map(str, arguments)],
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            **self.identity,
        )
        assert done.returncode == 0, done.stdout

    def connect(self, **kw):
        return Wire(self.port, **kw)

    def close(self):
        self._run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.home, ignore_errors=True)

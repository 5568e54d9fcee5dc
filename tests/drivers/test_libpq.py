"""libpq used from C: pipelines, single-row mode, PQcancel, COPY, PQdescribePrepared (libpq/driver_test.c)."""

import shutil
import subprocess
from pathlib import Path

import pytest

import tap
from server import BUILD

SOURCE = Path(__file__).parent / "libpq" / "driver_test.c"
CASES = tap.cases(SOURCE, r'^    \{"([^"]+)", case_')

if shutil.which("pg_config") is None or shutil.which("cc") is None:
    pytest.skip("libpq's headers or a C compiler are not installed (Debian: libpq-dev)", allow_module_level=True)


@pytest.fixture(scope="module")
def report(module_server):
    BUILD.mkdir(parents=True, exist_ok=True)
    program = BUILD / "libpq_driver_test"
    include, libraries = (
        subprocess.run(["pg_config", o], capture_output=True, text=True, check=True).stdout.strip()
        for o in ("--includedir", "--libdir")
    )
    subprocess.run(
        [
            "cc",
            "-std=gnu11",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-O1",
            "-g",
            f"-I{include}",
            "-o",
            str(program),
            str(SOURCE),
            f"-L{libraries}",
            "-lpq",
        ],
        check=True,
        timeout=60,
    )
    with module_server.connect() as c:
        c.ok("CREATE DATABASE libpq")
    return tap.Report([program], module_server.pg_env("libpq"))


@pytest.mark.parametrize("name", CASES)
def test_libpq(server, report, name):
    report.check(name)

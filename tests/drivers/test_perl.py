"""Perl's DBD::Pg (perl/dbd_pg.pl)."""

import shutil
import subprocess
from pathlib import Path

import pytest

import tap

SOURCE = Path(__file__).parent / "perl" / "dbd_pg.pl"
CASES = tap.cases(SOURCE, r"^test\('([^']+)'")

if (
    shutil.which("perl") is None
    or subprocess.run(["perl", "-MDBD::Pg", "-e", "1"], capture_output=True).returncode != 0
):
    pytest.skip("DBD::Pg is not installed (Debian: libdbd-pg-perl)", allow_module_level=True)


@pytest.fixture(scope="module")
def report(module_server):
    with module_server.connect() as c:
        c.ok("CREATE DATABASE perl")
    return tap.Report(["perl", SOURCE], module_server.pg_env("perl"))


@pytest.mark.parametrize("name", CASES)
def test_perl(server, report, name):
    report.check(name)

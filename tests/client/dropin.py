"""The drop-in library in front of programs that were not built here."""

import os
import subprocess
from pathlib import Path

import pytest

from linked import HERE, LIBRARY, SQLD, compile_c, environment  # noqa: F401: for the tests

TABLE = SQLD.parents[1] / "tools" / "client_table"

if os.environ.get("SQLD_TEST_SANITIZE"):
    pytest.skip("a sanitizer's library cannot be loaded into other programs", allow_module_level=True)


def real_library():
    """The library that the dynamic linker finds without us."""
    for line in subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout.splitlines():
        if line.strip().startswith("libsqlite3.so.0 ") and ("x86-64" in line or "AArch64" in line):
            return Path(line.split(" => ")[1])
    raise AssertionError("ldconfig knows no libsqlite3.so.0")

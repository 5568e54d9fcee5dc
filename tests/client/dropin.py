"""Where the drop-in library is, and how programs are run with it."""

import os
import subprocess
from pathlib import Path

import pytest

from server import BUILD, program

SQLD = program().resolve()
LIBRARY = SQLD.parents[1] / "lib" / "libsqlite3.so.0"
TABLE = SQLD.parents[1] / "tools" / "client_table"
HERE = Path(__file__).parent

if os.environ.get("SQLD_TEST_SANITIZE"):
    pytest.skip("a sanitizer's library cannot be loaded into other programs", allow_module_level=True)


def real_library():
    """The library that the dynamic linker finds without us."""
    for line in subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout.splitlines():
        if line.strip().startswith("libsqlite3.so.0 ") and ("x86-64" in line or "AArch64" in line):
            return Path(line.split(" => ")[1])
    raise AssertionError("ldconfig knows no libsqlite3.so.0")


def environment(kind, **more):
    """kind: "system" or "drop-in"."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("SQLD_") and k != "LD_LIBRARY_PATH"}
    if kind == "drop-in":
        env["LD_LIBRARY_PATH"] = str(LIBRARY.parent)
    env.update(more)
    return env


def compile_c(name, *flags, suffix=""):
    """tests/client/NAME, linked with the system's libsqlite3 as any application is. Returns the program or library, whose
    name ends in `suffix`."""
    out = BUILD / "client"
    out.mkdir(parents=True, exist_ok=True)
    is_library = "-shared" in flags
    made = out / (name.removesuffix(".c") + suffix + (".so" if is_library else ""))
    command = ["cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", *flags, "-o", made, HERE / name]
    subprocess.run([*map(str, command), *([] if is_library else ["-lsqlite3"])], check=True, timeout=60)
    return made
